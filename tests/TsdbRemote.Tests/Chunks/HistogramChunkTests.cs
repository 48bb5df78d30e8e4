using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

public class HistogramChunkTests
{
    private const long T0 = 1700000000000;

    private const string CustomChunk = "00010000ee5c664adc65fe00018bcfe56800b100740000000000023188";

    private const string IntegerChunk =
        "000400749ca48c5fc0003179fcad00168a0194000000000004637f83a989c760d9c44afa49eea218bdfee4000000000008";

    private const string FloatChunk =
        "0002c0ff3f50624dd2f1a9fc9c6578c5fc0003179fcad00080340000000000007fe0000000000000806500000000000080000000000000008008000000000000"
        + "7fe0000000000001f07531a85eb689bb41ec06";

    public static TheoryData<string, ChunkEncoding, HistogramSample[]> WorkedExamples { get; } = new()
    {
        { CustomChunk, ChunkEncoding.Histogram, [new(T0, Custom())] },
        {
            IntegerChunk, ChunkEncoding.Histogram,
            [
                new(T0, Gapped(6, 1, 18.5, 1, 2, 1)), new(T0 + 15_000, Gapped(9, 2, 30.25, 2, 3, 2)),
                new(T0 + 30_000, Gapped(14, 2, 50, 3, 5, 4)), new(T0 + 45_000, HistogramGen.Stale())
            ]
        },
    };

    [Theory]
    [MemberData(nameof(WorkedExamples))]
    public void Worked_examples_encode_to_their_bytes(string hex, ChunkEncoding encoding, HistogramSample[] samples) =>
        Assert.Equal([new MadeChunk(samples[0].TimeMs, samples[^1].TimeMs, encoding, hex)], HistogramChunks.Make(samples, windowMs: 0));

    [Theory]
    [MemberData(nameof(WorkedExamples))]
    public void Worked_examples_decode_to_their_samples(string hex, ChunkEncoding encoding, HistogramSample[] samples) =>
        AssertSame(samples, HistogramGen.Decode(Convert.FromHexString(hex), encoding));

    [Fact]
    public void The_worked_gauge_of_floats_decodes_and_encodes_to_identical_bytes()
    {
        List<HistogramSample> samples = HistogramGen.Decode(Convert.FromHexString(FloatChunk), ChunkEncoding.FloatHistogram);
        Assert.Equal([T0, T0 + 15_000], samples.Select(static sample => sample.TimeMs));
        NativeHistogram first = samples[0].Histogram;
        Assert.Equal((3, 0.001, CounterResetHint.Gauge), (first.Schema, first.ZeroThreshold, first.Hint));
        Assert.Equal([new BucketSpan(-1, 2)], first.PositiveSpans);
        Assert.Equal([new BucketSpan(0, 1)], first.NegativeSpans);
        Assert.Equal([new MadeChunk(T0, T0 + 15_000, ChunkEncoding.FloatHistogram, FloatChunk)], HistogramChunks.Make(samples, windowMs: 0));
    }

    [Fact]
    public void Any_series_comes_back_whatever_its_chunks() => HistogramGen.Series.Sample(static samples =>
        IsSame(samples, HistogramChunks.Read(HistogramChunks.Make(samples, HistogramHistory.WindowMs))));

    [Fact]
    public void Any_words_come_back_bit_for_bit_over_all_of_time() => HistogramGen.Wild.Sample(static samples =>
        IsSame(samples, HistogramChunks.Read(HistogramChunks.Make(samples, windowMs: 0))));

    [Fact]
    public void A_threshold_or_bound_of_minus_zero_comes_back_as_zero()
    {
        NativeHistogram exponential = HistogramGen.Integer(1, 1, 2);
        exponential.ZeroThreshold = -0.0;
        NativeHistogram custom = Custom();
        custom.CustomBounds[0] = -0.0;
        foreach (NativeHistogram histogram in (NativeHistogram[])[exponential, custom])
        {
            HistogramSample[] samples = [new(T0, histogram)];
            NativeHistogram read = Assert.Single(HistogramChunks.Read(HistogramChunks.Make(samples, windowMs: 0))).Histogram;
            Assert.True(read.SaysTheSameAs(histogram));
            Assert.False(double.IsNegative(read.ZeroThreshold) || read.CustomBounds.Exists(double.IsNegative));
        }
    }

