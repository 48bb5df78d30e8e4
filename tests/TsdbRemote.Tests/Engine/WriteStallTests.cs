using System.Collections.Immutable;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Wal;

namespace TsdbRemote.Tests.Engine;

/// <summary>What holds writers back, by how much and for how long: reliability.md §5.2.</summary>
public sealed class WriteStallTests
{
    private const long Window = 7_200_000;
    private const long MemTable = 64 << 20;
    private const int Levels = 7;
    private static readonly FlushPressure Calm = new(0, 3, 0.5, IsEmpty: false, 0, 1000, MemTable);

    private readonly ManualTime _time = new();
    private readonly EngineCounters _counters = new();
    private readonly WriteStall _stall;
    private FlushPressure _flush = Calm;
    private CompactionPressure _compaction = CompactionPressure.None;

    public WriteStallTests()
    {
        _time.Advance(TimeSpan.FromDays(1));
        _stall = new WriteStall(() => _flush, () => _compaction, Levels, maxHeldBytes: 1000, _time, _counters, NullLogger.Instance);
    }

    public static TheoryData<string, int, int, double, long, long, double, bool> Table => new()
    {
        // what                                   waiting of max  fill  log of 1000  debt  delay ms  stops
        { "calm", 0, 3, 0.9, 0, 0, 0, false },
        { "one of three waits", 1, 3, 0.9, 0, 0, 0, false },
        { "the last but one", 2, 3, 0, 0, 0, 0, false },
        { "the last but one, and it fills up", 2, 3, 0.5, 0, 0, 12.5, false },
        { "all wait", 3, 3, 0, 0, 0, 25, false },
        { "all wait, and it fills up", 3, 3, 0.9, 0, 0, 47.5, false },
        { "nowhere to go", 3, 3, 1, 0, 0, 0, true },
        { "one allowed, none waits", 0, 1, 0.9, 0, 0, 0, false },
        { "one allowed, it waits", 1, 1, 0.5, 0, 0, 25, false },
        { "a log three quarters full", 0, 3, 0.5, 750, 0, 0, false },
        { "a log nearly full", 0, 3, 0.5, 950, 0, 40, false },
        { "a full log", 0, 3, 0.5, 1000, 0, 0, true },
        { "debt at its first mark", 0, 3, 0.5, 0, 4 * MemTable * Levels, 0, false },
        { "debt half way", 0, 3, 0.5, 0, 10 * MemTable * Levels, 25, false },
        { "debt at its last mark", 0, 3, 0.5, 0, 16 * MemTable * Levels, 0, true },
    };

    [Theory]
    [MemberData(nameof(Table))]
    public void A_signal_delays_more_and_more_before_it_stops(string what, int waiting, int max, double fill, long log, long debt, double delayMs, bool stops)
    {
        var flush = new FlushPressure(waiting, max, fill, IsEmpty: false, log, 1000, MemTable);
        ImmutableArray<StallSignal> signals = StallRules.Signals(flush, debt, Levels);
        Assert.True(stops == signals.Any(signal => StallRules.Stops(signal, flush)), what);
        if (!stops) Assert.Equal(delayMs, signals.Sum(signal => StallRules.DelayOf(signal, flush).TotalMilliseconds), tolerance: 0.001);
    }

    [Theory]
    [InlineData(19, 0, false)]
    [InlineData(20, 0, false)]
    [InlineData(28, 125, false)]
    [InlineData(35, 234.375, false)]
    [InlineData(36, 250, true)]
    public void Tables_of_level_0_in_one_window_delay_from_20_and_stop_at_36(int tables, double delayMs, bool stops)
    {
        StallSignal signal = StallRules.SignalOf(tables);
        Assert.Equal((delayMs, stops), (StallRules.DelayOf(signal, Calm).TotalMilliseconds, StallRules.Stops(signal, Calm)));
    }

    [Fact]
    public void A_full_log_stops_nobody_where_a_flush_would_make_no_room() =>
        Assert.DoesNotContain(StallRules.Signals(Calm with { LogBytes = 2000, IsEmpty = true }, 0, Levels), signal => StallRules.Stops(signal, Calm with { IsEmpty = true }));

    [Fact]
    public async Task A_write_is_delayed_by_the_clock_and_then_goes_on()
    {
        _flush = Calm with { Waiting = 3 };
        _stall.Refresh();
        Task<string?> write = _stall.WaitAsync().AsTask();
        _time.Advance(TimeSpan.FromMilliseconds(36));
        Assert.False(write.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(2)); // the platform's delays are whole milliseconds
        Assert.Null(await write);
        WriteStallEpisode stall = Assert.Single(_stall.Episodes);
        Assert.Equal((StallReason.MemTables, null, 1, 0, null), (stall.Reason, stall.WindowStartMs, stall.Delayed, stall.Refused, stall.EndedMs));
        Assert.InRange(stall.WaitedSeconds, 0.0369, 0.0381);
        Assert.Equal(stall.WaitedSeconds, TimeSpan.FromTicks(_counters.StallTicks[(int)StallReason.MemTables]).TotalSeconds);
    }

    [Fact]
    public async Task A_write_that_was_stopped_goes_on_as_soon_as_there_is_room()
    {
        _flush = Calm with { Waiting = 3, Fill = 1 };
        _stall.Refresh();
        Task<string?> write = _stall.WaitAsync().AsTask();
        _time.Advance(TimeSpan.FromSeconds(4));
        Assert.False(write.IsCompleted);
        _flush = Calm;
        _stall.Refresh();
        Assert.Null(await write);
        WriteStallEpisode stall = Assert.Single(_stall.Episodes);
        Assert.Equal(4000, stall.EndedMs - stall.BeganMs);
        Assert.True(_stall.WaitAsync().AsTask().IsCompletedSuccessfully);
    }

