using System.Collections.Immutable;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A flush straight into blocks that the disk refuses: all of its blocks or none, and never one of them taken for a foreign one.</summary>
public sealed class BlockFlushFailureTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * WindowMs);
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 5).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];
    private static readonly IntegrationOptions BlockOnly = new() { WritePath = WritePathChoice.Blocks, BlockCompaction = false };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly FaultInjector _files;
    private readonly ManualTime _time = new();

    public BlockFlushFailureTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
    }

    [Theory]
    [InlineData("chunks/000001", FileOperationKind.CreateNew, 1)]
    [InlineData(".tmp-for-creation/index", FileOperationKind.SyncAll, 2)]
    [InlineData("meta.json.tmp", FileOperationKind.CreateNew, 2)]
    [InlineData("meta.json.tmp", FileOperationKind.SyncAll, 2)]
    [InlineData(".tmp-for-creation", FileOperationKind.Rename, 2)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.CreateNew, 1)]
    public void A_flush_into_blocks_that_fails_leaves_nothing_behind_and_the_next_attempt_makes_a_table(string path, FileOperationKind kind, int onCall)
    {
        EngineHarness engine = OpenWithTwoWindows();
        Task done = engine.Engine.FlushAsync(CancellationToken.None);
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = path, OnCall = onCall });
        engine.Engine.Step();
        Assert.Equal((1, 1, 0), (failing.Injections, engine.Engine.Stats().FlushErrors, engine.Engine.Stats().Flushes));
        Assert.Empty(_disk.List(TestBlocks.Directory));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal([1, 1], Values(samples)));
        _time.Advance(TimeSpan.FromMinutes(1));
        engine.Engine.Step();
        Assert.True(done.IsCompletedSuccessfully);
        Assert.Equal((EnginePhase.Ready, 1, 0), (engine.Engine.Phase, engine.Engine.Stats().Tables.Length, engine.Engine.Stats().FlushesToBlocks));
        DoBlocks(engine);
        Assert.Equal((2, 0, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length, engine.Engine.Stats().BlocksAdopted));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal([1, 1], Values(samples)));
        Write(engine, At(0), 2);
        engine.FlushByStep();
        Assert.Equal(1, engine.Engine.Stats().FlushesToBlocks); // the next MemTable goes straight again
    }

    [Fact]
    public void A_block_whose_name_the_disk_does_not_let_be_taken_back_is_no_foreign_one_and_goes_once_it_can()
    {
        EngineHarness engine = OpenWithTwoWindows();

        // Two of the files meta.json, the first block's name; the second one's is refused, and so is every way back.
        FaultRule stuck = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Rename) { Path = "data/blocks/*", OnCall = 4, Sticky = true });
        engine.Engine.Step();
        Assert.Single(Names());
        Later(engine);
        Later(engine);
        Assert.True(stuck.Injections >= 4, "its removal is tried again");
        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((EnginePhase.Ready, 1, 0, 0), (engine.Engine.Phase, stats.Tables.Length, stats.Blocks.Length, stats.BlocksAdopted));
        Assert.Contains(stats.Damages, damage => damage.Contains(Names()[0], StringComparison.Ordinal));
        _files.Remove(stuck);
        Later(engine);
        stats = engine.Engine.Stats();
        Assert.Equal((0, 2, 0), (stats.Tables.Length, stats.Blocks.Length, stats.BlocksAdopted));
        Assert.Equal(stats.Blocks.Select(static block => block.Ulid).Order(), Names().Order());
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(2, samples.Count));
    }

    [Fact]
    public void Names_that_may_not_be_durable_make_the_storage_read_only_and_the_next_start_takes_them_back()
    {
        EngineHarness engine = OpenWithTwoWindows();
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncDir) { Path = "data/blocks" });
        engine.Engine.Step();
        Assert.Equal(1, failing.Injections);
        Assert.Equal((EnginePhase.Failed, 2, 0), (engine.Engine.Phase, Names().Length, engine.Engine.Stats().BlocksAdopted));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(2, samples.Count));
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(policy, seed: 1), EngineHarness.SmallOptions with { Integration = BlockOnly }, _time);
            DoBlocks(again);
            Assert.Equal((EnginePhase.Ready, 0), (again.Engine.Phase, again.Engine.Stats().BlocksAdopted));
            Assert.All(again.ReadAll().Values, static samples => Assert.Equal(2, samples.Count));
        }
    }

    [Fact]
    public void A_name_that_is_taken_back_and_may_return_makes_the_storage_read_only()
    {
        EngineHarness engine = OpenWithTwoWindows();
        FaultRule refused = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Rename) { Path = ".tmp-for-creation", OnCall = 2 });
        FaultRule unsynced = _files.Add(new FaultRule(new Fault.FailedSync(LostPages.CacheKeepsNew), FileOperationKind.SyncDir) { Path = "data/blocks" });
        engine.Engine.Step();
        Assert.Equal((1, 1, EnginePhase.Failed), (refused.Injections, unsynced.Injections, engine.Engine.Phase));
        Assert.Contains("data/blocks", engine.Engine.Stats().Failure, StringComparison.Ordinal);
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(2, samples.Count));
    }

    [Theory]
    [InlineData("data/blocks", FileOperationKind.SyncDir, true)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.SyncAll, true)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.CreateNew, false)]
    public void New_blocks_that_are_given_up_stay_reserved_as_long_as_they_bear_their_names(string path, FileOperationKind kind, bool isLeft)
    {
        EngineHarness engine = OpenWithTwoWindows();
        var paths = new DataLayout("/disk/data");
        var store = new BlockStore(_files, paths, mmap: false, cacheBytes: 0, NullLogger.Instance);
        EngineState state = engine.Engine.StateNow;
        var failure = new EngineFailure();
        var commits = new StateCommits(_files, paths, new TableIds(100), new CurrentState(state), new SegmentLedger(), failure, NullLogger.Instance);
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = path });
        using (var blocks = new NewBlocks(store, NullLogger.Instance))
        {
            for (int i = 1; i <= 2; i++)
            {
                BlockWriter writer = TestBlocks.Finish(_files, TestBlocks.Directory, TestBlocks.Name(i), [(Series[0], [Sample.Of(At(0), 1)])]);
                blocks.Add(writer, mark => writer.NewMeta() with { Mark = mark });
            }

            Assert.Throws<DiskException>(() => blocks.Commit(commits, static manifest => manifest, static (state, _, _) => state));
        }

        Assert.Equal((1, isLeft ? 2 : 0, isLeft), (failing.Injections, Names().Length, failure.IsSet));
        Assert.Empty(store.FindUnknown(() => state.Manifest, out _));
    }

    [Fact]
    public void A_sample_that_no_block_holds_is_missed_however_many_came_late_with_another_value()
    {
        EngineHarness engine = OpenWithTwoWindows();
        Write(engine, At(-3), 2);
        engine.Engine.Step(flush: false);
        MemTable memTable = Assert.Single(engine.Engine.StateNow.MemTables.Waiting);
        var paths = new DataLayout("/disk/data");
        StorageOptions options = EngineHarness.SmallOptions with { Integration = BlockOnly };
        long windowMs = options.BlockDuration.Milliseconds;
        var flush = new BlockFlush(
            new BlockConverter(_files, paths, ChunkEncodingChoice.Optimal, windowMs), EngineSettings.Conversion(options), new EngineModes(options), static () => true, _time);
        var store = new BlockStore(_files, paths, mmap: false, cacheBytes: 0, NullLogger.Instance);
        ImmutableArray<ConversionJob> windows = flush.Plan(memTable, engine.Engine.StateNow);
        Assert.Equal(2, windows.Length);
        using (var blocks = new NewBlocks(store, NullLogger.Instance))
        {
            FlushedData written = flush.Write(memTable, windows, blocks);
            Assert.Equal((2 * Series.Length, Series.Length), (written.Samples, written.Merged.Conflicts));
        }

        using (var blocks = new NewBlocks(store, NullLogger.Instance))
            Assert.Throws<InvariantViolatedException>(() => flush.Write(memTable, windows[..1], blocks)); // the window where each value was replaced
        Assert.Empty(_disk.List(TestBlocks.Directory));
    }

    private static long At(int window) => CurrentMs + window * WindowMs;

    private static double[] Values(List<Sample> samples) => [.. samples.Select(static sample => BitConverter.UInt64BitsToDouble(sample.ValueBits))];

    private static void DoBlocks(EngineHarness engine)
    {
        while (engine.Engine.StepBlocks())
        {
        }
    }

    private void Later(EngineHarness engine)
    {
        _time.Advance(TimeSpan.FromMinutes(6));
        while (engine.Engine.Step())
        {
        }

        DoBlocks(engine);
    }

    private string[] Names() => [.. _disk.List(TestBlocks.Directory).Select(static entry => entry.Name).Where(static name => BlockDirectory.IsBlock(name, out _))];

    private static void Write(EngineHarness engine, long time, double value) => Assert.Equal(
        WriteStatus.Written, engine.WriteAsync([.. Series.Select(labels => (labels, new[] { Sample.Of(time, value) }))]).GetAwaiter().GetResult().Status);

    /// <summary>A MemTable that a flush would write as two blocks; what there is to do to blocks at a start is done.</summary>
    private EngineHarness OpenWithTwoWindows()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_files, EngineHarness.SmallOptions with { Integration = BlockOnly }, _time);
        DoBlocks(engine);
        Write(engine, At(-3), 1);
        Write(engine, At(0), 1);
        _ = engine.Engine.FlushAsync(CancellationToken.None);
        return engine;
    }
}
