using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Model;

public class NativeHistogramTests
{
    [Fact]
    public void Whatever_a_sender_may_have_is_valid() => HistogramGen.Series.Sample(static samples =>
        samples.TrueForAll(static sample => HistogramValidation.Problem(sample.Histogram) is null));

    [Fact]
    public void Reduction_keeps_every_observation_in_the_bucket_that_covers_its_own() =>
        Gen.Select(HistogramGen.Series, Gen.Int[9, 52], Gen.Int[0, 8]).Sample(static (samples, from, to) =>
        {
            foreach (HistogramSample sample in samples.Where(static sample => sample.Histogram.Schema != HistogramSchema.Custom))
            {
                NativeHistogram fine = sample.Histogram;
                fine.Schema = from;
                var coarse = new NativeHistogram();
                coarse.CopyFrom(fine);
                HistogramResolution.Reduce(coarse, to);
                Assert.Equal(to, coarse.Schema);
                Assert.Equal((fine.Count, fine.ZeroCount, fine.SumBits, fine.Hint), (coarse.Count, coarse.ZeroCount, coarse.SumBits, coarse.Hint));
                int shift = from - to;
                AssertCovers(fine.PositiveSpans, fine.PositiveBuckets, coarse.PositiveSpans, coarse.PositiveBuckets, shift, fine.IsFloat);
                AssertCovers(fine.NegativeSpans, fine.NegativeBuckets, coarse.NegativeSpans, coarse.NegativeBuckets, shift, fine.IsFloat);
                Assert.Null(HistogramValidation.Problem(coarse));
            }
        });

    [Fact]
    public void Neighbours_become_one_bucket()
    {
        // Indexes -1 0 1 2 3 and 6 of schema 9 are 0 0 1 1 2 and 3 of schema 8.
        NativeHistogram histogram = HistogramGen.Integer(1, 1, 2, 3, 4, 5, 6);
        histogram.Schema = 9;
        histogram.PositiveSpans.Clear();
        histogram.PositiveSpans.AddRange([new BucketSpan(-1, 5), new BucketSpan(2, 1)]);
        Assert.True(HistogramResolution.ReduceToKnown(histogram));
        Assert.Equal(8, histogram.Schema);
        Assert.Equal([new BucketSpan(0, 4)], histogram.PositiveSpans);
        Assert.Equal([3, 4, -2, 1], histogram.PositiveBuckets);
        Assert.False(HistogramResolution.ReduceToKnown(histogram));
    }

    [Fact]
    public void Custom_buckets_and_finer_schemas_are_not_reduced()
    {
        NativeHistogram histogram = HistogramGen.Integer(1, 1);
        Assert.Throws<ArgumentException>(() => HistogramResolution.Reduce(histogram, 4));
        histogram.Schema = HistogramSchema.Custom;
        Assert.Throws<ArgumentException>(() => HistogramResolution.Reduce(histogram, -60));
        Assert.False(HistogramResolution.ReduceToKnown(histogram));
    }

    [Fact]
    public void Empty_buckets_and_hints_say_nothing_but_everything_else_does()
    {
        NativeHistogram one = HistogramGen.Integer(1, 1, 0, 2);
        NativeHistogram other = HistogramGen.Integer(1, 1, 2);
        other.PositiveSpans.Clear();
        other.PositiveSpans.AddRange([new BucketSpan(0, 1), new BucketSpan(1, 1)]);
        other.Hint = CounterResetHint.Reset;
        Assert.True(one.SaysTheSameAs(other));
        Assert.False(one.SaysTheSameAs(HistogramGen.Float(one)));
        foreach (Action<NativeHistogram> edit in (Action<NativeHistogram>[])
                 [
                     static h => h.Count++, static h => h.ZeroCount++, static h => h.SumBits++, static h => h.Schema++,
                     static h => h.ZeroThreshold = 1, static h => h.PositiveBuckets[0]++, static h => h.CustomBounds.Add(1),
                     static h => h.PositiveSpans[0] = new BucketSpan(1, 3),
                 ])
        {
            var changed = new NativeHistogram();
            changed.CopyFrom(one);
            Assert.True(changed.SaysTheSameAs(one));
            edit(changed);
            Assert.False(changed.SaysTheSameAs(one));
            Assert.False(one.SaysTheSameAs(changed));
        }
    }

    [Fact]
    public void The_sign_of_a_zero_threshold_or_bound_says_nothing()
    {
        NativeHistogram one = HistogramGen.Integer(1, 1, 2);
        one.ZeroThreshold = 0;
        one.CustomBounds.AddRange([0, 1]);
        var other = new NativeHistogram();
        other.CopyFrom(one);
        other.ZeroThreshold = -0.0;
        other.CustomBounds[0] = -0.0;
        Assert.True(one.SaysTheSameAs(other));
        other.CustomBounds[0] = double.NaN;
        Assert.False(one.SaysTheSameAs(other));
    }

    private static void AssertCovers(
        List<BucketSpan> spans, List<long> buckets, List<BucketSpan> coarseSpans, List<long> coarseBuckets, int shift, bool isFloat)
    {
        SortedDictionary<long, double> expected = [];
        foreach ((long index, double count) in Counts(spans, buckets, isFloat))
        {
            long target = (long)Math.Ceiling(index / Math.Pow(2, shift));
            expected[target] = expected.GetValueOrDefault(target) + count;
        }

        Assert.Equal(expected.Select(static pair => (pair.Key, pair.Value)), Counts(coarseSpans, coarseBuckets, isFloat));
    }

    private static List<(long Index, double Count)> Counts(List<BucketSpan> spans, List<long> buckets, bool isFloat)
    {
        List<(long, double)> counts = [];
        long index = 0;
        long absolute = 0;
        int at = 0;
        foreach (BucketSpan span in spans)
        {
            index += span.Offset;
            for (uint i = 0; i < span.Length; i++)
            {
                long word = buckets[at++];
                absolute += isFloat ? 0 : word;
                counts.Add((index++, isFloat ? BitConverter.Int64BitsToDouble(word) : absolute));
            }
        }

        return counts;
    }
}
