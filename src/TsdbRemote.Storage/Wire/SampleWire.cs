using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>The Sample message, equal in remote write 1.0 and 2.0 and in SAMPLES answers, with its tag in the series. Stateless.</summary>
/// <remarks>
/// <code>
/// 12 len │ 09 value: 8 bytes, left out if all bits are zero │ 10 time: varint, 10 bytes if negative, left out if zero
/// </code>
/// -0.0 and NaN have bits and are written. Source: prometheus prompb/types.proto, Sample.
/// </remarks>
internal static class SampleWire
{
    /// <summary>Tag of a sample in its series.</summary>
    public const uint Tag = (2 << 3) | 2;

    /// <summary>Most bytes that a sample takes with its tag and length.</summary>
    public const int MaxBytes = HeadBytes + ValueBytes + 1 + Varint.MaxBytes;

    private const uint ValueTag = (1 << 3) | 1;
    private const uint TimeTag = (2 << 3) | 0;
    private const int HeadBytes = 2;
    private const int ValueBytes = 1 + sizeof(ulong);
    private const int WordBytes = sizeof(ulong);

    // Times below take at most eight bytes.
    private const long MaxWordTime = (1L << 56) - 1;
    private const ulong ContinuationBits = 0x8080808080808080;

    /// <summary>Bytes that a sample takes with its tag and length.</summary>
    public static int SizeOf(long timeMs, ulong valueBits) => HeadBytes + BodySize(timeMs, valueBits);

    /// <summary>Bytes that samples take with their tags and lengths.</summary>
    /// <param name="ascending">Samples, their times ascending.</param>
    public static long SizeOf(ReadOnlySpan<Sample> ascending)
    {
        if (ascending.IsEmpty) return 0;
        long bytes = 0;
        int timeBytes = Varint.SizeOf((ulong)ascending[0].TimeMs);
        if (ascending[0].TimeMs <= 0 || timeBytes != Varint.SizeOf((ulong)ascending[^1].TimeMs))
        {
            foreach (ref readonly Sample sample in ascending) bytes += SizeOf(sample.TimeMs, sample.ValueBits);
            return bytes;
        }

        // Times between two that take equally many bytes take as many.
        int zeros = 0;
        foreach (ref readonly Sample sample in ascending) zeros += sample.ValueBits == 0 ? 1 : 0;
        return (long)ascending.Length * (HeadBytes + ValueBytes + 1 + timeBytes) - (long)zeros * ValueBytes;
    }

    /// <summary>Where the time stands in a sample that has one.</summary>
    public static int TimeOffset(ulong valueBits) => valueBits == 0 ? HeadBytes : HeadBytes + ValueBytes;

    /// <summary>Writes a sample with its tag and length.</summary>
    /// <param name="destination">Room; of <see cref="MaxBytes"/> or more, it is written in whole words, which reach behind what is returned.</param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="valueBits">Value bits.</param>
    /// <returns>Bytes written, equal to <see cref="SizeOf(long, ulong)"/>.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Write(Span<byte> destination, long timeMs, ulong valueBits) =>
        valueBits != 0 && timeMs is > 0 and <= MaxWordTime && destination.Length >= MaxBytes
            ? WriteUsual(destination, timeMs, valueBits)
            : WriteAny(destination, timeMs, valueBits);

