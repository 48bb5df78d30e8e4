using Microsoft.Extensions.Primitives;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Endpoints;

/// <summary>Which message a write request carries, by its headers alone. Pure.</summary>
/// <remarks>
/// Prometheus' receiver reads <c>; proto=…</c> with a space as an unknown parameter, hence as 1.0, and loses the data with a 204. So RFC 9110 here:
/// white space and quotes do not matter, media type and parameter names are compared without case. The version header is never looked at.
/// </remarks>
internal static class WriteNegotiation
{
    private const string TypeV1 = HttpAnswers.ProtobufMediaType + ";proto=" + HttpAnswers.WriteV1Message;
    private const string TypeV2 = HttpAnswers.ProtobufMediaType + ";proto=" + HttpAnswers.WriteV2Message;

    /// <summary>Reads Content-Type, then Content-Encoding.</summary>
    /// <returns>Null, with protocol and compression; or the refusal.</returns>
    public static HttpAnswer? Decide(StringValues contentType, StringValues contentEncoding, out WriteProtocol protocol, out Compression compression)
    {
        compression = Compression.Snappy;
        return TypeOf(contentType, out protocol) ?? EncodingOf(contentEncoding, out compression);
    }

    private static HttpAnswer? TypeOf(StringValues header, out WriteProtocol protocol)
    {
        protocol = WriteProtocol.V1;
        if (header.Count > 1) return HttpAnswers.MediaType(header.ToString());
        string? text = header;
        if (string.IsNullOrEmpty(text) || text is HttpAnswers.ProtobufMediaType or TypeV1) return null;
        if (text == TypeV2)
        {
            protocol = WriteProtocol.V2;
            return null;
        }

        return Parse(text.Trim(), ref protocol);
    }

    private static HttpAnswer? Parse(string text, ref WriteProtocol protocol)
    {
        string[] parts = text.Split(';', StringSplitOptions.TrimEntries);
        if (!parts[0].Equals(HttpAnswers.ProtobufMediaType, StringComparison.OrdinalIgnoreCase)) return HttpAnswers.MediaType(parts[0]);
        bool decided = false;
        foreach (string parameter in parts.AsSpan(1))
        {
            if (parameter.Length == 0) continue;
            string[] pair = parameter.Split('=', StringSplitOptions.TrimEntries);
            if (pair.Length != 2) return HttpAnswers.MediaParameter(parameter, text);
            if (decided || !pair[0].Equals("proto", StringComparison.OrdinalIgnoreCase)) continue;
            decided = true;
            switch (Unquote(pair[1]))
            {
                case HttpAnswers.WriteV1Message: break;
                case HttpAnswers.WriteV2Message: protocol = WriteProtocol.V2; break;
                default: return HttpAnswers.UnknownMessage(Unquote(pair[1]), text);
            }
        }

        return null;
    }

    private static HttpAnswer? EncodingOf(StringValues header, out Compression compression)
    {
        compression = Compression.Snappy;
        string text = header.ToString().Trim();
        if (text.Length == 0 || text.Equals(HttpAnswers.Snappy, StringComparison.OrdinalIgnoreCase)) return null;
        if (!text.Equals(HttpAnswers.Zstd, StringComparison.OrdinalIgnoreCase)) return HttpAnswers.Encoding(text);
        compression = Compression.Zstd;
        return null;
    }

    private static string Unquote(string text) => text.Length >= 2 && text[0] == '"' && text[^1] == '"' ? text[1..^1] : text;
}
