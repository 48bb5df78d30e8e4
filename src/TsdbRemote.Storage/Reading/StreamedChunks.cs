using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Reading;

/// <summary>Makes full chunks of very small ones that follow each other, for an answer of chunks; every other chunk goes out as it is, byte for byte.</summary>
/// <remarks>
/// A series that was flushed often has a chunk in each table, of a sample at worst: its labels' worth of bytes for each, and as many chunks for the reader to open. A chunk of
/// usual size is never decoded, nor is a small one that stands alone.
/// Use: <see cref="Join"/> series by series. Not thread-safe.
/// </remarks>
public sealed unsafe class StreamedChunks : IDisposable
{
    private const long ArenaBytesKept = 1 << 20;

    /// <summary>Samples below which a chunk is very small.</summary>
    private const int SmallSamples = 16;

    /// <summary>Chunks between the one looked at and the one fetched: each may lie in a file of its own.</summary>
    private const int Ahead = 16;

    private readonly List<Sample> _samples = [];
    private readonly List<SeriesChunk> _joined = [];
    private NativeArena? _arena;

    /// <summary>The chunks to send; valid until the next call, and as long as those given.</summary>
    /// <param name="chunks">Ascending and disjoint.</param>
    /// <exception cref="CorruptChunkException">A small chunk is none.</exception>
    public ReadOnlySpan<SeriesChunk> Join(ReadOnlySpan<SeriesChunk> chunks)
    {
        int start = FirstRun(chunks, 0, out int end);
        if (start == chunks.Length) return chunks;
        if (_arena is null || _arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena?.Dispose();
            _arena = new NativeArena(64 << 10);
        }

        _joined.Clear();
        int passed = 0;
        while (start < chunks.Length)
        {
            _joined.AddRange(chunks[passed..start]);
            JoinRun(chunks[start..end]);
            passed = end;
            start = FirstRun(chunks, passed, out end);
        }

        _joined.AddRange(chunks[passed..]);
        return CollectionsMarshal.AsSpan(_joined);
    }

    /// <inheritdoc/>
    public void Dispose() => _arena?.Dispose();

    /// <summary>Where two small chunks or more follow each other; the length of all if they nowhere do.</summary>
    private static int FirstRun(ReadOnlySpan<SeriesChunk> chunks, int from, out int end)
    {
        end = from;
        for (int start = from; start < chunks.Length; start = end + 1)
        {
            end = start;
            while (end < chunks.Length)
            {
                if (end + Ahead < chunks.Length) Prefetch.Near(chunks[end + Ahead].Data.Pointer);
                if (!IsSmall(chunks[end])) break;
                end++;
            }

            if (end - start > 1) return start;
        }

        return chunks.Length;
    }

    private static bool IsSmall(in SeriesChunk chunk) => chunk.Encoding == ChunkEncoding.Xor && SegmentFormat.SamplesOf(chunk.Data.Span) < SmallSamples;

    private void JoinRun(ReadOnlySpan<SeriesChunk> run)
    {
        _samples.Clear();
        foreach (ref readonly SeriesChunk chunk in run) ChunkMerge.Decode(chunk, _samples);
        ChunkMerge.Encode(CollectionsMarshal.AsSpan(_samples), windowMs: 0, run[0].Rank, _arena!, _joined);
    }
}