    [Fact]
    public void Chunks_tile_the_series_and_cross_no_window() => HistogramGen.Series.Sample(static samples =>
    {
        const long Window = 120_000;
        List<MadeChunk> chunks = HistogramChunks.Make(samples, Window);
        return chunks.TrueForAll(static chunk => chunk.MaxTimeMs <= TimeWindow.EndOf(chunk.MinTimeMs, Window))
            && chunks.Zip(chunks.Skip(1)).All(static pair => pair.First.MaxTimeMs < pair.Second.MinTimeMs)
            && chunks.TrueForAll(static chunk => HistogramChunks.Read([chunk]) is var read
                && read[0].TimeMs == chunk.MinTimeMs && read[^1].TimeMs == chunk.MaxTimeMs);
    });

    [Fact]
    public void The_verifier_has_nothing_against_any_chunk() => HistogramGen.Series.Sample(static samples =>
    {
        var findings = new Findings();
        var rules = new HistogramRules(findings);
        foreach (MadeChunk chunk in HistogramChunks.Make(samples, HistogramHistory.WindowMs))
        {
            byte[] bytes = Convert.FromHexString(chunk.Hex);
            ChunkFacts? facts = rules.Check(
                bytes, (bytes[0] << 8) | bytes[1], chunk.Encoding == ChunkEncoding.FloatHistogram, new ChunkPlace("", 0, static () => "series"), values: null);
            Assert.Equal((chunk.MinTimeMs, chunk.MaxTimeMs), (facts!.Value.FirstMs, facts.Value.LastMs));
        }

        Assert.True(findings.Errors == 0, string.Join('\n', findings.Kept));
    });

    [Fact]
    public void The_chunk_is_whole_after_each_append() => HistogramGen.Series.Sample(static samples =>
    {
        var builder = new HistogramChunkBuilder(0);
        int first = 0;
        for (int i = 0; i < samples.Count; i++)
        {
            if (!builder.TryAppend(samples[i].TimeMs, samples[i].Histogram))
            {
                builder.StartNext();
                Assert.Equal((0, 0), (builder.Count, builder.ByteLength));
                first = i;
                i--;
                continue;
            }

            AssertSame(samples[first..(i + 1)], HistogramGen.Decode(builder.Bytes, builder.Encoding));
            Assert.Equal((i + 1 - first, samples[first].TimeMs, samples[i].TimeMs), (builder.Count, builder.FirstTimeMs, builder.LastTimeMs));
        }
    }, iter: 30);

    [Fact]
    public void A_chunk_that_refuses_a_sample_is_as_it_was() => HistogramGen.Series.Sample(static samples =>
    {
        var builder = new HistogramChunkBuilder(HistogramHistory.WindowMs);
        foreach (HistogramSample sample in samples)
        {
            byte[] before = builder.Bytes.ToArray();
            if (builder.TryAppend(sample.TimeMs, sample.Histogram)) continue;
            Assert.Equal(before, builder.Bytes.ToArray());
            Assert.False(builder.TryAppend(sample.TimeMs, sample.Histogram));
            builder.StartNext();
            Assert.True(builder.TryAppend(sample.TimeMs, sample.Histogram));
        }
    });

