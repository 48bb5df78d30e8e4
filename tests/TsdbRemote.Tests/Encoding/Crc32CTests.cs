using CsCheck;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Encodings;

public class Crc32CTests
{
    [Theory]
    [InlineData("", 0x00000000u)]
    [InlineData("123456789", 0xe3069283u)]
    [InlineData("test1", 0x53fe1f55u)]
    public void Known_texts_have_known_checksums(string text, uint expected) =>
        Assert.Equal(expected, Crc32C.Of(System.Text.Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void The_record_of_the_format_page_has_its_checksum() =>
        Assert.Equal(0x663a774du, Crc32C.Of(Convert.FromHexString("01000380a0abfef96240240000000000009875d60da48eb0")));

    [Fact]
    public void Two_parts_sum_to_the_whole_wherever_it_is_cut() =>
        Gen.Select(Gen.Byte.Array[0, 100], Gen.Int[0, 100]).Sample((bytes, at) =>
        {
            at = Math.Min(at, bytes.Length);
            return Crc32C.Of(bytes) == Crc32C.Of(bytes.AsSpan(0, at), bytes.AsSpan(at));
        });

    [Fact]
    public void Words_give_what_single_bits_give() =>
        Gen.Byte.Array[0, 40].Sample(bytes =>
        {
            uint crc = uint.MaxValue;
            foreach (byte b in bytes)
            {
                crc ^= b;
                for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78u);
            }

            return Crc32C.Of(bytes) == ~crc;
        });
}
