using System.Collections.Concurrent;
using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>
/// Blocks that come and go by themselves: adopts what is put into <c>blocks/</c>, serves again what can be opened again, deletes what retention says, removes
/// what nobody reads any more.
/// </summary>
/// <remarks>
/// Deletion (reliability §2.3): the manifest drops the block and names it as deleted; its last reader hands it over here; it is renamed, then
/// removed; a later commit forgets the name. A crash anywhere leaves a block that the next open removes, and never one that comes back.
/// What the disk refuses of one block is named once, keeps nothing else from its turn, and is tried again in every round.
/// Not thread-safe: one thread works; readers hand blocks over from theirs.
/// </remarks>
internal sealed class BlockUpkeep
{
    // A directory that stays above its size is said so once an hour: rounds come every 30 s.
    private const int RoundsPerWarning = 120;

    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly BlockStore _store;
    private readonly Retention _retention;
    private readonly TrustedClock _clock;
    private readonly Func<EngineState, OtherBytes> _others;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly ILogger _log;
    private readonly ConcurrentQueue<string> _unused;

    // Of blocks that did not pass: what they looked like then. Only what has not changed since is given up, a copy in progress is not.
    private readonly Dictionary<string, string> _refused = [];

    // What the disk does not let us read, move or remove, by name in the directory: what is wrong with it, which is told once.
    private readonly Dictionary<string, string> _unreadable = [];
    private readonly Dictionary<string, string> _stuck = [];
    private int _roundsAboveSize;

    /// <summary>Nothing done yet.</summary>
    /// <param name="state">What is served.</param>
    /// <param name="commits">Changes it.</param>
    /// <param name="store">The directory.</param>
    /// <param name="retention">What is too old or too much.</param>
    /// <param name="clock">The time of day.</param>
    /// <param name="others">Bytes of the data directory besides the blocks that a state serves.</param>
    /// <param name="rests">Names in the directory that the open could not remove.</param>
    /// <param name="counters">Added to.</param>
    /// <param name="damaged">Told what is wrong with a block.</param>
    /// <param name="log">Where events go.</param>
    public BlockUpkeep(
        CurrentState state, StateCommits commits, BlockStore store, Retention retention, TrustedClock clock, Func<EngineState, OtherBytes> others,
        IEnumerable<string> rests, EngineCounters counters, Action<string> damaged, ILogger log)
    {
        _state = state;
        _commits = commits;
        _store = store;
        _retention = retention;
        _clock = clock;
        _others = others;
        _unused = new ConcurrentQueue<string>(rests);
        _counters = counters;
        _damaged = damaged;
        _log = log;
    }

    /// <summary>Why reads cannot be whole now; null if they can. Any thread.</summary>
    public string? WhyShut => _store.WhyShut;

    /// <summary>One round of all of it.</summary>
    /// <returns>True if something changed.</returns>
    public bool Work(CancellationToken cancel)
    {
        bool removed = Remove();
        bool served = ServeAgain(cancel);
        bool adopted = Adopt(cancel);
        return Retain() | adopted | served | removed;
    }

    /// <summary>Opens what the manifest names and nobody could open before.</summary>
    /// <returns>True if something changed.</returns>
    public bool ServeAgain(CancellationToken cancel)
    {
        EngineState state = _state.Peek;
        bool changed = false;
        BlockEntry[] closed = [.. OutOfService(state)];
        _store.ForgetShut(closed.Select(static entry => entry.Ulid).ToHashSet());
        foreach (BlockEntry entry in closed)
        {
            cancel.ThrowIfCancellationRequested();
            if (_store.TryOpen(entry, _damaged) is not { } block) continue;
            _state.Change(current => current.With(blocks: current.Blocks.With(block)));
            block.Reader.Dispose(); // the state holds it now
            Log.BlockServedAgain(_log, entry.Ulid);
            changed = true;
        }

        return changed;
    }

    /// <summary>Looks for blocks that were put into the directory; verifies them and adopts, or quarantines, them.</summary>
    /// <returns>True if something changed.</returns>
    public bool Adopt(CancellationToken cancel)
    {
        bool changed = false;
        IReadOnlyList<string> unknown = _store.FindUnknown(() => _state.Peek.Manifest, out IReadOnlyList<string> odd);
        Forget(_refused, unknown);
        Forget(_unreadable, [.. unknown, .. odd]);
        foreach (string name in odd) Tell(_unreadable, name, $"{name} in blocks/ is not served: it is no directory; links are not followed");
        foreach (string ulid in unknown)
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
        long? newestMs = NewestMs(state);
        OtherBytes others = _others(state);
        ImmutableArray<ExpiredBlock> expired = _retention.Expired(state.Blocks, newestMs, clockMs, others);
        HashSet<string> names = [.. expired.Select(static block => block.Ulid)];
        WarnAboveSize(_retention.Excess(state.Blocks.Blocks.Where(block => !names.Contains(block.Entry.Ulid)).Sum(static block => block.Reader.Bytes), others));
        IEnumerable<BlockEntry> tooOld = OutOfService(state).Where(block => block.MaxTimeMs is { } max && _retention.IsTooOld(max, newestMs, clockMs));
        string[] lost = [.. tooOld.Select(static block => block.Ulid)];
        if (expired.IsEmpty && lost.Length == 0) return false;
        _commits.Commit(
            manifest => manifest with
            {
                Blocks = [.. manifest.Blocks.Where(block => !names.Contains(block.Ulid) && !lost.Contains(block.Ulid))],
                DeletedBlocks = [.. manifest.DeletedBlocks, .. names, .. lost],
            },
            (current, manifest) =>
            {
                foreach (StoredBlock block in current.Blocks.Blocks.Where(block => names.Contains(block.Entry.Ulid))) Retire(block);
                return current.With(manifest, blocks: current.Blocks.Without(names));
            });
        EngineCounters.Add(ref _counters.BlocksDeleted, names.Count + lost.Length);
        foreach (ExpiredBlock block in expired) Log.BlockExpired(_log, block.Ulid, block.Reason);
        foreach (string ulid in lost)
        {
            _unused.Enqueue(ulid); // nobody reads it
            Log.BlockExpired(_log, ulid, "it is out of service, and all of it is older than storage.retention.time");
        }

        return true;
    }

