using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Replaces the manifest and publishes what it then says, one change at a time.</summary>
/// <remarks>
/// Flushes, merges, conversions and retention each work on a thread of their own and meet here. A change is made of the state that stands when its turn has
/// come, so that no two of them undo each other. Thread-safe.
/// Failure: what happens at the manifest's own name leaves nobody sure which state stands on disk, and makes the storage read-only at once. So does any other
/// failed sync on the way there, before the next one's turn. Once that is so, whoever met it and wherever, no commit begins: a job that was under way would sync the same directory again,
/// believe it, and delete what its change replaced.
/// </remarks>
internal sealed class StateCommits
{
    private readonly Lock _turn = new();
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly TableIds _tableIds;
    private readonly CurrentState _state;
    private readonly SegmentLedger _ledger;
    private readonly EngineFailure _failure;
    private readonly ILogger _log;

    public StateCommits(
        IFileSystem files, DataLayout paths, TableIds tableIds, CurrentState state, SegmentLedger ledger, EngineFailure failure, ILogger log)
    {
        _files = files;
        _paths = paths;
        _tableIds = tableIds;
        _state = state;
        _ledger = ledger;
        _failure = failure;
        _log = log;
    }

    /// <summary>Commits a change durably, then publishes it.</summary>
    /// <param name="change">Makes the new manifest of the one that stands; generation, ids and segments are filled in here. May write what the commit names.</param>
    /// <param name="publish">Makes the new state, given the one that stands and the committed manifest.</param>
    /// <param name="flushedSegment">The log segment that the commit makes superfluous, if any.</param>
    /// <exception cref="ManifestUncertainException">The old state or the new one stands: the storage is read-only from here on.</exception>
    /// <exception cref="DiskException">The disk refused; the old state stands.</exception>
    /// <exception cref="CommitRefusedException">The storage is read-only; the change was not begun.</exception>
    public void Commit(
        Func<ManifestState, ManifestState> change, Func<EngineState, ManifestState, EngineState> publish, long? flushedSegment = null)
    {
        lock (_turn)
        {
            if (_failure.ForbidsCommits) throw new CommitRefusedException(_failure.Message);
            ManifestState next;
            try
            {
                next = Complete(change(_state.Peek.Manifest), flushedSegment);
                Manifest.Commit(_files, _paths.Root, next);
            }
            catch (IOException failure) when (IsFatal(failure))
            {
                if (_failure.Set(failure)) Log.Failed(_log, failure);
                throw;
            }

            if (flushedSegment is { } flushed) _ledger.Remove(flushed);
            _state.Change(state => publish(state, next));
        }
    }

    /// <summary>The state that stands once a commit that is under way, if one is, has ended.</summary>
    public ManifestState Settled()
    {
        lock (_turn) return _state.Peek.Manifest;
    }

    /// <summary>A new block that could not be synced is dropped; any other failed sync here is of a name, or of what comes under the manifest's.</summary>
    private static bool IsFatal(IOException failure) =>
        failure is ManifestUncertainException || (failure is DiskException { IsSync: true } sync && !NewBlocks.IsOfNewBlock(sync));

    private ManifestState Complete(ManifestState next, long? flushedSegment)
    {
        // One look at the ledger: a segment created between two looks would be below NextSegment and not named, which means "flushed" to the next open.
        ImmutableArray<LedgerSegment> segments = [.. _ledger.All];
        return next with
        {
            // In the commit after which nothing is left that they reach; a segment whose flush this is has become what the change names.
            Tombstones = next.TombstonesFor([.. segments.Select(static segment => segment.Number).Where(number => number != flushedSegment)]),
            Generation = _state.Peek.Manifest.Generation + 1,
            NextSeriesId = _state.Peek.Dictionary.NextSeriesId,

            // Above numbers that other jobs have taken and not committed, too: until then what they write is garbage, and their inputs are all named.
            NextTableId = Math.Max(next.NextTableId, _tableIds.Next),
            Segments =
            [
                .. segments.Where(segment => segment.HasFile && segment.Number != flushedSegment).Select(static segment => segment.Entry),
            ],
            NextSegment = Math.Max(next.NextSegment, segments.IsEmpty ? 0 : segments[^1].Number + 1),
        };
    }
}
