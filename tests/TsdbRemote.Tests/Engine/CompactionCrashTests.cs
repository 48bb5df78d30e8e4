using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T9: a power cut before any file operation of merges. Whatever the disk may then hold, the next open serves each sample once and in its newest version,
/// comes to rest again, and holds no file that nobody names.
/// </summary>
public sealed class CompactionCrashTests
{
    private const int SeriesCount = 90;
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Lsm = EngineHarness.SmallOptions.Lsm with { SstableLevels = 3 },
        Compaction = new CompactionOptions { CompactionThreshold = 0.1, TargetFileSize = ByteSize.Kibibytes(4), MaxFileSize = ByteSize.Kibibytes(4) },
        Integration = new IntegrationOptions { SstableToBlockConversion = false },
    };

    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public void T9_a_power_cut_before_any_operation_loses_and_doubles_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind))).AssertSurvived(atLeast: 100);

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind) =>
        Run(new CrashPlan(new CrashPolicy(kind)) { RecoveryEvery = 10 }).AssertRecovered(atLeast: 100);

    /// <summary>Each sync that the order of operations asks for is needed: a disk on which that one is forgotten loses something.</summary>
    [Theory]
    [InlineData("merged table", SyncKind.All, "00/", ".sst.tmp")]
    [InlineData("directory of the window", SyncKind.Directory, "/tables/1", "00")]
    [InlineData("directory of the tables", SyncKind.Directory, TestTables.Directory, "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix) =>
        CrashHistory.AssertNoticed(what, kind, pathPart, suffix, Run);

    private static CrashHistory Run(CrashPlan plan)
    {
        var history = new CrashHistory(plan, TimeWindow.StartOf(1_700_000_000_000, CrashHistory.WindowMs), Check);
        EngineHarness engine = EngineHarness.OpenStepwise(history.Begin(), Options, history.Time);

        // Tables with two windows each: the first merge takes one of them out, the second the tables. Newer versions in each.
        Write(-1, 0, 3, 0);
        Write(0, 0, 3, 0);
        engine.FlushByStep();
        Write(-1, 2, 5, 100);
        Write(0, 1, 4, 100);
        engine.FlushByStep();
        history.CutOffDuring(engine.TablesByStep);
        if (!plan.StopAtFirst) Assert.Equal((2, 0), (engine.Engine.Stats().Compactions[0].Count, engine.Engine.Stats().Tables.Count(static table => table.Level == 0)));

        // A second run of level 1, so that the next merge goes to level 2, and one more of the next level.
        for (int round = 2; round < 5; round++)
        {
            Write(0, round, round + 3, round * 100);
            engine.FlushByStep();
            history.CutOffDuring(engine.TablesByStep);
        }

        if (!plan.StopAtFirst) Assert.True(engine.Engine.Stats().Compactions[1].Count > 0, "nothing reached level 2");
        history.End();
        return history;

        void Write(int window, int from, int to, double value) => history.Write(engine, window, from, to, value, SeriesCount);
    }

    private static void Check(CrashHistory history, CrashFileSystem image, string when)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(image, Options, history.Time);
        history.Compare($"{when}, opened", engine, isAtRest: false);
        CompareFiles(history, $"{when}, opened", engine, image);
        engine.TablesByStep();
        history.Compare($"{when}, at rest", engine, isAtRest: true);
        CompareFiles(history, $"{when}, at rest", engine, image);
        foreach (string damage in engine.Engine.Stats().Damages) history.Violations.Add($"{when}: damage reported, {damage}");
    }

    private static void CompareFiles(CrashHistory history, string when, EngineHarness engine, CrashFileSystem image)
    {
        var paths = new DataLayout("/disk/data");
        string[] named = [.. engine.Engine.Stats().Tables.Select(paths.Table).Order(StringComparer.Ordinal)];
        string[] there = [.. TestTables.Files(image).Order(StringComparer.Ordinal)];
        if (!named.SequenceEqual(there)) history.Violations.Add($"{when}: {string.Join(' ', there)} are there, {string.Join(' ', named)} are named");
    }
}
