using CsCheck;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Encodings;

public class VarintTests
{
    [Theory]
    [InlineData(0UL, "00")]
    [InlineData(127UL, "7f")]
    [InlineData(128UL, "8001")]
    [InlineData(15000UL, "9875")]
    [InlineData(ulong.MaxValue, "ffffffffffffffffff01")]
    public void Known_values_have_known_bytes(ulong value, string hex)
    {
        byte[] bytes = new byte[Varint.MaxBytes];
        int length = Varint.Write(bytes, value);
        Assert.Equal(hex, Convert.ToHexStringLower(bytes.AsSpan(0, length)));
    }

    [Fact]
    public void The_time_of_the_format_page_zigzags_to_its_bytes()
    {
        byte[] bytes = new byte[Varint.MaxBytes];
        int length = Varint.WriteZigZag(bytes, 1700000000000);
        Assert.Equal("80a0abfef962", Convert.ToHexStringLower(bytes.AsSpan(0, length)));
    }

    [Fact]
    public void Any_value_comes_back_and_takes_the_bytes_that_SizeOf_says() =>
        Gen.Select(Gen.ULong, Gen.Int[0, 63]).Sample((raw, shift) =>
        {
            ulong value = raw >> shift;
            byte[] bytes = new byte[Varint.MaxBytes];
            int length = Varint.Write(bytes, value);
            int position = 0;
            return length == Varint.SizeOf(value)
                && Varint.TryRead(bytes.AsSpan(0, length), ref position, out ulong back)
                && back == value
                && position == length;
        });

    [Fact]
    public void Any_signed_value_comes_back_through_zigzag() =>
        Gen.Long.Sample(value =>
        {
            byte[] bytes = new byte[Varint.MaxBytes];
            int length = Varint.WriteZigZag(bytes, value);
            int position = 0;
            return Varint.TryReadZigZag(bytes.AsSpan(0, length), ref position, out long back) && back == value;
        });

    [Theory]
    [InlineData("")]
    [InlineData("80")]
    [InlineData("ffffffffffffffffff")]
    [InlineData("ffffffffffffffffff02")]
    [InlineData("8080808080808080808000")]
    public void Truncated_and_too_large_values_leave_the_position(string hex)
    {
        int position = 0;
        Assert.False(Varint.TryRead(Convert.FromHexString(hex), ref position, out _));
        Assert.Equal(0, position);
    }

    [Fact]
    public void An_overlong_spelling_is_read()
    {
        int position = 0;
        Assert.True(Varint.TryRead([0x8A, 0x80, 0x00], ref position, out ulong value));
        Assert.Equal(10UL, value);
        Assert.Equal(3, position);
    }
}
