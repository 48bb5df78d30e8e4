using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>
/// Switches MemTables when they are due and flushes what waits, on one thread; a successor of the dictionary takes over here, and here deletes come between what is
/// older and what is newer.
/// </summary>
/// <remarks>
/// Use: one thread runs <see cref="Run"/>; anybody calls <see cref="Wake"/> when a MemTable may be full, or <see cref="FlushAsync"/> to have everything on
/// disk. <see cref="Step"/> is one round of it, for tests that run without threads.
/// </remarks>
internal sealed class BackgroundWork : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    // Senders retry, and each would otherwise have a full disk asked for a segment again.
    private static readonly TimeSpan SwitchRetry = TimeSpan.FromSeconds(1);

    private readonly CurrentState _state;
    private readonly SegmentLedger _ledger;
    private readonly WriteAheadLog _wal;
    private readonly FlushWork _flush;
    private readonly StateCommits _commits;
    private readonly long? _unnamedIn;
    private volatile RotationPolicy _policy;
    private readonly EngineModes _modes;
    private readonly int _maxWaiting;
    private readonly ReaderWriterLockSlim _gate;
    private readonly Func<long, SeriesDictionary, MemTable> _newMemTable;
    private readonly Func<MemTable, bool> _holdsClosedWindow;
    private readonly Func<long> _replayedBelow;
    private readonly Action<long> _flushed;
    private readonly DictionaryWork _dictionaries;
    private readonly DeleteWork _deletes;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly WriteStall _stall;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly Lock _requestLock = new();
    private readonly TaskCompletionSource<bool> _rescued = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource? _requested;
    private TaskCompletionSource? _serving;
    private long _servingUpTo;
    private long _noSwitchBefore = long.MinValue;
    private bool _toldNoSwitch;
    private string? _noSegment;
    private int _awake;
    private volatile bool _stop;

    public BackgroundWork(
        CurrentState state, SegmentLedger ledger, WriteAheadLog wal, FlushWork flush, StateCommits commits, long? unnamedIn, RotationPolicy policy,
        EngineModes modes, int maxWaiting, ReaderWriterLockSlim gate,
        Func<long, SeriesDictionary, MemTable> newMemTable, Func<MemTable, bool> holdsClosedWindow, Func<long> replayedBelow, Action<long> flushed,
        DictionaryWork dictionaries, DeleteWork deletes, EngineFailure failure, EngineCounters counters, WriteStall stall, TimeProvider time, ILogger log)
    {
        _state = state;
        _ledger = ledger;
        _wal = wal;
        _flush = flush;
        _commits = commits;
        _unnamedIn = unnamedIn;
        _policy = policy;
        _modes = modes;
        _maxWaiting = maxWaiting;
        _gate = gate;
        _newMemTable = newMemTable;
        _holdsClosedWindow = holdsClosedWindow;
        _replayedBelow = replayedBelow;
        _flushed = flushed;
        _dictionaries = dictionaries;
        _deletes = deletes;
        _failure = failure;
        _counters = counters;
        _stall = stall;
        _time = time;
        _log = log;
    }

    /// <summary>Log bytes that no table holds yet.</summary>
    public long UnflushedLogBytes => _ledger.Bytes + _wal.SegmentBytes;

    /// <summary>What MemTables and log come to now.</summary>
    public FlushPressure Pressure
    {
        get
        {
            MemTableSet memTables = _state.Peek.MemTables;
            MemTable active = memTables.Active;
            RotationPolicy policy = _policy;
            long size = policy.SizeFor(active.SeriesCount);
            return new FlushPressure(
                memTables.Waiting.Length, _maxWaiting, (double)active.Bytes / size, !HoldsAnything(active), UnflushedLogBytes, policy.LogBytes, size);
        }
    }

    /// <summary>Why the log or a flush waits for room on the disk; null if neither does.</summary>
    public string? NoRoom => _flush.NoRoom ?? Volatile.Read(ref _noSegment);

    /// <summary>Has no more log wait for a flush than this, in bytes.</summary>
    public void HoldLogTo(long bytes) => _policy = _policy with { LogBytes = bytes };

    /// <summary>True if the active MemTable should be switched now.</summary>
    public bool RotationIsDue => Due() != RotationReason.None;

    /// <summary>True once everything that was acknowledged before the log failed is in tables: nothing is lost.</summary>
    public bool IsRescued => _rescued.Task is { IsCompletedSuccessfully: true, Result: true };

    /// <summary>Has the thread look at once.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _awake, 1) == 0) _wake.Release();
    }

    /// <summary>Completes when everything written before the call is in tables or blocks.</summary>
    public Task FlushAsync(CancellationToken cancel)
    {
        // Who gives up before he asks, as a stop without patience does, asks for nothing.
        if (cancel.IsCancellationRequested) return Task.FromCanceled(cancel);
        Task done;
        lock (_requestLock)
        {
            _requested ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            done = _requested.Task;
        }

        Wake();
        return done.WaitAsync(cancel);
    }

    /// <summary>After a failed log: completes when what is in memory is in tables, or cannot be brought there.</summary>
    /// <returns>True if it is.</returns>
    public Task<bool> RescueAsync(CancellationToken cancel)
    {
        if (!_failure.IsSet && _wal.Failure is null) return Task.FromResult(false);
        Wake();
        return _rescued.Task.WaitAsync(cancel);
    }

    /// <summary>The thread's life.</summary>
    public void Run()
    {
        while (!_stop)
        {
            _wake.Wait(Tick);
            Volatile.Write(ref _awake, 0);
            while (!_stop && Step())
            {
            }
        }
    }

    /// <summary>One round: switch if due, flush at most one MemTable.</summary>
    /// <param name="flush">False to leave the flush to a later round.</param>
    /// <returns>True if a MemTable was flushed, so that there may be more to do.</returns>
    public bool Step(bool flush = true)
    {
        try
        {
            Rotate();
            if (_dictionaries.IsPrepared) Succeed();
            if (_deletes.IsAsked) Delete();
            long? flushed = flush ? _flush.FlushOldest(_replayedBelow()) : null;
            if (flushed is { } segment)
            {
                _flushed(segment);
            }

            _stall.Refresh();
            CompleteRequests();
            CompleteRescue();
            return flushed is not null;
        }
        catch (Exception failure)
        {
            // A bug, or a disk failure nobody foresaw. The data is in the log; going on could lose it, so nothing more is written.
            if (_failure.Set(failure)) Log.Failed(_log, failure);
            FailRequests(new EngineUnavailableException(_failure.Message));
            _rescued.TrySetResult(false);
            return false;
        }
    }

    /// <summary>Has a flush that waits after a failure tried at once: at a stop there is no later.</summary>
    public void Hurry()
    {
        _flush.Hurry();
        Wake();
    }

    /// <summary>Ends <see cref="Run"/> after its current step.</summary>
    public void Stop()
    {
        _stop = true;
        _wake.Release();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        FailRequests(EngineUnavailableException.Stopping()); // nobody is left to serve them
        _wake.Dispose();
    }

    private RotationReason Due()
    {
        if (_wal.NeedsSegment) return RotationReason.LogTorn;
        MemTable active = _state.Peek.MemTables.Active;
        // Asked by writers too: theirs may have been switched and flushed since they looked.
        if (_ledger.Find(active.Segment) is not { } segment) return RotationReason.None;
        long age = _time.GetUtcNow().ToUnixTimeMilliseconds() - segment.CreatedMs;
        bool holdsClosed = age >= _policy.ClosedAgeMs && active.SampleCount > 0 && _holdsClosedWindow(active);
        return _policy.Decide(
            active.Bytes, active.SeriesCount, active.SampleCount, UnflushedLogBytes, age, holdsClosed, _modes.IsBlockOnly, HoldsAnything(active));
    }

    private void Rotate()
    {
        MemTableSet memTables = _state.Peek.MemTables;

        // Nobody else may notice: a sync by the interval fails behind the answers, and there may be no writer for hours.
        if (_wal.Failure is { } stopped && _failure.Set(stopped)) Log.Failed(_log, stopped);
        if (_failure.IsSet)
        {
            Rescue(memTables);
            return;
        }

        bool requested = IsRequested();
        RotationReason reason = Due();
        if (reason == RotationReason.None && requested && HoldsAnything(memTables.Active)) reason = RotationReason.Requested;

        // A switch for a delete comes next and does as well: else writers who fill each place that a flush frees would keep it waiting for ever.
        bool switched = reason != RotationReason.None && !_deletes.IsAsked && memTables.Waiting.Length < _maxWaiting && TryPrepare();
        if (switched) Switch(memTables.Active, reason, isLogged: true);
        if (reason == RotationReason.None && Volatile.Read(ref _noSegment) is not null) TryPrepare(); // whether there is room again is asked by somebody

        // Not switched because too many wait, or for want of a segment: it stays requested, and a later round tries again.
        if (requested && (switched || reason == RotationReason.None)) ServeRequest();
    }

    /// <summary>Has the next segment ready, so that the switch does nothing on the disk.</summary>
    /// <returns>False if it could not be created now: nothing has changed, writes go on in the old one.</returns>
    private bool TryPrepare()
    {
        if (_time.GetTimestamp() < _noSwitchBefore) return false;
        try
        {
            NameInherited();
            _wal.PrepareNext();
            _toldNoSwitch = false;
            Volatile.Write(ref _noSegment, null);
            return true;
        }
        catch (DiskException failure) when (!failure.IsSync || LogFullException.IsMeantBy(failure))
        {
            _noSwitchBefore = _time.GetTimestamp() + (long)(SwitchRetry.TotalSeconds * _time.TimestampFrequency);

            // Once until it succeeds: a full disk may stay so for days, and a line a second would not make it emptier.
            if (!_toldNoSwitch) Log.SegmentNotCreated(_log, failure);
            _toldNoSwitch = true;
            Volatile.Write(ref _noSegment, LogFullException.IsMeantBy(failure) ? failure.Message : null);
            return false;
        }
        catch (LogFailedException failure)
        {
            if (_failure.Set(failure)) Log.Failed(_log, failure);
            return false;
        }
    }

    /// <summary>
    /// What an earlier process left has to be noted before a segment of this one holds records, and at the start there was no room for that. Any commit notes
    /// it, a flush's too.
    /// </summary>
    private void NameInherited()
    {
        if (_state.Peek.Manifest.Generation == _unnamedIn) _commits.Commit(static manifest => manifest, static (state, manifest) => state.With(manifest));
    }

    /// <summary>
    /// After a failed log the MemTables may be the only copy of what it acknowledged: the active one goes into new files too, and
    /// nobody writes to the empty one in its place.
    /// </summary>
    private void Rescue(MemTableSet memTables)
    {
        bool helps = _failure.Cause is LogFailedException && HoldsAnything(memTables.Active);
        if (helps && memTables.Waiting.Length < _maxWaiting) Switch(memTables.Active, RotationReason.LogFailed, isLogged: false);
    }

    private void CompleteRescue()
    {
        if (!_failure.IsSet || _rescued.Task.IsCompleted) return;
        bool isHopeless = _failure.Cause is not LogFailedException || _flush.HasGivenUp;
        MemTableSet memTables = _state.Peek.MemTables;
        bool isDone = memTables.Waiting.IsEmpty && !HoldsAnything(memTables.Active) && _replayedBelow() == long.MaxValue;
        if (!isHopeless && !isDone) return;
        _rescued.TrySetResult(isDone);
        if (isDone) Log.NothingLost(_log);
    }

    /// <summary>Has the dictionary's successor take over, if a MemTable may be switched now: the next one belongs to it.</summary>
    private void Succeed()
    {
        MemTableSet memTables = _state.Peek.MemTables;
        if (_failure.IsSet || memTables.Waiting.Length >= _maxWaiting || !TryPrepare() || !_dictionaries.TryCommit()) return;
        Switch(memTables.Active, RotationReason.DictionaryCollected, isLogged: true, () => _dictionaries.Finish(memTables.Active));
        _dictionaries.TookOver();
    }

    /// <summary>Carries deletes out, if a MemTable may be switched now: behind the switch, before anything else is flushed (<see cref="DeleteWork"/>).</summary>
    private void Delete()
    {
        if (_failure.IsSet)
        {
            _deletes.Refuse(new EngineUnavailableException(_failure.Message));
            return;
        }

        MemTableSet memTables = _state.Peek.MemTables;
        if (memTables.Waiting.Length >= _maxWaiting || !TryPrepare()) return;
        Switch(memTables.Active, RotationReason.Deletion, isLogged: true);
        _deletes.Commit(_state.Peek.MemTables.Active.Segment);
    }

    /// <summary>Switches MemTable and segment at once, while no writer is between its record and its samples.</summary>
    private void Switch(MemTable full, RotationReason reason, bool isLogged, Func<SeriesDictionary>? successor = null)
    {
        MemTable? next = null;
        _gate.EnterWriteLock();
        try
        {
            LedgerSegment old = _ledger[full.Segment] with { Bytes = _wal.SegmentBytes, LastSequence = _wal.LastSequence };
            SeriesDictionary dictionary = successor is null ? full.Dictionary : successor();
            long segment = isLogged ? SwitchSegment(full, ref isLogged, mustSwitch: successor is not null) : full.Segment + 1;
            next = _newMemTable(segment, dictionary);
            _ledger.Set(new LedgerSegment(next.Segment, _time.GetUtcNow().ToUnixTimeMilliseconds(), 0, 0, AcceptedEnd: null, Inherited: false, isLogged && _wal.HasFiles));
            _ledger.Set(old);
            _state.Change(state => state.With(memTables: state.MemTables.Rotate(next)));
        }
        finally
        {
            _gate.ExitWriteLock();
        }

        EngineCounters.Add(ref _counters.Rotations[(int)reason], 1);
        Log.Rotated(_log, next.Segment, reason, full.Bytes, full.SeriesCount);
    }

    /// <summary>
    /// The log's next segment. Once a successor's file is committed its dictionary has to take over even if the log has stopped just now: the
    /// old one believes more to be in the file than is, and what is flushed then for want of a log would lack labels.
    /// </summary>
    private long SwitchSegment(MemTable full, ref bool isLogged, bool mustSwitch)
    {
        try
        {
            return _wal.SwitchSegment();
        }
        catch (Exception stopped) when (mustSwitch && stopped is (LogFailedException or ObjectDisposedException))
        {
            isLogged = false;
            return full.Segment + 1;
        }
    }

    /// <summary>Whether there is something to flush: samples, or only records of its segment that say something else, which the side files take.</summary>
    private bool HoldsAnything(MemTable active) =>
        active.SampleCount > 0 || (active.Segment == _wal.Segment && _wal.SegmentBytes > WalFormat.HeaderBytes);

    private bool IsRequested()
    {
        lock (_requestLock) return _serving is null && _requested is not null;
    }

    private void ServeRequest()
    {
        lock (_requestLock)
        {
            _serving = _requested;
            _requested = null;
            _servingUpTo = _state.Peek.MemTables.Active.Segment;
        }
    }

    private void CompleteRequests()
    {
        if (_failure.IsSet) FailRequests(new EngineUnavailableException(_failure.Message));
        lock (_requestLock)
        {
            if (_serving is null) return;
            bool committed = _replayedBelow() >= _servingUpTo && _state.Peek.MemTables.Waiting.All(memTable => memTable.Segment >= _servingUpTo);
            if (!committed) return;
            _serving.TrySetResult();
            _serving = null;
            if (_requested is not null) Wake();
        }
    }

    private void FailRequests(Exception failure)
    {
        _deletes.Refuse(failure);
        lock (_requestLock)
        {
            _serving?.TrySetException(failure);
            _requested?.TrySetException(failure);
            _serving = _requested = null;
        }
    }
}