    /// <summary>Has a block, which the manifest names as deleted by now, removed once its last reader lets go.</summary>
    public void Retire(StoredBlock block) => block.Reader.MarkObsolete(_ => _unused.Enqueue(block.Entry.Ulid));

    /// <summary>Removes what nobody reads any more, and forgets the names of what is gone.</summary>
    /// <returns>True if something changed.</returns>
    public bool Remove()
    {
        while (_store.TryTakeStray(out string? stray)) _unused.Enqueue(stray);
        for (int left = _unused.Count; left > 0 && _unused.TryDequeue(out string? ulid); left--)
        {
            try
            {
                _store.Remove(ulid);
                _stuck.Remove(ulid);
            }
            catch (DiskException failure) when (!failure.IsSync)
            {
                // Nothing depends on it: tried again in the next round, and by the next open.
                _unused.Enqueue(ulid);
                EngineCounters.Add(ref _counters.ConversionErrors, 1);
                Log.DeleteFailed(_log, failure.Path, failure);
                Tell(_stuck, ulid, $"what is left of block {ulid}, which is not served, cannot be removed: {failure.Message}; its removal is tried again");
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

    /// <summary>What the manifest names and nobody can open.</summary>
    private static IEnumerable<BlockEntry> OutOfService(EngineState state)
    {
        if (state.Blocks.Blocks.Length == state.Manifest.Blocks.Length) return [];
        HashSet<string> served = [.. state.Blocks.Blocks.Select(static block => block.Entry.Ulid)];
        return state.Manifest.Blocks.Where(block => !served.Contains(block.Ulid));
    }

    private static void Forget(Dictionary<string, string> told, IReadOnlyList<string> there)
    {
        foreach (string name in told.Keys.Except(there).ToArray()) told.Remove(name);
    }

    /// <summary>True if somebody else's files are to blame, and not the disk as a whole: a block must not stop what has nothing to do with it.</summary>
    private static bool IsOf(string ulid, DiskException failure) =>
        !failure.IsSync && failure.Errno is not (Errno.NoSpace or Errno.TooManyFiles or Errno.TooManyFilesOfAll or Errno.ReadOnly)
        && failure.Path.Contains(ulid, StringComparison.Ordinal);

    private bool TryAdopt(string ulid, CancellationToken cancel)
    {
        string looks = _store.Fingerprint(ulid);
        string? before = _refused.GetValueOrDefault(ulid);
        ForeignBlock found = _store.Examine(ulid, cancel);
        if (found.IsNewer)
        {
            Tell(_unreadable, ulid, $"block {ulid} is not served: {found.Problem}; it stays in blocks/ and is looked at again");
            return false;
        }

        if (found.Reader is { } reader) TakeIn(new StoredBlock(BlockEntry.Of(reader.Meta, rank: 0), reader));
        else if (before != looks) _refused[ulid] = looks;
        else Quarantine(ulid, found.Problem!);
        return found.Reader is not null || !_refused.ContainsKey(ulid);
    }

    private void Unreadable(string ulid, DiskException failure)
    {
        if (failure.Errno == Errno.NoEntry) return; // it is being taken away or put there: the next look tells
        EngineCounters.Add(ref _counters.ConversionErrors, 1);
        Tell(_unreadable, ulid, $"block {ulid} is not served: {failure.Message}; it stays in blocks/ and is looked at again");
    }

    private void Tell(Dictionary<string, string> told, string name, string what)
    {
        if (told.GetValueOrDefault(name) == what) return;
        told[name] = what;
        _damaged(what);
    }

    private void WarnAboveSize(string? excess)
    {
        if (excess is null) _roundsAboveSize = 0;
        else if (_roundsAboveSize++ % RoundsPerWarning == 0) Log.RetentionExceeded(_log, excess);
    }

    private void TakeIn(StoredBlock block)
    {
        try
        {
            // What an operator restores after a delete is wanted: none of those that are there reaches it.
            BlockEntry entry = block.Entry;
            _commits.Commit(
                manifest =>
                {
                    entry = entry with { AppliedTo = manifest.Tombstones.Select(static tombstone => tombstone.Sequence).DefaultIfEmpty().Max() };
                    return manifest with { Blocks = manifest.Blocks.Add(entry) };
                },
                (state, manifest) => state.With(manifest, blocks: state.Blocks.With(block with { Entry = entry })));
        }
        finally
        {
            block.Reader.Dispose(); // the state holds it now, or nobody does
        }

        _refused.Remove(block.Entry.Ulid);
        _unreadable.Remove(block.Entry.Ulid);
        EngineCounters.Add(ref _counters.BlocksAdopted, 1);
        Log.BlockAdopted(_log, block.Entry.Ulid, block.Reader.Meta.Stats.Series, block.Reader.Meta.Stats.Samples, block.Reader.Bytes);
    }

    private void Quarantine(string ulid, string problem)
    {
        string kept = _store.Quarantine(ulid);
        _refused.Remove(ulid);
        _unreadable.Remove(ulid);
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
