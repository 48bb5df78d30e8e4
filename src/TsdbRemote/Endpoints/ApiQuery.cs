using System.Globalization;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Primitives;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Endpoints;

/// <summary>The parameters of a question: those of a form first, then those of the address.</summary>
/// <remarks>Errors have Prometheus' words (prometheus: web/api/v1/api.go), which wrap those of Go's <c>strconv</c>.</remarks>
internal sealed class ApiQuery
{
    /// <summary>Most bytes of a form.</summary>
    private const int MaxForm = 1 << 20;

    private readonly IQueryCollection _address;
    private readonly Dictionary<string, StringValues> _form;

    private ApiQuery(IQueryCollection address, Dictionary<string, StringValues> form)
    {
        _address = address;
        _form = form;
    }

    /// <summary>Reads the parameters; a body that is no form is not looked at, as in Prometheus.</summary>
    /// <returns>The parameters; or the refusal; or neither, if there is nobody left to answer.</returns>
    public static async ValueTask<(HttpAnswer? Refused, ApiQuery? Query)> ReadAsync(HttpContext context, TimeSpan timeout, TimeProvider time)
    {
        HttpRequest request = context.Request;
        if (!(HttpMethods.IsPost(request.Method) || HttpMethods.IsPut(request.Method)) || !IsForm(request.ContentType)) return (null, new ApiQuery(request.Query, []));
        (BodyEnd end, PooledBuffer? body) = await RequestBody.ReadAsync(context, MaxForm, timeout, time);
        switch (end)
        {
            case BodyEnd.Whole:
                using (body) return Parse(request.Query, System.Text.Encoding.UTF8.GetString(body!.Span));
            case BodyEnd.TooLarge: return (HttpAnswers.BodyTooLarge(MaxForm, "form"), null);
            case BodyEnd.TooSlow: return (HttpAnswers.BodyTimeout, null);
            default: return (null, null);
        }
    }

    /// <summary>All values of a parameter.</summary>
    public IReadOnlyList<string> All(string name) =>
        [.. _form.GetValueOrDefault(name).Concat(_address[name]).Select(static value => value ?? "")];

    /// <summary>The first value of a parameter; empty if there is none.</summary>
    public string First(string name) => All(name) is [string first, ..] ? first : "";

    /// <summary>A parameter that is true or false; false where it is left out.</summary>
    /// <returns>Null, or what is wrong.</returns>
    public string? TryFlag(string name, out bool flag)
    {
        string text = First(name);
        flag = text is "1" or "t" or "T" or "TRUE" or "true" or "True";
        bool isKnown = flag || text is "" or "0" or "f" or "F" or "FALSE" or "false" or "False";
        return isKnown ? null : Invalid(name, $"strconv.ParseBool: parsing {Quote(text)}: invalid syntax");
    }

    /// <summary>The parameter <c>limit</c>: how much is wanted; 0 means everything.</summary>
    /// <returns>Null, or what is wrong.</returns>
    public string? TryLimit(out long limit)
    {
        limit = 0;
        string text = First("limit");
        if (text.Length == 0) return null;
        if (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out limit))
        {
            string problem = text.AsSpan().TrimStart("+-").IndexOfAnyExceptInRange('0', '9') < 0 && text.Length > 1 ? "value out of range" : "invalid syntax";
            return Invalid("limit", $"strconv.Atoi: parsing {Quote(text)}: {problem}");
        }

        return limit < 0 ? Invalid("limit", "limit must be non-negative") : null;
    }

    /// <summary>The parameters <c>start</c> and <c>end</c>: Unix seconds with decimals, or RFC 3339; all of time where they are left out.</summary>
    /// <returns>Null, or what is wrong.</returns>
    public string? TryRange(out TimeRange range)
    {
        range = default;
        string? problem = TryTime("start", long.MinValue, out long start);
        problem ??= TryTime("end", long.MaxValue, out long end) ?? Take(start, end, out range);
        return problem;
    }

    private static string? Take(long start, long end, out TimeRange range)
    {
        range = new TimeRange(start, end);
        return null;
    }

    private static (HttpAnswer? Refused, ApiQuery? Query) Parse(IQueryCollection address, string form)
    {
        try
        {
            using var reader = new FormReader(form) { ValueCountLimit = 256, KeyLengthLimit = 256, ValueLengthLimit = MaxForm };
            return (null, new ApiQuery(address, reader.ReadForm()));
        }
        catch (InvalidDataException broken)
        {
            return (HttpAnswers.BadRead($"error parsing form values: {broken.Message}"), null);
        }
    }

    private static bool IsForm(string? contentType) =>
        contentType is not null && contentType.Split(';')[0].Trim().Equals("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase);

    private string? TryTime(string name, long absent, out long timeMs)
    {
        timeMs = absent;
        string text = First(name);
        if (text.Length == 0 || TrySeconds(text, out timeMs) || TryRfc3339(text, out timeMs)) return null;
        return Invalid(name, $"invalid time value for '{name}': cannot parse {Quote(text)} to a valid timestamp");
    }

    private static bool TrySeconds(string text, out long timeMs)
    {
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        timeMs = 0;
        if (TryEndOfTime(text, out timeMs)) return true;
        if (!double.TryParse(text, Style, CultureInfo.InvariantCulture, out double seconds) || !double.IsFinite(seconds)) return false;

        // As Prometheus rounds it; a cast takes what is beyond the ends of time to them.
        double whole = Math.Truncate(seconds);
        timeMs = Math.Abs(whole) < long.MaxValue / 1000 ? (long)whole * 1000 + (long)Math.Round((seconds - whole) * 1000) : (long)(seconds * 1000);
        return true;
    }

    /// <summary>The words for it; a number too large to be one is none.</summary>
    private static bool TryEndOfTime(string text, out long timeMs)
    {
        timeMs = text.StartsWith('-') ? long.MinValue : long.MaxValue;
        ReadOnlySpan<char> word = text.Length > 0 && text[0] is '+' or '-' ? text.AsSpan(1) : text;
        return word.Equals("inf", StringComparison.OrdinalIgnoreCase) || word.Equals("infinity", StringComparison.OrdinalIgnoreCase);
    }

    private static bool TryRfc3339(string text, out long timeMs)
    {
        timeMs = 0;
        int fraction = text.IndexOf('.', StringComparison.Ordinal);
        if (fraction >= 0)
        {
            // Nanoseconds are more digits than a tick has.
            int end = fraction + 1;
            while (end < text.Length && char.IsAsciiDigit(text[end])) end++;
            if (end - fraction > 8) text = string.Concat(text.AsSpan(0, fraction + 8), text.AsSpan(end));
        }

        bool isTime = DateTimeOffset.TryParseExact(text, "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateTimeOffset time)
            && (text[^1] == 'Z' || text[^3] == ':' && text[^6] is '+' or '-');
        if (isTime) timeMs = time.ToUnixTimeMilliseconds();
        return isTime;
    }

    private static string Invalid(string name, string problem) => $"invalid parameter \"{name}\": {problem}";

    private static string Quote(string text) => $"\"{(text.Length <= 256 ? text : text[..256] + "...")}\"";
}
