using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Storage.MemTables;

/// <summary>What a MemTable keeps of the floats of one series: one cache line in native memory, touched only under the stripe's lock.</summary>
/// <remarks>
/// A series that is here has at least one in-order sample, and its newest stands in the open chunk: a full chunk is sealed
/// when the next sample comes, not before. So the builder's last time is the series' newest in-order time, always. A series
/// of histograms only is not here: they are a <see cref="HistogramState"/>, in a table of their own.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SeriesState
{
    /// <summary>Encoder of the open chunk; its bytes are in <see cref="Open"/>.</summary>
    public XorChunkBuilder Builder;

    /// <summary>The open chunk's block.</summary>
    public OpenChunk Open;

    /// <summary>The newest sealed chunk, or null; older ones hang on it.</summary>
    public SealedChunk* NewestSealed;

    /// <summary>Samples that came late, or null.</summary>
    public LateSamples* Late;

    /// <summary>Highest sequence of the log whose record touched this series here.</summary>
    public ulong Sequence;
}
