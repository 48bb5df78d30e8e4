using System.Numerics;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

/// <summary>The format page written down as strings of bits: slow, obvious, and the oracle of the real encoders and the real decoder.</summary>
internal static class NaiveXor
{
    public static byte[] Encode(ReadOnlySpan<Sample> samples)
    {
        var bits = new StringBuilder(Bits((ulong)samples.Length, 16));
        (int Leading, int Trailing)? window = null;
        ulong delta = 0;
        for (int i = 0; i < samples.Length; i++)
        {
            if (i == 0)
            {
                AppendVarint(bits, Varint.ZigZag(samples[0].TimeMs));
                bits.Append(Bits(samples[0].ValueBits, 64));
                continue;
            }

            ulong next = (ulong)samples[i].TimeMs - (ulong)samples[i - 1].TimeMs;
            if (i == 1) AppendVarint(bits, next);
            else AppendDeltaOfDelta(bits, (long)(next - delta));
            delta = next;
            AppendValue(bits, samples[i].ValueBits ^ samples[i - 1].ValueBits, ref window);
        }

        return Pack(bits.ToString());
    }

    public static Sample[] Decode(ReadOnlySpan<byte> chunk) => Decode(chunk, out _);

    /// <summary>Bits that the values behind the first take in a chunk.</summary>
    public static int ValueBits(ReadOnlySpan<byte> chunk)
    {
        Decode(chunk, out int valueBits);
        return valueBits;
    }

    private static Sample[] Decode(ReadOnlySpan<byte> chunk, out int valueBits)
    {
        var bits = new BitString(string.Concat(chunk.ToArray().Select(static octet => Convert.ToString(octet, 2).PadLeft(8, '0'))));
        var samples = new Sample[bits.Take(16)];
        valueBits = 0;
        (int Leading, int Significant) window = (-1, 0);
        ulong delta = 0;
        for (int i = 0; i < samples.Length; i++)
        {
            if (i == 0)
            {
                samples[0] = new Sample(Varint.UnZigZag(bits.TakeVarint()), bits.Take(64));
                continue;
            }

            delta = i == 1 ? bits.TakeVarint() : delta + TakeDeltaOfDelta(bits);
            int before = bits.Position;
            ulong value = samples[i - 1].ValueBits ^ TakeXor(bits, ref window);
            valueBits += bits.Position - before;
            samples[i] = new Sample((long)((ulong)samples[i - 1].TimeMs + delta), value);
        }

        return samples;
    }

    private static ulong TakeDeltaOfDelta(BitString bits)
    {
        int ones = 0;
        while (ones < 4 && bits.Take(1) == 1) ones++;
        if (ones is 0 or 4) return ones == 0 ? 0 : bits.Take(64);
        int width = ones switch { 1 => 14, 2 => 17, _ => 20 };
        ulong raw = bits.Take(width);
        return raw > 1UL << (width - 1) ? raw - (1UL << width) : raw;
    }

    private static ulong TakeXor(BitString bits, ref (int Leading, int Significant) window)
    {
        if (bits.Take(1) == 0) return 0;
        if (bits.Take(1) == 1)
        {
            window = ((int)bits.Take(5), (int)bits.Take(6));
            if (window.Significant == 0) window.Significant = 64;
        }

        if (window.Leading < 0) throw new InvalidOperationException("a window is used before one is open");
        return bits.Take(window.Significant) << (64 - window.Leading - window.Significant);
    }

    private static void AppendDeltaOfDelta(StringBuilder bits, long dod)
    {
        bits.Append(dod switch
        {
            0 => "0",
            >= -8191 and <= 8192 => "10" + Bits((ulong)dod, 14),
            >= -65535 and <= 65536 => "110" + Bits((ulong)dod, 17),
            >= -524287 and <= 524288 => "1110" + Bits((ulong)dod, 20),
            _ => "1111" + Bits((ulong)dod, 64),
        });
    }

    private static void AppendValue(StringBuilder bits, ulong xor, ref (int Leading, int Trailing)? window)
    {
        if (xor == 0)
        {
            bits.Append('0');
            return;
        }

        int leading = Math.Min(BitOperations.LeadingZeroCount(xor), 31);
        int trailing = BitOperations.TrailingZeroCount(xor);
        if (window is { } w && leading >= w.Leading && trailing >= w.Trailing)
        {
            bits.Append("10").Append(Bits(xor >> w.Trailing, 64 - w.Leading - w.Trailing));
            return;
        }

        int significant = 64 - leading - trailing;
        bits.Append("11").Append(Bits((ulong)leading, 5)).Append(Bits((ulong)(significant & 63), 6)).Append(Bits(xor >> trailing, significant));
        window = (leading, trailing);
    }

    private static void AppendVarint(StringBuilder bits, ulong value)
    {
        for (; value >= 0x80; value >>= 7) bits.Append(Bits((value & 0x7F) | 0x80, 8));
        bits.Append(Bits(value, 8));
    }

    private static string Bits(ulong value, int width) => Convert.ToString((long)value, 2).PadLeft(64, '0')[^width..];

    private static byte[] Pack(string bits) =>
        [.. bits.PadRight((bits.Length + 7) / 8 * 8, '0').Chunk(8).Select(static octet => Convert.ToByte(new string(octet), 2))];

    private sealed class BitString(string bits)
    {
        public int Position { get; private set; }

        public ulong Take(int width)
        {
            ulong value = Convert.ToUInt64(bits.Substring(Position, width), 2);
            Position += width;
            return value;
        }

        public ulong TakeVarint()
        {
            ulong value = 0;
            for (int shift = 0; ; shift += 7)
            {
                ulong octet = Take(8);
                value |= (octet & 0x7F) << shift;
                if (octet < 0x80) return value;
            }
        }
    }
}
