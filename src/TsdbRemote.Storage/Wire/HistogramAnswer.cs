using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Writes the Histogram message of a SAMPLES answer, with its tag in the series. Stateless.</summary>
/// <remarks>
/// <code>
/// 22 len │ 08 count | 11 count float │ 19 sum │ 20 schema │ 29 zero threshold │ 30 zero count | 39 zero count float
///        │ 42 len { 08 offset │ 10 length } … │ 4A deltas | 52 counts │ 5A positive spans … │ 62 deltas | 6A counts │ 70 hint
///        │ 78 time │ 82 01 bounds
/// </code>
/// Numbers that are zero in all bits are left out, but for both counts: which of its two fields is there tells an integer histogram from a
/// float one. Lists are packed. A stale marker has its sum only, beside the counts.
/// Source: prometheus prompb/types.proto, codec.go (FromIntHistogram, FromFloatHistogram).
/// </remarks>
internal static class HistogramAnswer
{
    private const byte Tag = (4 << 3) | 2;
    private const byte CountInt = (1 << 3) | 0;
    private const byte CountFloat = (2 << 3) | 1;
    private const byte Sum = (3 << 3) | 1;
    private const byte Schema = (4 << 3) | 0;
    private const byte ZeroThreshold = (5 << 3) | 1;
    private const byte ZeroCountInt = (6 << 3) | 0;
    private const byte ZeroCountFloat = (7 << 3) | 1;
    private const byte NegativeSpans = (8 << 3) | 2;
    private const byte NegativeDeltas = (9 << 3) | 2;
    private const byte NegativeCounts = (10 << 3) | 2;
    private const byte PositiveSpans = (11 << 3) | 2;
    private const byte PositiveDeltas = (12 << 3) | 2;
    private const byte PositiveCounts = (13 << 3) | 2;
    private const byte Hint = (14 << 3) | 0;
    private const byte Time = (15 << 3) | 0;
    private const ushort CustomValues = (((16 << 3) | 2) & 0x7F) | 0x80 | (1 << 8); // a tag of two bytes, little-endian
    private const byte SpanOffset = (1 << 3) | 0;
    private const byte SpanLength = (2 << 3) | 0;
    private const int DoubleBytes = 1 + sizeof(ulong);

    /// <summary>Bytes that a histogram takes with its tag and length.</summary>
    public static int SizeOf(long timeMs, NativeHistogram histogram)
    {
        int body = BodySize(timeMs, histogram);
        return checked(1 + Varint.SizeOf((uint)body) + body);
    }

    /// <summary>Writes a histogram with its tag and length.</summary>
    /// <returns>Bytes written, equal to <see cref="SizeOf(long, NativeHistogram)"/>.</returns>
    public static int Write(Span<byte> target, long timeMs, NativeHistogram histogram)
    {
        int at = 0;
        PutVarint(target, ref at, Tag, (uint)BodySize(timeMs, histogram));
        PutCount(target, ref at, histogram.IsFloat, CountInt, CountFloat, histogram.Count);
        PutDouble(target, ref at, Sum, histogram.SumBits);
        if (histogram.Schema != 0) PutVarint(target, ref at, Schema, ZigZag(histogram.Schema));
        PutDouble(target, ref at, ZeroThreshold, BitConverter.DoubleToUInt64Bits(histogram.ZeroThreshold));
        PutCount(target, ref at, histogram.IsFloat, ZeroCountInt, ZeroCountFloat, histogram.ZeroCount);
        PutSpans(target, ref at, NegativeSpans, histogram.NegativeSpans);
        PutBuckets(target, ref at, histogram.IsFloat, NegativeDeltas, NegativeCounts, histogram.NegativeBuckets);
        PutSpans(target, ref at, PositiveSpans, histogram.PositiveSpans);
        PutBuckets(target, ref at, histogram.IsFloat, PositiveDeltas, PositiveCounts, histogram.PositiveBuckets);
        if (HasHint(histogram)) PutVarint(target, ref at, Hint, (ulong)histogram.Hint);
        if (timeMs != 0) PutVarint(target, ref at, Time, (ulong)timeMs);
        PutBounds(target, ref at, CollectionsMarshal.AsSpan(histogram.CustomBounds));
        return at;
    }

