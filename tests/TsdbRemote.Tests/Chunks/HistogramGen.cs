using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>Generators of histograms.</summary>
internal static class HistogramGen
{
    /// <summary>Series as senders have them, of every kind and of any unrest.</summary>
    public static Gen<List<HistogramSample>> Series { get; } = Gen.Select(Gen.ULong, Gen.Int[1, 60], Gen.Int[0, 63], Gen.Int[0, 700]).Select(
        static (seed, samples, kind, unrest) => HistogramWalk.Series(
            new HistogramTraits(seed, samples, 15_000)
            {
                IsFloat = (kind & 1) != 0,
                IsCustom = (kind & 2) != 0,
                IsGauge = (kind & 4) != 0,
                IsMixed = (kind & 8) != 0,
                OnlyGrows = (kind & 16) != 0,
                Buckets = (kind & 32) != 0 ? 40 : 4,
                Unrest = unrest,
            },
            HistogramHistory.StartMs));

    /// <summary>Gauges whose numbers are any words at all, over all of time; spans are any that a walk can follow.</summary>
    public static Gen<List<HistogramSample>> Wild { get; } = Gen.Select(
        ChunkSamples.Times,
        Gen.Bool,
        Gen.Select(Spans(), Spans()).Array[1, 3],
        ChunkSamples.ValueBits.Array[400],
        Gen.OneOf(ChunkSamples.ValueBits.Select(BitConverter.UInt64BitsToDouble), Gen.Int[-250, 20].Select(static e => Math.ScaleB(1, e)))).Select(
            static (times, isFloat, layouts, words, threshold) =>
            {
                int at = 0;
                return times.Select((time, i) =>
                {
                    var histogram = new NativeHistogram { IsFloat = isFloat, Hint = CounterResetHint.Gauge, Schema = 2, ZeroThreshold = threshold };
                    (BucketSpan[] positive, BucketSpan[] negative) = layouts[i * layouts.Length / times.Length];
                    ulong Word() => words[at++ % words.Length];
                    histogram.Count = Word();
                    histogram.ZeroCount = Word();
                    histogram.SumBits = Word() is var sum && sum == StaleMarker.Bits ? 0 : sum;
                    histogram.PositiveSpans.AddRange(positive);
                    histogram.NegativeSpans.AddRange(negative);
                    for (int b = 0; b < positive.Sum(static span => span.Length); b++) histogram.PositiveBuckets.Add((long)Word());
                    for (int b = 0; b < negative.Sum(static span => span.Length); b++) histogram.NegativeBuckets.Add((long)Word());
                    return new HistogramSample(time, histogram);
                }).ToList();
            });

    public static List<HistogramSample> Decode(ReadOnlySpan<byte> chunk, ChunkEncoding encoding)
    {
        List<HistogramSample> samples = [];
        HistogramChunks.Read(chunk, encoding, new HistogramReadBuffer(), samples);
        return samples;
    }

    /// <summary>An integer histogram of absolute counts, positive side only.</summary>
    public static NativeHistogram Integer(double sum, params long[] counts)
    {
        var histogram = new NativeHistogram { Schema = 3, ZeroThreshold = Math.ScaleB(1, -128), SumBits = BitConverter.DoubleToUInt64Bits(sum) };
        if (counts.Length > 0) histogram.PositiveSpans.Add(new BucketSpan(0, (uint)counts.Length));
        for (int i = 0; i < counts.Length; i++) histogram.PositiveBuckets.Add(counts[i] - (i == 0 ? 0 : counts[i - 1]));
        histogram.Count = (ulong)counts.Sum();
        return histogram;
    }

    /// <summary>The same as a float histogram.</summary>
    public static NativeHistogram Float(NativeHistogram integer)
    {
        var histogram = new NativeHistogram();
        histogram.CopyFrom(integer);
        histogram.IsFloat = true;
        histogram.Count = BitConverter.DoubleToUInt64Bits(integer.Count);
        histogram.ZeroCount = BitConverter.DoubleToUInt64Bits(integer.ZeroCount);
        foreach (List<long> side in (List<long>[])[histogram.PositiveBuckets, histogram.NegativeBuckets])
        {
            long count = 0;
            for (int i = 0; i < side.Count; i++) side[i] = BitConverter.DoubleToInt64Bits(count += side[i]);
        }

        return histogram;
    }

    public static NativeHistogram Stale(bool isFloat = false, CounterResetHint hint = CounterResetHint.Unknown) =>
        new() { IsFloat = isFloat, SumBits = StaleMarker.Bits, Hint = hint };

    private static Gen<BucketSpan[]> Spans() => Gen.Select(
        Gen.OneOf(Gen.Int[-40, 40], Gen.OneOf(-(1 << 30), 1 << 29)), Gen.Select(Gen.Int[0, 3], Gen.Int[0, 5]).Array[0, 4]).Select(
            static (first, rest) => rest.Select((pair, i) => new BucketSpan(i == 0 ? first : pair.Item1, (uint)pair.Item2)).ToArray());
}
