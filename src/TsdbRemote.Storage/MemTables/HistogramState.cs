using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Storage.MemTables;

/// <summary>What a MemTable keeps of the histograms of one series: one cache line in native memory, touched only under the stripe's lock.</summary>
/// <remarks>
/// A series that is here has a histogram that came in order, and its newest stands in the open chunk. Floats of the same series are a
/// <see cref="SeriesState"/>, which knows nothing of this.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct HistogramState
{
    /// <summary>The open chunk with what its builder needs to go on, as <see cref="HistogramChunkBuilder.SaveState"/> writes it.</summary>
    public byte* Open;

    /// <summary>The newest sealed chunk, or null; older ones hang on it.</summary>
    public SealedChunk* NewestSealed;

    /// <summary>Histograms that came late, or null: for each time the address of a <see cref="SealedChunk"/> with one histogram.</summary>
    public LateSamples* Late;

    /// <summary>Highest sequence of the log whose record touched the series' histograms here.</summary>
    public ulong Sequence;

    /// <summary>Time of the open chunk's first histogram, ms.</summary>
    public long FirstTimeMs;

    /// <summary>Time of the newest histogram that came in order, ms.</summary>
    public long LastTimeMs;

    /// <summary>Bytes of the block at <see cref="Open"/>.</summary>
    public int BlockBytes;

    /// <summary>Those of them that are written.</summary>
    public int StateBytes;

    /// <summary>Bytes of the chunk, the last of those written.</summary>
    public int ChunkBytes;

    /// <summary>Encoding of the open chunk.</summary>
    public ChunkEncoding Encoding;

    /// <summary>The open chunk's bytes.</summary>
    public readonly ReadOnlySpan<byte> OpenChunk => new(Open + StateBytes - ChunkBytes, ChunkBytes);
}
