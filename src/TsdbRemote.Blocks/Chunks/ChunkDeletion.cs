using System.Buffers;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Takes deleted samples out of a chunk. Stateless; thread-safe.</summary>
public static class ChunkDeletion
{
    /// <summary>Encodes what is left of a chunk.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="deleted">Intervals, ascending and disjoint.</param>
    /// <param name="arena">Holds the bytes of the rest.</param>
    /// <param name="output">
    /// Receives the rest, if there is any, behind what it holds already: mostly one chunk, as readers count on the writer's choice of length.
    /// </param>
    /// <exception cref="CorruptChunkException">The bytes are no chunk, or do not span the times that their source says.</exception>
    public static void AddRest(in SeriesChunk chunk, ReadOnlySpan<TimeRange> deleted, NativeArena arena, List<SeriesChunk> output)
    {
        ArgumentNullException.ThrowIfNull(arena);
        ArgumentNullException.ThrowIfNull(output);
        if (chunk.Encoding == ChunkEncoding.Xor) AddFloats(chunk, deleted, arena, output);
        else AddHistograms(chunk, deleted, arena, output);
    }

    private static void AddFloats(in SeriesChunk chunk, ReadOnlySpan<TimeRange> deleted, NativeArena arena, List<SeriesChunk> output)
    {
        int count = ChunkMerge.CountOf(chunk);
        Sample[] rented = ArrayPool<Sample>.Shared.Rent(count);
        try
        {
            Span<Sample> samples = rented.AsSpan(0, count);
            ChunkMerge.DecodeInto(chunk, samples);
            int kept = 0;
            foreach (Sample sample in samples)
            {
                if (!IsDeleted(sample.TimeMs, ref deleted)) samples[kept++] = sample;
            }

            ChunkMerge.Encode(samples[..kept], windowMs: 0, chunk.Rank, arena, output, ushort.MaxValue);
        }
        finally
        {
            ArrayPool<Sample>.Shared.Return(rented);
        }
    }

    private static void AddHistograms(in SeriesChunk chunk, ReadOnlySpan<TimeRange> deleted, NativeArena arena, List<SeriesChunk> output)
    {
        int before = output.Count;
        HistogramScratch scratch = HistogramScratch.Rent();
        try
        {
            scratch.Encoder.Begin(new MergeTarget(TimeRange.All, WindowMs: 0, chunk.Rank, arena, output, ushort.MaxValue), isPart: true);
            HistogramCursor cursor = scratch.Open(chunk);
            while (cursor.MoveNext())
            {
                if (!IsDeleted(cursor.TimeMs, ref deleted)) scratch.Encoder.Append(cursor.TimeMs, cursor.Histogram);
            }

            scratch.Encoder.End();
        }
        catch
        {
            output.RemoveRange(before, output.Count - before);
            throw;
        }
        finally
        {
            scratch.Return();
        }
    }

    /// <summary>Times are asked for in their order; intervals that lie behind are let go.</summary>
    private static bool IsDeleted(long timeMs, ref ReadOnlySpan<TimeRange> deleted)
    {
        while (!deleted.IsEmpty && deleted[0].MaxMs < timeMs) deleted = deleted[1..];
        return !deleted.IsEmpty && deleted[0].MinMs <= timeMs;
    }
}
