using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>What one body has taken of the budget for bodies in flight: as much as has arrived, in steps, never what a sender only claims.</summary>
/// <remarks>One request's, one thread at a time; disposing gives everything back.</remarks>
internal sealed class BodyReservation(ByteBudget budget, TimeSpan patience) : IDisposable
{
    private const long Step = 256 * 1024;

    private long _held;

    /// <summary>Covers a body of this length, waiting for others to finish if need be. One that holds the whole budget is covered.</summary>
    /// <returns>False if there was no room for too long.</returns>
    public async ValueTask<bool> CoverAsync(long bytes, CancellationToken cancel)
    {
        long more = Math.Min(Math.Max(Step, bytes - _held), budget.Total - _held);
        if (_held >= bytes || more <= 0) return true;
        long taken = await budget.TryAcquireAsync(more, patience, cancel);
        if (taken < 0) return false;
        _held += taken;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        budget.Release(_held);
        _held = 0;
    }
}