    [Theory]
    [InlineData(StallReason.MemTables, "MemTables are full and wait for a flush")]
    [InlineData(StallReason.LogBytes, "the log is full and waits for a flush")]
    [InlineData(StallReason.CompactionDebt, "too many bytes of tables wait to be merged")]
    public async Task A_write_that_was_stopped_for_five_seconds_is_told_why_and_counted(StallReason reason, string message)
    {
        _flush = reason switch
        {
            StallReason.MemTables => Calm with { Waiting = 3, Fill = 1.2 },
            StallReason.LogBytes => Calm with { LogBytes = 1001 },
            _ => Calm,
        };
        _compaction = CompactionPressure.None with { DebtBytes = reason == StallReason.CompactionDebt ? long.MaxValue : 0 };
        _stall.Refresh();
        Task<string?> write = _stall.WaitAsync().AsTask();
        _time.Advance(TimeSpan.FromMilliseconds(4999));
        Assert.False(write.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal(message, await write);
        Assert.Equal(1, _counters.StallsRefused[(int)reason]);
        Assert.Equal((1, 1), (Assert.Single(_stall.Episodes).Delayed, _stall.Episodes[0].Refused));
    }

    [Fact]
    public void T77_only_writes_into_a_crowded_window_are_held_back()
    {
        Crowd((0, 36), (4, 25));
        Assert.True(_stall.WaitAsync().AsTask().IsCompletedSuccessfully);
        Assert.Null(CrowdOf(Window, 2 * Window));
        Assert.Equal(36, CrowdOf(Window, Window - 1)!.Tables);
        Assert.Equal(25, CrowdOf(4 * Window, 9 * Window)!.Tables);
        Assert.Equal(36, CrowdOf(4 * Window, 0)!.Tables);

        // Its times span the windows, its samples avoid them.
        Assert.Null(CrowdOf(-5, 2 * Window, 6 * Window));
        Crowd();
        Assert.Null(CrowdOf(0, 4 * Window));
    }

    [Fact]
    public async Task T77_who_waits_for_a_window_goes_on_when_it_is_merged_and_is_told_to_come_again_otherwise()
    {
        Crowd((0, 36));
        CrowdedWindow crowd = CrowdOf(0)!;
        Task<string?> patient = _stall.WaitForAsync(crowd, 10).AsTask();
        _time.Advance(TimeSpan.FromSeconds(4));
        Crowd((0, 35)); // not stopped any longer; what it waited is delay enough
        Assert.Null(await patient);
        Crowd((0, 36));
        Task<string?> unlucky = _stall.WaitForAsync(crowd, 10).AsTask();
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.StartsWith("the window of 0 ms has 36 tables that wait to be merged", await unlucky, StringComparison.Ordinal);
        Crowd((0, 28));
        Task<string?> delayed = _stall.WaitForAsync(CrowdOf(0)!, 10).AsTask();
        _time.Advance(TimeSpan.FromMilliseconds(124));
        Assert.False(delayed.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Null(await delayed);
        WriteStallEpisode stall = Assert.Single(_stall.Episodes);
        Assert.Equal((StallReason.L0Tables, 0L, 3L, 1L, null), (stall.Reason, stall.WindowStartMs, stall.Delayed, stall.Refused, stall.EndedMs));
        Crowd((8, 20));
        Assert.NotNull(Assert.Single(_stall.Episodes).EndedMs);
    }

    [Fact]
    public async Task What_waits_for_crowded_windows_is_bounded_and_more_is_told_to_come_again_at_once()
    {
        Crowd((0, 36));
        CrowdedWindow crowd = CrowdOf(0)!;
        Task<string?> first = _stall.WaitForAsync(crowd, 600).AsTask();
        Assert.NotNull(await _stall.WaitForAsync(crowd, 600).AsTask().WaitAsync(TimeSpan.FromSeconds(30)));
        Crowd();
        Assert.Null(await first);
        Crowd((0, 36));
        Task<string?> next = _stall.WaitForAsync(crowd, 600).AsTask(); // the first one's room is free again
        Assert.False(next.IsCompleted);
        Crowd();
        Assert.Null(await next);
    }

    [Fact]
    public void Merges_are_behind_from_the_first_mark_of_a_window_or_of_the_debt()
    {
        Assert.False(_stall.IsCompactionBehind);
        Crowd((0, 20));
        Assert.True(_stall.IsCompactionBehind);
        Crowd();
        _flush = Calm with { Waiting = 3 }; // that is no reason for a merge to hurry
        _stall.Refresh();
        Assert.False(_stall.IsCompactionBehind);
        _compaction = CompactionPressure.None with { DebtBytes = 4 * MemTable * Levels };
        _stall.Refresh();
        Assert.True(_stall.IsCompactionBehind);
    }

    private CrowdedWindow? CrowdOf(params long[] times) =>
        _stall.CrowdOf(times.Min(), times.Max(), times.Select(static time => Sample.Of(time, 1)).ToArray(), []);

    private void Crowd(params (int Window, int Tables)[] windows)
    {
        _compaction = new CompactionPressure(
            0, 0, [.. windows.Select(static window => new CrowdedWindow(new TimeRange(window.Window * Window, (window.Window + 1) * Window - 1), window.Tables))],
            windows.Select(static window => window.Tables).DefaultIfEmpty().Max());
        _stall.Refresh();
    }
}
