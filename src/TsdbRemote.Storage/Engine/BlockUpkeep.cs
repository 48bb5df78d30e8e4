using System.Collections.Concurrent;
using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Blocks that come and go by themselves: adopts what is put into <c>blocks/</c>, deletes what retention says, removes what nobody reads any more.</summary>
/// <remarks>
/// Deletion (reliability §2.3): the manifest drops the block and names it as deleted; its last reader hands it over here; it is renamed, then
/// removed; a later commit forgets the name. A crash anywhere leaves a block that the next open removes, and never one that comes back.
/// Not thread-safe: one thread works; readers hand blocks over from theirs.
/// </remarks>
internal sealed class BlockUpkeep
{
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly BlockStore _store;
    private readonly Retention _retention;
    private readonly TrustedClock _clock;
    private readonly Func<long> _otherBytes;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly ILogger _log;
    private readonly ConcurrentQueue<string> _unused = new();

    // Of blocks that did not pass: what they looked like then. Only what has not changed since is given up, a copy in progress is not.
    private readonly Dictionary<string, string> _refused = [];

    // Of blocks that the disk does not let us read or move: what it said, which is told once.
    private readonly Dictionary<string, string> _unreadable = [];

    public BlockUpkeep(
        CurrentState state, StateCommits commits, BlockStore store, Retention retention, TrustedClock clock, Func<long> otherBytes, EngineCounters counters,
        Action<string> damaged, ILogger log)
    {
        _state = state;
        _commits = commits;
        _store = store;
        _retention = retention;
        _clock = clock;
        _otherBytes = otherBytes;
        _counters = counters;
        _damaged = damaged;
        _log = log;
    }

    /// <summary>Looks for blocks that were put into the directory; verifies them and adopts, or quarantines, them.</summary>
    /// <returns>True if something changed.</returns>
    public bool Adopt(CancellationToken cancel)
    {
        bool changed = false;
        foreach (string ulid in _store.FindUnknown(_state.Peek.Manifest))
        {
            cancel.ThrowIfCancellationRequested();
            try
            {
                changed |= TryAdopt(ulid, cancel);
            }
            catch (DiskException failure) when (IsOf(ulid, failure))
            {
                Unreadable(ulid, failure);
            }
        }

        return changed;
    }

    /// <summary>Takes out of service what is too old or too much.</summary>
    /// <returns>True if something changed.</returns>
    public bool Retain()
    {
        long? clockMs = _clock.ReadMs();
        if (_retention.IsUnlimited) return false;
        EngineState state = _state.Peek;
        ImmutableArray<string> expired = _retention.Expired(state.Blocks, NewestMs(state), clockMs, _otherBytes());
        if (expired.IsEmpty) return false;
        HashSet<string> names = [.. expired];
        _commits.Commit(
            manifest => manifest with
            {
                Blocks = [.. manifest.Blocks.Where(block => !names.Contains(block.Ulid))],
                DeletedBlocks = manifest.DeletedBlocks.AddRange(expired),
            },
            (current, manifest) =>
            {
                foreach (StoredBlock block in current.Blocks.Blocks.Where(block => names.Contains(block.Entry.Ulid))) Retire(block);
                return current.With(manifest, blocks: current.Blocks.Without(names));
            });
        EngineCounters.Add(ref _counters.BlocksDeleted, expired.Length);
        foreach (string ulid in expired) Log.BlockExpired(_log, ulid);
        return true;
    }

    /// <summary>Has a block, which the manifest names as deleted by now, removed once its last reader lets go.</summary>
    public void Retire(StoredBlock block) => block.Reader.MarkObsolete(_ => _unused.Enqueue(block.Entry.Ulid));

