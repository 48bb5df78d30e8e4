using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Histograms of the receiver compliance suite of Prometheus, and what it does to them.</summary>
internal static class SuiteHistograms
{
    /// <summary>23 on the positive side, 3 on the negative one, 1 about zero.</summary>
    public static Histogram Exponential(long timeMs) => new()
    {
        CountInt = 27,
        Sum = 100.5,
        ZeroCountInt = 1,
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 3 }, new BucketSpan { Offset = 2, Length = 2 } },
        PositiveDeltas = { 1, 2, 1, 3, 1 },
        NegativeSpans = { new BucketSpan { Offset = 0, Length = 2 } },
        NegativeDeltas = { 1, 1 },
        Timestamp = timeMs,
    };

    /// <summary>Two on the positive side, as floats.</summary>
    public static Histogram OfFloats(long timeMs) => new()
    {
        CountFloat = 3.5,
        Sum = 1,
        ZeroCountFloat = 0,
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 2 } },
        PositiveCounts = { 1, 2.5 },
        Timestamp = timeMs,
    };

    /// <summary>Six bounds of its own.</summary>
    public static Histogram Custom(long timeMs) => new()
    {
        CountInt = 30,
        Sum = 100.5,
        Schema = Blocks.Model.HistogramSchema.Custom,
        CustomValues = { 0.1, 0.5, 1, 2.5, 5, 10 },
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 6 } },
        PositiveDeltas = { 2, 1, 2, 3, -1, -2 },
        Timestamp = timeMs,
    };

    /// <summary>Only a sum: the series has ended.</summary>
    public static Histogram Stale(long timeMs) => new()
    {
        CountInt = 0,
        Sum = BitConverter.UInt64BitsToDouble(Blocks.Model.StaleMarker.Bits),
        Timestamp = timeMs,
    };

    /// <summary>A copy with a change.</summary>
    public static Histogram With(this Histogram histogram, Action<Histogram> change)
    {
        Histogram copy = histogram.Clone();
        change(copy);
        return copy;
    }

    /// <summary>The same by 2.0: the fields have the same numbers.</summary>
    public static V2.Histogram V2Of(Histogram histogram) => V2.Histogram.Parser.ParseFrom(histogram.ToByteArray());
}
