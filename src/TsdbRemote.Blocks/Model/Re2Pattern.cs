using System.Buffers;
using System.Text.RegularExpressions;

namespace TsdbRemote.Blocks.Model;

/// <summary>A compiled regular expression of a matcher: RE2 syntax, matched against whole UTF-8 values in linear time.</summary>
/// <remarks>
/// Finite sets are searched, texts with gaps compared on bytes; only the rest runs on .NET's non-backtracking automaton, over the value's
/// symbols (see <see cref="Re2Alphabet"/>) in a stack or pooled span. Immutable; thread-safe; matching allocates nothing that lasts.
/// </remarks>
internal sealed class Re2Pattern
{
    private const int MaxSymbolsOnStack = 256;

    private readonly byte[][]? _templates;
    private readonly Re2Alphabet? _alphabet;
    private readonly Regex? _automaton;

    private Re2Pattern(byte[][] templates)
    {
        _templates = templates;
        IsSet = Array.TrueForAll(templates, static template => Re2Template.GapIn(template) < 0);
        Prefix = Re2Shortcuts.Prefix(templates);
    }

    private Re2Pattern(Re2Alphabet alphabet, Regex automaton, byte[] prefix)
    {
        _alphabet = alphabet;
        _automaton = automaton;
        Prefix = prefix;
    }

    /// <summary>Bytes with which every matching value begins; empty if there are none.</summary>
    public byte[] Prefix { get; }

    /// <summary>The matching values, ascending, if they are a finite set, small or given value by value; otherwise null.</summary>
    public byte[][]? Values => IsSet ? _templates : null;

    private bool IsSet { get; }

    /// <summary>A pattern that matches these values.</summary>
    /// <param name="values">Ascending, each once.</param>
    public static Re2Pattern Of(byte[][] values) => new(values);

    /// <summary>Compiles a pattern.</summary>
    /// <exception cref="MatcherException">Go would refuse it, or it cannot be translated, or its automaton would be too large.</exception>
    public static Re2Pattern Compile(string pattern)
    {
        try
        {
            return CompileTree(pattern);
        }
        catch (InsufficientExecutionStackException)
        {
            throw new MatcherException("error parsing regexp: expression nests too deeply");
        }
    }

    /// <summary>True if the expression matches the whole value.</summary>
    public bool Matches(ReadOnlySpan<byte> value)
    {
        if (_templates is null) return value.StartsWith(Prefix) && MatchesAutomaton(value);
        if (IsSet) return MatchesSet(_templates, value);
        foreach (byte[] template in _templates)
        {
            if (Re2Template.Matches(template, value)) return true;
        }

        return false;
    }

    private static Re2Pattern CompileTree(string pattern)
    {
        Re2Node node = Re2Shortcuts.WithoutOuterAnchors(Re2Parser.Parse(pattern));
        byte[][]? templates = Re2Shortcuts.Expand(node);
        if (templates is not null) return new Re2Pattern(templates);
        Re2Alphabet alphabet = Re2Alphabet.Of(node);
        try
        {
            const RegexOptions Options = RegexOptions.NonBacktracking | RegexOptions.CultureInvariant | RegexOptions.Singleline;
            var automaton = new Regex(Re2Translator.Translate(node, alphabet), Options);
            return new Re2Pattern(alphabet, automaton, Re2Shortcuts.Prefix(node));
        }
        catch (NotSupportedException)
        {
            // The only construct that the translator leaves for it to refuse is size.
            throw new MatcherException("error parsing regexp: expression too large");
        }
    }

    private static bool MatchesSet(byte[][] values, ReadOnlySpan<byte> value)
    {
        int low = 0;
        int high = values.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >> 1;
            int order = value.SequenceCompareTo(values[middle]);
            if (order == 0) return true;
            if (order < 0) high = middle - 1;
            else low = middle + 1;
        }

        return false;
    }

    private bool MatchesAutomaton(ReadOnlySpan<byte> value)
    {
        if (value.Length <= MaxSymbolsOnStack)
        {
            Span<char> symbols = stackalloc char[MaxSymbolsOnStack];
            return _automaton!.IsMatch(symbols[.._alphabet!.Map(value, symbols)]);
        }

        char[] rented = ArrayPool<char>.Shared.Rent(value.Length);
        bool matches = _automaton!.IsMatch(rented.AsSpan(0, _alphabet!.Map(value, rented)));
        ArrayPool<char>.Shared.Return(rented);
        return matches;
    }
}
