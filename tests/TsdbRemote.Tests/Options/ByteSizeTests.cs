using CsCheck;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Options;

public sealed class ByteSizeTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("512", 512)]
    [InlineData("512B", 512)]
    [InlineData("1KB", 1024)]
    [InlineData("1k", -1)]
    [InlineData("64MB", 64L << 20)]
    [InlineData("64MiB", 64L << 20)]
    [InlineData("64 mb", 64L << 20)]
    [InlineData("1.5GB", 3L << 29)]
    [InlineData("8TB", 8L << 40)]
    [InlineData("9000000TB", -1)]
    [InlineData("0.3B", -1)]
    [InlineData("-1MB", -1)]
    [InlineData("1.5.0MB", -1)]
    [InlineData("MB", -1)]
    [InlineData("10XB", -1)]
    [InlineData("10iB", -1)]
    [InlineData("", -1)]
    [InlineData(null, -1)]
    public void A_size_is_read_as_people_write_it_or_refused(string? text, long expected)
    {
        bool read = ByteSize.TryParse(text, out ByteSize size);
        Assert.Equal(expected >= 0, read);
        if (read) Assert.Equal(expected, size.Bytes);
    }

    [Fact]
    public void Every_size_prints_as_a_text_that_reads_back_to_it() =>
        Gen.Long[0, long.MaxValue].Sample(bytes => ByteSize.Parse(new ByteSize(bytes).ToString()).Bytes == bytes);

    [Fact]
    public void The_largest_unit_that_divides_is_printed() =>
        Assert.Equal(["0B", "1023B", "1KB", "1536MB", "2GB"], new[] { 0L, 1023, 1024, 3L << 29, 2L << 30 }.Select(n => new ByteSize(n).ToString()));
}
