using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>What stands before the samples of a histogram chunk, and rule 23 over it. Reused from chunk to chunk.</summary>
/// <remarks>
/// <code>
/// zero threshold 8 bits, 255 → 64 raw │ schema varbit_int │ positive spans │ negative spans │ schema -53: bounds
/// spans   varbit_uint count, then of each: varbit_uint length, varbit_int offset
/// bounds  varbit_uint count, then of each: varbit_uint (1000 × bound + 1), or one 0 bit and 64 raw bits
/// </code>
/// Read here apart from <see cref="HistogramChunkFormat"/>, with numbers as wide as the bytes can say them, so that a fault of the one shows against the
/// other and what is wrong can be named.
/// </remarks>
internal sealed class HistogramLayout(Findings findings)
{
    /// <summary>The schema of custom bounds.</summary>
    public const long CustomBounds = HistogramSchema.Custom;

    private const int MaxBuckets = HistogramChunkFormat.MaxBuckets;
    private const int RawThreshold = 255;

    // No bucket has an index beyond: as in every reader, an index is a number of 32 bits.
    private const long MaxReach = BucketSpans.MaxIndex;

    private readonly List<RawSpan> _positive = [];
    private readonly List<RawSpan> _negative = [];
    private readonly List<double> _bounds = [];

    /// <summary>Bits of the zero bucket's width.</summary>
    public ulong ThresholdBits { get; private set; }

    /// <summary>Resolution, or <see cref="CustomBounds"/>.</summary>
    public long Schema { get; private set; }

    /// <summary>Buckets of positive values.</summary>
    public int PositiveCount { get; private set; }

    /// <summary>Buckets of negative values.</summary>
    public int NegativeCount { get; private set; }

    /// <summary>Upper bounds of the buckets, for <see cref="CustomBounds"/>.</summary>
    public IReadOnlyList<double> Bounds => _bounds;

    /// <summary>All buckets.</summary>
    public int BucketCount => PositiveCount + NegativeCount;

    /// <summary>Reads a layout.</summary>
    /// <param name="bits">Behind the flags.</param>
    /// <param name="bitsPerBucket">What a bucket takes in sample 0 at least: no memory is taken for more than there can be.</param>
    /// <param name="place">Where the chunk is.</param>
    /// <returns>False if samples cannot be read behind it; that has been reported.</returns>
    public bool TryRead(ref BitCursor bits, int bitsPerBucket, in ChunkPlace place)
    {
        ThresholdBits = ReadThreshold(ref bits);
        Schema = bits.ReadVarbitInt();
        bool fits = TryReadSpans(ref bits, _positive, out long positive) & TryReadSpans(ref bits, _negative, out long negative);
        _bounds.Clear();
        if (Schema == CustomBounds && fits) fits = TryReadBounds(ref bits);
        if (!fits || bits.IsOverrun)
        {
            findings.Error(19, place.File, place.Offset, $"the layout of the histogram chunk of {place.Series} runs past its end");
            return false;
        }

        if (positive + negative > MaxBuckets)
        {
            findings.Error(
                23, place.File, place.Offset, $"the spans of {place.Series} name {positive + negative} buckets; {MaxBuckets} allowed");
            return false;
        }

        if ((positive + negative) * bitsPerBucket > bits.Remaining)
        {
            findings.Error(
                19, place.File, place.Offset, $"the {positive + negative} buckets of {place.Series} do not fit into their chunk");
            return false;
        }

        PositiveCount = (int)positive;
        NegativeCount = (int)negative;
        CheckSchema(place);
        CheckSpans(_positive, "positive", place);
        CheckSpans(_negative, "negative", place);
        return true;
    }

    /// <summary>Gives each bucket its index, in the order in which a sample holds them.</summary>
    /// <param name="target">Room for <see cref="BucketCount"/>.</param>
    public void WriteIndexes(Span<long> target)
    {
        int at = 0;
        foreach (List<RawSpan> spans in (ReadOnlySpan<List<RawSpan>>)[_positive, _negative])
        {
            long index = 0;
            foreach (RawSpan span in spans)
            {
                index += span.Offset;
                for (ulong i = 0; i < span.Length; i++) target[at++] = index++;
            }
        }
    }

