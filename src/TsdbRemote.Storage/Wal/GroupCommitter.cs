using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Wal;

/// <summary>The one consumer of the queue: writes group by group, syncs, tells the waiters, goes on from segment to segment.</summary>
/// <remarks>
/// Invariant: whoever holds the drain lock is the log's one writer; nothing else touches the current segment.
/// Invariant: a waiter is told only after its group was written and, in mode Fsync, synced.
/// Failure:   any exception ends in <see cref="Stop"/>, which is final, save for a full disk. Two kinds of that:
///            room could not be reserved: the group is refused, the segment is as good as before, the next group tries again;
///            a write broke off (only where reserving promises nothing): the segment is left torn, every record for it is refused, and the
///            next one begins with a frame that says where the torn one ends.
/// </remarks>
internal sealed class GroupCommitter : IDisposable
{
    // The idle frame must stand within 1 s of the last group, and the timer is exact to some milliseconds.
    private static readonly TimeSpan IdleAfter = TimeSpan.FromMilliseconds(500);

    private static readonly long IdleFrameBytes = FrameFormat.SizeOf(WalFormat.DurableToBytes);

    private readonly LogQueue _queue;
    private readonly WalSettings _settings;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ITimer _timer;

    // Guards what follows, and the front of the queue. The queue's gate may be taken inside; disk calls are made under it.
    private readonly Lock _drain = new();
    private readonly LogGroup _group;
    private SegmentWriter? _current;
    private long _segment;
    private long _lastWrite;
    private long _unsyncedSince;
    private bool _hasUnsynced;
    private bool _isFull;
    private long _ringsAt = long.MaxValue;

