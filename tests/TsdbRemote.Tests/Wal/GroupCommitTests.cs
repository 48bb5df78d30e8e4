using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

public sealed class GroupCommitTests
{
    [Fact]
    public void Everything_waiting_is_one_write_and_one_sync()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        List<FileOperation> operations = [];
        disk.BeforeOperation = (_, operation) => operations.Add(operation);
        WalTicket[] tickets = [.. Enumerable.Range(0, 100).Select(id => log.Add(id, 10 * id))];
        Assert.DoesNotContain(tickets, static ticket => ticket.Committed.IsCompleted);
        Assert.Empty(operations);

        Assert.True(log.DrainOnce());

        Assert.All(tickets, static ticket => Assert.True(ticket.Committed.IsCompletedSuccessfully));
        FileOperationKind[] kinds = [.. operations.Select(static operation => operation.Kind)];
        Assert.Equal([FileOperationKind.WriteGather, FileOperationKind.SyncData], kinds[..2]);
        Assert.All(kinds[2..], static kind => Assert.Equal(FileOperationKind.Preallocate, kind));
        Assert.Equal(1, log.Stats.Groups);
        Assert.Equal(1, log.Stats.Syncs);
        Assert.Equal(100, log.Stats.Appends);
        Assert.Equal(1, log.Stats.GroupSizes[6]); // 64 to 127
        Assert.False(log.DrainOnce());
    }

    [Fact]
    public void A_group_takes_no_more_records_than_configured()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(maxBatch: 3));
        WalTicket[] tickets = [.. Enumerable.Range(0, 7).Select(id => log.Add(id))];
        log.DrainOnce();
        Assert.Equal(3, tickets.Count(static ticket => ticket.Committed.IsCompleted));
        log.DrainAll();
        Assert.Equal(3, log.Stats.Groups);
        Assert.All(tickets, static ticket => Assert.True(ticket.Committed.IsCompletedSuccessfully));
    }

    [Fact]
    public void A_group_never_has_more_buffers_than_one_system_call_takes_and_loses_nothing()
    {
        using var disk = new CountingFileSystem();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(maxBatch: 5000));
        for (int id = 0; id < 1000; id++) log.Add(id, 300);
        log.DrainAll();
        Assert.InRange(disk.MostBuffers, 500, LogGroup.MaxBuffers);
        Assert.Equal(1000, log.Stats.Appends);
    }

    [Fact]
    public void A_round_allocates_nothing_once_warm()
    {
        using var disk = new CountingFileSystem();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        for (int round = 0; round < 3; round++)
        {
            for (int id = 0; id < 300; id++) log.Add(id, id);
            log.DrainAll();
        }

        WalTicket[] tickets = [.. Enumerable.Range(0, 300).Select(id => log.Add(id, id))];
        long before = GC.GetAllocatedBytesForCurrentThread();
        log.DrainAll();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.All(tickets, static ticket => Assert.True(ticket.Committed.IsCompletedSuccessfully));
    }

    [Fact]
    public void Whatever_the_bodies_every_record_comes_back_as_it_was() =>
        Gen.Select(Gen.OneOf(Gen.Int[0, 40], Gen.Int[200, 300], Gen.Int[0, 70_000]), Gen.Bool, Gen.Long, Gen.Int[0, 9])
            .Array[0, 40]
            .Sample(
                static requests =>
                {
                    CrashFileSystem disk = LogFixture.NewDisk();
                    using WriteAheadLog log = LogFixture.StartedLog(disk);
                    List<LoggedRecord> sent = [];
                    foreach ((int length, bool isV2, long time, int drain) in requests)
                    {
                        byte[] body = new byte[length];
                        new Random(length).NextBytes(body);
                        WalRecordKind kind = isV2 ? WalRecordKind.WriteV2 : WalRecordKind.WriteV1;
                        sent.Add(new LoggedRecord(kind, log.Enqueue(kind, LogFixture.Body(body), time).Sequence, time, body));
                        if (drain == 0) log.DrainOnce();
                        if (drain == 1) log.WriteIdleFrame();
                    }

                    log.DrainAll();
                    SegmentReport report = disk.Replay(out RecordList found, LogFixture.Options());
                    Assert.Equal(SegmentOutcome.CleanEnd, report.Outcome);
                    AssertSame(sent, found);
                    log.Close();
                    report = disk.Replay(out found, LogFixture.Options(mustBeSealed: true));
                    Assert.Equal(SegmentOutcome.Sealed, report.Outcome);
                    AssertSame(sent, found);
                },
                iter: 60);

    [Fact]
    public void Order_of_the_file_is_order_of_the_sequences_under_8_writers()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        Thread runner = LogFixture.StartThread(log.Run);
        var sequences = new ulong[8][];
        Thread[] writers = [.. Enumerable.Range(0, 8).Select(writer => LogFixture.StartThread(() =>
        {
            WalTicket[] tickets = [.. Enumerable.Range(0, 200).Select(i => log.Add((writer * 1000) + i))];
            sequences[writer] = [.. tickets.Select(static ticket => ticket.Sequence)];
            Task.WaitAll(tickets.Select(static ticket => ticket.Committed));
        }))];
        foreach (Thread writer in writers) writer.Join();
        log.Close();
        runner.Join();

        Assert.Equal(SegmentOutcome.Sealed, disk.Replay(out RecordList found).Outcome);
        Assert.Equal(1600, found.Count);
        Assert.Equal(found.Select(static record => record.Sequence).Order(), found.Select(static record => record.Sequence));
        Assert.All(Enumerable.Range(0, 8), writer => Assert.Equal(
            sequences[writer], found.Where(record => record.Id / 1000 == writer).Select(static record => record.Sequence)));
    }

    [Fact]
    public void Without_a_log_thread_callers_drain_for_themselves()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(async: false));
        Thread[] writers = [.. Enumerable.Range(0, 8).Select(writer => LogFixture.StartThread(() =>
        {
            for (int i = 0; i < 50; i++)
            {
                WalTicket ticket = log.Add((writer * 1000) + i);
                while (!ticket.Committed.IsCompleted) log.DrainOnce();
            }
        }))];
        foreach (Thread writer in writers) writer.Join();
        disk.Replay(out RecordList found);
        Assert.Equal(400, found.Count);
    }

    [Fact]
    public void Mode_none_writes_nothing_and_tells_at_once()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(WalDurability.None));
        long operations = disk.OperationCount;
        PooledBuffer body = LogFixture.Body([1, 2, 3]);
        WalTicket ticket = log.Enqueue(WalRecordKind.WriteV1, body, 0);
        Assert.True(ticket.Committed.IsCompletedSuccessfully);
        Assert.True(body.IsGivenBack());
        log.PrepareNext();
        Assert.Equal(FirstAfter(log.Segment), log.SwitchSegment());
        Assert.Equal(WalFormat.Sequence(log.Segment, 0), log.Add(1).Sequence);
        log.Close();
        Assert.Equal(operations, disk.OperationCount);
        Assert.Empty(disk.List(LogFixture.WalDir));

        static long FirstAfter(long segment) => segment + 1;
    }

    [Fact]
    public async Task A_body_is_given_back_before_its_ticket_completes()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        PooledBuffer[] bodies = [.. Enumerable.Range(0, 20).Select(id => LogFixture.Body(LogFixture.BodyBytes(id, 100 * id)))];
        WalTicket[] tickets = [.. bodies.Select(body => log.Enqueue(WalRecordKind.WriteV1, body, 0))];
        bool[] wasGivenBack = new bool[bodies.Length];
        for (int i = 0; i < bodies.Length; i++)
        {
            int index = i;
            _ = tickets[i].Committed.ContinueWith(
                _ => wasGivenBack[index] = bodies[index].IsGivenBack(),
                CancellationToken.None,
                TaskContinuationOptions.None,
                TaskScheduler.Default);
        }

        Assert.DoesNotContain(bodies, static body => body.IsGivenBack());
        log.DrainOnce();
        await Task.WhenAll(tickets.Select(static ticket => ticket.Committed));
        Assert.True(SpinWait.SpinUntil(() => wasGivenBack.All(static given => given), TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public async Task A_body_reused_after_its_ticket_changes_nothing_in_the_file()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        Thread runner = LogFixture.StartThread(log.Run);
        for (int id = 0; id < 200; id++)
        {
            await log.Add(id, 5000).Committed;

            // The pool hands the array of the body that was just given back to the next renter of this thread or another.
            byte[] rented = System.Buffers.ArrayPool<byte>.Shared.Rent(5000);
            rented.AsSpan().Fill(0xDB);
            System.Buffers.ArrayPool<byte>.Shared.Return(rented);
        }

        log.Close();
        runner.Join();
        disk.Replay(out RecordList found);
        Assert.Equal(Enumerable.Range(0, 200), found.Ids());
        Assert.All(found, static record => Assert.Equal(LogFixture.BodyBytes(record.Id, 5000), record.Body));
    }

    [Fact]
    public void A_body_that_is_too_long_is_refused_and_given_back()
    {
        WriteAheadLog log = LogFixture.StartedLog(LogFixture.NewDisk());
        PooledBuffer body = PooledBuffer.Rent(WalFormat.MaxBodyBytes + 1, WalFormat.MaxBodyBytes + 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => log.Enqueue(WalRecordKind.WriteV1, body, 0));
        Assert.True(body.IsGivenBack());
        Assert.Equal(WalFormat.Sequence(LogFixture.FirstSegment, 0), log.Add(1).Sequence);
    }

    [Fact]
    public void Space_is_reserved_ahead_after_the_answer_and_not_before_it()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        List<Task> waiting = [];
        List<bool> wereTold = [];
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.Preallocate) wereTold.Add(waiting.All(static task => task.IsCompleted));
        };
        for (int id = 0; id < 60; id++)
        {
            waiting.Add(log.Add(id, 4000).Committed);
            log.DrainOnce();
        }

        Assert.InRange(wereTold.Count, 3, 5); // 240 KB in steps of 64 KiB
        Assert.All(wereTold, Assert.True);
    }

    private static void AssertSame(List<LoggedRecord> expected, List<LoggedRecord> found)
    {
        Assert.Equal(expected.Count, found.Count);
        foreach ((LoggedRecord sent, LoggedRecord read) in expected.Zip(found))
        {
            Assert.Equal((sent.Kind, sent.Sequence, sent.ReceiveTimeMs), (read.Kind, read.Sequence, read.ReceiveTimeMs));
            Assert.True(sent.Body.AsSpan().SequenceEqual(read.Body));
        }
    }
}
