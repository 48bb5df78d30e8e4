using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.Wire;

/// <summary>How a write request's body is packed.</summary>
public enum Compression
{
    /// <summary>A snappy block: what remote write asks for.</summary>
    Snappy,

    /// <summary>A zstd frame: what VictoriaMetrics' agents prefer.</summary>
    Zstd,
}

/// <summary>What became of a body that should be a snappy block or a zstd frame.</summary>
public enum CompressionStatus
{
    /// <summary>It is whole.</summary>
    Ok,

    /// <summary>No bytes at all. An empty message is a snappy block of the one byte 00.</summary>
    Empty,

    /// <summary>Snappy's framed (stream) format, which remote write and remote read do not use.</summary>
    Framed,

    /// <summary>The declared length exceeds the limit.</summary>
    TooLarge,

    /// <summary>Not what it should be, or one whose declared length is not what it makes.</summary>
    Corrupt,
}

/// <summary>Unpacks bodies, however they are packed. Stateless, thread-safe.</summary>
public static class PackedBody
{
    /// <summary>Holds the declared length against the limit and against what so many bytes can make at most; unpacks nothing.</summary>
    /// <param name="compression">How it is packed.</param>
    /// <param name="body">The whole body.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="length">Most bytes that it makes, if the answer is <see cref="CompressionStatus.Ok"/>; 0 otherwise.</param>
    public static CompressionStatus CheckLength(Compression compression, ReadOnlySpan<byte> body, int maxDecoded, out int length) => compression == Compression.Zstd
        ? ZstdFrame.CheckLength(body, maxDecoded, out length)
        : SnappyBlock.CheckLength(body, maxDecoded, out length);

    /// <summary>Unpacks a body.</summary>
    /// <param name="compression">How it is packed.</param>
    /// <param name="body">The whole body.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="raw">The decoded bytes, the caller's to dispose; null unless the answer is <see cref="CompressionStatus.Ok"/>.</param>
    public static CompressionStatus TryUnpack(Compression compression, ReadOnlySpan<byte> body, int maxDecoded, out PooledBuffer? raw) => compression == Compression.Zstd
        ? ZstdFrame.TryDecompress(body, maxDecoded, out raw)
        : SnappyBlock.TryDecompress(body, maxDecoded, out raw);
}
