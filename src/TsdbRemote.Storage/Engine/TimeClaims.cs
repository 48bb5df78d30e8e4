using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which ranges of time some background job works on: two jobs never take tables or blocks of the same time out of the state.</summary>
/// <remarks>
/// Use:       claim before the inputs are read from the state, dispose after the commit; ask <see cref="IsClaimed"/> while picking, then claim what was
///            picked and pick anew if that is refused.
/// Invariant: held claims are disjoint. There are no more of them than there are jobs, so a list is enough.
/// Thread-safe. Nobody waits here: a job that is refused looks for other work.
/// </remarks>
internal sealed class TimeClaims
{
    // Guards the replacement of the list; nothing is called while it is held.
    private readonly Lock _lock = new();
    private ImmutableList<Claim> _held = [];

    /// <summary>Takes a range, unless some of it is taken.</summary>
    /// <param name="range">Both ends belong to it.</param>
    /// <returns>Gives the range back when disposed, once or more often; null if another claim overlaps it.</returns>
    public IDisposable? TryClaim(TimeRange range)
    {
        lock (_lock)
        {
            if (_held.Exists(held => held.Range.Overlaps(range))) return null;
            var claim = new Claim(this, range);
            _held = _held.Add(claim);
            return claim;
        }
    }

    /// <summary>True if a claim of this range would be refused now.</summary>
    public bool IsClaimed(TimeRange range) => Volatile.Read(ref _held).Exists(held => held.Range.Overlaps(range));

    private sealed class Claim(TimeClaims owner, TimeRange range) : IDisposable
    {
        public TimeRange Range { get; } = range;

        public void Dispose()
        {
            lock (owner._lock) owner._held = owner._held.Remove(this);
        }
    }
}
