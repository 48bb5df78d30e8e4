using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.MemTables;

/// <summary>A series' open chunk: its end in the state, where samples are appended, and all before it in a block that grows. The block's place and length are one word.</summary>
/// <remarks>
/// <code>
/// word     bits 0..47 address │ 48..63 length in steps of the slab       0: no block yet
/// chunk    block: bytes 0 to Spilled │ state's tail: the rest
/// </code>
/// An append writes the tail only, for each block of each series is a page of its own to the processor, and its walk through the page tables was the dearest
/// part of an append. Once in seven samples or so the tail spills into the block. For the same reason the count that a chunk begins with is not
/// kept up: <see cref="CopyTo"/> writes it. Used only under the stripe's lock, but for <see cref="PrefetchEnd"/>.
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

    private byte* Block => (byte*)(_word & AddressMask);

    private int BlockBytes => (int)(_word >> AddressBits) * ChunkSlab.Grain;

    /// <summary>Appends a sample to the open chunk, whose last one is older.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Append(SeriesState* state, ChunkSlab slab, long timeMs, ulong valueBits)
    {
        if (state->Builder.ByteLength - state->Spilled + XorChunkBuilder.AppendSlack > ChunkTail.Bytes) Spill(state, slab);
        state->Builder.AppendUncounted(TailOf(state), state->Spilled, timeMs, valueBits);
    }

    /// <summary>Copies the chunk, complete.</summary>
    /// <param name="state">The series.</param>
    /// <param name="target">As long as the chunk.</param>
    public static void CopyTo(SeriesState* state, Span<byte> target)
    {
        new ReadOnlySpan<byte>(state->Open.Block, state->Spilled).CopyTo(target);
        TailOf(state)[..(state->Builder.ByteLength - state->Spilled)].CopyTo(target[state->Spilled..]);
        state->Builder.WriteCount(target);
    }

    /// <summary>Begins a new chunk.</summary>
    /// <param name="state">The series, whose chunk is not needed any more.</param>
    /// <param name="slab">Takes the block back.</param>
    public static void Begin(SeriesState* state, ChunkSlab slab)
    {
        if (state->Open._word != 0) slab.Free(state->Open.Block, state->Open.BlockBytes);
        state->Open = default;
        state->Spilled = 0;
        state->Builder = default;
    }

    /// <summary>Time of the first sample in ms, from the chunk's own bytes; the chunk must not be empty.</summary>
    public static long FirstTimeOf(SeriesState* state)
    {
        // The first spill takes far more than the first time.
        ReadOnlySpan<byte> first = state->Spilled > 0
            ? new ReadOnlySpan<byte>(state->Open.Block, state->Spilled)
            : TailOf(state)[..state->Builder.ByteLength];
        int position = sizeof(ushort);
        bool read = Varint.TryReadZigZag(first, ref position, out long timeMs);
        Invariant.Check(read);
        return timeMs;
    }

    /// <summary>Has the processor fetch the end of the block if the next sample may need it. A hint, from a state that may change meanwhile.</summary>
    public static void PrefetchEnd(SeriesState* state)
    {
        int spilled = state->Spilled;
        if (state->Builder.ByteLength - spilled + XorChunkBuilder.AppendSlack > ChunkTail.Bytes) Prefetch.Near(state->Open.Block + spilled);
    }

    /// <summary>Moves all whole bytes of the tail to the block.</summary>
    private static void Spill(SeriesState* state, ChunkSlab slab)
    {
        int whole = state->Builder.WholeBytes;
        if (whole > state->Open.BlockBytes) state->Open = state->Open.Grow(state->Spilled, whole, slab);
        Span<byte> tail = TailOf(state);
        int moved = whole - state->Spilled;
        tail[..moved].CopyTo(new Span<byte>(state->Open.Block + state->Spilled, moved));
        tail[0] = tail[moved]; // the byte that the next sample goes on in
        state->Spilled = whole;
    }

    /// <summary>Moves to a block of at least so many bytes, a quarter larger than this one.</summary>
    private OpenChunk Grow(int used, int least, ChunkSlab slab)
    {
        int wanted = Math.Max(Math.Max(least, FirstBlockBytes), BlockBytes + BlockBytes / 4);
        byte* larger = slab.Allocate(wanted, out int blockBytes);
        var grown = new OpenChunk(larger, blockBytes);
        if (_word == 0) return grown;
        Unsafe.CopyBlock(larger, Block, (uint)used);
        slab.Free(Block, BlockBytes);
        return grown;
    }

    private static Span<byte> TailOf(SeriesState* state) => state->Tail;
}
