using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>In block-only mode a MemTable becomes blocks without a table between, where the order of versions allows it, and else a table first.</summary>
public sealed class BlockFlushTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * WindowMs);
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 40).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i * 7 % 40:D2}")))];
    private static readonly IntegrationOptions BlockOnly = new() { WritePath = WritePathChoice.Blocks, BlockCompaction = false };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly FaultInjector _files;
    private readonly ManualTime _time = new();
    private bool _isInside;

    public BlockFlushTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
    }

    [Fact]
    public void Each_window_becomes_one_block_all_in_one_commit_and_no_table_is_written()
    {
        EngineHarness engine = Open(BlockOnly);
        bool anyTable = false;
        Before(static operation => operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal), () => anyTable = true);
        foreach (int window in (int[])[-9, -2, -1, 0]) Write(engine, At(window), window + 20);
        long generation = engine.Engine.Stats().ManifestGeneration;
        engine.FlushByStep();
        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((1, 1, 4, 0), (stats.Flushes, stats.FlushesToBlocks, stats.FlushBlocks, stats.Conversions));
        Assert.Equal((generation + 1, 4, 0), (stats.ManifestGeneration, stats.Blocks.Length, stats.Tables.Length));
        Assert.False(anyTable);
        Assert.Equal([At(-9), At(-2), At(-1), At(0)], stats.Blocks.Select(static block => block.MinTimeMs));
        Assert.Equal([2, 3, 4, 5], stats.Blocks.Select(static block => block.Rank));
        Assert.All(stats.Blocks, static block => Assert.Equal(block.MinTimeMs + WindowMs, block.EndTimeMs));
        Assert.Equal(4 * Series.Length, stats.FlushSamples);
        Assert.Equal((stats.Blocks.Sum(BytesOfData), 1.0), (stats.FlushBytes, stats.WriteAmplification));
        Assert.Equal(Series.Length, stats.DictionaryFileSeries);
        Assert.Equal([], TestBlocks.Problems(_disk));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal([11, 18, 19, 20], Values(samples)));
        Assert.Single(_disk.List("/disk/data/wal")); // the active segment

        engine = Reopen(engine, BlockOnly);
        Assert.Equal(0, engine.Engine.Stats().RecordsReplayed);
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal([11, 18, 19, 20], Values(samples)));
    }

    [Theory]
    [InlineData(ChunkEncodingChoice.Optimal)]
    [InlineData(ChunkEncodingChoice.Verbatim)]
    public void A_block_is_the_same_whether_a_table_was_between_or_not(ChunkEncodingChoice encoding)
    {
        byte[][] Files(WritePathChoice first)
        {
            var disk = new CrashFileSystem("/disk");
            EngineHarness engine = EngineHarness.OpenStepwise(
                disk, EngineHarness.SmallOptions with { Integration = BlockOnly with { WritePath = first, ChunkEncoding = encoding } }, _time);
            var random = new Random(5);
            foreach (byte[] labels in Series)
            {
                // In order, late, again with another value; some series in one of the windows only.
                Sample[] samples = [.. Enumerable.Range(0, 300).Select(_ => Sample.Of(At(random.Next(2) - 1 - (labels[^1] & 1)) + random.Next(450) * 5_000, random.Next(7)))];
                Assert.Equal(WriteStatus.Written, engine.WriteAsync((labels, samples)).GetAwaiter().GetResult().Status);
            }

            engine.FlushByStep();
            Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
            engine.BlocksByStep();
            EngineStats stats = engine.Engine.Stats();
            Assert.Equal((3, 0, first == WritePathChoice.Blocks ? 0 : 3), (stats.Blocks.Length, stats.Tables.Length, stats.Conversions));
            return
            [
                .. stats.Blocks.OrderBy(static block => block.MinTimeMs).SelectMany(static block => (string[])[$"{block.Ulid}/index", $"{block.Ulid}/chunks/000001"])
                    .Select(file => disk.ReadAll($"{TestBlocks.Directory}/{file}")),
            ];
        }

        byte[][] straight = Files(WritePathChoice.Blocks);
        byte[][] converted = Files(WritePathChoice.Lsm);
        Assert.Equal(6, straight.Length);
        for (int i = 0; i < straight.Length; i++) Assert.Equal(converted[i], straight[i]);
    }

    [Fact]
    public void A_MemTable_with_a_window_that_a_table_holds_becomes_a_table_and_that_becomes_blocks()
    {
        EngineHarness engine = Open(BlockOnly with { WritePath = WritePathChoice.Lsm });
        Write(engine, At(0), 1);
        engine.FlushByStep();
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Write(engine, At(0), 2);
        Write(engine, At(-3), 2);
        engine.FlushByStep();
        Assert.Equal((0, 2), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        AssertNewest(engine, At(0), 2);
        DoBlocks(engine);
        Assert.Equal((2, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        AssertNewest(engine, At(0), 2);
        Write(engine, At(0), 3);
        engine.FlushByStep();
        Assert.Equal((3, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        AssertNewest(engine, At(0), 3);
    }

    [Fact]
    public void A_MemTable_with_a_window_of_a_table_that_is_out_of_service_becomes_a_table_so_that_the_order_holds_when_it_is_put_right()
    {
        EngineHarness engine = Open(BlockOnly with { WritePath = WritePathChoice.Lsm });
        Write(engine, At(0), 1);
        engine.FlushByStep();
        TableEntry table = engine.Engine.Stats().Tables.Single();
        byte[] end = _disk.ReadAll($"{TestTables.Directory}/{table.Id}.sst")[^3..];
        engine = Reopen(engine, BlockOnly, () => Overwrite(table, [1, 2, 3]));
        Assert.Empty(engine.Engine.Stats().Tables);
        Write(engine, At(0), 2);
        Write(engine, At(-1), 2);
        engine.FlushByStep();
        Assert.Equal(0, engine.Engine.Stats().FlushesToBlocks);
        engine = Reopen(engine, BlockOnly, () => Overwrite(table, end));
        AssertNewest(engine, At(0), 2);
        DoBlocks(engine);
        Assert.Empty(engine.Engine.Stats().Tables);
        AssertNewest(engine, At(0), 2);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_flush_during_a_compaction_of_its_window_is_newer_than_what_comes_of_it(bool areInputsForeign)
    {
        EngineHarness engine = Open(BlockOnly with { BlockCompaction = true });
        for (int version = 1; version < 3; version++)
        {
            if (areInputsForeign) TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(version), Series.Select(labels => (labels, new[] { Sample.Of(At(0), version), Sample.Of(At(0) + 1, version) })));
            else Write(engine, At(0), version);
            engine.FlushByStep();
        }

        Write(engine, At(0), 3);
        bool flushed = false;
        Before(static operation => operation.Path.EndsWith(".tmp-for-creation/tombstones", StringComparison.Ordinal), () =>
        {
            Assert.NotNull(engine.Engine.Stats().BlockCompactionRunning);
            engine.FlushByStep();
            Assert.Equal((3, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
            flushed = true;
        });
        for (int step = 0; step < 3 && !flushed; step++) engine.Engine.StepBlocks();
        Assert.True(flushed);
        Assert.Equal((1, 2), (engine.Engine.Stats().BlockCompactions, engine.Engine.Stats().Blocks.Length));
        AssertNewest(engine, At(0), 3);
        engine = Reopen(engine, BlockOnly with { BlockCompaction = true });
        AssertNewest(engine, At(0), 3);
        DoBlocks(engine);
        Assert.Single(engine.Engine.Stats().Blocks);
        AssertNewest(engine, At(0), 3);
    }

    [Fact]
    public void A_compaction_while_a_MemTable_is_flushed_is_older_than_what_comes_of_that()
    {
        EngineHarness engine = Open(BlockOnly with { BlockCompaction = true });
        for (int version = 1; version < 3; version++)
        {
            Write(engine, At(0), version);
            engine.FlushByStep();
        }

        Write(engine, At(0), 3);
        bool compacted = false;
        Before(static operation => operation.Path.EndsWith(".tmp-for-creation/tombstones", StringComparison.Ordinal), () =>
        {
            DoBlocks(engine);
            compacted = engine.Engine.Stats().BlockCompactions == 1;
        });
        engine.FlushByStep();
        Assert.True(compacted);
        Assert.Equal((3, 2), (engine.Engine.Stats().FlushesToBlocks, engine.Engine.Stats().Blocks.Length));
        AssertNewest(engine, At(0), 3);
        DoBlocks(engine);
        Assert.Equal((1, 2), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().BlockCompactions));
        AssertNewest(engine, At(0), 3);
    }

    [Theory]
    [InlineData(BlockFlush.MaxWindows, 1)]
    [InlineData(BlockFlush.MaxWindows + 1, 0)]
    public void A_MemTable_of_very_many_windows_becomes_a_table_for_each_block_costs_syncs_while_the_log_is_held(int windows, int straight)
    {
        EngineHarness engine = Open(BlockOnly);
        for (int i = 0; i < windows; i++) Write(engine, At(-i * (i % 2 + 1)), i); // neighbours and others
        int distinct = Enumerable.Range(0, windows).Select(static i => i * (i % 2 + 1)).Distinct().Count();
        for (int i = distinct; i < windows; i++) Write(engine, At(-100 - i), i);
        engine.FlushByStep();
        Assert.Equal((straight, straight * windows), (engine.Engine.Stats().FlushesToBlocks, engine.Engine.Stats().Blocks.Length));
        DoBlocks(engine);
        Assert.Equal((windows, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
    }

    [Fact]
    public void A_flush_that_others_wait_behind_goes_the_faster_way()
    {
        EngineHarness engine = Open(BlockOnly with { MaxBlockRecords = 10 });
        for (int i = 0; i < 3; i++)
        {
            Write(engine, At(-i), i);
            engine.Engine.Step(flush: false);
            Assert.Equal(i + 1, engine.Engine.StateNow.MemTables.Waiting.Length);
        }

        while (engine.Engine.Step())
        {
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((3, 1, 2), (stats.Flushes, stats.FlushesToBlocks, stats.Tables.Length)); // the last one straight: nobody waits behind it
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal([2, 1, 0], Values(samples)));
    }

    [Fact]
    public void A_block_that_has_its_name_and_is_not_yet_in_the_manifest_is_not_taken_for_a_foreign_one()
    {
        EngineHarness engine = Open(BlockOnly);
        DoBlocks(engine);
        Write(engine, At(0), 1);
        _time.Advance(TimeSpan.FromMinutes(1)); // the directory is due to be looked at
        bool looked = false;
        Before(static operation => operation is { Kind: FileOperationKind.CreateNew, Path: "/disk/data/MANIFEST.tmp" }, () =>
        {
            looked = true;
            Assert.Single(_disk.List(TestBlocks.Directory), static entry => !entry.Name.Contains('.', StringComparison.Ordinal));
            DoBlocks(engine);
        });
        engine.FlushByStep();
        Assert.True(looked);
        Assert.Equal((1, 0, 1), (engine.Engine.Stats().FlushesToBlocks, engine.Engine.Stats().BlocksAdopted, engine.Engine.Stats().Blocks.Length));
        Assert.Equal(EnginePhase.Ready, engine.Engine.Phase);
        _time.Advance(TimeSpan.FromMinutes(1));
        DoBlocks(engine);
        Assert.Equal((0, 1), (engine.Engine.Stats().BlocksAdopted, engine.Engine.Stats().Blocks.Length));
        AssertNewest(engine, At(0), 1);
    }

    [Fact]
    public void Nothing_goes_straight_into_a_block_before_the_log_is_replayed()
    {
        EngineHarness engine = Open(BlockOnly);
        Write(engine, At(0), 1);
        engine = Reopen(engine, BlockOnly);
        Assert.Equal((1, 0, 1), (engine.Engine.Stats().Flushes, engine.Engine.Stats().FlushesToBlocks, engine.Engine.Stats().Tables.Length));
        DoBlocks(engine);
        Assert.Equal((1, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
    }

    [Fact]
    public void Series_of_a_MemTable_of_an_earlier_dictionary_find_their_labels()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_files, EngineHarness.SmallOptions with { Integration = BlockOnly }, _time, collectFrom: 1);
        Write(engine, At(-3), 1);
        engine.FlushByStep();
        for (int i = 0; i < FlushPresence.Flushes; i++)
        {
            // What the first flush brought is no longer recent by that.
            Write(engine, At(-3), 2, count: 3);
            engine.FlushByStep();
        }

        Write(engine, At(-3), 2, count: 3);

        // The other series have no data but in blocks, and none that is recent: the switch leaves the MemTable of three behind, whose ordinals are those of the old dictionary.
        Assert.True(engine.CollectByStep());
        Assert.Equal(Series.Length - 3, engine.Engine.Stats().SeriesDropped);
        engine.FlushByStep();
        Assert.Equal((2 + FlushPresence.Flushes, 2 + FlushPresence.Flushes), (engine.Engine.Stats().FlushesToBlocks, engine.Engine.Stats().Blocks.Length));
        Assert.Equal(Series.Take(3).Select(static labels => Labels.Print(labels)).Order(), engine.ReadAll().Where(static one => Values(one.Value)[0] == 2).Select(static one => one.Key).Order());
        Assert.Equal(Series.Length, engine.ReadAll().Count);
    }

    private static long At(int window) => CurrentMs + window * WindowMs;

    private static double[] Values(List<Sample> samples) => [.. samples.Select(static sample => BitConverter.UInt64BitsToDouble(sample.ValueBits))];

    private static void DoBlocks(EngineHarness engine)
    {
        while (engine.Engine.StepBlocks())
        {
        }
    }

    private static void AssertNewest(EngineHarness engine, long time, double value) =>
        Assert.All(engine.ReadAll().Values, samples => Assert.Equal(value, BitConverter.UInt64BitsToDouble(samples.Single(sample => sample.TimeMs == time).ValueBits)));

    private void Overwrite(TableEntry table, byte[] end)
    {
        using IFile file = _disk.OpenAppendable($"{TestTables.Directory}/{table.Id}.sst");
        file.Write(table.Size - end.Length, end);
    }

    /// <summary>Chunks with their segments' headers, and the index, as a flush counts them.</summary>
    private long BytesOfData(StoredBlockStats block) =>
        _disk.FileSize($"{TestBlocks.Directory}/{block.Ulid}/index")!.Value + _disk.FileSize($"{TestBlocks.Directory}/{block.Ulid}/chunks/000001")!.Value;

    /// <summary>Does something once, before the first operation of a kind; what it does is not asked about.</summary>
    private void Before(Func<FileOperation, bool> isMeant, Action action) => _disk.BeforeOperation = (_, operation) =>
    {
        if (_isInside || !isMeant(operation)) return;
        _isInside = true;
        _disk.BeforeOperation = null;
        action();
        _isInside = false;
    };

    private static void Write(EngineHarness engine, long time, double value, int? count = null) => Assert.Equal(
        WriteStatus.Written, engine.WriteAsync([.. Series.Take(count ?? Series.Length).Select(labels => (labels, new[] { Sample.Of(time, value) }))]).GetAwaiter().GetResult().Status);

    private EngineHarness Reopen(EngineHarness engine, IntegrationOptions integration, Action? between = null)
    {
        engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
        between?.Invoke();
        return Open(integration);
    }

    private EngineHarness Open(IntegrationOptions integration) =>
        EngineHarness.OpenStepwise(_files, EngineHarness.SmallOptions with { Integration = integration }, _time);
}
