using CsCheck;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Options;

public sealed class DurationTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("0s", 0)]
    [InlineData("250ms", 250)]
    [InlineData("1s", 1_000)]
    [InlineData("1h30m", 5_400_000)]
    [InlineData("15d", 15L * 86_400_000)]
    [InlineData("1y2w3d4h5m6s7ms", ((365L + 14 + 3) * 86_400_000) + (4 * 3_600_000) + (5 * 60_000) + 6_007)]
    [InlineData("30m1h", -1)]
    [InlineData("1h1h", -1)]
    [InlineData("5", -1)]
    [InlineData("h", -1)]
    [InlineData("-1h", -1)]
    [InlineData("1.5h", -1)]
    [InlineData("1 h", -1)]
    [InlineData("1H", -1)]
    [InlineData("99999999999999999999s", -1)]
    [InlineData("30000y", -1)]
    [InlineData("", -1)]
    [InlineData(null, -1)]
    public void A_duration_is_read_as_Prometheus_writes_it_or_refused(string? text, long expected)
    {
        bool read = Duration.TryParse(text, out Duration duration);
        Assert.Equal(expected >= 0, read);
        if (read) Assert.Equal(expected, duration.Milliseconds);
    }

    [Fact]
    public void Every_duration_prints_as_a_text_that_reads_back_to_it() =>
        Gen.Long[0, long.MaxValue / TimeSpan.TicksPerMillisecond]
            .Sample(ms => Duration.Parse(new Duration(ms).ToString()).Milliseconds == ms);

    [Fact]
    public void Durations_print_as_Prometheus_prints_them() =>
        Assert.Equal(["0s", "2h", "1h30m", "15d", "2w", "1y", "366d", "1s1ms"],
            new[] { "0", "2h", "90m", "15d", "14d", "365d", "366d", "1001ms" }.Select(text => Duration.Parse(text).ToString()));
}
