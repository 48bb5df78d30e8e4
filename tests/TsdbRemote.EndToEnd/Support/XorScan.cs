using System.Numerics;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Walks the bits of an XOR chunk one by one, apart from the product's reader, to see which windows its writer chose.</summary>
/// <param name="Samples">Samples of the chunk.</param>
/// <param name="Opened">Values that open a window.</param>
/// <param name="Wide">Of these, windows with fewer leading or trailing bits left out than the value alone would allow.</param>
public sealed record XorScan(int Samples, int Opened, int Wide)
{
    public static XorScan Of(ReadOnlySpan<byte> chunk)
    {
        var bits = new Bits(chunk);
        int samples = (int)bits.Read(16);
        int opened = 0;
        int wide = 0;
        int leading = 0;
        int trailing = 0;
        for (int i = 0; i < samples; i++)
        {
            SkipTime(ref bits, i);
            if (i == 0) bits.Read(64);
            else if (bits.Read(1) == 1)
            {
                bool opens = bits.Read(1) == 1;
                if (opens)
                {
                    leading = (int)bits.Read(5);
                    int significant = (int)bits.Read(6);
                    trailing = 64 - leading - (significant == 0 ? 64 : significant);
                }

                ulong xor = bits.Read(64 - leading - trailing) << trailing;
                if (!opens) continue;
                opened++;
                if (leading < Math.Min(BitOperations.LeadingZeroCount(xor), 31) || trailing < BitOperations.TrailingZeroCount(xor)) wide++;
            }
        }

        return new XorScan(samples, opened, wide);
    }

    private static void SkipTime(ref Bits bits, int sample)
    {
        if (sample < 2)
        {
            while (bits.Read(8) >= 128)
            {
            }

            return;
        }

        int ones = 0;
        while (ones < 4 && bits.Read(1) == 1) ones++;
        bits.Read(ones switch { 0 => 0, 1 => 14, 2 => 17, 3 => 20, _ => 64 });
    }

    private ref struct Bits(ReadOnlySpan<byte> bytes)
    {
        private readonly ReadOnlySpan<byte> _bytes = bytes;
        private int _at;

        public ulong Read(int count)
        {
            ulong value = 0;
            for (; count > 0; count--, _at++) value = (value << 1) | ((uint)(_bytes[_at >> 3] >> (7 - (_at & 7))) & 1);
            return value;
        }
    }
}