    /// <summary>Removes what nobody reads any more, and forgets the names of what is gone.</summary>
    /// <returns>True if something changed.</returns>
    public bool Remove()
    {
        for (int left = _unused.Count; left > 0 && _unused.TryDequeue(out string? ulid); left--)
        {
            try
            {
                _store.Remove(ulid);
            }
            catch (DiskException failure) when (!failure.IsSync)
            {
                // Nothing depends on it: tried again in the next round, and by the next open.
                _unused.Enqueue(ulid);
                EngineCounters.Add(ref _counters.ConversionErrors, 1);
                Log.DeleteFailed(_log, failure.Path, failure);
            }
        }

        ImmutableArray<string> deleted = _state.Peek.Manifest.DeletedBlocks;
        if (deleted.IsEmpty) return false;
        ImmutableArray<string> gone = [.. deleted.Except(_store.Left(deleted))];
        if (gone.IsEmpty) return false;
        _commits.Commit(
            manifest => manifest with { DeletedBlocks = manifest.DeletedBlocks.RemoveRange(gone) },
            static (state, manifest) => state.With(manifest));
        return true;
    }

    private const string Unsupported = "unsupported ";

    /// <summary>True if somebody else's files are to blame, and not the disk as a whole: a block must not stop what has nothing to do with it.</summary>
    private static bool IsOf(string ulid, DiskException failure) =>
        !failure.IsSync && failure.Errno is not (DiskException.NoSpace or Errno.TooManyFiles or Errno.ReadOnly) && failure.Path.Contains(ulid, StringComparison.Ordinal);

    private bool TryAdopt(string ulid, CancellationToken cancel)
    {
        string looks = _store.Fingerprint(ulid);
        string? before = _refused.GetValueOrDefault(ulid);
        if (before == Unsupported + looks) return false;
        ForeignBlock found = _store.Examine(ulid, cancel);
        if (found.Reader is { } reader) Adopt(new StoredBlock(new BlockEntry(ulid, 0, Adopted: true), reader));
        else if (found.IsUnsupported) Refuse(ulid, Unsupported + looks, found.Problem!);
        else if (before != looks) _refused[ulid] = looks;
        else Quarantine(ulid, found.Problem!);
        return found.Reader is not null || !_refused.ContainsKey(ulid);
    }

    private void Unreadable(string ulid, DiskException failure)
    {
        if (failure.Errno == Errno.NoEntry) return; // it is being taken away or put there: the next look tells
        EngineCounters.Add(ref _counters.ConversionErrors, 1);
        if (_unreadable.GetValueOrDefault(ulid) == failure.Message) return;
        _unreadable[ulid] = failure.Message;
        _damaged($"block {ulid} is not served: {failure.Message}; it stays in blocks/ and is looked at again");
    }

    private void Adopt(StoredBlock block)
    {
        try
        {
            _commits.Commit(
                manifest => manifest with { Blocks = manifest.Blocks.Add(block.Entry) },
                (state, manifest) => state.With(manifest, blocks: state.Blocks.With(block)));
        }
        finally
        {
            block.Reader.Dispose(); // the state holds it now, or nobody does
        }

        _refused.Remove(block.Entry.Ulid);
        EngineCounters.Add(ref _counters.BlocksAdopted, 1);
        Log.BlockAdopted(_log, block.Entry.Ulid, block.Reader.Meta.Stats.Series, block.Reader.Meta.Stats.Samples, block.Reader.Bytes);
    }

    private void Refuse(string ulid, string looks, string problem)
    {
        _refused[ulid] = looks;
        _damaged($"block {ulid} is not served: {problem}; it stays in blocks/");
    }

    private void Quarantine(string ulid, string problem)
    {
        string kept = _store.Quarantine(ulid);
        _refused.Remove(ulid);
        EngineCounters.Add(ref _counters.BlocksQuarantined, 1);
        _damaged($"block {ulid} does not pass verification ({problem}); kept as {kept}");
    }

    private static long? NewestMs(EngineState state)
    {
        long newest = long.MinValue;
        foreach (MemTables.MemTable memTable in state.MemTables.NewestFirst) newest = Math.Max(newest, memTable.MaxTimeMs);
        foreach (LevelTable table in state.Levels.Tables) newest = Math.Max(newest, table.Entry.MaxTimeMs);
        foreach (StoredBlock block in state.Blocks.Blocks) newest = Math.Max(newest, block.Range.MaxMs);
        return newest == long.MinValue ? null : newest;
    }
}
