using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Engine;

/// <summary>
/// Schedules everything that happens to blocks, one thing at a time on one thread: removal, adoption, retention, conversion, compaction.
/// </summary>
/// <remarks>
/// Use: one thread runs <see cref="Run"/>; anybody calls <see cref="CompactAsync"/> to have all that can be done now done. <see cref="Step"/> is one
/// round of it, for tests that run without threads.
/// Asked: a request covers what there was when it was taken up, the windows first, then all blocks that there are once they are converted: writers
/// that never pause make new work all the time, and nobody would ever be answered.
/// Failure: what fails before the manifest is touched costs its own files and is tried again after a while, for as long as it takes. A failed sync of
/// a directory, or three failures in a row that end with a failed sync, make the storage read-only (<see cref="EngineFailure"/>). Compaction waits for
/// itself: it needs more room than anything else, and nothing else needs it.
/// </remarks>
internal sealed class BlockWork : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    // Listing the directory and summing sizes costs a few system calls; nobody waits for a block that was put there.
    private static readonly TimeSpan UpkeepInterval = TimeSpan.FromSeconds(30);

    // Conversion goes first, since tables cost more than blocks. But the windows of a year must not heap up as thousands of blocks: once a compaction
    // makes one of so many, it gets every other turn.
    private const int ManyBlocks = 60;

    // A compaction that failed for want of room has written for minutes.
    private static readonly TimeSpan CompactionRetry = TimeSpan.FromMinutes(1);

    private readonly BlockUpkeep _upkeep;
    private readonly ConversionWork _conversion;
    private readonly BlockCompactionWork _compaction;
    private readonly bool _compacts;
    private readonly CleaningGoal _cleaning;
    private readonly Func<bool> _mayBegin;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Backoff _backoff;
    private readonly Backoff _compactionBackoff;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _requestLock = new();
    private readonly List<TaskCompletionSource> _serving = [];
    private TaskCompletionSource? _requested;

    // What those in _serving wait for: windows that are not converted yet, then blocks that are not yet merged.
    private readonly HashSet<long> _askedWindows = [];
    private readonly HashSet<string> _askedBlocks = [];
    private bool _areBlocksAsked;
    private bool _owesUpkeep;

    private long _upkeepDue = long.MinValue;
    private bool _hasCompacted;

    /// <summary>A scheduler.</summary>
    /// <param name="upkeep">Adoption, retention, removal.</param>
    /// <param name="conversion">Conversion; finds nothing to do where it is switched off.</param>
    /// <param name="compaction">Compaction of blocks.</param>
    /// <param name="compacts">False if it only takes out what is deleted, when asked to: else it is switched off.</param>
    /// <param name="cleaning">What is to be taken out of the blocks.</param>
    /// <param name="mayBegin">False while the log is replayed: nothing is converted before all of it has its place in the order of versions.</param>
    /// <param name="failure">Set means: nothing more is written.</param>
    /// <param name="counters">Added to.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">Where events go.</param>
    public BlockWork(
        BlockUpkeep upkeep, ConversionWork conversion, BlockCompactionWork compaction, bool compacts, CleaningGoal cleaning, Func<bool> mayBegin, EngineFailure failure, EngineCounters counters,
        TimeProvider time, ILogger log)
    {
        _upkeep = upkeep;
        _conversion = conversion;
        _compaction = compaction;
        _compacts = compacts;
        _cleaning = cleaning;
        _mayBegin = mayBegin;
        _failure = failure;
        _counters = counters;
        _time = time;
        _log = log;
        _backoff = new Backoff(time);
        _compactionBackoff = new Backoff(time, CompactionRetry);
    }

    /// <summary>The compaction of blocks under way, for people; null if there is none.</summary>
    public RunningBlockCompaction? RunningCompaction => _compaction.Running;

    /// <summary>Why reads that look into blocks cannot be whole now; null if they can.</summary>
    public string? WhyShut => _upkeep.WhyShut;

    /// <summary>Why work on blocks waits for room on the disk; null if none does.</summary>
    public string? NoRoom => _backoff.NoRoom ?? _compactionBackoff.NoRoom;

    /// <summary>Completes when nothing is left to adopt, delete, convert or compact of what there is when it is taken up.</summary>
    /// <exception cref="EngineUnavailableException">The storage is read-only, or stopping.</exception>
    public Task CompactAsync(CancellationToken cancel)
    {
        Task done;
        lock (_requestLock)
        {
            _requested ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            done = _requested.Task;
        }

        _backoff.Hurry();
        _compactionBackoff.Hurry();
        _wake.Release();
        return done.WaitAsync(cancel);
    }

    /// <summary>Has the thread look at once: in block-only mode a flush has something for it.</summary>
    public void Wake()
    {
        if (_wake.CurrentCount == 0) _wake.Release();
    }

    /// <summary>The thread's life.</summary>
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

    /// <summary>One round: whatever is due first.</summary>
    /// <returns>True if something was done, so that there may be more.</returns>
    public bool Step()
    {
        if (_stop.IsCancellationRequested) return false;

        // Whatever keeps work from being done: reads wait for it, and it changes nothing on the disk.
        if (_upkeep.WhyShut is not null && (_failure.IsSet || _backoff.MustWait)) _upkeep.ServeAgain(_stop.Token);
        if (_failure.IsSet)
        {
            Answer(new EngineUnavailableException(_failure.Message));
            return false;
        }

        if (!_mayBegin() || _backoff.MustWait) return false;
        try
        {
            if (_serving.Count == 0 && TakeUp()) _askedWindows.UnionWith(_conversion.Windows());
            bool worked = Upkeep() || TryCompact(ManyBlocks) || TryCompactAsked() || TryConvert() || TryCompact(atLeast: 2) || TryClean();
            _backoff.Succeeded();
            if (_serving.Count > 0 && !IsAskedLeft()) Complete();
            return worked;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException or CorruptChunkException)
        {
            Failed(failure, _backoff);
            return false;
        }
        catch (Exception failure)
        {
            // A bug: what it touched is still in the tables. Going on could lose it, so nothing more is written.
            if (_failure.Set(failure)) Log.Failed(_log, failure);
            return false;
        }
    }

    /// <summary>Ends <see cref="Run"/>; a conversion under way is dropped.</summary>
    public void Stop()
    {
        _stop.Cancel();
        _wake.Release();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Answer(EngineUnavailableException.Stopping()); // nobody is left to serve them
        _wake.Dispose();
        _stop.Dispose();
    }

    private bool Upkeep()
    {
        long now = _time.GetTimestamp();
        lock (_requestLock)
        {
            if (now < _upkeepDue) return false;
            _upkeepDue = now + (long)(UpkeepInterval.TotalSeconds * _time.TimestampFrequency);
        }

        try
        {
            bool worked = _upkeep.Work(_stop.Token);
            _owesUpkeep = false;
            return worked;
        }
        catch
        {
            // It is not done: nobody is told so, and the next round begins with it again.
            lock (_requestLock) _upkeepDue = long.MinValue;
            throw;
        }
    }

    private bool TryConvert()
    {
        if (!_conversion.TryConvertNext(_askedWindows, _stop.Token)) return false;
        _hasCompacted = false;
        return true;
    }

    /// <summary>A compaction, if one of so many blocks is there and the last turn was not one: those of few blocks only come when there is nothing else.</summary>
    private bool TryCompact(int atLeast) => !(_hasCompacted && atLeast == ManyBlocks) && TryCompact(atLeast, onlyAsked: false);

    /// <summary>A compaction that somebody waits for: once the windows are converted that he waits for, those that came since are not his.</summary>
    private bool TryCompactAsked() => _areBlocksAsked && TryCompact(atLeast: 2, onlyAsked: true);

    private bool TryCompact(int atLeast, bool onlyAsked)
    {
        bool isLast = atLeast == 2 && !onlyAsked;
        return _compacts && TryWithCompaction(() => _compaction.TryCompactNext(atLeast, _askedBlocks, onlyAsked, _stop.Token), isLast);
    }

    /// <summary>Last, since conversions and compactions make blocks without what is deleted.</summary>
    private bool TryClean() =>
        _cleaning.UpTo > 0 && TryWithCompaction(() => _compaction.TryCleanNext(_cleaning, _askedBlocks, _stop.Token), isLast: true);

    /// <param name="work">Does a job of the compaction, or says that there is none.</param>
    /// <param name="isLast">Nothing is left to compact if it says so.</param>
    private bool TryWithCompaction(Func<bool> work, bool isLast)
    {
        if (_compactionBackoff.MustWait) return false;
        try
        {
            bool compacted = work();
            if (compacted)
            {
                _compactionBackoff.Succeeded();
                _hasCompacted = true;
                _upkeep.Remove();
            }
            else if (isLast)
            {
                _compactionBackoff.Succeeded(); // what failed is no longer wanted
            }

            return compacted;
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException or CorruptChunkException)
        {
            EngineCounters.Add(ref _counters.BlockCompactionErrors, 1);
            Failed(failure, _compactionBackoff);
            return false;
        }
    }

    /// <summary>
    /// Only who asked before a round began is served by it: what came since may have found the round past it. Who asks while others are served waits for
    /// them: joined, they would wait for him, and he for the next.
    /// </summary>
    private bool TakeUp()
    {
        lock (_requestLock)
        {
            if (_requested is null) return false;
            _serving.Add(_requested);
            _requested = null;
            _upkeepDue = long.MinValue;
            _owesUpkeep = true;
            _areBlocksAsked = false;
            return true;
        }
    }

    /// <summary>True while something could be done now that those who are served wait for.</summary>
    private bool IsAskedLeft()
    {
        if (_owesUpkeep || _conversion.IsLeft(_askedWindows) || _compaction.IsCleaningLeft(_cleaning)) return true;
        if (!_compacts) return false;
        if (!_areBlocksAsked) _askedBlocks.UnionWith(_compaction.Names());
        _areBlocksAsked = true;
        return _compaction.IsLeft(_askedBlocks);
    }

    private void Complete()
    {
        foreach (TaskCompletionSource served in _serving) served.TrySetResult();
        Forget();
        lock (_requestLock)
        {
            if (_requested is not null) _wake.Release();
        }
    }

    private void Answer(Exception failure)
    {
        TakeUp();
        foreach (TaskCompletionSource refused in _serving) refused.TrySetException(failure);
        Forget();
    }

    private void Forget()
    {
        _serving.Clear();
        _askedWindows.Clear();
        _askedBlocks.Clear();
        _areBlocksAsked = false;
    }

    private void Failed(Exception failure, Backoff backoff)
    {
        if (backoff == _backoff) EngineCounters.Add(ref _counters.ConversionErrors, 1);
        TimeSpan delay = backoff.Failed(failure);
        Log.BlockWorkFailed(_log, delay.TotalSeconds, failure);

        // Files of a block that is given up are dropped; whatever else was not synced, directories above all, may have left a name that is not what it says.
        // What merely cannot be done now, such as a directory that is away or read-only, puts nothing at risk: the samples stay where they are.
        bool isFatal = failure is DiskException { IsSync: true } sync && (backoff.IsHopeless || !NewBlocks.IsOfNewBlock(sync));
        if (isFatal && _failure.Set(failure)) Log.Failed(_log, failure);
    }
}
