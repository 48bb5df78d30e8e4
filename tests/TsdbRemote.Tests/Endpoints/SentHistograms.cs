using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using BucketSpan = TsdbRemote.Protos.Prometheus.BucketSpan;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Histograms as the receiver compliance suite of Prometheus sends them, and requests of either version with them.</summary>
internal static partial class SentHistograms
{
    /// <summary>Both sides and a zero bucket, 27 observations.</summary>
    public static Histogram Exponential(long timeMs = 1000) => new()
    {
        CountInt = 27,
        Sum = 100.5,
        Schema = 0,
        ZeroThreshold = 1,
        ZeroCountInt = 1,
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 3 }, new BucketSpan { Offset = 2, Length = 2 } },
        PositiveDeltas = { 1, 2, 1, 3, 1 },
        NegativeSpans = { new BucketSpan { Offset = 0, Length = 2 } },
        NegativeDeltas = { 1, 1 },
        Timestamp = timeMs,
    };

    /// <summary>The same as a float histogram.</summary>
    public static Histogram OfFloats(long timeMs = 1000) => new()
    {
        CountFloat = 27,
        Sum = 100.5,
        Schema = 0,
        ZeroThreshold = 1,
        ZeroCountFloat = 1,
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 3 }, new BucketSpan { Offset = 2, Length = 2 } },
        PositiveCounts = { 1, 3, 4, 7, 8 },
        NegativeSpans = { new BucketSpan { Offset = 0, Length = 2 } },
        NegativeCounts = { 1, 2 },
        Timestamp = timeMs,
    };

    /// <summary>Bounds of its own, 30 observations.</summary>
    public static Histogram Custom(long timeMs = 1000) => new()
    {
        CountInt = 30,
        Sum = 100.5,
        Schema = HistogramSchema.Custom,
        CustomValues = { 0.1, 0.5, 1, 2.5, 5, 10 },
        PositiveSpans = { new BucketSpan { Offset = 0, Length = 6 } },
        PositiveDeltas = { 2, 1, 2, 3, -1, -2 },
        Timestamp = timeMs,
    };

    /// <summary>Only a sum: the series has ended.</summary>
    public static Histogram Stale(long timeMs = 1000) => new() { CountInt = 0, Sum = BitConverter.UInt64BitsToDouble(StaleMarker.Bits), Timestamp = timeMs };

    /// <summary>A copy with some change.</summary>
    public static Histogram With(this Histogram histogram, Action<Histogram> change)
    {
        Histogram changed = histogram.Clone();
        change(changed);
        return changed;
    }

    /// <summary>A request of one series.</summary>
    public static IMessage Request(bool isV2, string name, params Histogram[] histograms) => Request(isV2, [(name, histograms)]);

    /// <summary>A request of several series.</summary>
    public static IMessage Request(bool isV2, params (string Name, Histogram[] Histograms)[] series)
    {
        if (!isV2) return Requests.V1([.. series.Select(static pair => V1(pair.Name, pair.Histograms))]);
        var request = Requests.V2Of();
        foreach ((string name, Histogram[] histograms) in series)
            Requests.Add(request, $"__name__={name}").Histograms.AddRange(histograms.Select(AsV2));
        return request;
    }

    /// <summary>The fields are the same by number.</summary>
    public static V2.Histogram AsV2(Histogram histogram) => V2.Histogram.Parser.ParseFrom(histogram.ToByteArray());

    private static TimeSeries V1(string name, Histogram[] histograms)
    {
        TimeSeries series = Requests.SeriesOf($"__name__={name}");
        series.Histograms.AddRange(histograms);
        return series;
    }
}
