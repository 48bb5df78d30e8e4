namespace TsdbRemote.Blocks.Model;

/// <summary>
/// UTF-8 text with gaps, the common shape of matchers: <c>foo</c>, <c>foo.*</c>, <c>.*foo</c>, <c>a.+b.*c</c>. Compared on bytes, without
/// an automaton.
/// </summary>
/// <remarks>
/// A template is a byte string in which <see cref="AnyGap"/> stands for <c>.*</c> and <see cref="SomeGap"/> for <c>.+</c>; neither byte
/// occurs in UTF-8. Pieces between gaps are whole code points, so that a piece found in well-formed UTF-8 always starts and ends between
/// code points, and a gap of one byte or more is one code point or more.
/// </remarks>
internal static class Re2Template
{
    /// <summary>Any text, the empty one too.</summary>
    public const byte AnyGap = 0xFF;

    /// <summary>Any text but the empty one.</summary>
    public const byte SomeGap = 0xFE;

    /// <summary>Offset of the first gap, or -1.</summary>
    public static int GapIn(ReadOnlySpan<byte> template) => template.IndexOfAny(SomeGap, AnyGap);

    /// <summary>True if the template covers the whole value.</summary>
    public static bool Matches(ReadOnlySpan<byte> template, ReadOnlySpan<byte> value)
    {
        int gap = GapIn(template);
        if (gap < 0) return template.SequenceEqual(value);
        if (!value.StartsWith(template[..gap])) return false;

        // Taking each piece where it first occurs leaves the most room for the rest.
        int at = gap;
        while (true)
        {
            if (template[gap] == SomeGap) at++;
            template = template[(gap + 1)..];
            gap = GapIn(template);
            if (gap < 0) return value.Length - at >= template.Length && value.EndsWith(template);
            if (at > value.Length) return false;
            int found = value[at..].IndexOf(template[..gap]);
            if (found < 0) return false;
            at += found + gap;
        }
    }

    /// <summary>Joins two templates; gaps that meet become one.</summary>
    /// <returns>Null for <c>.+.+</c>, which is no gap but two code points.</returns>
    public static byte[]? Join(byte[] left, byte[] right)
    {
        if (left.Length == 0) return right;
        if (right.Length == 0) return left;
        if (left[^1] < SomeGap || right[0] < SomeGap) return [.. left, .. right];
        if (left[^1] == SomeGap && right[0] == SomeGap) return null;
        return [.. left.AsSpan(0, left.Length - 1), Math.Min(left[^1], right[0]), .. right.AsSpan(1)];
    }
}
