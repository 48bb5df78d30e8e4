using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Packs the merged chunks of one series for a block, as <see cref="ChunkEncodingChoice"/> says.</summary>
/// <remarks>
/// Float chunks that follow each other are decoded and encoded as one run, so that the small chunks of several flushes become full ones. What is
/// no float chunk goes over as it is. Use: <see cref="Pack"/> series by series. Not thread-safe.
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
        foreach (ref readonly SeriesChunk chunk in chunks)
        {
            if (chunk.Encoding == ChunkEncoding.Xor)
            {
                ChunkMerge.Decode(chunk, _samples);
                continue;
            }

            EncodeRun(chunk.Rank);
            _packed.Add(chunk);
        }

        EncodeRun(chunks[^1].Rank);
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
