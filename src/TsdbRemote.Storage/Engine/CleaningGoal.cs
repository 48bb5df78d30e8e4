using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which deletes somebody waits for to be gone from all files. Thread-safe.</summary>
/// <remarks>Only while it is asked for: else each delete would have the tables of all its time written anew at once, where a merge or a conversion that is due soon does the same.</remarks>
internal sealed class CleaningGoal
{
    private readonly Lock _lock = new();
    private int _waiting;
    private ulong _upTo;

    /// <summary>Tombstones up to this sequence are to be carried out; 0 while nobody asks.</summary>
    public ulong UpTo => Volatile.Read(ref _upTo);

    /// <summary>Asks.</summary>
    /// <param name="upTo">Sequence of the newest tombstone that is meant.</param>
    /// <returns>To be disposed, once, when the caller waits no longer.</returns>
    public IDisposable Begin(ulong upTo)
    {
        lock (_lock)
        {
            _waiting++;
            Volatile.Write(ref _upTo, Math.Max(_upTo, upTo));
        }

        return new Asked(this);
    }

    /// <summary>Of a state's tombstones those that are to be carried out.</summary>
    public IReadOnlyCollection<TombstoneEntry> Of(EngineState state)
    {
        ulong upTo = UpTo;
        return upTo == 0 || state.Deletions is null ? [] : [.. state.Manifest.Tombstones.Where(tombstone => tombstone.Sequence <= upTo)];
    }

    private sealed class Asked(CleaningGoal goal) : IDisposable
    {
        public void Dispose()
        {
            lock (goal._lock)
            {
                if (--goal._waiting == 0) Volatile.Write(ref goal._upTo, 0);
            }
        }
    }
}
