using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Stalls as a sender meets them: T77, and how they end.</summary>
public sealed class CompactionStallTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly byte[] Name = Labels.Encode(("__name__", "m"));

    private readonly ManualTime _time = new();
    private readonly EngineHarness _engine;
    private int _step;

    public CompactionStallTests()
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(100));
        _engine = EngineHarness.OpenStepwise(
            new CrashFileSystem("/disk"), EngineHarness.SmallOptions with { Integration = new IntegrationOptions { SstableToBlockConversion = false } }, _time);
    }

    [Fact]
    public async Task T77_late_data_that_floods_one_old_window_is_held_back_and_live_data_is_not()
    {
        Flood(36);
        double waited = _engine.Engine.Stats().StallSeconds;
        Assert.Equal(15 * 0.25, waited, tolerance: 0.01); // by a clock that goes in steps of the longest delay
        Assert.Equal(WriteStatus.Written, (await Write(0)).Status); // at once: no clock has moved
        Task<WriteReport> late = Write(-5);
        Assert.False(late.IsCompleted);
        Assert.Equal(WriteStatus.Written, (await Write(0)).Status);
        Assert.Equal(WriteStatus.Written, (await Write(-5 + 1)).Status);
        Assert.Equal(0, _engine.Engine.InFlight.Used); // who waits holds no room that others need
        _time.Advance(TimeSpan.FromSeconds(5));
        WriteReport refused = await late;
        Assert.Equal((WriteStatus.Unavailable, 2), (refused.Status, refused.RetryAfterSeconds));
        Assert.Contains("has 36 tables that wait to be merged", refused.Message, StringComparison.Ordinal);
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((1L, 1L), (stats.StallsRefused, stats.StallsRefusedBy[StallReason.L0Tables]));
        Assert.Equal(waited + 5, stats.StallSecondsBy[StallReason.L0Tables], tolerance: 0.01);
        Assert.Equal(new StallSignal(StallReason.L0Tables, 36, 20, 36), stats.StallSignals.Single(static signal => signal.Reason == StallReason.L0Tables));

        // Its merge ends it, for who waits and for who comes.
        Task<WriteReport> waiting = Write(-5);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(waiting.IsCompleted);
        _engine.TablesByStep();
        Assert.Equal(WriteStatus.Written, (await waiting.WaitAsync(TimeSpan.FromSeconds(30))).Status);
        Assert.True(Write(-5).IsCompletedSuccessfully);
        WriteStallEpisode episode = Assert.Single(_engine.Engine.Stats().Stalls);
        Assert.Equal((StallReason.L0Tables, CurrentMs - 5 * WindowMs, 17L, 1L), (episode.Reason, episode.WindowStartMs, episode.Delayed, episode.Refused));
        Assert.Equal(6000 + 15 * 250, episode.EndedMs - episode.BeganMs);
        Assert.Equal(6 + 15 * 0.25, episode.WaitedSeconds, tolerance: 0.01); // of the one who waited to its end, too
        Assert.Equal(36 + 2, _engine.Read(new TimeRange(CurrentMs - 5 * WindowMs, CurrentMs - 4 * WindowMs - 1), Matcher.Create(MatcherType.Equal, "__name__", "m")).Single().Value.Count);
    }

    [Fact]
    public async Task A_crowded_window_is_slowed_down_before_it_is_stopped()
    {
        Flood(19);
        Assert.True(Write(-5).IsCompletedSuccessfully);
        Flood(9);
        Task<WriteReport> slowed = Write(-5);
        Assert.False(slowed.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(125));
        Assert.Equal(WriteStatus.Written, (await slowed.WaitAsync(TimeSpan.FromSeconds(30))).Status);
        Assert.Equal(0, _engine.Engine.Stats().StallsRefused);
    }

    [Fact]
    public async Task MemTables_that_wait_slow_writes_down_and_then_stop_them_until_a_flush_is_done()
    {
        // Each write switches; none is flushed.
        await using EngineHarness engine = EngineHarness.OpenStepwise(
            new CrashFileSystem("/disk"), EngineHarness.SmallOptions with { Lsm = new LsmOptions { MemTableSize = ByteSize.Kibibytes(64), MaxImmutableMemTables = 2 } }, _time);
        byte[][] many = [.. Enumerable.Range(0, 800).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];
        Task<WriteReport>? held = null;
        for (int i = 0; i < 6 && held is null; i++)
        {
            Task<WriteReport> write = engine.WriteAsync([.. many.Select(labels => (labels, new[] { Sample.Of(CurrentMs + i, i) }))]);
            if (!write.IsCompleted)
            {
                _time.Advance(TimeSpan.FromMilliseconds(50));
                await Task.WhenAny(write, Task.Delay(200));
            }

            if (!write.IsCompleted) held = write;
            else Assert.Equal(WriteStatus.Written, (await write).Status);
            engine.Engine.Step(flush: false);
        }

        Assert.NotNull(held);
        Assert.Equal(2, engine.Engine.Stats().MemTables.Length - 1);
        while (engine.Engine.Step())
        {
        }

        Assert.Equal(WriteStatus.Written, (await held.WaitAsync(TimeSpan.FromSeconds(30))).Status);
        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats.StallSecondsBy[StallReason.MemTables] > 0);
        Assert.Equal(0, stats.StallsRefused);
    }

    [Fact]
    public void Where_merges_keep_up_nobody_is_held_back()
    {
        for (int round = 0; round < 30; round++)
        {
            Flood(1);
            while (_engine.Engine.StepCompaction())
            {
            }
        }

        Assert.Empty(_engine.Engine.Stats().Stalls);
        Assert.InRange(_engine.Engine.Stats().StallSignals.Single(static signal => signal.Reason == StallReason.L0Tables).Value, 0, 3);
    }

    private void Flood(int tables)
    {
        for (int i = 0; i < tables; i++)
        {
            Task<WriteReport> write = Write(-5);
            if (!write.IsCompleted) _time.Advance(TimeSpan.FromMilliseconds(250)); // the longest delay
            Assert.Equal(WriteStatus.Written, write.WaitAsync(TimeSpan.FromSeconds(30)).GetAwaiter().GetResult().Status);
            _engine.FlushByStep();
        }
    }

    private Task<WriteReport> Write(int window) => _engine.WriteAsync((Name, [Sample.Of(CurrentMs + window * WindowMs + _step++, 1)]));
}
