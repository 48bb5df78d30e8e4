using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.MemTables;

/// <summary>Head of a finished chunk; its bytes follow in the same block. Written once, then read without a lock.</summary>
/// <remarks>
/// <code>┌ older ptr ┬ jump ptr ┬ min i64 ┬ max i64 ┬ length i32 ┬ depth i32 ┬ chunk bytes ┐   native byte order, in memory only</code>
/// A series' chunks form a stack, newest on top, ascending and disjoint in time. Each also points to one far below it, by the
/// skew-binary rule of Myers, "An applicative random-access stack" (1983): pushing costs O(1), finding a time O(log n). Without
/// it a sender that repeats a year of one series would walk tens of thousands of chunks for each sample, under the lock.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SealedChunk
{
    /// <summary>The chunk before this one, or null.</summary>
    public SealedChunk* Older;

    /// <summary>Time of the first sample, ms.</summary>
    public long MinTimeMs;

    /// <summary>Time of the last sample, ms.</summary>
    public long MaxTimeMs;

    private SealedChunk* _jump;
    private int _length;
    private int _depth;

    /// <summary>Copies the open chunk into a block that fits and puts it on top of the stack. The open block stays the caller's.</summary>
    /// <remarks>Always a copy: a chunk seldom fills the block that it grew in, and 200 bytes each 120 samples cost nothing.</remarks>
    public static SealedChunk* Push(in SeriesState state, ChunkSlab slab)
    {
        ReadOnlySpan<byte> data = OpenChunk.DataOf(state.Open, state.Builder);
        var chunk = (SealedChunk*)slab.Allocate(sizeof(SealedChunk) + data.Length, out _);
        SealedChunk* older = state.NewestSealed;
        chunk->Older = older;
        chunk->_jump = JumpAbove(older);
        chunk->_depth = DepthOf(older) + 1;
        chunk->MinTimeMs = OpenChunk.FirstTimeOf(state.Open, state.Builder);
        chunk->MaxTimeMs = state.Builder.LastTimeMs;
        chunk->_length = data.Length;
        data.CopyTo(new Span<byte>(chunk + 1, data.Length));
        return chunk;
    }

    /// <summary>The chunk's bytes.</summary>
    public static NativeBytes DataOf(SealedChunk* chunk) => new((byte*)(chunk + 1), chunk->_length);

    /// <summary>The newest chunk that begins at <paramref name="timeMs"/> or before; null if none does.</summary>
    public static SealedChunk* FindNewest(SealedChunk* newest, long timeMs)
    {
        SealedChunk* chunk = newest;
        while (chunk != null && chunk->MinTimeMs > timeMs)
        {
            SealedChunk* jump = chunk->_jump;
            chunk = jump != null && jump->MinTimeMs > timeMs ? jump : chunk->Older;
        }

        return chunk;
    }

    /// <summary>Value bits of the sample at exactly <paramref name="timeMs"/>.</summary>
    /// <param name="data">The bytes of a chunk of ours.</param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="valueBits">The bits, if found.</param>
    /// <exception cref="InvariantViolatedException">The bytes are no chunk: our own memory is damaged.</exception>
    public static bool TryFindValue(ReadOnlySpan<byte> data, long timeMs, out ulong valueBits)
    {
        var reader = new XorChunkReader(data);
        while (reader.MoveNext())
        {
            if (reader.TimeMs < timeMs) continue;
            valueBits = reader.ValueBits;
            return reader.TimeMs == timeMs;
        }

        Invariant.Check(!reader.IsCorrupt);
        valueBits = 0;
        return false;
    }

    private static SealedChunk* JumpAbove(SealedChunk* top)
    {
        if (top == null) return null;
        SealedChunk* jump = top->_jump;
        SealedChunk* jumpTwice = jump == null ? null : jump->_jump;
        bool equalSteps = top->_depth - DepthOf(jump) == DepthOf(jump) - DepthOf(jumpTwice);
        return equalSteps ? jumpTwice : top;
    }

    private static int DepthOf(SealedChunk* chunk) => chunk == null ? 0 : chunk->_depth;
}
