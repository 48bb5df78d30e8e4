using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Chunks;

namespace TsdbRemote.Tests.Model;

/// <summary>What a receiver refuses, in Prometheus' words.</summary>
public class HistogramValidationTests
{
    private const string Negative = "histogram has a bucket whose observation count is negative";
    private const string NegativeOffset = "histogram has a span whose offset is negative";
    private const string OtherNumber = "histogram spans specify different number of buckets than provided";
    private const string InvalidSchema =
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema ";

    public static TheoryData<string?, NativeHistogram> OfIntegers { get; } = new()
    {
        { null, Of(static _ => { }) },
        { null, new NativeHistogram { SumBits = StaleMarker.Bits } },
        { null, Of(static h => (h.SumBits, h.Count) = (StaleMarker.NormalNaN, 9)) },
        { null, Of(static h => h.PositiveSpans.Add(new BucketSpan(3, 0))) },
        { null, Custom(static _ => { }) },
        { InvalidSchema + "9", Of(static h => h.Schema = 9) },
        { InvalidSchema + "-5", Of(static h => h.Schema = -5) },
        { $"positive side: span number 2 with offset -1: {NegativeOffset}", Of(static h => h.PositiveSpans.Add(new BucketSpan(-1, 0))) },
        { $"negative side: span number 2 with offset -7: {NegativeOffset}", Of(static h => h.NegativeSpans.AddRange([new(0, 0), new(-7, 0)])) },
        { $"positive side: spans need 3 buckets, have 2 buckets: {OtherNumber}", Of(static h => h.PositiveSpans.Add(new BucketSpan(0, 1))) },
        { $"negative side: spans need 0 buckets, have 1 buckets: {OtherNumber}", Of(static h => h.NegativeBuckets.Add(1)) },
        { $"positive side: bucket number 2 has observation count of -1: {Negative}", Of(static h => h.PositiveBuckets[1] = -2) },
        { $"negative side: bucket number 1 has observation count of -3: {Negative}", Of(static h => WithNegative(h, -3)) },
        { "histogram with exponential schema must not have custom bounds", Of(static h => h.CustomBounds.Add(1)) },
        {
            "3 observations found in buckets, but the Count field is 4: histogram's observation count should equal the number of observations found in the "
            + "buckets (in absence of NaN)", Of(static h => h.Count = 4)
        },
        {
            "3 observations found in buckets, but the Count field is 2: histogram's observation count should be at least the number of observations found in "
            + "the buckets", Of(static h => (h.SumBits, h.Count) = (StaleMarker.NormalNaN, 2))
        },
        { "custom buckets: histogram custom bounds must not be NaN", Custom(static h => h.CustomBounds[0] = double.NaN) },
        {
            "custom buckets: previous bound is 0.100000 and current is 0.100000: histogram custom bounds must be in strictly increasing order",
            Custom(static h => h.CustomBounds[1] = 0.1)
        },
        {
            "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite",
            Custom(static h => h.CustomBounds[1] = double.PositiveInfinity)
        },
        { $"custom buckets: span number 1 with offset -1: {NegativeOffset}", Custom(static h => h.PositiveSpans[0] = new BucketSpan(-1, 2)) },
        { $"custom buckets: spans need 1 buckets, have 2 buckets: {OtherNumber}", Custom(static h => h.PositiveSpans[0] = new BucketSpan(0, 1)) },
        {
            "custom buckets: only 2 custom bounds defined which is insufficient to cover total span length of 4: histogram custom bounds are too few",
            Custom(static h => h.PositiveSpans[0] = new BucketSpan(2, 2))
        },
        { "custom buckets: must have zero count of 0", Custom(static h => h.ZeroCount = 1) },
        { "custom buckets: must have zero threshold of 0", Custom(static h => h.ZeroThreshold = 0.5) },
        { "custom buckets: must not have negative spans", Custom(static h => h.NegativeSpans.Add(new BucketSpan(0, 0))) },
        { "custom buckets: must not have negative buckets", Custom(static h => h.NegativeBuckets.Add(0)) },
        { $"positive side: bucket number 1 has observation count of -1: {Negative}", Custom(static h => h.PositiveBuckets[0] = -1) },
        { "positive side: span number 1 reaches beyond bucket 1073741824 or -1073741824", Of(static h => h.PositiveSpans[0] = new BucketSpan(int.MinValue, 2)) },
        { "histogram has 65537 buckets and 0 custom bounds; 65536 allowed", HistogramGen.Integer(1, new long[65_537]) },
        { "positive side: there are 65537 spans; 65536 allowed", Of(static h => h.PositiveSpans.AddRange(new BucketSpan[65_536])) },
    };