    private static int BodySize(long timeMs, NativeHistogram histogram)
    {
        bool isFloat = histogram.IsFloat;
        int bytes = isFloat ? 2 * DoubleBytes : 2 + Varint.SizeOf(histogram.Count) + Varint.SizeOf(histogram.ZeroCount);
        if (histogram.SumBits != 0) bytes += DoubleBytes;
        if (histogram.Schema != 0) bytes += 1 + Varint.SizeOf(ZigZag(histogram.Schema));
        if (BitConverter.DoubleToUInt64Bits(histogram.ZeroThreshold) != 0) bytes += DoubleBytes;
        bytes += SizeOf(histogram.NegativeSpans) + FieldOf(SizeOf(histogram.NegativeBuckets, isFloat));
        bytes += SizeOf(histogram.PositiveSpans) + FieldOf(SizeOf(histogram.PositiveBuckets, isFloat));
        if (HasHint(histogram)) bytes += 2;
        if (timeMs != 0) bytes += 1 + Varint.SizeOf((ulong)timeMs);
        int bounds = sizeof(double) * histogram.CustomBounds.Count;
        return bytes + (bounds == 0 ? 0 : 1 + FieldOf(bounds));
    }

    private static bool HasHint(NativeHistogram histogram) => histogram.Hint != CounterResetHint.Unknown && !histogram.IsStale;

    private static int FieldOf(int length) => length == 0 ? 0 : 1 + Varint.SizeOf((uint)length) + length;

    private static int SizeOf(List<BucketSpan> spans)
    {
        int bytes = 0;
        foreach (BucketSpan span in spans) bytes += 2 + SizeOf(span);
        return bytes;
    }

    private static int SizeOf(BucketSpan span) =>
        (span.Offset == 0 ? 0 : 1 + Varint.SizeOf(ZigZag(span.Offset))) + (span.Length == 0 ? 0 : 1 + Varint.SizeOf(span.Length));

    private static int SizeOf(List<long> buckets, bool isFloat)
    {
        if (isFloat) return sizeof(double) * buckets.Count;
        int bytes = 0;
        foreach (long delta in buckets) bytes += Varint.SizeOf(Varint.ZigZag(delta));
        return bytes;
    }

    private static uint ZigZag(int value) => (uint)Varint.ZigZag(value);

    private static void PutVarint(Span<byte> target, ref int at, byte tag, ulong value)
    {
        target[at++] = tag;
        at += Varint.Write(target[at..], value);
    }

    private static void PutDouble(Span<byte> target, ref int at, byte tag, ulong bits)
    {
        if (bits == 0) return;
        target[at++] = tag;
        PutWord(target, ref at, bits);
    }

    private static void PutWord(Span<byte> target, ref int at, ulong bits)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(target[at..], bits);
        at += sizeof(ulong);
    }

    private static void PutCount(Span<byte> target, ref int at, bool isFloat, byte tagOfInteger, byte tagOfFloat, ulong word)
    {
        if (!isFloat)
        {
            PutVarint(target, ref at, tagOfInteger, word);
            return;
        }

        target[at++] = tagOfFloat;
        PutWord(target, ref at, word);
    }

    private static void PutSpans(Span<byte> target, ref int at, byte tag, List<BucketSpan> spans)
    {
        foreach (BucketSpan span in spans)
        {
            PutVarint(target, ref at, tag, (uint)SizeOf(span));
            if (span.Offset != 0) PutVarint(target, ref at, SpanOffset, ZigZag(span.Offset));
            if (span.Length != 0) PutVarint(target, ref at, SpanLength, span.Length);
        }
    }

    private static void PutBuckets(Span<byte> target, ref int at, bool isFloat, byte tagOfDeltas, byte tagOfCounts, List<long> buckets)
    {
        if (buckets.Count == 0) return;
        PutVarint(target, ref at, isFloat ? tagOfCounts : tagOfDeltas, (uint)SizeOf(buckets, isFloat));
        foreach (long word in buckets)
        {
            if (isFloat) PutWord(target, ref at, (ulong)word);
            else at += Varint.WriteZigZag(target[at..], word);
        }
    }

    private static void PutBounds(Span<byte> target, ref int at, ReadOnlySpan<double> bounds)
    {
        if (bounds.IsEmpty) return;
        BinaryPrimitives.WriteUInt16LittleEndian(target[at..], CustomValues);
        at += sizeof(ushort);
        at += Varint.Write(target[at..], (uint)(sizeof(double) * bounds.Length));
        foreach (double bound in bounds) PutWord(target, ref at, BitConverter.DoubleToUInt64Bits(bound));
    }
}
