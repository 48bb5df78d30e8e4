using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Reads a part of a file front to back in pieces, and jumps where it is told to.</summary>
/// <remarks>
/// Use: <see cref="Peek"/> shows the next bytes, <see cref="Skip"/> passes them. Memory is one piece, or as much as the longest peek
/// asked for: callers bound what they ask. Does not own the source. Not thread-safe.
/// </remarks>
internal sealed class SequentialFile : IDisposable
{
    private const int DefaultPieceBytes = 1 << 20;

    private readonly FileSource _source;
    private readonly CancellationToken _cancel;
    private readonly int _pieceBytes;
    private PooledBuffer? _buffer;
    private long _bufferStart;
    private int _bufferLength;

    /// <summary>Starts at an offset.</summary>
    /// <param name="source">The file.</param>
    /// <param name="start">First byte.</param>
    /// <param name="end">Behind the last byte; not behind the file's end.</param>
    /// <param name="cancel">Asked before each piece.</param>
    /// <param name="pieceBytes">Bytes of a piece.</param>
    public SequentialFile(FileSource source, long start, long end, CancellationToken cancel, int pieceBytes = DefaultPieceBytes)
    {
        _source = source;
        _cancel = cancel;
        _pieceBytes = pieceBytes;
        Position = start;
        End = end;
    }

    /// <summary>Offset of the next byte.</summary>
    public long Position { get; private set; }

    /// <summary>Behind the last byte.</summary>
    public long End { get; }

    /// <summary>Bytes that are left.</summary>
    public long Remaining => End - Position;

    /// <summary>The next bytes, fewer than asked only at the end; valid until the next call.</summary>
    public ReadOnlySpan<byte> Peek(int atMost)
    {
        int wanted = (int)Math.Min(atMost, Remaining);
        if (wanted <= 0) return default;
        long at = Position - _bufferStart;
        if (at < 0 || at + wanted > _bufferLength)
        {
            _cancel.ThrowIfCancellationRequested();
            _bufferLength = 0;
            _bufferStart = Position;
            int length = (int)Math.Min(Math.Max(_pieceBytes, wanted), Remaining);
            _source.Read(Position, length, ref _buffer);
            _bufferLength = length;
            at = 0;
        }

        return _buffer!.Span.Slice((int)at, wanted);
    }

    /// <summary>Passes bytes, at most to the end.</summary>
    public void Skip(long count) => Position = Math.Min(Position + count, End);

    /// <summary>Jumps to an offset inside the part.</summary>
    public void MoveTo(long position) => Position = Math.Min(position, End);

    /// <summary>Reads a uvarint.</summary>
    /// <returns>False, without moving, if the bytes end early or the value exceeds 64 bits.</returns>
    public bool TryReadUvarint(out ulong value)
    {
        int at = 0;
        if (!Varint.TryRead(Peek(Varint.MaxBytes), ref at, out value)) return false;
        Position += at;
        return true;
    }

    /// <summary>Running checksum of all bytes up to the end, which it passes.</summary>
    /// <param name="state">As <see cref="Crc32C.Update"/> wants and gives it.</param>
    public uint CrcToEnd(uint state)
    {
        while (Remaining > 0)
        {
            ReadOnlySpan<byte> piece = Peek(_pieceBytes);
            state = Crc32C.Update(state, piece);
            Skip(piece.Length);
        }

        return state;
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer?.Dispose();
}
