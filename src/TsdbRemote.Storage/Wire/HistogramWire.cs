using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>The Histogram message, equal in remote write 1.0 and 2.0, read into a histogram that is used again and again. Stateless.</summary>
/// <remarks>
/// Takes every spelling: fields in any order, lists packed, unpacked or both, unknown fields (also 17, the start time of 2.0). Of the members of a oneof
/// the last counts, and which of <c>count</c>'s it is decides over the kind: of the other kind's lists only the form is looked at.
/// Takes memory for as many buckets, spans and bounds as a histogram may have and one more, by which <see cref="HistogramValidation"/> sees that
/// there are too many: a body of 32 MiB must not become lists of 256.
/// Source: prometheus prompb/types.proto, Histogram.
/// </remarks>
internal static class HistogramWire
{
    private const uint CountIntTag = (1 << 3) | 0;
    private const uint CountFloatTag = (2 << 3) | 1;
    private const uint SumTag = (3 << 3) | 1;
    private const uint SchemaTag = (4 << 3) | 0;
    private const uint ZeroThresholdTag = (5 << 3) | 1;
    private const uint ZeroCountIntTag = (6 << 3) | 0;
    private const uint ZeroCountFloatTag = (7 << 3) | 1;
    private const uint NegativeSpanTag = (8 << 3) | 2;
    private const uint NegativeDeltas = 9;
    private const uint NegativeCounts = 10;
    private const uint PositiveSpanTag = (11 << 3) | 2;
    private const uint PositiveDeltas = 12;
    private const uint PositiveCounts = 13;
    private const uint HintTag = (14 << 3) | 0;
    private const uint TimeTag = (15 << 3) | 0;
    private const uint CustomValues = 16;
    private const uint SpanOffsetTag = (1 << 3) | 0;
    private const uint SpanLengthTag = (2 << 3) | 0;

    private const int VarintType = 0;
    private const int Fixed64Type = 1;
    private const int LengthType = 2;

    /// <summary>Most elements of a list, and one more.</summary>
    private const int MaxKept = HistogramValidation.MaxBuckets + 1;

    /// <summary>Reads a message to its end.</summary>
    /// <param name="message">At its start.</param>
    /// <param name="into">Receives the histogram, unchecked.</param>
    /// <param name="timeMs">Its time, ms.</param>
    /// <returns>False if it is no legal protobuf.</returns>
    public static bool TryRead(scoped ref WireReader message, NativeHistogram into, out long timeMs)
    {
        int start = message.Position;

        // All senders write the count first. Where it comes last, or twice, the kind turns out to be another than it seemed, and all is read again.
        bool isFloat = !message.AtEnd && message.Body[start] == CountFloatTag;
        if (!TryReadAs(ref message, isFloat, into, out timeMs, out bool isFloatAtEnd)) return false;
        if (isFloat == isFloatAtEnd) return true;
        message.Position = start;
        return TryReadAs(ref message, isFloatAtEnd, into, out timeMs, out _);
    }

    private static bool TryReadAs(scoped ref WireReader message, bool isFloat, NativeHistogram into, out long timeMs, out bool isFloatAtEnd)
    {
        into.Clear();
        into.IsFloat = isFloat;
        isFloatAtEnd = false;
        timeMs = 0;
        while (!message.AtEnd)
        {
            if (!message.TryReadTag(out uint tag)) return false;
            bool read;
            switch (tag)
            {
                case CountIntTag or CountFloatTag:
                    isFloatAtEnd = tag == CountFloatTag;
                    read = TryReadWord(ref message, tag, out ulong count);
                    into.Count = isFloatAtEnd == isFloat ? count : 0;
                    break;
                case ZeroCountIntTag or ZeroCountFloatTag:
                    read = TryReadWord(ref message, tag, out ulong zeroCount);
                    into.ZeroCount = (tag == ZeroCountFloatTag) == isFloat ? zeroCount : 0;
                    break;
                case TimeTag:
                    read = message.TryReadVarint(out ulong time);
                    timeMs = (long)time;
                    break;
                default:
                    read = TryReadScalar(ref message, tag, into, out bool known) && (known || TryReadList(ref message, tag, into));
                    break;
            }

            if (!read) return false;
        }

        return true;
    }

    private static bool TryReadScalar(scoped ref WireReader message, uint tag, NativeHistogram into, out bool known)
    {
        known = tag is SumTag or SchemaTag or ZeroThresholdTag or HintTag;
        if (!known) return true;
        if (!TryReadWord(ref message, tag, out ulong word)) return false;
        switch (tag)
        {
            case SumTag:
                into.SumBits = word;
                break;
            case ZeroThresholdTag:
                into.ZeroThreshold = BitConverter.UInt64BitsToDouble(word);
                break;
            case SchemaTag:
                into.Schema = UnZigZag32(word);
                break;
            default:
                // An enum is an int32 on the wire; what later versions may add says nothing to this one.
                into.Hint = (uint)word <= (uint)CounterResetHint.Gauge ? (CounterResetHint)word : CounterResetHint.Unknown;
                break;
        }

        return true;
    }