    /// <summary>A value that is not zero, and a time of one to eight bytes, which is one store: 7 bits are spread over each byte without a loop.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int WriteUsual(Span<byte> destination, long timeMs, ulong valueBits)
    {
        int timeBytes = Varint.SizeOf((ulong)timeMs);
        ulong word = (ulong)timeMs;
        word = (word & 0x000000000FFFFFFF) | ((word << 4) & 0x0FFFFFFF00000000);
        word = (word & 0x00003FFF00003FFF) | ((word << 2) & 0x3FFF00003FFF0000);
        word = (word & 0x007F007F007F007F) | ((word << 1) & 0x7F007F007F007F00);
        word |= (ContinuationBits >> 8) >> ((WordBytes - timeBytes) * 8);
        destination[HeadBytes + ValueBytes] = (byte)TimeTag;
        destination[0] = (byte)Tag;
        destination[1] = (byte)(ValueBytes + 1 + timeBytes);
        destination[HeadBytes] = (byte)ValueTag;
        BinaryPrimitives.WriteUInt64LittleEndian(destination[(HeadBytes + 1)..], valueBits);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[(HeadBytes + ValueBytes + 1)..], word);
        return HeadBytes + ValueBytes + 1 + timeBytes;
    }

    private static int WriteAny(Span<byte> destination, long timeMs, ulong valueBits)
    {
        destination[0] = (byte)Tag;
        destination[1] = (byte)BodySize(timeMs, valueBits);
        int at = HeadBytes;
        if (valueBits != 0)
        {
            destination[at] = (byte)ValueTag;
            BinaryPrimitives.WriteUInt64LittleEndian(destination[(at + 1)..], valueBits);
            at += ValueBytes;
        }

        if (timeMs == 0) return at;
        destination[at++] = (byte)TimeTag;
        return at + Varint.Write(destination[at..], (ulong)timeMs);
    }

    /// <summary>Reads a sample's message, whatever its spelling.</summary>
    public static bool TryRead(scoped ref WireReader message, out Sample sample)
    {
        sample = default;
        ulong value = 0;
        ulong time = 0;
        while (!message.AtEnd)
        {
            if (!message.TryReadTag(out uint tag)) return false;
            bool read = tag switch
            {
                ValueTag => message.TryReadFixed64(out value),
                TimeTag => message.TryReadVarint(out time),
                _ => message.TrySkip(tag),
            };
            if (!read) return false;
        }

        sample = new Sample((long)time, value);
        return true;
    }

    /// <summary>Reads samples as every sender writes them, into the batch, until something else comes or there is no room.</summary>
    /// <param name="series">The body up to the end of the series.</param>
    /// <param name="at">Where the next field starts, before the end.</param>
    /// <param name="batch">Takes the samples.</param>
    /// <returns>True if there was at least one; otherwise the reader of all spellings has to take the next field.</returns>
    public static bool TryReadPlainRun(ReadOnlySpan<byte> series, ref int at, WriteBatch batch)
    {
        if (series[at] != Tag) return false;
        Span<Sample> free = batch.FreeSamples();
        long min = long.MaxValue;
        long max = long.MinValue;
        int count = 0;
        while (count < free.Length && TryReadPlain(series, ref at, out long timeMs, out ulong valueBits))
        {
            free[count++] = new Sample(timeMs, valueBits);
            if (timeMs < min) min = timeMs;
            if (timeMs > max) max = timeMs;
        }

        if (count == 0) return false;
        batch.AdvanceSamples(count, min, max);
        return true;
    }

    /// <summary>One sample in the order value, time, with one-byte tags and a time of one to eight bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryReadPlain(ReadOnlySpan<byte> series, ref int at, out long timeMs, out ulong valueBits)
    {
        timeMs = 0;
        valueBits = 0;
        int start = at;
        if (series.Length - start < HeadBytes + 1 || series[start] != Tag) return false;
        int end = start + HeadBytes + series[start + 1];
        int next = start + HeadBytes;
        if (end > series.Length) return false;
        if (series[next] == ValueTag)
        {
            if (end - next <= ValueBytes) return false;
            valueBits = BinaryPrimitives.ReadUInt64LittleEndian(series[(next + 1)..]);
            next += ValueBytes;
        }

        if (series[next] != TimeTag || !TryReadVarintThatEndsAt(series, end, end - next - 1, out ulong time)) return false;
        timeMs = (long)time;
        at = end;
        return true;
    }

    /// <summary>A varint of known length without a loop: the eight bytes that end with it, moved down, squeezed from 7 bits in 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryReadVarintThatEndsAt(ReadOnlySpan<byte> series, int end, int length, out ulong value)
    {
        value = 0;
        if (length is <= 0 or > WordBytes || end < WordBytes) return false;
        int unused = (WordBytes - length) * 8;
        ulong word = BinaryPrimitives.ReadUInt64LittleEndian(series[(end - WordBytes)..]) >> unused;
        if ((word & ContinuationBits) != (ContinuationBits >> 8) >> unused) return false;
        word &= ~ContinuationBits;
        word = (word & 0x007F007F007F007F) | ((word & 0x7F007F007F007F00) >> 1);
        word = (word & 0x00003FFF00003FFF) | ((word & 0x3FFF00003FFF0000) >> 2);
        value = (word & 0x000000000FFFFFFF) | ((word & 0x0FFFFFFF00000000) >> 4);
        return true;
    }

    private static int BodySize(long timeMs, ulong valueBits) =>
        (valueBits != 0 ? ValueBytes : 0) + (timeMs != 0 ? 1 + Varint.SizeOf((ulong)timeMs) : 0);
}
