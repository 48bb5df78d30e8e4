using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>What one body has taken of the budget for bodies in flight: as much as has arrived, in steps, never what a sender only claims.</summary>
/// <remarks>One request's, one thread at a time; disposing gives everything back.</remarks>
internal sealed class BodyReservation(ByteBudget budget, TimeSpan patience) : IDisposable
{
    private const long Step = 256 * 1024;

    private readonly List<long> _held = [];
    private long _covered;

    /// <summary>Covers a body of this length, waiting for others to finish if need be.</summary>
    /// <returns>False if there was no room for too long.</returns>
    public async ValueTask<bool> CoverAsync(long bytes, CancellationToken cancel)
    {
        while (_covered < bytes)
        {
            long taken = await budget.TryAcquireAsync(Math.Max(Step, bytes - _covered), patience, cancel);
            if (taken < 0) return false;
            _held.Add(taken);
            _covered += Math.Max(Step, bytes - _covered);
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (long bytes in _held) budget.Release(bytes);
        _held.Clear();
    }
}
