using System.Buffers;
using System.Text;
using System.Text.RegularExpressions;

namespace TsdbRemote.Blocks.Model;

/// <summary>What a token of a selector is.</summary>
internal enum SelectorTokenKind
{
    /// <summary>The end of the text.</summary>
    End,

    /// <summary>A metric's or a label's name, unquoted.</summary>
    Name,

    /// <summary>A quoted string, not yet unquoted.</summary>
    Text,

    /// <summary>One of the four that compare a label.</summary>
    Operator,

    /// <summary><c>{</c></summary>
    LeftBrace,

    /// <summary><c>}</c></summary>
    RightBrace,

    /// <summary><c>,</c></summary>
    Comma,

    /// <summary>A number or a duration.</summary>
    Number,

    /// <summary>What else PromQL knows and a selector cannot have.</summary>
    Other,
}

/// <summary>One token.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Position">Where it begins, in bytes.</param>
/// <param name="Text">As it was written.</param>
/// <param name="Description">As an error names it.</param>
internal readonly record struct SelectorToken(SelectorTokenKind Kind, int Position, string Text, string Description)
{
    /// <summary>Of an operator: how it compares.</summary>
    public MatcherType Type { get; init; }
}

/// <summary>Cuts a selector into tokens, as Prometheus' lexer does (prometheus: promql/parser/lex.go): two modes, outside and inside of braces.</summary>
/// <remarks>Bytes in, so that positions are Prometheus'. Does no more work than the text is long. Not thread-safe.</remarks>
internal partial struct SelectorLexer
{
    // Longer texts are cut in messages.
    private const int MaxShown = 10;

    private readonly byte[] _input;
    private int _at;
    private int _open;

    /// <summary>Begins at the start of a text in valid UTF-8.</summary>
    public SelectorLexer(byte[] input) => _input = input;

    private readonly int Current => _at < _input.Length ? _input[_at] : -1;

    /// <summary>The next token outside of braces.</summary>
    public SelectorToken NextOutside()
    {
        SkipBlank();
        int start = _at;
        int c = Current;
        switch (c)
        {
            case < 0 when _open > 0: throw Error(start, "unclosed left parenthesis");
            case < 0: return new SelectorToken(SelectorTokenKind.End, start, "", "end of input");
            case '{': return Single(SelectorTokenKind.LeftBrace);
            case ',' or '[': return Single(SelectorTokenKind.Other);
            case '(':
                _open++;
                return Single(SelectorTokenKind.Other);
            case ')' when _open > 0:
                _open--;
                return Single(SelectorTokenKind.Other);
            case '*' or '/' or '%' or '+' or '-' or '^' or '@' or '<' or '>' or '=' or '!': return Symbol();
            case ')': throw Error(start + 1, "unexpected right parenthesis ')'");
            case ']': throw Error(start, "unexpected right bracket ']'");
            case '"' or '\'' or '`': return Quoted();
        }

        if (char.IsAsciiDigit((char)c) || (c == '.' && _at + 1 < _input.Length && char.IsAsciiDigit((char)_input[_at + 1]))) return Number();
        if (IsAlpha(c) || c == ':') return SelectorWords.TokenOf(start, Word(withColon: true));
        throw Error(start, $"unexpected character: {QuotedRune()}");
    }

    /// <summary>The next token inside of braces. There is always one: the end of the text is an error.</summary>
    public SelectorToken NextInside()
    {
        SkipBlank();
        int start = _at;
        int c = Current;
        switch (c)
        {
            case < 0: throw Error(start, "unexpected end of input inside braces");
            case '}': return Single(SelectorTokenKind.RightBrace);
            case ',': return Single(SelectorTokenKind.Comma);
            case '"' or '\'' or '`': return Quoted();
            case '=' or '!': return Comparison();
            case '{': throw Error(start, "unexpected left brace '{'");
        }

        if (!IsAlpha(c)) throw Error(start, $"unexpected character inside braces: {QuotedRune()}");
        string word = Word(withColon: false);
        return new SelectorToken(SelectorTokenKind.Name, start, word, $"identifier \"{word}\"");
    }

