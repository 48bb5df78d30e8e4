using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Model;

/// <summary>Makes an exponential histogram coarser: 2^k neighbours become one bucket, without loss but of resolution.</summary>
/// <remarks>Spans of the result are as short as they can be, as Prometheus makes them (model/histogram/generic.go). Stateless.</remarks>
public static class HistogramResolution
{
    /// <summary>Reduces a schema that is finer than <see cref="HistogramSchema.Max"/> but within what the format has kept free.</summary>
    /// <param name="histogram">Spans and buckets must agree in number; left alone if there is nothing to do.</param>
    /// <returns>True if it was changed.</returns>
    public static bool ReduceToKnown(NativeHistogram histogram)
    {
        if (histogram.Schema is <= HistogramSchema.Max or > HistogramSchema.MaxReserved) return false;
        Reduce(histogram, HistogramSchema.Max);
        return true;
    }

    /// <summary>Reduces to a schema.</summary>
    /// <param name="histogram">Exponential; spans and buckets must agree in number.</param>
    /// <param name="schema">Coarser than the histogram's, or the same.</param>
    /// <exception cref="ArgumentException">Custom buckets, a finer schema, or spans that do not fit the buckets.</exception>
    public static void Reduce(NativeHistogram histogram, int schema)
    {
        if (histogram.Schema == HistogramSchema.Custom || schema > histogram.Schema)
            throw new ArgumentException($"schema {histogram.Schema} cannot be reduced to {schema}", nameof(schema));
        if (HistogramValidation.SizeProblem(histogram) is { } problem) throw new ArgumentException(problem, nameof(histogram));
        int shift = histogram.Schema - schema;
        if (shift == 0) return;
        ReduceSide(histogram.PositiveSpans, histogram.PositiveBuckets, shift, histogram.IsFloat);
        ReduceSide(histogram.NegativeSpans, histogram.NegativeBuckets, shift, histogram.IsFloat);
        histogram.Schema = schema;
    }

    private static void ReduceSide(List<BucketSpan> spans, List<long> buckets, int shift, bool isFloat)
    {
        // Written over itself: a target bucket is never ahead of the last one read. Spans are read to the end before they are replaced.
        Span<long> words = CollectionsMarshal.AsSpan(buckets);
        List<BucketSpan> target = [];
        var walk = new BucketWalk(CollectionsMarshal.AsSpan(spans));
        int written = 0;
        long lastIndex = 0;
        long absolute = 0;
        while (walk.MoveNext())
        {
            long word = words[walk.Position];
            absolute += word;
            if (!isFloat) word = absolute;
            long index = ((walk.Index - 1) >> shift) + 1;
            if (written > 0 && index == lastIndex)
            {
                words[written - 1] = isFloat ? AddFloats(words[written - 1], word) : words[written - 1] + word;
                continue;
            }

            BucketSpans.Add(target, ref lastIndex, index);
            words[written++] = word;
        }

        for (int i = isFloat ? 0 : written - 1; i > 0; i--) words[i] -= words[i - 1];
        CollectionsMarshal.SetCount(buckets, written);
        spans.Clear();
        spans.AddRange(target);
    }

    private static long AddFloats(long left, long right) =>
        BitConverter.DoubleToInt64Bits(BitConverter.Int64BitsToDouble(left) + BitConverter.Int64BitsToDouble(right));
}
