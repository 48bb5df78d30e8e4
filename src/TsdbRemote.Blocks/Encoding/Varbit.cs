using System.Numerics;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>The variable-length integers of histogram chunks: a prefix of ones says how many bits follow.</summary>
/// <remarks>
/// <code>
/// prefix     0 │ 10 │ 110 │ 1110 │ 11110 │ 111110 │ 1111110 │ 11111110 │ 11111111
/// payload    0 │  3 │   6 │    9 │    12 │     18 │      25 │       56 │       64     bits
/// signed     n bits hold -(2^(n-1)-1) .. 2^(n-1); the number's lowest n bits are written
/// </code>
/// Source: prometheus, tsdb/chunkenc/varbit.go.
/// </remarks>
internal static class Varbit
{
    /// <summary>Bytes that the longest number takes, wherever it starts.</summary>
    public const int MaxBytes = 10;

    private const int LastClass = 8;

    private static ReadOnlySpan<byte> PayloadBits => [0, 3, 6, 9, 12, 18, 25, 56, 64];

    /// <summary>Writes a signed number.</summary>
    public static void PutInt(ref byte start, ref int position, long value)
    {
        // 2^(n-1) still fits n bits, -2^(n-1) does not: of a number above 0 one less counts.
        ulong magnitude = value > 0 ? (ulong)value - 1 : 0UL - (ulong)value;
        Put(ref start, ref position, (ulong)value, value == 0 ? 0 : ClassOf(65 - BitOperations.LeadingZeroCount(magnitude)));
    }

    /// <summary>Writes an unsigned number.</summary>
    public static void PutUint(ref byte start, ref int position, ulong value) =>
        Put(ref start, ref position, value, value == 0 ? 0 : ClassOf(64 - BitOperations.LeadingZeroCount(value)));

    /// <summary>Reads a signed number.</summary>
    public static long ReadInt(ref BitReader bits)
    {
        ulong raw = Read(ref bits, out int width);
        if (width is 0 or 64) return (long)raw;
        return raw > 1UL << (width - 1) ? (long)raw - (1L << width) : (long)raw;
    }

    /// <summary>Reads an unsigned number.</summary>
    public static ulong ReadUint(ref BitReader bits) => Read(ref bits, out _);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Read(ref BitReader bits, out int width)
    {
        ulong next = bits.Peek();
        if ((long)next >= 0)
        {
            bits.Skip(1);
            width = 0;
            return 0;
        }

        int ones = Math.Min(BitOperations.LeadingZeroCount(~next), LastClass);
        bits.Skip(Math.Min(ones + 1, LastClass));
        width = PayloadBits[ones];
        return bits.Read(width);
    }

    private static int ClassOf(int bits) => bits switch
    {
        <= 3 => 1,
        <= 6 => 2,
        <= 9 => 3,
        <= 12 => 4,
        <= 18 => 5,
        <= 25 => 6,
        <= 56 => 7,
        _ => LastClass,
    };

    private static void Put(ref byte start, ref int position, ulong value, int ones)
    {
        if (ones == 0)
        {
            BitWriter.Put(ref start, ref position, 0, 1);
            return;
        }

        int width = PayloadBits[ones];
        ulong prefix = ones < LastClass ? (1UL << (ones + 1)) - 2 : 0xFF;
        int prefixBits = Math.Min(ones + 1, LastClass);
        ulong payload = width == 64 ? value : value & ((1UL << width) - 1);
        if (prefixBits + width <= BitWriter.MaxBits)
        {
            BitWriter.Put(ref start, ref position, (prefix << width) | payload, prefixBits + width);
            return;
        }

        BitWriter.Put(ref start, ref position, prefix, prefixBits);
        BitWriter.PutWide(ref start, ref position, payload, width);
    }
}
