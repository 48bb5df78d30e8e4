using CsCheck;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Encodings;

public class BitReaderTests
{
    [Fact]
    public void Fields_of_any_width_come_back_in_order() =>
        Gen.Select(Gen.Int[1, 64], Gen.ULong).Array[0, 40].Sample(fields =>
        {
            string bits = string.Concat(fields.Select(static field => Bits(field.Item2, field.Item1)));
            var reader = new BitReader(Pack(bits));
            foreach ((int width, ulong value) in fields)
            {
                ulong expected = width == 64 ? value : value & ((1UL << width) - 1);
                if (reader.Read(width) != expected || reader.IsOverrun) return false;
            }

            return true;
        });

    [Fact]
    public void Beyond_the_end_come_zeros_and_the_reader_says_so() =>
        Gen.Select(Gen.Byte.Array[0, 20], Gen.Int[1, 64].Array[1, 20]).Sample((bytes, widths) =>
        {
            var reader = new BitReader(bytes);
            int read = 0;
            foreach (int width in widths)
            {
                ulong value = reader.Read(width);
                bool whollyBeyond = read >= bytes.Length * 8;
                read += width;
                if (whollyBeyond && value != 0) return false;
                if (reader.IsOverrun != read > bytes.Length * 8) return false;
            }

            return true;
        });

    [Fact]
    public void A_peek_shows_57_bits_at_any_offset()
    {
        byte[] ones = [.. Enumerable.Repeat((byte)0xFF, 16)];
        for (int skip = 0; skip < 64; skip++)
        {
            var reader = new BitReader(ones);
            reader.Skip(skip);
            Assert.Equal(ulong.MaxValue << (64 - BitReader.PeekBits), reader.Peek() & (ulong.MaxValue << (64 - BitReader.PeekBits)));
        }
    }

    [Fact]
    public void Varints_need_no_alignment() =>
        Gen.Select(Gen.Int[0, 7], Gen.ULong).Sample((offset, value) =>
        {
            byte[] bytes = new byte[Varint.MaxBytes];
            int length = Varint.Write(bytes, value);
            string bits = new string('1', offset) + string.Concat(bytes.Take(length).Select(static b => Bits(b, 8)));
            var reader = new BitReader(Pack(bits));
            reader.Skip(offset);
            return reader.TryReadVarint(out ulong back) && back == value;
        });

    [Theory]
    [InlineData("80")]
    [InlineData("ffffffffffffffffff02")]
    [InlineData("8080808080808080808000")]
    public void Bad_varints_are_refused(string hex) => Assert.False(new BitReader(Convert.FromHexString(hex)).TryReadVarint(out _));

    private static string Bits(ulong value, int width) => Convert.ToString((long)value, 2).PadLeft(64, '0')[^width..];

    private static byte[] Pack(string bits)
    {
        byte[] bytes = new byte[(bits.Length + 7) / 8];
        for (int i = 0; i < bits.Length; i++)
        {
            if (bits[i] == '1') bytes[i / 8] |= (byte)(0x80 >> (i % 8));
        }

        return bytes;
    }
}
