using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Model;

/// <summary>What is known of counter resets between a histogram and the one before it. Numbered as on the wire.</summary>
public enum CounterResetHint : byte
{
    /// <summary>Nothing; whoever asks has to compare.</summary>
    Unknown = 0,

    /// <summary>The counters started anew with this histogram.</summary>
    Reset = 1,

    /// <summary>There was none.</summary>
    NotReset = 2,

    /// <summary>A gauge histogram, of which counts may fall.</summary>
    Gauge = 3,
}

/// <summary>How buckets are laid out: bucket i of schema n ends at 2^(i × 2^-n), or at a bound of the histogram's own.</summary>
public static class HistogramSchema
{
    /// <summary>Bounds are listed; positive side only (NHCB).</summary>
    public const int Custom = -53;

    /// <summary>Coarsest resolution.</summary>
    public const int Min = -4;

    /// <summary>Finest resolution; finer ones are reduced to it.</summary>
    public const int Max = 8;

    /// <summary>Coarsest resolution that the format has kept free.</summary>
    public const int MinReserved = -9;

    /// <summary>Finest resolution that the format has kept free.</summary>
    public const int MaxReserved = 52;

    /// <summary>True for what may be stored.</summary>
    public static bool IsValid(int schema) => schema is (>= Min and <= Max) or Custom;

    /// <summary>True for what a reader can make sense of.</summary>
    public static bool IsKnown(int schema) => schema is (>= MinReserved and <= MaxReserved) or Custom;
}

/// <summary>A native histogram of any kind: integer or float, exponential or custom buckets. Made to be filled again and again.</summary>
/// <remarks>
/// Numbers are kept as words, so that one type serves both kinds and no NaN passes through arithmetic:
/// <code>
///                  integer                                            float
/// Count, ZeroCount the number                                         IEEE 754 bits
/// buckets          difference to the left neighbour, first absolute   IEEE 754 bits of the bucket's own count
/// </code>
/// Lists are cleared, not replaced: filling one histogram after another of the same shape takes no memory. Not thread-safe.
/// Nothing is checked here; <see cref="HistogramValidation"/> judges what came from outside.
/// </remarks>
public sealed class NativeHistogram
{
    /// <summary>True if counts are floating-point numbers.</summary>
    public bool IsFloat { get; set; }

    /// <summary>Resolution, or <see cref="HistogramSchema.Custom"/>.</summary>
    public int Schema { get; set; }

    /// <summary>Half width of the zero bucket.</summary>
    public double ZeroThreshold { get; set; }

    /// <summary>What the sender knows of resets.</summary>
    public CounterResetHint Hint { get; set; }

    /// <summary>Observations, as a word.</summary>
    public ulong Count { get; set; }

    /// <summary>Observations in the zero bucket, as a word.</summary>
    public ulong ZeroCount { get; set; }

    /// <summary>IEEE 754 bits of the sum of observations; <see cref="StaleMarker.Bits"/> ends the series.</summary>
    public ulong SumBits { get; set; }

    /// <summary>Which buckets of positive values there are.</summary>
    public List<BucketSpan> PositiveSpans { get; } = [];

    /// <summary>Buckets of positive values, as words.</summary>
    public List<long> PositiveBuckets { get; } = [];

    /// <summary>Which buckets of negative values there are.</summary>
    public List<BucketSpan> NegativeSpans { get; } = [];

    /// <summary>Buckets of negative values, as words.</summary>
    public List<long> NegativeBuckets { get; } = [];

    /// <summary>Upper bounds of the buckets for <see cref="HistogramSchema.Custom"/>, +Inf left out; otherwise empty.</summary>
    public List<double> CustomBounds { get; } = [];

    /// <summary>True for the mark that the series has ended; all but the sum is then without meaning.</summary>
    public bool IsStale => SumBits == StaleMarker.Bits;

    /// <summary>Makes it an integer histogram without observations.</summary>
    public void Clear()
    {
        IsFloat = false;
        Hint = CounterResetHint.Unknown;
        ClearAllButKind();
    }

