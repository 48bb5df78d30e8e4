using System.Globalization;
using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Otlp;
using BucketSpan = TsdbRemote.Protos.Prometheus.BucketSpan;
using Histogram = TsdbRemote.Protos.Prometheus.Histogram;

namespace TsdbRemote.Otlp;

/// <summary>Exponential histograms as native ones.</summary>
/// <remarks>
/// Bucket i of an exponential histogram reaches up to base^(i+1), that of a native one up to base^i: so all move by one. Scales above 8 are merged down to it, which is
/// exact; those below -4 have no schema. Resets are left for the reader to find: what a sender means by its start time is not known to be one.
/// </remarks>
internal static class OtlpHistograms
{
    private const int MinScale = -4;
    private const int MaxScale = 8;

    /// <summary>Empty buckets that are written rather than jumped over: a jump costs as much.</summary>
    private const int MaxEmptyRun = 2;

    /// <summary>Prometheus' bound of the zero bucket. It does not read the sender's.</summary>
    private const double ZeroThreshold = 1e-128;

    private const int NoRecordedValue = 1;

    /// <summary>Converts a data point.</summary>
    /// <param name="point">The point.</param>
    /// <param name="timeMs">Its time, ms.</param>
    /// <param name="problem">Why it has no native form; null if it has one.</param>
    public static Histogram? TryConvert(ExponentialHistogramDataPoint point, long timeMs, out string? problem)
    {
        problem = null;
        if ((point.Flags & NoRecordedValue) != 0)
            return new Histogram { Timestamp = timeMs, Sum = BitConverter.UInt64BitsToDouble(StaleMarker.Bits), CountInt = 0, ZeroCountInt = 0 };
        if (point.Scale < MinScale)
        {
            problem = string.Create(CultureInfo.InvariantCulture, $"the scale must be >= {MinScale}, was {point.Scale}");
            return null;
        }

        var histogram = new Histogram
        {
            Timestamp = timeMs,
            CountInt = point.Count,
            Sum = point.Sum,
            Schema = Math.Min(point.Scale, MaxScale),
            ZeroThreshold = ZeroThreshold,
            ZeroCountInt = point.ZeroCount,
        };
        int shift = Math.Min(Math.Max(point.Scale - MaxScale, 0), 62);
        bool isWhole = TryAdd(point.Positive, shift, histogram.PositiveSpans, histogram.PositiveDeltas)
            && TryAdd(point.Negative, shift, histogram.NegativeSpans, histogram.NegativeDeltas);
        if (isWhole) return histogram;
        problem = "a bucket's index or count is out of range";
        return null;
    }

    private static bool TryAdd(ExponentialHistogramDataPoint.Types.Buckets? buckets, int shift, RepeatedField<BucketSpan> spans, RepeatedField<long> deltas)
    {
        if (buckets is null) return true;
        var run = new BucketRun(spans, deltas);
        ulong count = 0;
        for (int i = 0; i < buckets.BucketCounts.Count; i++)
        {
            long index = IndexOf(buckets.Offset, i, shift);
            ulong more = buckets.BucketCounts[i];
            if (more > long.MaxValue - count) return false;
            count += more;
            bool isLast = i + 1 == buckets.BucketCounts.Count || IndexOf(buckets.Offset, i + 1, shift) != index;
            if (!isLast) continue;
            if (count > 0 && !run.TryAdd(index, (long)count)) return false;
            count = 0;
        }

        return true;
    }

    private static long IndexOf(int offset, int i, int shift) => (((long)offset + i) >> shift) + 1;

    /// <summary>Writes buckets, ascending by index, as spans and differences.</summary>
    private struct BucketRun(RepeatedField<BucketSpan> spans, RepeatedField<long> deltas)
    {
        private long _next;
        private long _before;

        public bool TryAdd(long index, long count)
        {
            if (index is < int.MinValue or > int.MaxValue) return false;
            long gap = index - _next;
            if (spans.Count == 0 || gap > MaxEmptyRun)
            {
                if (gap is < int.MinValue or > int.MaxValue) return false;
                spans.Add(new BucketSpan { Offset = (int)gap });
            }
            else
            {
                for (; gap > 0; gap--) Append(0);
            }

            Append(count);
            _next = index + 1;
            return true;
        }

        private void Append(long count)
        {
            spans[^1].Length++;
            deltas.Add(count - _before);
            _before = count;
        }
    }
}
