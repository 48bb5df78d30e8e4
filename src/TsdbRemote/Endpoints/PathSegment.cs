using System.Text;
using Microsoft.AspNetCore.Http.Features;

namespace TsdbRemote.Endpoints;

/// <summary>A part of a path in the bytes that the client meant: the framework's own text of it leaves escapes of a slash, and of what is no UTF-8, as they came.</summary>
internal static class PathSegment
{
    /// <summary>The bytes between two parts of the path; none if the path does not have them. A server that does not keep what came has the framework's text.</summary>
    public static byte[] Of(HttpContext context, string before, string behind)
    {
        string target = context.Features.Get<IHttpRequestFeature>()?.RawTarget is { Length: > 0 } raw ? raw : context.Request.Path.Value ?? "";
        int query = target.IndexOf('?', StringComparison.Ordinal);
        string path = query < 0 ? target : target[..query];
        int start = path.IndexOf(before, StringComparison.Ordinal) + before.Length;
        int end = path.LastIndexOf(behind, StringComparison.Ordinal);
        return start >= before.Length && end > start ? Unescape(path[start..end]) : [];
    }

    private static byte[] Unescape(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        int length = 0;
        for (int at = 0; at < utf8.Length; at++)
        {
            bool isEscape = utf8[at] == '%' && at + 2 < utf8.Length && char.IsAsciiHexDigit((char)utf8[at + 1]) && char.IsAsciiHexDigit((char)utf8[at + 2]);
            utf8[length++] = isEscape ? Convert.FromHexString(Encoding.ASCII.GetString(utf8, at + 1, 2))[0] : utf8[at];
            if (isEscape) at += 2;
        }

        return utf8[..length];
    }
}
