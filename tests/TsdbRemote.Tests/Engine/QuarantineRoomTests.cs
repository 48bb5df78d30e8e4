using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A start that finds doubtful bytes in its log and no room to put them aside: reads are served, and the bytes are never lost.</summary>
public sealed class QuarantineRoomTests
{
    private const string Log1 = "/disk/data/wal/00000001.log";
    private const string Quarantine = "/disk/data/quarantine";
    private static readonly StorageOptions Options = EngineHarness.SmallOptions;
    private static readonly StorageOptions Refuse = Options with { Wal = Options.Wal with { OnCorruption = CorruptionPolicy.Refuse } };

    /// <summary>In a window that is closed, and that nothing else is written to.</summary>
    private static readonly long LongAgo = (long)TimeSpan.FromHours(-10).TotalMilliseconds;

    private readonly ManualTime _time = new();

    [Theory]
    [InlineData("quarantine/*", FileOperationKind.CreateNew, DiskException.NoSpace, false)]
    [InlineData("quarantine/*", FileOperationKind.Write, Errno.Quota, false)]
    [InlineData("quarantine/*", FileOperationKind.SyncAll, DiskException.NoSpace, false)]
    [InlineData("quarantine/*", FileOperationKind.Rename, DiskException.NoSpace, false)]
    [InlineData("*", FileOperationKind.CreateNew, DiskException.NoSpace, true)]
    public void A_torn_end_is_kept_in_the_log_until_there_is_room_for_its_copy(string path, FileOperationKind kind, int errno, bool isAllFull)
    {
        CrashFileSystem disk = Torn(out byte[] log, out int tornAt);
        var files = new FaultInjector(disk);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(errno), kind) { Path = path, Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time);
        for (int i = 0; i < 3; i++)
        {
            AssertReads(engine, i == 0 || isAllFull ? ["first"] : ["first", "later"]);
            Assert.Equal((EnginePhase.Ready, 1, 0), (engine.Engine.Phase, engine.Engine.Stats().TornTails, engine.Engine.Stats().Corruptions));
            WriteReport report = Write(engine, "later");
            Assert.Equal(isAllFull ? (WriteStatus.Unavailable, LogFullException.Text) : (WriteStatus.Written, null), (report.Status, report.Message));
            Assert.Equal(log, disk.ReadAll(Log1));
            Assert.Empty(disk.List(Quarantine));
            AssertFoundAgain(disk, log, tornAt, isAllFull ? ["first"] : ["first", "later"]);
            Later(engine);
        }