    [Fact]
    public void A_histogram_is_not_changed_by_an_append() => HistogramGen.Series.Sample(static samples =>
    {
        NativeHistogram[] copies = [.. samples.Select(static sample => Copy(sample.Histogram))];
        HistogramChunks.Make(samples, HistogramHistory.WindowMs);
        for (int i = 0; i < copies.Length; i++)
        {
            Assert.Equal(copies[i].PositiveSpans, samples[i].Histogram.PositiveSpans);
            Assert.Equal(copies[i].PositiveBuckets, samples[i].Histogram.PositiveBuckets);
            Assert.Equal(copies[i].NegativeBuckets, samples[i].Histogram.NegativeBuckets);
        }
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Appending_and_reading_take_no_memory_while_the_layout_stays(bool isFloat)
    {
        List<HistogramSample> samples = HistogramWalk.Series(new HistogramTraits(7, 2000, 15_000) { IsFloat = isFloat }, T0);
        var builder = new HistogramChunkBuilder(0);
        var buffer = new HistogramReadBuffer();
        AppendAndRead(samples, builder, buffer);
        builder.Reset();
        long before = GC.GetAllocatedBytesForCurrentThread();
        AppendAndRead(samples, builder, buffer);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void The_builder_serves_another_series_as_if_it_were_new() => Gen.Select(HistogramGen.Series, HistogramGen.Series).Sample(static (one, other) =>
    {
        var builder = new HistogramChunkBuilder(HistogramHistory.WindowMs);
        foreach (HistogramSample sample in one)
        {
            if (!builder.TryAppend(sample.TimeMs, sample.Histogram)) break;
        }

        builder.Reset();
        var fresh = new HistogramChunkBuilder(HistogramHistory.WindowMs);
        foreach (HistogramSample sample in other)
        {
            bool goes = builder.TryAppend(sample.TimeMs, sample.Histogram);
            Assert.Equal(fresh.TryAppend(sample.TimeMs, sample.Histogram), goes);
            Assert.Equal(fresh.Bytes.ToArray(), builder.Bytes.ToArray());
            if (!goes) break;
        }
    });

    [Fact]
    public void What_is_no_histogram_is_refused_and_changes_nothing()
    {
        var builder = new HistogramChunkBuilder(0);
        Assert.True(builder.TryAppend(T0, HistogramGen.Integer(1, 1, 2)));
        byte[] before = builder.Bytes.ToArray();
        NativeHistogram tooFew = HistogramGen.Integer(1, 1, 2);
        tooFew.PositiveBuckets.RemoveAt(0);
        NativeHistogram backwards = HistogramGen.Integer(1, 1, 2);
        backwards.PositiveSpans.Add(new BucketSpan(-1, 0));
        foreach (NativeHistogram bad in (NativeHistogram[])[tooFew, backwards])
            Assert.Throws<ArgumentException>(() => builder.TryAppend(T0 + 1, bad));
        Assert.Throws<ArgumentException>(() => builder.TryAppend(T0, HistogramGen.Integer(1, 1, 2)));
        Assert.Equal(before, builder.Bytes.ToArray());
    }

    private static void AppendAndRead(List<HistogramSample> samples, HistogramChunkBuilder builder, HistogramReadBuffer buffer)
    {
        foreach (HistogramSample sample in samples)
        {
            if (builder.TryAppend(sample.TimeMs, sample.Histogram)) continue;
            var reader = new HistogramChunkReader(builder.Bytes, builder.Encoding, buffer);
            while (reader.MoveNext())
            {
            }

            if (reader.IsCorrupt) throw new InvalidOperationException(reader.Problem);
            builder.StartNext();
            builder.TryAppend(sample.TimeMs, sample.Histogram);
        }
    }

    private static NativeHistogram Copy(NativeHistogram histogram)
    {
        var copy = new NativeHistogram();
        copy.CopyFrom(histogram);
        return copy;
    }

    private static bool IsSame(List<HistogramSample> left, List<HistogramSample> right) =>
        left.Count == right.Count && left.Zip(right).All(static pair => pair.First.TimeMs == pair.Second.TimeMs && pair.First.Histogram.SaysTheSameAs(pair.Second.Histogram));

    private static void AssertSame(IReadOnlyList<HistogramSample> expected, List<HistogramSample> actual) => Assert.True(IsSame([.. expected], actual));

    private static NativeHistogram Custom()
    {
        NativeHistogram histogram = HistogramGen.Integer(7.25, 1, 2, 3);
        (histogram.Schema, histogram.ZeroThreshold) = (HistogramSchema.Custom, 0);
        histogram.CustomBounds.AddRange([0.005, 0.1]);
        return histogram;
    }

    private static NativeHistogram Gapped(ulong count, ulong zero, double sum, params long[] counts)
    {
        NativeHistogram histogram = HistogramGen.Integer(sum, counts);
        histogram.PositiveSpans.Clear();
        histogram.PositiveSpans.AddRange([new BucketSpan(0, 2), new BucketSpan(1, 1)]);
        (histogram.Count, histogram.ZeroCount) = (count, zero);
        return histogram;
    }
}
