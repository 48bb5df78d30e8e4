using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Each option of merges by a history that ends otherwise under another value, and what merges have to do with conversion.</summary>
public sealed class CompactionOptionTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 300).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i:D4}")))];
    private static readonly StorageOptions Tables = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { SstableToBlockConversion = false } };

    private readonly ManualTime _time = new();
    private readonly CrashFileSystem _disk = new("/disk");
    private int _step;

    public CompactionOptionTests() => _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(100));

    [Theory]
    [InlineData(0.8, 4)]
    [InlineData(0.75, 3)]
    [InlineData(0.3, 2)]
    public void Compaction_threshold_is_the_fill_at_which_a_level_is_merged(double threshold, int flushes)
    {
        EngineHarness engine = Open(Tables with { Compaction = new CompactionOptions { CompactionThreshold = threshold } });
        Assert.Equal(flushes, FlushesUntilMerged(engine));
        Assert.Equal((1, 1), (engine.Engine.Stats().Tables.Length, engine.Engine.Stats().Tables[0].Level));
    }

    [Theory]
    [InlineData(CompactionStrategy.SizeTiered, 4, 2)]
    [InlineData(CompactionStrategy.Leveled, 4, 1)]
    [InlineData(CompactionStrategy.TimeTiered, 8, 2)]
    public void Compaction_strategy_decides_when_an_open_window_is_merged_and_in_how_many_runs_it_stands(CompactionStrategy strategy, int flushes, int runsAfterTwice)
    {
        EngineHarness engine = Open(Tables with { Lsm = Tables.Lsm with { CompactionStrategy = strategy } });
        Assert.Equal(flushes, FlushesUntilMerged(engine));
        FlushesUntilMerged(engine);
        Assert.Equal(runsAfterTwice, engine.Engine.Windows().Single().Levels.Sum(static level => level.Runs));
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(7, 3)]
    public void Sstable_levels_is_how_deep_tables_go(int levels, int deepest)
    {
        EngineHarness engine = Open(Tables with { Lsm = Tables.Lsm with { SstableLevels = levels }, Compaction = new CompactionOptions { CompactionThreshold = 0.5 } });
        for (int i = 0; i < 8; i++)
        {
            Write(engine, 0, 5);
            engine.FlushByStep();
            engine.TablesByStep();
        }

        Assert.Equal(deepest, engine.Engine.Stats().Tables.Max(static table => table.Level));
    }

    [Theory]
    [InlineData(64, 256, 1)]
    [InlineData(4, 256, 3)]
    public void Target_file_size_is_where_a_run_is_cut(int targetKb, int maxKb, int atLeast)
    {
        EngineStats stats = MergeTwo(targetKb, maxKb);
        Assert.True(atLeast == 1 ? stats.Tables.Length == 1 : stats.Tables.Length >= atLeast, $"{stats.Tables.Length} tables");
        Assert.Equal(stats.Tables.Length, stats.Compactions[0].TablesWritten);
        Assert.Equal(1, stats.Compactions[0].Count);
    }

    [Fact]
    public void Max_file_size_is_what_no_table_exceeds()
    {
        Assert.True(MergeTwo(targetKb: 8, maxKb: 64).Tables.Max(static table => table.Size) > 8192, "the target is where a table ends, not what it stays below");
        Assert.True(MergeTwo(targetKb: 8, maxKb: 8).Tables.Max(static table => table.Size) <= 8192);
    }

    [Theory]
    [InlineData(4, 1, 1)]
    [InlineData(4, 2, 1)]
    [InlineData(4, 4, 3)]
    [InlineData(4, 16, 4)]
    [InlineData(1, 16, 1)]
    [InlineData(64, 16, 15)]
    public void Max_concurrent_bounds_the_merges_at_one_time_and_one_processor_is_left_to_ingestion(int maxConcurrent, int processors, int workers) =>
        Assert.Equal(workers, EngineSettings.CompactionWorkers(new StorageOptions { Compaction = new CompactionOptions { MaxConcurrent = maxConcurrent } }, processors));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Adaptive_compaction_makes_way_for_reads(bool adaptive)
    {
        StorageOptions options = Tables with
        {
            Lsm = Tables.Lsm with { MemTableSize = ByteSize.Mebibytes(64) },
            Read = Tables.Read with { ReadBufferSize = ByteSize.Kibibytes(4) },
            Integration = Tables.Integration with { AdaptiveCompaction = adaptive },
        };

        // Each look at the clock is a slice of work.
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, options, new BusyTime(_time));
        for (int i = 0; i < 4; i++)
        {
            Write(engine, 0, 200);
            engine.FlushByStep();
        }

        ReadSnapshot[] reads = [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => engine.Engine.AcquireSnapshot())];
        Assert.Equal(0.2, engine.Engine.Stats().CompactionDuty, tolerance: 0.001);
        engine.TablesByStep();
        foreach (ReadSnapshot read in reads) read.Dispose();
        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats.Compactions[0].BytesRead > 1 << 20, $"{stats.Compactions[0].BytesRead} bytes are too few slices");
        Assert.Equal((1, adaptive), (stats.Compactions[0].Count, stats.CompactionSleepSeconds > 0));
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(engine.Engine.Stats().CompactionDuty > 0.9);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Conversion_and_block_compaction_make_way_for_reads_by_the_same_pace(bool adaptive)
    {
        StorageOptions options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { AdaptiveCompaction = adaptive } };
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, options, new BusyTime(_time));
        for (int window = -6; window < -3; window++) Write(engine, window, 5);
        engine.FlushByStep();
        _time.Advance(TimeSpan.FromSeconds(2)); // what the log took is forgotten
        engine.BlocksByStep();
        EngineStats idle = engine.Engine.Stats();
        Assert.Equal(3, idle.Conversions);

        // Late data of each window: each is converted again, and merged with its block.
        for (int window = -6; window < -3; window++) Write(engine, window, 5);
        engine.FlushByStep();
        ReadSnapshot[] reads = [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => engine.Engine.AcquireSnapshot())];
        RunningBlockCompaction? running = null;
        _disk.BeforeOperation = (_, _) => running = engine.Engine.Stats().BlockCompactionRunning ?? running;
        engine.BlocksByStep();
        _disk.BeforeOperation = null;
        foreach (ReadSnapshot read in reads) read.Dispose();
        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats is { Conversions: 6, BlockCompactions: > 0 }, $"{stats}");
        Assert.Equal(adaptive, stats.ConversionSleepSeconds > 10 * idle.ConversionSleepSeconds);
        Assert.Equal(adaptive, stats.BlockCompactionSleepSeconds > 10 * idle.BlockCompactionSleepSeconds);
        Assert.Equal(0, stats.CompactionSleepSeconds); // no table was merged
        Assert.True(running is { Blocks: > 1, Bytes: > 0 } && running.EndTimeMs - running.MinTimeMs >= WindowMs, $"{running}");
        Assert.Null(stats.BlockCompactionRunning);
    }

    [Fact]
    public void A_closed_window_is_left_to_conversion_and_the_open_one_is_merged()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions);
        for (int i = 0; i < 4; i++)
        {
            Write(engine, -3, 5);
            Write(engine, 0, 5);
            engine.FlushByStep();
        }

        engine.TablesByStep();
        EngineStats stats = engine.Engine.Stats();
        Assert.Equal(1, stats.Compactions.Sum(static level => level.Count));
        Assert.Equal(CurrentMs, Assert.Single(stats.Tables, static table => table.Level == 1).Windows[0]);
        engine.BlocksByStep();
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(40, samples.Count));
    }

    [Fact]
    public void Late_data_of_a_window_that_is_a_block_already_is_merged_and_no_younger_for_it()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions);
        Write(engine, -3, 5);
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks);
        for (int i = 0; i < 4; i++)
        {
            Write(engine, -3, 5);
            engine.FlushByStep();
        }

        DoWhatIsDue(engine);
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        _time.Advance(TimeSpan.FromMinutes(9));
        Write(engine, 0, 1);
        DoWhatIsDue(engine);
        Assert.Single(engine.Engine.Stats().Blocks);
        _time.Advance(TimeSpan.FromMinutes(1));
        DoWhatIsDue(engine); // ten minutes after the last flush into it
        Assert.Single(engine.Engine.Stats().Tables); // that of the open window
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(26, samples.Count));
    }

    /// <summary>What the engine does by itself, with nobody asking for blocks.</summary>
    private static void DoWhatIsDue(EngineHarness engine)
    {
        engine.FlushByStep();
        engine.TablesByStep();
        while (engine.Engine.StepBlocks())
        {
        }
    }

    [Fact]
    public void A_window_has_no_directory_longer_than_it_has_tables_of_its_own()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions);
        for (int i = 0; i < 4; i++)
        {
            Write(engine, 0, 5);
            engine.FlushByStep();
        }

        engine.TablesByStep();
        Assert.Equal([CurrentMs], TestTables.Directories(_disk));
        _time.Advance(TimeSpan.FromHours(4));
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks);
        engine.TablesByStep();
        Assert.Empty(_disk.List(TestTables.Directory));
    }

    [Fact]
    public void What_merges_did_is_counted_by_level_with_the_bytes_that_it_cost()
    {
        EngineHarness engine = Open(Tables with { Compaction = new CompactionOptions { CompactionThreshold = 0.5 } });
        for (int i = 0; i < 4; i++)
        {
            Write(engine, 0, 5);
            engine.FlushByStep();
            if (i == 1) Assert.Equal((1, 1), (engine.Engine.Stats().CompactionsDue, engine.Engine.Stats().CompactionsWaiting));
            if (i == 1) Assert.Equal(engine.Engine.Stats().Tables.Sum(static table => table.Size), engine.Engine.Stats().CompactionDebtBytes);
            engine.TablesByStep();
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.Equal([(1, 2L, 4L, 2L), (2, 1L, 2L, 1L)], stats.Compactions.Take(2).Select(static level => (level.Level, level.Count, level.TablesMerged, level.TablesWritten)));
        Assert.Equal([3000L, 6000L - 0], [stats.Compactions[0].Samples / 2, stats.Compactions[1].Samples]);
        Assert.Equal(stats.Tables[0].Size, stats.Compactions[1].BytesWritten);
        Assert.True(stats.Compactions[0].BytesRead > 0 && stats.Compactions[0].Seconds > 0);
        Assert.Equal((0, 0, 0L), (stats.CompactionsDue, stats.CompactionsWaiting, stats.CompactionDebtBytes));
        double written = stats.FlushBytes + stats.Compactions.Sum(static level => level.BytesWritten);
        Assert.Equal(written / stats.FlushBytes, stats.WriteAmplification, tolerance: 1e-9);
        Assert.True(stats.WriteAmplification > 2);
        WindowLevelStats level = Assert.Single(Assert.Single(engine.Engine.Windows()).Levels);
        Assert.Equal((2, 1, 1, stats.Tables[0].Size), (level.Level, level.Runs, level.Tables, level.Bytes));
    }

    private EngineHarness Open(StorageOptions options) => EngineHarness.OpenStepwise(_disk, options, _time);

    private int FlushesUntilMerged(EngineHarness engine)
    {
        long before = engine.Engine.Stats().Compactions.Sum(static level => level.Count);
        for (int flushes = 1; flushes < 20; flushes++)
        {
            Write(engine, 0, 2);
            engine.FlushByStep();
            engine.TablesByStep();
            if (engine.Engine.Stats().Compactions.Sum(static level => level.Count) > before) return flushes;
        }

        return int.MaxValue;
    }

    private EngineStats MergeTwo(int targetKb, int maxKb)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(
            new CrashFileSystem("/disk"),
            Tables with { Compaction = new CompactionOptions { CompactionThreshold = 0.5, TargetFileSize = ByteSize.Kibibytes(targetKb), MaxFileSize = ByteSize.Kibibytes(maxKb) } }, _time);
        for (int i = 0; i < 2; i++)
        {
            Write(engine, 0, 10);
            engine.FlushByStep();
        }

        engine.TablesByStep();
        return engine.Engine.Stats();
    }

    /// <summary>Samples of each series that no one before had.</summary>
    private void Write(EngineHarness engine, int window, int samples)
    {
        int from = _step;
        _step += samples;
        WriteReport report = engine.WriteAsync([.. Series.Select((labels, i) => (labels, Enumerable.Range(from, samples)
            .Select(step => Sample.Of(CurrentMs + window * WindowMs + step * 7, (step * 7919 + i) % 1000 / 3.0)).ToArray()))]).GetAwaiter().GetResult();
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
    }

    /// <summary>A clock that goes on by six milliseconds each time somebody measures.</summary>
    private sealed class BusyTime(TimeProvider inner) : TimeProvider
    {
        private long _looks;

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override long GetTimestamp() => inner.GetTimestamp() + Interlocked.Increment(ref _looks) * 6 * TimeSpan.TicksPerMillisecond;

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();
    }
}
