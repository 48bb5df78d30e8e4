using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.Verification;

namespace TsdbRemote.Tests.Encodings;

/// <summary>Numbers of histogram chunks against the format page as strings of bits, and against the verifier's own reader.</summary>
public class VarbitTests
{
    // Every class bound from both sides.
    private static readonly Gen<long> Signed = Gen.OneOf(
        Gen.Long,
        Gen.Int[-300, 300].Select(static i => (long)i),
        Gen.Select(Gen.OneOf(2, 5, 8, 11, 17, 24, 55, 63), Gen.Int[-2, 2], Gen.Bool)
            .Select(static (shift, off, isNegative) => (isNegative ? -(1L << shift) : 1L << shift) + off),
        Gen.OneOf(0L, long.MinValue, long.MaxValue));

    private static readonly Gen<ulong> Unsigned = Gen.OneOf(
        Gen.ULong,
        Gen.Int[0, 600].Select(static i => (ulong)i),
        Gen.Select(Gen.OneOf(3, 6, 9, 12, 18, 25, 56, 63), Gen.Int[-2, 2]).Select(static (shift, off) => (1UL << shift) + (ulong)off),
        Gen.OneOf(0UL, ulong.MaxValue));

    [Fact]
    public void Numbers_are_written_as_the_format_page_says_wherever_they_start() =>
        Gen.Select(Signed.Array[0, 20], Unsigned.Array[0, 20], Gen.Int[0, 9]).Sample(static (signed, unsigned, lead) =>
        {
            BitText expected = new BitText().Put(new string('1', lead));
            byte[] buffer = new byte[512];
            buffer.AsSpan().Fill(0xEE);   // what was there before must not matter
            int position = 0;
            if (lead > 0) BitWriter.Put(ref buffer[0], ref position, (1UL << lead) - 1, lead);
            foreach (long value in signed)
            {
                expected.VarbitInt(value);
                Varbit.PutInt(ref buffer[0], ref position, value);
            }

            foreach (ulong value in unsigned)
            {
                expected.VarbitUint(value);
                Varbit.PutUint(ref buffer[0], ref position, value);
            }

            return buffer.AsSpan(0, (position + 7) / 8).SequenceEqual(expected.Pack());
        });

    [Fact]
    public void Numbers_come_back_and_the_verifier_reads_the_same() =>
        Gen.Select(Signed.Array[1, 20], Unsigned.Array[1, 20]).Sample(static (signed, unsigned) =>
        {
            byte[] buffer = new byte[512];
            int position = 0;
            foreach (long value in signed) Varbit.PutInt(ref buffer[0], ref position, value);
            foreach (ulong value in unsigned) Varbit.PutUint(ref buffer[0], ref position, value);
            ReadOnlySpan<byte> written = buffer.AsSpan(0, (position + 7) / 8);
            var bits = new BitReader(written);
            var oracle = new BitCursor(written);
            foreach (long value in signed)
            {
                if (Varbit.ReadInt(ref bits) != value || oracle.ReadVarbitInt() != value) return false;
            }

            foreach (ulong value in unsigned)
            {
                if (Varbit.ReadUint(ref bits) != value || oracle.ReadVarbitUint() != value) return false;
            }

            return !bits.IsOverrun && bits.Remaining == written.Length * 8 - position;
        });

    [Fact]
    public void A_number_that_is_cut_off_overruns() =>
        Signed.Sample(static value =>
        {
            byte[] buffer = new byte[32];
            int position = 0;
            Varbit.PutInt(ref buffer[0], ref position, value);
            for (int bytes = 0; bytes * 8 + 7 < position; bytes++)
            {
                var bits = new BitReader(buffer.AsSpan(0, bytes));
                Varbit.ReadInt(ref bits);
                // What is left of the prefix may make a shorter number of it, but never one that reaches beyond what there is unseen.
                if (!bits.IsOverrun && bits.Remaining < 0) return false;
                if (bytes * 8 < Math.Min(position, 8) && !bits.IsOverrun) return false;
            }

            return true;
        });
}
