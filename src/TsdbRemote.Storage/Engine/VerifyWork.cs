using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Storage.Engine;

/// <summary>How a check of the directory at work stands.</summary>
/// <param name="IsRunning">True while one runs.</param>
/// <param name="BeganMs">When the last one began, ms since the epoch; null if there was none since the start.</param>
/// <param name="EndedMs">When it ended; null while it runs.</param>
/// <param name="Progress">How far it is, or came.</param>
/// <param name="Report">What it found, once it has ended; null if it was cut off.</param>
/// <param name="Failure">Why it was cut off; null if it was not.</param>
public sealed record VerifyStatus(bool IsRunning, long? BeganMs, long? EndedMs, VerifyProgress Progress, VerifyReport? Report, string? Failure);

/// <summary>Checks the data directory while the store works on it: one check at a time, at a bounded pace, holding one table or block at a time.</summary>
/// <remarks>
/// What a manifest named when the check began is checked against that manifest, unless it went meanwhile; what is being written is passed over.
/// Holds no <see cref="EngineState"/>: with it MemTables and files that were replaced would stay for as long as a slow check takes.
/// Thread-safe.
/// </remarks>
internal sealed class VerifyWork : ILiveStore, IDisposable
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly Func<ManifestState> _settle;
    private readonly Func<long> _activeSegment;
    private readonly EngineDamages _damages;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    // What was read is dropped from the page cache behind it, which keeps what is mapped and used. Where tables are read and not mapped, the kernel cannot tell what
    // queries use from what a check has read, and would drop both: there it is left to the kernel, which lets pages that were read once go first.
    private readonly bool _keepsCache;

    // Guards the status and the running task; nothing is called outward while it is held.
    private readonly Lock _changes = new();
    private CancellationTokenSource? _stop;
    private Task _running = Task.CompletedTask;
    private VerifyStatus _status = new(false, null, null, default, null, null);

    public VerifyWork(
        IFileSystem files, DataLayout paths, CurrentState state, Func<ManifestState> settle, Func<long> activeSegment, EngineDamages damages, TimeProvider time, ILogger log,
        bool keepsCache)
    {
        _keepsCache = keepsCache;
        _files = files;
        _paths = paths;
        _state = state;
        _settle = settle;
        _activeSegment = activeSegment;
        _damages = damages;
        _time = time;
        _log = log;
    }

    /// <summary>How it stands.</summary>
    public VerifyStatus Status
    {
        get
        {
            lock (_changes) return _status;
        }
    }

    /// <summary>Completes when the check that was begun last has ended.</summary>
    public Task WhenEnded
    {
        get
        {
            lock (_changes) return _running;
        }
    }

    ManifestState ILiveStore.Manifest => _state.Peek.Manifest;

    ManifestState ILiveStore.Settle() => _settle();

    long ILiveStore.ActiveSegment => _activeSegment();

    /// <summary>Begins a check on a thread of its own.</summary>
    /// <param name="bytesPerSecond">Pace of its reads.</param>
    /// <param name="stopping">Cancelled once the engine stops: from then on none begins.</param>
    /// <returns>False if one is running, or the engine stops.</returns>
    /// <param name="startAt">Which part of the tables, and of the blocks, comes first: 0 the first, 0.5 the second half, and then the first.</param>
    public bool TryBegin(long bytesPerSecond, CancellationToken stopping, double startAt = 0)
    {
        lock (_changes)
        {
            if (_status.IsRunning || stopping.IsCancellationRequested) return false;
            _stop = new CancellationTokenSource(); // one that ended may still be about to be cancelled, and holds nothing
            _status = new VerifyStatus(true, NowMs, null, default, null, null);
            CancellationToken cancel = _stop.Token;
            _running = Task.Factory.StartNew(() => Run(bytesPerSecond, startAt, cancel), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            return true;
        }
    }

    /// <summary>Ends the check that is running, if one is.</summary>
    /// <returns>Completes when it has ended; with false if none was running.</returns>
    public async Task<bool> CancelAsync()
    {
        Task running;
        CancellationTokenSource stop;
        lock (_changes)
        {
            if (!_status.IsRunning) return false;
            running = _running;
            stop = _stop!;
        }

        await stop.CancelAsync().ConfigureAwait(false);
        await running.ConfigureAwait(false);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _stop?.Dispose();

    IDisposable? ILiveStore.HoldTable(long tableId) => Hold(
        state => state.Levels.Tables.FirstOrDefault(table => table.Entry.Id == tableId)?.Reader is SSTableReader reader && reader.TryAcquire() ? new Held(reader.Release) : null);

    IDisposable? ILiveStore.HoldBlock(string ulid) => Hold(
        state => state.Blocks.Blocks.FirstOrDefault(block => block.Entry.Ulid == ulid)?.Reader is BlockReader reader && reader.TryAcquire() ? new Held(reader.Release) : null);

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    private IDisposable? Hold(Func<EngineState, IDisposable?> hold)
    {
        EngineState state = _state.Acquire();
        try
        {
            return hold(state);
        }
        finally
        {
            state.Release();
        }
    }

    private void Run(long bytesPerSecond, double startAt, CancellationToken cancel)
    {
        Log.VerifyBegan(_log, bytesPerSecond);
        VerifyReport? report = null;
        string? failure = null;
        try
        {
            var pace = new ReadPace(bytesPerSecond, _time, cancel);
            report = DirectoryVerifier.Verify(new VerifyRun(new ReadOnlyFileSystem(_files, pace.Took, _keepsCache), _paths, this, Note, cancel, startAt));
            foreach (VerifyFinding finding in report.Findings.Where(static finding => finding.Severity == VerifySeverity.Error))
                _damages.AddOfFile(DataLayout.Join(_paths.Root, finding.File), $"{finding}; found by a check");
            Log.VerifyEnded(_log, report.Errors, report.Warnings, report.Counts.BytesRead);
        }
        catch (OperationCanceledException)
        {
            failure = "it was cancelled";
        }
        catch (Exception cut)
        {
            // And therefore the store works on, and whoever asks is told.
            failure = cut.Message;
            Log.VerifyFailed(_log, cut);
        }

        lock (_changes) _status = _status with { IsRunning = false, EndedMs = NowMs, Report = report, Failure = failure };
    }

    private void Note(VerifyProgress progress)
    {
        lock (_changes) _status = _status with { Progress = progress };
    }

    private sealed class Held(Action release) : IDisposable
    {
        private Action? _release = release;

        public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
    }
}

/// <summary>Keeps reads to a pace: after each, sleeps as long as it should have taken. One thread uses it.</summary>
/// <param name="bytesPerSecond">The pace.</param>
/// <param name="time">The clock.</param>
/// <param name="cancel">Ends a sleep.</param>
internal sealed class ReadPace(long bytesPerSecond, TimeProvider time, CancellationToken cancel)
{
    // Shorter sleeps would have the timer's own slack decide.
    private static readonly TimeSpan Least = TimeSpan.FromMilliseconds(10);

    // What a slow disk has kept it from reading it must not read all at once later.
    private static readonly TimeSpan Credit = TimeSpan.FromSeconds(1);

    private long _began = time.GetTimestamp();
    private long _bytes;

    /// <summary>Bytes were read.</summary>
    public void Took(int bytes)
    {
        _bytes += bytes;
        TimeSpan ahead = TimeSpan.FromSeconds(_bytes / (double)bytesPerSecond) - time.GetElapsedTime(_began);
        if (ahead < -Credit) (_began, _bytes) = (time.GetTimestamp(), 0);
        if (ahead >= Least) Task.Delay(ahead, time, cancel).GetAwaiter().GetResult();
    }
}
