using System.Buffers;
using System.Globalization;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>
/// Bytes that came from outside, as text that is safe in a message or a log: escaped as Go's <c>%q</c> does, and bounded.
/// </summary>
public static class LabelText
{
    /// <summary>
    /// Appends the bytes, escaped, without quotes, until <paramref name="text"/> holds <paramref name="maxChars"/> characters or a few
    /// more.
    /// </summary>
    /// <returns>False if not all bytes were appended.</returns>
    public static bool AppendEscaped(StringBuilder text, ReadOnlySpan<byte> utf8, int maxChars)
    {
        while (!utf8.IsEmpty)
        {
            if (text.Length >= maxChars) return false;
            if (Rune.DecodeFromUtf8(utf8, out Rune rune, out int consumed) == OperationStatus.Done) AppendRune(text, rune);
            else
            {
                foreach (byte b in utf8[..consumed]) AppendHex(text, "\\x", b, "x2");
            }

            utf8 = utf8[consumed..];
        }

        return true;
    }

    /// <summary>The bytes, escaped, without quotes, cut after about <paramref name="maxChars"/> characters.</summary>
    public static string Escape(ReadOnlySpan<byte> utf8, int maxChars)
    {
        var text = new StringBuilder();
        return AppendEscaped(text, utf8, maxChars) ? text.ToString() : text.Append("...").ToString();
    }

    private static void AppendRune(StringBuilder text, Rune rune)
    {
        switch (rune.Value)
        {
            case '"': text.Append("\\\""); break;
            case '\\': text.Append("\\\\"); break;
            case '\a': text.Append("\\a"); break;
            case '\b': text.Append("\\b"); break;
            case '\f': text.Append("\\f"); break;
            case '\n': text.Append("\\n"); break;
            case '\r': text.Append("\\r"); break;
            case '\t': text.Append("\\t"); break;
            case '\v': text.Append("\\v"); break;
            case < ' ' or 0x7F: AppendHex(text, "\\x", rune.Value, "x2"); break;
            default:
                if (IsPrintable(rune)) text.Append(rune.ToString());
                else if (rune.IsBmp) AppendHex(text, "\\u", rune.Value, "x4");
                else AppendHex(text, "\\U", rune.Value, "x8");
                break;
        }
    }

    /// <summary>
    /// Letters, marks, numbers, punctuation, symbols and the space: no control, no bidirectional override, nothing invisible.
    /// </summary>
    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or
        UnicodeCategory.OtherNotAssigned or UnicodeCategory.SpaceSeparator or
        UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);

    private static void AppendHex(StringBuilder text, string prefix, int value, string format) =>
        text.Append(prefix).Append(value.ToString(format, CultureInfo.InvariantCulture));
}