        Assert.True(full.Injections > 3, "the flush tries again");
        files.Remove(full);
        Later(engine);
        Later(engine);
        if (isAllFull) Assert.Equal(WriteStatus.Written, Write(engine, "later").Status);
        AssertReads(engine, "first", "later");
        AssertTailIsKept(disk, log, tornAt);
        Assert.Null(disk.FileSize(Log1));
        AssertReads(EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Options), "first", "later");
    }

    [Theory]
    [InlineData(2, EnginePhase.Ready)]
    [InlineData(3, EnginePhase.Failed)]
    public void A_log_that_cannot_be_read_for_its_copy_is_read_again_later_and_three_times_in_a_row_are_too_many(int failures, EnginePhase phase)
    {
        CrashFileSystem disk = Torn(out byte[] log, out int tornAt);
        var files = new FaultInjector(disk);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Path = "quarantine/*", Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time);
        files.Remove(full);
        FaultRule unreadable = files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Read) { Path = "wal/00000001.log", Sticky = true });
        long errors = engine.Engine.Stats().FlushErrors;
        for (int failure = 1; failure <= failures; failure++)
        {
            Later(engine);
            Assert.Equal(errors + failure, engine.Engine.Stats().FlushErrors);
        }

        Assert.True(unreadable.Injections >= failures);
        Assert.Equal((phase, log.Length), (engine.Engine.Phase, disk.ReadAll(Log1).Length));
        AssertReads(engine, "first");
        if (phase == EnginePhase.Failed) return;
        files.Remove(unreadable);
        Later(engine);
        Assert.Equal((EnginePhase.Ready, null), (engine.Engine.Phase, disk.FileSize(Log1)));
        AssertTailIsKept(disk, log, tornAt);
        AssertReads(engine, "first");
    }

    [Fact]
    public void Where_damage_is_refused_a_torn_end_is_none_and_a_full_disk_no_reason_to_stay_down()
    {
        CrashFileSystem disk = Torn(out byte[] log, out int tornAt);
        var files = new FaultInjector(disk);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Refuse, _time);
        AssertReads(engine, "first");
        files.Remove(full);
        Later(engine);
        engine.FlushByStep();
        AssertTailIsKept(disk, log, tornAt);
    }

    [Fact]
    public void What_is_committed_meanwhile_does_not_hide_the_torn_end_from_the_next_start()
    {
        CrashFileSystem disk = Torn(out byte[] log, out int tornAt, inTables: "table");
        var files = new FaultInjector(disk);
        files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Write) { Path = "quarantine/*", Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time);
        long generation = engine.Engine.StateNow.Manifest.Generation;
        _time.Advance(TimeSpan.FromHours(1));
        while (engine.Engine.StepBlocks())
        {
        }

        Assert.True(engine.Engine.StateNow.Manifest.Generation > generation, "the table has become a block");
        AssertReads(engine, "first", "table");
        AssertFoundAgain(disk, log, tornAt, ["first", "table"]);
    }

    [Fact]
    public async Task A_server_goes_on_by_itself_once_there_is_room()
    {
        CrashFileSystem disk = Torn(out byte[] log, out int tornAt);
        var files = new FaultInjector(disk);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Sticky = true });
        await using (EngineHarness engine = await EngineHarness.OpenAsync(files, Options with { Wal = new WalOptions() }))
        {
            AssertReads(engine, "first");
            Assert.Equal(WriteStatus.Unavailable, Write(engine, "later").Status);
            files.Remove(full);
            for (int refusals = 0; Write(engine, "later").Status == WriteStatus.Unavailable && refusals < 1000; refusals++) await Task.Delay(10);
            await engine.Engine.FlushAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
            AssertReads(engine, "first", "later");
        }

        AssertTailIsKept(disk, log, tornAt);
        Assert.Equal(0, files.OpenFiles);
    }

    [Fact]
    public void A_damaged_segment_is_kept_in_the_log_until_there_is_room_for_its_copy()
    {
        var fresh = new CrashFileSystem("/disk");
        EngineHarness old = EngineHarness.OpenStepwise(fresh, Options);
        foreach (string name in (string[])["first", "victim", "third"]) Assert.Equal(WriteStatus.Written, Write(old, name).Status);
        CrashFileSystem disk = fresh.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        Overwrite(disk, Log1, disk.ReadAll(Log1).AsSpan().IndexOf("victim"u8), (byte)'V');
        byte[] log = disk.ReadAll(Log1);
        var files = new FaultInjector(disk);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Write) { Path = "quarantine/*", Sticky = true });
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time);
        Later(engine);
        AssertReads(engine, "first", "third");
        Assert.Contains(Log1, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Equal(log, disk.ReadAll(Log1));
        files.Remove(full);
        Later(engine);
        engine.FlushByStep();
        AssertReads(engine, "first", "third");
        Assert.True(log.AsSpan().StartsWith(disk.ReadAll($"{Quarantine}/wal-00000001.log")) && disk.FileSize(Log1) is null, "the segment went only after its copy was made");
    }

    [Fact]
    public async Task A_record_that_does_not_decode_is_put_aside_or_else_its_segment_is()
    {
        var fresh = new CrashFileSystem("/disk");
        EngineHarness old = EngineHarness.OpenStepwise(fresh, Options);
        Guid id = old.Engine.StateNow.Manifest.DirectoryId;
        await old.DisposeAsync();
        byte[] body = "no snappy, no protobuf"u8.ToArray();
        using (var log = new WriteAheadLog(fresh, "/disk/data/wal", id, LogFixture.Settings(), _time, NullLogger.Instance))
        {
            log.Start(9);
            log.Enqueue(WalRecordKind.WriteV1, LogFixture.Body(body), 1000);
            log.DrainAll();
            log.Close();
        }

        CrashFileSystem roomy = fresh.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        EngineHarness engine = EngineHarness.OpenStepwise(roomy, Options, _time);
        Assert.Equal(1, engine.Engine.Stats().Damages.Count(static damage => damage.Contains("does not decode; kept in /disk/data/quarantine/wal-record-", StringComparison.Ordinal)));
        Assert.Equal(body, roomy.ReadAll($"{Quarantine}/{Assert.Single(roomy.List(Quarantine)).Name}"));

        var files = new FaultInjector(fresh);
        FaultRule full = files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Write) { Path = "quarantine/*", Sticky = true });
        engine = EngineHarness.OpenStepwise(files, Options, _time);
        Assert.Contains("does not decode; kept in /disk/data/wal/00000009.log", Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Later(engine);
        Assert.Empty(fresh.List(Quarantine));
        files.Remove(full);
        Later(engine);
        engine.FlushByStep();
        Assert.Null(fresh.FileSize("/disk/data/wal/00000009.log"));
        Assert.True(fresh.ReadAll($"{Quarantine}/wal-00000009.log").AsSpan().IndexOf(body) > 0, "the copy holds the record");
    }

    /// <summary>A disk whose log ends in a batch that does not verify.</summary>
    private static CrashFileSystem Torn(out byte[] log, out int tornAt, string? inTables = null)
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness old = EngineHarness.OpenStepwise(disk, Options);
        if (inTables is not null)
        {
            Assert.Equal(WriteStatus.Written, Write(old, inTables, LongAgo).Status);
            old.FlushByStep();
        }

        string segment = $"{old.Engine.Stats().WalSegment:D8}";
        Assert.Equal(WriteStatus.Written, Write(old, "first").Status);
        Assert.Equal(WriteStatus.Written, Write(old, "torn").Status);
        CrashFileSystem killed = disk.CrashClone(CrashPolicy.All, seed: 1);
        string path = $"/disk/data/wal/{segment}.log";
        Overwrite(killed, path, killed.ReadAll(path).AsSpan().IndexOf("torn"u8), 0);
        log = killed.ReadAll(path);
        CrashFileSystem look = killed.CrashClone(CrashPolicy.All, seed: 1);
        EngineHarness.OpenStepwise(look, Options);
        tornAt = int.Parse(Assert.Single(look.List(Quarantine)).Name[$"wal-{segment}-".Length..], CultureInfo.InvariantCulture);
        return killed;
    }

    /// <summary>Whatever the crash, the next start with room finds the torn end and copies it.</summary>
    private static void AssertFoundAgain(CrashFileSystem disk, byte[] log, int tornAt, string[] names)
    {
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            CrashFileSystem image = disk.CrashClone(policy, seed: 1);
            EngineHarness again = EngineHarness.OpenStepwise(image, Options);
            Assert.Equal((1, 0), (again.Engine.Stats().TornTails, again.Engine.Stats().Damages.Length));
            AssertReads(again, names);
            AssertTailIsKept(image, log, tornAt);
        }
    }

    private static void AssertTailIsKept(CrashFileSystem disk, byte[] log, int tornAt)
    {
        byte[] copy = disk.ReadAll($"{Quarantine}/{Assert.Single(disk.List(Quarantine)).Name}");
        Assert.True(copy.Length > 0 && log.AsSpan(tornAt).StartsWith(copy) && log.AsSpan(tornAt + copy.Length).IndexOfAnyExcept((byte)0) < 0, "the copy is the torn end");
    }

    private void Later(EngineHarness engine)
    {
        _time.Advance(TimeSpan.FromMinutes(6));
        while (engine.Engine.Step())
        {
        }
    }

    private static WriteReport Write(EngineHarness engine, string name, long time = 1) =>
        engine.WriteAsync((Labels.Encode(("__name__", name)), [Sample.Of(time, 1)])).GetAwaiter().GetResult();

    private static void AssertReads(EngineHarness engine, params string[] names)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(names.Select(static name => Labels.Print(Labels.Encode(("__name__", name)))).Order(StringComparer.Ordinal), read.Keys.Order(StringComparer.Ordinal));
        Assert.All(read.Values, static samples => Assert.Equal(1, Assert.Single(samples).Value));
    }

    private static void Overwrite(CrashFileSystem disk, string path, long at, byte value)
    {
        using IFile file = disk.OpenAppendable(path);
        file.Write(at, [value]);
        file.SyncAll();
    }
}
