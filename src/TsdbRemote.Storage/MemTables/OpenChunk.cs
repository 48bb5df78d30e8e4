using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>Head of the block that a series' open chunk grows in; the chunk's bytes follow it.</summary>
/// <remarks>
/// <code>┌ window end i64 ┬ block bytes i32 ┬ (4) ┬ chunk, room for the next sample … ┐   native byte order, in memory only</code>
/// The head shares its cache line with the sample count that each append writes. Starts small and moves to larger blocks, for
/// most of the memory of a MemTable is open chunks. Read and moved only under the stripe's lock.
/// </remarks>
[StructLayout(LayoutKind.Sequential, Size = HeadBytes)]
internal unsafe struct OpenChunk
{
    private const int HeadBytes = 16;
    private const int FirstBlockBytes = 64;

    /// <summary>Last instant of the window that the chunk must not leave, ms.</summary>
    public long WindowEndMs;

    private int _blockBytes;

    /// <summary>A block for a chunk whose first sample is at <paramref name="timeMs"/>.</summary>
    public static OpenChunk* Create(ChunkSlab slab, long timeMs, long windowMs)
    {
        var open = (OpenChunk*)slab.Allocate(FirstBlockBytes, out int blockBytes);
        open->WindowEndMs = TimeWindow.EndOf(timeMs, windowMs);
        open->_blockBytes = blockBytes;
        return open;
    }

    /// <summary>The chunk's bytes and the room behind them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Span<byte> DataOf(OpenChunk* open) => new(open + 1, open->_blockBytes - sizeof(OpenChunk));

    /// <summary>The chunk's bytes.</summary>
    public static ReadOnlySpan<byte> DataOf(OpenChunk* open, in XorChunkBuilder builder) => new(open + 1, builder.ByteLength);

    /// <summary>True if the next sample is sure to fit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool HasRoom(OpenChunk* open, in XorChunkBuilder builder) =>
        builder.ByteLength + XorChunkBuilder.AppendSlack <= open->_blockBytes - sizeof(OpenChunk);

    /// <summary>Moves to a block half as large again, and at least a step of the slab larger.</summary>
    public static OpenChunk* Grow(OpenChunk* open, in XorChunkBuilder builder, ChunkSlab slab)
    {
        int old = open->_blockBytes;
        int wanted = old + Math.Max(old / 2, ChunkSlab.Grain);
        var larger = (OpenChunk*)slab.Allocate(wanted, out int blockBytes);
        Unsafe.CopyBlock(larger, open, (uint)(sizeof(OpenChunk) + builder.ByteLength));
        larger->_blockBytes = blockBytes;
        Free(open, slab);
        return larger;
    }

    /// <summary>Gives the block back.</summary>
    public static void Free(OpenChunk* open, ChunkSlab slab) => slab.Free((byte*)open, open->_blockBytes);

    /// <summary>Time of the first sample in ms, from the chunk's own bytes; the chunk must not be empty.</summary>
    public static long FirstTimeOf(OpenChunk* open, in XorChunkBuilder builder)
    {
        int position = sizeof(ushort);
        bool read = Varint.TryReadZigZag(DataOf(open, builder), ref position, out long timeMs);
        Invariant.Check(read);
        return timeMs;
    }
}
