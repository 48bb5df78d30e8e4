using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

public sealed class LogRotationTests
{
    [Fact]
    public void A_prepared_switch_touches_no_disk()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.AddApart(1);
        log.PrepareNext();
        log.PrepareNext();
        long operations = disk.OperationCount;
        Assert.Equal(LogFixture.FirstSegment + 1, log.SwitchSegment());
        Assert.Equal(operations, disk.OperationCount);
        Assert.Equal(LogFixture.FirstSegment + 1, log.Segment);
        Assert.Equal(WalFormat.HeaderBytes, log.SegmentBytes);
    }

    [Fact]
    public void Records_land_in_the_segment_that_was_current_when_they_were_queued()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.Add(1);
        log.Add(2);
        long second = log.SwitchSegment();
        WalTicket third = log.Add(3);
        long last = log.SwitchSegment();
        log.Close();
        Assert.Equal(WalFormat.Sequence(second, 0), third.Sequence);
        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out RecordList records).Outcome);
        Assert.Equal([1, 2], records.Ids());
        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out records, segment: second).Outcome);
        Assert.Equal([3], records.Ids());
        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out records, segment: last).Outcome);
        Assert.Empty(records);
    }

    [Fact]
    public void The_written_segment_goes_on_only_once_the_one_before_is_sealed_and_synced()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.Add(1);
        long second = log.SwitchSegment();
        log.Add(2);
        List<long> seen = [];
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Path == LogFixture.PathOf(LogFixture.FirstSegment)) seen.Add(log.WrittenSegment);
        };
        Assert.Equal((second, LogFixture.FirstSegment), (log.Segment, log.WrittenSegment));
        log.DrainOnce();
        Assert.Equal(LogFixture.FirstSegment, log.WrittenSegment);
        log.DrainOnce();
        Assert.Equal(second, log.WrittenSegment);
        Assert.True(seen.Count >= 4, "the group, its sync, the seal, its sync");
        Assert.All(seen, static segment => Assert.Equal(LogFixture.FirstSegment, segment));
        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out _).Outcome);
    }

    [Fact]
    public void The_written_segment_of_a_log_without_files_or_room_is_above_all_that_were_left()
    {
        WriteAheadLog none = LogFixture.NewLog(LogFixture.NewDisk(), LogFixture.Settings(WalDurability.None));
        none.Start(LogFixture.FirstSegment);
        none.SwitchSegment();
        Assert.Equal(LogFixture.FirstSegment, none.WrittenSegment);
        WriteAheadLog full = LogFixture.NewLog(LogFixture.NewDisk());
        full.StartWithoutRoom(LogFixture.FirstSegment, new DiskException("write", LogFixture.WalDir, DiskException.NoSpace, "full"));
        Assert.Equal(LogFixture.FirstSegment, full.WrittenSegment);
        long first = full.SwitchSegment();
        Assert.Equal(LogFixture.FirstSegment, full.WrittenSegment);
        full.DrainAll();
        Assert.Equal(first, full.WrittenSegment);
    }

    [Fact]
    public void Segment_bytes_count_queued_records_and_start_again_with_each_segment()
    {
        WriteAheadLog log = LogFixture.StartedLog(LogFixture.NewDisk());
        Assert.Equal(WalFormat.HeaderBytes, log.SegmentBytes);
        log.Add(1, 75);
        Assert.Equal(WalFormat.HeaderBytes + 100, log.SegmentBytes);
        log.SwitchSegment();
        Assert.Equal(WalFormat.HeaderBytes, log.SegmentBytes);
    }

    [Fact]
    public void Closing_commits_what_is_queued_and_seals()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        WalTicket ticket = log.Add(1);
        log.PrepareNext();
        log.Close();
        Assert.True(ticket.Committed.IsCompletedSuccessfully);
        CrashFileSystem image = disk.CrashClone(CrashPolicy.OnlySynced, 0);
        RecordList records = [];
        Assert.Equal([SegmentOutcome.Sealed, SegmentOutcome.CleanEnd], image.ReplayAll(records).Select(static report => report.Outcome));
        Assert.Equal([1], records.Ids());
    }

    [Fact]
    public void On_the_real_disk_segments_are_written_sealed_and_read_the_same()
    {
        using var directory = new TempDirectory();
        var disk = new LocalFileSystem();
        string wal = directory.Path + "/wal";
        disk.MakeDir(wal);
        using var log = new WriteAheadLog(
            disk, wal, LogFixture.DirectoryId, LogFixture.Settings(), TimeProvider.System, NullLogger.Instance);
        log.Start(1);
        Thread runner = LogFixture.StartThread(log.Run);
        WalTicket[] tickets = [.. Enumerable.Range(0, 400).Select(id => log.Add(id, 13 * id))];
        Assert.True(Array.TrueForAll(tickets, static ticket => ticket.Committed.Wait(TimeSpan.FromSeconds(30))));
        log.SwitchSegment();
        log.Add(400);
        log.Close();
        runner.Join();

        RecordList records = [];
        var options = new SegmentReplayOptions(directory.Path + "/quarantine") { MustBeSealed = true };
        foreach (long segment in new long[] { 1, 2 })
        {
            string path = $"{wal}/{WalFormat.FileName(segment)}";
            SegmentReport report = LogReader.Replay(
                disk, path, LogFixture.DirectoryId, segment, options, records, CancellationToken.None);
            Assert.Equal((SegmentOutcome.Sealed, report.End), (report.Outcome, disk.FileSize(path)));
        }

        Assert.Equal(Enumerable.Range(0, 401), records.Ids());
        Assert.All(records.Take(400), static record => Assert.Equal(LogFixture.BodyBytes(record.Id, 13 * record.Id), record.Body));
    }

    [Fact]
    public void Rotation_under_8_writers_keeps_every_record_in_the_segment_of_its_sequence()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        Thread runner = LogFixture.StartThread(log.Run);
        Thread[] writers = [.. Enumerable.Range(0, 8).Select(writer => LogFixture.StartThread(() =>
        {
            for (int i = 0; i < 100; i++) log.Add((writer * 1000) + i).Committed.Wait();
        }))];
        for (int round = 0; round < 5; round++)
        {
            log.PrepareNext();
            log.SwitchSegment();
        }

        foreach (Thread writer in writers) writer.Join();
        log.Close();
        runner.Join();
        RecordList records = [];
        Assert.All(disk.ReplayAll(records), static report => Assert.Equal(SegmentOutcome.Sealed, report.Outcome));
        Assert.Equal(800, records.Count);
        Assert.Equal(800, records.Ids().Distinct().Count());
    }
}