    public static TheoryData<string?, NativeHistogram> OfFloats { get; } = new()
    {
        { null, OfFloat(static h => h.Count = Bits(1)) },
        { null, OfFloat(static h => h.PositiveBuckets[0] = BitConverter.DoubleToInt64Bits(double.NaN)) },
        { $"zero bucket has observation count of -2.5: {Negative}", OfFloat(static h => h.ZeroCount = Bits(-2.5)) },
        { "observation count is  -1: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-1)) },
        { "observation count is  -Inf: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(double.NegativeInfinity)) },
        { "observation count is  -1e+21: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-1e21)) },
        { "observation count is  -123456789012345680000: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-123456789012345678901.0)) },
        { "observation count is  -0.00012: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-0.00012)) },
        { "observation count is  -1.25e-05: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-0.0000125)) },
        { "observation count is  -5e-324: histogram's observation count is negative", OfFloat(static h => h.Count = Bits(-double.Epsilon)) },
        { $"positive side: bucket number 2 has observation count of -0.5: {Negative}", OfFloat(static h => h.PositiveBuckets[1] = (long)Bits(-0.5)) },
        { "custom buckets: must have zero count of 0", HistogramGen.Float(Custom(static h => h.ZeroCount = 1)) },
        { InvalidSchema + "52", OfFloat(static h => h.Schema = 52) },
    };

    [Theory]
    [MemberData(nameof(OfIntegers))]
    [MemberData(nameof(OfFloats))]
    public void The_text_is_Prometheus_own(string? text, NativeHistogram histogram) => Assert.Equal(text, HistogramValidation.Problem(histogram));

    [Theory]
    [InlineData(-53, true)]
    [InlineData(-10, false)]
    [InlineData(-9, true)]
    [InlineData(52, true)]
    [InlineData(53, false)]
    public void Readers_know_more_schemas(int schema, bool isKnown) => Assert.Equal(
        isKnown
            ? null
            : $"histogram has an unknown schema, which must be between -9 and 52 for exponential buckets, or -53 for custom buckets, got schema {schema}",
        HistogramValidation.UnknownSchema(schema));

    [Fact]
    public void A_good_histogram_costs_no_memory()
    {
        NativeHistogram histogram = Of(static _ => { });
        HistogramValidation.Problem(histogram);
        long before = GC.GetAllocatedBytesForCurrentThread();
        string? problem = HistogramValidation.Problem(histogram);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Null(problem);
    }

    private static ulong Bits(double value) => BitConverter.DoubleToUInt64Bits(value);

    private static void WithNegative(NativeHistogram histogram, long bucket)
    {
        histogram.NegativeSpans.Add(new BucketSpan(0, 1));
        histogram.NegativeBuckets.Add(bucket);
    }

    private static NativeHistogram Of(Action<NativeHistogram> edit) => Edited(HistogramGen.Integer(5, 1, 2), edit);

    private static NativeHistogram OfFloat(Action<NativeHistogram> edit) => Edited(HistogramGen.Float(HistogramGen.Integer(5, 1, 2)), edit);

    private static NativeHistogram Custom(Action<NativeHistogram> edit)
    {
        NativeHistogram histogram = HistogramGen.Integer(5, 1, 2);
        (histogram.Schema, histogram.ZeroThreshold) = (HistogramSchema.Custom, 0);
        histogram.CustomBounds.AddRange([0.1, 0.2]);
        return Edited(histogram, edit);
    }

    private static NativeHistogram Edited(NativeHistogram histogram, Action<NativeHistogram> edit)
    {
        edit(histogram);
        return histogram;
    }
}
