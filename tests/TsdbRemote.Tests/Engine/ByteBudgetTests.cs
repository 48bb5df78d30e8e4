using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Tests.Engine;

public sealed class ByteBudgetTests
{
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task A_request_that_does_not_fit_waits_until_bytes_are_given_back()
    {
        var budget = new ByteBudget(100, maxWaiting: 10, TimeProvider.System);
        Assert.Equal(80, await budget.TryAcquireAsync(80, Long, CancellationToken.None));
        Task<long> second = budget.TryAcquireAsync(50, Long, CancellationToken.None).AsTask();
        Assert.False(second.IsCompleted);
        budget.Release(80);
        Assert.Equal(50, await second);
        budget.Release(50);
        Assert.Equal(0, budget.Used);
    }

    [Fact]
    public async Task A_small_request_does_not_overtake_a_large_one_that_waits()
    {
        var budget = new ByteBudget(100, maxWaiting: 10, TimeProvider.System);
        await budget.TryAcquireAsync(60, Long, CancellationToken.None);
        Task<long> large = budget.TryAcquireAsync(90, Long, CancellationToken.None).AsTask();
        Task<long> small = budget.TryAcquireAsync(10, Long, CancellationToken.None).AsTask();
        Assert.False(small.IsCompleted);
        budget.Release(60);
        long[] both = await Task.WhenAll(large, small);
        Assert.Equal([90, 10], both);
    }

    [Fact]
    public async Task A_request_above_the_whole_budget_passes_alone()
    {
        var budget = new ByteBudget(100, maxWaiting: 10, TimeProvider.System);
        Assert.Equal(100, await budget.TryAcquireAsync(1000, Long, CancellationToken.None));
        budget.Release(100);
        Assert.Equal(0, budget.Used);
    }

    [Fact]
    public async Task Who_waits_too_long_or_behind_too_many_gets_nothing_and_keeps_nothing()
    {
        var budget = new ByteBudget(100, maxWaiting: 1, TimeProvider.System);
        await budget.TryAcquireAsync(100, Long, CancellationToken.None);
        Task<long> waiting = budget.TryAcquireAsync(10, TimeSpan.FromMilliseconds(50), CancellationToken.None).AsTask();
        Assert.Equal(-1, await budget.TryAcquireAsync(10, Long, CancellationToken.None));
        Assert.Equal(-1, await waiting);
        budget.Release(100);
        Assert.Equal(0, budget.Used);
        Assert.Equal(100, await budget.TryAcquireAsync(100, Long, CancellationToken.None));
    }

    [Fact]
    public async Task A_cancelled_wait_lets_the_next_one_go_ahead()
    {
        var budget = new ByteBudget(100, maxWaiting: 10, TimeProvider.System);
        await budget.TryAcquireAsync(50, Long, CancellationToken.None);
        using var cancel = new CancellationTokenSource();
        Task<long> large = budget.TryAcquireAsync(90, Long, cancel.Token).AsTask();
        Task<long> small = budget.TryAcquireAsync(40, Long, CancellationToken.None).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => large);
        Assert.Equal(40, await small);
    }
}
