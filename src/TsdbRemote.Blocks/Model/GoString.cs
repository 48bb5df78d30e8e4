using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>Go's string literals, as PromQL has them: <c>"…"</c> and <c>'…'</c> with escapes, <c>`…`</c> without.</summary>
/// <remarks>Escapes: <c>\a \b \f \n \r \t \v \\</c>, the quote itself, <c>\101 \x41</c> (bytes), <c>\u00e9 \U0001F600</c> (code points).</remarks>
internal static class GoString
{
    private const string Letters = "abfnrtv\\";
    private const string Meanings = "\a\b\f\n\r\t\v\\";

    /// <summary>Steps over an escape, behind its backslash.</summary>
    /// <returns>What is wrong with it; null if nothing.</returns>
    public static string? SkipEscape(ReadOnlySpan<byte> input, ref int at, byte quote)
    {
        if (at >= input.Length) return "escape sequence not terminated";
        byte kind = input[at];
        if (kind == quote || Letters.Contains((char)kind, StringComparison.Ordinal))
        {
            at++;
            return null;
        }

        (int digits, uint numberBase, uint most) = FormOf(kind);
        if (digits == 0) return $"unknown escape sequence {Describe(input[at..])}";
        if (numberBase == 16) at++;
        uint value = 0;
        for (; digits > 0; digits--, at++)
        {
            if (at >= input.Length) return "escape sequence not terminated";
            uint digit = DigitOf(input[at]);
            if (digit >= numberBase) return $"illegal character {Describe(input[at..])} in escape sequence";
            value = value * numberBase + digit;
        }

        return value > most || value is >= 0xD800 and < 0xE000 ? "escape sequence is an invalid Unicode code point" : null;
    }

    /// <summary>What a literal stands for; its escapes hold.</summary>
    /// <returns>False if it is not UTF-8.</returns>
    public static bool TryUnquote(string literal, [NotNullWhen(true)] out string? text)
    {
        text = literal[1..^1];
        if (literal[0] == '`' || !text.Contains('\\', StringComparison.Ordinal)) return true;
        byte[] utf8 = System.Text.Encoding.UTF8.GetBytes(text);
        int length = 0;
        for (int at = 0; at < utf8.Length;)
        {
            if (utf8[at++] != '\\') utf8[length++] = utf8[at - 1];
            else length += Unescape(utf8, ref at, length);
        }

        // What is written is never longer than what was read, so one array does.
        ReadOnlySpan<byte> meant = utf8.AsSpan(0, length);
        text = System.Text.Unicode.Utf8.IsValid(meant) ? System.Text.Encoding.UTF8.GetString(meant) : null;
        return text is not null;
    }

    /// <summary>A character in single quotes, as Go's <c>%q</c> has it.</summary>
    public static string Quote(Rune rune) => rune.Value switch
    {
        '\'' => "'\\''",
        '"' => "'\"'",
        _ => $"'{LabelText.Escape(System.Text.Encoding.UTF8.GetBytes(rune.ToString()), int.MaxValue)}'",
    };

    private static int Unescape(Span<byte> utf8, ref int at, int target)
    {
        byte kind = utf8[at];
        (int digits, uint numberBase, uint most) = FormOf(kind);
        if (digits == 0)
        {
            at++;
            int letter = Letters.IndexOf((char)kind, StringComparison.Ordinal);
            utf8[target] = letter < 0 ? kind : (byte)Meanings[letter];
            return 1;
        }

        if (numberBase == 16) at++;
        uint value = 0;
        for (; digits > 0; digits--) value = value * numberBase + DigitOf(utf8[at++]);
        if (most > byte.MaxValue) return new Rune(value).EncodeToUtf8(utf8[target..]);
        utf8[target] = (byte)value;
        return 1;
    }

    private static (int Digits, uint Base, uint Most) FormOf(byte kind) => (char)kind switch
    {
        >= '0' and <= '7' => (3, 8u, byte.MaxValue),
        'x' => (2, 16u, byte.MaxValue),
        'u' => (4, 16u, 0x10FFFF),
        'U' => (8, 16u, 0x10FFFF),
        _ => default,
    };

    private static uint DigitOf(byte c) => char.IsAsciiHexDigit((char)c) ? (uint)Convert.ToInt32(((char)c).ToString(), 16) : 16;

    // As Go's %#U has it.
    private static string Describe(ReadOnlySpan<byte> input)
    {
        if (Rune.DecodeFromUtf8(input, out Rune rune, out _) != OperationStatus.Done) rune = Rune.ReplacementChar;
        string code = rune.Value.ToString("X4", CultureInfo.InvariantCulture);
        return Rune.IsControl(rune) ? $"U+{code}" : $"U+{code} '{rune}'";
    }
}
