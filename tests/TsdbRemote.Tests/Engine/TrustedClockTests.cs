using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Tests.Engine;

/// <summary>T43: the time of day is believed once it has gone with the time that passes for a minute.</summary>
public sealed class TrustedClockTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private readonly JumpingTime _time = new(DateTimeOffset.UnixEpoch.AddDays(20_000));
    private readonly TrustedClock _clock;

    public TrustedClockTests() => _clock = new TrustedClock(_time);

    [Fact]
    public void A_clock_that_is_right_from_the_start_is_believed_after_a_minute_and_not_before()
    {
        Assert.Null(_clock.ReadMs());
        _time.Advance(59 * Second);
        Assert.Null(_clock.ReadMs());
        _time.Advance(Second);
        Assert.Equal(_time.NowMs, _clock.ReadMs());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public void A_jump_of_a_day_takes_it_out_of_belief_until_it_stands_for_a_minute(int days)
    {
        _time.Advance(60 * Second);
        Assert.NotNull(_clock.ReadMs());
        _time.Jump(TimeSpan.FromDays(days));
        Assert.Null(_clock.ReadMs());
        _time.Advance(59 * Second);
        Assert.Null(_clock.ReadMs());
        _time.Advance(Second);
        Assert.Equal(_time.NowMs, _clock.ReadMs());
    }

    [Fact]
    public void One_wrong_reading_that_is_set_right_again_is_never_believed()
    {
        _time.Advance(60 * Second);
        long right = _clock.ReadMs()!.Value;
        _time.Advance(30 * Second);
        _time.Jump(TimeSpan.FromDays(365));
        Assert.Null(_clock.ReadMs());
        _time.Advance(30 * Second);
        _time.Jump(TimeSpan.FromDays(-365));
        for (int i = 0; i < 2; i++)
        {
            Assert.Null(_clock.ReadMs()); // the way back is a jump, too
            _time.Advance(30 * Second);
        }

        Assert.Equal(right + 120_000, _clock.ReadMs());
    }

    [Fact]
    public void One_that_was_wrong_at_the_start_and_is_corrected_within_a_minute_is_believed_only_as_corrected()
    {
        _time.Advance(50 * Second);
        _time.Jump(TimeSpan.FromHours(-3));
        _time.Advance(20 * Second);
        Assert.Null(_clock.ReadMs());
        _time.Advance(60 * Second);
        Assert.Equal(_time.NowMs, _clock.ReadMs());
    }

    [Fact]
    public void A_clock_that_is_slewed_by_a_few_seconds_stays_believed()
    {
        _time.Advance(60 * Second);
        Assert.NotNull(_clock.ReadMs());
        for (int i = 0; i < 5; i++)
        {
            _time.Advance(30 * Second);
            _time.Jump(5 * Second);
            Assert.Equal(_time.NowMs, _clock.ReadMs());
        }
    }
}
