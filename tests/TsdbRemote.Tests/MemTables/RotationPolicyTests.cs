using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Tests.MemTables;

public sealed class RotationPolicyTests
{
    private const long MiB = 1L << 20;
    private static readonly RotationPolicy Fixed = new(100 * MiB, Threshold: 0.8, LogBytes: 1000 * MiB, MaxAgeMs: 7_200_000, ClosedAgeMs: 600_000, MemoryBytes: 16_384 * MiB);

    [Fact]
    public void An_empty_MemTable_never_rotates() =>
        Assert.Equal(RotationReason.None, Fixed.Decide(bytes: 900 * MiB, seriesCount: 0, sampleCount: 0, unflushedLogBytes: 5000 * MiB, ageMs: long.MaxValue, holdsClosedWindow: true));

    [Theory]
    [InlineData(7_199_999, RotationReason.None)]
    [InlineData(7_200_000, RotationReason.Age)]
    public void A_MemTable_without_samples_rotates_for_what_else_its_segment_says(long ageMs, RotationReason expected) =>
        Assert.Equal(expected, Fixed.Decide(bytes: 1, seriesCount: 0, sampleCount: 0, unflushedLogBytes: 0, ageMs, holdsClosedWindow: false, hasRecords: true));

    [Theory]
    [InlineData(79, RotationReason.None)]
    [InlineData(80, RotationReason.Size)]
    public void A_MemTable_rotates_at_the_threshold_of_its_size(long mebibytes, RotationReason expected) =>
        Assert.Equal(expected, Fixed.Decide(mebibytes * MiB, 10, 10, 0, 0, false));

    [Theory]
    [InlineData(749, RotationReason.None)]
    [InlineData(750, RotationReason.LogSize)]
    public void A_log_three_quarters_full_forces_a_rotation(long mebibytes, RotationReason expected) =>
        Assert.Equal(expected, Fixed.Decide(1, 10, 10, mebibytes * MiB, 0, false));

    [Theory]
    [InlineData(7_199_999, RotationReason.None)]
    [InlineData(7_200_000, RotationReason.Age)]
    public void A_MemTable_as_old_as_a_block_rotates_even_when_small(long ageMs, RotationReason expected) =>
        Assert.Equal(expected, Fixed.Decide(1, 10, 10, 0, ageMs, false));

    [Theory]
    [InlineData(599_999, true, RotationReason.None)]
    [InlineData(600_000, true, RotationReason.WindowClosed)]
    [InlineData(600_000, false, RotationReason.None)]
    public void A_MemTable_that_a_closed_window_waits_for_rotates_after_a_while(long ageMs, bool holdsClosed, RotationReason expected) =>
        Assert.Equal(expected, Fixed.Decide(1, 10, 10, 0, ageMs, holdsClosed));

    [Fact]
    public void The_automatic_size_follows_the_series_between_its_bounds()
    {
        RotationPolicy auto = Fixed with { FixedBytes = null };
        Assert.Equal(RotationPolicy.AutoMinBytes, auto.SizeFor(1000));
        Assert.Equal(1_000_000 * RotationPolicy.AutoBytesPerSeries, auto.SizeFor(1_000_000));
        Assert.Equal(1024 * MiB, auto.SizeFor(100_000_000));
    }
}
