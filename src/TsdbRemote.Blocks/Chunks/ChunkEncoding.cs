namespace TsdbRemote.Blocks.Chunks;

/// <summary>The encoding byte of a chunk, equal to the wire's Chunk.Encoding (prometheus: tsdb/chunkenc/chunk.go).</summary>
public enum ChunkEncoding : byte
{
    /// <summary>Invalid.</summary>
    None = 0,

    /// <summary>Gorilla XOR of float samples.</summary>
    Xor = 1,

    /// <summary>Integer native histograms.</summary>
    Histogram = 2,

    /// <summary>Float native histograms.</summary>
    FloatHistogram = 3,
}

/// <summary>What there is to say of encodings.</summary>
public static class ChunkEncodings
{
    /// <summary>Whether an encoding is one that every reader of blocks takes.</summary>
    public static bool IsKnown(ChunkEncoding encoding) =>
        encoding is ChunkEncoding.Xor or ChunkEncoding.Histogram or ChunkEncoding.FloatHistogram;
}
