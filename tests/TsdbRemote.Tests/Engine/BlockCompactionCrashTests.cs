using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A power cut before any file operation of block compactions. Whatever the disk may then hold, the next open serves each sample once and in its newest
/// version, comes to rest with whole blocks and nothing besides, and neither what was deleted nor what was merged comes back.
/// </summary>
public sealed class BlockCompactionCrashTests
{
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public void A_power_cut_before_any_operation_loses_doubles_and_revives_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind))).AssertSurvived(atLeast: 100);

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind)) { RecoveryEvery = 40 }).AssertRecovered(atLeast: 100);

    /// <summary>The result is all there is of its inputs: each sync that makes it durable is needed before they go.</summary>
    [Theory]
    [InlineData("chunk segment", SyncKind.All, ".tmp-for-creation/chunks/", "000001")]
    [InlineData("index", SyncKind.All, ".tmp-for-creation/", "/index")]
    [InlineData("meta", SyncKind.All, ".tmp-for-creation/", "/meta.json.tmp")]
    [InlineData("directory of the chunks", SyncKind.Directory, ".tmp-for-creation", "/chunks")]
    [InlineData("directory of the block", SyncKind.Directory, "/blocks/", ".tmp-for-creation")]
    [InlineData("directory of the blocks", SyncKind.Directory, TestBlocks.Directory, "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix) =>
        CrashHistory.AssertNoticed(what, kind, pathPart, suffix, Run);

    private static CrashHistory Run(CrashPlan plan)
    {
        var history = new CrashHistory(plan, TimeWindow.StartOf(1_700_000_000_000, 9 * CrashHistory.WindowMs), Check);
        IFileSystem files = history.Begin();

        // Three windows, late data of one, and a foreign block with older versions, an instant of its own and one that is deleted in it.
        EngineHarness engine = Open(history, files, compacts: false);
        foreach (int window in (int[])[-6, -5, -4]) history.Write(engine, window, 0, 3);
        engine.CompactByStep();
        history.Write(engine, -5, 1, 4, value: 1000);
        engine.CompactByStep();
        PutForeign(history, 1, -4, 0, 2, 7, 8);
        engine.CompactByStep();
        Assert.Equal(5, engine.Engine.Stats().Blocks.Length);
        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();

        // The overlapping ones first, then the range of 6 h, and what went into them goes.
        engine = Open(history, files, compacts: true);
        history.CutOffDuring(engine.BlocksByStep);
        if (!plan.StopAtFirst) Assert.Equal((3, 1), (engine.Engine.Stats().BlockCompactions, engine.Engine.Stats().Blocks.Length));

        // Again, with late data in memory and in a table meanwhile.
        history.Write(engine, -6, 1, 2, value: 2000);
        engine.FlushByStep();
        history.Write(engine, -4, 0, 1, value: 3000);
        history.Write(engine, -3, 0, 2);
        history.CutOffDuring(engine.BlocksByStep);
        history.CutOffDuring(engine.BlocksByStep);
        if (!plan.StopAtFirst) Assert.Equal((4, 1), (engine.Engine.Stats().BlockCompactions, engine.Engine.Stats().Blocks.Length));
        history.End();
        return history;
    }

    private static EngineHarness Open(CrashHistory history, IFileSystem files, bool compacts) =>
        EngineHarness.OpenStepwise(files, Options with { Integration = Options.Integration with { BlockCompaction = compacts } }, history.Time);

    /// <summary>A foreign block of which the last step is deleted.</summary>
    private static void PutForeign(CrashHistory history, int number, int window, params int[] steps)
    {
        CrashFileSystem disk = history.Disk;
        Sample[] samples = [.. steps.Select(step => Sample.Of(history.TimeOf(window, step), -number))];
        string path = $"{TestBlocks.Directory}/{TestBlocks.Put(disk, TestBlocks.Directory, TestBlocks.Name(number), [(CrashHistory.LabelsOf(0), samples)])}";
        uint id;
        using (BlockReader reader = BlockReader.Open(disk, path, mmap: false)) id = reader.Index.AllSeries(CancellationToken.None).Single();
        disk.Unlink($"{path}/tombstones");
        TombstonesFormat.Write(disk, $"{path}/tombstones", Tombstones.Of([new Tombstone(id, new TimeRange(samples[^1].TimeMs, samples[^1].TimeMs))]));
        BlockMeta meta = BlockMeta.Read(disk, $"{path}/meta.json");
        (meta with { Stats = meta.Stats with { Tombstones = 1 } }).WriteTo(disk, $"{path}/meta.json");
        disk.SyncDir(path);
        history.Put(samples[..^1]);
        history.Settle();
    }

    private static void Check(CrashHistory history, CrashFileSystem image, string when)
    {
        EngineHarness engine = Open(history, image, compacts: true);
        ConversionCrashTests.CompareBlocks(history, image, engine, when);
        if (engine.Engine.Stats().BlocksAdopted > 0) history.Violations.Add($"{when}: a block of ours was taken for a foreign one");
    }
}
