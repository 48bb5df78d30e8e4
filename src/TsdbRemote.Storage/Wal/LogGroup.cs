using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>The records of one group commit, laid out for one gathered write.</summary>
/// <remarks>
/// <code>
/// buffers    durable_to, header ┆ body ┆ padding, header, small body, padding, header ┆ body ┆ … ┆ padding
///            scratch              rented scratch                                        rented       scratch
/// </code>
/// Bodies are written from where they are. All else stands in one scratch array that lives as long as the log: frame and record headers,
/// padding, and bodies too small to be worth a buffer of their own. The padding of one record and the header of the next are one buffer.
/// Use: <see cref="Begin"/>, <see cref="TryAdd"/> until it says no, <see cref="Finish"/>, then <see cref="Complete"/>
/// or <see cref="Fail"/>.
/// Allocates nothing once its lists have grown. Not thread-safe.
/// </remarks>
internal sealed class LogGroup : IDisposable
{
    /// <summary>Half of IOV_MAX; reliability.md §2.1 asks for no more.</summary>
    public const int MaxBuffers = 512;

    /// <summary>Bodies up to this are copied: cheaper than a buffer of their own, and groups of small records are not cut short.</summary>
    private const int SmallBodyBytes = 256;

    private const int ScratchBytes = 64 << 10;

    // A group that has grown beyond this is closed, so that the first of it do not wait for the last; one record may exceed it.
    private const long MaxBytes = 32 << 20;

    private const int RecordPrefixBytes = FrameFormat.HeaderBytes + WalFormat.RecordHeaderBytes;

    private readonly List<ReadOnlyMemory<byte>> _buffers = new(MaxBuffers);
    private readonly List<LogEntry> _entries = [];
    private readonly PooledBuffer _scratch = PooledBuffer.Rent(ScratchBytes, ScratchBytes);
    private readonly int _maxRecords;
    private uint _salt;
    private int _runStart;
    private int _runEnd;

    /// <summary>An empty group.</summary>
    /// <param name="maxRecords">Most records in it.</param>
    public LogGroup(int maxRecords) => _maxRecords = maxRecords;

    /// <summary>What to write; whole after <see cref="Finish"/>.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Buffers => _buffers;

    /// <summary>Records in it.</summary>
    public int Count => _entries.Count;

    /// <summary>Bytes in all buffers.</summary>
    public long Bytes { get; private set; }

    /// <summary>The segment's chain with this group's frames.</summary>
    public uint Chain { get; private set; }

    /// <summary>The chain with one more frame.</summary>
    public static uint ChainNext(uint chain, ReadOnlySpan<byte> frame) => Crc32C.Update(chain, frame.Slice(WalFormat.CrcAt, sizeof(uint)));

    /// <summary>Starts the group with the durable_to frame that stands before its records.</summary>
    public void Begin(SegmentWriter segment)
    {
        Invariant.Check(Count == 0);
        _buffers.Clear();
        _runStart = 0;
        _salt = segment.Salt;
        Span<byte> payload = stackalloc byte[WalFormat.DurableToBytes];
        BinaryPrimitives.WriteInt64LittleEndian(payload, segment.Synced);
        _runEnd = FrameFormat.Write(_scratch.Span, _salt, WalFormat.DurableTo, payload);
        Chain = ChainNext(segment.Chain, _scratch.Span);
        Bytes = _runEnd;
    }

    /// <summary>Takes a record, and with it its body.</summary>
    /// <returns>False if the group is full: the record stays the caller's.</returns>
    public bool TryAdd(in LogEntry entry)
    {
        PooledBuffer body = entry.Body!;
        bool copied = body.Length <= SmallBodyBytes;
        if (Count == _maxRecords || Bytes >= MaxBytes || _buffers.Count + 3 > MaxBuffers
            || _runEnd + RecordPrefixBytes + SmallBodyBytes + FrameFormat.Alignment > ScratchBytes)
        {
            return false;
        }

        Span<byte> prefix = _scratch.Span.Slice(_runEnd, RecordPrefixBytes);
        Span<byte> recordHeader = prefix[FrameFormat.HeaderBytes..];
        WalFormat.WriteRecordHeader(recordHeader, entry.Sequence, entry.ReceiveTimeMs);
        FrameFormat.WriteHeader(prefix, _salt, (byte)entry.Kind, recordHeader, body.Span);
        Chain = ChainNext(Chain, prefix);
        _runEnd += RecordPrefixBytes;
        if (copied)
        {
            body.Span.CopyTo(_scratch.Span[_runEnd..]);
            _runEnd += body.Length;
        }
        else
        {
            EndRun();
            _buffers.Add(body.Memory);
        }

        long payload = WalFormat.RecordHeaderBytes + body.Length;
        int padding = FrameFormat.PaddingOf(payload);
        _scratch.Span.Slice(_runEnd, padding).Clear();
        _runEnd += padding;
        Bytes += FrameFormat.SizeOf(payload);
        _entries.Add(entry);
        return true;
    }

    /// <summary>Completes the list of buffers.</summary>
    public void Finish() => EndRun();

    /// <summary>Tells every waiter that its record is logged, and gives the bodies back.</summary>
    public void Complete()
    {
        foreach (LogEntry entry in _entries) entry.Complete();
        Clear();
    }

    /// <summary>Tells every waiter what went wrong, each by an exception of its own, and gives the bodies back.</summary>
    public void Fail(Func<Exception> error)
    {
        foreach (LogEntry entry in _entries) entry.Fail(error());
        Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => _scratch.Dispose();

    private void Clear()
    {
        _entries.Clear();
        _buffers.Clear();
    }

    private void EndRun()
    {
        if (_runEnd > _runStart) _buffers.Add(_scratch.Memory[_runStart.._runEnd]);
        _runStart = _runEnd;
    }
}
