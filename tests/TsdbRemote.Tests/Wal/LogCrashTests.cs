using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

/// <summary>Crash images after every operation on the disk: tests T1, T2, T3 and T5 of reliability.md.</summary>
public sealed class LogCrashTests
{
    [Fact]
    public void T1_every_acknowledged_record_is_read_after_a_crash_at_any_operation()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        using var ledger = new CrashLedger(disk, CrashPolicy.Every, seeds: 2);
        WriteAheadLog log = LogFixture.StartedLog(disk);
        for (int batch = 0; batch < 25; batch++)
        {
            for (int i = 0; i <= batch % 4; i++) ledger.Add(log, 300 * (i + (batch % 3)));
            log.DrainOnce();
            if (batch % 5 == 4) log.WriteIdleFrame();
        }

        log.Close();
        ledger.CheckNow();
        Assert.True(ledger.Images > 500, $"{ledger.Images} images");
    }

    [Fact]
    public void T2_random_pages_of_what_was_not_synced_hide_nothing_acknowledged()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        CrashPolicy[] policies = [.. new[] { 0.01, 0.2, 0.5, 0.8, 0.99 }.Select(CrashPolicy.RandomPages)];
        using var ledger = new CrashLedger(disk, policies, seeds: 4);
        WriteAheadLog log = LogFixture.StartedLog(disk);
        for (int batch = 0; batch < 12; batch++)
        {
            for (int i = 0; i < 6; i++) ledger.Add(log, 2500);
            log.DrainOnce();
        }

        ledger.CheckNow();
    }

    [Fact]
    public void T5_a_crash_at_any_step_of_a_rotation_loses_nothing_and_is_never_taken_for_damage()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        using var ledger = new CrashLedger(disk, CrashPolicy.Every, seeds: 4);
        WriteAheadLog log = LogFixture.StartedLog(disk);
        for (int round = 0; round < 4; round++)
        {
            ledger.Add(log, 700);
            ledger.Add(log, 5000);
            log.DrainOnce();
            if (round % 2 == 0) log.PrepareNext();
            ledger.Add(log, 900);
            log.SwitchSegment();
            ledger.Add(log, 100);
            log.DrainAll();
        }

        ledger.CheckNow();
    }

    [Fact]
    public void T5_in_mode_interval_a_seal_never_stands_above_records_that_did_not_arrive()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        CrashPolicy[] policies =
            [CrashPolicy.OnlySynced, CrashPolicy.All, CrashPolicy.RandomPages(0.5), CrashPolicy.RandomPages(0.9), CrashPolicy.Prefix];
        using var ledger = new CrashLedger(disk, policies, seeds: 6) { IsInterval = true };
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(WalDurability.Interval));
        for (int round = 0; round < 4; round++)
        {
            for (int i = 0; i < 4; i++)
            {
                ledger.Add(log, 3000);
                log.DrainOnce();
            }

            log.SwitchSegment();
            log.DrainAll();
        }

        log.Close();
        ledger.CheckNow();
    }

    [Fact]
    public void A_started_segment_is_whole_after_a_power_cut()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        LogFixture.StartedLog(disk);
        CrashFileSystem image = disk.CrashClone(CrashPolicy.OnlySynced, 0);
        Assert.Equal([WalFormat.FileName(LogFixture.FirstSegment)], image.List(LogFixture.WalDir).Select(static entry => entry.Name));
        Assert.Equal(LogFixture.Settings().PreallocateBytes, image.FileSize(LogFixture.PathOf(LogFixture.FirstSegment)));
        Assert.Equal(SegmentOutcome.CleanEnd, image.Replay(out _).Outcome);
    }

    [Fact]
    public void A_prepared_segment_is_whole_after_a_power_cut_before_it_is_used()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.PrepareNext();
        CrashFileSystem image = disk.CrashClone(CrashPolicy.OnlySynced, 0);
        Assert.Equal(SegmentOutcome.CleanEnd, image.Replay(out _, segment: LogFixture.FirstSegment + 1).Outcome);
    }

    [Fact]
    public void A_segment_is_sealed_on_the_disk_before_the_next_one_holds_anything()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.AddApart(1);
        long next = log.SwitchSegment();
        CrashFileSystem? image = null;
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind != FileOperationKind.WriteGather || operation.Path != LogFixture.PathOf(next)) return;
            image = disk.CrashClone(CrashPolicy.OnlySynced, 0);
        };
        log.AddApart(2);
        log.DrainAll();
        Assert.NotNull(image);
        SegmentReport report = image.Replay(out RecordList records, LogFixture.Options(mustBeSealed: true));
        Assert.Equal(SegmentOutcome.Sealed, report.Outcome);
        Assert.Equal([1], records.Ids());
        Assert.Equal(report.End, image.FileSize(LogFixture.PathOf(LogFixture.FirstSegment))); // the reserved rest is given back
    }

    [Fact]
    public void T3_in_mode_interval_a_power_cut_leaves_a_prefix_and_takes_only_what_came_after_the_last_sync()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var time = new ManualTime();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(WalDurability.Interval), time);
        int added = 0;
        int synced = 0;
        for (int step = 0; step < 40; step++)
        {
            log.Add(added++, 800);
            long syncs = log.Stats.Syncs;
            log.DrainOnce();
            if (log.Stats.Syncs > syncs) synced = added;
            Assert.InRange(added - synced, 0, 10); // 100 ms apart, synced each second
            Assert.Equal(added - synced, log.Stats.UnsyncedAcknowledgedRecords);
            AssertPrefix(disk.CrashClone(CrashPolicy.All, step), added);
            foreach (CrashPolicy policy in CrashPolicy.Every) AssertPrefix(disk.CrashClone(policy, step), synced);
            for (int seed = 0; seed < 5; seed++) AssertPrefix(disk.CrashClone(CrashPolicy.RandomPages(0.2 * seed), seed), synced);
            time.Advance(TimeSpan.FromMilliseconds(100));
        }

        Assert.True(synced >= 30);
    }

    [Fact]
    public async Task An_idle_log_promises_its_last_record_within_a_second()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var time = new ManualTime();
        WriteAheadLog log = LogFixture.StartedLog(disk, time: time);
        using var written = new SemaphoreSlim(0);
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.Write) written.Release();
        };
        Thread runner = LogFixture.StartThread(log.Run);
        await log.Add(1).Committed;
        for (int tick = 0; tick < 9 && written.CurrentCount == 0; tick++)
        {
            // Arming the timer follows the answer on the log's own thread.
            Assert.True(SpinWait.SpinUntil(() => time.IsArmed || written.CurrentCount > 0, TimeSpan.FromSeconds(10)));
            time.Advance(TimeSpan.FromMilliseconds(100));
        }

        Assert.True(await written.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.True(time.GetTimestamp() <= TimeSpan.TicksPerSecond);
        disk.BeforeOperation = null;
        SpinWait.SpinUntil(() => LogFixture.Frames(disk.ReadAll(LogFixture.PathOf(7))).Count == 3, TimeSpan.FromSeconds(10));
        byte[] file = disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment));
        log.Close();
        runner.Join();

        // Now damage to the last acknowledged record is known for what it is.
        FrameSpot record = LogFixture.Frames(file)[1];
        file[record.Offset + 30] ^= 1;
        Assert.Equal(SegmentOutcome.Corrupt, LogFixture.DiskWith(file).Replay(out _).Outcome);
    }

    [Fact]
    public async Task Interval_syncs_come_from_the_timer_when_no_more_records_do()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        var time = new ManualTime();
        WriteAheadLog log = LogFixture.StartedLog(disk, LogFixture.Settings(WalDurability.Interval), time);
        Thread runner = LogFixture.StartThread(log.Run);
        await log.Add(1).Committed;
        Assert.True(SpinWait.SpinUntil(() => time.IsArmed, TimeSpan.FromSeconds(10)));
        Assert.Equal(1, log.Stats.UnsyncedAcknowledgedRecords);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(SpinWait.SpinUntil(() => log.Stats.UnsyncedAcknowledgedRecords == 0, TimeSpan.FromSeconds(10)));
        disk.CrashClone(CrashPolicy.OnlySynced, 0).Replay(out RecordList records);
        Assert.Equal([1], records.Ids());
        log.Close();
        runner.Join();
    }

    private static void AssertPrefix(CrashFileSystem image, int atLeast)
    {
        RecordList records = [];
        Assert.All(image.ReplayAll(records), static report => Assert.NotEqual(SegmentOutcome.Corrupt, report.Outcome));
        Assert.Equal(Enumerable.Range(0, records.Count), records.Ids());
        Assert.True(records.Count >= atLeast, $"{records.Count} of {atLeast}");
    }
}