    /// <summary>Reads the range behind a left bracket, up to and with the right one: <c>5m]</c>, <c>1h:5m]</c>, <c>1h:]</c>.</summary>
    /// <returns>True if it is that of a subquery.</returns>
    public bool ReadRange()
    {
        SkipBlank();
        if (Current < 0) throw Error(_at, "unexpected end of input in duration expression");
        if (!IsDigit(Current)) throw Error(_at, $"unexpected \"{ShownRune()}\" in subquery selector, expected number or duration");
        Number();
        SkipBlank();
        bool isSubquery = Current == ':';
        if (isSubquery)
        {
            _at++;
            SkipBlank();
            if (IsDigit(Current)) Number();
            SkipBlank();
        }

        if (Current < 0) throw Error(_at, "unclosed left bracket");
        if (Current != ']') throw Error(_at, $"unexpected \"{ShownRune()}\" in subquery or range selector, expected \"]\"");
        _at++;
        return isSubquery;
    }

    /// <summary>What a quoted string stands for.</summary>
    /// <exception cref="SelectorException">It is not UTF-8: no label of any series can be that.</exception>
    public readonly string Unquote(SelectorToken token) =>
        GoString.TryUnquote(token.Text, out string? text) ? text : throw Error(token.Position, "a string that is not valid UTF-8 matches no label");

    /// <summary>An error that names the place.</summary>
    public readonly SelectorException Error(int position, string problem) =>
        _input.Length == 0 ? Nowhere(problem) : new SelectorException($"{PlaceOf(position)}: parse error: {problem}");

    /// <summary>An error that has no place.</summary>
    public static SelectorException Nowhere(string problem) => new($"unknown position: parse error: {problem}");

    /// <summary>A place as errors name it: line and column from 1.</summary>
    public readonly string PlaceOf(int position)
    {
        ReadOnlySpan<byte> before = _input.AsSpan(0, Math.Min(position, _input.Length));
        int line = before.Count((byte)'\n') + 1;
        int column = position - before.LastIndexOf((byte)'\n');
        return FormattableString.Invariant($"{line}:{column}");
    }

    /// <summary>An error that says what was found, and perhaps what was expected.</summary>
    public readonly SelectorException Unexpected(SelectorToken token, string where = "", string? expected = null) =>
        Error(token.Position, $"unexpected {token.Description}{where}{(expected is null ? "" : $", expected {expected}")}");

    private static bool IsDigit(int c) => c >= 0 && char.IsAsciiDigit((char)c);

    private static bool IsAlpha(int c) => c == '_' || (c >= 0 && char.IsAsciiLetter((char)c));

    private static string Shown(string text)
    {
        byte[] utf8 = System.Text.Encoding.UTF8.GetBytes(text);
        if (utf8.Length <= MaxShown) return $"\"{LabelText.Escape(utf8, int.MaxValue)}\"";
        string cut = string.Concat(text.EnumerateRunes().Take(MaxShown).Select(static rune => rune.ToString()));
        return $"\"{LabelText.Escape(System.Text.Encoding.UTF8.GetBytes(cut), int.MaxValue)}\"...";
    }

    private void SkipBlank()
    {
        while (Current is ' ' or '\t' or '\n' or '\r' or '#')
        {
            if (Current != '#') _at++;
            else
            {
                int end = _input.AsSpan(_at).IndexOfAny((byte)'\n', (byte)'\r');
                _at = end < 0 ? _input.Length : _at + end;
            }
        }
    }

    private SelectorToken Single(SelectorTokenKind kind)
    {
        string text = ((char)_input[_at]).ToString();
        return new SelectorToken(kind, _at++, text, $"\"{text}\"");
    }

    private readonly string TextFrom(int start) => System.Text.Encoding.UTF8.GetString(_input, start, _at - start);

