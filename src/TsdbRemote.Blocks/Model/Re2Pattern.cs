using System.Buffers;
using System.Text.RegularExpressions;

namespace TsdbRemote.Blocks.Model;

/// <summary>A compiled regular expression of a matcher: RE2 syntax, matched against whole UTF-8 values in linear time.</summary>
/// <remarks>
/// Finite sets are searched, texts with gaps compared on bytes; only the rest runs on .NET's non-backtracking automaton, over the value's
/// symbols (see <see cref="Re2Alphabet"/>) in a stack or pooled span. Thread-safe; matching allocates nothing that lasts.
/// Linear is not cheap: an expression such as <c>.*a.{500}b</c> costs 15 µs a character, a thousand times the usual. So the time spent beyond what
/// usual expressions take is bounded, over all values together.
/// </remarks>
internal sealed class Re2Pattern
{
    private const int MaxSymbolsOnStack = 256;

    // What is not bounded: some ten times of what usual expressions take on a slow processor.
    private const long UsualNanosecondsPerValue = 2000;
    private const long UsualNanosecondsPerByte = 100;

    // Reading the clock costs as much as matching a short value: of those, every so many stands for its neighbours.
    private const int ClockedEvery = 16;

    private static readonly TimeSpan LongestShort = TimeSpan.FromMilliseconds(1);

    // Work is measured, which a clock that stands still could not bound.
    private static readonly TimeProvider Clock = TimeProvider.System;

    private static readonly TimeSpan MostSaved = TimeSpan.FromSeconds(10);

    /// <summary>Time beyond the usual that all values of one pattern may take.</summary>
    private static readonly TimeSpan ExtraTime = TimeSpan.FromSeconds(1);

    private readonly byte[][]? _templates;
    private readonly Re2Alphabet? _alphabet;
    private readonly Regex? _automaton;
    private long _shortValues;
    private long _ticksBeyond;

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
    public static Re2Pattern Compile(string pattern) => OnThisStack(pattern, CompileTree);

    /// <summary>Parses a pattern, the first and cheapest step of <see cref="Compile"/>.</summary>
    /// <exception cref="MatcherException">Go would refuse it, or it cannot be translated.</exception>
    public static void CheckSyntax(string pattern) => OnThisStack(pattern, Re2Parser.Parse);

    /// <summary>True if the expression matches the whole value.</summary>
    /// <exception cref="MatcherException">This value and those before took too long.</exception>
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

    private static T OnThisStack<T>(string pattern, Func<string, T> work)
    {
        try
        {
            return work(pattern);
        }
        catch (InsufficientExecutionStackException)
        {
            throw new MatcherException("error parsing regexp: expression nests too deeply");
        }
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
            var automaton = new Regex(Re2Translator.Translate(node, alphabet), Options, ExtraTime);
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
        try
        {
            if (value.Length > MaxSymbolsOnStack)
            {
                long started = Clock.GetTimestamp();
                bool matches = MatchesLong(value);
                Charge(value.Length, 1, Clock.GetElapsedTime(started));
                return matches;
            }

            if (Interlocked.Increment(ref _shortValues) % ClockedEvery != 0) return MatchesShort(value);
            long began = Clock.GetTimestamp();
            bool isMatch = MatchesShort(value);
            TimeSpan elapsed = Clock.GetElapsedTime(began);

            // It stands for others: a thread that was not scheduled for a while must not count so many times.
            Charge(value.Length, ClockedEvery, elapsed < LongestShort ? elapsed : LongestShort);
            return isMatch;
        }
        catch (RegexMatchTimeoutException)
        {
            throw TooSlow();
        }
    }

    private bool MatchesShort(ReadOnlySpan<byte> value)
    {
        Span<char> symbols = stackalloc char[MaxSymbolsOnStack];
        return _automaton!.IsMatch(symbols[.._alphabet!.Map(value, symbols)]);
    }

    private bool MatchesLong(ReadOnlySpan<byte> value)
    {
        char[] rented = ArrayPool<char>.Shared.Rent(value.Length);
        try
        {
            return _automaton!.IsMatch(rented.AsSpan(0, _alphabet!.Map(value, rented)));
        }
        finally
        {
            ArrayPool<char>.Shared.Return(rented);
        }
    }

    private void Charge(int bytes, int values, TimeSpan elapsed)
    {
        long beyond = elapsed.Ticks - (UsualNanosecondsPerValue + bytes * UsualNanosecondsPerByte) / TimeSpan.NanosecondsPerTick;
        long sum = Interlocked.Add(ref _ticksBeyond, beyond * values);
        if (sum > ExtraTime.Ticks) throw TooSlow();

        // What cheap values save is there for a machine that pauses, not for expensive ones without end.
        if (sum < -MostSaved.Ticks) Interlocked.CompareExchange(ref _ticksBeyond, -MostSaved.Ticks, sum);
    }

    private static MatcherException TooSlow() => new(
        $"regexp is too expensive: its automaton needs more than {ExtraTime.TotalSeconds:0} s beyond the usual for the values of its label");
}
