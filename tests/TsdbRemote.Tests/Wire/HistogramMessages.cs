using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Chunks;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Wire;

/// <summary>Histograms as messages of the generated types, and back.</summary>
internal static class HistogramMessages
{
    public static Histogram Of(NativeHistogram from, long timeMs)
    {
        var to = new Histogram
        {
            Sum = Double(from.SumBits),
            Schema = from.Schema,
            ZeroThreshold = from.ZeroThreshold,
            ResetHint = (Histogram.Types.ResetHint)from.Hint,
            Timestamp = timeMs,
        };
        to.PositiveSpans.AddRange(from.PositiveSpans.Select(static span => new Protos.Prometheus.BucketSpan { Offset = span.Offset, Length = span.Length }));
        to.NegativeSpans.AddRange(from.NegativeSpans.Select(static span => new Protos.Prometheus.BucketSpan { Offset = span.Offset, Length = span.Length }));
        to.CustomValues.AddRange(from.CustomBounds);
        if (from.IsFloat)
        {
            (to.CountFloat, to.ZeroCountFloat) = (Double(from.Count), Double(from.ZeroCount));
            to.PositiveCounts.AddRange(from.PositiveBuckets.Select(BitConverter.Int64BitsToDouble));
            to.NegativeCounts.AddRange(from.NegativeBuckets.Select(BitConverter.Int64BitsToDouble));
        }
        else
        {
            (to.CountInt, to.ZeroCountInt) = (from.Count, from.ZeroCount);
            to.PositiveDeltas.AddRange(from.PositiveBuckets);
            to.NegativeDeltas.AddRange(from.NegativeBuckets);
        }

        return to;
    }

    /// <summary>The same for remote write 2.0.</summary>
    public static V2.Histogram V2Of(NativeHistogram from, long timeMs) => V2.Histogram.Parser.ParseFrom(Of(from, timeMs).ToByteArray());

    /// <summary>A message as it is understood here, unchecked.</summary>
    public static NativeHistogram From(IMessage message)
    {
        var reader = new WireReader(message.ToByteArray(), 0);
        var histogram = new NativeHistogram();
        Assert.True(HistogramWire.TryRead(ref reader, histogram, out _));
        return histogram;
    }

    /// <summary>One that says of itself that it holds more than it does.</summary>
    public static NativeHistogram Wrong()
    {
        NativeHistogram wrong = HistogramGen.Integer(1, 1, 2);
        wrong.Count = 99;
        return wrong;
    }

    private static double Double(ulong bits) => BitConverter.UInt64BitsToDouble(bits);
}
