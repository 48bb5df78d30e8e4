using System.Text;

namespace TsdbRemote.Endpoints;

/// <summary>Label names of any characters as a path has them: <c>U__</c>, then each underscore doubled and other characters as <c>_HEX_</c>.</summary>
internal static class EscapedName
{
    private const string Prefix = "U__";

    // As Prometheus counts them (prometheus/common: model/metric.go): one fewer than the largest code point has.
    private const int MaxHexDigits = 5;

    /// <summary>The name meant; the text itself where it is not so escaped.</summary>
    public static string Unescape(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal)) return text;
        var name = new StringBuilder();
        for (int at = Prefix.Length; at < text.Length; at++)
        {
            if (text[at] != '_')
            {
                name.Append(text[at]);
                continue;
            }

            int end = text.IndexOf('_', at + 1);
            if (end == at + 1) name.Append('_');
            else if (end < 0 || !TryRune(text.AsSpan(at + 1, end - at - 1), out Rune rune)) return text;
            else name.Append(rune.ToString());
            at = end;
        }

        return name.ToString();
    }

    private static bool TryRune(ReadOnlySpan<char> hex, out Rune rune)
    {
        rune = default;
        return hex.Length <= MaxHexDigits
            && int.TryParse(hex, System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture, out int value)
            && Rune.TryCreate(value, out rune);
    }
}
