using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Engine;

/// <content>What an operator asks for: flush, compaction, deletes, snapshots, and the other write path.</content>
public sealed partial class LsmEngine
{
    /// <summary>Completes when everything acknowledged before the call is in tables or blocks.</summary>
    /// <exception cref="EngineUnavailableException">The storage is read-only, or the engine is stopping.</exception>
    public Task FlushAsync(CancellationToken cancel) =>
        Volatile.Read(ref _stopped) != 0 ? Task.FromException(EngineUnavailableException.Stopping()) : FlushAllAsync(cancel);

    /// <summary>
    /// Completes when everything acknowledged before the call is in tables or blocks, every window that is closed is in a block, no merge of those tables or blocks
    /// is due, and series without data elsewhere have left the dictionary. What comes meanwhile is no part of it.
    /// </summary>
    /// <exception cref="EngineUnavailableException">The storage is read-only, or the engine is stopping.</exception>
    public async Task CompactAsync(CancellationToken cancel)
    {
        await FlushAsync(cancel).ConfigureAwait(false);

        // A merge that began while blocks were made may have kept a window from them. Not for ever: what is written to without a pause never rests.
        for (int round = 0; round < 3; round++)
        {
            await CompactTablesAsync(cancel).ConfigureAwait(false);
            await CompactBlocksAsync(cancel).ConfigureAwait(false);
            if (_parts.Compaction.Running.IsEmpty) break;
        }

        await CollectAsync(cancel).ConfigureAwait(false);
    }

    /// <summary>Completes when samples are deleted, durably: no read that begins then sees one that was acknowledged before the call. Files shrink later.</summary>
    /// <param name="selectors">Series that satisfy one of them are meant; each has a matcher, and none more than <see cref="SelectorParser.MaxTerms"/>.</param>
    /// <param name="range">Closed range in ms; of an empty one nothing is deleted.</param>
    /// <param name="cancel">Gives up, if it is not being done already.</param>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the storage is read-only, stopping, or its disk is full.</exception>
    /// <exception cref="DeleteRefusedException">Too many deletes wait to be carried out.</exception>
    /// <exception cref="OperationCanceledException">Nothing was deleted.</exception>
    public Task DeleteAsync(IReadOnlyList<IReadOnlyList<Matcher>> selectors, TimeRange range, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(selectors);
        if (Refusal() is { } refused) return Task.FromException(refused);
        return range.IsEmpty || selectors.Count == 0 ? Task.CompletedTask : _parts.Deletes.DeleteAsync(selectors, range, cancel);
    }

    /// <summary>
    /// Completes when nothing of what was deleted before the call is left in any file, but in tables and blocks that cannot be written anew now, such as damaged ones
    /// and those marked no-compact: it is not read from them either, and taken out of them once they can be.
    /// </summary>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the storage is read-only or stopping.</exception>
    public async Task CleanTombstonesAsync(CancellationToken cancel)
    {
        if (Refusal() is { } refused) throw refused;
        ulong upTo = _parts.State.Peek.DeletionsKnownTo;
        if (upTo == 0) return;
        using IDisposable asked = _parts.Cleaning.Begin(upTo);

        // A job that had begun before may end in a round and leave its result to the next.
        int left = int.MaxValue;
        for (int stuck = 0; stuck < 3;)
        {
            await CompactAsync(cancel).ConfigureAwait(false);
            int now = NotCleaned(upTo);
            if (now == 0) return;
            stuck = now < left ? 0 : stuck + 1;
            left = Math.Min(left, now);
        }

        Log.NotCleaned(_log, upTo, left);
    }

    /// <summary>Makes a data directory of its own, under <c>snapshots/</c>, of what is stored: complete and durable once it is named.</summary>
    /// <param name="skipHead">True to leave out what is only in memory and in the log; else that is flushed before.</param>
    /// <param name="cancel">Gives up; nothing is left.</param>
    /// <returns>Its name.</returns>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the storage is read-only or stopping.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left that the next open does not remove.</exception>
    public async Task<string> SnapshotAsync(bool skipHead, CancellationToken cancel)
    {
        if (Refusal() is { } refused) throw refused;
        if (!skipHead) await FlushAsync(cancel).ConfigureAwait(false);
        return await Task.Run(() => _parts.Snapshots.Make(cancel), cancel).ConfigureAwait(false);
    }

    /// <summary>Changes what MemTables become, from now until the store is closed. What is in tables and blocks stays there and is served.</summary>
    /// <param name="path">Blocks for block-only mode: what tables hold then becomes blocks as well.</param>
    /// <returns>False if the options rule it out (<c>integration.hybrid_mode: false</c>).</returns>
    /// <exception cref="EngineUnavailableException">The engine is stopping.</exception>
    public bool TrySwitchWritePath(WritePathChoice path)
    {
        if (Volatile.Read(ref _stopped) != 0) throw EngineUnavailableException.Stopping();
        if (!_parts.Modes.TrySwitch(path)) return false;
        Log.WritePathSwitched(_log, path);
        _parts.Background.Wake();
        _parts.Compaction.Wake();
        _parts.Blocks.Wake();
        return true;
    }

    /// <summary>Why nothing can be deleted or cleaned now; null if it can.</summary>
    private EngineUnavailableException? Refusal()
    {
        if (Volatile.Read(ref _stopped) != 0) return EngineUnavailableException.Stopping();
        if (!_parts.Ready.Task.IsCompletedSuccessfully) return new EngineUnavailableException(ReplayMessage());
        return _parts.Failure.IsSet ? new EngineUnavailableException(_parts.Failure.Message) : null;
    }

    /// <summary>Tables, each in each of its windows, and blocks that deletes up to a sequence reach.</summary>
    private int NotCleaned(ulong upTo)
    {
        ManifestState manifest = _parts.State.Peek.Manifest;
        TombstoneEntry[] meant = [.. manifest.Tombstones.Where(tombstone => tombstone.Sequence <= upTo)];
        return manifest.Blocks.Count(block => meant.Any(tombstone => tombstone.Reaches(block)))
            + manifest.Tables.Where(table => meant.Any(tombstone => tombstone.Reaches(table, manifest.BlockDurationMs))).Sum(static table => table.Windows.Length);
    }

    private Task FlushAllAsync(CancellationToken cancel) =>
        _parts.Failure.IsSet ? Task.FromException(new EngineUnavailableException(_parts.Failure.Message)) : _parts.Background.FlushAsync(cancel);
}
