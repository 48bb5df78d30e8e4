using System.Numerics;
using System.Text;

namespace TsdbRemote.Tests.Verification;

/// <summary>The bit codes of chunks as strings of 0 and 1, straight from the format page.</summary>
internal sealed class BitText
{
    private readonly StringBuilder _bits = new();

    public BitText Put(ulong value, int width)
    {
        _bits.Append(Convert.ToString((long)value, 2).PadLeft(64, '0').AsSpan(64 - width));
        return this;
    }

    public BitText Put(string bits)
    {
        _bits.Append(bits);
        return this;
    }

    public BitText Uvarint(ulong value)
    {
        for (; value >= 0x80; value >>= 7) Put((value & 0x7F) | 0x80, 8);
        return Put(value, 8);
    }

    public BitText Varint(long value) => Uvarint(TsdbRemote.Blocks.Encoding.Varint.ZigZag(value));

    public BitText Double(double value) => Put(BitConverter.DoubleToUInt64Bits(value), 64);

    public BitText VarbitInt(long value)
    {
        (int ones, int width) = value switch
        {
            0 => (0, 0),
            >= -3 and <= 4 => (1, 3),
            >= -31 and <= 32 => (2, 6),
            >= -255 and <= 256 => (3, 9),
            >= -2047 and <= 2048 => (4, 12),
            >= -131071 and <= 131072 => (5, 18),
            >= -16777215 and <= 16777216 => (6, 25),
            >= -((1L << 55) - 1) and <= 1L << 55 => (7, 56),
            _ => (8, 64),
        };
        return Prefix(ones).Put((ulong)value, width);
    }

    public BitText VarbitUint(ulong value)
    {
        (int ones, int width) = value switch
        {
            0 => (0, 0),
            < 1 << 3 => (1, 3),
            < 1 << 6 => (2, 6),
            < 1 << 9 => (3, 9),
            < 1 << 12 => (4, 12),
            < 1 << 18 => (5, 18),
            < 1 << 25 => (6, 25),
            < 1UL << 56 => (7, 56),
            _ => (8, 64),
        };
        return Prefix(ones).Put(value, width);
    }

    /// <summary>A value against the one before, always in a window of its own.</summary>
    public BitText Xor(ulong value, ulong before)
    {
        ulong xor = value ^ before;
        if (xor == 0) return Put("0");
        int leading = Math.Min(BitOperations.LeadingZeroCount(xor), 31);
        int trailing = BitOperations.TrailingZeroCount(xor);
        int significant = 64 - leading - trailing;
        return Put("11").Put((ulong)leading, 5).Put((ulong)(significant & 63), 6).Put(xor >> trailing, significant);
    }

    public byte[] Pack()
    {
        string padded = _bits.ToString().PadRight((_bits.Length + 7) / 8 * 8, '0');
        return [.. padded.Chunk(8).Select(static octet => Convert.ToByte(new string(octet), 2))];
    }

    // Seven ones and a zero, or eight ones: the last prefix has no zero.
    private BitText Prefix(int ones) => Put(new string('1', ones) + (ones < 8 ? "0" : ""));
}
