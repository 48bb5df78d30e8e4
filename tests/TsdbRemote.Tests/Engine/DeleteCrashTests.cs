using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T12: a power cut before any file operation of deletes, of flushes and merges of what is older and newer, and of the cleaning. What was answered is deleted for good,
/// whatever the log brings back; what was not is deleted as a whole or not at all; what is newer stays.
/// </summary>
public sealed class DeleteCrashTests
{
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) },
        Compaction = new CompactionOptions { CompactionThreshold = 0.01 },
    };

    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public void T12_a_power_cut_before_any_operation_revives_nothing_and_loses_nothing_newer(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind))).AssertSurvived(atLeast: 100);

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind)) { RecoveryEvery = 40 }).AssertRecovered(atLeast: 50);

    [Theory]
    [InlineData("manifest", SyncKind.All, "/disk/data/MANIFEST", ".tmp")]
    [InlineData("directory of the manifest", SyncKind.Directory, "/disk/data", "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix) =>
        CrashHistory.AssertNoticed(what, kind, pathPart, suffix, Run);

    private static CrashHistory Run(CrashPlan plan)
    {
        var history = new CrashHistory(plan, TimeWindow.StartOf(1_700_000_000_000, CrashHistory.WindowMs), Check);
        EngineHarness engine = EngineHarness.OpenStepwise(history.Begin(), Options, history.Time);

        // A block, a table and a MemTable, of each of which some is deleted.
        history.Write(engine, -3, 0, 4);
        engine.CompactByStep();
        history.Write(engine, 0, 0, 4);
        engine.FlushByStep();
        history.Write(engine, 0, 4, 6);
        Delete(history, engine, series: 1, new TimeRange(history.TimeOf(-3, 2), history.TimeOf(0, 4)));

        // Newer versions of some of it, and merges of both.
        history.Write(engine, 0, 2, 3, value: 1000);
        history.Write(engine, -3, 3, 4, value: 1000);
        history.CutOffDuring(engine.FlushByStep);
        history.CutOffDuring(engine.TablesByStep);
        history.CutOffDuring(engine.BlocksByStep);

        // All of a series, and then the rest of what deletes left in files.
        Delete(history, engine, series: 2, TimeRange.All);
        if (!history.IsOver) history.CutOffDuring(() => engine.CleanByStep());
        if (!plan.StopAtFirst) Assert.Equal(0, engine.Engine.Stats().Tombstones);
        history.End();
        return history;
    }

    private static void Delete(CrashHistory history, EngineHarness engine, int series, TimeRange range)
    {
        if (history.IsOver) return;
        history.Expire(key => key.Series == CrashHistory.NameOf(series) && range.Contains(key.TimeMs));
        history.CutOffDuring(() => engine.DeleteByStep($$"""crash{series="{{series}}"}""", range));
        history.Forget();
    }

    private static void Check(CrashHistory history, CrashFileSystem image, string when)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(image, Options, history.Time);
        int deleted = engine.ReadAll().Sum(series => series.Value.Count(sample => history.IsExpired(series.Key, sample)));
        if (deleted != 0 && deleted != history.ExpiredCount) history.Violations.Add($"{when}: {deleted} of {history.ExpiredCount} samples are deleted");
        ConversionCrashTests.CompareBlocks(history, image, engine, when);
        engine.CleanByStep();
        ConversionCrashTests.CompareBlocks(history, image, engine, $"{when}, cleaned");
        if (engine.Engine.Stats().Tombstones != 0) history.Violations.Add($"{when}: a tombstone is left");
    }
}
