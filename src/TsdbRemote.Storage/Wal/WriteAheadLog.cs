using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Wal;

/// <summary>Makes request bodies durable, many at a time.</summary>
/// <remarks>
/// Use:       <see cref="Start"/>; one thread runs <see cref="Run"/>; any thread calls <see cref="Enqueue"/> and awaits the ticket;
///            <see cref="PrepareNext"/>, then <see cref="SwitchSegment"/> under the engine's exclusive gate; <see cref="Close"/>.
///            Without <see cref="WalSettings.Async"/> a caller also calls <see cref="DrainOnce"/> until its ticket is complete.
/// Promise:   a completed ticket is as durable as <see cref="WalSettings.Durability"/> says. Order in the file is order of sequences.
/// Invariant: in mode Fsync the segment is synced up to its end between two groups, but for an idle frame. A segment's first record is
///            written only after the one before was sealed and synced.
/// Failure:   the first failed write or sync stops the log for good: what the kernel kept is unknowable, and a second fsync that succeeds
///            proves nothing about the first (Rebello et al., ATC 2020). A full disk is not a failure: see <see cref="LogFullException"/>.
/// Threads:   all members may be called from any thread, save that SwitchSegment and Enqueue need the engine's gate between them,
///            so that a record and its samples land in the same generation.
/// Locks:     _preparing before the committer's before the queue's. Only the last is taken by Enqueue, and no disk call is made under it.
/// Not here:  parsing, MemTables, deletion of segments (Engine), reading back (<see cref="LogReader"/>).
/// </remarks>
public sealed class WriteAheadLog : IDisposable
{
    private readonly IFileSystem _fs;
    private readonly string _directory;
    private readonly Guid _directoryId;
    private readonly WalSettings _settings;
    private readonly LogQueue _queue;
    private readonly GroupCommitter _committer;

    // Guards the two below; held while a segment is created, so that a switch waits for a preparation under way.
    private readonly Lock _preparing = new();
    private SegmentWriter? _prepared;
    private long _lastNumber;

    /// <summary>A log that has no segment yet.</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="walDirectory">Directory of the segments; it exists.</param>
    /// <param name="directoryId">The data directory's random id, salt of every checksum.</param>
    /// <param name="settings">How to work.</param>
    /// <param name="time">Clock of intervals, idle frames and sync times.</param>
    /// <param name="logger">Told of failures and seals.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of its range.</exception>
    public WriteAheadLog(IFileSystem fs, string walDirectory, Guid directoryId, WalSettings settings, TimeProvider time, ILogger logger)
    {
        settings.Check();
        _fs = fs;
        _directory = walDirectory;
        _directoryId = directoryId;
        _settings = settings;
        _queue = new LogQueue(settings.Async);
        _committer = new GroupCommitter(_queue, settings, time, logger);
    }

    /// <summary>The segment of the next record.</summary>
    public long Segment => _queue.Segment;

    /// <summary>
    /// The segment that is being written, which is behind <see cref="Segment"/> until what was queued before a switch is written and sealed. Those below it are
    /// not changed any more.
    /// </summary>
    public long WrittenSegment => _committer.Segment;

    /// <summary>Sequence of the last record of <see cref="Segment"/>; that of its first, if it has none yet.</summary>
    public ulong LastSequence => _queue.LastSequence;

    /// <summary>Bytes of that segment's records, framed, whether they were written yet or not.</summary>
    public long SegmentBytes => _queue.SegmentBytes;

    /// <summary>
    /// A write to the current segment broke off for lack of room, or there was none for the first: every record is refused until
    /// <see cref="SwitchSegment"/> succeeds.
    /// </summary>
    public bool NeedsSegment => _queue.NeedsSegment;

    /// <summary>Records that wait for the next group commit.</summary>
    public int WaitingRecords => _queue.Waiting;

    /// <summary>What stopped the log, or null.</summary>
    public Exception? Failure => _queue.Failed;

    /// <summary>Counters.</summary>
    public WalStats Stats => _committer.Counters.Snapshot();

    /// <summary>Segments have files; false in mode None.</summary>
    public bool HasFiles => !WritesNothing;

    private bool WritesNothing => _settings.Durability == WalDurability.None;

    /// <summary>Creates the first segment, durably, before any record is taken.</summary>
    /// <param name="segment">Its number; above that of every segment there ever was in the directory.</param>
    /// <exception cref="DiskException">It could not be created.</exception>
    /// <exception cref="LogFailedException">It could not be made durable.</exception>
    public void Start(long segment)
    {
        lock (_preparing)
        {
            Invariant.Check(_lastNumber == 0);
            _lastNumber = segment - 1;
            if (WritesNothing) _committer.NoteSegment(segment);
            else _committer.Begin(CreateSegment());
            _lastNumber = segment;
            _queue.Begin(segment);
        }
    }

