using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>One entry of the queue: a record to be logged, or the mark at which the writer goes on in the next segment.</summary>
internal readonly struct LogEntry
{
    private LogEntry(
        WalRecordKind kind, ulong sequence, long receiveTimeMs, PooledBuffer? body, TaskCompletionSource? done, SegmentWriter? next)
    {
        Kind = kind;
        Sequence = sequence;
        ReceiveTimeMs = receiveTimeMs;
        Body = body;
        Done = done;
        Next = next;
    }

    public WalRecordKind Kind { get; }

    public ulong Sequence { get; }

    public long ReceiveTimeMs { get; }

    /// <summary>The record's bytes, owned by the log until the entry is completed or failed; null for a mark.</summary>
    public PooledBuffer? Body { get; }

    /// <summary>The segment to go on in; null for a record.</summary>
    public SegmentWriter? Next { get; }

    private TaskCompletionSource? Done { get; }

    // Continuations elsewhere: otherwise the log's thread would run the rest of the request.
    public static LogEntry Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, PooledBuffer body, out Task committed)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        committed = done.Task;
        return new LogEntry(kind, sequence, receiveTimeMs, body, done, null);
    }

    public static LogEntry Mark(SegmentWriter next) => new(default, 0, 0, null, null, next);

    /// <summary>Gives the body back, then tells the waiter: past the completion nobody touches the body.</summary>
    public void Complete()
    {
        Body?.Dispose();
        Done?.SetResult();
    }

    /// <summary>
    /// Gives the body back, then tells the waiter what went wrong. A mark's segment is closed: nothing will be written to it.
    /// </summary>
    public void Fail(Exception error)
    {
        Body?.Dispose();
        Next?.Dispose();
        Done?.SetException(error);
    }
}

/// <summary>Requests on their way to the log's writer, in the order of their sequences.</summary>
/// <remarks>
/// Use:       any thread calls <see cref="Enqueue"/>; the one consumer takes from the front, under the log's drain lock.
/// Invariant: a sequence is given in the same critical section that queues the record, so order of file = order of sequence.
/// Tried:     a channel. It has no critical section that a sequence could share, and allocates a node for each wait.
/// Bounded:   not here, but by the budget of request bytes in flight.
/// </remarks>
internal sealed class LogQueue
{
    private const int InitialCapacity = 256;

    // Guards the fields down to _draining. Nothing outward is called while it is held. A monitor, for the consumer waits on it.
    private readonly object _gate = new();
    private readonly bool _wakeForRecords;
    private Queue<LogEntry> _incoming = new(InitialCapacity);
    private long _segment;
    private long _nextIndex;
    private long _segmentBytes;
    private DiskException? _full;
    private LogFailedException? _failed;
    private bool _closed;
    private bool _consumerWaits;
    private bool _wake;

    // The consumer's own: swapped with _incoming when empty, so that the gate is held for two assignments and not for a group.
    private Queue<LogEntry> _draining = new(InitialCapacity);

    /// <summary>An empty queue without a segment.</summary>
    /// <param name="wakeForRecords">A record wakes the consumer; false where callers drain for themselves.</param>
    public LogQueue(bool wakeForRecords) => _wakeForRecords = wakeForRecords;

    /// <summary>Sequence of the last record of the segment; that of its first, if it has none yet.</summary>
    public ulong LastSequence
    {
        get
        {
            lock (_gate) return WalFormat.Sequence(_segment, Math.Max(0, _nextIndex - 1));
        }
    }

    /// <summary>Segment of the next record.</summary>
    public long Segment => Volatile.Read(ref _segment);

    /// <summary>Bytes of the frames queued for this segment, written or not.</summary>
    public long SegmentBytes => Volatile.Read(ref _segmentBytes);

    /// <summary>Records that the consumer has not taken yet.</summary>
    public int Waiting
    {
        get
        {
            lock (_gate) return _incoming.Count;
        }
    }

    public LogFailedException? Failed => Volatile.Read(ref _failed);

    /// <summary>Records are refused until the next segment begins.</summary>
    public bool NeedsSegment => Volatile.Read(ref _full) is not null;

