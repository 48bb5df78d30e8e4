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

    // What took longer is matched once more: see MatchesMeasured. Short, that is at most 256 symbols; and long.
    private static readonly TimeSpan ConspicuousShort = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan ConspicuousLong = TimeSpan.FromMilliseconds(20);

    private static readonly TimeSpan MostSaved = TimeSpan.FromSeconds(10);

    /// <summary>Time beyond the usual that all values of one pattern may take.</summary>
    private static readonly TimeSpan ExtraTime = TimeSpan.FromSeconds(1);

    private readonly byte[][]? _templates;
    private readonly Re2Alphabet? _alphabet;
    private readonly Regex? _automaton;
    private readonly TimeProvider _clock = TimeProvider.System;
    private long _shortValues;
    private long _ticksBeyond;

    // Known of a slow expression, from what was measured twice; otherwise 0.
    private long _slowTicksPerByte;

    private Re2Pattern(byte[][] templates)
    {
        _templates = templates;
        IsSet = Array.TrueForAll(templates, static template => Re2Template.GapIn(template) < 0);
        Prefix = Re2Shortcuts.Prefix(templates);
    }

    /// <summary>A pattern that runs on an automaton.</summary>
    /// <param name="alphabet">Turns values into the automaton's symbols.</param>
    /// <param name="automaton">The whole expression, anchored.</param>
    /// <param name="prefix">Bytes with which every matching value begins.</param>
    /// <param name="clock">Measures its work: one that goes on while it works, or nothing bounds that.</param>
    internal Re2Pattern(Re2Alphabet alphabet, Regex automaton, byte[] prefix, TimeProvider clock)
    {
        _alphabet = alphabet;
        _automaton = automaton;
        _clock = clock;
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
            return new Re2Pattern(alphabet, automaton, Re2Shortcuts.Prefix(node), TimeProvider.System);
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
        if (value.Length > MaxSymbolsOnStack) return MatchesLong(value);
        Span<char> room = stackalloc char[MaxSymbolsOnStack];
        ReadOnlySpan<char> symbols = room[.._alphabet!.Map(value, room)];
        bool isMeasured = Interlocked.Increment(ref _shortValues) % ClockedEvery == 0;
        if (!isMeasured && TryMatch(symbols) is { } answer) return answer;
        return MatchesMeasured(symbols, value.Length, ClockedEvery, ConspicuousShort);
    }

    private bool MatchesLong(ReadOnlySpan<byte> value)
    {
        char[] rented = ArrayPool<char>.Shared.Rent(value.Length);
        try
        {
            return MatchesMeasured(rented.AsSpan(0, _alphabet!.Map(value, rented)), value.Length, 1, ConspicuousLong);
        }
        finally
        {
            ArrayPool<char>.Shared.Return(rented);
        }
    }

    /// <summary>Matches, and charges the time that it took as often as the value stands for others.</summary>
    /// <remarks>
    /// The clock goes on while the machine pauses or the thread is not scheduled, and .NET's own limit is by the clock, too. None of that is the
    /// expression's fault and it hardly happens twice to one value, so what took conspicuously long is matched once more and the shorter time counts.
    /// Once it is known to be slow only what is slower still is: it would else cost twice what it may.
    /// </remarks>
    private bool MatchesMeasured(ReadOnlySpan<char> symbols, int bytes, int values, TimeSpan conspicuous)
    {
        TimeSpan elapsed = Measure(symbols, out bool? isMatch);
        int size = Math.Max(bytes, MaxSymbolsOnStack); // a short value tells little about long ones
        if (isMatch is null || (elapsed > conspicuous && elapsed.Ticks / 2 > size * Volatile.Read(ref _slowTicksPerByte)))
        {
            TimeSpan again = Measure(symbols, out isMatch);
            if (again < elapsed) elapsed = again;
            if (elapsed > conspicuous) Volatile.Write(ref _slowTicksPerByte, elapsed.Ticks / size + 1);
        }

        if (isMatch is not { } answer) throw TooSlow();
        Charge(bytes, values, elapsed);
        return answer;
    }

    /// <returns>How long it took.</returns>
    private TimeSpan Measure(ReadOnlySpan<char> symbols, out bool? isMatch)
    {
        long began = _clock.GetTimestamp();
        isMatch = TryMatch(symbols);
        return _clock.GetElapsedTime(began);
    }

    /// <returns>Null if it took more than <see cref="ExtraTime"/>.</returns>
    private bool? TryMatch(ReadOnlySpan<char> symbols)
    {
        try
        {
            return _automaton!.IsMatch(symbols);
        }
        catch (RegexMatchTimeoutException)
        {
            return null;
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
