using System.Buffers.Binary;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What merges do when the disk says no, when they are cancelled, and with damaged tables: reliability.md §2.4, §2.5, tests T17, T19, T20, T51.</summary>
public sealed class CompactionFailureTests
{
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, FailureHistory.WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Lsm = EngineHarness.SmallOptions.Lsm with { SstableLevels = 3 },
        Compaction = new CompactionOptions { CompactionThreshold = 0.1, TargetFileSize = ByteSize.Kibibytes(4), MaxFileSize = ByteSize.Kibibytes(4) },
        Integration = new IntegrationOptions { SstableToBlockConversion = false },
    };

    private readonly FailureHistory _history = new(CurrentMs, seriesCount: 90)
    {
        Options = Options,
        Ask = static engine => engine.Engine.CompactTablesAsync(CancellationToken.None),
        Step = static engine => engine.Engine.StepCompaction(),
        ToRest = static engine => engine.TablesByStep(),
    };

    [Fact]
    public void T19_whichever_change_of_a_merge_fails_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.InputOutput, atLeast: 40, FailureHistory.Changes);

    [Fact]
    public void T19_whichever_read_of_a_merge_fails_nothing_is_lost_and_it_comes_to_rest() =>
        Sweep(DiskException.InputOutput, atLeast: 20, FailureHistory.Reads);

    [Fact]
    public void T20_whichever_change_of_a_merge_finds_the_disk_full_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.NoSpace, atLeast: 40, FailureHistory.Changes);

    [Theory]
    [InlineData(".sst.tmp", FileOperationKind.CreateNew)]
    [InlineData(".sst.tmp", FileOperationKind.Write)]
    [InlineData(".sst.tmp", FileOperationKind.Rename)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.CreateNew)]
    public void T20_a_merge_that_finds_the_disk_full_is_tried_again_as_long_as_it_takes_and_leaves_nothing_behind(string path, FileOperationKind kind)
    {
        EngineHarness engine = OpenWithTwoRuns();
        FaultRule full = _history.Files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), kind) { Path = $"*{path}", Sticky = true });
        Task merges = engine.Engine.CompactTablesAsync(CancellationToken.None);
        for (int attempt = 1; attempt <= 5; attempt++)
        {
            _history.Later(engine);
            Assert.Equal((attempt, EnginePhase.Ready, false), (Errors(engine), engine.Engine.Phase, merges.IsCompleted));
            AssertOnlyNamedFiles(engine);
        }

        Assert.True(full.Injections >= 5);
        _history.Files.Remove(full);
        _history.Later(engine);
        Assert.True(merges.IsCompletedSuccessfully);
        AssertMerged(engine);
    }

    [Theory]
    [InlineData(FileOperationKind.SyncAll, 2, EnginePhase.Ready)]
    [InlineData(FileOperationKind.SyncAll, 3, EnginePhase.Failed)]
    [InlineData(FileOperationKind.CreateNew, 5, EnginePhase.Ready)]
    public void Three_failed_syncs_in_a_row_make_the_storage_read_only_and_nothing_less_does(FileOperationKind kind, int failures, EnginePhase phase)
    {
        EngineHarness engine = OpenWithTwoRuns();
        _history.AssertPhaseAfter(engine, new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = "*.sst.tmp", Sticky = true }, failures, phase);
        AssertOnlyNamedFiles(engine);
    }

    [Fact]
    public void After_a_failure_the_next_attempt_waits_and_a_request_hurries_it()
    {
        EngineHarness engine = OpenWithTwoRuns();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "*.sst.tmp", Sticky = true });
        for (int i = 0; i < 3; i++) engine.Engine.StepCompaction();
        Assert.Equal(1, failing.Injections);
        _history.Time.Advance(TimeSpan.FromMilliseconds(1999));
        engine.Engine.StepCompaction();
        Assert.Equal(1, failing.Injections);
        _history.Time.Advance(TimeSpan.FromMilliseconds(1));
        engine.Engine.StepCompaction();
        Assert.Equal(2, failing.Injections);
        _history.Files.Remove(failing);
        engine.Engine.StepCompaction();
        Assert.Equal(0, engine.Engine.Stats().Compactions[0].Count);
        engine.TablesByStep();
        AssertMerged(engine);
    }

    [Fact]
    public void T17_a_failed_sync_of_a_new_table_costs_that_table_and_is_tried_again_under_another_name()
    {
        EngineHarness engine = OpenWithTwoRuns();
        FaultRule failing = _history.Files.Add(new FaultRule(new Fault.FailedSync(LostPages.CacheKeepsNew), FileOperationKind.SyncAll) { Path = "*.sst.tmp" });
        HashSet<string> made = [];
        _history.Disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.CreateNew && operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal)) Assert.True(made.Add(operation.Path), $"{operation.Path} comes twice");
        };
        Task merges = engine.Engine.CompactTablesAsync(CancellationToken.None);
        _history.Later(engine);
        Assert.Equal((1, EnginePhase.Ready, false), (failing.Injections, engine.Engine.Phase, merges.IsCompleted));
        AssertOnlyNamedFiles(engine);
        _history.Later(engine);
        Assert.True(merges.IsCompletedSuccessfully);
        AssertMerged(engine);
    }

    [Theory]
    [InlineData("data/tables", FileOperationKind.SyncDir)]
    [InlineData("data/tables/*", FileOperationKind.SyncDir)]
    [InlineData("data", FileOperationKind.SyncDir)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.SyncAll)]
    [InlineData("data/MANIFEST", FileOperationKind.Rename)]
    public void T17_a_failed_sync_of_a_directory_or_of_the_manifest_makes_the_storage_read_only_at_once_and_nothing_is_unlinked(string path, FileOperationKind kind) =>
        _history.AssertReadOnlyAtOnce(
            OpenWithTwoRuns(), new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = path }, static _ => false);

    [Fact]
    public async Task A_merge_that_the_stop_cuts_off_leaves_nothing_behind()
    {
        EngineHarness engine = OpenWithTwoRuns();
        Task? stopped = null;
        int created = 0;
        _history.Disk.BeforeOperation = (_, operation) =>
        {
            // The second table of the run: the first one has its name already, and neither is in the manifest.
            if (operation.Kind == FileOperationKind.CreateNew && operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal) && ++created == 2) stopped = engine.StopWithoutFlushAsync();
        };
        string[] before = [.. TestTables.Files(_history.Disk)];
        Assert.False(engine.Engine.StepCompaction());
        await stopped!.WaitAsync(TimeSpan.FromSeconds(30));
        _history.Disk.BeforeOperation = null;
        Assert.Equal(before, TestTables.Files(_history.Disk));
        EngineHarness again = _history.Reopen(CrashPolicy.All);
        _history.AssertAllRead(again);
        again.TablesByStep();
        AssertMerged(again);
    }

    [Fact]
    public void T51_a_damaged_chunk_is_left_out_and_named_and_its_table_is_kept()
    {
        OpenWithTwoRuns();
        CrashFileSystem image = _history.Disk.CrashClone(CrashPolicy.All, seed: 1);
        string path = new DataLayout("/disk/data").Table(1);
        byte[] bytes = Flip(image, path, static _ => SSTableFormat.HeaderBytes + 4); // in the first chunk: series 0 of the older window
        EngineHarness engine = _history.Open(image);
        engine.TablesByStep();
        Assert.Contains(path, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Equal(bytes, image.ReadAll("/disk/data/quarantine/table-1.sst"));
        Assert.Single(image.List("/disk/data/quarantine"));
        string first = Labels.Print(_history.Series[0]);
        foreach (EngineHarness each in (EngineHarness[])[engine, _history.Open(image.CrashClone(CrashPolicy.OnlySynced, seed: 1))])
        {
            Dictionary<(string, long), ulong> found = FailureHistory.Found(each);
            (string Series, long TimeMs)[] lost = [.. _history.Expected.Keys.Where(key => !found.ContainsKey(key))];
            Assert.Equal([(first, _history.TimeOf(-1, 0)), (first, _history.TimeOf(-1, 1))], lost);
            Assert.All(found, sample => Assert.Equal(_history.Expected[sample.Key], sample.Value));
        }
    }

    [Fact]
    public void T51_a_window_whose_index_is_damaged_is_named_and_left_alone_and_the_others_are_merged()
    {
        OpenWithTwoRuns();
        CrashFileSystem image = _history.Disk.CrashClone(CrashPolicy.All, seed: 1);

        // Index blocks begin where the footer says; that of the older window comes first.
        Flip(image, new DataLayout("/disk/data").Table(1), static bytes => (int)BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(bytes.Length - SSTableFormat.FooterBytes + 8)) + 2);
        EngineHarness engine = _history.Open(image);
        engine.TablesByStep();
        EngineStats stats = engine.Engine.Stats();
        Assert.Contains("are not merged", Assert.Single(stats.Damages), StringComparison.Ordinal);
        Assert.Equal((EnginePhase.Ready, 1L, 1L), (stats.Phase, stats.Compactions[0].Count, stats.Compactions[0].Errors));
        Assert.Equal([CurrentMs - FailureHistory.WindowMs], stats.Tables.Where(static table => table.Level == 0).SelectMany(static table => table.Windows).Distinct());
        Assert.Equal(0, stats.CompactionsDue);
        Dictionary<string, List<Sample>> read = engine.Read(new TimeRange(CurrentMs, long.MaxValue), Matcher.Create(MatcherType.Equal, "__name__", "m"));
        Assert.Equal(_history.Expected.Where(static sample => sample.Key.TimeMs >= CurrentMs).Select(static sample => (sample.Key.Series, sample.Key.TimeMs, sample.Value)).Order(),
            read.SelectMany(static series => series.Value.Select(sample => (series.Key, sample.TimeMs, sample.ValueBits))).Order());
    }

    private static int Errors(EngineHarness engine) => (int)engine.Engine.Stats().Compactions.Sum(static level => level.Errors);

    private static void Sweep(int errno, int atLeast, FileOperationKind[] kinds) => FailureHistory.Sweep(
        errno, every: 1, atLeast, static (rule, problems) => new CompactionFailureTests().RunWithFailure(rule, problems), kinds);

    /// <summary>Three merges, one of them to level 2, with one of their operations failing once.</summary>
    /// <returns>False if there are not so many operations.</returns>
    private bool RunWithFailure(FaultRule rule, List<string> problems)
    {
        EngineHarness engine = OpenWithTwoRuns();
        _history.Rest(engine, rule);
        if (engine.Engine.Phase == EnginePhase.Ready)
        {
            for (int round = 2; round < 4; round++)
            {
                _history.Write(engine, 0, round, round + 2, value: round * 1000);
                engine.FlushByStep();
            }

            _history.Rest(engine, rule);
        }

        if (_history.FirstFailure(engine, problems) is not { } what) return false;
        problems.AddRange(engine.Engine.Stats().Damages.Select(damage => $"{what}: {damage}"));
        _history.Compare(what, engine, problems);
        if (engine.Engine.Phase != EnginePhase.Failed && engine.Engine.Stats().Tables.Any(static table => table.Level == 0)) problems.Add($"{what}: not all is merged");
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            EngineHarness again = _history.Reopen(policy);
            again.TablesByStep();
            _history.Compare($"{what}, {policy}, at rest", again, problems);
            problems.AddRange(again.Engine.Stats().Damages.Select(damage => $"{what}, {policy}: {damage}"));
        }

        return true;
    }

    /// <summary>Two windows, each in two tables that overlap, with newer versions in the second.</summary>
    private EngineHarness OpenWithTwoRuns()
    {
        EngineHarness engine = _history.Open();
        for (int round = 0; round < 2; round++)
        {
            _history.Write(engine, -1, round * 2, round * 2 + 3, round * 1000);
            _history.Write(engine, 0, round * 2, round * 2 + 3, round * 1000);
            engine.FlushByStep();
        }

        return engine;
    }

    private static byte[] Flip(CrashFileSystem disk, string path, Func<byte[], int> at)
    {
        byte[] bytes = disk.ReadAll(path);
        bytes[at(bytes)] ^= 1;
        disk.Unlink(path);
        using IFile file = disk.CreateNew(path);
        file.Write(0, bytes);
        file.SyncAll();
        disk.SyncDir(TestTables.Directory);
        return bytes;
    }

    private void AssertMerged(EngineHarness engine)
    {
        Assert.Equal(EnginePhase.Ready, engine.Engine.Phase);
        Assert.All(engine.Engine.Stats().Tables, static table => Assert.Equal(1, table.Level));
        _history.AssertAllRead(engine);
        _history.AssertAllRead(_history.Reopen(CrashPolicy.OnlySynced));
    }

    private void AssertOnlyNamedFiles(EngineHarness engine)
    {
        var paths = new DataLayout("/disk/data");
        Assert.Equal(engine.Engine.Stats().Tables.Select(paths.Table).Order(StringComparer.Ordinal), TestTables.Files(_history.Disk).Order(StringComparer.Ordinal));
    }
}
