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