    private static ulong ReadThreshold(ref BitCursor bits)
    {
        int code = (int)bits.Read(8);
        if (code == RawThreshold) return bits.Read(64);
        return code == 0 ? 0 : BitConverter.DoubleToUInt64Bits(Math.ScaleB(0.5, code - 243));
    }

    private static bool TryReadSpans(ref BitCursor bits, List<RawSpan> spans, out long buckets)
    {
        spans.Clear();
        buckets = 0;
        ulong count = bits.ReadVarbitUint();
        if (count > (ulong)bits.Remaining / 2) return false; // a span takes two bits at least
        for (ulong i = 0; i < count; i++)
        {
            ulong length = bits.ReadVarbitUint();
            spans.Add(new RawSpan(length, bits.ReadVarbitInt()));
            buckets = length > MaxBuckets ? MaxBuckets + 1 : Math.Min(buckets + (long)length, MaxBuckets + 1);
        }

        return true;
    }

    private bool TryReadBounds(ref BitCursor bits)
    {
        ulong count = bits.ReadVarbitUint();
        if (count > (ulong)bits.Remaining / 5) return false; // the shortest bound takes five bits
        for (ulong i = 0; i < count; i++)
        {
            ulong scaled = bits.ReadVarbitUint();
            _bounds.Add(scaled == 0 ? BitConverter.UInt64BitsToDouble(bits.Read(64)) : (scaled - 1) / 1000.0);
        }

        return true;
    }

    private void CheckSchema(in ChunkPlace place)
    {
        if (Schema != (int)Schema || !HistogramSchema.IsValid((int)Schema))
            findings.Error(23, place.File, place.Offset, $"{place.Series} has schema {Schema}; -4 to 8 and {CustomBounds} are known");
        if (Schema != CustomBounds) return;
        if (_negative.Count > 0) findings.Error(23, place.File, place.Offset, $"{place.Series} has custom bounds and negative spans");
        for (int i = 0; i < _bounds.Count; i++)
        {
            if (double.IsFinite(_bounds[i]) && (i == 0 || _bounds[i] > _bounds[i - 1])) continue;
            findings.Error(23, place.File, place.Offset, $"custom bound {i} of {place.Series}, {_bounds[i]}, is not finite or not above the last");
            break;
        }

        if (_bounds.Count > MaxBuckets) findings.Error(23, place.File, place.Offset, $"{place.Series} has {_bounds.Count} custom bounds; {MaxBuckets} allowed");
        long end = 0;
        foreach (RawSpan span in _positive) end = Math.Min(end + Math.Clamp(span.Offset, -MaxReach, MaxReach) + (long)span.Length, MaxReach);
        if (PositiveCount > _bounds.Count + 1 || end > _bounds.Count + 1 || (_positive.Count > 0 && _positive[0].Offset < 0))
        {
            findings.Error(
                23, place.File, place.Offset, $"{place.Series} has {PositiveCount} buckets for {_bounds.Count} custom bounds, or some beyond them");
        }
    }

    private void CheckSpans(List<RawSpan> spans, string side, in ChunkPlace place)
    {
        if (spans.Count > MaxBuckets) findings.Error(23, place.File, place.Offset, $"{place.Series} has {spans.Count} {side} spans; {MaxBuckets} allowed");
        long index = 0;
        for (int i = 0; i < spans.Count; i++)
        {
            // Lengths are below the number of buckets here, and so no sum leaves 64 bits before it is seen to be out of reach.
            if (spans[i].Offset is < -MaxReach or > MaxReach || (index += spans[i].Offset) < -MaxReach || (index += (long)spans[i].Length) > MaxReach)
            {
                findings.Error(23, place.File, place.Offset, $"{side} span {i} of {place.Series}, {spans[i].Offset} buckets on, reaches beyond bucket {MaxReach} or {-MaxReach}");
                return;
            }

            if (i > 0 && spans[i].Offset < 0)
                findings.Error(23, place.File, place.Offset, $"{side} span {i} of {place.Series} steps back by {-spans[i].Offset} buckets");
            if (spans[i].Length == 0) findings.Warning(23, place.File, place.Offset, $"{side} span {i} of {place.Series} is empty");
        }
    }

    private readonly record struct RawSpan(ulong Length, long Offset);
}
