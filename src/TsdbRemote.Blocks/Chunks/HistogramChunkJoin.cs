using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Makes fuller chunks of small histogram chunks that follow each other. Stateless; thread-safe.</summary>
/// <remarks>
/// Small is what has less than half of the bytes that a chunk is to have. A chunk whose header tells of a reset begins a run of its own, for
/// a reset that its sender named need not show in the counts. Where counters fall, or layouts change, the run is cut as when it was first
/// written.
/// </remarks>
public static class HistogramChunkJoin
{
    private const int SmallBytes = HistogramChunkSize.TargetBytes / 2;

    /// <summary>How many chunks from the first one on might become fewer; below 2 if there is nothing to do.</summary>
    /// <param name="chunks">Chunks of one series, ascending and disjoint.</param>
    public static int RunOf(ReadOnlySpan<SeriesChunk> chunks)
    {
        int run = 0;
        while (run < chunks.Length && IsSmall(chunks[run]) && chunks[run].Encoding == chunks[0].Encoding
               && (run == 0 || FlagsOf(chunks[run]) != HistogramChunkFlags.Reset))
            run++;
        return run;
    }

    /// <summary>Encodes a run as one, if that makes it fewer chunks; otherwise passes them on byte for byte.</summary>
    /// <param name="run">As many chunks as <see cref="RunOf"/> says.</param>
    /// <param name="arena">Holds the bytes of the new ones.</param>
    /// <param name="output">Receives the chunks behind what it holds already.</param>
    /// <exception cref="CorruptChunkException">A chunk is none, or does not span the times that its source says.</exception>
    public static void Join(ReadOnlySpan<SeriesChunk> run, NativeArena arena, List<SeriesChunk> output)
    {
        ArgumentNullException.ThrowIfNull(arena);
        ArgumentNullException.ThrowIfNull(output);
        int before = output.Count;
        if (run.Length > 1) Encode(run, arena, output);
        if (run.Length > 1 && output.Count - before < run.Length)
        {
            // The first sample is the first one still: what the header says of those before it holds as it did.
            output[before].Data.Span[HistogramChunkFormat.FlagsAt] = (byte)FlagsOf(run[0]);
            return;
        }

        output.RemoveRange(before, output.Count - before);
        output.AddRange(run);
    }

    private static bool IsSmall(in SeriesChunk chunk) =>
        chunk.Encoding is ChunkEncoding.Histogram or ChunkEncoding.FloatHistogram
        && chunk.Data.Length is >= HistogramChunkFormat.HeaderBytes and < SmallBytes;

    private static HistogramChunkFlags FlagsOf(in SeriesChunk chunk) =>
        (HistogramChunkFlags)(chunk.Data.Span[HistogramChunkFormat.FlagsAt] & HistogramChunkFormat.FlagsMask);

    private static void Encode(ReadOnlySpan<SeriesChunk> run, NativeArena arena, List<SeriesChunk> output)
    {
        long rank = long.MinValue;
        foreach (ref readonly SeriesChunk chunk in run) rank = Math.Max(rank, chunk.Rank);
        HistogramScratch scratch = HistogramScratch.Rent();
        try
        {
            scratch.Encoder.Begin(new MergeTarget(TimeRange.All, WindowMs: 0, rank, arena, output, ushort.MaxValue), isPart: false);
            foreach (ref readonly SeriesChunk chunk in run)
            {
                HistogramCursor cursor = scratch.Open(chunk);
                while (cursor.MoveNext()) scratch.Encoder.Append(cursor.TimeMs, cursor.Histogram);
                scratch.Close(0);
            }

            scratch.Encoder.End();
        }
        finally
        {
            scratch.Return();
        }
    }
}
