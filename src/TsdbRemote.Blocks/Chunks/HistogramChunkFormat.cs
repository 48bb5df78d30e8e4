using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>What a histogram chunk's header says of the counters before it; the top two bits of its flags.</summary>
public enum HistogramChunkFlags : byte
{
    /// <summary>Whoever reads has to compare. Always safe.</summary>
    Unknown = 0b0000_0000,

    /// <summary>The chunk continues the one before it.</summary>
    NotReset = 0b0100_0000,

    /// <summary>The chunk was begun because the counters started anew.</summary>
    Reset = 0b1000_0000,

    /// <summary>A chunk of gauges, of which nothing is said to ascend.</summary>
    Gauge = 0b1100_0000,
}

/// <summary>One number of a histogram on its way through a chunk: a count, the sum or a bucket.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct HistogramLane
{
    /// <summary>The last sample's number, as <see cref="NativeHistogram"/> keeps it.</summary>
    public ulong Word;

    /// <summary>Of an integer: its last step.</summary>
    public long Delta;

    /// <summary>Of a float: its open window.</summary>
    public XorWindow Window;
}

/// <summary>Chunks of native histograms: encoding 2 of integer ones, 3 of float ones.</summary>
/// <remarks>
/// <code>
/// be16 sample count │ u8 flags: 10 reset · 01 no reset · 11 gauge · 00 unknown, six zero bits │ bit stream: layout, samples, zero padded
/// layout     zero threshold │ schema varbit_int │ positive spans │ negative spans │ schema -53: bounds
///   threshold  u8: 0 → 0 · 1..254 → 0.5 × 2^(b-243) · 255 → 64 raw bits
///   spans      varbit_uint count, then of each: varbit_uint length, varbit_int offset
///   bounds     varbit_uint count, then of each: varbit_uint (1000 × bound + 1), or one 0 bit and 64 raw bits
/// sample 0   time varbit_int │ count │ zero count │ sum 64 raw bits │ positive, then negative buckets
/// sample n   time dod        │ count │ zero count │ sum xor         │ buckets; none if the sum is the stale marker
///   integer    counts varbit_uint, buckets varbit_int (difference to the left neighbour); later the dod of each as varbit_int
///   float      each 64 raw bits; later each xor with a window of its own
/// </code>
/// Every dod is a varbit_int and starts from a step of 0. A stale sample has counts of 0 steps (integer) or of 0 (float); as sample 0 an empty layout.
/// Source: prometheus, tsdb/chunkenc/{histogram,float_histogram,histogram_meta}.go. The verifier reads this format by code of its own
/// (Verification/HistogramRules.cs), so that a fault of the one shows against the other; limits and names are shared.
/// </remarks>
internal static class HistogramChunkFormat
{
    /// <summary>Sample count and flags.</summary>
    public const int HeaderBytes = sizeof(ushort) + 1;

    /// <summary>Where the flags are.</summary>
    public const int FlagsAt = sizeof(ushort);

    /// <summary>The bits of the flags that say something.</summary>
    public const byte FlagsMask = 0b1100_0000;

    /// <summary>Most buckets of both sides together, most spans of a side and most bounds that a reader takes memory for.</summary>
    public const int MaxBuckets = BucketSpans.MaxBuckets;

    /// <summary>Lane of the count.</summary>
    public const int Count = 0;

    /// <summary>Lane of the zero count.</summary>
    public const int Zero = 1;

    /// <summary>Lane of the sum.</summary>
    public const int Sum = 2;

    /// <summary>Lane of the first bucket, positive ones before negative ones.</summary>
    public const int FirstBucket = 3;

    private const int RawThreshold = 255;
    private const int ThresholdBias = 244;
    private const int MinThresholdExponent = -243;
    private const int MaxThresholdExponent = 10;
    private const double BoundScale = 1000;
    private const double MaxScaledBound = 33554430;

    /// <summary>Bytes that a layout takes at most.</summary>
    public static int MaxLayoutBytes(int spans, int bounds) => 1 + sizeof(ulong) + Varbit.MaxBytes * (4 + 2 * spans + bounds);

    /// <summary>Bytes that a sample with so many lanes takes at most.</summary>
    public static int MaxSampleBytes(int lanes) => Varbit.MaxBytes * (1 + lanes);

    /// <summary>Sets the sample count.</summary>
    public static void WriteCount(Span<byte> chunk, ushort count) => BinaryPrimitives.WriteUInt16BigEndian(chunk, count);

    /// <summary>Writes a layout; a stale histogram's is empty because it has none of it.</summary>
    public static void WriteLayout(
        ref byte start,
        ref int position,
        double zeroThreshold,
        int schema,
        ReadOnlySpan<BucketSpan> positive,
        ReadOnlySpan<BucketSpan> negative,
        ReadOnlySpan<double> bounds)
    {
        WriteThreshold(ref start, ref position, zeroThreshold);
        Varbit.PutInt(ref start, ref position, schema);
        WriteSpans(ref start, ref position, positive);
        WriteSpans(ref start, ref position, negative);
        if (schema != HistogramSchema.Custom) return;
        Varbit.PutUint(ref start, ref position, (ulong)bounds.Length);
        foreach (double bound in bounds) WriteBound(ref start, ref position, bound);
    }

