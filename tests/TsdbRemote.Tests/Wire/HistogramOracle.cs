using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Wire;

/// <summary>Histograms as the generated parser reads them, against those of the hand decoder.</summary>
internal static class HistogramOracle
{
    /// <summary>The fields that both versions have. Not by way of bytes: the generated writer leaves out -0.0.</summary>
    public static OracleV1.Histogram AsV1(OracleV2.Histogram from)
    {
        var to = new OracleV1.Histogram
        {
            Sum = from.Sum,
            Schema = from.Schema,
            ZeroThreshold = from.ZeroThreshold,
            ResetHint = (OracleV1.Histogram.Types.ResetHint)from.ResetHint,
            Timestamp = from.Timestamp,
        };
        if (from.HasCountInt) to.CountInt = from.CountInt;
        if (from.HasCountFloat) to.CountFloat = from.CountFloat;
        if (from.HasZeroCountInt) to.ZeroCountInt = from.ZeroCountInt;
        if (from.HasZeroCountFloat) to.ZeroCountFloat = from.ZeroCountFloat;
        to.PositiveSpans.AddRange(from.PositiveSpans.Select(AsV1));
        to.NegativeSpans.AddRange(from.NegativeSpans.Select(AsV1));
        to.PositiveDeltas.AddRange(from.PositiveDeltas);
        to.NegativeDeltas.AddRange(from.NegativeDeltas);
        to.PositiveCounts.AddRange(from.PositiveCounts);
        to.NegativeCounts.AddRange(from.NegativeCounts);
        to.CustomValues.AddRange(from.CustomValues);
        return to;
    }

    /// <summary>Compares all histograms of a request.</summary>
    /// <returns>Times of those that may be stored.</returns>
    public static List<long> Compare(OracleV1.Histogram[] expected, WriteBatch batch)
    {
        List<long> times = [];
        Assert.Equal(expected.Length, batch.Histograms.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            HistogramEntry entry = batch.Histograms[i];
            NativeHistogram asSent = Of(expected[i]);
            var message = new WireReader(batch.HistogramMessage(i), 0);
            var decoded = new NativeHistogram { Schema = 77, SumBits = 77 };
            Assert.True(HistogramWire.TryRead(ref message, decoded, out long timeMs));
            AssertEqual(asSent, decoded);
            Assert.Equal(expected[i].Timestamp, timeMs);
            Assert.Equal(expected[i].Timestamp, entry.TimeMs);

            string? problem = HistogramValidation.Admit(asSent);
            Assert.Equal(problem is null, entry.IsValid);
            if (problem is not null)
            {
                Assert.Equal(problem, batch.ExplainHistogram(i));
                continue;
            }

            AssertEqual(asSent, batch.HistogramAt(i));
            times.Add(timeMs);
        }

        return times;
    }

    private static OracleV1.BucketSpan AsV1(OracleV2.BucketSpan span) => new() { Offset = span.Offset, Length = span.Length };

    private static NativeHistogram Of(OracleV1.Histogram from)
    {
        bool isFloat = from.CountCase == OracleV1.Histogram.CountOneofCase.CountFloat;
        var into = new NativeHistogram
        {
            IsFloat = isFloat,
            Schema = from.Schema,
            ZeroThreshold = from.ZeroThreshold,
            Hint = (int)from.ResetHint is >= 0 and <= 3 ? (CounterResetHint)from.ResetHint : CounterResetHint.Unknown,
            Count = isFloat ? Bits(from.CountFloat) : from.CountInt,
            ZeroCount = isFloat ? Bits(from.ZeroCountFloat) : from.ZeroCountInt,
            SumBits = Bits(from.Sum),
        };
        into.PositiveSpans.AddRange(Spans(from.PositiveSpans));
        into.NegativeSpans.AddRange(Spans(from.NegativeSpans));
        into.PositiveBuckets.AddRange(isFloat ? from.PositiveCounts.Select(Word) : from.PositiveDeltas);
        into.NegativeBuckets.AddRange(isFloat ? from.NegativeCounts.Select(Word) : from.NegativeDeltas);
        into.CustomBounds.AddRange(from.CustomValues);
        return into;
    }

    private static void AssertEqual(NativeHistogram expected, NativeHistogram actual)
    {
        Assert.Equal(
            (expected.IsFloat, expected.Schema, Bits(expected.ZeroThreshold), expected.Hint, expected.Count, expected.ZeroCount, expected.SumBits),
            (actual.IsFloat, actual.Schema, Bits(actual.ZeroThreshold), actual.Hint, actual.Count, actual.ZeroCount, actual.SumBits));
        Assert.Equal(expected.PositiveSpans, actual.PositiveSpans);
        Assert.Equal(expected.NegativeSpans, actual.NegativeSpans);
        Assert.Equal(expected.PositiveBuckets, actual.PositiveBuckets);
        Assert.Equal(expected.NegativeBuckets, actual.NegativeBuckets);
        Assert.Equal(expected.CustomBounds.Select(Bits), actual.CustomBounds.Select(Bits));
    }

    private static IEnumerable<BucketSpan> Spans(RepeatedField<OracleV1.BucketSpan> spans) =>
        spans.Select(static span => new BucketSpan(span.Offset, span.Length));

    private static ulong Bits(double value) => BitConverter.DoubleToUInt64Bits(value);

    private static long Word(double value) => BitConverter.DoubleToInt64Bits(value);
}
