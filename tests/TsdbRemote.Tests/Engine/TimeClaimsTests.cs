using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Tests.Engine;

public sealed class TimeClaimsTests
{
    private readonly TimeClaims _claims = new();

    [Fact]
    public void A_claim_is_refused_while_one_that_shares_an_instant_is_held()
    {
        using IDisposable? held = _claims.TryClaim(new TimeRange(10, 19));
        Assert.NotNull(held);
        Assert.Null(_claims.TryClaim(new TimeRange(19, 30)));
        Assert.Null(_claims.TryClaim(new TimeRange(0, 10)));
        Assert.Null(_claims.TryClaim(TimeRange.All));
        Assert.True(_claims.IsClaimed(new TimeRange(12, 12)));
        Assert.False(_claims.IsClaimed(new TimeRange(20, 30)));
        using IDisposable? beside = _claims.TryClaim(new TimeRange(20, 30));
        Assert.NotNull(beside);
    }

    [Fact]
    public void What_is_given_back_can_be_claimed_and_giving_it_back_twice_takes_nothing_from_the_next_owner()
    {
        IDisposable first = _claims.TryClaim(new TimeRange(0, 9))!;
        first.Dispose();
        using IDisposable? second = _claims.TryClaim(new TimeRange(0, 9));
        Assert.NotNull(second);
        first.Dispose();
        Assert.Null(_claims.TryClaim(new TimeRange(0, 9)));
    }

    [Fact]
    public void Of_many_threads_that_want_one_range_one_has_it_at_a_time()
    {
        int inside = 0;
        int most = 0;
        Parallel.For(0, 20_000, _ =>
        {
            using IDisposable? claim = _claims.TryClaim(new TimeRange(0, 9));
            if (claim is null) return;
            int now = Interlocked.Increment(ref inside);
            if (now > 1) most = now;
            Interlocked.Decrement(ref inside);
        });
        Assert.Equal(0, most);
        Assert.False(_claims.IsClaimed(TimeRange.All));
    }
}
