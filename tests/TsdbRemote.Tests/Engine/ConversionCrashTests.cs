using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T10, T11: a power cut before any file operation of conversions, of an adoption and of a deletion. Whatever the disk may then hold, the next open
/// serves each sample once and in its newest version, comes to rest with whole blocks and nothing besides, and what was deleted does not come back.
/// </summary>
public sealed class ConversionCrashTests
{
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = false },
        Retention = new RetentionOptions { Time = Duration.Hours(10) },
    };

    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public void T10_T11_a_power_cut_before_any_operation_loses_doubles_and_revives_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind))).AssertSurvived(atLeast: 100);

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind)) { RecoveryEvery = 40 }).AssertRecovered(atLeast: 100);

    /// <summary>Each sync that the order of operations asks for is needed: a disk on which that one is forgotten loses, doubles or revives something.</summary>
    [Theory]
    [InlineData("chunk segment", SyncKind.All, ".tmp-for-creation/chunks/", "000001")]
    [InlineData("index", SyncKind.All, ".tmp-for-creation/", "/index")]
    [InlineData("tombstones", SyncKind.All, ".tmp-for-creation/", "/tombstones")]
    [InlineData("meta", SyncKind.All, ".tmp-for-creation/", "/meta.json.tmp")]
    [InlineData("directory of the chunks", SyncKind.Directory, ".tmp-for-creation", "/chunks")]
    [InlineData("directory of the block", SyncKind.Directory, "/blocks/", ".tmp-for-creation")]
    [InlineData("directory of the blocks", SyncKind.Directory, TestBlocks.Directory, "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix) =>
        CrashHistory.AssertNoticed(what, kind, pathPart, suffix, Run);

    private static CrashHistory Run(CrashPlan plan)
    {
        var history = new CrashHistory(plan, TimeWindow.StartOf(1_700_000_000_000, CrashHistory.WindowMs), Check);
        EngineHarness engine = EngineHarness.OpenStepwise(history.Begin(), Options, history.Time);

        // Two tables: one that the conversions use up, and one that they leave with the current window.
        history.Write(engine, -4, 0, 3);
        history.Write(engine, -3, 0, 3);
        engine.FlushByStep();
        history.Write(engine, -3, 1, 2);
        history.Write(engine, 0, 0, 2);
        engine.FlushByStep();
        history.CutOffDuring(engine.BlocksByStep);
        if (!plan.StopAtFirst) Assert.Equal((2, 1), (engine.Engine.Stats().Conversions, engine.Engine.Stats().Tables.Length));

        history.Write(engine, -3, 0, 2, value: 1000); // new versions of what is in a block
        history.Write(engine, -3, 2, 4);
        engine.FlushByStep();
        history.CutOffDuring(engine.BlocksByStep);

        // One foreign block with older versions of ours and one instant of its own, and one that is about to expire.
        PutForeign(history, 1, -3, 0, 1, 2, 7);
        PutForeign(history, 2, -6, 0, 1);
        history.CutOffDuring(engine.BlocksByStep);
        history.Settle();

        history.Time.Advance(TimeSpan.FromHours(4));
        history.Write(engine, 2, 0, 3);
        engine.FlushByStep();
        history.Expire(-4);
        history.Expire(-6);
        history.CutOffDuring(engine.BlocksByStep); // the manifest drops the blocks
        history.Forget();
        if (!plan.StopAtFirst) Assert.Equal(2, engine.Engine.Stats().BlocksDeleted);
        history.CutOffDuring(engine.BlocksByStep); // their files go, and their names are forgotten
        history.CutOffDuring(engine.BlocksByStep);
        history.End();
        return history;
    }

    private static void PutForeign(CrashHistory history, int number, int window, params int[] steps)
    {
        if (history.IsOver) return;
        Sample[] samples = [.. steps.Select(step => Sample.Of(history.TimeOf(window, step), -number))];
        TestBlocks.Put(history.Disk, TestBlocks.Directory, TestBlocks.Name(number), [(CrashHistory.LabelsOf(0), samples)]);
        history.Put(samples);
    }

    private static void Check(CrashHistory history, CrashFileSystem image, string when)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(image, Options, history.Time);
        CompareBlocks(history, image, engine, when);
    }

    /// <summary>Nothing half-made is left, and what is there at rest is whole and served.</summary>
    internal static void CompareBlocks(CrashHistory history, CrashFileSystem image, EngineHarness engine, string when)
    {
        foreach (DirectoryEntry entry in image.List(TestBlocks.Directory))
        {
            if (BlockDirectory.IsTemporary(entry.Name)) history.Violations.Add($"{when}: {entry.Name} is left");
        }

        history.Compare($"{when}, opened", engine, isAtRest: false);
        engine.CompactByStep();
        history.Compare($"{when}, at rest", engine, isAtRest: true);
        foreach (string damage in engine.Engine.Stats().Damages) history.Violations.Add($"{when}: damage reported, {damage}");
        history.Violations.AddRange(TestBlocks.Problems(image).Select(problem => $"{when}: {problem}"));
        string[] served = [.. engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal)];
        string[] there = [.. image.List(TestBlocks.Directory).Select(static entry => entry.Name)];
        if (!served.SequenceEqual(there)) history.Violations.Add($"{when}: blocks {string.Join(' ', there)} are there, {string.Join(' ', served)} are served");
    }
}
