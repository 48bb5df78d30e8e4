using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Where a chunk lies and which time it covers, as an index block says.</summary>
/// <param name="MinTimeMs">Time of the first sample, ms.</param>
/// <param name="MaxTimeMs">Time of the last sample, ms.</param>
/// <param name="Offset">Of the record, in the file.</param>
/// <param name="Length">Bytes of the chunk's data.</param>
internal readonly record struct IndexedChunk(long MinTimeMs, long MaxTimeMs, long Offset, int Length)
{
    /// <summary>Bytes of the whole record.</summary>
    public long RecordBytes => ChunkRecord.SizeOf(Length);

    /// <summary>Offset of the record that follows.</summary>
    public long End => Offset + RecordBytes;

    /// <summary>True if some instant of the range lies inside.</summary>
    public bool Overlaps(TimeRange range) => MinTimeMs <= range.MaxMs && range.MinMs <= MaxTimeMs;
}

/// <summary>Builds one index block; its layout is drawn in <see cref="SSTableFormat"/>.</summary>
/// <remarks>
/// Use: <see cref="Begin"/>, then for each series <see cref="AddSeries"/> and as many <see cref="AddChunk"/>, then <see cref="Finish"/>;
/// then again.
/// </remarks>
internal sealed class IndexBlockWriter : IDisposable
{
    private readonly PooledBuffer _bytes = PooledBuffer.Rent(SSTableFormat.IndexBlockTargetBytes * 2);
    private ulong _lastId;

    /// <summary>Bytes so far, without the checksum; 0 before <see cref="Begin"/>.</summary>
    public int Length => _bytes.Length;

    /// <summary>Starts a block.</summary>
    public void Begin(long windowStartMs, ulong firstId, long firstOffset)
    {
        _bytes.SetLength(0);
        Append(Varint.ZigZag(windowStartMs));
        Append(firstId);
        Append((ulong)firstOffset);
        _lastId = firstId;
    }

    /// <summary>Starts a series; ids ascend.</summary>
    public void AddSeries(ulong id, int chunkCount)
    {
        Append(id - _lastId);
        Append((ulong)chunkCount);
        _lastId = id;
    }

    /// <summary>Adds the series' next chunk, whose record stands right behind the last one.</summary>
    /// <param name="afterMs">The window's start for the first chunk, else the last chunk's end.</param>
    /// <param name="minTimeMs">The chunk's first time.</param>
    /// <param name="maxTimeMs">The chunk's last time.</param>
    /// <param name="length">Bytes of its data.</param>
    public void AddChunk(long afterMs, long minTimeMs, long maxTimeMs, int length)
    {
        Append((ulong)minTimeMs - (ulong)afterMs);
        Append((ulong)maxTimeMs - (ulong)minTimeMs);
        Append((ulong)length);
    }

    /// <summary>Closes the block.</summary>
    /// <returns>Its bytes, checksum included; valid until the next <see cref="Begin"/>.</returns>
    public ReadOnlySpan<byte> Finish()
    {
        uint crc = Crc32C.Of(_bytes.Span);
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.Reserve(SSTableFormat.ChecksumBytes), crc);
        _bytes.SetLength(_bytes.Length + SSTableFormat.ChecksumBytes);
        return _bytes.Span;
    }

    /// <summary>Forgets the block.</summary>
    public void Clear() => _bytes.SetLength(0);

    /// <inheritdoc/>
    public void Dispose() => _bytes.Dispose();

    private void Append(ulong value)
    {
        int length = _bytes.Length;
        _bytes.SetLength(length + Varint.Write(_bytes.Reserve(Varint.MaxBytes), value));
    }
}

