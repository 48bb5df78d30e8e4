using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>Head of a finished chunk; its bytes follow in the same block. Written once, then read without a lock.</summary>
/// <remarks>
/// <code>
/// ┌ older ptr ┬ min i64 ┬ max i64 ┬ jump ptr ┬ encoding 2 bits, length 30 bits ┬ depth i32 ┬ chunk bytes ┐   native byte order, in memory only
/// </code>
/// A series' chunks form a stack, newest on top, ascending and disjoint in time. Each also points to one far below it, by the
/// skew-binary rule of Myers, "An applicative random-access stack" (1983): pushing costs O(1), finding a time O(log n). Without
/// it a sender that repeats a year of one series would walk tens of thousands of chunks for each sample, under the lock.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SealedChunk
{
    // A block has 1 GiB at most, and encodings are 1 to 3.
    private const int LengthBits = 30;
    private const uint LengthMask = (1u << LengthBits) - 1;

    /// <summary>The chunk before this one, or null.</summary>
    public SealedChunk* Older;

    /// <summary>Time of the first sample, ms.</summary>
    public long MinTimeMs;

    /// <summary>Time of the last sample, ms.</summary>
    public long MaxTimeMs;

    private SealedChunk* _jump;
    private uint _encodingAndLength;
    private int _depth;

    /// <summary>Copies a chunk into a block that fits and puts it on top of a stack.</summary>
    /// <remarks>Always a copy: a chunk seldom fills the block that it grew in, and 200 bytes each 120 samples cost nothing.</remarks>
    /// <param name="older">The top so far, or null.</param>
    /// <param name="data">The chunk's bytes.</param>
    /// <param name="encoding">Their encoding.</param>
    /// <param name="minTimeMs">Time of the first sample, ms.</param>
    /// <param name="maxTimeMs">Time of the last sample, ms.</param>
    /// <param name="slab">Where blocks come from.</param>
    public static SealedChunk* Push(
        SealedChunk* older, ReadOnlySpan<byte> data, ChunkEncoding encoding, long minTimeMs, long maxTimeMs, ChunkSlab slab)
    {
        var chunk = (SealedChunk*)slab.Allocate(sizeof(SealedChunk) + data.Length, out _);
        chunk->Older = older;
        chunk->_jump = JumpAbove(older);
        chunk->_depth = DepthOf(older) + 1;
        chunk->MinTimeMs = minTimeMs;
        chunk->MaxTimeMs = maxTimeMs;
        chunk->_encodingAndLength = (uint)encoding << LengthBits | (uint)data.Length;
        data.CopyTo(new Span<byte>(chunk + 1, data.Length));
        return chunk;
    }

    /// <summary>The chunk's bytes.</summary>
    public static NativeBytes DataOf(SealedChunk* chunk) => new((byte*)(chunk + 1), (int)(chunk->_encodingAndLength & LengthMask));

    /// <summary>The chunk as a reader is given it.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="rank">Rank of its source.</param>
    public static SeriesChunk Offer(SealedChunk* chunk, long rank) =>
        new(chunk->MinTimeMs, chunk->MaxTimeMs, (ChunkEncoding)(chunk->_encodingAndLength >> LengthBits), DataOf(chunk), rank);

    /// <summary>Appends the chunks that overlap a range, ascending.</summary>
    public static void Collect(SealedChunk* newest, TimeRange range, long rank, List<SeriesChunk> output)
    {
        int first = output.Count;
        SealedChunk* chunk = FindNewest(newest, range.MaxMs);
        for (; chunk != null && chunk->MaxTimeMs >= range.MinMs; chunk = chunk->Older) output.Add(Offer(chunk, rank));
        output.Reverse(first, output.Count - first);
    }

    /// <summary>True if some chunk overlaps a window, none of which crosses its bounds.</summary>
    public static bool Any(SealedChunk* newest, TimeRange window)
    {
        SealedChunk* chunk = FindNewest(newest, window.MaxMs);
        return chunk != null && chunk->MaxTimeMs >= window.MinMs;
    }

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
