using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Packs the merged chunks of one series for a block, as <see cref="ChunkEncodingChoice"/> says.</summary>
/// <remarks>
/// Float chunks that follow each other are decoded and encoded as one run, so that the small chunks of several flushes become full ones. So
/// are small chunks of histograms (<see cref="HistogramChunkJoin"/>); full ones go over as they are. Use: <see cref="Pack"/> series by
/// series. Not thread-safe.
/// </remarks>
internal sealed class ChunkPacker : IDisposable
{
    private const long ArenaBytesKept = 4 << 20;

    private readonly ChunkEncodingChoice _choice;
    private readonly long _windowMs;
    private readonly OptimalXorScratch _scratch = new();
    private readonly List<Sample> _samples = [];
    private readonly List<SeriesChunk> _packed = [];
    private NativeArena _arena = new();

    public ChunkPacker(ChunkEncodingChoice choice, long windowMs)
    {
        _choice = choice;
        _windowMs = windowMs;
    }

    /// <summary>The chunks to store; valid until the next call, and as long as those given.</summary>
    /// <param name="chunks">Ascending and disjoint.</param>
    public ReadOnlySpan<SeriesChunk> Pack(ReadOnlySpan<SeriesChunk> chunks)
    {
        if (_choice == ChunkEncodingChoice.Verbatim) return chunks;
        if (_arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena.Dispose();
            _arena = new NativeArena();
        }

        _packed.Clear();
        while (!chunks.IsEmpty)
        {
            int run = 0;
            while (run < chunks.Length && chunks[run].Encoding == ChunkEncoding.Xor) ChunkMerge.Decode(chunks[run++], _samples);
            if (run > 0) EncodeRun(chunks[run - 1].Rank);
            else if ((run = HistogramChunkJoin.RunOf(chunks)) > 0) HistogramChunkJoin.Join(chunks[..run], _arena, _packed);
            else _packed.Add(chunks[run++]);
            chunks = chunks[run..];
        }

        return CollectionsMarshal.AsSpan(_packed);
    }

    /// <inheritdoc/>
    public void Dispose() => _arena.Dispose();

    private void EncodeRun(long rank)
    {
        OptimalXorEncoder.EncodeAll(CollectionsMarshal.AsSpan(_samples), _windowMs, rank, _arena, _packed, _scratch);
        _samples.Clear();
    }
}
