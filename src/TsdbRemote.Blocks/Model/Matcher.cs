namespace TsdbRemote.Blocks.Model;

/// <summary>How a matcher compares; the numbers are those of the remote-read protocol.</summary>
public enum MatcherType
{
    /// <summary><c>=</c></summary>
    Equal = 0,

    /// <summary><c>!=</c></summary>
    NotEqual = 1,

    /// <summary><c>=~</c>, the whole value.</summary>
    Regex = 2,

    /// <summary><c>!~</c>, the whole value.</summary>
    NotRegex = 3,
}

/// <summary>One condition on a label of a series, with Prometheus' meaning: an absent label has the empty value.</summary>
/// <remarks>
/// Regular expressions are RE2's (see <see cref="Re2Parser"/>), matched against the whole value, the dot matching line feeds.
/// Thread-safe. Creating one usually costs some milliseconds, for the largest expressions some hundred, and cannot be interrupted: create once
/// per query and evaluate once per distinct value. <see cref="CheckSyntax"/> is the cheap part.
/// </remarks>
public sealed class Matcher
{
    /// <summary>Most UTF-8 bytes of a matcher's name and of its value or expression.</summary>
    public const int MaxBytes = 16 * 1024;

    /// <summary>Most UTF-8 bytes of an expression that is nothing but literal values, such as <c>a|b</c> or <c>(a|b)</c>: it needs no automaton.</summary>
    public const int MaxLiteralsBytes = 1 << 20;

    private readonly byte[] _nameUtf8;
    private readonly byte[] _valueUtf8;
    private readonly Re2Pattern? _pattern;

    private Matcher(MatcherType type, string name, string value)
    {
        Type = type;
        Name = name;
        Value = value;
        _nameUtf8 = Encode(name, "name", MaxBytes);
        bool isRegex = IsRegex(type);
        byte[][]? literals = isRegex ? LiteralsOf(value) : null;
        _valueUtf8 = Encode(value, "value", literals is null ? MaxBytes : MaxLiteralsBytes);
        if (isRegex) _pattern = literals is null ? Re2Pattern.Compile(value) : Re2Pattern.Of(literals);
        if (type == MatcherType.Equal) SetMatches = [_valueUtf8];
        if (type == MatcherType.Regex)
        {
            SetMatches = _pattern!.Values;
            Prefix = _pattern.Prefix.Length > 0 ? _pattern.Prefix : null;
        }

        MatchesEmpty = Matches([]);
    }

    /// <summary>How it compares.</summary>
    public MatcherType Type { get; }

    /// <summary>The label's name.</summary>
    public string Name { get; }

    /// <summary>The value or expression as given.</summary>
    public string Value { get; }

    /// <summary>The label's name in UTF-8.</summary>
    public ReadOnlyMemory<byte> NameUtf8 => _nameUtf8;

    /// <summary>True if a series without the label matches.</summary>
    public bool MatchesEmpty { get; }

    /// <summary>
    /// All values that match, ascending by bytes, the empty one among them where it matches: for <see cref="MatcherType.Equal"/>, and for
    /// <see cref="MatcherType.Regex"/> where they are 256 at most, or more given as literals. Otherwise null.
    /// </summary>
    public IReadOnlyList<byte[]>? SetMatches { get; }

    /// <summary>
    /// Bytes with which every value begins that a <see cref="MatcherType.Regex"/> matches; null if there are none. May end inside a code
    /// point.
    /// </summary>
    public byte[]? Prefix { get; }

    private string Sign => Type switch { MatcherType.Equal => "=", MatcherType.NotEqual => "!=", MatcherType.Regex => "=~", _ => "!~" };

    /// <summary>Checks and compiles a matcher.</summary>
    /// <param name="type">How it compares.</param>
    /// <param name="name">The label's name; any text.</param>
    /// <param name="value">The value, or for the regex types the expression in RE2 syntax.</param>
    /// <exception cref="MatcherException">
    /// The type is unknown, something is too long, or the expression is refused; the text says which.
    /// </exception>
    public static Matcher Create(MatcherType type, string name, string value)
    {
        CheckType(type);
        return new Matcher(type, name, value);
    }

    /// <summary>Finds what is wrong with the syntax of a matcher, for a small part of what <see cref="Create"/> may cost.</summary>
    /// <remarks>What passes may still be refused by <see cref="Create"/> as too long or too large.</remarks>
    /// <param name="type">How it compares.</param>
    /// <param name="value">The value, or for the regex types the expression in RE2 syntax; at most <see cref="MaxBytes"/> characters are looked at.</param>
    /// <exception cref="MatcherException">The type is unknown, or the expression is no RE2 expression; the text is that of <see cref="Create"/>.</exception>
    public static void CheckSyntax(MatcherType type, string value)
    {
        CheckType(type);
        if (IsRegex(type) && value.Length <= MaxBytes && LiteralsOf(value) is null) Re2Pattern.CheckSyntax(value);
    }

    /// <summary>True if the value matches.</summary>
    /// <param name="valueUtf8">The label's value; empty if the series has no such label.</param>
    /// <exception cref="MatcherException">The expression is so expensive that this value and those before took a second longer than usual.</exception>
    public bool Matches(ReadOnlySpan<byte> valueUtf8) => Type switch
    {
        MatcherType.Equal => valueUtf8.SequenceEqual(_valueUtf8),
        MatcherType.NotEqual => !valueUtf8.SequenceEqual(_valueUtf8),
        MatcherType.Regex => _pattern!.Matches(valueUtf8),
        _ => !_pattern!.Matches(valueUtf8),
    };

    /// <summary>The matcher in PromQL, such as <c>job=~"a|b"</c>, cut after some hundred characters.</summary>
    public override string ToString()
    {
        const int MaxChars = 512;
        return $"{LabelText.Escape(_nameUtf8, MaxChars)}{Sign}\"{LabelText.Escape(_valueUtf8, MaxChars)}\"";
    }

    /// <summary>The whole matcher in PromQL, name and value quoted, such as <c>"job"=~"a|b"</c>: what <see cref="SelectorParser"/> reads back as it is.</summary>
    public string ToSelectorTerm() =>
        $"\"{LabelText.Escape(_nameUtf8, int.MaxValue)}\"{Sign}\"{LabelText.Escape(_valueUtf8, int.MaxValue)}\"";

    private static void CheckType(MatcherType type)
    {
        if (type is < MatcherType.Equal or > MatcherType.NotRegex) throw new MatcherException($"invalid matcher type {(int)type}");
    }

    private static bool IsRegex(MatcherType type) => type is MatcherType.Regex or MatcherType.NotRegex;

    private static byte[][]? LiteralsOf(string value) => value.Length <= MaxLiteralsBytes ? Re2Shortcuts.Literals(value) : null;

    private static byte[] Encode(string text, string what, int maxBytes)
    {
        // The first test is free and keeps the second from walking megabytes.
        if (text.Length > maxBytes || System.Text.Encoding.UTF8.GetByteCount(text) > maxBytes)
            throw new MatcherException($"matcher {what} is longer than {maxBytes} bytes");
        return System.Text.Encoding.UTF8.GetBytes(text);
    }
}
