using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Wal;

namespace TsdbRemote.Tests.Engine;

/// <summary>The pace of merges: figures in, sleep out; and that a merge keeps it.</summary>
public sealed class CompactionPaceTests
{
    private static readonly PaceSignals Idle = new(4, 0, 0, 0, 0, 3, TimeSpan.Zero, IsCrowded: false);
    private readonly ManualTime _time = new();

    public static TheoryData<string, int, int, int, int, double, bool, double> Table => new()
    {
        // what                       requests  reads  queue  MemTables  lag ms  crowded  duty
        { "nobody waits", 0, 0, 0, 0, 0, false, 1 },
        { "one request of eight", 1, 0, 0, 0, 0, false, 0.9 },
        { "two requests a processor", 8, 0, 0, 0, 0, false, 0.2 },
        { "more is no busier", 800, 90, 900, 3, 9000, false, 0.2 },
        { "half the processors read", 0, 2, 0, 0, 0, false, 0.6 },
        { "a read a processor", 0, 4, 0, 0, 0, false, 0.2 },
        { "a queue before the log", 0, 0, 8, 0, 0, false, 0.6 },
        { "one MemTable of three waits", 0, 0, 0, 1, 0, false, 1 - 0.8 / 3 },
        { "all MemTables wait", 0, 0, 0, 3, 0, false, 0.2 },
        { "a sync that is quick", 0, 0, 0, 0, 2, false, 1 },
        { "a sync that is slow", 0, 0, 0, 0, 11, false, 0.6 },
        { "the busiest counts, not their sum", 4, 2, 8, 0, 11, false, 0.6 },
        { "merges are far behind", 800, 90, 900, 3, 9000, true, 1 },
    };

    [Theory]
    [MemberData(nameof(Table))]
    public void The_busiest_signal_decides_how_much_of_its_time_a_merge_works(
        string what, int requests, int reads, int queue, int memTables, double lagMs, bool crowded, double duty)
    {
        var signals = new PaceSignals(4, requests, reads, queue, memTables, 3, TimeSpan.FromMilliseconds(lagMs), crowded);
        Assert.True(Math.Abs(duty - CompactionPace.DutyOf(signals)) < 1e-9, $"{what}: {CompactionPace.DutyOf(signals)}");
        TimeSpan slept = CompactionPace.SleepAfter(TimeSpan.FromMilliseconds(10), signals);
        Assert.Equal(10 * (1 / duty - 1), slept.TotalMilliseconds, tolerance: 0.001);
    }

    [Fact]
    public void A_sleep_after_a_long_slice_is_bounded_for_the_load_may_have_gone() =>
        Assert.Equal(CompactionPace.LongestSleep, CompactionPace.SleepAfter(TimeSpan.FromMinutes(1), Idle with { Reads = 4 }));

    [Fact]
    public void A_merge_sleeps_after_each_slice_of_five_milliseconds_and_what_it_slept_is_no_work()
    {
        PaceSignals signals = Idle with { Reads = 4 };
        List<double> sleeps = [];
        var throttle = new CompactionThrottle(_time, () => signals, pause =>
        {
            sleeps.Add(pause.TotalMilliseconds);
            _time.Advance(pause);
        });
        for (int i = 0; i < 10; i++)
        {
            _time.Advance(TimeSpan.FromMilliseconds(1));
            throttle.Pause();
        }

        Assert.Equal([20, 20], sleeps);
        Assert.Equal(40, throttle.Slept.TotalMilliseconds);
        signals = Idle;
        _time.Advance(TimeSpan.FromMilliseconds(50));
        throttle.Pause();
        Assert.Equal(2, sleeps.Count);
    }

    [Fact]
    public void At_full_speed_nobody_is_asked_and_nothing_is_slept()
    {
        var throttle = new CompactionThrottle(_time, signals: null, static _ => Assert.Fail("it slept"));
        _time.Advance(TimeSpan.FromSeconds(1));
        throttle.Pause();
        Assert.Equal(TimeSpan.Zero, throttle.Slept);
    }

    [Fact]
    public void The_lag_is_a_mean_of_what_was_acknowledged_of_late_and_nothing_when_nothing_was()
    {
        _time.Advance(TimeSpan.FromDays(1));
        var lag = new CommitLag(_time);
        Assert.Equal(TimeSpan.Zero, lag.Mean);
        for (int i = 0; i < 50; i++)
        {
            long began = _time.GetTimestamp();
            _time.Advance(TimeSpan.FromMilliseconds(10));
            lag.Note(began);
        }

        Assert.InRange(lag.Mean.TotalMilliseconds, 9.9, 10);
        lag.Note(_time.GetTimestamp());
        Assert.InRange(lag.Mean.TotalMilliseconds, 8.7, 8.8);
        _time.Advance(TimeSpan.FromMilliseconds(1001));
        Assert.Equal(TimeSpan.Zero, lag.Mean);
    }
}
