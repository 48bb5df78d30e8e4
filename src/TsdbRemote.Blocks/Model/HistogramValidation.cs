using System.Globalization;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Model;

/// <summary>The rules that a histogram from outside must keep before it is stored, in Prometheus' order and words.</summary>
/// <remarks>
/// Source: prometheus, model/histogram (Validate of both kinds). Behind these come rules of ours: how many buckets, spans and bounds there may be, and how
/// far their indexes may go, are bounds that no sender meets and that readers of chunks rely on.
/// Pure; takes memory only for a text. A schema of 9 to 52 is <see cref="HistogramResolution.ReduceToKnown"/>'s before it comes here.
/// </remarks>
public static class HistogramValidation
{
    /// <summary>Buckets and bounds that a histogram may have, and spans that a side may have.</summary>
    public const int MaxBuckets = BucketSpans.MaxBuckets;

    private const string NegativeOffset = "histogram has a span whose offset is negative";
    private const string OtherNumber = "histogram spans specify different number of buckets than provided";
    private const string NegativeBucket = "histogram has a bucket whose observation count is negative";
    private const string TooHigh =
        "histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)";

    private const string TooLow = "histogram's observation count should be at least the number of observations found in the buckets";

    /// <summary>Makes of what a sender sent what is stored: a schema that is too fine is reduced.</summary>
    /// <param name="histogram">As sent.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? Admit(NativeHistogram histogram)
    {
        bool isTooFine = histogram.Schema is > HistogramSchema.Max and <= HistogramSchema.MaxReserved;
        if (isTooFine && SizeProblem(histogram) is { } problem) return problem;
        if (isTooFine) HistogramResolution.ReduceToKnown(histogram);
        return Problem(histogram);
    }

    /// <summary>What is wrong, or null.</summary>
    public static string? Problem(NativeHistogram histogram)
    {
        ulong inBuckets = 0;
        string? problem = histogram.Schema == HistogramSchema.Custom
            ? CustomProblem(histogram)
            : ExponentialProblem(histogram, ref inBuckets);
        if (problem is null && histogram.IsFloat && AsDouble(histogram.Count) < 0)
            problem = $"observation count is  {GoNumber.Shortest(AsDouble(histogram.Count))}: histogram's observation count is negative";
        problem ??= Prefixed("positive side: ", BucketProblem(histogram.PositiveBuckets, histogram.IsFloat, ref inBuckets));
        problem ??= histogram.IsFloat ? null : CountProblem(histogram, inBuckets + histogram.ZeroCount);
        return problem ?? SizeProblem(histogram);
    }

    /// <summary>What keeps a histogram from a chunk, whatever it says: its size, or spans and buckets that do not agree. Null for most.</summary>
    internal static string? SizeProblem(NativeHistogram histogram)
    {
        ReadOnlySpan<BucketSpan> positive = CollectionsMarshal.AsSpan(histogram.PositiveSpans);
        ReadOnlySpan<BucketSpan> negative = CollectionsMarshal.AsSpan(histogram.NegativeSpans);
        if (BucketSpans.Problem(positive) is { } onPositive) return "positive side: " + onPositive;
        if (BucketSpans.Problem(negative) is { } onNegative) return "negative side: " + onNegative;
        if (BucketSpans.Count(positive) != histogram.PositiveBuckets.Count || BucketSpans.Count(negative) != histogram.NegativeBuckets.Count)
            return OtherNumber;
        int buckets = histogram.PositiveBuckets.Count + histogram.NegativeBuckets.Count;
        if (buckets > BucketSpans.MaxBuckets || histogram.CustomBounds.Count > BucketSpans.MaxBuckets)
            return $"histogram has {buckets} buckets and {histogram.CustomBounds.Count} custom bounds; {BucketSpans.MaxBuckets} allowed";
        return null;
    }

    /// <summary>What a reader says to a schema outside of everything that the format has kept free; null for the others.</summary>
    public static string? UnknownSchema(int schema) => HistogramSchema.IsKnown(schema)
        ? null
        : string.Create(
            CultureInfo.InvariantCulture,
            $"histogram has an unknown schema, which must be between -9 and 52 for exponential buckets, or -53 for custom buckets, got schema {schema}");

    private static string? CustomProblem(NativeHistogram histogram)
    {
        if (Prefixed("custom buckets: ", BoundsProblem(histogram)) is { } problem) return problem;
        bool emptyZero = histogram.IsFloat ? AsDouble(histogram.ZeroCount) == 0 : histogram.ZeroCount == 0;
        if (!emptyZero) return "custom buckets: must have zero count of 0";
        if (histogram.ZeroThreshold != 0) return "custom buckets: must have zero threshold of 0";
        if (histogram.NegativeSpans.Count > 0) return "custom buckets: must not have negative spans";
        return histogram.NegativeBuckets.Count > 0 ? "custom buckets: must not have negative buckets" : null;
    }

