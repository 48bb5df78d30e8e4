using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Takes deletes and commits them, all that wait in one commit, behind a switch of MemTable and segment.</summary>
/// <remarks>
/// Use: anybody calls <see cref="DeleteAsync"/>; the thread that flushes looks at <see cref="IsAsked"/>, switches, and calls <see cref="Commit"/> with the fresh segment.
/// Order: between the switch and the commit nothing is flushed, since both are done by the thread that flushes. So whatever table or block holds a record behind the
/// delete is made when the delete is known, and no job can meet such a table without it. That is what jobs rely on that join older and newer things (merges,
/// conversions): they apply the deletes of the state in which they found their inputs, and none can be missing there.
/// What the answer means: every record acknowledged before the call lies in a segment before the fresh one. What arrives during the call may lie on either side.
/// Failure: of the commit costs the delete, which is refused; the switch stays, and does no harm.
/// Bounded: <see cref="MaxPending"/> tombstones and <see cref="MaxPendingBytes"/> of their matchers. One that deletes all that an older one does takes its place.
/// </remarks>
internal sealed class DeleteWork
{
    /// <summary>Most tombstones that wait to be carried out: each is asked by every read of its time.</summary>
    public const int MaxPending = 1000;

    /// <summary>Most bytes of their matchers, in UTF-8: they are in every manifest.</summary>
    public const int MaxPendingBytes = 1 << 20;

    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly Action _wake;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly ILogger _log;
    private readonly Lock _lock = new();
    private ImmutableList<Request> _asked = [];

    public DeleteWork(CurrentState state, StateCommits commits, Action wake, EngineFailure failure, EngineCounters counters, ILogger log)
    {
        _state = state;
        _commits = commits;
        _wake = wake;
        _failure = failure;
        _counters = counters;
        _log = log;
    }

    /// <summary>True while somebody waits for a switch.</summary>
    public bool IsAsked => !Volatile.Read(ref _asked).IsEmpty;

    /// <summary>Completes when the samples are deleted, durably and for every read that begins then.</summary>
    /// <param name="selectors">Series that satisfy one of them are meant; each has a matcher, and none more than <see cref="SelectorParser.MaxTerms"/>.</param>
    /// <param name="range">The time meant, not empty.</param>
    /// <param name="cancel">Gives up, if it is not being done already.</param>
    /// <exception cref="EngineUnavailableException">The storage is read-only, stopping, or its disk is full.</exception>
    /// <exception cref="DeleteRefusedException">Too many deletes wait to be carried out.</exception>
    /// <exception cref="OperationCanceledException">Nothing was deleted.</exception>
    public Task DeleteAsync(IReadOnlyList<IReadOnlyList<Matcher>> selectors, TimeRange range, CancellationToken cancel)
    {
        Invariant.Check(!range.IsEmpty && selectors.All(static matchers => matchers.Count is > 0 and <= SelectorParser.MaxTerms));
        var request = new Request(selectors, range);
        lock (_lock) _asked = _asked.Add(request);
        _wake();
        return cancel.CanBeCanceled ? WaitAsync(request, cancel) : request.Done.Task;
    }

    /// <summary>Commits all that wait. The thread that flushes, right behind the switch.</summary>
    /// <param name="segment">The segment that the switch began.</param>
    public void Commit(long segment)
    {
        ImmutableList<Request> requests;
        lock (_lock)
        {
            requests = _asked;
            _asked = [];
        }

        List<Deletion> added = [];
        List<Request> done = [];
        foreach (Request request in requests)
        {
            Deletion[] deletions = [.. request.Selectors.Select(matchers => Deletion.Of(matchers, request.Range, segment))];
            if (ProblemOf(added, deletions) is { } problem)
            {
                request.Done.TrySetException(new DeleteRefusedException(problem));
                continue;
            }

            added.AddRange(deletions);
            done.Add(request);
        }

        if (done.Count == 0) return;
        try
        {
            _commits.Commit(
                manifest => manifest with { Tombstones = Joined(manifest.Tombstones, added) },
                (state, manifest) => state.WithDeleted(manifest, added));
        }
        catch (IOException failure)
        {
            Refuse(done, new EngineUnavailableException(_failure.IsSet ? _failure.Message : $"nothing was deleted: {failure.Message}"));
            return;
        }

        EngineCounters.Add(ref _counters.Deletes, added.Count);
        foreach (Deletion deletion in added)
            Log.Deleted(_log, string.Join(',', deletion.Entry.Matchers), deletion.Entry.MinTimeMs, deletion.Entry.MaxTimeMs, deletion.Entry.Sequence);
        foreach (Request request in done) request.Done.TrySetResult();
    }

    /// <summary>Answers everybody who waits.</summary>
    public void Refuse(Exception why)
    {
        ImmutableList<Request> requests;
        lock (_lock)
        {
            requests = _asked;
            _asked = [];
        }

        Refuse(requests, why);
    }

    private async Task WaitAsync(Request request, CancellationToken cancel)
    {
        await using CancellationTokenRegistration giveUp = cancel.Register(() => GiveUp(request, cancel));
        await request.Done.Task.ConfigureAwait(false);
    }

    private static void Refuse(IEnumerable<Request> requests, Exception why)
    {
        foreach (Request request in requests) request.Done.TrySetException(why);
    }

    /// <summary>The tombstones with some more, and without those that these make superfluous.</summary>
    private static ImmutableArray<TombstoneEntry> Joined(ImmutableArray<TombstoneEntry> pending, IEnumerable<Deletion> added)
    {
        TombstoneEntry[] entries = [.. added.Select(static deletion => deletion.Entry)];
        return [.. pending.Where(old => !entries.Any(entry => entry.Covers(old))), .. entries];
    }

    private static long BytesOf(IEnumerable<TombstoneEntry> tombstones) =>
        tombstones.Sum(static tombstone => tombstone.Matchers.Sum(static text => (long)System.Text.Encoding.UTF8.GetByteCount(text)));

    private string? ProblemOf(List<Deletion> before, Deletion[] added)
    {
        ImmutableArray<TombstoneEntry> all = Joined(_state.Peek.Manifest.Tombstones, before.Concat(added));
        const string Help = "POST /api/v1/admin/tsdb/clean_tombstones takes what is deleted out of all files, then there is room for more";
        if (all.Length > MaxPending) return $"too many deletes that are not carried out yet: {all.Length}, {MaxPending} allowed; {Help}";
        long bytes = BytesOf(all);
        return bytes > MaxPendingBytes ? $"deletes that are not carried out yet have {bytes} bytes of matchers, {MaxPendingBytes} allowed; {Help}" : null;
    }

    private void GiveUp(Request request, CancellationToken cancel)
    {
        lock (_lock)
        {
            if (!_asked.Contains(request)) return; // it is being done
            _asked = _asked.Remove(request);
        }

        request.Done.TrySetCanceled(cancel);
    }

    private sealed class Request(IReadOnlyList<IReadOnlyList<Matcher>> selectors, TimeRange range)
    {
        public IReadOnlyList<IReadOnlyList<Matcher>> Selectors { get; } = selectors;

        public TimeRange Range { get; } = range;

        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>More deletes wait to be carried out than there may; the text says what helps.</summary>
public sealed class DeleteRefusedException(string message) : Exception(message);
