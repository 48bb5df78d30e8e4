using System.IO.Hashing;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Reads a table from its first byte on in pieces of 1 MiB, keeping the hash of all that was passed. Not thread-safe.</summary>
internal sealed class SequentialReader : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly FileSource _source;
    private readonly long _end;
    private readonly CancellationToken _cancel;
    private readonly XxHash3 _hash = new();
    private PooledBuffer? _buffer;
    private long _bufferStart;
    private int _bufferLength;

    /// <summary>Starts at the first byte.</summary>
    /// <param name="source">The table.</param>
    /// <param name="end">Where to stop.</param>
    /// <param name="cancel">Asked before each piece.</param>
    public SequentialReader(FileSource source, long end, CancellationToken cancel)
    {
        _source = source;
        _end = end;
        _cancel = cancel;
    }

    /// <summary>Offset of the next byte.</summary>
    public long Position { get; private set; }

    /// <summary>XXH3 of all bytes before <see cref="Position"/>.</summary>
    public ulong Hash => _hash.GetCurrentHashAsUInt64();

    /// <summary>The next bytes, without passing them.</summary>
    public ReadOnlySpan<byte> Peek(int length)
    {
        Invariant.Check(length <= _end - Position);
        int at = (int)(Position - _bufferStart);
        if (at + length > _bufferLength)
        {
            _cancel.ThrowIfCancellationRequested();
            _bufferStart = Position;
            _bufferLength = (int)Math.Min(Math.Max(PieceBytes, length), _end - Position);
            _source.Read(_bufferStart, _bufferLength, ref _buffer);
            at = 0;
        }

        return length == 0 ? default : _buffer!.Span.Slice(at, length);
    }

    /// <summary>The next bytes; valid until the next call.</summary>
    public ReadOnlySpan<byte> Take(int length)
    {
        ReadOnlySpan<byte> bytes = Peek(length);
        _hash.Append(bytes);
        Position += length;
        return bytes;
    }

    /// <summary>Passes all bytes up to an offset.</summary>
    public void SkipTo(long offset)
    {
        while (Position < offset) Take((int)Math.Min(PieceBytes, offset - Position));
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer?.Dispose();
}
