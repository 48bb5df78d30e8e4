using System.Globalization;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>Writes a parsed expression as a .NET pattern over UTF-16 that matches exactly the same well-formed texts.</summary>
/// <remarks>
/// One code point is one or two UTF-16 units here, so a set becomes a class of its BMP members beside pairs of surrogate ranges. <c>.*</c> alone
/// may run over single units: on well-formed text nothing but another <c>.*</c> could go on from the middle of a pair. All names, flags,
/// escapes and case variants were resolved by the parser; what is written here has one meaning only, whatever the options.
/// </remarks>
internal static class Re2Translator
{
    private const int FirstAstral = 0x10000;
    private const int FirstSurrogate = 0xD800;
    private const int LastSurrogate = 0xDFFF;

    // A dot takes 60 characters, a class of letters thousands; what is longer than this the automaton's own limit would refuse too.
    private const int MaxChars = 1 << 20;

    /// <summary>The anchored .NET pattern.</summary>
    /// <exception cref="MatcherException">It would be too long.</exception>
    public static string Translate(Re2Node node)
    {
        var text = new StringBuilder(@"\A(?:");
        Write(text, node);
        return text.Append(@")\z").ToString();
    }

    private static void Write(StringBuilder text, Re2Node node)
    {
        if (text.Length > MaxChars) throw new MatcherException("error parsing regexp: expression too large");
        switch (node.Op)
        {
            case Re2Op.Empty: text.Append("(?:)"); break;
            case Re2Op.Literal: WriteSet(text, CodePointSet.Of((node.CodePoint, node.CodePoint))); break;
            case Re2Op.Set: WriteSet(text, node.CodePoints); break;
            case Re2Op.BeginText: text.Append(@"\A"); break;
            case Re2Op.EndText: text.Append(@"\z"); break;
            case Re2Op.BeginLine: text.Append("(?m:^)"); break;
            case Re2Op.EndLine: text.Append("(?m:$)"); break;
            case Re2Op.Concat:
                foreach (Re2Node child in node.Children) Write(text, child);
                break;
            case Re2Op.Alternate:
                WriteAlternatives(text, node.Children);
                break;
            default:
                WriteRepeat(text, node);
                break;
        }
    }

    private static void WriteAlternatives(StringBuilder text, IReadOnlyList<Re2Node> children)
    {
        text.Append("(?:");
        for (int i = 0; i < children.Count; i++)
        {
            if (i > 0) text.Append('|');
            Write(text, children[i]);
        }

        text.Append(')');
    }

    private static void WriteRepeat(StringBuilder text, Re2Node node)
    {
        Re2Node child = node.Children[0];
        if (child.Op == Re2Op.Set && child.CodePoints.IsAny && node.Min == 0 && node.Max == Re2Node.Unbounded)
        {
            text.Append(@"[\s\S]*");
            return;
        }

        text.Append("(?:");
        Write(text, child);
        text.Append(CultureInfo.InvariantCulture, $"){{{node.Min},");
        if (node.Max != Re2Node.Unbounded) text.Append(CultureInfo.InvariantCulture, $"{node.Max}");
        text.Append('}');
    }

    private static void WriteSet(StringBuilder text, CodePointSet set)
    {
        var bmp = new StringBuilder();
        var pairs = new StringBuilder();
        foreach ((int low, int high) in set.Ranges)
        {
            WriteRange(bmp, low, Math.Min(high, FirstSurrogate - 1));
            WriteRange(bmp, Math.Max(low, LastSurrogate + 1), Math.Min(high, FirstAstral - 1));
            WritePairs(pairs, Math.Max(low, FirstAstral), high);
        }

        if (pairs.Length == 0)
        {
            if (bmp.Length == 0) text.Append(@"[^\s\S]");   // nothing: only surrogates, which no text contains
            else text.Append('[').Append(bmp).Append(']');
            return;
        }

        text.Append("(?:");
        if (bmp.Length > 0) text.Append('[').Append(bmp).Append("]|");
        text.Append(pairs, 0, pairs.Length - 1).Append(')');
    }

    /// <summary>Astral code points as <c>[high][low]|</c>: the first and last row may be partial, those between are whole.</summary>
    private static void WritePairs(StringBuilder pairs, int low, int high)
    {
        while (low <= high)
        {
            int row = low | 0x3FF;
            int end = Math.Min(row, high);
            int lastHigh = HighSurrogate(low);
            if ((low & 0x3FF) == 0 && end == row)
            {
                int wholeRows = (high + 1 - low) >> 10;
                end = low + (wholeRows << 10) - 1;
                lastHigh = HighSurrogate(end);
            }

            pairs.Append('[');
            WriteRange(pairs, HighSurrogate(low), lastHigh);
            pairs.Append("][");
            WriteRange(pairs, LowSurrogate(low), LowSurrogate(end));
            pairs.Append("]|");
            low = end + 1;
        }
    }

    private static int HighSurrogate(int codePoint) => FirstSurrogate + ((codePoint - FirstAstral) >> 10);

    private static int LowSurrogate(int codePoint) => 0xDC00 + (codePoint & 0x3FF);

    private static void WriteRange(StringBuilder text, int low, int high)
    {
        if (low > high) return;
        WriteUnit(text, low);
        if (high > low) WriteUnit(text.Append('-'), high);
    }

    private static void WriteUnit(StringBuilder text, int unit)
    {
        if (unit < 0x80 && char.IsAsciiLetterOrDigit((char)unit)) text.Append((char)unit);
        else text.Append(CultureInfo.InvariantCulture, $@"\u{unit:X4}");
    }
}