/// <summary>Walks an index block whose checksum holds. Any bytes are safe: what is no block ends with <see cref="IsCorrupt"/>.</summary>
/// <remarks>
/// Use: <c>while (block.MoveNextSeries())</c> look at <see cref="SeriesId"/>, then <c>while (block.MoveNextChunk(out …))</c>, or not:
/// what was left out is stepped over. Check <see cref="IsCorrupt"/> in the end.
/// </remarks>
internal ref struct IndexBlockReader
{
    // Of the record of a chunk whose length takes one byte, all but its data.
    private const int ShortRecordBytes = 1 + 1 + ChunkRecord.ChecksumBytes;

    private readonly ReadOnlySpan<byte> _bytes;
    private int _at;
    private ulong _chunksLeft;
    private bool _first = true;
    private bool _firstChunk;
    private long _lastMs;
    private long _offset;
    private SeriesShape _shape = SeriesShape.None;

    /// <summary>Starts before the first series.</summary>
    /// <param name="payload">The block without its checksum.</param>
    public IndexBlockReader(ReadOnlySpan<byte> payload)
    {
        _bytes = payload;
        if (Varint.TryReadZigZag(payload, ref _at, out long window) && Varint.TryRead(payload, ref _at, out ulong id)
            && Varint.TryRead(payload, ref _at, out ulong offset) && offset <= long.MaxValue)
        {
            WindowStartMs = window;
            SeriesId = id;
            _offset = (long)offset;
        }
        else
        {
            IsCorrupt = true;
        }
    }

    /// <summary>The window that all series of the block belong to.</summary>
    public long WindowStartMs { get; }

    /// <summary>Id of the current series; before the first step already that of the first.</summary>
    public ulong SeriesId { readonly get; private set; }

    /// <summary>Offset of the next chunk's record.</summary>
    public readonly long NextOffset => _offset;

    /// <summary>True once the bytes turned out not to be an index block.</summary>
    public bool IsCorrupt { readonly get; private set; }

    /// <summary>Steps forward to the first series whose id is not below <paramref name="id"/>: none, where that is the current one.</summary>
    /// <returns>False behind the last one.</returns>
    public bool MoveTo(ulong id)
    {
        while (_first || SeriesId < id)
        {
            if (!_first)
            {
                PassChunks();
                if (!IsCorrupt) SkipBefore(id);
            }

            if (!MoveNextSeries()) return false;
        }

        return true;
    }

    /// <summary>Steps to the next series.</summary>
    public bool MoveNextSeries()
    {
        PassChunks();
        if (IsCorrupt || _at == _bytes.Length) return false;
        if (!Varint.TryRead(_bytes, ref _at, out ulong delta) || !Varint.TryRead(_bytes, ref _at, out _chunksLeft)) return Fail();
        if (_first ? delta != 0 : delta == 0 || delta > ulong.MaxValue - SeriesId) return Fail();
        // Each chunk takes 3 bytes or more, so that a count beyond that is known to be wrong before anybody believes it.
        if (_chunksLeft == 0 || _chunksLeft > (ulong)(_bytes.Length - _at) / 3) return Fail();
        SeriesId += delta;
        _first = false;
        _firstChunk = true;
        _lastMs = WindowStartMs;
        return true;
    }

    /// <summary>Steps to the current series' next chunk.</summary>
    public bool MoveNextChunk(out IndexedChunk chunk)
    {
        chunk = default;
        if (_chunksLeft == 0 || IsCorrupt) return false;
        if (!Varint.TryRead(_bytes, ref _at, out ulong gap) || !Varint.TryRead(_bytes, ref _at, out ulong duration)
            || !Varint.TryRead(_bytes, ref _at, out ulong length))
            return Fail();
        if (gap == 0 && !_firstChunk) return Fail();
        if (!TryAdvance(_lastMs, gap, out long min) || !TryAdvance(min, duration, out long max)) return Fail();
        if (length is < SSTableFormat.MinChunkBytes or > int.MaxValue) return Fail();
        chunk = new IndexedChunk(min, max, _offset, (int)length);
        if (chunk.RecordBytes > long.MaxValue - _offset) return Fail();
        _offset = chunk.End;
        _lastMs = max;
        _firstChunk = false;
        _chunksLeft--;
        return true;
    }

    /// <summary>
    /// Steps over series of one chunk each that lie before <paramref name="id"/>, as long as their numbers are of usual length. What is wrong or unusual is left to
    /// <see cref="MoveNextSeries"/>, so that both see the same in any bytes.
    /// </summary>
    /// <remarks>
    /// Neighbours mostly have numbers of equal lengths. So the place of the next series is guessed from the last one's shape, and the processor
    /// need not have found out where one ends to begin with the next.
    /// </remarks>
    private void SkipBefore(ulong id)
    {
        // Times of 35 bits each, lengths of 14 and a byte of id for each series cannot overflow from here.
        if (WindowStartMs > long.MaxValue >> 1 || _offset > long.MaxValue >> 1 || SeriesId > ulong.MaxValue >> 1 || !BitConverter.IsLittleEndian) return;
        do
        {
            SkipAlike(id);
        }
        while (_bytes.Length - _at >= Vector128<byte>.Count && SeriesShape.TryFind(EndsAt(ref MemoryMarshal.GetReference(_bytes), _at), ref _shape));
    }

    /// <summary>Does so for those of the shape found last. No call is in it, so that all it counts with stays in registers.</summary>
    private void SkipAlike(ulong id)
    {
        ref byte start = ref MemoryMarshal.GetReference(_bytes);
        int last = _bytes.Length - Vector128<byte>.Count;
        int at = _at;
        ulong current = SeriesId;
        long offset = _offset;
        (uint mask, uint shapeEnds, int bytes, int lengthAt, uint upperMask) = _shape;
        while (at <= last)
        {
            // Nothing is read behind the sixteen bytes from here.
            if ((EndsAt(ref start, at) & mask) != shapeEnds) break;
            uint head = Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref start, at));
            if (head - 0x0101 > 0xFE) break; // an id delta of 0, or a chunk count that is not 1
            ulong next = current + (head & 0xFF);
            uint length = Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref start, at + lengthAt));
            length = (length & 0x7F) | ((length >> 1) & upperMask);
            if (next >= id || length < SSTableFormat.MinChunkBytes) break;
            current = next;
            offset += length + ShortRecordBytes + (length > 0x7F ? 1 : 0);
            at += bytes;
        }

        (_at, SeriesId, _offset) = (at, current, offset);
    }

    /// <summary>A bit for each of the sixteen bytes from a place on that ends a number.</summary>
    private static uint EndsAt(ref byte start, int at) => ~Vector128.LoadUnsafe(ref start, (nuint)at).ExtractMostSignificantBits();

    private void PassChunks()
    {
        while (_chunksLeft > 0 && MoveNextChunk(out _))
        {
            // Only the lengths say where the next series' records begin.
        }
    }

    private static bool TryAdvance(long from, ulong by, out long to)
    {
        to = (long)((ulong)from + by);
        return by <= (ulong)long.MaxValue - (ulong)from;
    }

    private bool Fail()
    {
        IsCorrupt = true;
        return false;
    }
}

