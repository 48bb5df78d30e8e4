using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Series that are written to stay in the dictionary and keep their newest time, also where no MemTable and no table holds them.</summary>
public sealed class RecentSeriesTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly StorageOptions BlockOnly = OptionsFor(WritePathChoice.Blocks);

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();

    public RecentSeriesTests() => _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    [Theory]
    [InlineData(WritePathChoice.Lsm)]
    [InlineData(WritePathChoice.Blocks)]
    public async Task Series_that_are_written_all_the_time_stay(WritePathChoice path)
    {
        await using EngineHarness engine = EngineHarness.OpenStepwise(_disk, OptionsFor(path), _time);
        for (int minute = 0; minute < 5; minute++)
        {
            for (int i = 0; i < 2; i++)
            {
                Write(engine, 0, 2000, NowMs);
                _time.Advance(TimeSpan.FromSeconds(30));
            }

            engine.FlushAndConvertByStep();
            Write(engine, 0, 100, NowMs); // the next scrape has begun
            Assert.False(engine.CollectByStep());
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((2000, 0, 1), (stats.Series, stats.SeriesDropped, stats.DictionaryEpoch));
        Assert.Equal(0, stats.Rotations[RotationReason.DictionaryCollected]);
        Assert.Equal(path == WritePathChoice.Blocks ? 5 : 0, stats.FlushesToBlocks);
    }

    [Fact]
    public async Task Series_that_are_written_all_the_time_stay_though_their_sender_is_late()
    {
        await using EngineHarness engine = Open(BlockOnly);
        for (int minute = 0; minute < 5; minute++)
        {
            for (int i = 0; i < 2; i++)
            {
                Write(engine, 0, 2000, NowMs - 3 * 3_600_000);
                _time.Advance(TimeSpan.FromSeconds(30));
            }

            engine.FlushAndConvertByStep();
            Assert.False(engine.CollectByStep());
        }

        Assert.Equal((2000, 0), (engine.Engine.Stats().Series, engine.Engine.Stats().SeriesDropped));

        // They leave like all others once they do not come any more.
        _time.Advance(TimeSpan.FromMinutes(121));
        Assert.True(engine.CollectByStep());
        Assert.Equal(0, engine.Engine.Stats().Series);
    }

    [Theory]
    [InlineData(WritePathChoice.Lsm)]
    [InlineData(WritePathChoice.Blocks)]
    public async Task The_out_of_order_window_holds_for_series_that_are_written(WritePathChoice path)
    {
        await using EngineHarness engine = Open(OptionsFor(path) with { OutOfOrderWindow = Duration.Hours(1) });
        long newest = NowMs;
        Write(engine, 0, 40, newest);
        engine.FlushAndConvertByStep();
        _time.Advance(TimeSpan.FromMinutes(1));
        engine.CollectByStep();
        Assert.Equal(WriteStatus.Rejected, Send(engine, 0, 1, newest - 5 * 3_600_000).Status);
        Assert.Equal(WriteStatus.Written, Send(engine, 0, 1, newest - 30 * 60_000).Status);
    }

    [Fact]
    public async Task Series_leave_a_block_duration_after_their_last_sample_and_the_others_keep_their_newest_time()
    {
        await using EngineHarness engine = Open(BlockOnly with { OutOfOrderWindow = Duration.Hours(1) });
        Write(engine, 0, 40, NowMs);
        engine.FlushByStep();
        _time.Advance(TimeSpan.FromMinutes(119));
        long newest = NowMs;
        Write(engine, 20, 4, newest);
        engine.FlushByStep();
        Assert.False(engine.CollectByStep());
        Assert.Equal(40, engine.Engine.Stats().Series);

        // From here on the store is at rest: no flush says that there is something to look for.
        _time.Advance(TimeSpan.FromMinutes(2));
        Assert.True(engine.CollectByStep());
        Assert.Equal((4, 36), (engine.Engine.Stats().Series, engine.Engine.Stats().SeriesDropped));
        Assert.False(engine.CollectByStep());
        Assert.Equal(WriteStatus.Rejected, Send(engine, 20, 1, newest - 2 * 3_600_000).Status);
        _time.Advance(TimeSpan.FromHours(2));
        Assert.True(engine.CollectByStep());
        Assert.Equal(0, engine.Engine.Stats().Series);
        Assert.Equal(40, engine.ReadAll().Count);
    }

    [Fact]
    public async Task A_look_that_was_in_vain_is_taken_again_once_the_clock_has_moved_on()
    {
        await using EngineHarness engine = Open(BlockOnly);
        Write(engine, 0, 40, NowMs - 3 * WindowMs);
        Write(engine, 40, 40, NowMs);
        engine.FlushByStep();
        Write(engine, 0, 20, NowMs - 3 * WindowMs); // a MemTable holds these: with the 40 that are recent, over half
        Write(engine, 80, 20, NowMs - 3 * WindowMs);
        Assert.False(engine.CollectByStep());
        _time.Advance(TimeSpan.FromMinutes(125));
        Assert.True(engine.CollectByStep());
        Assert.Equal((40, 60), (engine.Engine.Stats().Series, engine.Engine.Stats().SeriesDropped));
    }

    [Theory]
    [InlineData(-3)] // what is filled in from the past
    [InlineData(3)] // a sender whose clock is wrong
    public async Task Series_whose_data_is_far_from_now_leave_a_few_flushes_later(int window)
    {
        await using EngineHarness engine = Open(BlockOnly with { MaxFuture = Duration.Hours(24) });
        Write(engine, 0, 40, NowMs + window * WindowMs);
        Write(engine, 40, 4, NowMs);
        engine.FlushByStep();
        Assert.Equal(1, engine.Engine.Stats().FlushesToBlocks);
        Assert.False(engine.CollectByStep());
        FlushOthers(engine, FlushPresence.Flushes - 1);
        Assert.False(engine.CollectByStep());
        FlushOthers(engine, 1);
        Assert.True(engine.CollectByStep());
        Assert.Equal((4, 40), (engine.Engine.Stats().Series, engine.Engine.Stats().SeriesDropped));
        Assert.Equal(44, engine.ReadAll().Count);
    }

    [Fact]
    public async Task Series_of_a_memtable_of_the_dictionary_before_stay_too()
    {
        await using EngineHarness engine = Open(BlockOnly);
        Write(engine, 0, 40, NowMs - 3 * WindowMs);
        engine.FlushByStep();
        FlushOthers(engine, FlushPresence.Flushes);
        Write(engine, 40, 4, NowMs);
        Assert.True(engine.Engine.StepDictionary());
        engine.Engine.Step(flush: false); // takes over: the MemTable that waits has ordinals from 40, its successor's are from 0
        Assert.Equal((2, 4), (engine.Engine.Stats().DictionaryEpoch, engine.Engine.Stats().Series));
        engine.FlushByStep();
        Assert.Equal(2 + FlushPresence.Flushes, engine.Engine.Stats().FlushesToBlocks);
        Write(engine, 100, 40, NowMs - 3 * WindowMs);
        engine.FlushByStep();
        FlushOthers(engine, FlushPresence.Flushes);
        Assert.True(engine.CollectByStep());
        Assert.Equal((4, 80), (engine.Engine.Stats().Series, engine.Engine.Stats().SeriesDropped));
        Assert.Equal(84, engine.ReadAll().Count);
    }

    [Fact]
    public async Task What_is_replayed_and_flushed_is_known_to_be_recent()
    {
        await using (EngineHarness first = Open(BlockOnly))
        {
            Write(first, 0, 40, NowMs);
            await first.StopWithoutFlushAsync();
        }

        await using EngineHarness engine = Open(BlockOnly);
        engine.FlushAndConvertByStep();
        Assert.Empty(engine.Engine.Stats().Tables);
        Assert.False(engine.CollectByStep());
        Assert.Equal(40, engine.Engine.Stats().Series);
    }

    private static StorageOptions OptionsFor(WritePathChoice path) => EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { WritePath = path, LateDelay = Duration.Seconds(0), BlockCompaction = false },
    };

    private static WriteReport Send(EngineHarness engine, int from, int count, long timeMs)
    {
        IEnumerable<int> numbers = Enumerable.Range(from, count);
        return engine.WriteAsync([.. numbers.Select(number => (DictionaryLifeTests.LabelsOf(number), new[] { Sample.Of(timeMs, number) }))]).GetAwaiter().GetResult();
    }

    private void FlushOthers(EngineHarness engine, int flushes)
    {
        for (int i = 0; i < flushes; i++)
        {
            Write(engine, 40, 4, NowMs + 1 + i);
            engine.FlushByStep();
        }
    }

    private static void Write(EngineHarness engine, int from, int count, long timeMs)
    {
        WriteReport report = Send(engine, from, count, timeMs);
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
    }

    private EngineHarness Open(StorageOptions options) => EngineHarness.OpenStepwise(_disk, options, _time, collectFrom: 2);
}