    private string Word(bool withColon)
    {
        int start = _at;
        while (IsAlpha(Current) || (Current >= 0 && char.IsAsciiDigit((char)Current)) || (withColon && Current == ':')) _at++;
        return TextFrom(start);
    }

    private SelectorToken Comparison()
    {
        int start = _at;
        bool negates = _input[_at++] == '!';
        bool isRegex = Current == '~';
        if (negates && Current is not ('=' or '~')) throw Error(start, $"unexpected character after '!' inside braces: {QuotedRune()}");
        if (negates || isRegex) _at++;
        MatcherType type = (negates, isRegex) switch
        {
            (false, false) => MatcherType.Equal,
            (true, false) => MatcherType.NotEqual,
            (false, true) => MatcherType.Regex,
            _ => MatcherType.NotRegex,
        };
        string text = TextFrom(start);
        return new SelectorToken(SelectorTokenKind.Operator, start, text, type == MatcherType.Equal ? "\"=\"" : $"<op:{text}>") { Type = type };
    }

    /// <summary>An operator that expressions have, selectors not.</summary>
    private SelectorToken Symbol()
    {
        int start = _at;
        int first = _input[_at++];
        if (first == '=' && Current == '~') throw Error(start, "unexpected character after '=': '~'");
        if (first == '!' && Current != '=') throw Error(start, $"unexpected character after '!': {QuotedRune()}");
        if (first is '=' or '!' or '<' or '>' && Current == '=') _at++;
        string text = TextFrom(start);
        string description = text switch { "=" => "\"=\"", "@" => "\"@\"", _ => $"<op:{text}>" };
        return new SelectorToken(SelectorTokenKind.Other, start, text, description);
    }

    private SelectorToken Number()
    {
        int start = _at;
        bool isDuration = false;
        bool isHex = Current == '0' && _at + 1 < _input.Length && _input[_at + 1] is (byte)'x' or (byte)'X';
        while (Current is '.' or '_' || (Current >= 0 && char.IsAsciiLetterOrDigit((char)Current)))
        {
            isDuration |= Current is 's' or 'm' or 'h' or 'd' or 'w' or 'y' && !isHex;
            bool hasExponent = Current is 'e' or 'E' && !isHex;
            _at++;
            if (hasExponent && Current is '+' or '-') _at++;
        }

        string text = TextFrom(start);
        if (!IsNumber().IsMatch(text)) throw Error(start, $"bad number or duration syntax: {Shown(text)}");
        return new SelectorToken(SelectorTokenKind.Number, start, text, $"{(isDuration ? "duration" : "number")} {Shown(text)}");
    }

    private SelectorToken Quoted()
    {
        int start = _at;
        byte quote = _input[_at++];
        bool isRaw = quote == '`';
        while (Current != quote)
        {
            if (Current < 0 || (!isRaw && Current == '\n')) throw Error(start, isRaw ? "unterminated raw string" : "unterminated quoted string");
            if (_input[_at++] != '\\' || isRaw) continue;
            string? problem = GoString.SkipEscape(_input, ref _at, quote);
            if (problem is not null) throw Error(start, problem);
        }

        _at++;
        string text = TextFrom(start);
        return new SelectorToken(SelectorTokenKind.Text, start, text, $"string {Shown(text)}");
    }

    private readonly string QuotedRune() => GoString.Quote(CurrentRune());

    private readonly string ShownRune() => CurrentRune().ToString();

    private readonly Rune CurrentRune() =>
        _at < _input.Length && Rune.DecodeFromUtf8(_input.AsSpan(_at), out Rune found, out _) == OperationStatus.Done ? found : Rune.ReplacementChar;

    /// <summary>A number of Go's, or a duration.</summary>
    [GeneratedRegex(@"\A(0[xX][0-9a-fA-F_]+|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?|([0-9]+(ms|[ywdhms]))+)\z", RegexOptions.NonBacktracking)]
    private static partial Regex IsNumber();
}
