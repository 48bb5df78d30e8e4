using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>When a chunk ends and what the next one's header says, row by row of Prometheus' rules; both kinds wherever they agree.</summary>
public class HistogramChunkCutTests
{
    private const long T0 = 1_700_006_400_000;

    public static TheoryData<string, NativeHistogram, NativeHistogram, HistogramChunkFlags, HistogramChunkFlags> Cuts { get; } = new()
    {
        { "a gauge behind a counter", Of(1, 2), Gauge(1, 2), HistogramChunkFlags.Gauge, HistogramChunkFlags.Gauge },
        { "a counter behind a gauge", Gauge(1, 2), Of(1, 2), HistogramChunkFlags.NotReset, HistogramChunkFlags.Unknown },
        { "a reset by hint behind a gauge", Gauge(1, 2), With(Of(1, 2), static h => h.Hint = CounterResetHint.Reset), HistogramChunkFlags.NotReset, HistogramChunkFlags.Unknown },
        { "a reset by hint", Of(1, 2), With(Of(5, 6), static h => h.Hint = CounterResetHint.Reset), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "life behind a stale one", HistogramGen.Stale(), Of(1, 2), HistogramChunkFlags.Unknown, HistogramChunkFlags.Unknown },
        { "a lower count", Of(3, 4), Of(3, 3), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "another schema", Of(1, 2), With(Of(1, 2), static h => h.Schema = 2), HistogramChunkFlags.Unknown, HistogramChunkFlags.Unknown },
        { "another threshold", Of(1, 2), With(Of(1, 2), static h => h.ZeroThreshold = 0.5), HistogramChunkFlags.Unknown, HistogramChunkFlags.Unknown },
        { "other bounds", Custom(0.1, 0.2), Custom(0.1, 0.3), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "fewer bounds", Custom(0.1, 0.2, 0.3), Custom(0.1, 0.2), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "a lower zero count", With(Of(1, 2), static h => h.ZeroCount = 2), With(Of(5, 6), static h => h.ZeroCount = 1), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "a lower bucket", Of(3, 4), Of(2, 9), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "a filled bucket gone", Of(3, 4), Of(9), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "a filled bucket elsewhere", Of(3, 4), With(Of(3, 9), static h => h.PositiveSpans[0] = new BucketSpan(1, 2)), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
        { "a lower negative bucket", Negative(4), With(Negative(3), static h => h.Count = 9), HistogramChunkFlags.Reset, HistogramChunkFlags.Reset },
    };

    public static TheoryData<string, NativeHistogram, NativeHistogram> Goes { get; } = new()
    {
        { "more of the same", Of(1, 2), Of(2, 2) },
        { "no change", Of(1, 2), Of(1, 2) },
        { "a stale one", Of(1, 2), HistogramGen.Stale() },
        { "stale behind stale", HistogramGen.Stale(), HistogramGen.Stale() },
        { "the same buckets in other spans", Of(1, 2), With(Of(1, 2), static h => Replace(h.PositiveSpans, new(0, 1), new(0, 0), new(0, 1))) },
        { "a new bucket", Of(1, 2), Of(1, 2, 3) },
        { "a new bucket before", Of(1, 2), With(Of(5, 1, 2), static h => h.PositiveSpans[0] = new BucketSpan(-1, 3)) },
        { "an empty bucket gone", Of(1, 0), Of(2) },
        { "an empty bucket gone and a new one", Of(1, 0), With(Of(2, 3), static h => Replace(h.PositiveSpans, new(0, 1), new(3, 1))) },
        { "a gauge that falls", Gauge(5, 9), Gauge(1, 2) },
        { "a gauge with other buckets", Gauge(5, 9), With(Gauge(1, 2), static h => h.PositiveSpans[0] = new BucketSpan(1, 2)) },
        { "a stale gauge", Gauge(5), HistogramGen.Stale(hint: CounterResetHint.Gauge) },
        { "NaN for a sum", Of(1, 2), With(Of(1, 2), static h => h.SumBits = StaleMarker.NormalNaN) },
    };

    [Theory]
    [MemberData(nameof(Cuts))]
    public void A_chunk_ends_before(string what, NativeHistogram last, NativeHistogram next, HistogramChunkFlags ofIntegers, HistogramChunkFlags ofFloats)
    {
        Assert.Equal((what, 1, ofIntegers), (what, SamplesOfLast(last, next, out HistogramChunkFlags flags), flags));
        Assert.Equal((what, 1, ofFloats), (what, SamplesOfLast(HistogramGen.Float(last), HistogramGen.Float(next), out flags), flags));
    }

    [Theory]
    [MemberData(nameof(Goes))]
    public void A_chunk_takes(string what, NativeHistogram last, NativeHistogram next)
    {
        Assert.Equal((what, 2), (what, SamplesOfLast(last, next, out _)));
        Assert.Equal((what, 2), (what, SamplesOfLast(HistogramGen.Float(last), HistogramGen.Float(next), out _)));
    }

    [Fact]
    public void Another_kind_ends_a_chunk_and_nothing_is_said_of_resets()
    {
        Assert.Equal(1, SamplesOfLast(Of(5, 5), HistogramGen.Float(Of(1, 1)), out HistogramChunkFlags flags));
        Assert.Equal(HistogramChunkFlags.Unknown, flags);
        Assert.Equal(1, SamplesOfLast(HistogramGen.Float(Of(5, 5)), Of(1, 1), out flags));
        Assert.Equal(HistogramChunkFlags.Unknown, flags);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_end_of_a_window_ends_a_chunk_and_the_next_one_continues_it(bool isFloat)
    {
        var builder = new HistogramChunkBuilder(HistogramHistory.WindowMs);
        NativeHistogram histogram = isFloat ? HistogramGen.Float(Of(1, 2)) : Of(1, 2);
        Assert.True(builder.TryAppend(T0 + HistogramHistory.WindowMs - 1, histogram));
        Assert.False(builder.TryAppend(T0 + HistogramHistory.WindowMs, histogram));
        builder.StartNext();
        Assert.True(builder.TryAppend(T0 + HistogramHistory.WindowMs, histogram));
        Assert.Equal(HistogramChunkFlags.NotReset, builder.Flags);
    }

    [Fact]
    public void A_chunk_ended_by_its_owner_says_nothing_of_resets()
    {
        var builder = new HistogramChunkBuilder(0);
        Assert.True(builder.TryAppend(T0, Of(5)));
        Assert.False(builder.TryAppend(T0 + 1, Of(4)));
        Assert.True(builder.TryAppend(T0 + 1, Of(6)));
        builder.StartNext();
        Assert.True(builder.TryAppend(T0 + 2, Of(1)));
        Assert.Equal(HistogramChunkFlags.Unknown, builder.Flags);
    }

    [Fact]
    public void A_chunk_has_as_many_samples_as_it_may()
    {
        List<MadeChunk> chunks = HistogramChunks.Make(Enumerable.Range(0, 250).Select(static i => new HistogramSample(T0 + i, Of(i))), windowMs: 0, maxSamples: 120);
        Assert.Equal([120, 120, 10], chunks.Select(static chunk => HistogramChunks.Read([chunk]).Count));
    }

    [Fact]
    public void Chunks_of_large_histograms_hold_ten_samples_at_least_and_others_end_near_their_target()
    {
        List<MadeChunk> large = HistogramChunks.Make(HistogramWalk.Series(new HistogramTraits(1, 60, 15_000) { Buckets = 400 }, T0), HistogramHistory.WindowMs);
        Assert.All(large, static chunk => Assert.Equal(10, HistogramChunks.Read([chunk]).Count));
        List<MadeChunk> small = HistogramChunks.Make(HistogramWalk.Series(new HistogramTraits(1, 400, 15_000), T0), HistogramHistory.WindowMs);
        Assert.All(small.SkipLast(1), static chunk => Assert.InRange(chunk.Hex.Length / 2, 600, 1400));
        Assert.True(small.Count > 3, $"{small.Count} chunks");
    }

    [Fact]
    public void A_rewritten_chunk_has_the_spans_of_both_and_keeps_its_header_and_samples()
    {
        var builder = new HistogramChunkBuilder(0);
        Assert.True(builder.TryAppend(T0, With(Of(1, 0, 2), static h => h.Hint = CounterResetHint.Reset)));
        NativeHistogram next = With(Of(1, 2, 3), static h => Replace(h.PositiveSpans, new(0, 1), new(1, 2)));
        Assert.True(builder.TryAppend(T0 + 1, next));
        Assert.Equal(HistogramChunkFlags.Reset, builder.Flags);
        List<HistogramSample> read = HistogramGen.Decode(builder.Bytes, builder.Encoding);
        Assert.Equal([new BucketSpan(0, 4)], read[0].Histogram.PositiveSpans);
        Assert.Equal([1, -1, 2, -2], read[0].Histogram.PositiveBuckets);
        Assert.Equal([1, -1, 2, 1], read[1].Histogram.PositiveBuckets);
        Assert.Equal([CounterResetHint.Unknown, CounterResetHint.NotReset], read.Select(static sample => sample.Histogram.Hint));
    }

    [Fact]
    public void Chunks_that_would_have_more_buckets_than_readers_take_are_not_made()
    {
        var builder = new HistogramChunkBuilder(0);
        Assert.True(builder.TryAppend(T0, Gauge(new long[40_000])));
        NativeHistogram elsewhere = With(Gauge(new long[40_000]), static h => h.PositiveSpans[0] = new BucketSpan(50_000, 40_000));
        Assert.False(builder.TryAppend(T0 + 1, elsewhere));
        builder.StartNext();
        Assert.True(builder.TryAppend(T0 + 1, elsewhere));
        Assert.Throws<ArgumentException>(() => builder.TryAppend(T0 + 2, Gauge(new long[65_537])));
    }

    private static int SamplesOfLast(NativeHistogram last, NativeHistogram next, out HistogramChunkFlags flags)
    {
        var builder = new HistogramChunkBuilder(0);
        Assert.True(builder.TryAppend(T0, last));
        bool goes = builder.TryAppend(T0 + 15_000, next);
        int samples = builder.Count;
        if (!goes)
        {
            builder.StartNext();
            Assert.True(builder.TryAppend(T0 + 15_000, next));
        }

        flags = builder.Flags;
        Assert.True(HistogramGen.Decode(builder.Bytes, builder.Encoding)[^1].Histogram.SaysTheSameAs(next));
        return samples;
    }

    private static NativeHistogram Of(params long[] counts) => HistogramGen.Integer(1, counts);

    private static NativeHistogram Gauge(params long[] counts) => With(Of(counts), static h => h.Hint = CounterResetHint.Gauge);

    private static NativeHistogram Custom(params double[] bounds) => With(Of(1, 2), h =>
    {
        (h.Schema, h.ZeroThreshold) = (HistogramSchema.Custom, 0);
        h.CustomBounds.AddRange(bounds);
    });

    private static NativeHistogram Negative(params long[] counts) => With(Of(counts), static h =>
    {
        h.NegativeSpans.AddRange(h.PositiveSpans);
        h.NegativeBuckets.AddRange(h.PositiveBuckets);
        h.PositiveSpans.Clear();
        h.PositiveBuckets.Clear();
    });

    private static NativeHistogram With(NativeHistogram histogram, Action<NativeHistogram> edit)
    {
        edit(histogram);
        return histogram;
    }

    private static void Replace(List<BucketSpan> spans, params BucketSpan[] by)
    {
        spans.Clear();
        spans.AddRange(by);
    }
}
