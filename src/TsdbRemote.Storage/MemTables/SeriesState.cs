using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Storage.MemTables;

/// <summary>What a MemTable keeps of the floats of one series: two cache lines in native memory, touched only under the stripe's lock.</summary>
/// <remarks>
/// A series that is here has at least one in-order sample, and its newest stands in the open chunk: a full chunk is sealed
/// when the next sample comes, not before. So the builder's last time is the series' newest in-order time, always. A series
/// of histograms only is not here: they are a <see cref="HistogramState"/>, in a table of their own.
/// The end of the open chunk is here, and <see cref="OpenChunk"/> has what is before it: so most appends touch nothing but these two lines, which
/// lie beside those of the series' neighbours in the request.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SeriesState
{
    /// <summary>Encoder of the open chunk.</summary>
    public XorChunkBuilder Builder;

    /// <summary>The open chunk's first bytes, <see cref="Spilled"/> of them.</summary>
    public OpenChunk Open;

    /// <summary>The newest sealed chunk, or null; older ones hang on it.</summary>
    public SealedChunk* NewestSealed;

    /// <summary>Samples that came late, or null.</summary>
    public LateSamples* Late;

    /// <summary>Highest sequence of the log whose record touched this series here.</summary>
    public ulong Sequence;

    /// <summary>The open chunk's last bytes.</summary>
    public ChunkTail Tail;

    /// <summary>Bytes of the open chunk in <see cref="Open"/>.</summary>
    public int Spilled;
}

/// <summary>The last bytes of an open chunk, and room for the next sample.</summary>
[InlineArray(Bytes)]
internal struct ChunkTail
{
    /// <summary>What the state's other fields leave of two cache lines.</summary>
    public const int Bytes = 60;

    private byte _first;
}
