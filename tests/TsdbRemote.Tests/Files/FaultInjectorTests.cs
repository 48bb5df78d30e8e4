using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

public sealed class FaultInjectorTests
{
    private readonly CrashFileSystem _disk = new("wal", "tables");
    private readonly FaultInjector _files;

    public FaultInjectorTests() => _files = new FaultInjector(_disk);

    [Fact]
    public void A_rule_hits_the_nth_matching_call_once()
    {
        FaultRule rule = _files.Add(new FaultRule(new Fault.Error(Errno.InputOutput), FileOperationKind.Write)
        {
            Path = "wal/*.log",
            OnCall = 2,
        });
        using IFile log = _files.CreateNew("/wal/1.log");
        using IFile table = _files.CreateNew("/tables/1.sst");
        log.Write(0, [1]);
        table.Write(0, [1]);
        DiskException error = Assert.Throws<DiskException>(() => log.Write(1, [2]));
        log.Write(1, [3]);
        Assert.Equal((Errno.InputOutput, "/wal/1.log"), (error.Errno, error.Path));
        Assert.Equal([1, 3], _disk.ReadAll("wal/1.log"));
        Assert.Equal((3, 1), (rule.Calls, rule.Injections));
        Assert.Equal(["Write /wal/1.log [1, +1): Error { Errno = 5 }"], _files.Injected);
    }

    [Fact]
    public void A_sticky_rule_hits_until_the_disk_heals()
    {
        FaultRule rule = _files.Add(new FaultRule(new Fault.Error(Errno.NoSpace), FileOperationKind.CreateNew, FileOperationKind.Rename)
        {
            Sticky = true,
            OnCall = 2,
        });
        _files.WriteNew("wal/a", []);
        Assert.Throws<DiskException>(() => _files.CreateNew("wal/b"));
        Assert.Throws<DiskException>(() => _files.Rename("wal/a", "wal/b"));
        _files.Remove(rule);
        _files.Rename("wal/a", "wal/b");
        Assert.Equal(0, _disk.FileSize("wal/b"));
        Assert.Equal(2, rule.Injections);
    }

    [Fact]
    public void Every_kind_of_operation_can_be_made_to_fail()
    {
        _disk.WriteNew("wal/a", [1]);
        foreach (FileOperationKind kind in Enum.GetValues<FileOperationKind>())
        {
            var files = new FaultInjector(_disk.CrashClone(CrashPolicy.All, 0));
            FaultRule rule = files.Add(new FaultRule(new Fault.Error(Errno.TooManyFiles), kind));
            Assert.Throws<DiskException>(() => DoEverything(files));
            Assert.Equal(1, rule.Injections);
        }
    }

    [Fact]
    public void The_loop_over_the_nth_call_ends_and_meets_every_call()
    {
        int failures = 0;
        while (true)
        {
            var files = new FaultInjector(_disk.CrashClone(CrashPolicy.All, 0));
            files.WriteNew("wal/a", [1]);
            FaultRule rule = files.Add(new FaultRule(new Fault.Error(Errno.InputOutput)) { OnCall = failures + 1 });
            Exception? error = Record.Exception(() => DoEverything(files));
            Assert.Equal(rule.Injections == 1, error is DiskException);
            if (rule.Injections == 0) break;
            failures++;
        }

        Assert.Equal(23, failures);
    }

    [Fact]
    public void A_probability_hits_some_calls_the_same_ones_for_the_same_seed()
    {
        string[] first = Hits(7);
        Assert.InRange(first.Length, 10, 90);
        Assert.Equal(first, Hits(7));
        Assert.NotEqual(first, Hits(8));

        string[] Hits(int seed)
        {
            var files = new FaultInjector(_disk, seed);
            files.Add(new FaultRule(new Fault.Error(Errno.InputOutput), FileOperationKind.FileSize) { Probability = 0.5 });
            for (int i = 0; i < 100; i++) _ = Record.Exception(() => files.FileSize($"{i}"));
            return [.. files.Injected];
        }
    }

    [Fact]
    public void A_short_write_leaves_its_first_bytes_and_fails()
    {
        using IFile file = _files.CreateNew("wal/a");
        _files.Add(new FaultRule(new Fault.ShortWrite(2)));
        Assert.Equal(Errno.NoSpace, Assert.Throws<DiskException>(() => file.Write(0, [1, 2, 3])).Errno);
        _files.Add(new FaultRule(new Fault.ShortWrite(4, Errno.InputOutput)));
        ReadOnlyMemory<byte>[] buffers = [new byte[] { 5, 6, 7 }, new byte[] { 8, 9 }];
        Assert.Equal(Errno.InputOutput, Assert.Throws<DiskException>(() => file.WriteGather(2, buffers)).Errno);
        Assert.Equal([1, 2, 5, 6, 7, 8], _disk.ReadAll("wal/a"));
    }

