using System.Text.RegularExpressions;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Wal;

namespace TsdbRemote.Tests.Model;

/// <summary>How the time that matching takes is charged to an expression, on a clock and an automaton that do what the test says.</summary>
public sealed class Re2PatternTimeTests
{
    private static readonly byte[] Long = [.. Enumerable.Repeat((byte)'a', 4000)];
    private static readonly byte[] Short = [.. Enumerable.Repeat((byte)'a', 200)];

    private readonly ManualTime _time = new();
    private readonly ScriptedRegex _automaton = new();

    [Theory]
    [InlineData(4000)]
    [InlineData(200)]
    public void A_pause_longer_than_the_limit_of_one_value_refuses_nothing(int length)
    {
        Re2Pattern pattern = Pattern();
        for (int i = 0; i < 100; i++)
        {
            _automaton.Next.Enqueue(() => TimeOut(TimeSpan.FromSeconds(3)));
            Assert.True(pattern.Matches(Long.AsSpan(0, length)));
        }

        Assert.Equal(200, _automaton.Matches);
    }

    [Fact]
    public void What_times_out_twice_is_refused()
    {
        Re2Pattern pattern = Pattern();
        _automaton.Next.Enqueue(() => TimeOut(TimeSpan.FromSeconds(1)));
        _automaton.Next.Enqueue(() => TimeOut(TimeSpan.FromSeconds(1)));
        AssertTooExpensive(() => pattern.Matches(Long));
        Assert.Equal(2, _automaton.Matches);
    }

    [Theory]
    [InlineData(900, 4000)] // shorter than .NET's limit of a second, so that only the sum over all values can refuse
    [InlineData(900, 200)]
    [InlineData(40, 4000)]
    public void Pauses_shorter_than_the_limit_of_one_value_do_not_add_up(int milliseconds, int length)
    {
        Re2Pattern pattern = Pattern();
        byte[] value = Long[..length];
        for (int i = 0; i < 200; i++)
        {
            _automaton.Next.Enqueue(() => _time.Advance(TimeSpan.FromMilliseconds(milliseconds)));
            while (_automaton.Next.Count > 0) Assert.True(pattern.Matches(value));
            for (int j = 0; j < 32; j++) Assert.True(pattern.Matches(value));
        }
    }

    [Theory]
    [InlineData(300, 4000, 3, 5)] // 0.3 s of which hardly anything is usual: the fourth value is over the second
    [InlineData(300, 200, 15, 17)] // one of sixteen is measured, and stands for all
    [InlineData(300, 0, 15, 17)]
    [InlineData(19, 4000, 53, 54)] // not conspicuous
    public void What_takes_long_every_time_is_refused_after_a_second_and_matched_twice_only_to_find_that_out(int milliseconds, int length, int answered, int matches)
    {
        Re2Pattern pattern = Pattern();
        _automaton.Always = () => _time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        for (int i = 0; i < answered; i++) Assert.True(pattern.Matches(Long.AsSpan(0, length)));
        AssertTooExpensive(() => pattern.Matches(Long.AsSpan(0, length)));
        Assert.Equal(matches, _automaton.Matches);
    }

    [Fact]
    public void The_answer_is_that_of_the_match_that_came_to_its_end()
    {
        Re2Pattern pattern = Pattern();
        _automaton.Next.Enqueue(() => TimeOut(TimeSpan.FromSeconds(2)));
        Assert.False(pattern.Matches([.. Long, (byte)'b']));
        Assert.True(pattern.Matches(Short));
    }

    private Re2Pattern Pattern()
    {
        Re2Node node = Re2Parser.Parse("a*");
        return new Re2Pattern(Re2Alphabet.Of(node), _automaton, [], _time);
    }

    private void TimeOut(TimeSpan elapsed)
    {
        _time.Advance(elapsed);
        throw new RegexMatchTimeoutException();
    }

    private static void AssertTooExpensive(Action match) =>
        Assert.StartsWith("regexp is too expensive: its automaton needs more than 1 s beyond the usual", Assert.Throws<MatcherException>(match).Message, StringComparison.Ordinal);

    /// <summary>Matches where all symbols are one and the same; first does what it is told, which may take its time.</summary>
    private sealed class ScriptedRegex : Regex
    {
        public ScriptedRegex()
        {
            factory = new Runners(this);
            capsize = 1;
        }

        public Queue<Action> Next { get; } = new();

        public Action Always { get; set; } = static () => { };

        public new int Matches { get; private set; }

        private sealed class Runners(ScriptedRegex regex) : RegexRunnerFactory
        {
            protected override RegexRunner CreateInstance() => new Runner(regex);
        }

        private sealed class Runner(ScriptedRegex regex) : RegexRunner
        {
            protected override void Scan(ReadOnlySpan<char> text)
            {
                regex.Matches++;
                if (regex.Next.TryDequeue(out Action? first)) first();
                else regex.Always();
                if (text.IsEmpty || !text.ContainsAnyExcept(text[0])) Capture(0, 0, text.Length);
            }
        }
    }
}