    /// <summary>A committer without a segment.</summary>
    public GroupCommitter(LogQueue queue, WalSettings settings, TimeProvider time, ILogger logger)
    {
        _queue = queue;
        _settings = settings;
        _time = time;
        _logger = logger;
        _group = new LogGroup(settings.MaxBatch);
        TimerCallback ring = static state => ((GroupCommitter)state!).Ring();
        _timer = time.CreateTimer(ring, this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Counters of all segments.</summary>
    public WalCounters Counters { get; } = new();

    /// <summary>
    /// Number of the segment that is being written. Each below it is sealed and synced, or was left torn and the one behind it says where it ends: none is changed
    /// any more. Any thread may ask.
    /// </summary>
    public long Segment => Volatile.Read(ref _segment);

    /// <summary>Takes the first segment.</summary>
    public void Begin(SegmentWriter first)
    {
        lock (_drain) _current = first;
        NoteSegment(first.Segment);
    }

    /// <summary>Notes that the segments below a number are at rest, or are none of this log.</summary>
    /// <param name="segment">The number of the segment that is written next, with a file or, where nothing is written, without.</param>
    public void NoteSegment(long segment) => Volatile.Write(ref _segment, segment);

    /// <summary>One group, or one step to the next segment, and what is due by time.</summary>
    /// <returns>False if there was nothing to do.</returns>
    public bool DrainOnce()
    {
        lock (_drain)
        {
            if (_queue.Failed is not null) return false;
            if (_current is null) return TakeFirst();
            try
            {
                bool worked = CommitNext(_current);
                return DoWhatIsDue(_current) || worked; // the segment may be another one now
            }
            catch (Exception error)
            {
                Stop(error, _current.Path);
                return false;
            }
        }
    }

    /// <summary>Writes the idle frame now, if acknowledged records are behind the last durable_to frame.</summary>
    public void WriteIdleFrame()
    {
        lock (_drain)
        {
            if (_current is null || _queue.Failed is not null || !NeedsIdleFrame(_current)) return;
            try
            {
                WriteIdleFrame(_current);
            }
            catch (Exception error)
            {
                Stop(error, _current.Path);
            }
        }
    }

    /// <summary>Commits what is queued and seals the current segment; unless the log has failed.</summary>
    public void Finish()
    {
        lock (_drain)
        {
            while (DrainOnce())
            {
            }

            try
            {
                if (_current is not null && _queue.Failed is null) FinishSegment(_current);
            }
            catch (Exception error)
            {
                Stop(error, _current!.Path);
            }
        }
    }

    /// <summary>Closes the current segment as it is.</summary>
    public void Dispose()
    {
        lock (_drain)
        {
            try
            {
                _current?.Dispose();
            }
            catch (DiskException error)
            {
                Stop(error, _current!.Path);
            }

            _current = null;
            _timer.Dispose();
            _group.Dispose();
        }
    }

    /// <summary>Ends the log for good: tells every waiter, refuses everything later, touches no file again.</summary>
    /// <param name="error">What was thrown.</param>
    /// <param name="path">The file worked on.</param>
    public void Stop(Exception error, string path)
    {
        lock (_drain)
        {
            LogFailedException failed = LogFailedException.Of(error, path);
            if (!_queue.RefuseAsFailed(failed)) return;
            WalLog.Failed(_logger, failed.Operation, failed.Path, failed.Errno, Counters.UnsyncedRecords, error);
            _group.Fail(failed.Again);
            while (_queue.TryPeek(out LogEntry entry))
            {
                _queue.Take();
                entry.Fail(failed.Again());
            }
        }
    }

    /// <summary>The first segment of a log that had no room for one when it began.</summary>
    private bool TakeFirst()
    {
        if (!_queue.TryPeek(out LogEntry entry) || entry.Next is not { } first) return false;
        _current = first;
        NoteSegment(first.Segment);
        _queue.Take();
        return true;
    }

    private bool CommitNext(SegmentWriter current)
    {
        if (!_queue.TryPeek(out LogEntry entry)) return false;
        if (entry.Next is { } next)
        {
            GoOnIn(next, current);
            _queue.Take(); // only now: had that failed, Stop would still find the mark and close its segment
            return true;
        }

        _group.Begin(current);
        while (_queue.TryPeek(out entry) && entry.Next is null && _group.TryAdd(entry)) _queue.Take();
        _group.Finish();
        Commit(current);
        return true;
    }

    private void Commit(SegmentWriter current)
    {
        DiskException? full = current.TornBy ?? TryReserve(current, _group.Bytes) ?? TryWrite(current);
        if (full is not null)
        {
            Refuse(full, current);
            return;
        }

        _isFull = false;
        _lastWrite = _time.GetTimestamp();
        if (_settings.Durability == WalDurability.Fsync) Sync(current);
        else CountUnsynced();
        Counters.Group(_group.Count, _group.Bytes);
        _group.Complete();
        ReserveAhead(current);
    }

    /// <summary>Reserves room for a group and the seal, on the critical path only if that was not done ahead.</summary>
    /// <returns>Why there is none, or null.</returns>
    private static DiskException? TryReserve(SegmentWriter current, long bytes)
    {
        try
        {
            current.Reserve(bytes);
            return null;
        }
        catch (DiskException error) when (LogFullException.IsMeantBy(error))
        {
            return error;
        }
    }

    private DiskException? TryWrite(SegmentWriter current)
    {
        try
        {
            current.Write(_group);
            return null;
        }
        catch (DiskException error) when (LogFullException.IsMeantBy(error))
        {
            LeaveTorn(current, error);
            return error;
        }
    }

    // Nothing overwrites the torn bytes: a reader of the file and the page cache may see different ones (reliability.md §2.4).
    private void LeaveTorn(SegmentWriter current, DiskException error)
    {
        current.MarkTorn(error);
        _queue.RefuseAsFull(error, current.Segment);
        WalLog.Torn(_logger, current.Path, current.Offset, error);
    }

    private void Refuse(DiskException full, SegmentWriter current)
    {
        // Once until there is room again: senders retry, and would fill what is left of the disk with lines.
        if (!_isFull) WalLog.Full(_logger, current.Path, _group.Bytes, _group.Count, full);
        _isFull = true;
        _group.Fail(() => new LogFullException(full));
    }

    private void Sync(SegmentWriter current)
    {
        long from = _time.GetTimestamp();
        current.Sync();
        CountSync(from);
    }

    private void CountSync(long from)
    {
        _hasUnsynced = false;
        Counters.Synced(_time.GetElapsedTime(from));
    }

    private void CountUnsynced()
    {
        if (!_hasUnsynced) _unsyncedSince = _lastWrite;
        _hasUnsynced = true;
        Counters.AcknowledgedUnsynced(_group.Count, _group.Bytes);
    }

    /// <summary>Reserves the next step, now that nobody waits.</summary>
    private static void ReserveAhead(SegmentWriter current)
    {
        try
        {
            current.ReserveAhead();
        }
        catch (DiskException error) when (LogFullException.IsMeantBy(error))
        {
            // And therefore the group that needs the room will ask again, and be refused if there still is none.
        }
    }

    private void GoOnIn(SegmentWriter next, SegmentWriter current)
    {
        FinishSegment(current);
        if (current.IsTorn) next.WritePreviousEnd(new SegmentEnd(current.Segment, current.Offset));
        current.Dispose();
        _current = next;
        NoteSegment(next.Segment); // only now: who reads the one before would find it cut to its seal meanwhile, or without the groups that were still queued
    }

    private void FinishSegment(SegmentWriter current)
    {
        if (current.Synced < current.Offset) Sync(current);
        if (current.IsTorn) return;
        try
        {
            current.WriteSeal();
        }
        catch (DiskException error) when (LogFullException.IsMeantBy(error))
        {
            LeaveTorn(current, error);
            return;
        }

        long from = _time.GetTimestamp();
        current.SyncSeal();
        CountSync(from);
        WalLog.Sealed(_logger, current.Path, current.Offset, current.Records);
    }

    private bool DoWhatIsDue(SegmentWriter current)
    {
        TimeSpan sync = _hasUnsynced ? _settings.SyncInterval - _time.GetElapsedTime(_unsyncedSince) : TimeSpan.MaxValue;
        bool syncIsDue = sync <= TimeSpan.Zero;
        if (syncIsDue) Sync(current);
        TimeSpan idle = NeedsIdleFrame(current) ? IdleAfter - _time.GetElapsedTime(_lastWrite) : TimeSpan.MaxValue;
        bool idleIsDue = idle <= TimeSpan.Zero;
        if (idleIsDue) WriteIdleFrame(current);
        TimeSpan next = TimeSpan.FromTicks(Math.Min(syncIsDue ? long.MaxValue : sync.Ticks, idleIsDue ? long.MaxValue : idle.Ticks));
        if (next != TimeSpan.MaxValue) RingIn(next);
        return syncIsDue || idleIsDue;
    }

    private static bool NeedsIdleFrame(SegmentWriter current) => !current.IsTorn && current.Synced > current.Announced;

    private void WriteIdleFrame(SegmentWriter current)
    {
        _lastWrite = _time.GetTimestamp(); // without room it is tried again as much later
        if (TryReserve(current, IdleFrameBytes) is not null) return;
        try
        {
            current.WriteDurableTo();
        }
        catch (DiskException error) when (LogFullException.IsMeantBy(error))
        {
            LeaveTorn(current, error);
        }
    }

    private void RingIn(TimeSpan due)
    {
        due = TimeSpan.FromMilliseconds(Math.Ceiling(due.TotalMilliseconds)); // timers cut to milliseconds, and would ring just too early
        long at = _time.GetTimestamp() + (long)(due.TotalSeconds * _time.TimestampFrequency);
        if (at >= Volatile.Read(ref _ringsAt)) return; // it rings before, and what is due then will be asked again
        Volatile.Write(ref _ringsAt, at);
        _timer.Change(due, Timeout.InfiniteTimeSpan);
    }

    private void Ring()
    {
        Volatile.Write(ref _ringsAt, long.MaxValue);
        _queue.WakeConsumer();
    }
}
