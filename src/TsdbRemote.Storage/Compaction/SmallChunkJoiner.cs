using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Makes full chunks of small ones of one kind that follow each other; every other chunk goes over as it is, byte for byte.</summary>
/// <remarks>
/// Small is what is less than half full by samples and by bytes (of histograms: see <see cref="HistogramChunkJoin"/>), so a sample is encoded
/// anew about once each time that ranges grow beyond its chunk, and not again once that is half full. A join may span any time: chunks of blocks need not end with a window.
/// Use: <see cref="Join"/> series by series. Not thread-safe.
/// </remarks>
internal sealed class SmallChunkJoiner : IDisposable
{
    private const long ArenaBytesKept = 4 << 20;

    private readonly ChunkEncodingChoice _choice;
    private readonly OptimalXorScratch _scratch = new();
    private readonly List<Sample> _samples = [];
    private readonly List<SeriesChunk> _joined = [];
    private NativeArena _arena = new();

    /// <summary>A joiner that fills chunks as an option says.</summary>
    public SmallChunkJoiner(ChunkEncodingChoice choice) => _choice = choice;

    private int FullSamples => _choice == ChunkEncodingChoice.Optimal ? OptimalXorEncoder.DefaultMaxSamples : ChunkMerge.DefaultMaxSamples;

    /// <summary>The chunks to store; valid until the next call, and as long as those given.</summary>
    /// <param name="chunks">Ascending and disjoint.</param>
    /// <exception cref="CorruptChunkException">A small chunk is none.</exception>
    public ReadOnlySpan<SeriesChunk> Join(ReadOnlySpan<SeriesChunk> chunks)
    {
        if (_arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena.Dispose();
            _arena = new NativeArena();
        }

        _joined.Clear();
        while (!chunks.IsEmpty)
        {
            int run = HistogramChunkJoin.RunOf(chunks);
            if (run > 0)
            {
                HistogramChunkJoin.Join(chunks[..run], _arena, _joined);
            }
            else
            {
                while (run < chunks.Length && IsSmall(chunks[run])) run++;
                if (run > 1) JoinRun(chunks[..run]);
                else _joined.Add(chunks[0]);
            }

            chunks = chunks[Math.Max(run, 1)..];
        }

        return CollectionsMarshal.AsSpan(_joined);
    }

    /// <inheritdoc/>
    public void Dispose() => _arena.Dispose();

    private bool IsSmall(in SeriesChunk chunk) =>
        chunk.Encoding == ChunkEncoding.Xor && SegmentFormat.SamplesOf(chunk.Data.Span) < FullSamples / 2 && chunk.Data.Length < OptimalXorEncoder.DefaultMaxBytes / 2;

    private void JoinRun(ReadOnlySpan<SeriesChunk> run)
    {
        _samples.Clear();
        foreach (ref readonly SeriesChunk chunk in run) ChunkMerge.Decode(chunk, _samples);
        int before = _joined.Count;
        if (_choice == ChunkEncodingChoice.Optimal) OptimalXorEncoder.EncodeAll(CollectionsMarshal.AsSpan(_samples), windowMs: 0, run[0].Rank, _arena, _joined, _scratch);
        else ChunkMerge.Encode(CollectionsMarshal.AsSpan(_samples), windowMs: 0, run[0].Rank, _arena, _joined);
        if (_joined.Count - before < run.Length) return;

        // The limit of bytes cut it as before: no reason to touch what is stored.
        CollectionsMarshal.SetCount(_joined, before);
        _joined.AddRange(run);
    }
}
