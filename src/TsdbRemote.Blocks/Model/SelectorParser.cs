namespace TsdbRemote.Blocks.Model;

/// <summary>One condition of a selector as it was written; <see cref="Matcher.Create"/> compiles it.</summary>
/// <param name="Type">How it compares.</param>
/// <param name="Name">The label's name.</param>
/// <param name="Value">The value or expression.</param>
public sealed record SelectorTerm(MatcherType Type, string Name, string Value);

/// <summary>A text is no selector. The message is Prometheus': line and column from 1, what was found, what was expected.</summary>
public sealed class SelectorException(string message) : Exception(message);

/// <summary>Reads a PromQL vector selector, such as <c>up{job=~"a|b", instance!="c"}</c> or <c>{"my.metric", "a label"="x"}</c>.</summary>
/// <remarks>
/// <code>
/// selector   name? braces? | name                     at least one of the two
/// braces     '{' ( term ( ',' term )* ','? )? '}'
/// term       identifier op string | string op string | string      the last one is a metric name
/// op         =  !=  =~  !~
/// </code>
/// Strings are Go's: in double or single quotes with escapes, in backticks without. As Prometheus' ParseMetricSelector (prometheus: promql/parser) does, several
/// names are all required at once, and the terms come in the order in which they were written, the name before the braces last. What can never be refused by
/// a store is not judged here: whether a selector says enough is the caller's question.
/// Bounded: by <see cref="MaxBytes"/> and <see cref="MaxTerms"/>; no recursion.
/// </remarks>
public static class SelectorParser
{
    /// <summary>Most UTF-8 bytes of a selector: a little more than its longest term.</summary>
    public const int MaxBytes = Matcher.MaxLiteralsBytes + (64 << 10);

    /// <summary>Most terms of a selector.</summary>
    public const int MaxTerms = 100;

    private const string Where = " in label matching";

    /// <summary>Reads a selector and checks the syntax of its expressions.</summary>
    /// <exception cref="SelectorException">It is none, or too long.</exception>
    public static IReadOnlyList<SelectorTerm> Parse(string selector)
    {
        ArgumentNullException.ThrowIfNull(selector);
        var lexer = new SelectorLexer(Utf8Of(selector));
        var terms = new List<SelectorTerm>();
        SelectorToken token = lexer.NextOutside();
        string? name = null;
        if (token.Kind == SelectorTokenKind.Name)
        {
            name = token.Text;
            token = lexer.NextOutside();
        }
        else if (token.Kind != SelectorTokenKind.LeftBrace)
        {
            throw lexer.Unexpected(token);
        }

        if (token.Kind == SelectorTokenKind.LeftBrace)
        {
            ReadBraces(ref lexer, terms);
            token = lexer.NextOutside();
        }

        if (token.Kind != SelectorTokenKind.End) throw lexer.Unexpected(token);
        if (name is not null) terms.Add(new SelectorTerm(MatcherType.Equal, "__name__", name));
        return terms;
    }

    /// <summary>The text's bytes.</summary>
    /// <exception cref="SelectorException">It is too long.</exception>
    internal static byte[] Utf8Of(string text) => text.Length <= MaxBytes && System.Text.Encoding.UTF8.GetByteCount(text) <= MaxBytes
        ? System.Text.Encoding.UTF8.GetBytes(text)
        : throw new SelectorException($"selector is longer than {MaxBytes} bytes");

    /// <summary>Reads the terms behind a left brace, up to and with the right one.</summary>
    internal static void ReadBraces(ref SelectorLexer lexer, List<SelectorTerm> terms)
    {
        SelectorToken token = lexer.NextInside();
        while (token.Kind != SelectorTokenKind.RightBrace)
        {
            if (token.Kind is not (SelectorTokenKind.Name or SelectorTokenKind.Text)) throw lexer.Unexpected(token, Where, "identifier or \"}\"");
            if (terms.Count == MaxTerms) throw lexer.Error(token.Position, $"more than {MaxTerms} matchers");
            token = ReadTerm(ref lexer, token, terms);
            if (token.Kind == SelectorTokenKind.RightBrace) return;
            if (token.Kind != SelectorTokenKind.Comma) throw lexer.Unexpected(token, Where, "\",\" or \"}\"");
            token = lexer.NextInside();
        }
    }

    /// <summary>Reads the term that begins with a token.</summary>
    /// <returns>The first token behind it.</returns>
    private static SelectorToken ReadTerm(ref SelectorLexer lexer, SelectorToken first, List<SelectorTerm> terms)
    {
        SelectorToken token = lexer.NextInside();
        if (token.Kind != SelectorTokenKind.Operator)
        {
            if (first.Kind != SelectorTokenKind.Text) throw lexer.Unexpected(token, Where, "label matching operator");
            terms.Add(new SelectorTerm(MatcherType.Equal, "__name__", lexer.Unquote(first)));
            return token;
        }

        SelectorToken value = lexer.NextInside();
        if (value.Kind != SelectorTokenKind.Text) throw lexer.Unexpected(value, Where, "string");
        var term = new SelectorTerm(token.Type, first.Kind == SelectorTokenKind.Text ? lexer.Unquote(first) : first.Text, lexer.Unquote(value));
        try
        {
            Matcher.CheckSyntax(term.Type, term.Value);
        }
        catch (MatcherException refused)
        {
            throw lexer.Error(first.Position, refused.Message);
        }

        terms.Add(term);
        return lexer.NextInside();
    }
}
