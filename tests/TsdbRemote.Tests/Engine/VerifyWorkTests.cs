using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;
using TsdbRemote.Tests.Verification;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>The check of a directory in which the store goes on working.</summary>
public sealed class VerifyWorkTests
{
    private const long Fast = 1L << 40;
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(1) },
        Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) },
    };

    [Fact]
    public async Task While_it_is_written_flushed_merged_converted_and_collected_there_is_no_finding()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, Options, VerifiedDirectory.Clock(), collectFrom: 1);
        using var done = new CancellationTokenSource();
        int rounds = 0;
        Task writing = Task.Run(async () =>
        {
            for (; !done.IsCancellationRequested; Interlocked.Increment(ref rounds))
            {
                VerifiedDirectory.Write(engine, window: -(rounds % 4), from: rounds % 400, count: 5);
                if (rounds % 3 == 0) await engine.Engine.FlushAsync(CancellationToken.None);
                if (rounds % 10 == 0) await engine.Engine.CompactAsync(CancellationToken.None);
            }
        });
        long tables = 0;
        long blocks = 0;
        long segments = 0;
        for (int check = 0; check < 25 || Volatile.Read(ref rounds) < 40; check++)
        {
            VerifyReport report = await CheckAsync(engine);
            Assert.True(report is { IsSound: true, IsOnline: true }, VerifiedDirectory.Text(report));
            tables += report.Counts.Tables;
            blocks += report.Counts.Blocks;
            segments += report.Counts.Segments;
        }

        await done.CancelAsync();
        await writing;
        Assert.True(tables > 0 && blocks > 0, $"{tables} tables, {blocks} blocks, {segments} segments were there to be checked");
        Assert.Empty(engine.Engine.Stats().Damages);
    }

    [Fact]
    public async Task What_is_damaged_is_found_and_noted_as_damage()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        await engine.Engine.FlushAsync(CancellationToken.None);
        string file = VerifiedDirectory.FilesOf(disk, "tables/").Single();
        VerifiedDirectory.Flip(disk, file, 40, 1);
        VerifyReport report = await CheckAsync(engine);
        Assert.Equal(file, Assert.Single(report.Findings).File);
        Assert.Contains(file, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Equal(report.Errors, (await CheckAsync(engine)).Errors);
        Assert.Single(engine.Engine.Stats().Damages); // told once
    }

    [Fact]
    public async Task T90_rot_in_a_file_that_nobody_reads_is_found_by_a_check_that_begins_by_itself_and_all_else_is_served()
    {
        var disk = new CrashFileSystem("/disk");
        ManualTime time = VerifiedDirectory.Clock();
        StorageOptions options = Options with
        {
            Integration = new IntegrationOptions { HybridMode = false },
            Scrub = new ScrubOptions { Interval = Duration.Hours(48), Rate = ByteSize.Gibibytes(1) },
        };
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, options, time);
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        await engine.Engine.FlushAsync(CancellationToken.None);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("other", VerifiedDirectory.At(0), 1).Status);
        await engine.Engine.FlushAsync(CancellationToken.None);
        await ScrubbedAfterAsync(engine, time, TimeSpan.FromHours(1));
        Assert.True(engine.Engine.ScrubStatus.Report!.IsSound);

        string file = VerifiedDirectory.FilesOf(disk, "tables/").Order(StringComparer.Ordinal).First();
        VerifiedDirectory.Flip(disk, file, 40, 1);
        long? before = engine.Engine.ScrubStatus.BeganMs;
        time.Advance(TimeSpan.FromHours(40));
        Assert.Equal(before, engine.Engine.ScrubStatus.BeganMs);
        await ScrubbedAfterAsync(engine, time, TimeSpan.FromHours(8));
        Assert.Equal(file, engine.Engine.ScrubStatus.Report!.Findings.Select(static finding => finding.File).Distinct().Single());
        Assert.Contains(file, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(engine.Read(TimeRange.All, Matcher.Create(MatcherType.Equal, "__name__", "other")));
        Assert.Null(engine.Engine.VerifyStatus.BeganMs);
    }

    [Fact]
    public async Task Where_none_is_wanted_no_check_begins_by_itself()
    {
        var disk = new CrashFileSystem("/disk");
        ManualTime time = VerifiedDirectory.Clock();
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, Options with { Scrub = new ScrubOptions { Interval = null } }, time);
        time.Advance(TimeSpan.FromDays(30));
        Assert.Null(engine.Engine.ScrubStatus.BeganMs);
    }

    [Fact]
    public async Task A_file_that_is_gone_although_it_is_named_is_found()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        await engine.Engine.FlushAsync(CancellationToken.None);
        string file = VerifiedDirectory.FilesOf(disk, "tables/").Single();
        disk.Unlink($"{VerifiedDirectory.Root}/{file}");
        Assert.Equal(file, Assert.Single((await CheckAsync(engine)).Findings).File);
    }

    [Fact]
    public async Task A_segment_that_is_left_and_not_sealed_yet_is_not_looked_at()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        Task flushed = engine.Engine.FlushAsync(CancellationToken.None);
        using var held = new HeldOperation(disk, static operation => operation.Kind == FileOperationKind.SetLength && operation.Path.EndsWith(".log", StringComparison.Ordinal));
        Task sealing = Task.Run(() =>
        {
            engine.Engine.Step(flush: false);
            VerifiedDirectory.Write(engine, window: 0, from: 100);
        });
        held.Reach();
        VerifyReport before = await CheckAsync(engine);
        held.GoOn();
        await sealing;
        VerifyReport after = await CheckAsync(engine);
        Assert.Equal((0, 1), (before.Counts.Segments, after.Counts.Segments));
        Assert.True(before.IsSound && after.IsSound, $"{VerifiedDirectory.Text(before)}\n{VerifiedDirectory.Text(after)}");
        Assert.Contains(before.NotChecked, static left => left.StartsWith("wal/", StringComparison.Ordinal));
        engine.FlushByStep();
        await flushed;
    }

    [Fact]
    public async Task A_commit_whose_file_has_its_name_and_that_is_not_published_yet_is_waited_for()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        bool isNamed = false;
        using var held = new HeldOperation(disk, operation =>
        {
            isNamed |= operation.Target?.EndsWith("/MANIFEST", StringComparison.Ordinal) ?? false;
            return isNamed && operation.Kind == FileOperationKind.SyncDir;
        });
        Task flushing = Task.Run(engine.FlushByStep);
        held.Reach();
        Assert.True(engine.Engine.TryBeginVerify(Fast));
        Task verified = engine.Engine.WhenVerified;
        Assert.NotEqual(verified, await Task.WhenAny(verified, Task.Delay(200)));
        held.GoOn();
        await flushing;
        await verified;
        VerifyReport? report = engine.Engine.VerifyStatus.Report;
        Assert.True(report is { IsSound: true }, report is null ? "cut off" : VerifiedDirectory.Text(report));
    }

    [Fact]
    public async Task One_runs_at_a_time_is_held_to_its_pace_and_can_be_ended()
    {
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        await engine.Engine.FlushAsync(CancellationToken.None);
        Assert.Null(engine.Engine.VerifyStatus.BeganMs);
        Assert.False(await engine.Engine.CancelVerifyAsync());

        // By a clock that stands still a slow check never ends.
        Assert.True(engine.Engine.TryBeginVerify(1));
        Assert.False(engine.Engine.TryBeginVerify(1));
        Assert.True(engine.Engine.VerifyStatus.IsRunning);
        Assert.True(await engine.Engine.CancelVerifyAsync());
        VerifyStatus ended = engine.Engine.VerifyStatus;
        Assert.False(ended.IsRunning);
        Assert.Null(ended.Report);
        Assert.NotNull(ended.Failure);
        Assert.True((await CheckAsync(engine)).IsSound);
        Assert.Null(engine.Engine.VerifyStatus.Failure);
    }

    [Fact]
    public async Task A_stop_ends_it()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = await EngineHarness.OpenAsync(disk, Options, VerifiedDirectory.Clock());
        VerifiedDirectory.Write(engine, window: 0, from: 0);
        await engine.Engine.FlushAsync(CancellationToken.None);
        Assert.True(engine.Engine.TryBeginVerify(1));
        Task verified = engine.Engine.WhenVerified;
        await engine.DisposeAsync();
        Assert.True(verified.IsCompletedSuccessfully);
        Assert.Throws<EngineUnavailableException>(() => engine.Engine.TryBeginVerify(1));
    }

    [Fact]
    public async Task Reads_keep_to_the_pace()
    {
        var time = new ManualTime();
        var pace = new ReadPace(bytesPerSecond: 100, time, CancellationToken.None);
        Task reading = Task.Run(() => pace.Took(1000));
        while (!time.IsArmed) await Task.Yield();
        time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.False(reading.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(0.1));
        await reading;
        time.Advance(TimeSpan.FromSeconds(100));
        pace.Took(1000); // it is behind: no reason to wait

        // What it was kept from for an hour it does not read at once.
        time.Advance(TimeSpan.FromHours(1));
        pace.Took(0);
        Task catchingUp = Task.Run(() => pace.Took(3000));
        while (!time.IsArmed && !catchingUp.IsCompleted) await Task.Yield();
        Assert.False(catchingUp.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(30));
        await catchingUp;
    }

    private static async Task ScrubbedAfterAsync(EngineHarness engine, ManualTime time, TimeSpan passed)
    {
        long? before = engine.Engine.ScrubStatus.BeganMs;
        time.Advance(passed);
        for (int look = 0; look < 3000 && (engine.Engine.ScrubStatus is { IsRunning: true } || engine.Engine.ScrubStatus.BeganMs == before); look++) await Task.Delay(10);
        Assert.NotEqual(before, engine.Engine.ScrubStatus.BeganMs);
        Assert.True(engine.Engine.ScrubStatus.Report is not null, engine.Engine.ScrubStatus.Failure);
    }

    /// <summary>Stops whoever is about to do the first operation of a kind, until it is let go.</summary>
    private sealed class HeldOperation : IDisposable
    {
        private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);
        private readonly ManualResetEventSlim _reached = new();
        private readonly ManualResetEventSlim _goOn = new();

        public HeldOperation(CrashFileSystem disk, Func<FileOperation, bool> isMeant) => disk.BeforeOperation = (_, operation) =>
        {
            if (_reached.IsSet || !isMeant(operation)) return;
            _reached.Set();
            _goOn.Wait(Patience);
        };

        public void Reach() => Assert.True(_reached.Wait(Patience));

        public void GoOn() => _goOn.Set();

        public void Dispose() => GoOn();
    }

    private static async Task<VerifyReport> CheckAsync(EngineHarness engine)
    {
        Assert.True(engine.Engine.TryBeginVerify(Fast));
        await engine.Engine.WhenVerified;
        VerifyStatus status = engine.Engine.VerifyStatus;
        Assert.True(status.Report is not null, status.Failure);
        return status.Report;
    }
}