    private static string? BoundsProblem(NativeHistogram histogram)
    {
        double last = double.NegativeInfinity;
        for (int i = 0; i < histogram.CustomBounds.Count; i++)
        {
            double bound = histogram.CustomBounds[i];
            if (double.IsNaN(bound)) return "histogram custom bounds must not be NaN";
            if (i > 0 && bound <= last)
                return $"previous bound is {GoNumber.Fixed(last)} and current is {GoNumber.Fixed(bound)}: histogram custom bounds must be in strictly increasing order";
            last = bound;
        }

        if (double.IsPositiveInfinity(last)) return "last +Inf bound must not be explicitly defined: histogram custom bounds must be finite";
        if (SpanProblem(histogram.PositiveSpans, histogram.PositiveBuckets.Count, firstOffsetToo: true) is { } problem) return problem;
        long length = 0;
        foreach (BucketSpan span in histogram.PositiveSpans) length += (long)span.Offset + span.Length;
        return length <= histogram.CustomBounds.Count + 1L
            ? null
            : string.Create(
                CultureInfo.InvariantCulture,
                $"only {histogram.CustomBounds.Count} custom bounds defined which is insufficient to cover total span length of {length}: histogram custom bounds are too few");
    }

    private static string? ExponentialProblem(NativeHistogram histogram, ref ulong inBuckets)
    {
        if (!HistogramSchema.IsValid(histogram.Schema))
        {
            return string.Create(
                CultureInfo.InvariantCulture,
                $"histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {histogram.Schema}");
        }

        string? problem = Prefixed("positive side: ", SpanProblem(histogram.PositiveSpans, histogram.PositiveBuckets.Count, firstOffsetToo: false));
        problem ??= Prefixed("negative side: ", SpanProblem(histogram.NegativeSpans, histogram.NegativeBuckets.Count, firstOffsetToo: false));
        problem ??= Prefixed("negative side: ", BucketProblem(histogram.NegativeBuckets, histogram.IsFloat, ref inBuckets));
        if (problem is null && histogram.IsFloat && AsDouble(histogram.ZeroCount) < 0)
            problem = $"zero bucket has observation count of {GoNumber.Shortest(AsDouble(histogram.ZeroCount))}: {NegativeBucket}";
        if (problem is null && histogram.CustomBounds.Count > 0) problem = "histogram with exponential schema must not have custom bounds";
        return problem;
    }

    private static string? SpanProblem(List<BucketSpan> spans, int buckets, bool firstOffsetToo)
    {
        long named = 0;
        for (int i = 0; i < spans.Count; i++)
        {
            if (spans[i].Offset < 0 && (i > 0 || firstOffsetToo))
                return string.Create(CultureInfo.InvariantCulture, $"span number {i + 1} with offset {spans[i].Offset}: {NegativeOffset}");
            named += spans[i].Length;
        }

        return named == buckets
            ? null
            : string.Create(CultureInfo.InvariantCulture, $"spans need {named} buckets, have {buckets} buckets: {OtherNumber}");
    }

    private static string? BucketProblem(List<long> buckets, bool isFloat, ref ulong inBuckets)
    {
        long count = 0;
        for (int i = 0; i < buckets.Count; i++)
        {
            count = isFloat ? buckets[i] : count + buckets[i];
            if (isFloat ? BitConverter.Int64BitsToDouble(count) < 0 : count < 0)
            {
                string text = isFloat ? GoNumber.Shortest(AsDouble((ulong)count)) : count.ToString(CultureInfo.InvariantCulture);
                return string.Create(CultureInfo.InvariantCulture, $"bucket number {i + 1} has observation count of {text}: {NegativeBucket}");
            }

            if (!isFloat) inBuckets += (ulong)count;
        }

        return null;
    }

    private static string? CountProblem(NativeHistogram histogram, ulong inBuckets)
    {
        bool sumIsNaN = double.IsNaN(AsDouble(histogram.SumBits));
        if (sumIsNaN ? inBuckets <= histogram.Count : inBuckets == histogram.Count) return null;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{inBuckets} observations found in buckets, but the Count field is {histogram.Count}: {(sumIsNaN ? TooLow : TooHigh)}");
    }

    private static string? Prefixed(string prefix, string? problem) => problem is null ? null : prefix + problem;

    private static double AsDouble(ulong bits) => BitConverter.UInt64BitsToDouble(bits);
}
