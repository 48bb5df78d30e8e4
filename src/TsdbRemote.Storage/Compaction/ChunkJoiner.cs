using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Makes full chunks of small ones, among the chunks that one series has in one window.</summary>
/// <remarks>
/// What it does:  small chunks of one kind that follow each other are decoded and encoded as one run, where that saves a chunk. What is full goes over
///                byte for byte. Of histograms <see cref="HistogramChunkJoin"/> says what is small.
/// Promise:       two float chunks that follow each other hold more samples together than one chunk may; so chunks are more than half full on average.
///                No chunk is encoded again for nothing: doing it twice changes nothing more.
/// Why not more:  to fill a chunk from the full one behind it would move every boundary up to the window's end, and have each merge encode everything
///                anew. A small chunk between two full ones costs some 30 bytes and waits for the conversion, which packs the series whole.
/// Use: <see cref="Join"/> series by series. Not thread-safe.
/// </remarks>
internal sealed class ChunkJoiner
{
    private readonly List<Sample> _samples = [];

    /// <summary>Joins the chunks of one series.</summary>
    /// <param name="chunks">Ascending and disjoint, all of one window.</param>
    /// <param name="arena">Holds the bytes of the chunks that are encoded.</param>
    /// <param name="output">Receives the chunks behind what it holds already.</param>
    /// <exception cref="CorruptChunkException">A small chunk is none, or does not span the times that its source says.</exception>
    public void Join(ReadOnlySpan<SeriesChunk> chunks, NativeArena arena, List<SeriesChunk> output)
    {
        int start = 0;
        while (start < chunks.Length)
        {
            int histograms = HistogramChunkJoin.RunOf(chunks[start..]);
            if (histograms > 0)
            {
                HistogramChunkJoin.Join(chunks.Slice(start, histograms), arena, output);
                start += histograms;
                continue;
            }

            int end = start;
            long samples = 0;
            while (end < chunks.Length && IsSmall(chunks[end])) samples += SSTableFormat.SamplesOf(chunks[end++].Data.Span);
            long needed = (samples + ChunkMerge.DefaultMaxSamples - 1) / ChunkMerge.DefaultMaxSamples;
            if (needed < end - start) Encode(chunks[start..end], arena, output);
            else output.AddRange(chunks[start..end]);
            if (end < chunks.Length) output.Add(chunks[end]);
            start = end + 1;
        }
    }

    private static bool IsSmall(in SeriesChunk chunk) =>
        chunk.Encoding == ChunkEncoding.Xor && SSTableFormat.SamplesOf(chunk.Data.Span) < ChunkMerge.DefaultMaxSamples;

    private void Encode(ReadOnlySpan<SeriesChunk> chunks, NativeArena arena, List<SeriesChunk> output)
    {
        long rank = chunks[0].Rank;
        _samples.Clear();
        foreach (ref readonly SeriesChunk chunk in chunks)
        {
            rank = Math.Max(rank, chunk.Rank);
            ChunkMerge.Decode(chunk, _samples);
        }

        ChunkMerge.Encode(CollectionsMarshal.AsSpan(_samples), windowMs: 0, rank, arena, output);
    }
}