    /// <summary>Reads a part of a list, or steps over a field that is none.</summary>
    private static bool TryReadList(scoped ref WireReader message, uint tag, NativeHistogram into)
    {
        switch (tag)
        {
            case PositiveSpanTag:
                return TryReadSpan(ref message, into.PositiveSpans);
            case NegativeSpanTag:
                return TryReadSpan(ref message, into.NegativeSpans);
        }

        uint type = tag & 7;
        switch (tag >> 3)
        {
            case PositiveDeltas when type is VarintType or LengthType:
                return TryReadDeltas(ref message, type, into.IsFloat ? null : into.PositiveBuckets);
            case NegativeDeltas when type is VarintType or LengthType:
                return TryReadDeltas(ref message, type, into.IsFloat ? null : into.NegativeBuckets);
            case PositiveCounts when type is Fixed64Type or LengthType:
                return TryReadDoubles(ref message, type, into.IsFloat ? into.PositiveBuckets : null);
            case NegativeCounts when type is Fixed64Type or LengthType:
                return TryReadDoubles(ref message, type, into.IsFloat ? into.NegativeBuckets : null);
            case CustomValues when type is Fixed64Type or LengthType:
                return TryReadDoubles(ref message, type, into.CustomBounds);
            default:
                return message.TrySkip(tag);
        }
    }

    private static bool TryReadWord(scoped ref WireReader message, uint tag, out ulong word) =>
        (tag & 7) == VarintType ? message.TryReadVarint(out word) : message.TryReadFixed64(out word);

    private static bool TryReadSpan(scoped ref WireReader parent, List<BucketSpan> spans)
    {
        if (!parent.TryReadMessage(out WireReader span)) return false;
        int offset = 0;
        uint length = 0;
        while (!span.AtEnd)
        {
            if (!span.TryReadTag(out uint tag)) return false;
            if (tag is not (SpanOffsetTag or SpanLengthTag))
            {
                if (!span.TrySkip(tag)) return false;
                continue;
            }

            if (!span.TryReadVarint(out ulong value)) return false;
            if (tag == SpanOffsetTag) offset = UnZigZag32(value);
            else length = (uint)value;
        }

        if (spans.Count < MaxKept) spans.Add(new BucketSpan(offset, length));
        return true;
    }

    private static bool TryReadDeltas(scoped ref WireReader parent, uint type, List<long>? kept)
    {
        if (type == VarintType)
        {
            if (!parent.TryReadVarint(out ulong one)) return false;
            if (kept?.Count < MaxKept) kept.Add(Varint.UnZigZag(one));
            return true;
        }

        if (!parent.TryReadMessage(out WireReader list)) return false;

        // A number takes a byte at least: with that many places the loop asks nobody for room.
        int before = kept?.Count ?? 0;
        if (kept is not null) CollectionsMarshal.SetCount(kept, Math.Min(before + list.Body.Length - list.Position, MaxKept));
        Span<long> places = CollectionsMarshal.AsSpan(kept)[before..];
        int count = 0;
        while (!list.AtEnd)
        {
            if (!list.TryReadVarint(out ulong value)) return false;
            if ((uint)count >= (uint)places.Length) continue;
            places[count++] = Varint.UnZigZag(value);
        }

        if (kept is not null) CollectionsMarshal.SetCount(kept, before + count);
        return true;
    }

    /// <summary>Reads doubles as words: of floats a list of counts, and of bounds one of numbers, are the same bytes.</summary>
    private static bool TryReadDoubles<T>(scoped ref WireReader parent, uint type, List<T>? kept)
        where T : unmanaged
    {
        int start = parent.Position;
        int length = sizeof(double);
        if (type == Fixed64Type ? !parent.TryReadFixed64(out _) : !parent.TryReadBytes(out start, out length)) return false;
        if (length % sizeof(double) != 0) return false;
        if (kept is null) return true;
        int before = kept.Count;
        int count = Math.Min(length / sizeof(double), MaxKept - before);
        CollectionsMarshal.SetCount(kept, before + count);
        Span<ulong> words = MemoryMarshal.Cast<T, ulong>(CollectionsMarshal.AsSpan(kept)[before..]);
        for (int i = 0; i < words.Length; i++) words[i] = BinaryPrimitives.ReadUInt64LittleEndian(parent.Body[(start + sizeof(double) * i)..]);
        return true;
    }

    private static int UnZigZag32(ulong varint)
    {
        uint value = (uint)varint;
        return (int)(value >> 1) ^ -(int)(value & 1);
    }
}
