using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Schedules merges of tables: several at a time, one a window, at a pace that lets ingestion and reads go first.</summary>
/// <remarks>
/// Use: some threads run <see cref="Run"/>; anybody calls <see cref="Wake"/> when tables were added, or <see cref="CompactAsync"/> to have all that is due
/// merged. <see cref="Step"/> is one round, for tests that run without threads. Thread-safe.
/// Failure: as <see cref="BlockWork"/> has it. A window whose tables are damaged so that they cannot be merged is named and left alone until the next start.
/// Memory: a merge holds its inputs (and the dictionary where something of them is deleted) and no state, for a state would keep flushed MemTables in memory until the merge ends.
/// Order: a merge takes tables only, and MemTables are newer than all tables, so that neighbours in sequence stay neighbours whatever is flushed
/// meanwhile. Nothing begins before the log is replayed: a segment's table may belong between two others.
/// </remarks>
internal sealed class CompactionWork : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    // Time makes merges due without any change: windows close, and grow quiet. Looking costs a pass over all windows.
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(10);

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly MergeWork _merge;
    private readonly CompactionSettings _settings;
    private readonly TimeClaims _claims;
    private readonly TableAges _ages;
    private readonly Func<EngineState, TimeRange, bool> _isLeftToConversion;
    private readonly CleaningGoal _cleaning;
    private readonly CompactionThrottles _throttles;
    private readonly Action _changed;
    private readonly Func<bool> _mayBegin;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly CancellationTokenSource _stop = new();

    // Guards the fields down to _sweepDue. The picker runs while it is held, so that a request is served by a look that began after it.
    private readonly Lock _turn = new();
    private readonly Backoff _backoff;
    private readonly List<RunningMerge> _running = [];
    private readonly List<TaskCompletionSource> _serving = [];
    private TaskCompletionSource? _requested;
    private long _mergesLeft;
    private LevelSet? _idleWith;
    private long _idleSince;
    private long _sweepDue = long.MinValue;

    // Guards the two below. Taken inside _turn, or alone; nothing outward is called while it is held but the picker.
    private readonly Lock _measuring = new();
    private LevelSet? _measured;
    private long _measuredAt;

    private CompactionPressure _pressure = CompactionPressure.None;

    // Windows that cannot be merged, by their start: replaced, never changed.
    private ImmutableHashSet<long> _passedOver = [];

    /// <summary>A scheduler.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="state">The state to pick from.</param>
    /// <param name="merge">Does one merge.</param>
    /// <param name="settings">Of the picker.</param>
    /// <param name="claims">Shared by all jobs.</param>
    /// <param name="ages">Of tables.</param>
    /// <param name="isLeftToConversion">True for a window that a conversion is about to take: merging it first would write its bytes once more for nothing.</param>
    /// <param name="cleaning">What is to be taken out of the tables.</param>
    /// <param name="throttles">Make merges keep the pace.</param>
    /// <param name="changed">Called after each merge: writers may go ahead.</param>
    /// <param name="mayBegin">False while the log is replayed.</param>
    /// <param name="failure">Set means: nothing more is written.</param>
    /// <param name="counters">Added to.</param>
    /// <param name="damaged">Told what cannot be merged, for people.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">Where events go.</param>
    public CompactionWork(
        IFileSystem files, DataLayout paths, CurrentState state, MergeWork merge, CompactionSettings settings, TimeClaims claims, TableAges ages,
        Func<EngineState, TimeRange, bool> isLeftToConversion, CleaningGoal cleaning, CompactionThrottles throttles, Action changed,
        Func<bool> mayBegin, EngineFailure failure, EngineCounters counters, Action<string> damaged, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _merge = merge;
        _settings = settings;
        _claims = claims;
        _ages = ages;
        _isLeftToConversion = isLeftToConversion;
        _cleaning = cleaning;
        _throttles = throttles;
        _changed = changed;
        _mayBegin = mayBegin;
        _failure = failure;
        _counters = counters;
        _damaged = damaged;
        _time = time;
        _log = log;
        _backoff = new Backoff(time);
    }

    /// <summary>Merges under way, for people.</summary>
    public ImmutableArray<RunningCompaction> Running
    {
        get
        {
            lock (_turn) return [.. _running.Select(merge => merge.Describe(_time))];
        }
    }

    /// <summary>Why a merge waits for room on the disk; null if none does.</summary>
    public string? NoRoom => _backoff.NoRoom;

    /// <summary>What merges are behind by, as of the newest tables.</summary>
    public CompactionPressure Measure()
    {
        lock (_measuring)
        {
            LevelSet levels = _state.Peek.Levels;
            if (levels == _measured && _time.GetElapsedTime(_measuredAt) < LookAgain) return _pressure;
            _measured = levels;
            _measuredAt = _time.GetTimestamp();
            _ages.Note(levels);
            return _pressure = PressureOf(levels);
        }
    }

    /// <summary>Has a thread look at once.</summary>
    public void Wake()
    {
        if (_wake.CurrentCount == 0) _wake.Release();
    }

    /// <summary>
    /// Completes when no merge is due and none runs, or when as many have ended since as would have brought to rest what there was: writers that never
    /// pause make new ones due all the time.
    /// </summary>
    /// <exception cref="EngineUnavailableException">The storage is read-only, or stopping.</exception>
    public Task CompactAsync(CancellationToken cancel)
    {
        Task done;
        lock (_turn)
        {
            _requested ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            done = _requested.Task;
            _sweepDue = long.MinValue;
            _backoff.Hurry();
        }

        Wake();
        return done.WaitAsync(cancel);
    }

    /// <summary>A thread's life.</summary>
    public void Run()
    {
        while (!_stop.IsCancellationRequested)
        {
            _wake.Wait(Tick);
            while (Step())
            {
            }
        }
    }

    /// <summary>One round: the most urgent merge, from choice to commit.</summary>
    /// <returns>True if one was done, so that there may be more to do.</returns>
    public bool Step()
    {
        if (_stop.IsCancellationRequested) return false;
        if (_failure.IsSet)
        {
            Answer(new EngineUnavailableException(_failure.Message));
            return false;
        }

        if (!_mayBegin()) return false;
        try
        {
            if (TryBegin() is not { } merge) return false;
            Wake(); // another thread may find work beside this
            return Do(merge);
        }
        catch (Exception failure)
        {
            // A bug: the inputs are still named. Going on could lose them, so nothing more is written.
            if (_failure.Set(failure)) Log.Failed(_log, failure);
            return false;
        }
    }

    /// <summary>Ends <see cref="Run"/>; merges under way are dropped, and leave nothing behind.</summary>
    public void Stop()
    {
        _stop.Cancel();
        _wake.Release(64);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Answer(EngineUnavailableException.Stopping()); // nobody is left to serve them
        _wake.Dispose();
        _stop.Dispose();
    }

    /// <summary>Picks, claims and holds the next merge, or serves those who wait for there to be none.</summary>
    private RunningMerge? TryBegin()
    {
        lock (_turn)
        {
            if (_backoff.MustWait) return null;

            // Only who asked before this look began is served by it; who asks while others are served waits for the next.
            if (_serving.Count > 0 && _mergesLeft <= 0) Complete();
            if (_serving.Count == 0 && _requested is not null) TakeUp(_requested);
            else if (_serving.Count == 0 && IsIdle()) return null;
            RunningMerge? merge = Pick();
            if (merge is not null)
            {
                _running.Add(merge);
                _idleWith = null;
                return merge;
            }

            _idleSince = _time.GetTimestamp();
            Sweep();
            if (_running.Count > 0) return null;
            if (_backoff.NoRoom is not null) _backoff.Succeeded(); // what found no room is no longer wanted
            Complete();
            return null;
        }
    }

    private void TakeUp(TaskCompletionSource requested)
    {
        _serving.Add(requested);
        _requested = null;

        // A merge leaves fewer runs, or one run a level deeper.
        LevelSet levels = _state.Peek.Levels;
        _mergesLeft = _running.Count + levels.Tables.Length + (long)levels.Windows.Length * _settings.Levels;
    }

    private void Complete()
    {
        foreach (TaskCompletionSource served in _serving) served.TrySetResult();
        _serving.Clear();
        if (_requested is not null) Wake();
    }

    private bool IsIdle() => _idleWith == _state.Peek.Levels && _time.GetElapsedTime(_idleSince) < LookAgain;

    private RunningMerge? Pick()
    {
        while (true)
        {
            EngineState state = _state.Acquire();
            try
            {
                _ages.Note(state.Levels);
                _idleWith = state.Levels;
                CompactionJob? job = PickDeleted(state)
                    ?? CompactionPicker.Pick(state.Levels, _settings, NowMs, window => IsBusy(state, window), _ages.SinceAddedMs);
                if (job is null) return null;
                IDisposable? claim = _claims.TryClaim(job.Window);

                // A conversion that began or ended since the state was read: what stands now is looked at anew.
                if (claim is not null && _state.Peek.Levels.Holds(job.Window.MinMs, job.Inputs)) return RunningMerge.Begin(WithDeletes(job, state), claim, _time);
                claim?.Dispose();
            }
            finally
            {
                state.Release();
            }
        }
    }

    /// <summary>While somebody has asked for it: takes what is deleted out of tables before anything else is merged.</summary>
    private CompactionJob? PickDeleted(EngineState state) => _cleaning.Of(state) is { Count: > 0 } tombstones
        ? CompactionPicker.PickDeleted(state.Levels, _settings, tombstones, window => IsBusy(state, window))
        : null;

    /// <summary>
    /// The deletes of the state that the tables are of: those are all that may be applied to some of them and not to others. One that is committed later begins a
    /// segment that no table of this state holds any of, for it and the flushes are made on one thread.
    /// </summary>
    private static CompactionJob WithDeletes(CompactionJob job, EngineState state)
    {
        DeletionSet? deletions = state.Deletions?.Reaching(job.Inputs, job.Window);
        return job with { AppliedTo = state.DeletionsKnownTo, Deletions = deletions, Dictionary = deletions is null ? null : state.Dictionary };
    }

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    private bool IsBusy(EngineState state, TimeRange window) =>
        _claims.IsClaimed(window) || _passedOver.Contains(window.MinMs) || state.WindowsOutOfService.Contains(window.MinMs) || _isLeftToConversion(state, window);

    private bool Do(RunningMerge merge)
    {
        bool isWorthMore = true;
        CompactionThrottle throttle = _throttles.Begin(_stop.Token);
        try
        {
            bool merged = _merge.Run(merge.Job, bytes => Pause(merge, throttle, bytes), _stop.Token);
            if (!merged) PassOver(merge.Job, "nothing of it can be read");
            lock (_turn) _backoff.Succeeded();
        }
        catch (OperationCanceledException)
        {
            isWorthMore = false;
        }
        catch (CorruptFileException damage) when (merge.Job.Inputs.Any(table => table.Reader.Path == damage.Path))
        {
            PassOver(merge.Job, damage.Message);
        }
        catch (CorruptChunkException damage)
        {
            PassOver(merge.Job, damage.Message);
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException)
        {
            Failed(merge.Job, failure);
            isWorthMore = false;
        }
        finally
        {
            merge.End();
            EngineCounters.Add(ref _counters.CompactionSleepTicks, throttle.Slept.Ticks);
            lock (_turn)
            {
                _running.Remove(merge);
                _mergesLeft--;
            }
        }

        _changed();
        return isWorthMore;
    }

    private void Pause(RunningMerge merge, CompactionThrottle throttle, long bytesRead)
    {
        merge.BytesRead = bytesRead;
        _stop.Token.ThrowIfCancellationRequested();
        throttle.Pause();
    }

    private void PassOver(CompactionJob job, string why)
    {
        EngineCounters.Add(ref _counters.Compactions[job.OutputLevel].Errors, 1);
        lock (_turn) _passedOver = _passedOver.Add(job.Window.MinMs);
        lock (_measuring) _measured = null;
        _damaged($"{why}; the tables of the window of {job.Window.MinMs} ms are not merged");
    }

    private void Failed(CompactionJob job, Exception failure)
    {
        EngineCounters.Add(ref _counters.Compactions[job.OutputLevel].Errors, 1);
        bool isHopeless;
        TimeSpan delay;
        lock (_turn)
        {
            delay = _backoff.Failed(failure);
            isHopeless = _backoff.IsHopeless;
        }

        Log.MergeFailed(_log, job.Window.MinMs, delay.TotalSeconds, failure);
        bool isFatal = failure is DiskException { IsSync: true } sync && (isHopeless || !MergeWork.IsOfNewTable(sync));
        if (isFatal && _failure.Set(failure)) Log.Failed(_log, failure);
    }

    /// <summary>Removes directories of windows that have no table of their own left: nobody else can, for a merge may be about to make one there.</summary>
    private void Sweep()
    {
        long now = _time.GetTimestamp();
        if (now < _sweepDue) return;
        _sweepDue = now + (long)(LookAgain.TotalSeconds * _time.TimestampFrequency);
        try
        {
            LevelSet levels = _state.Peek.Levels;
            foreach (long start in WindowDirectories.All(_files, _paths))
            {
                if (levels.InWindow(start).Any(static table => table.Entry.Level > 0)) continue;
                using IDisposable? claim = _claims.TryClaim(new TimeRange(start, TimeWindow.EndOf(start, _settings.WindowMs)));
                if (claim is not null) WindowDirectories.RemoveIfEmpty(_files, _paths, start);
            }
        }
        catch (DiskException failure)
        {
            // An empty directory costs nothing; it is tried again.
            Log.DeleteFailed(_log, failure.Path, failure);
        }
    }

    private CompactionPressure PressureOf(LevelSet levels)
    {
        // What cannot be merged must not hold up writers for ever.
        foreach (long window in _passedOver) levels = levels.WithoutWindow(window, levels.InWindow(window).Select(static table => table.Entry.Id).ToHashSet(), out _);
        CompactionDebt debt = CompactionPicker.Debt(levels, _settings, NowMs, _ages.SinceAddedMs);
        var counts = new Dictionary<long, int>();
        int most = 0;
        foreach (LevelTable table in levels.AtLevel(0))
        {
            foreach (long window in table.Entry.Windows)
            {
                int count = counts[window] = counts.GetValueOrDefault(window) + 1;
                most = Math.Max(most, count);
            }
        }

        ImmutableArray<CrowdedWindow> crowded =
        [
            .. counts.Where(static window => window.Value >= StallRules.SlowTables)
                .Select(window => new CrowdedWindow(new TimeRange(window.Key, TimeWindow.EndOf(window.Key, _settings.WindowMs)), window.Value)),
        ];
        return new CompactionPressure(debt.Bytes, debt.Jobs, crowded, most);
    }

    private void Answer(Exception failure)
    {
        lock (_turn)
        {
            if (_requested is not null) _serving.Add(_requested);
            _requested = null;
            foreach (TaskCompletionSource refused in _serving) refused.TrySetException(failure);
            _serving.Clear();
        }
    }

    /// <summary>A merge that has begun: its window claimed, its inputs held.</summary>
    private sealed class RunningMerge
    {
        private readonly IDisposable _claim;
        private readonly long _began;
        private long _bytesRead;

        private RunningMerge(CompactionJob job, IDisposable claim, long began)
        {
            Job = job;
            _claim = claim;
            _began = began;
        }

        public CompactionJob Job { get; }

        public long BytesRead
        {
            set => Volatile.Write(ref _bytesRead, value);
        }

        /// <summary>The caller holds the state that the inputs are of.</summary>
        public static RunningMerge Begin(CompactionJob job, IDisposable claim, TimeProvider time)
        {
            foreach (LevelTable table in job.Inputs) Invariant.Check(table.Reader.TryAcquire());
            if (job.Dictionary is { } dictionary) Invariant.Check(dictionary.TryAcquire());
            return new RunningMerge(job, claim, time.GetTimestamp());
        }

        public void End()
        {
            foreach (LevelTable table in Job.Inputs) table.Reader.Release();
            Job.Dictionary?.Release();
            _claim.Dispose();
        }

        public RunningCompaction Describe(TimeProvider time) => new(
            Job.Window.MinMs, Job.OutputLevel, Job.Reason, Job.Inputs.Length, Job.InputBytes, Volatile.Read(ref _bytesRead), time.GetElapsedTime(_began).TotalSeconds);
    }
}

/// <summary>A merge under way, for people.</summary>
/// <param name="WindowStartMs">Start of its window, ms.</param>
/// <param name="OutputLevel">Level of the new run.</param>
/// <param name="Reason">Why.</param>
/// <param name="Tables">Tables that are merged.</param>
/// <param name="Bytes">Bytes of the window in them.</param>
/// <param name="BytesRead">Bytes read so far.</param>
/// <param name="Seconds">Time since it began, sleep included.</param>
public sealed record RunningCompaction(
    long WindowStartMs, int OutputLevel, CompactionReason Reason, int Tables, long Bytes, long BytesRead, double Seconds);
