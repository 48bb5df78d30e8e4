using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Fits a histogram and a chunk to common spans. Belongs to one builder, which makes it when a layout changes for the first time.</summary>
/// <remarks>
/// Which spans that are decides over the chunk's bytes, so it is done as Prometheus does: the histogram's own, as they came, if it has all buckets of the
/// chunk; the chunk's, if the chunk has all of the histogram's; otherwise those of both together, as short as they can be. Of counters each side is
/// judged by itself once the chunk is to be rewritten; of gauges the shortest spans of both sides come in as soon as one side of the histogram lacks any.
/// <para>
/// One thing is not done as Prometheus 3.5 does it: where a counter both has new buckets and lacks empty ones of its chunk, that release loses the place of
/// the empty ones and writes spans that step back. Later releases write what is written here.
/// </para>
/// </remarks>
internal sealed class HistogramChunkRewriter
{
    private readonly List<BucketSpan> _positive = [];
    private readonly List<BucketSpan> _negative = [];
    private readonly NativeHistogram _histogram = new();
    private readonly NativeHistogram _sample = new();
    private readonly HistogramReadBuffer _buffer = new();

    /// <summary>Decides on the spans.</summary>
    public void Choose(
        NativeHistogram histogram, List<BucketSpan> chunkPositive, BucketFit positive, List<BucketSpan> chunkNegative, BucketFit negative)
    {
        bool isGauge = histogram.Hint == CounterResetHint.Gauge;
        bool anyLacks = ((positive | negative) & BucketFit.HistogramLacks) != 0;
        bool keepsChunk = anyLacks && ((positive | negative) & BucketFit.ChunkLacks) == 0;
        Choose(histogram.PositiveSpans, chunkPositive, keepsChunk, isGauge ? anyLacks : (positive & BucketFit.HistogramLacks) != 0, _positive);
        Choose(histogram.NegativeSpans, chunkNegative, keepsChunk, isGauge ? anyLacks : (negative & BucketFit.HistogramLacks) != 0, _negative);
    }

    /// <summary>Copies a histogram into the chosen spans.</summary>
    /// <returns>Valid until the next call.</returns>
    public NativeHistogram Widen(NativeHistogram histogram) => Widen(histogram, _histogram);

    /// <summary>Writes a builder's chunk anew in the chosen spans; header and samples stay.</summary>
    public void Rewrite(HistogramChunkBuilder builder)
    {
        byte[] copy = ArrayPool<byte>.Shared.Rent(builder.ByteLength);
        ReadOnlySpan<byte> chunk = copy.AsSpan(0, builder.ByteLength);
        builder.Bytes.CopyTo(copy);
        var reader = new HistogramChunkReader(chunk, builder.Encoding, _buffer);
        for (bool isFirst = true; reader.MoveNext(); isFirst = false)
            builder.Replay(reader.TimeMs, Widen(reader.Histogram, _sample), reader.Flags, isFirst);
        if (reader.Problem is { } problem) throw new UnreachableException($"a chunk of our own cannot be read: {problem}");
        ArrayPool<byte>.Shared.Return(copy);
    }

    private static void Choose(List<BucketSpan> spans, List<BucketSpan> chunkSpans, bool keepsChunk, bool unites, List<BucketSpan> into)
    {
        into.Clear();
        if (keepsChunk) into.AddRange(CollectionsMarshal.AsSpan(chunkSpans));
        else if (unites) HistogramFit.Unite(CollectionsMarshal.AsSpan(spans), CollectionsMarshal.AsSpan(chunkSpans), into);
        else into.AddRange(CollectionsMarshal.AsSpan(spans));
    }

    private NativeHistogram Widen(NativeHistogram histogram, NativeHistogram into)
    {
        into.CopyFrom(histogram);
        WidenSide(histogram.PositiveSpans, histogram.PositiveBuckets, _positive, into.PositiveSpans, into.PositiveBuckets, histogram.IsFloat);
        WidenSide(histogram.NegativeSpans, histogram.NegativeBuckets, _negative, into.NegativeSpans, into.NegativeBuckets, histogram.IsFloat);
        return into;
    }

    private static void WidenSide(
        List<BucketSpan> spans, List<long> buckets, List<BucketSpan> widerSpans, List<BucketSpan> intoSpans, List<long> intoBuckets, bool isFloat)
    {
        intoSpans.Clear();
        intoSpans.AddRange(CollectionsMarshal.AsSpan(widerSpans));
        HistogramFit.Widen(
            CollectionsMarshal.AsSpan(spans), CollectionsMarshal.AsSpan(buckets), CollectionsMarshal.AsSpan(widerSpans), intoBuckets, isFloat);
    }
}
