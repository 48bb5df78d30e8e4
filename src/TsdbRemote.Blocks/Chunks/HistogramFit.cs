using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>How the buckets of a histogram stand to those of the chunk it is to go into.</summary>
[Flags]
internal enum BucketFit
{
    /// <summary>The same buckets.</summary>
    Same = 0,

    /// <summary>It has buckets that the chunk lacks: the chunk is to be rewritten with more.</summary>
    ChunkLacks = 1,

    /// <summary>The chunk has buckets that it lacks: it is to be given empty ones.</summary>
    HistogramLacks = 2,

    /// <summary>A bucket fell, or one that was filled is gone.</summary>
    Reset = 4,
}

/// <summary>Compares buckets with those of a chunk, and fits them to other spans. Stateless.</summary>
internal static class HistogramFit
{
    /// <summary>Compares one side.</summary>
    /// <param name="chunkSpans">Spans of the chunk.</param>
    /// <param name="lanes">Buckets of the chunk's last sample.</param>
    /// <param name="spans">Spans of the histogram.</param>
    /// <param name="buckets">Buckets of the histogram, as many as its spans name.</param>
    /// <param name="isFloat">Kind of both.</param>
    /// <param name="isGauge">True if counts may fall.</param>
    public static BucketFit Compare(
        ReadOnlySpan<BucketSpan> chunkSpans,
        ReadOnlySpan<HistogramLane> lanes,
        ReadOnlySpan<BucketSpan> spans,
        ReadOnlySpan<long> buckets,
        bool isFloat,
        bool isGauge)
    {
        if (chunkSpans.SequenceEqual(spans)) return !isGauge && AnyFalls(lanes, buckets, isFloat) ? BucketFit.Reset : BucketFit.Same;
        var fit = BucketFit.Same;
        var old = new LaneWalk(chunkSpans, lanes, isFloat);
        var own = new CountWalk(spans, buckets, isFloat);
        bool hasOld = old.MoveNext();
        bool hasOwn = own.MoveNext();
        while (hasOld || hasOwn)
        {
            if (!hasOld || (hasOwn && own.Index < old.Index))
            {
                fit |= BucketFit.ChunkLacks;
                hasOwn = own.MoveNext();
                continue;
            }

            if (!hasOwn || old.Index < own.Index)
            {
                if (!isGauge && !IsZero(old.Count, isFloat)) return BucketFit.Reset;
                fit |= BucketFit.HistogramLacks;
                hasOld = old.MoveNext();
                continue;
            }

            if (!isGauge && IsLower(own.Count, old.Count, isFloat)) return BucketFit.Reset;
            hasOld = old.MoveNext();
            hasOwn = own.MoveNext();
        }

        return fit;
    }

    /// <summary>Makes the spans of all buckets that either side names, as short as they can be.</summary>
    public static void Unite(ReadOnlySpan<BucketSpan> left, ReadOnlySpan<BucketSpan> right, List<BucketSpan> into)
    {
        into.Clear();
        var a = new BucketWalk(left);
        var b = new BucketWalk(right);
        bool hasA = a.MoveNext();
        bool hasB = b.MoveNext();
        long last = 0;
        while (hasA || hasB)
        {
            long index = !hasB || (hasA && a.Index < b.Index) ? a.Index : b.Index;
            if (hasA && a.Index == index) hasA = a.MoveNext();
            if (hasB && b.Index == index) hasB = b.MoveNext();
            BucketSpans.Add(into, ref last, index);
        }
    }

    /// <summary>Gives a side empty buckets.</summary>
    /// <param name="spans">Spans that the buckets have.</param>
    /// <param name="buckets">The buckets.</param>
    /// <param name="widerSpans">Spans that they are to have; they name all of the others' buckets.</param>
    /// <param name="into">Receives the buckets.</param>
    /// <param name="isFloat">Their kind.</param>
    public static void Widen(
        ReadOnlySpan<BucketSpan> spans, ReadOnlySpan<long> buckets, ReadOnlySpan<BucketSpan> widerSpans, List<long> into, bool isFloat)
    {
        into.Clear();
        var own = new CountWalk(spans, buckets, isFloat);
        var wider = new BucketWalk(widerSpans);
        bool hasOwn = own.MoveNext();
        long last = 0;
        while (wider.MoveNext())
        {
            long count = 0;
            if (hasOwn && own.Index == wider.Index)
            {
                count = own.Count;
                hasOwn = own.MoveNext();
            }

            into.Add(isFloat ? count : count - last);
            last = count;
        }
    }

    /// <summary>Whether a count is below another.</summary>
    public static bool IsLower(ulong word, ulong than, bool isFloat) =>
        isFloat ? BitConverter.UInt64BitsToDouble(word) < BitConverter.UInt64BitsToDouble(than) : word < than;

    // A bucket is a signed number, which a hostile sender can make overflow.
    private static bool IsLower(long word, long than, bool isFloat) => isFloat ? IsLower((ulong)word, (ulong)than, isFloat) : word < than;

    private static bool IsZero(long word, bool isFloat) => isFloat ? BitConverter.Int64BitsToDouble(word) == 0 : word == 0;

    private static bool AnyFalls(ReadOnlySpan<HistogramLane> lanes, ReadOnlySpan<long> buckets, bool isFloat)
    {
        long old = 0;
        long own = 0;
        for (int i = 0; i < buckets.Length; i++)
        {
            old = isFloat ? (long)lanes[i].Word : old + (long)lanes[i].Word;
            own = isFloat ? buckets[i] : own + buckets[i];
            if (IsLower(own, old, isFloat)) return true;
        }

        return false;
    }

    /// <summary>Walks the buckets of a chunk's last sample with what each holds.</summary>
    [StructLayout(LayoutKind.Auto)]
    private ref struct LaneWalk(ReadOnlySpan<BucketSpan> spans, ReadOnlySpan<HistogramLane> lanes, bool isFloat)
    {
        private readonly ReadOnlySpan<HistogramLane> _lanes = lanes;
        private BucketWalk _walk = new(spans);

        public readonly long Index => _walk.Index;

        public long Count { readonly get; private set; }

        public bool MoveNext()
        {
            if (!_walk.MoveNext()) return false;
            long word = (long)_lanes[_walk.Position].Word;
            Count = isFloat ? word : Count + word;
            return true;
        }
    }

    /// <summary>Walks the buckets of a histogram with what each holds.</summary>
    [StructLayout(LayoutKind.Auto)]
    private ref struct CountWalk(ReadOnlySpan<BucketSpan> spans, ReadOnlySpan<long> buckets, bool isFloat)
    {
        private readonly ReadOnlySpan<long> _buckets = buckets;
        private BucketWalk _walk = new(spans);

        public readonly long Index => _walk.Index;

        public long Count { readonly get; private set; }

        public bool MoveNext()
        {
            if (!_walk.MoveNext()) return false;
            long word = _buckets[_walk.Position];
            Count = isFloat ? word : Count + word;
            return true;
        }
    }
}