    /// <summary>Begins a segment without a mark: the first one, or any where nothing is written.</summary>
    public void Begin(long segment)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, typeof(WriteAheadLog));
            BeginSegment(segment);
        }
    }

    /// <summary>Says no once the log has failed or is closed.</summary>
    /// <exception cref="LogFailedException">The log has failed.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    public void ThrowIfShut()
    {
        lock (_gate) ThrowIfShutUnderGate();
    }

    /// <summary>Gives the record its sequence and queues it.</summary>
    /// <exception cref="LogFailedException">The log has failed.</exception>
    /// <exception cref="LogFullException">The segment could not be continued for lack of room; the next one will be.</exception>
    public WalTicket Enqueue(WalRecordKind kind, PooledBuffer body, long receiveTimeMs, long frameBytes)
    {
        lock (_gate)
        {
            ThrowIfShutUnderGate();
            if (_full is not null) throw new LogFullException(_full);
            ulong sequence = NextSequence(frameBytes);
            _incoming.Enqueue(LogEntry.Record(kind, sequence, receiveTimeMs, body, out Task committed));
            if (_wakeForRecords) Wake();
            return new WalTicket(sequence, committed);
        }
    }

    /// <summary>Gives a sequence to a record that is not written.</summary>
    public ulong Skip(long frameBytes)
    {
        lock (_gate)
        {
            ThrowIfShutUnderGate();
            return NextSequence(frameBytes);
        }
    }

    /// <summary>Queues the mark; records that come later belong to the next segment.</summary>
    /// <exception cref="LogFailedException">The log has failed.</exception>
    public void Switch(SegmentWriter next)
    {
        lock (_gate)
        {
            ThrowIfShutUnderGate();
            _incoming.Enqueue(LogEntry.Mark(next));
            BeginSegment(next.Segment);
            Wake();
        }
    }

    /// <summary>The oldest entry, left in place. Consumer only.</summary>
    public bool TryPeek(out LogEntry entry)
    {
        if (_draining.Count == 0)
        {
            lock (_gate) (_incoming, _draining) = (_draining, _incoming);
        }

        return _draining.TryPeek(out entry);
    }

    /// <summary>Takes the entry that was looked at. Consumer only.</summary>
    public void Take() => _draining.Dequeue();

    /// <summary>Refuses records until the next segment begins.</summary>
    public void RefuseAsFull(DiskException full, long segment)
    {
        lock (_gate)
        {
            if (_segment == segment) Volatile.Write(ref _full, full);
        }
    }

    /// <summary>Refuses everything from now on.</summary>
    /// <returns>False if it had failed before: the first failure stays.</returns>
    public bool RefuseAsFailed(LogFailedException failed)
    {
        lock (_gate)
        {
            if (_failed is not null) return false;
            Volatile.Write(ref _failed, failed);
            return true;
        }
    }

    /// <summary>Refuses records and lets the consumer's wait end.</summary>
    /// <returns>False if it was closed before.</returns>
    public bool Close()
    {
        lock (_gate)
        {
            if (_closed) return false;
            _closed = true;
            Wake();
            return true;
        }
    }

    /// <summary>Wakes the consumer, for what a timer found due.</summary>
    public void WakeConsumer()
    {
        lock (_gate) Wake();
    }

    /// <summary>Blocks the consumer until something was queued, a timer rang, or the log was closed.</summary>
    /// <returns>False once closed.</returns>
    public bool WaitForWork()
    {
        lock (_gate)
        {
            while (!_wake && !_closed)
            {
                _consumerWaits = true;
                Monitor.Wait(_gate);
                _consumerWaits = false;
            }

            _wake = false;
            return !_closed;
        }
    }

    private void Wake()
    {
        _wake = true;
        if (_consumerWaits) Monitor.Pulse(_gate);
    }

    private ulong NextSequence(long frameBytes)
    {
        Volatile.Write(ref _segmentBytes, _segmentBytes + frameBytes);
        return WalFormat.Sequence(_segment, _nextIndex++);
    }

    private void BeginSegment(long segment)
    {
        Invariant.Check(segment > _segment && segment < WalFormat.MaxSegment);
        Volatile.Write(ref _segment, segment);
        Volatile.Write(ref _segmentBytes, WalFormat.HeaderBytes);
        Volatile.Write(ref _full, null);
        _nextIndex = 0;
    }

    private void ThrowIfShutUnderGate()
    {
        if (_failed is not null) throw _failed.Again();
        ObjectDisposedException.ThrowIf(_closed, typeof(WriteAheadLog));
        Invariant.Check(_segment > 0, "the log was started");
    }
}