    /// <summary>Takes over everything from another one.</summary>
    public void CopyFrom(NativeHistogram other)
    {
        (IsFloat, Schema, ZeroThreshold, Hint) = (other.IsFloat, other.Schema, other.ZeroThreshold, other.Hint);
        (Count, ZeroCount, SumBits) = (other.Count, other.ZeroCount, other.SumBits);
        Copy(other.PositiveSpans, PositiveSpans);
        Copy(other.PositiveBuckets, PositiveBuckets);
        Copy(other.NegativeSpans, NegativeSpans);
        Copy(other.NegativeBuckets, NegativeBuckets);
        Copy(other.CustomBounds, CustomBounds);
    }

    /// <summary>
    /// True if both say the same of what was observed, bit for bit. Hints do not count, nor do empty buckets: a chunk may have had to add some.
    /// Nor does the sign of a threshold or bound of zero, which a chunk does not keep.
    /// </summary>
    /// <param name="other">Spans and buckets of both must agree in number.</param>
    public bool SaysTheSameAs(NativeHistogram other)
    {
        if (IsFloat != other.IsFloat || SumBits != other.SumBits) return false;
        if (IsStale) return true;
        return Schema == other.Schema
            && IsSame(ZeroThreshold, other.ZeroThreshold)
            && Count == other.Count
            && ZeroCount == other.ZeroCount
            && SameBounds(CollectionsMarshal.AsSpan(CustomBounds), CollectionsMarshal.AsSpan(other.CustomBounds))
            && SameSide(PositiveSpans, PositiveBuckets, other.PositiveSpans, other.PositiveBuckets, IsFloat)
            && SameSide(NegativeSpans, NegativeBuckets, other.NegativeSpans, other.NegativeBuckets, IsFloat);
    }

    /// <summary>Leaves what a stale mark says: kind, hint and sum.</summary>
    internal void MakeStale()
    {
        ClearAllButKind();
        SumBits = StaleMarker.Bits;
    }

    private void ClearAllButKind()
    {
        Schema = 0;
        ZeroThreshold = 0;
        Count = ZeroCount = SumBits = 0;
        PositiveSpans.Clear();
        PositiveBuckets.Clear();
        NegativeSpans.Clear();
        NegativeBuckets.Clear();
        CustomBounds.Clear();
    }

    private static void Copy<T>(List<T> from, List<T> to)
    {
        to.Clear();
        to.AddRange(CollectionsMarshal.AsSpan(from));
    }

    private static bool SameBounds(ReadOnlySpan<double> left, ReadOnlySpan<double> right)
    {
        if (left.Length != right.Length) return false;
        for (int i = 0; i < left.Length; i++)
        {
            if (!IsSame(left[i], right[i])) return false;
        }

        return true;
    }

    private static bool IsSame(double left, double right) =>
        left == right || BitConverter.DoubleToUInt64Bits(left) == BitConverter.DoubleToUInt64Bits(right);

    private static bool SameSide(List<BucketSpan> spans, List<long> buckets, List<BucketSpan> otherSpans, List<long> otherBuckets, bool isFloat)
    {
        var own = new FilledBuckets(spans, buckets, isFloat);
        var others = new FilledBuckets(otherSpans, otherBuckets, isFloat);
        while (true)
        {
            bool more = own.MoveNext();
            if (more != others.MoveNext()) return false;
            if (!more) return true;
            if (own.Index != others.Index || own.Count != others.Count) return false;
        }
    }

    /// <summary>Walks the buckets of one side that hold anything.</summary>
    private ref struct FilledBuckets(List<BucketSpan> spans, List<long> buckets, bool isFloat)
    {
        private readonly ReadOnlySpan<long> _buckets = CollectionsMarshal.AsSpan(buckets);
        private BucketWalk _walk = new(CollectionsMarshal.AsSpan(spans));

        public readonly long Index => _walk.Index;

        public long Count { readonly get; private set; }

        public bool MoveNext()
        {
            while (_walk.MoveNext())
            {
                Count = isFloat ? _buckets[_walk.Position] : Count + _buckets[_walk.Position];
                if (Count != 0) return true;
            }

            return false;
        }
    }
}
