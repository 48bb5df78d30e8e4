using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What work on blocks does when the disk says no: reliability.md §2.4, §2.5, tests T17, T19, T20.</summary>
public sealed class BlockFailureTests
{
    private const int NotPermitted = 13;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, FailureHistory.WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = false },
        Retention = new RetentionOptions { Time = Duration.Hours(10) },
    };

    private readonly FailureHistory _history = new(CurrentMs, seriesCount: 3)
    {
        Options = Options,
        Ask = static engine => engine.Engine.CompactBlocksAsync(CancellationToken.None),
        Step = static engine => engine.Engine.StepBlocks(),
        ToRest = static engine => engine.CompactByStep(),
    };

    [Fact]
    public void T19_whichever_change_of_a_conversion_an_adoption_or_a_deletion_fails_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.InputOutput, every: 1, atLeast: 100, FailureHistory.Changes);

    [Fact]
    public void T19_whichever_read_of_a_conversion_an_adoption_or_a_deletion_fails_nothing_is_lost_and_it_comes_to_rest() =>
        Sweep(DiskException.InputOutput, every: 3, atLeast: 100, FailureHistory.Reads);

    [Fact]
    public void T20_whichever_change_of_a_conversion_an_adoption_or_a_deletion_finds_the_disk_full_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.NoSpace, every: 1, atLeast: 100, FailureHistory.Changes);

    private static void Sweep(int errno, int every, int atLeast, FileOperationKind[] kinds) => FailureHistory.Sweep(
        errno, every, atLeast, static (rule, problems) => new BlockFailureTests().RunWithFailure(rule, problems), kinds);

    [Theory]
    [InlineData("chunks/000001", FileOperationKind.CreateNew)]
    [InlineData("chunks/000001", FileOperationKind.WriteGather)]
    [InlineData("chunks/000001", FileOperationKind.Write)]
    [InlineData(".tmp-for-creation/index", FileOperationKind.CreateNew)]
    [InlineData(".tmp-for-creation", FileOperationKind.MakeDir)]
    [InlineData("meta.json.tmp", FileOperationKind.Write)]
    [InlineData(".tmp-for-creation", FileOperationKind.Rename)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.CreateNew)]
    public void T20_a_conversion_that_finds_the_disk_full_is_tried_again_as_long_as_it_takes_and_leaves_nothing_behind(string path, FileOperationKind kind)
    {
        EngineHarness engine = OpenWithClosedWindow();
        FaultRule full = _history.Files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), kind) { Path = path, Sticky = true });
        Task compaction = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        for (int attempt = 1; attempt <= 5; attempt++)
        {
            _history.Later(engine);
            if (full.Injections == 0) return; // this file is written by the other kind of call
            Assert.Equal(attempt, engine.Engine.Stats().ConversionErrors);
            Assert.Empty(_history.Disk.List(TestBlocks.Directory));
        }

        Assert.Equal((EnginePhase.Ready, false), (engine.Engine.Phase, compaction.IsCompleted));
        _history.Files.Remove(full);
        _history.Later(engine);
        Assert.True(compaction.IsCompletedSuccessfully);
        AssertConverted(engine);
    }

    [Fact]
    public void After_a_failure_the_next_attempt_waits_longer_each_time_and_a_request_hurries_it()
    {
        EngineHarness engine = OpenWithClosedWindow();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "index", Sticky = true });
        _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        engine.Engine.StepBlocks();
        Assert.Equal(1, failing.Injections);
        for (int i = 0; i < 3; i++) engine.Engine.StepBlocks();
        Assert.Equal(1, failing.Injections);
        _history.Time.Advance(TimeSpan.FromMilliseconds(1999));
        engine.Engine.StepBlocks();
        Assert.Equal(1, failing.Injections);
        _history.Time.Advance(TimeSpan.FromMilliseconds(1));
        engine.Engine.StepBlocks();
        Assert.Equal(2, failing.Injections);
        _history.Time.Advance(TimeSpan.FromMilliseconds(3999));
        engine.Engine.StepBlocks();
        Assert.Equal(2, failing.Injections);
        _history.Files.Remove(failing);
        _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        while (engine.Engine.StepBlocks())
        {
        }

        AssertConverted(engine);
    }

    [Theory]
    [InlineData(FileOperationKind.SyncAll, 2, EnginePhase.Ready)]
    [InlineData(FileOperationKind.SyncAll, 3, EnginePhase.Failed)]
    [InlineData(FileOperationKind.CreateNew, 5, EnginePhase.Ready)]
    public void Three_failed_syncs_in_a_row_make_the_storage_read_only_and_nothing_less_does(FileOperationKind kind, int failures, EnginePhase phase)
    {
        EngineHarness engine = OpenWithClosedWindow();
        _history.AssertPhaseAfter(engine, new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = "index", Sticky = true }, failures, phase);
        Assert.DoesNotContain(_history.Disk.List(TestBlocks.Directory), static entry => BlockDirectory.IsTemporary(entry.Name));
    }

    [Theory]
    [InlineData(Errno.TooManyFiles, "index", FileOperationKind.CreateNew)]
    [InlineData(Errno.TooManyFilesOfAll, "index", FileOperationKind.CreateNew)]
    [InlineData(Errno.ReadOnly, ".tmp-for-creation", FileOperationKind.MakeDir)]
    [InlineData(Errno.Quota, "chunks/000001", FileOperationKind.CreateNew)]
    [InlineData(Errno.TooManyFiles, "data/blocks", FileOperationKind.List)]
    public void T22_what_somebody_can_undo_while_the_process_runs_never_adds_up_to_read_only(int errno, string path, FileOperationKind kind)
    {
        EngineHarness engine = OpenWithClosedWindow();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.Error(errno), kind) { Path = path, Sticky = true });
        Task compaction = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        for (int attempt = 1; attempt <= 5; attempt++) _history.Later(engine);
        Assert.Equal((5, EnginePhase.Ready, false), (failing.Injections, engine.Engine.Phase, compaction.IsCompleted));
        _history.Files.Remove(failing);
        _history.Later(engine);
        Assert.True(compaction.IsCompletedSuccessfully);
        AssertConverted(engine);
    }

    [Theory]
    [InlineData(Errno.TooManyFiles, "index")]
    [InlineData(Errno.TooManyFiles, "meta.json")]
    [InlineData(Errno.TooManyFilesOfAll, "chunks/000001")]
    public async Task T22_reads_wait_for_a_block_that_finds_too_many_open_files_and_it_is_no_damage(int errno, string file)
    {
        EngineHarness before = OpenWithClosedWindow();
        before.CompactByStep();
        AssertConverted(before);
        await before.DisposeAsync();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.Error(errno), FileOperationKind.OpenRead) { Path = $"/blocks/*{file}", Sticky = true });
        EngineHarness engine = _history.Open();
        for (int look = 1; look <= 3; look++)
        {
            Assert.Contains("too many files are open", Assert.Throws<EngineUnavailableException>(() => engine.ReadAll()).Message, StringComparison.Ordinal);
            Assert.Equal((look, EnginePhase.Ready), (failing.Injections, engine.Engine.Phase));
            Assert.Empty(engine.Engine.Stats().Damages);
            _history.Write(engine, 0, look);
            _history.Later(engine);
        }

        _history.Files.Remove(failing);
        _history.Later(engine);
        Assert.Equal(_history.Expected, FailureHistory.Found(engine));
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Empty(_history.Disk.List("/disk/data/quarantine"));
    }

    [Fact]
    public void Who_asked_for_a_compaction_is_not_told_that_it_is_done_while_the_work_it_began_with_has_failed()
    {
        EngineHarness engine = _history.Open();
        TestBlocks.Put(_history.Disk, TestBlocks.Directory, TestBlocks.Name(1), [(_history.Series[0], [Sample.Of(CurrentMs - 1, 7)])]);
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "data/MANIFEST.tmp" });
        Task compaction = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        engine.Engine.StepBlocks();
        Assert.Equal((1, 1), (failing.Injections, engine.Engine.Stats().ConversionErrors));
        _history.Time.Advance(TimeSpan.FromSeconds(3)); // the failure is no longer fresh, and the next round by the clock is far
        while (engine.Engine.StepBlocks())
        {
        }

        Assert.True(compaction.IsCompletedSuccessfully);
        Assert.Single(engine.Engine.Stats().Blocks);
    }

    [Fact]
    public void Nothing_is_read_of_the_new_block_while_other_commits_wait()
    {
        EngineHarness engine = OpenWithClosedWindow();
        Assert.Equal(0, TestBlocks.ReadsInCommit(_history.Disk, _history.Files, engine.CompactByStep));
        AssertConverted(engine);
    }

    [Theory]
    [InlineData("chunks/000001")]
    [InlineData(".tmp-for-creation/index")]
    [InlineData(".tmp-for-creation/tombstones")]
    [InlineData("meta.json.tmp")]
    public void T17_a_failed_sync_of_a_file_of_a_block_costs_the_block_and_is_tried_again_under_another_name(string path)
    {
        EngineHarness engine = OpenWithClosedWindow();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.FailedSync(LostPages.CacheKeepsNew), FileOperationKind.SyncAll) { Path = path });
        Task compaction = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        List<string> made = [];
        _history.Disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.MakeDir && operation.Path.EndsWith(BlockDirectory.CreationSuffix, StringComparison.Ordinal)) made.Add(operation.Path);
        };
        _history.Later(engine);
        Assert.Equal((1, EnginePhase.Ready, false), (failing.Injections, engine.Engine.Phase, compaction.IsCompleted));
        Assert.Empty(_history.Disk.List(TestBlocks.Directory));
        _history.Later(engine);
        Assert.True(compaction.IsCompletedSuccessfully);
        Assert.Equal(2, made.Distinct().Count());
        AssertConverted(engine);
    }

    [Theory]
    [InlineData("chunks", FileOperationKind.SyncDir)]
    [InlineData(".tmp-for-creation", FileOperationKind.SyncDir)]
    [InlineData("data/blocks", FileOperationKind.SyncDir)]
    [InlineData("data", FileOperationKind.SyncDir)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.SyncAll)]
    [InlineData("data/MANIFEST", FileOperationKind.Rename)]
    public void T17_a_failed_sync_of_a_directory_or_of_the_manifest_makes_the_storage_read_only_at_once_and_nothing_is_unlinked(string path, FileOperationKind kind) =>
        _history.AssertReadOnlyAtOnce(
            OpenWithClosedWindow(), new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = path }, static path => path.Contains(BlockDirectory.CreationSuffix, StringComparison.Ordinal));

    [Fact]
    public void A_block_whose_files_cannot_be_removed_is_tried_again_and_stops_nothing_else()
    {
        EngineHarness engine = OpenWithClosedWindow();
        engine.CompactByStep();
        _history.Time.Advance(TimeSpan.FromHours(20));
        _history.Write(engine, 9, 0);
        engine.FlushByStep();
        FaultRule stuck = _history.Files.Add(new FaultRule(new Fault.Error(NotPermitted), FileOperationKind.Unlink) { Path = "chunks/000001", Sticky = true });
        for (int i = 0; i < 5; i++)
        {
            _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
            _history.Later(engine);
        }

        Assert.Equal((EnginePhase.Ready, 1), (engine.Engine.Phase, engine.Engine.Stats().BlocksDeleted));
        Assert.True(stuck.Injections > 2, $"tried {stuck.Injections} times");
        Assert.EndsWith("its removal is tried again", Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(engine.ReadAll()[Labels.Print(_history.Series[0])]);
        long conversions = engine.Engine.Stats().Conversions;
        _history.Write(engine, 5, 1);
        engine.CompactByStep();
        Assert.Equal(conversions + 1, engine.Engine.Stats().Conversions);
        _history.Files.Remove(stuck);
        engine.CompactByStep();
        Assert.Equal(engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal), _history.Disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
    }

    [Theory]
    [InlineData(FileOperationKind.OpenRead, DiskException.InputOutput)]
    [InlineData(FileOperationKind.OpenRead, NotPermitted)]
    [InlineData(FileOperationKind.Read, DiskException.InputOutput)]
    [InlineData(FileOperationKind.List, NotPermitted)]
    public void A_foreign_block_that_cannot_be_read_is_named_and_stops_nothing_else(FileOperationKind kind, int errno)
    {
        EngineHarness engine = OpenWithClosedWindow();
        string ulid = TestBlocks.Put(_history.Disk, TestBlocks.Directory, TestBlocks.Name(1), [(_history.Series[0], [Sample.Of(CurrentMs - 1, 7)])]).ToString();
        FaultRule unreadable = _history.Files.Add(new FaultRule(new Fault.Error(errno), kind) { Path = $"{ulid}*", Sticky = true });
        for (int i = 0; i < 5; i++)
        {
            _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
            _history.Later(engine);
        }

        Assert.True(unreadable.Injections > 2);
        Assert.Equal((EnginePhase.Ready, 0), (engine.Engine.Phase, engine.Engine.Stats().BlocksQuarantined));
        Assert.Contains(ulid, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(engine.Engine.Stats().Blocks); // the conversion was not held up
        _history.AssertAllRead(engine);
        _history.Files.Remove(unreadable);
        engine.CompactByStep();
        Assert.Equal(2, engine.Engine.Stats().Blocks.Length);
        Assert.Contains(Sample.Of(CurrentMs - 1, 7), engine.ReadAll()[Labels.Print(_history.Series[0])]);
    }

    [Fact]
    public void A_damaged_foreign_block_that_cannot_be_moved_is_named_and_stops_nothing_else()
    {
        EngineHarness engine = OpenWithClosedWindow();
        string ulid = TestBlocks.Put(_history.Disk, TestBlocks.Directory, TestBlocks.Name(1), [(_history.Series[0], [Sample.Of(CurrentMs - 1, 7)])]).ToString();
        _history.Disk.Unlink($"{TestBlocks.Directory}/{ulid}/index");
        FaultRule stuck = _history.Files.Add(new FaultRule(new Fault.Error(NotPermitted), FileOperationKind.Rename) { Path = $"quarantine/block-{ulid}", Sticky = true });
        for (int i = 0; i < 5; i++)
        {
            _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
            _history.Later(engine);
        }

        Assert.True(stuck.Injections > 0);
        Assert.Equal(EnginePhase.Ready, engine.Engine.Phase);
        Assert.Contains(ulid, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(engine.Engine.Stats().Blocks);
        _history.AssertAllRead(engine);
    }

    /// <summary>The whole history with one operation of its work on blocks failing once.</summary>
    /// <returns>False if there are not so many operations.</returns>
    private bool RunWithFailure(FaultRule rule, List<string> problems)
    {
        EngineHarness engine = _history.Open();
        _history.Write(engine, -4, 0);
        _history.Write(engine, -3, 0);
        engine.FlushByStep();
        _history.Write(engine, -3, 1);
        _history.Write(engine, 0, 0);
        engine.FlushByStep();
        _history.Rest(engine, rule);
        if (engine.Engine.Phase == EnginePhase.Ready)
        {
            _history.Write(engine, -3, 0, value: 5);
            engine.FlushByStep();
            TestBlocks.Put(_history.Disk, TestBlocks.Directory, TestBlocks.Name(1), [(_history.Series[0], [Sample.Of(_history.TimeOf(-3, 0), -1), Sample.Of(_history.TimeOf(-3, 3), -1)])]);
            _history.Rest(engine, rule);
        }

        if (engine.Engine.Phase == EnginePhase.Ready)
        {
            _history.Time.Advance(TimeSpan.FromHours(4));
            _history.Write(engine, 2, 0);
            engine.FlushByStep();
            for (int i = 0; i < 2; i++) _history.Rest(engine, rule);
        }

        if (_history.FirstFailure(engine, problems) is not { } what) return false;
        if (engine.Engine.Phase == EnginePhase.Failed) CheckAfterFailure(what, engine, problems);
        else CheckAtRest(what, engine, problems);
        return true;
    }

    private void CheckAtRest(string what, EngineHarness engine, List<string> problems)
    {
        EngineStats stats = engine.Engine.Stats();
        if (stats.Tables.Length != 1 || stats.BlocksDeleted != 1 || stats.Blocks.Length != 4)
            problems.Add($"{what}: {stats.Tables.Length} tables and {stats.Blocks.Length} blocks after {stats.BlocksDeleted} deletions");
        problems.AddRange(TestBlocks.Problems(_history.Disk).Select(problem => $"{what}: {problem}"));

        // A foreign block that could not be read at the first look is named although it is served by now, and so is one that is removed by now.
        problems.AddRange(stats.Damages.Where(static damage => !damage.EndsWith(" again", StringComparison.Ordinal)).Select(damage => $"{what}: {damage}"));
        Compare(what, engine, problems, isDeleted: true);
        Compare($"{what}, after a restart", _history.Reopen(CrashPolicy.OnlySynced), problems, isDeleted: true);
    }

    private void CheckAfterFailure(string what, EngineHarness engine, List<string> problems)
    {
        Compare(what, engine, problems, isDeleted: null);
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            EngineHarness again = _history.Reopen(policy);
            Compare($"{what}, {policy}", again, problems, isDeleted: null);
            again.CompactByStep();
            Compare($"{what}, {policy}, at rest", again, problems, isDeleted: null);
            problems.AddRange(again.Engine.Stats().Damages.Select(damage => $"{what}, {policy}: {damage}"));
        }
    }

    private void Compare(string when, EngineHarness engine, List<string> problems, bool? isDeleted)
    {
        Dictionary<(string, long), ulong> found = FailureHistory.Found(engine);
        foreach (((string Series, long TimeMs) key, ulong bits) in _history.Expected)
        {
            bool isOld = key.TimeMs < _history.TimeOf(-3, 0);
            if (isOld && isDeleted == true && found.ContainsKey(key)) problems.Add($"{when}: {key} is not deleted");
            if (isOld && isDeleted != false) continue;
            if (!found.TryGetValue(key, out ulong actual) || actual != bits) problems.Add($"{when}: {key} is lost");
        }
    }

    private EngineHarness OpenWithClosedWindow()
    {
        EngineHarness engine = _history.Open();
        _history.Write(engine, -2, 0);
        _history.Write(engine, -2, 1);
        engine.FlushByStep();
        return engine;
    }

    private void AssertConverted(EngineHarness engine)
    {
        Assert.Equal((1, 0, EnginePhase.Ready), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length, engine.Engine.Phase));
        Assert.Equal([], TestBlocks.Problems(_history.Disk));
        _history.AssertAllRead(engine);
        _history.AssertAllRead(_history.Reopen(CrashPolicy.OnlySynced));
    }
}