    /// <summary>
    /// Begins without a file, for want of room, in place of <see cref="Start"/> or after it found none: every record is refused until
    /// <see cref="SwitchSegment"/> succeeds.
    /// </summary>
    /// <param name="segment">The number that the first segment would have had; no file will have it.</param>
    /// <param name="full">Why there is none.</param>
    public void StartWithoutRoom(long segment, DiskException full)
    {
        Invariant.Check(!WritesNothing);
        lock (_preparing)
        {
            Invariant.Check(_queue.Segment == 0);
            _lastNumber = segment;
            _committer.NoteSegment(segment);
            _queue.Begin(segment);
            _queue.RefuseAsFull(full, segment);
        }
    }

    /// <summary>Creates the next segment ahead, so that the switch has nothing to do on the disk. Does nothing if there is one.</summary>
    /// <exception cref="DiskException">It could not be created, for want of room or of file handles; nothing has changed.</exception>
    /// <exception cref="LogFailedException">It could not be made durable; the log has stopped.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    public void PrepareNext()
    {
        lock (_preparing)
        {
            _queue.ThrowIfShut();
            if (!WritesNothing) _prepared ??= CreateSegment();
        }
    }

    /// <summary>Sends all later records to a new segment. The caller holds the engine's exclusive gate.</summary>
    /// <returns>The new segment's number. A number is skipped where a segment could not be created before.</returns>
    /// <exception cref="DiskException">It was not prepared and could not be created; nothing has changed.</exception>
    /// <exception cref="LogFailedException">The log has stopped.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    public long SwitchSegment()
    {
        lock (_preparing)
        {
            if (WritesNothing)
            {
                _queue.Begin(++_lastNumber);
                return _lastNumber;
            }

            _queue.ThrowIfShut();
            SegmentWriter next = _prepared ??= CreateSegment();
            _queue.Switch(next);
            _prepared = null;
            return next.Segment;
        }
    }

    /// <summary>Gives a request its sequence and queues it for the next group commit.</summary>
    /// <param name="kind">What the body is.</param>
    /// <param name="body">
    /// The bytes to log. The log owns them from here on, even if this throws, and gives them back before the ticket completes.
    /// </param>
    /// <param name="receiveTimeMs">When the request came, in Unix milliseconds.</param>
    /// <exception cref="LogFailedException">The log has stopped.</exception>
    /// <exception cref="LogFullException">The segment ended for lack of room; the next switch helps.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The body is longer than <see cref="WalFormat.MaxBodyBytes"/>.</exception>
    public WalTicket Enqueue(WalRecordKind kind, PooledBuffer body, long receiveTimeMs)
    {
        bool queued = false;
        try
        {
            Invariant.Check(WalFormat.IsRecord((byte)kind));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(body.Length, WalFormat.MaxBodyBytes, nameof(body));
            long frameBytes = FrameFormat.SizeOf(WalFormat.RecordHeaderBytes + body.Length);
            if (WritesNothing) return new WalTicket(_queue.Skip(frameBytes), Task.CompletedTask);
            WalTicket ticket = _queue.Enqueue(kind, body, receiveTimeMs, frameBytes);
            queued = true;
            return ticket;
        }
        finally
        {
            if (!queued) body.Dispose();
        }
    }

    /// <summary>
    /// The loop of the log's own thread: commits what is queued, writes idle frames, syncs by interval. Ends after <see cref="Close"/>.
    /// </summary>
    public void Run()
    {
        while (_queue.WaitForWork())
        {
            while (DrainOnce())
            {
            }
        }
    }

    /// <summary>One round: commits one group or goes on to the next segment, then does what time has made due.</summary>
    /// <returns>False if there was nothing to do.</returns>
    public bool DrainOnce() => _committer.DrainOnce();

    /// <summary>Writes an idle frame now, if acknowledged records are behind the last durable_to frame.</summary>
    public void WriteIdleFrame() => _committer.WriteIdleFrame();

    /// <summary>Commits everything queued, seals the segment and closes it. A segment prepared and never used stays, empty.</summary>
    /// <exception cref="LogFailedException">The log had stopped before, or stopped now: records queued last were refused.</exception>
    public void Close()
    {
        if (!_queue.Close()) return;
        lock (_preparing)
        {
            _committer.Finish();
            _committer.Dispose();
            _prepared?.Dispose();
            _prepared = null;
        }

        if (_queue.Failed is { } failed) throw failed.Again();
    }

    /// <summary>Closes the log, if that was not done. A failure in it was logged and is in <see cref="Failure"/>.</summary>
    public void Dispose()
    {
        try
        {
            Close();
        }
        catch (LogFailedException)
        {
            // And therefore every waiter has been told.
        }
    }

    /// <summary>Creates the next segment, durably, under <see cref="_preparing"/>. A number is used for one attempt only.</summary>
    private SegmentWriter CreateSegment()
    {
        SegmentWriter segment = SegmentWriter.Create(_fs, _directory, _directoryId, ++_lastNumber, _settings.PreallocateBytes);
        try
        {
            segment.MakeDurable(_fs, _directory);
            return segment;
        }
        catch (LogFailedException error)
        {
            segment.Dispose();
            _committer.Stop(error, segment.Path);
            throw;
        }
    }
}
