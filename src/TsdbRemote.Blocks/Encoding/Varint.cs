using System.Numerics;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>LEB128 variable-length integers, as in protocol buffers and Prometheus blocks. The only varint in the solution.</summary>
public static class Varint
{
    /// <summary>Most bytes that a 64-bit value takes.</summary>
    public const int MaxBytes = 10;

    /// <summary>Bytes that <paramref name="value"/> takes, 1 to 10.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int SizeOf(ulong value) => (int)((uint)(BitOperations.Log2(value | 1) * 9 + 73) / 64);

    /// <summary>Writes an unsigned value.</summary>
    /// <returns>Bytes written.</returns>
    public static int Write(Span<byte> destination, ulong value)
    {
        int i = 0;
        while (value >= 0x80)
        {
            destination[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        destination[i++] = (byte)value;
        return i;
    }

    /// <summary>Writes a signed value with zigzag, as Go's PutVarint and protobuf's sint64.</summary>
    /// <returns>Bytes written.</returns>
    public static int WriteZigZag(Span<byte> destination, long value) => Write(destination, ZigZag(value));

    /// <summary>Maps signed to unsigned, small magnitudes to small values.</summary>
    public static ulong ZigZag(long value) => (ulong)((value << 1) ^ (value >> 63));

    /// <summary>The inverse of <see cref="ZigZag"/>.</summary>
    public static long UnZigZag(ulong value) => (long)(value >> 1) ^ -(long)(value & 1);

    /// <summary>Reads an unsigned value and advances <paramref name="position"/>.</summary>
    /// <returns>False, with the position unchanged, if the bytes end early or the value exceeds 64 bits.</returns>
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, out ulong value)
    {
        int at = position;
        if ((uint)at < (uint)source.Length)
        {
            byte first = source[at];
            if (first < 0x80)
            {
                value = first;
                position = at + 1;
                return true;
            }
        }

        return TryReadLong(source, ref position, out value);
    }

    /// <summary>Reads a zigzag value and advances <paramref name="position"/>.</summary>
    public static bool TryReadZigZag(ReadOnlySpan<byte> source, ref int position, out long value)
    {
        bool read = TryRead(source, ref position, out ulong raw);
        value = UnZigZag(raw);
        return read;
    }

    private static bool TryReadLong(ReadOnlySpan<byte> source, ref int position, out ulong value)
    {
        value = 0;
        int at = position;
        for (int shift = 0; shift < 70; shift += 7)
        {
            if ((uint)at >= (uint)source.Length) return false;
            byte b = source[at++];
            if (shift == 63 && b > 1) return false;
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
            {
                position = at;
                return true;
            }
        }

        return false;
    }
}
