using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>Makes chunks of usual size of histograms that came late, each of which lies in a chunk of its own. Stateless.</summary>
internal static unsafe class LateHistograms
{
    /// <summary>Encodes late histograms.</summary>
    /// <remarks>
    /// Nothing is known of what came before the first, so its chunk does not say that counters went on. A reset that the sender named stays one: it
    /// stands in the header of its chunk, and nowhere else.
    /// </remarks>
    /// <param name="late">Ascending; the values are addresses of chunks.</param>
    /// <param name="windowMs">Width of the windows that no chunk crosses, ms.</param>
    /// <param name="rank">Rank of the chunks.</param>
    /// <param name="arena">Holds the bytes.</param>
    /// <param name="output">Receives the chunks behind what it holds already.</param>
    public static void Encode(ReadOnlySpan<Sample> late, long windowMs, long rank, NativeArena arena, List<SeriesChunk> output)
    {
        if (late.Length == 1)
        {
            output.Add(SealedChunk.Offer((SealedChunk*)late[0].ValueBits, rank));
            return;
        }

        var builder = new HistogramChunkBuilder(windowMs) { IsExact = true };
        var buffer = new HistogramReadBuffer();
        foreach (Sample sample in late)
        {
            SeriesChunk single = SealedChunk.Offer((SealedChunk*)sample.ValueBits, rank);
            var reader = new HistogramChunkReader(single.Data.Span, single.Encoding, buffer);
            bool isRead = reader.MoveNext();
            Invariant.Check(isRead, "a chunk of our own can be read");
            if (reader.Flags == HistogramChunkFlags.Reset) reader.Histogram.Hint = CounterResetHint.Reset;
            if (builder.TryAppend(sample.TimeMs, reader.Histogram)) continue;
            Emit(builder, rank, arena, output);
            builder.StartNext();
            bool isTaken = builder.TryAppend(sample.TimeMs, reader.Histogram);
            Invariant.Check(isTaken, "an empty chunk takes any histogram");
        }

        if (builder.Count > 0) Emit(builder, rank, arena, output);
    }

    private static void Emit(HistogramChunkBuilder builder, long rank, NativeArena arena, List<SeriesChunk> output)
    {
        NativeBytes copy = arena.Allocate(builder.ByteLength);
        builder.Bytes.CopyTo(copy.Span);
        output.Add(new SeriesChunk(builder.FirstTimeMs, builder.LastTimeMs, builder.Encoding, copy, rank));
    }
}
