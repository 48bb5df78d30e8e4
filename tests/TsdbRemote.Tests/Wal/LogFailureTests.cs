using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

/// <summary>What the log does when the disk says no: reliability.md §2.4, §2.5 and tests T16, T17, T20, T23.</summary>
public sealed class LogFailureTests
{
    private const int ReadOnlyFileSystem = 30;

    [Theory]
    [InlineData(LostPages.None)]
    [InlineData(LostPages.CacheKeepsNew)]
    [InlineData(LostPages.CacheRevertsToOld)]
    public void T16_after_one_failed_sync_nothing_is_acknowledged_and_nothing_is_synced_again(LostPages pages)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        log.AddApart(1, 2);
        FaultRule failing = injector.Add(new FaultRule(new Fault.FailedSync(pages), FileOperationKind.SyncData));
        WalTicket[] batch = [log.Add(3), log.Add(4)];
        log.DrainOnce();

        Assert.All(batch, static ticket => AssertReadOnly(ticket.Committed, "EIO"));
        AssertRefusesForGood(log, disk);
        Assert.Equal(1, failing.Calls);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            RecordList records = [];
            SegmentReport report = Assert.Single(disk.CrashClone(policy, 1).ReplayAll(records));
            Assert.NotEqual(SegmentOutcome.Corrupt, report.Outcome);
            Assert.Equal([1, 2], records.Ids().Take(2));
        }
    }

    [Fact]
    public void T16_an_error_that_shows_one_sync_late_takes_the_later_batch_with_it()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        injector.Add(new FaultRule(new Fault.FailedSync(LostPages.ErrorOneSyncLate), FileOperationKind.SyncData));
        log.AddApart(1); // acknowledged by a lie that nobody can see yet
        WalTicket second = log.Add(2);
        log.DrainOnce();
        AssertReadOnly(second.Committed, "EIO");
        AssertRefusesForGood(log, disk);
    }

    [Fact]
    public void T23_a_read_only_file_system_is_a_failed_sync()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        injector.Add(new FaultRule(new Fault.Error(ReadOnlyFileSystem), FileOperationKind.SyncData));
        WalTicket ticket = log.Add(1);
        log.DrainOnce();
        AssertReadOnly(ticket.Committed, "EROFS");
        AssertRefusesForGood(log, disk);
    }

    [Fact]
    public void A_failed_write_stops_the_log_and_is_never_written_again()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        log.AddApart(1);
        injector.Add(new FaultRule(new Fault.ShortWrite(40, DiskException.InputOutput), FileOperationKind.WriteGather));
        WalTicket ticket = log.Add(2);
        WalTicket behind = log.Add(3);
        log.DrainOnce();
        Assert.IsType<LogFailedException>(ticket.Committed.Exception?.InnerException);
        Assert.NotSame(ticket.Committed.Exception!.InnerException, behind.Committed.Exception?.InnerException);
        AssertRefusesForGood(log, disk);
        Assert.Equal(SegmentOutcome.TornTail, disk.Replay(out RecordList records).Outcome);
        Assert.Equal([1], records.Ids());
    }

    [Fact]
    public void A_failure_reaches_everything_that_is_queued_behind_it_across_segments()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData));
        WalTicket first = log.Add(1);
        log.SwitchSegment();
        WalTicket second = log.Add(2);
        log.DrainAll();
        AssertReadOnly(first.Committed, "EIO");
        AssertReadOnly(second.Committed, "EIO");
        AssertRefusesForGood(log, disk);
    }

    [Theory]
    [InlineData(FileOperationKind.SyncAll)]
    [InlineData(FileOperationKind.SyncDir)]
    public void T17_a_segment_that_could_not_be_made_durable_stops_the_log(FileOperationKind sync)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        WalTicket waiting = log.Add(1);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), sync));
        LogFailedException failed = Assert.Throws<LogFailedException>(log.PrepareNext);
        Assert.Equal("fsync", failed.Operation);
        AssertReadOnly(waiting.Committed, "EIO", sync == FileOperationKind.SyncAll ? "wal/00000008.log" : "data/wal");
        AssertRefusesForGood(log, disk);
        Assert.Equal(2, disk.List(LogFixture.WalDir).Count); // nothing is unlinked after a failed sync
    }

    [Theory]
    [InlineData(FileOperationKind.SyncAll)]
    [InlineData(FileOperationKind.SyncDir)]
    public void T17_a_log_whose_first_segment_could_not_be_made_durable_does_not_start(FileOperationKind sync)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), sync));
        WriteAheadLog log = LogFixture.NewLog(injector);
        Assert.Throws<LogFailedException>(() => log.Start(7));
        Assert.NotNull(log.Failure);
        Assert.Throws<LogFailedException>(() => log.Add(1));
    }

    [Fact]
    public void A_failed_seal_stops_the_log_before_anything_is_written_to_the_next_segment()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        log.AddApart(1);
        long next = log.SwitchSegment();
        WalTicket ticket = log.Add(2);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncAll));
        log.DrainAll();
        AssertReadOnly(ticket.Committed, "EIO");
        AssertRefusesForGood(log, disk);
        Assert.False(LogReader.Probe(disk, LogFixture.PathOf(next), LogFixture.DirectoryId, next).HasFrames);
    }

    [Fact]
    public void P_I3_a_failed_interval_sync_stops_the_log_and_says_how_much_was_acknowledged_before_it()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        var time = new ManualTime();
        WriteAheadLog log = LogFixture.StartedLog(injector, LogFixture.Settings(WalDurability.Interval), time);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData));
        WalTicket[] tickets = [log.Add(1), log.Add(2)];
        log.DrainOnce();
        Assert.All(tickets, static ticket => Assert.True(ticket.Committed.IsCompletedSuccessfully));
        time.Advance(TimeSpan.FromSeconds(1));
        log.DrainOnce();
        Assert.Equal(2, log.Stats.UnsyncedAcknowledgedRecords);
        AssertRefusesForGood(log, disk);
    }

    [Fact]
    public void Without_room_a_batch_is_refused_and_the_same_segment_goes_on_when_there_is_room_again()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        log.AddApart(1);
        var noSpace = new Fault.Error(DiskException.NoSpace);
        FaultRule full = injector.Add(new FaultRule(noSpace, FileOperationKind.Preallocate) { Sticky = true });
        WalTicket big = log.Add(2, 100_000);
        log.DrainOnce();
        AssertFull(big.Committed);
        Assert.False(log.NeedsSegment);
        log.AddApart(3); // fits into what is reserved
        Assert.Null(log.Failure);
        injector.Remove(full);
        log.Add(4, 100_000);
        log.DrainOnce();
        log.Close();
        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out RecordList records, LogFixture.Options(mustBeSealed: true)).Outcome);
        Assert.Equal([1, 3, 4], records.Ids());
    }

    [Theory]
    [InlineData(WalDurability.Fsync)]
    [InlineData(WalDurability.Interval)]
    public void A_write_that_broke_off_for_lack_of_room_ends_its_segment_and_the_next_one_says_where(WalDurability durability)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector, LogFixture.Settings(durability));
        log.AddApart(1, 2);
        injector.Add(new FaultRule(new Fault.ShortWrite(50), FileOperationKind.WriteGather));
        WalTicket broken = log.Add(3);
        log.DrainOnce();
        AssertFull(broken.Committed);
        PooledBuffer body = LogFixture.Body([1]);
        Assert.Throws<LogFullException>(() => log.Enqueue(WalRecordKind.WriteV1, body, 0));
        Assert.True(body.IsGivenBack());
        Assert.Null(log.Failure);
        Assert.True(log.NeedsSegment);

        long next = log.SwitchSegment();
        Assert.False(log.NeedsSegment);
        WalTicket healed = log.Add(4);
        log.DrainAll();
        Assert.True(healed.Committed.IsCompletedSuccessfully);
        log.Close();

        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            CrashFileSystem image = disk.CrashClone(policy, 3);
            SegmentEnd? end = LogReader.Probe(image, LogFixture.PathOf(next), LogFixture.DirectoryId, next).PreviousEnd;
            Assert.Equal(LogFixture.FirstSegment, end?.Segment);
            RecordList records = [];
            List<SegmentReport> reports = image.ReplayAll(records);
            Assert.Equal([SegmentOutcome.CleanEnd, SegmentOutcome.Sealed], reports.Select(static report => report.Outcome));
            Assert.Equal([1, 2, 4], records.Ids());
        }
    }

    [Fact]
    public void Records_queued_behind_a_write_that_broke_off_are_refused_up_to_the_switch()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector, LogFixture.Settings(maxBatch: 1));
        injector.Add(new FaultRule(new Fault.ShortWrite(50), FileOperationKind.WriteGather));
        WalTicket[] tickets = [log.Add(1), log.Add(2)];
        log.SwitchSegment();
        WalTicket later = log.Add(3);
        log.DrainAll();
        Assert.All(tickets, static ticket => AssertFull(ticket.Committed));
        Assert.True(later.Committed.IsCompletedSuccessfully);
    }

    [Theory]
    [InlineData(FileOperationKind.CreateNew)]
    [InlineData(FileOperationKind.Preallocate)]
    [InlineData(FileOperationKind.Write)]
    public void A_next_segment_that_finds_no_room_leaves_nothing_behind_and_is_tried_again_under_another_number(FileOperationKind kind)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        injector.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), kind));
        Assert.Equal(DiskException.NoSpace, Assert.Throws<DiskException>(() => log.SwitchSegment()).Errno);
        Assert.Single(disk.List(LogFixture.WalDir));
        log.AddApart(1);
        Assert.Equal(LogFixture.FirstSegment + 2, log.SwitchSegment());
        log.AddApart(2);
        log.Close();
        RecordList records = [];
        Assert.All(disk.ReplayAll(records), static report => Assert.Equal(SegmentOutcome.Sealed, report.Outcome));
        Assert.Equal([1, 2], records.Ids());
    }

    [Fact]
    public void A_failed_log_takes_no_records_and_gives_their_bodies_back()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var injector = new FaultInjector(disk);
        WriteAheadLog log = LogFixture.StartedLog(injector);
        injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData));
        PooledBuffer[] bodies = [LogFixture.Body([1]), LogFixture.Body(new byte[1000]), LogFixture.Body([3])];
        log.Enqueue(WalRecordKind.WriteV1, bodies[0], 0);
        log.Enqueue(WalRecordKind.WriteV1, bodies[1], 0);
        log.DrainOnce();
        Assert.Throws<LogFailedException>(() => log.Enqueue(WalRecordKind.WriteV1, bodies[2], 0));
        Assert.All(bodies, static body => Assert.True(body.IsGivenBack()));
    }

    [Fact]
    public void A_closed_log_takes_no_records()
    {
        WriteAheadLog log = LogFixture.StartedLog(LogFixture.NewDisk());
        log.Close();
        Assert.Throws<ObjectDisposedException>(() => log.Add(1));
        Assert.Throws<ObjectDisposedException>(() => log.SwitchSegment());
        log.Close();
        Assert.False(log.DrainOnce());
    }

    private static void AssertReadOnly(Task committed, string errno, string file = "wal/00000007.log")
    {
        LogFailedException failed = Assert.IsType<LogFailedException>(committed.Exception?.InnerException);
        Assert.Equal($"storage is read-only: fsync of {file} failed: {errno}; restart after checking the disk", failed.Message);
    }

    private static void AssertFull(Task committed) => Assert.IsType<LogFullException>(committed.Exception?.InnerException);

    private static void AssertRefusesForGood(WriteAheadLog log, CrashFileSystem disk)
    {
        Assert.IsType<LogFailedException>(log.Failure);
        long operations = disk.OperationCount;
        Assert.Throws<LogFailedException>(() => log.Add(99));
        Assert.Throws<LogFailedException>(() => log.SwitchSegment());
        Assert.Throws<LogFailedException>(log.PrepareNext);
        Assert.False(log.DrainOnce());
        log.WriteIdleFrame();
        Assert.Throws<LogFailedException>(log.Close);
        Assert.Equal(operations, disk.OperationCount);
    }
}