/// <summary>How long the numbers are that make up a series of one chunk in an index block, where none is unusual.</summary>
/// <param name="Mask">A bit for each of its bytes.</param>
/// <param name="Ends">A bit for each byte that ends a number.</param>
/// <param name="Bytes">Its bytes.</param>
/// <param name="LengthAt">Where the length of the chunk stands.</param>
/// <param name="UpperMask">The bits of that length which its second byte has; 0 if there is none.</param>
internal readonly record struct SeriesShape(uint Mask, uint Ends, int Bytes, int LengthAt, uint UpperMask)
{
    private const int MaxTimeBytes = 5;
    private const int MaxLengthBytes = 2;

    /// <summary>The shape of nothing.</summary>
    public static SeriesShape None => new(0, 1, 0, 0, 0);

    /// <summary>Finds the shape of id delta, chunk count, gap, duration and length.</summary>
    /// <param name="ends">A bit for each of the next bytes that ends a number.</param>
    /// <param name="shape">Becomes that shape.</param>
    /// <returns>False if it was that already, if delta or count take more than a byte, or if another number is longer than usual.</returns>
    public static bool TryFind(uint ends, ref SeriesShape shape)
    {
        if ((ends & shape.Mask) == shape.Ends || (ends & 0b11) != 0b11) return false;
        uint rest = ends & 0xFFFC;
        int gapEnd = BitOperations.TrailingZeroCount(rest);
        rest &= rest - 1;
        int durationEnd = BitOperations.TrailingZeroCount(rest);
        rest &= rest - 1;
        if (rest == 0) return false;
        int lengthEnd = BitOperations.TrailingZeroCount(rest);
        int lengthBytes = lengthEnd - durationEnd;
        if (gapEnd > 1 + MaxTimeBytes || durationEnd - gapEnd > MaxTimeBytes || lengthBytes > MaxLengthBytes) return false;
        uint mask = (1u << (lengthEnd + 1)) - 1;
        shape = new SeriesShape(mask, ends & mask, lengthEnd + 1, durationEnd + 1, lengthBytes == 2 ? 0x7Fu << 7 : 0);
        return true;
    }
}
