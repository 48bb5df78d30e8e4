using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What the engine does when the disk says no: reliability.md §2.4, §2.5, tests T16, T17, T19, T20, T22.</summary>
public sealed class FailureTests
{
    private const int TooManyOpenFiles = 24;
    private static readonly StorageOptions Options = EngineHarness.SmallOptions;
    private static readonly byte[] Known = Labels.Encode(("__name__", "known"));
    private static readonly byte[] New = Labels.Encode(("__name__", "new"));

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly FaultInjector _files;

    public FailureTests() => _files = new FaultInjector(_disk);

    [Theory]
    [InlineData(LostPages.None)]
    [InlineData(LostPages.CacheKeepsNew)]
    [InlineData(LostPages.CacheRevertsToOld)]
    public async Task T16_after_one_failed_sync_of_the_log_writes_are_refused_for_good_and_reads_go_on(LostPages pages)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.FailedSync(pages), FileOperationKind.SyncData, FileOperationKind.SyncAll) { Path = "wal/*.log" });
        for (int i = 0; i < 3; i++)
        {
            WriteReport refused = Write(engine, Known, 2 + i);
            Assert.Equal((WriteStatus.Unavailable, 60), (refused.Status, refused.RetryAfterSeconds));
            Assert.Equal("storage is read-only: fsync of wal/00000001.log failed: EIO; restart after checking the disk", refused.Message);
        }

        Assert.Equal(1, failing.Calls);
        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        Assert.Contains(Sample.Of(1, 1), engine.ReadAll()[Labels.Print(Known)]);
        Assert.Throws<EngineUnavailableException>(engine.FlushByStep);
        await engine.DisposeAsync();
        Assert.Equal(1, failing.Calls);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = Reopen(policy);
            Assert.Empty(again.Engine.Stats().Damages);
            List<Sample> read = again.ReadAll()[Labels.Print(Known)];
            Assert.Equal(Sample.Of(1, 1), read[0]);
            Assert.True(read.Count == 1 || read[1] == Sample.Of(2, 2), "a refused sample may be there, but whole");
        }
    }

    public static TheoryData<string, FileOperationKind> StepsOfAFlush() => new()
    {
        { "series/*.dict", FileOperationKind.Write },
        { "tables/*.sst.tmp", FileOperationKind.CreateNew },
        { "tables/*.sst.tmp", FileOperationKind.Write },
        { "tables/*.sst.tmp", FileOperationKind.Rename },
        { "data/MANIFEST.tmp", FileOperationKind.CreateNew },
        { "data/MANIFEST.tmp", FileOperationKind.Write },
        { "data/MANIFEST.prev.tmp", FileOperationKind.Link },
    };

    [Theory, MemberData(nameof(StepsOfAFlush))]
    public void T20_a_flush_that_finds_the_disk_full_is_tried_again_as_long_as_it_takes_and_leaves_nothing_behind(string path, FileOperationKind kind)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        engine.FlushByStep();
        AssertWritten(Write(engine, Known, 2));
        AssertWritten(Write(engine, New, 2));
        FaultRule full = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), kind) { Path = path, Sticky = true });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        for (int attempt = 1; attempt <= 5; attempt++)
        {
            Later(engine);
            Assert.Equal(attempt, full.Injections);
            AssertWritten(Write(engine, New, 3)); // into the next MemTable
        }

        Assert.False(flush.IsCompleted);
        Assert.Equal((EnginePhase.Ready, 5), (engine.Engine.Phase, engine.Engine.Stats().FlushErrors));
        AssertOnlyNamedFiles(engine, except: path);
        _files.Remove(full);
        Later(engine);
        Assert.True(flush.IsCompletedSuccessfully);
        AssertOnlyNamedFiles(engine);
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Fact]
    public async Task What_a_failed_log_had_acknowledged_and_not_synced_goes_into_new_files()
    {
        EngineHarness engine = Open(Options with { Wal = Options.Wal with { Durability = WalDurability.Interval } });
        AssertWritten(Write(engine, Known, 1));
        _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData) { Path = "wal/*.log", Sticky = true });
        Later(engine); // the sync of the interval fails
        Assert.Equal(WriteStatus.Unavailable, (await engine.WriteAsync((Known, [Sample.Of(2, 2)]))).Status);
        Later(engine);
        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        Assert.Equal([Sample.Of(1, 1)], Reopen(CrashPolicy.OnlySynced).ReadAll()[Labels.Print(Known)]);
    }

    [Fact]
    public void What_a_log_had_acknowledged_goes_into_new_files_also_when_no_writer_was_there_to_see_it_fail()
    {
        EngineHarness engine = Open(Options with { Wal = Options.Wal with { Durability = WalDurability.Interval } });
        AssertWritten(Write(engine, Known, 1));
        FaultRule refused = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "*.sst.tmp" });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        Later(engine); // an attempt that fails while the log is well is not the one that is allowed after it
        AssertWritten(Write(engine, New, 2));
        _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData) { Path = "wal/*.log", Sticky = true });
        Later(engine); // the sync of the interval fails
        Later(engine);
        Assert.Equal((1, true), (refused.Injections, flush.IsCompleted));
        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((EnginePhase.Failed, true, 2), (stats.Phase, stats.IsRescued, stats.FlushSamples));
        Assert.StartsWith("storage is read-only: fsync of wal/", stats.Failure, StringComparison.Ordinal);
        Assert.Equal((WriteStatus.Unavailable, 60), (Write(engine, Known, 3).Status, 60));
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Fact]
    public void A_disk_that_refuses_new_files_after_a_failed_log_is_left_alone()
    {
        EngineHarness engine = Open(Options with { Wal = Options.Wal with { Durability = WalDurability.Interval } });
        AssertWritten(Write(engine, Known, 1));
        _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData) { Path = "wal/*.log", Sticky = true });
        FaultRule refused = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "*.sst.tmp", Sticky = true });
        for (int i = 0; i < 4; i++) Later(engine);
        Assert.Equal((1, EnginePhase.Failed, false), (refused.Injections, engine.Engine.Phase, engine.Engine.Stats().IsRescued));
        Assert.Equal([Sample.Of(1, 1)], engine.ReadAll()[Labels.Print(Known)]);
    }

    [Fact]
    public async Task A_stop_right_after_the_log_failed_still_brings_what_was_acknowledged_into_new_files()
    {
        StorageOptions options = Options with { Wal = new WalOptions { Durability = WalDurability.Interval, SyncInterval = new Duration(50) } };
        EngineHarness engine = await EngineHarness.OpenAsync(_files, options);
        _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData) { Path = "wal/*.log", Sticky = true });
        AssertWritten(await engine.WriteAsync((Known, [Sample.Of(1, 1)])));
        for (int i = 0; i < 5000 && engine.Engine.Phase != EnginePhase.Failed; i++) await Task.Delay(1);
        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        await engine.DisposeAsync();
        Assert.Equal([Sample.Of(1, 1)], Reopen(CrashPolicy.OnlySynced).ReadAll()[Labels.Print(Known)]);
    }

    [Theory]
    [InlineData(2, EnginePhase.Ready)]
    [InlineData(3, EnginePhase.Failed)]
    public void Three_failures_of_a_flush_in_a_row_make_the_storage_read_only_and_two_do_not(int failures, EnginePhase phase)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.CreateNew) { Path = "*.sst.tmp", Sticky = true });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        for (int i = 0; i < failures; i++) Later(engine);
        Assert.Equal(failures, failing.Injections);
        _files.Remove(failing);
        Later(engine);
        Assert.Equal((phase, phase == EnginePhase.Ready), (engine.Engine.Phase, flush.IsCompletedSuccessfully));
        Assert.Equal([Sample.Of(1, 1)], engine.ReadAll()[Labels.Print(Known)]);
        AssertOnlyNamedFiles(engine);
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Theory]
    [InlineData(TooManyOpenFiles)]
    [InlineData(Errno.ReadOnly)]
    public void T22_a_flush_that_finds_too_many_open_files_is_tried_again_for_as_long_as_it_takes(int errno)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(errno), FileOperationKind.CreateNew) { Path = "*.sst.tmp", Sticky = true });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        for (int i = 0; i < 5; i++) Later(engine);
        Assert.Equal((5, EnginePhase.Ready, false), (failing.Injections, engine.Engine.Phase, flush.IsCompleted));
        _files.Remove(failing);
        Later(engine);
        Assert.True(flush.IsCompletedSuccessfully);
        AssertOnlyNamedFiles(engine);
    }

    [Fact]
    public void T22_reads_open_no_file_so_they_are_whole_while_there_is_no_handle_left()
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        engine.FlushByStep();
        AssertWritten(Write(engine, Known, 2));
        FaultRule failing = _files.Add(new FaultRule(
            new Fault.Error(TooManyOpenFiles), FileOperationKind.OpenRead, FileOperationKind.CreateNew, FileOperationKind.OpenAppendable, FileOperationKind.List)
        { Sticky = true });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        for (int i = 0; i < 3; i++)
        {
            Later(engine);
            Assert.Equal([Sample.Of(1, 1), Sample.Of(2, 2)], engine.ReadAll()[Labels.Print(Known)]);
        }

        Assert.True(failing.Injections >= 3);
        Assert.Equal((EnginePhase.Ready, false), (engine.Engine.Phase, flush.IsCompleted));
        Assert.Empty(engine.Engine.Stats().Damages);
        _files.Remove(failing);
        Later(engine);
        Assert.True(flush.IsCompletedSuccessfully);
        Assert.Equal([Sample.Of(1, 1), Sample.Of(2, 2)], engine.ReadAll()[Labels.Print(Known)]);
    }

    [Theory]
    [InlineData("*.sst")]
    [InlineData("series/*.dict")]
    [InlineData("wal/*.log")]
    [InlineData("data/MANIFEST")]
    public async Task T22_a_start_that_finds_too_many_open_files_says_so_changes_nothing_and_the_next_one_has_all(string path)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        engine.FlushByStep();
        AssertWritten(Write(engine, Known, 2));
        await engine.DisposeAsync();
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(TooManyOpenFiles), FileOperationKind.OpenRead) { Path = path, Sticky = true });
        List<FileOperation> changes = [];
        _disk.BeforeOperation = (_, operation) => changes.Add(operation);
        Exception told = Assert.ThrowsAny<Exception>(() => Open());
        Assert.Contains("errno 24", told.Message, StringComparison.Ordinal);
        Assert.True(failing.Injections > 0);
        Assert.DoesNotContain(changes, static change => change.Kind is FileOperationKind.Unlink or FileOperationKind.Rename);
        _files.Remove(failing);
        EngineHarness again = Open();
        Assert.Equal([Sample.Of(1, 1), Sample.Of(2, 2)], again.ReadAll()[Labels.Print(Known)]);
        Assert.Empty(again.Engine.Stats().Damages);
        Assert.Empty(_disk.List("/disk/data/quarantine"));
    }

    [Theory]
    [InlineData("tables", FileOperationKind.SyncDir)]
    [InlineData("series", FileOperationKind.SyncDir)]
    [InlineData("data", FileOperationKind.SyncDir)]
    [InlineData("series/*.dict", FileOperationKind.SyncAll)]
    [InlineData("data/MANIFEST.tmp", FileOperationKind.SyncAll)]
    [InlineData("data/MANIFEST", FileOperationKind.Rename)]
    public void T17_a_failed_sync_of_a_directory_the_dictionary_or_the_manifest_makes_the_storage_read_only_at_once(string path, FileOperationKind kind)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        AssertWritten(Write(engine, New, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), kind) { Path = path });
        FaultRule unlinked = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Unlink) { OnCall = long.MaxValue });
        Assert.Throws<EngineUnavailableException>(engine.FlushByStep);
        Assert.Equal(1, failing.Injections);
        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        engine.Engine.Step(flush: false); // the log seals the segment that the switch before ended
        var touched = new List<string>();
        _disk.BeforeOperation = (_, operation) => touched.Add(operation.ToString());
        WriteReport refused = Write(engine, Known, 2);
        Assert.Equal((WriteStatus.Unavailable, 60), (refused.Status, refused.RetryAfterSeconds));
        Assert.StartsWith("storage is read-only: ", refused.Message, StringComparison.Ordinal);
        Later(engine);
        Assert.Equal([], touched);
        Assert.Equal(0, unlinked.Calls);
        Assert.Equal(2, engine.ReadAll().Count);
        foreach (CrashPolicy policy in CrashPolicy.Every) AssertAllRead(engine, Reopen(policy));
    }

    [Fact]
    public void T17_a_failed_sync_of_a_table_costs_the_table_and_is_tried_again_into_another_file()
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.FailedSync(LostPages.CacheKeepsNew), FileOperationKind.SyncAll) { Path = "*.sst.tmp" });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        Later(engine);
        Assert.Equal((1, false), (failing.Injections, flush.IsCompleted));
        AssertOnlyNamedFiles(engine);
        Later(engine);
        Assert.True(flush.IsCompletedSuccessfully);
        AssertOnlyNamedFiles(engine);
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Fact]
    public async Task An_engine_that_stopped_holds_no_file_open_whatever_failed_before()
    {
        FaultRule refused = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Path = "MANIFEST.tmp", OnCall = 3 });
        EngineHarness engine = Open();
        for (int round = 1; round < 4; round++)
        {
            AssertWritten(Write(engine, Known, round));
            _ = engine.Engine.FlushAsync(CancellationToken.None);
            Later(engine);
        }

        AssertWritten(Write(engine, New, 4));
        Assert.Equal((1, 3, true), (refused.Injections, engine.Engine.Stats().Tables.Length, _files.OpenFiles > 3));
        await engine.DisposeAsync();
        Assert.Equal(0, _files.OpenFiles);
        engine = Open();
        Assert.Equal(2, engine.ReadAll().Count);
        await engine.DisposeAsync();
        Assert.Equal(0, _files.OpenFiles);
    }

    [Fact]
    public async Task A_log_without_room_refuses_and_heals_when_there_is_room_again()
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule full = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Preallocate) { Path = "wal/*.log", Sticky = true });
        byte[] wide = Labels.Encode(("__name__", "wide"));
        Sample[] many = [.. Enumerable.Range(0, 20_000).Select(static i => new Sample(i, (ulong)i * 0x9E3779B97F4A7C15))];
        WriteReport refused = await engine.WriteAsync((wide, many));
        Assert.Equal((WriteStatus.Unavailable, 30, "storage is full: no room for the log; retry later"), (refused.Status, refused.RetryAfterSeconds, refused.Message));
        Assert.Equal(EnginePhase.Ready, engine.Engine.Phase);
        _files.Remove(full);
        AssertWritten(await engine.WriteAsync((wide, many)));
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Fact]
    public void A_log_whose_write_broke_off_for_lack_of_room_goes_on_in_the_next_segment()
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        _files.Add(new FaultRule(new Fault.ShortWrite(40), FileOperationKind.WriteGather) { Path = "wal/*.log" });
        FaultRule full = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Path = "wal/*.log", Sticky = true });
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal((WriteStatus.Unavailable, 30), (Write(engine, Known, 2).Status, 30));
            Later(engine);
        }

        Assert.Equal((EnginePhase.Ready, 3), (engine.Engine.Phase, full.Injections));
        _files.Remove(full);
        Later(engine);
        AssertWritten(Write(engine, Known, 3));
        Assert.Equal(EnginePhase.Ready, engine.Engine.Phase);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = Reopen(policy);
            Assert.Empty(again.Engine.Stats().Damages);
            List<Sample> read = again.ReadAll()[Labels.Print(Known)];
            Assert.Equal([Sample.Of(1, 1), Sample.Of(3, 3)], read.Where(static sample => sample.TimeMs != 2));
        }
    }

    [Fact]
    public async Task A_torn_log_is_left_behind_by_the_engine_itself_as_soon_as_a_writer_was_refused()
    {
        await using EngineHarness engine = await EngineHarness.OpenAsync(_files, Options with { Wal = new WalOptions() });
        AssertWritten(await engine.WriteAsync((Known, [Sample.Of(1, 1)])));
        FaultRule torn = _files.Add(new FaultRule(new Fault.ShortWrite(40), FileOperationKind.WriteGather) { Path = "wal/*.log" });
        WriteReport report;
        int refusals = 0;
        while ((report = await engine.WriteAsync((Known, [Sample.Of(2, 2)]))).Status == WriteStatus.Unavailable && refusals++ < 500) await Task.Delay(10);
        AssertWritten(report);
        Assert.True(torn.Injections == 1 && refusals > 0);
        Assert.Equal([Sample.Of(1, 1), Sample.Of(2, 2)], Reopen(CrashPolicy.OnlySynced).ReadAll()[Labels.Print(Known)]);
    }

    [Theory]
    [InlineData(FileOperationKind.CreateNew, DiskException.NoSpace)]
    [InlineData(FileOperationKind.Preallocate, DiskException.NoSpace)]
    [InlineData(FileOperationKind.CreateNew, TooManyOpenFiles)]
    public void A_next_segment_that_cannot_be_created_is_tried_again_while_writes_go_on_in_the_old_one(FileOperationKind kind, int errno)
    {
        EngineHarness engine = Open();
        AssertWritten(Write(engine, Known, 1));
        FaultRule failing = _files.Add(new FaultRule(new Fault.Error(errno), kind) { Path = "wal/*.log", Sticky = true });
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        for (int i = 2; i < 7; i++)
        {
            Later(engine);
            AssertWritten(Write(engine, Known, i));
        }

        Assert.Equal((EnginePhase.Ready, 5, false), (engine.Engine.Phase, failing.Injections, flush.IsCompleted));
        _files.Remove(failing);
        Later(engine);
        Assert.True(flush.IsCompletedSuccessfully);
        AssertOnlyNamedFiles(engine);
        AssertAllRead(engine, Reopen(CrashPolicy.OnlySynced));
    }

    [Theory]
    [InlineData("wal/*.log", FileOperationKind.CreateNew, DiskException.NoSpace)]
    [InlineData("wal/*.log", FileOperationKind.Preallocate, DiskException.NoSpace)]
    [InlineData("*", FileOperationKind.CreateNew, Errno.Quota)]
    public void A_start_on_a_full_disk_serves_reads_refuses_writes_and_heals(string path, FileOperationKind kind, int errno)
    {
        AssertWritten(Write(Open(), Known, 1));
        CrashFileSystem killed = _disk.CrashClone(CrashPolicy.All, seed: 1); // the segment has no seal
        var files = new FaultInjector(killed);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(errno), kind) { Path = path, Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time);
        for (int i = 0; i < 3; i++)
        {
            WriteReport refused = Write(engine, Known, 2);
            Assert.Equal((WriteStatus.Unavailable, 30, "storage is full: no room for the log; retry later"), (refused.Status, refused.RetryAfterSeconds, refused.Message));
            Assert.Equal([Sample.Of(1, 1)], engine.ReadAll()[Labels.Print(Known)]);
            AssertWholeAfterACrash(killed, Sample.Of(1, 1));
            Later(engine);
        }

        Assert.Equal((EnginePhase.Ready, true), (engine.Engine.Phase, full.Injections > 3));
        files.Remove(full);
        _time.Advance(TimeSpan.FromSeconds(2));
        engine.Engine.Step(flush: false);
        AssertWritten(Write(engine, Known, 2));
        AssertWholeAfterACrash(killed, Sample.Of(1, 1), Sample.Of(2, 2));
        Later(engine);
        engine.FlushByStep();
        Assert.Empty(engine.Engine.Stats().MemTables.Where(static memTable => memTable.Samples > 0));
        AssertWholeAfterACrash(killed, Sample.Of(1, 1), Sample.Of(2, 2));
    }

    [Fact]
    public async Task A_log_that_found_no_room_at_the_start_begins_by_itself_when_there_is_some()
    {
        FaultRule full = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Preallocate) { Path = "wal/*.log", Sticky = true });
        EngineHarness engine = await EngineHarness.OpenAsync(_files, Options with { Wal = new WalOptions() });
        Assert.Equal(WriteStatus.Unavailable, (await engine.WriteAsync((Known, [Sample.Of(1, 1)]))).Status);
        _files.Remove(full);
        WriteReport report;
        int refusals = 0;
        while ((report = await engine.WriteAsync((Known, [Sample.Of(2, 2)]))).Status == WriteStatus.Unavailable && refusals++ < 500) await Task.Delay(10);
        AssertWritten(report);
        AssertWholeAfterACrash(_disk, Sample.Of(2, 2));
        await engine.DisposeAsync();
        AssertWholeAfterACrash(_disk, Sample.Of(2, 2));
        Assert.Equal(0, _files.OpenFiles);
    }

    [Fact]
    public async Task A_log_that_never_found_room_is_closed_like_any()
    {
        _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Preallocate) { Path = "wal/*.log", Sticky = true });
        EngineHarness engine = Open();
        Later(engine);
        await engine.DisposeAsync();
        Assert.Equal((0, 0), (_files.OpenFiles, _disk.List("/disk/data/wal").Count));
        Assert.Empty(Reopen(CrashPolicy.All).ReadAll());
    }

    private static void AssertWholeAfterACrash(CrashFileSystem disk, params Sample[] samples)
    {
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(policy, seed: 1), Options);
            Assert.Empty(again.Engine.Stats().Damages);
            Assert.Equal(samples, again.ReadAll()[Labels.Print(Known)]);
        }
    }

    private EngineHarness Open(StorageOptions? options = null) => EngineHarness.OpenStepwise(_files, options ?? Options, _time);

    private EngineHarness Reopen(CrashPolicy policy) => EngineHarness.OpenStepwise(_disk.CrashClone(policy, seed: 1), Options);

    private void Later(EngineHarness engine)
    {
        _time.Advance(TimeSpan.FromMinutes(6));
        while (engine.Engine.Step())
        {
        }
    }

    private static WriteReport Write(EngineHarness engine, byte[] labels, long time) => engine.WriteAsync((labels, [Sample.Of(time, time)])).GetAwaiter().GetResult();

    private static void AssertWritten(WriteReport report) => Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));

    private static void AssertAllRead(EngineHarness live, EngineHarness again)
    {
        Dictionary<string, List<Sample>> expected = live.ReadAll();
        Dictionary<string, List<Sample>> actual = again.ReadAll();
        Assert.Empty(again.Engine.Stats().Damages);
        Assert.Equal(expected.Count, actual.Count);
        foreach ((string labels, List<Sample> samples) in expected) Assert.Equal(samples, actual[labels]);
    }

    /// <summary>No rest of an attempt is left, in whatever state it failed.</summary>
    private void AssertOnlyNamedFiles(EngineHarness engine, string except = "")
    {
        string[] files = [.. _disk.List("/disk/data").Concat(_disk.List("/disk/data/series")).Concat(_disk.List("/disk/data/tables")).Select(static entry => entry.Name)];
        Assert.DoesNotContain(files, name => name.EndsWith(".tmp", StringComparison.Ordinal) && !except.EndsWith(name, StringComparison.Ordinal));
        Assert.Equal(engine.Engine.Stats().Tables.Length, files.Count(static name => name.EndsWith(".sst", StringComparison.Ordinal)));
    }
}
