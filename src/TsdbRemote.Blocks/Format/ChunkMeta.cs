namespace TsdbRemote.Blocks.Format;

/// <summary>What the index says about one chunk of a series.</summary>
/// <param name="MinTimeMs">Time of its first sample, ms since the epoch.</param>
/// <param name="MaxTimeMs">Time of its last sample, ms since the epoch; not before the first.</param>
/// <param name="Reference">Where its record begins: number of the segment, from 0, in the upper 32 bits, offset in that file in the lower.</param>
public readonly record struct ChunkMeta(long MinTimeMs, long MaxTimeMs, ulong Reference)
{
    /// <summary>Number of the segment, from 0: file <c>000001</c> is 0.</summary>
    public int Segment => (int)(Reference >> 32);

    /// <summary>Offset of the record in its segment, bytes.</summary>
    public uint Offset => (uint)Reference;
}
