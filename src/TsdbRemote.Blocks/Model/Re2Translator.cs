using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>Writes a parsed expression as a .NET pattern over the symbols of a <see cref="Re2Alphabet"/>.</summary>
/// <remarks>
/// Names, flags, escapes and case variants were resolved by the parser, characters by the alphabet: what is written here uses nothing on
/// which RE2 and .NET disagree. In particular <c>$</c> stands only as <c>(?m:$)</c>, and what means all characters is a class, not a dot.
/// </remarks>
internal static class Re2Translator
{
    // The automaton's own limit refuses such expressions too, but only after reading them.
    private const int MaxChars = 1 << 20;

    /// <summary>The pattern, anchored at both ends.</summary>
    /// <exception cref="MatcherException">It would be too long.</exception>
    public static string Translate(Re2Node node, Re2Alphabet alphabet)
    {
        var text = new StringBuilder(@"\A(?:");
        Write(text, node, alphabet);
        return text.Append(@")\z").ToString();
    }

    private static void Write(StringBuilder text, Re2Node node, Re2Alphabet alphabet)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (text.Length > MaxChars) throw new MatcherException("error parsing regexp: expression too large");
        switch (node.Op)
        {
            case Re2Op.Empty: text.Append("(?:)"); break;
            case Re2Op.Literal or Re2Op.Set: WriteSet(text, node.CodePoints, alphabet); break;
            case Re2Op.BeginText: text.Append(@"\A"); break;
            case Re2Op.EndText: text.Append(@"\z"); break;
            case Re2Op.BeginLine: text.Append("(?m:^)"); break;
            case Re2Op.EndLine: text.Append("(?m:$)"); break;
            case Re2Op.WordBoundary: text.Append(@"\b"); break;
            case Re2Op.NoWordBoundary: text.Append(@"\B"); break;
            case Re2Op.Concat: WriteAll(text, node, "", alphabet); break;
            case Re2Op.Alternate: WriteAll(text, node, "|", alphabet); break;
            case Re2Op.Repeat:
                WriteAll(text, node, "", alphabet);
                text.Append(CultureInfo.InvariantCulture, $"{{{node.Min},");
                if (node.Max != Re2Node.Unbounded) text.Append(CultureInfo.InvariantCulture, $"{node.Max}");
                text.Append('}');
                break;
        }
    }

    private static void WriteAll(StringBuilder text, Re2Node node, string separator, Re2Alphabet alphabet)
    {
        text.Append("(?:");
        for (int i = 0; i < node.Children.Count; i++)
        {
            if (i > 0) text.Append(separator);
            Write(text, node.Children[i], alphabet);
        }

        text.Append(')');
    }

    private static void WriteSet(StringBuilder text, CodePointSet set, Re2Alphabet alphabet)
    {
        if (set.IsAny)
        {
            text.Append(@"[\s\S]");
            return;
        }

        char[] symbols = [.. alphabet.SymbolsOf(set)];
        if (symbols.Length == 0)
        {
            text.Append(@"[^\s\S]");   // a class without members; .NET has no other way to say it
            return;
        }

        if (symbols.Length > 1) text.Append('[');
        foreach (char symbol in symbols) text.Append(CultureInfo.InvariantCulture, $@"\u{(int)symbol:X4}");
        if (symbols.Length > 1) text.Append(']');
    }
}
