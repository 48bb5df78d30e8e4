using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.MemTables;

/// <summary>The block that a series' open chunk grows in: where it is and how long, in one word of the series' state.</summary>
/// <remarks>
/// <code>bits 0..47 address │ 48..63 length in steps of the slab</code>
/// So an append touches the state's cache line and the one where the chunk ends, and no head of the block. For the same reason the count that a chunk begins
/// with is not kept up: <see cref="DataOf"/> writes it. Starts small and moves to larger blocks, for most of the memory of a MemTable is open chunks. Used
/// only under the stripe's lock, but for <see cref="EndOf"/>.
/// </remarks>
internal readonly unsafe struct OpenChunk
{
    private const int AddressBits = 48;
    private const ulong AddressMask = (1UL << AddressBits) - 1;
    private const int FirstBlockBytes = 64;

    private readonly ulong _word;

    private OpenChunk(byte* block, int blockBytes)
    {
        // User space ends below 2^48 unless a process asks for addresses beyond it; chunks of a MemTable have some kilobytes at most.
        Invariant.Check((ulong)block <= AddressMask && blockBytes / ChunkSlab.Grain <= ushort.MaxValue, "a block's address and length fit one word");
        _word = (ulong)block | ((ulong)(blockBytes / ChunkSlab.Grain) << AddressBits);
    }

    /// <summary>The chunk's bytes and the room behind them; the first two are not written yet.</summary>
    public Span<byte> Room
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Block, BlockBytes);
    }

    private byte* Block => (byte*)(_word & AddressMask);

    private int BlockBytes => (int)(_word >> AddressBits) * ChunkSlab.Grain;

    /// <summary>A block for a new chunk.</summary>
    public static OpenChunk Create(ChunkSlab slab)
    {
        byte* block = slab.Allocate(FirstBlockBytes, out int blockBytes);
        return new OpenChunk(block, blockBytes);
    }

    /// <summary>The chunk, complete.</summary>
    public ReadOnlySpan<byte> DataOf(in XorChunkBuilder builder)
    {
        builder.WriteCount(Room);
        return new ReadOnlySpan<byte>(Block, builder.ByteLength);
    }

    /// <summary>Where the next sample will be written. An address to be fetched, which may be stale: not to be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* EndOf(in XorChunkBuilder builder) => Block + builder.ByteLength;

    /// <summary>True if the next sample is sure to fit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasRoom(in XorChunkBuilder builder) => builder.ByteLength + XorChunkBuilder.AppendSlack <= BlockBytes;

    /// <summary>Moves to a block a quarter larger, and at least a step of the slab.</summary>
    public OpenChunk Grow(in XorChunkBuilder builder, ChunkSlab slab)
    {
        int wanted = BlockBytes + Math.Max(BlockBytes / 4, ChunkSlab.Grain);
        byte* larger = slab.Allocate(wanted, out int blockBytes);
        var grown = new OpenChunk(larger, blockBytes);
        Unsafe.CopyBlock(larger, Block, (uint)builder.ByteLength);
        Free(slab);
        return grown;
    }

    /// <summary>Gives the block back.</summary>
    public void Free(ChunkSlab slab) => slab.Free(Block, BlockBytes);

    /// <summary>Time of the first sample in ms, from the chunk's own bytes; the chunk must not be empty.</summary>
    public long FirstTimeOf(in XorChunkBuilder builder)
    {
        int position = sizeof(ushort);
        bool read = Varint.TryReadZigZag(new ReadOnlySpan<byte>(Block, builder.ByteLength), ref position, out long timeMs);
        Invariant.Check(read);
        return timeMs;
    }
}
