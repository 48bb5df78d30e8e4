using TsdbRemote.Blocks.Encoding;
using ZstdSharp;

namespace TsdbRemote.Storage.Wire;

/// <summary>The one place that knows zstd: frames, in only (docs/decisions/0022). Stateless, thread-safe.</summary>
/// <remarks>
/// A frame may leave out how much it makes; then its blocks say how much at most, 128 KiB each. Nothing is rented before that has been held against the limit,
/// and against what so many bytes can hold of blocks.
/// Source: RFC 8878.
/// </remarks>
public static class ZstdFrame
{
    /// <summary>What one block makes at most, bytes.</summary>
    private const long BlockMakes = 128 << 10;

    /// <summary>Bytes of the smallest block that makes anything: a header of three, and the byte that it repeats.</summary>
    private const int BlockTakes = 4;

    [ThreadStatic]
    private static Decompressor? _decompressor;

    /// <summary>Holds the declared length against the limit and against what so many bytes can make at most; unpacks nothing.</summary>
    /// <param name="frame">The whole body: a frame, or several.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="length">Most bytes that it makes, if the answer is <see cref="CompressionStatus.Ok"/>; 0 otherwise.</param>
    public static CompressionStatus CheckLength(ReadOnlySpan<byte> frame, int maxDecoded, out int length)
    {
        length = 0;
        if (frame.IsEmpty) return CompressionStatus.Empty;
        ulong bound;
        try
        {
            bound = Decompressor.GetDecompressedSize(frame);
        }
        catch (ZstdException)
        {
            return CompressionStatus.Corrupt;
        }

        if (bound > (ulong)(frame.Length / BlockTakes * BlockMakes)) return CompressionStatus.Corrupt;
        if (bound > (ulong)Math.Max(maxDecoded, 0)) return CompressionStatus.TooLarge;
        length = (int)bound;
        return CompressionStatus.Ok;
    }

    /// <summary>Decompresses a body.</summary>
    /// <param name="frame">The whole body.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="raw">The decoded bytes, the caller's to dispose; null unless the answer is <see cref="CompressionStatus.Ok"/>.</param>
    public static CompressionStatus TryDecompress(ReadOnlySpan<byte> frame, int maxDecoded, out PooledBuffer? raw)
    {
        raw = null;
        CompressionStatus status = CheckLength(frame, maxDecoded, out int length);
        if (status != CompressionStatus.Ok) return status;
        PooledBuffer buffer = PooledBuffer.Rent(length, length);
        try
        {
            buffer.SetLength((_decompressor ??= new Decompressor()).Unwrap(frame, buffer.Span));
        }
        catch (ZstdException)
        {
            // Its state after an error is nobody's promise.
            _decompressor!.Dispose();
            _decompressor = null;
            buffer.Dispose();
            return CompressionStatus.Corrupt;
        }

        raw = buffer;
        return CompressionStatus.Ok;
    }
}