    [Fact]
    public void Reads_can_be_short_wrong_by_one_bit_or_of_another_place()
    {
        _disk.WriteNew("wal/a", [1, 2, 3, 4]);
        Assert.Equal([1, 2], Read(new Fault.ShortRead(2)));
        Assert.Equal([1, 2, 3 ^ 4, 4], Read(new Fault.FlippedBit(18)));
        Assert.Equal([3, 4], Read(new Fault.Misdirected(2)));
        Assert.Equal([1, 2, 3, 4], _disk.ReadAll("wal/a"));

        byte[] Read(Fault fault)
        {
            var files = new FaultInjector(_disk);
            files.Add(new FaultRule(fault, FileOperationKind.Read));
            return files.ReadAll("wal/a");
        }
    }

    [Fact]
    public void A_lost_change_says_that_it_was_done()
    {
        _disk.WriteNew("wal/a", [1]);
        using IFile file = _files.OpenAppendable("wal/a");
        _files.Add(new FaultRule(new Fault.Lost(), FileOperationKind.Write, FileOperationKind.Unlink) { Sticky = true });
        file.Write(0, [2]);
        _files.Unlink("wal/a");
        Assert.Equal([1], _disk.ReadAll("wal/a"));
    }

    [Theory]
    [InlineData(LostPages.None, 2, 2)]
    [InlineData(LostPages.CacheKeepsNew, 2, 1)]
    [InlineData(LostPages.CacheRevertsToOld, 1, 1)]
    [InlineData(LostPages.ErrorOneSyncLate, 2, 1)]
    public void A_failed_sync_loses_pages_as_kernels_do(LostPages lost, byte read, byte afterCrash)
    {
        using IFile file = _files.CreateNew("wal/a");
        file.Write(0, [1]);
        file.SyncAll();
        _disk.SyncDir("wal");
        file.Write(0, [2]);
        _files.Add(new FaultRule(new Fault.FailedSync(lost), FileOperationKind.SyncData));
        if (lost == LostPages.ErrorOneSyncLate) file.SyncData();
        Assert.Equal(Errno.InputOutput, Assert.Throws<DiskException>(file.SyncData).Errno);
        file.SyncData(); // succeeds, and means nothing
        Assert.Equal([read], _disk.ReadAll("wal/a"));
        Assert.Equal([afterCrash], _disk.CrashClone(CrashPolicy.OnlySynced, 0).ReadAll("wal/a"));
    }

    [Fact]
    public async Task A_held_call_waits_for_the_gate_and_then_succeeds()
    {
        using var gate = new ManualResetEventSlim();
        using IFile file = _files.CreateNew("wal/a");
        FaultRule rule = _files.Add(new FaultRule(new Fault.Held(gate), FileOperationKind.SyncData));
        Task sync = Task.Run(file.SyncData);
        Assert.True(SpinWait.SpinUntil(() => rule.Injections == 1, TimeSpan.FromSeconds(10)));
        file.Write(0, [1]); // others go on
        Assert.False(sync.IsCompleted);
        gate.Set();
        await sync;
    }

    [Fact]
    public void A_rule_that_cannot_happen_to_its_operation_is_a_mistake_of_the_test()
    {
        _files.Add(new FaultRule(new Fault.ShortRead(1), FileOperationKind.Unlink));
        Assert.Throws<InvalidOperationException>(() => _files.Unlink("wal/a"));
    }

    // Calls every operation once on a disk that holds wal/a.
    private static void DoEverything(FaultInjector files)
    {
        files.FreeSpace("wal");
        files.FileSize("wal/a");
        files.List("wal");
        files.MakeDir("wal/sub");
        files.RemoveDir("wal/sub");
        files.Link("wal/a", "wal/b");
        files.Rename("wal/b", "wal/c");
        files.Unlink("wal/c");
        files.SyncDir("wal");
        files.Lock("wal/LOCK", "me").Dispose();
        IFile file = files.CreateNew("wal/new");
        file.Write(0, [1]);
        file.WriteGather(1, [new byte[1]]);
        file.Preallocate(10);
        file.SetLength(5);
        Assert.Equal(5, file.Length);
        file.Read(0, new byte[1]);
        file.SyncData();
        file.SyncAll();
        file.TryMap();
        file.Dispose();
        GC.KeepAlive(files.OpenRead("wal/a"));
        GC.KeepAlive(files.OpenAppendable("wal/a"));
    }
}
