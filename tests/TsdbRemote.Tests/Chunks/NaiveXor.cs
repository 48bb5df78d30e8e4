using System.Numerics;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

/// <summary>The format page written down as strings of bits: slow, obvious, and the oracle of the real encoder.</summary>
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
}
