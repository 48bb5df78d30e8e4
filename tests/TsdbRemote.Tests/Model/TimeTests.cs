using System.Numerics;
using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

public class TimeTests
{
    private const long TwoHours = 7_200_000;

    [Theory]
    [InlineData(0, 0)]
    [InlineData(TwoHours - 1, 0)]
    [InlineData(TwoHours, TwoHours)]
    [InlineData(-1, -TwoHours)]
    [InlineData(-TwoHours, -TwoHours)]
    [InlineData(long.MinValue, long.MinValue)]
    public void Windows_start_at_multiples_of_their_width(long timeMs, long start) =>
        Assert.Equal(start, TimeWindow.StartOf(timeMs, TwoHours));

    [Fact]
    public void Windows_tile_the_whole_of_time_in_exact_arithmetic() =>
        Gen.Select(Gen.OneOf(Gen.Long, Gen.OneOf(long.MinValue, long.MinValue + 5, -1L, 0L, long.MaxValue - 5, long.MaxValue)), Gen.Long[1, 1L << 40])
            .Sample(static (timeMs, windowMs) =>
            {
                BigInteger start = BigInteger.Subtract(timeMs, ((timeMs % (BigInteger)windowMs) + windowMs) % windowMs);
                BigInteger end = start + windowMs - 1;
                return TimeWindow.StartOf(timeMs, windowMs) == BigInteger.Max(start, long.MinValue)
                    && TimeWindow.EndOf(timeMs, windowMs) == BigInteger.Min(end, long.MaxValue);
            });

    [Fact]
    public void Both_ends_belong_to_a_range()
    {
        var range = new TimeRange(10, 20);
        Assert.True(range.Contains(10) && range.Contains(20));
        Assert.False(range.Contains(9) || range.Contains(21));
        Assert.True(range.Overlaps(new TimeRange(20, 30)) && range.Overlaps(new TimeRange(0, 10)));
        Assert.False(range.Overlaps(new TimeRange(21, 30)) || range.Overlaps(new TimeRange(0, 9)));
        Assert.True(range.Contains(new TimeRange(10, 20)));
        Assert.False(range.Contains(new TimeRange(10, 21)));
        Assert.True(new TimeRange(1, 0).IsEmpty);
        Assert.False(new TimeRange(1, 1).IsEmpty);
    }

    [Fact]
    public void Samples_are_equal_by_value_bits()
    {
        Assert.NotEqual(Sample.Of(1, 0.0), Sample.Of(1, -0.0));
        Assert.NotEqual(new Sample(1, StaleMarker.Bits), new Sample(1, StaleMarker.NormalNaN));
        Assert.Equal(new Sample(1, StaleMarker.Bits), new Sample(1, StaleMarker.Bits));
        Assert.True(double.IsNaN(new Sample(1, StaleMarker.Bits).Value));
    }
}
