using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A power cut before any file operation of a store in block-only mode, where MemTables become blocks or first a table, with a switch to tables and back on the
/// way. Whatever the disk may then hold, the next
/// open serves each sample once and in its newest version, whichever mode it is opened in, and comes to rest with whole blocks and nothing besides.
/// </summary>
public sealed class BlockOnlyCrashTests
{
    private static readonly StorageOptions BlockOnly = EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), WritePath = WritePathChoice.Blocks },
    };

    private static readonly StorageOptions Tables = BlockOnly with { Integration = BlockOnly.Integration with { WritePath = WritePathChoice.Lsm } };

    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public void A_power_cut_before_any_operation_loses_and_doubles_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind))).AssertSurvived(atLeast: 150);

    [Fact]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing() =>
        Run(new CrashPlan(new CrashPolicy(CrashKind.OnlySynced)) { RecoveryEvery = 40 }).AssertRecovered(atLeast: 100);

    /// <summary>Each sync of a flush straight into blocks is needed, as of a conversion: the log goes with it, and nobody else has the samples.</summary>
    [Theory]
    [InlineData("chunk segment", SyncKind.All, ".tmp-for-creation/chunks/", "000001")]
    [InlineData("index", SyncKind.All, ".tmp-for-creation/", "/index")]
    [InlineData("meta", SyncKind.All, ".tmp-for-creation/", "/meta.json.tmp")]
    [InlineData("directory of the chunks", SyncKind.Directory, ".tmp-for-creation", "/chunks")]
    [InlineData("directory of the block", SyncKind.Directory, "/blocks/", ".tmp-for-creation")]
    [InlineData("directory of the blocks", SyncKind.Directory, TestBlocks.Directory, "")]
    public void Without_this_sync_of_a_flush_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix) => CrashHistory.AssertNoticed(
        what, kind, pathPart, suffix, static plan => Run(plan, static (history, engine) =>
        {
            history.Write(engine, -3, 0, 3);
            history.Write(engine, 0, 0, 2);
            if (!history.IsOver) engine.FlushByStep();
        }));

    private static CrashHistory Run(CrashPlan plan, Action<CrashHistory, EngineHarness>? live = null)
    {
        int images = 0;
        var history = new CrashHistory(
            plan, TimeWindow.StartOf(1_700_000_000_000, CrashHistory.WindowMs), (history, image, when) => Check(history, image, when, images++ % 2 == 0 ? BlockOnly : Tables));
        EngineHarness engine = EngineHarness.OpenStepwise(history.Begin(), BlockOnly, history.Time);
        history.CutOffDuring(() => (live ?? Live)(history, engine));
        EngineStats stats = engine.Engine.Stats();
        if (live is null)
            Assert.True(stats is { Flushes: 8, FlushesToBlocks: 5, FlushBlocks: 8, Conversions: >= 2, BlockCompactions: >= 3, Tables.IsEmpty: true }, $"{stats}");
        history.End();
        return history;
    }

    private static void Live(CrashHistory history, EngineHarness engine)
    {
        // The open window and one that is over, in one MemTable; then newer versions and more of both; then a MemTable above blocks.
        history.Write(engine, -3, 0, 3);
        history.Write(engine, 0, 0, 2);
        FlushAndConvert(engine);
        history.Write(engine, -3, 0, 2, value: 1000);
        history.Write(engine, 0, 1, 4, value: 2000);
        FlushAndConvert(engine);
        history.Write(engine, 0, 0, 1, value: 3000);

        // To tables and back, with one of them between. The first flush after that meets a table of one of its windows and makes another; the next goes straight.
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
        FlushAndConvert(engine);
        history.Write(engine, 0, 3, 5, value: 4000);
        engine.FlushByStep();
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        history.Write(engine, -1, 0, 2);
        history.Write(engine, 0, 0, 2, value: 5000);
        FlushAndConvert(engine);
        history.Write(engine, 0, 0, 1, value: 6000);
        history.Write(engine, -1, 1, 3, value: 7000);
        FlushAndConvert(engine);
        history.Write(engine, 0, 4, 6, value: 8000);
        engine.FlushByStep();

        // Blocks of window 0 are compacted, and what is newer is flushed meanwhile.
        history.Write(engine, 0, 3, 5, value: 9000);
        ConvertAndFlushMeanwhile(history, engine);
    }

    private static void FlushAndConvert(EngineHarness engine)
    {
        engine.FlushByStep();
        while (engine.Engine.StepBlocks())
        {
        }
    }

    /// <summary>The flush comes before the compaction of blocks has written all that it reads, and long before its commit.</summary>
    private static void ConvertAndFlushMeanwhile(CrashHistory history, EngineHarness engine)
    {
        Action<long, FileOperation> cutOff = history.Disk.BeforeOperation!;
        bool flushed = false;
        history.Disk.BeforeOperation = (number, operation) =>
        {
            cutOff(number, operation);
            if (flushed || !operation.Path.EndsWith(".tmp-for-creation/tombstones", StringComparison.Ordinal)) return;
            flushed = true;
            engine.FlushByStep();
        };
        while (engine.Engine.StepBlocks())
        {
        }

        history.Disk.BeforeOperation = cutOff;
        Assert.True(flushed);
    }

    /// <summary>Opened in each mode by turns, and at rest in the one that leaves no tables.</summary>
    private static void Check(CrashHistory history, CrashFileSystem image, string when, StorageOptions options)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(image, options, history.Time);
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        ConversionCrashTests.CompareBlocks(history, image, engine, when);
        if (!engine.Engine.Stats().Tables.IsEmpty) history.Violations.Add($"{when}: tables are left");
    }
}