    /// <summary>Reads a layout into a histogram whose lists are then as long as they are to be; buckets are 0.</summary>
    /// <param name="bits">Behind the flags.</param>
    /// <param name="bitsPerBucket">What a bucket takes in sample 0 at least: no memory is taken for more than there can be.</param>
    /// <param name="into">Receives schema, threshold, spans, bounds and room for buckets.</param>
    /// <returns>What is wrong with it, or null.</returns>
    public static string? ReadLayout(ref BitReader bits, int bitsPerBucket, NativeHistogram into)
    {
        into.ZeroThreshold = ReadThreshold(ref bits);
        long schema = Varbit.ReadInt(ref bits);
        if (schema != (int)schema || !HistogramSchema.IsKnown((int)schema)) return $"schema {schema} is unknown";
        into.Schema = (int)schema;
        string? problem = ReadSpans(ref bits, into.PositiveSpans) ?? ReadSpans(ref bits, into.NegativeSpans);
        if (problem is null && schema == HistogramSchema.Custom) problem = ReadBounds(ref bits, into);
        if (problem is not null) return problem;
        if (bits.IsOverrun) return "it ends within its layout";
        int positive = BucketSpans.Count(CollectionsMarshal.AsSpan(into.PositiveSpans));
        int negative = BucketSpans.Count(CollectionsMarshal.AsSpan(into.NegativeSpans));
        if (positive + negative > MaxBuckets) return $"its spans name {positive + negative} buckets or more; {MaxBuckets} allowed";
        if ((positive + negative) * (long)bitsPerBucket > bits.Remaining) return $"its {positive + negative} buckets do not fit into it";
        CollectionsMarshal.SetCount(into.PositiveBuckets, positive);
        CollectionsMarshal.SetCount(into.NegativeBuckets, negative);
        return null;
    }

    private static void WriteThreshold(ref byte start, ref int position, double threshold)
    {
        ulong raw = BitConverter.DoubleToUInt64Bits(threshold);
        if (threshold == 0)
        {
            BitWriter.Put(ref start, ref position, 0, 8);
        }
        else if (double.IsPow2(threshold) && Math.ILogB(threshold) is var exponent and >= MinThresholdExponent and <= MaxThresholdExponent)
        {
            BitWriter.Put(ref start, ref position, (ulong)(exponent + ThresholdBias), 8);
        }
        else
        {
            BitWriter.Put(ref start, ref position, RawThreshold, 8);
            BitWriter.PutWide(ref start, ref position, raw, 64);
        }
    }

    private static double ReadThreshold(ref BitReader bits)
    {
        int code = (int)bits.Read(8);
        if (code == RawThreshold) return BitConverter.UInt64BitsToDouble(bits.Read(64));
        return code == 0 ? 0 : Math.ScaleB(1, code - ThresholdBias);
    }

    private static void WriteSpans(ref byte start, ref int position, ReadOnlySpan<BucketSpan> spans)
    {
        Varbit.PutUint(ref start, ref position, (ulong)spans.Length);
        foreach (BucketSpan span in spans)
        {
            Varbit.PutUint(ref start, ref position, span.Length);
            Varbit.PutInt(ref start, ref position, span.Offset);
        }
    }

    private static string? ReadSpans(ref BitReader bits, List<BucketSpan> spans)
    {
        spans.Clear();
        ulong count = Varbit.ReadUint(ref bits);
        if (bits.IsOverrun || count > (ulong)bits.Remaining / 2 || count > MaxBuckets) return $"{count} spans do not fit into it"; // two bits each at least
        for (ulong i = 0; i < count; i++)
        {
            ulong length = Varbit.ReadUint(ref bits);
            long offset = Varbit.ReadInt(ref bits);
            if (length > MaxBuckets) return $"a span names {length} buckets; {MaxBuckets} allowed";
            if (offset != (int)offset) return $"a span's offset of {offset} exceeds 32 bits";
            spans.Add(new BucketSpan((int)offset, (uint)length));
        }

        return BucketSpans.Problem(CollectionsMarshal.AsSpan(spans));
    }

    private static void WriteBound(ref byte start, ref int position, double bound)
    {
        double scaled = bound * BoundScale;
        if (scaled is >= 0 and <= MaxScaledBound)
        {
            ulong whole = (ulong)Math.Round(scaled, MidpointRounding.AwayFromZero);
            if (whole / BoundScale == bound)
            {
                Varbit.PutUint(ref start, ref position, whole + 1);
                return;
            }
        }

        BitWriter.Put(ref start, ref position, 0, 1);
        BitWriter.PutWide(ref start, ref position, BitConverter.DoubleToUInt64Bits(bound), 64);
    }

    private static string? ReadBounds(ref BitReader bits, NativeHistogram into)
    {
        ulong count = Varbit.ReadUint(ref bits);
        if (bits.IsOverrun || count > (ulong)bits.Remaining / 5 || count > MaxBuckets) return $"{count} custom bounds do not fit into it"; // five bits each at least
        for (ulong i = 0; i < count; i++)
        {
            ulong scaled = Varbit.ReadUint(ref bits);
            double bound = scaled == 0 ? BitConverter.UInt64BitsToDouble(bits.Read(64)) : (scaled - 1) / BoundScale;
            if (!double.IsFinite(bound) || (i > 0 && bound <= into.CustomBounds[^1])) return $"custom bound {i}, {bound}, is not finite or not above the last";
            into.CustomBounds.Add(bound);
        }

        if (into.NegativeSpans.Count > 0) return "it has custom bounds and negative spans";
        long end = 0;
        foreach (BucketSpan span in into.PositiveSpans) end += (long)span.Offset + span.Length;
        bool fits = end <= into.CustomBounds.Count + 1 && (into.PositiveSpans.Count == 0 || into.PositiveSpans[0].Offset >= 0);
        return fits ? null : $"its buckets reach beyond its {count} custom bounds";
    }
}
