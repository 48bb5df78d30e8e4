using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Reading;

/// <summary>Makes full chunks of very small ones that follow each other, for an answer of chunks; every other chunk goes out as it is, byte for byte.</summary>
/// <remarks>
/// A series that was flushed often has a chunk in each table, of a sample at worst: twice the bytes around each that it has itself, and as many chunks for the reader to open.
/// A chunk of usual size is never decoded, nor is a small one that stands alone.
/// Use: <see cref="Join"/> series by series. Not thread-safe.
/// </remarks>
public sealed unsafe class StreamedChunks : IDisposable
{
    private const long ArenaBytesKept = 1 << 20;

    /// <summary>Samples below which a chunk is very small.</summary>
    private const int SmallSamples = 16;

    /// <summary>Chunks joined at once: what is decoded of them counts in no budget.</summary>
    private const int MaxRun = 1024;

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
        bool isChanged = false;
        int passed = 0;
        for (int start = 0; start < chunks.Length;)
        {
            int run = DecodeRun(chunks[start..]);
            if (run > 1)
            {
                if (!isChanged) Begin();
                isChanged = true;
                _joined.AddRange(chunks[passed..start]);
                ChunkMerge.Encode(CollectionsMarshal.AsSpan(_samples), windowMs: 0, chunks[start].Rank, _arena!, _joined);
                passed = start + run;
            }

            start += Math.Max(run, 1);
        }

        if (!isChanged) return chunks;
        _joined.AddRange(chunks[passed..]);
        return CollectionsMarshal.AsSpan(_joined);
    }

    /// <inheritdoc/>
    public void Dispose() => _arena?.Dispose();

    private void Begin()
    {
        _joined.Clear();
        if (_arena is not null && _arena.AllocatedBytes <= ArenaBytesKept) return;
        _arena?.Dispose();
        _arena = new NativeArena(64 << 10);
    }

    /// <summary>Decodes small chunks up to the first that is not small, if they are two or more, and no more than <see cref="MaxRun"/>.</summary>
    /// <returns>How many they are.</returns>
    private int DecodeRun(ReadOnlySpan<SeriesChunk> chunks)
    {
        _samples.Clear();
        int run = 0;
        for (; run < chunks.Length && run < MaxRun && IsSmall(chunks[run]); run++)
        {
            if (run + Ahead < chunks.Length) Prefetch.Near(chunks[run + Ahead].Data.Pointer);
            if (run == 1) ChunkMerge.Decode(chunks[0], _samples);
            if (run > 0) ChunkMerge.Decode(chunks[run], _samples);
        }

        return run;
    }

    private static bool IsSmall(in SeriesChunk chunk) => chunk.Encoding == ChunkEncoding.Xor && SegmentFormat.SamplesOf(chunk.Data.Span) < SmallSamples;
}
