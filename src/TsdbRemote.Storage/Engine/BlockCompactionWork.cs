using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Commits block compactions: several blocks become one.</summary>
/// <remarks>
/// Order, as of a conversion: all files of the block but one, synced; then, as <see cref="NewBlocks"/> has it, its name and the manifest (inputs out and named as
/// deleted, output in); then the state that readers see; then each input goes with its last reader. A crash before the manifest leaves a block that nobody names,
/// one after it leaves blocks that are named as deleted: the next open removes either.
/// Rank:     the result has that of the newest of its inputs. Whatever else is of their time ranks above all that it overlaps, or below, and so it stays: what the
///           picker left out, a block that a flush commits meanwhile, a foreign one that is adopted. The range is claimed from before the blocks are read until
///           after the commit, so that no other job takes them.
/// Deletes:  of the state in which the blocks are acquired are applied to those that they reach; the result is said to be made with them. One that is committed
///           later reaches the result, as it did its inputs: nothing of them is newer than it.
/// Failure:  a block that cannot be read is named and left alone until the next start, with whatever overlaps it; nothing else stops. So is one that could
///           not be opened at the start: put right, it must find its place among the versions as it was.
/// Not thread-safe: one thread compacts.
/// </remarks>
internal sealed class BlockCompactionWork
{
    /// <summary>Who must not be compacted says so by this file, as in Thanos.</summary>
    public const string NoCompactFileName = "no-compact-mark.json";

    // A disk that refuses for a moment must not have a block left alone until the next start.
    private const int ReadsAllowedToFail = 3;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly BlockStore _store;
    private readonly BlockUpkeep _upkeep;
    private readonly BlockCompactor _compactor;
    private readonly BlockCompactionPicker _picker;
    private readonly TimeClaims _claims;
    private readonly CompactionThrottles _throttles;
    private readonly Func<EngineState, IReadOnlyCollection<TimeRange>> _waiting;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    // Blocks that could not be read, left alone until the next start; how often the disk refused those that may yet be.
    private readonly HashSet<string> _leftAlone = [];
    private readonly Dictionary<string, int> _refused = [];

    // Blocks that the manifest names and that are not in service.
    private readonly Dictionary<string, BlockFigures> _outOfService = [];

    // The job under way; others read it.
    private volatile RunningJob? _running;

    public BlockCompactionWork(
        IFileSystem files, DataLayout paths, CurrentState state, StateCommits commits, BlockStore store, BlockUpkeep upkeep, BlockCompactor compactor,
        BlockCompactionPicker picker, TimeClaims claims, CompactionThrottles throttles, Func<EngineState, IReadOnlyCollection<TimeRange>> waiting, EngineCounters counters,
        Action<string> damaged, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _commits = commits;
        _store = store;
        _upkeep = upkeep;
        _compactor = compactor;
        _picker = picker;
        _claims = claims;
        _throttles = throttles;
        _waiting = waiting;
        _counters = counters;
        _damaged = damaged;
        _time = time;
        _log = log;
    }

    /// <summary>The job under way, for people; null if there is none.</summary>
    public RunningBlockCompaction? Running => _running?.Describe(_time);

    /// <summary>Takes what is deleted out of the next block that holds some of it, or notes of blocks that they hold nothing of it.</summary>
    /// <param name="goal">The deletes that are meant.</param>
    /// <param name="asked">What is made of one of these blocks joins them.</param>
    /// <param name="cancel">Drops the job.</param>
    /// <returns>False if there is nothing to do now.</returns>
    /// <exception cref="DiskException">The disk refused; the blocks are as they were.</exception>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the blocks are as they were.</exception>
    public bool TryCleanNext(CleaningGoal goal, HashSet<string> asked, CancellationToken cancel)
    {
        BlockCompactionJob? job = null;
        HashSet<string> untouched = [];
        EngineState state = _state.Acquire();
        ulong knownTo = state.DeletionsKnownTo;
        try
        {
            foreach (StoredBlock block in Reached(state, goal))
            {
                if (IsLeftAlone(block.Entry.Ulid)) continue;
                if (!HoldsDeleted(state, block, cancel)) untouched.Add(block.Entry.Ulid);
                else if ((job = JobToClean(state, block, _claims.IsClaimed)) is not null) break;
            }
        }
        finally
        {
            state.Release();
        }

        if (untouched.Count > 0) NoteUntouched(untouched, knownTo);
        return job is null ? untouched.Count > 0 : TryDo(job, asked, cancel);
    }

    /// <summary>True if something could be taken out of some block, now or once another job lets go of its time.</summary>
    public bool IsCleaningLeft(CleaningGoal goal)
    {
        if (goal.UpTo == 0) return false;
        EngineState state = _state.Acquire();
        try
        {
            return Reached(state, goal).Any(block => JobToClean(state, block, static _ => false) is not null);
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>Does the next job, if there is one.</summary>
    /// <param name="atLeast">Jobs of fewer blocks are passed over.</param>
    /// <param name="asked">Blocks of which two that overlap are merged whatever it costs; what is made of one of them joins them.</param>
    /// <param name="onlyAsked">Jobs with fewer than two of those are passed over.</param>
    /// <param name="cancel">Drops the job.</param>
    /// <returns>False if there is nothing to do now.</returns>
    /// <exception cref="DiskException">The disk refused; the blocks are as they were.</exception>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the blocks are as they were.</exception>
    public bool TryCompactNext(int atLeast, HashSet<string> asked, bool onlyAsked, CancellationToken cancel)
    {
        return Pick(atLeast, asked, onlyAsked, _claims.IsClaimed) is { } job && TryDo(job, asked, cancel);
    }

    private bool TryDo(BlockCompactionJob job, HashSet<string> asked, CancellationToken cancel)
    {
        using IDisposable? claim = _claims.TryClaim(job.Range);

        // What began or ended since the blocks were looked at: what stands now is looked at in the next round.
        if (claim is null || Acquire(job, out Making making) is not { } blocks) return true;
        try
        {
            Ulid made = Compact(job, blocks, making, cancel);
            if (blocks.Any(block => asked.Contains(block.Entry.Ulid))) asked.Add(made.ToString());
            foreach (StoredBlock block in blocks) _refused.Remove(block.Entry.Ulid);
        }
        catch (Exception failure) when (failure is CorruptFileException or CorruptChunkException or ReadLimitException or DiskException)
        {
            ImmutableArray<string> culprits = WhoIsUnfit(failure, blocks);
            if (culprits.IsEmpty) throw;
            LeaveAlone(culprits, failure);
        }
        finally
        {
            foreach (StoredBlock block in blocks) block.Reader.Release();
        }

        return true;
    }

    /// <summary>Names of all blocks in service.</summary>
    public IEnumerable<string> Names()
    {
        EngineState state = _state.Acquire();
        try
        {
            return [.. state.Blocks.Blocks.Select(static block => block.Entry.Ulid)];
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>True if two or more of these blocks, and maybe others, could become one, now or once another job lets go of their time.</summary>
    public bool IsLeft(IReadOnlySet<string> asked) => asked.Count >= 2 && Pick(atLeast: 2, asked, onlyAsked: true, static _ => false) is not null;

    private static BlockFigures FiguresOf(StoredBlock block) =>
        new(block.Entry.Ulid, block.Range, block.Reader.Bytes, block.Rank, block.Entry.Adopted) { MadeMs = block.Reader.Meta.Ulid.TimestampMs };

    /// <summary>Blocks that one of the deletes reaches, by their times.</summary>
    private static IEnumerable<StoredBlock> Reached(EngineState state, CleaningGoal goal)
    {
        IReadOnlyCollection<TombstoneEntry> meant = goal.Of(state);
        return state.Blocks.Blocks.Where(block => meant.Any(tombstone => tombstone.Reaches(block.Entry)));
    }

    /// <summary>True if a delete that reaches the block selects a series of it.</summary>
    private static bool HoldsDeleted(EngineState state, StoredBlock block, CancellationToken cancel)
    {
        try
        {
            foreach (Deletion deletion in state.Deletions!.All.Where(deletion => deletion.Entry.Reaches(block.Entry)))
            {
                using BlockSeriesCursor series = block.Reader.Select(deletion.Matchers, deletion.Entry.Range(), cancel);
                if (series.MoveNext()) return true;
            }

            return false;
        }
        catch (Exception unknown) when (unknown is MatcherException or CorruptFileException)
        {
            return true; // writing it anew tells
        }
    }

    private BlockCompactionJob? JobToClean(EngineState state, StoredBlock block, Func<TimeRange, bool> isBusy) =>
        BlockCompactionPicker.JobToClean([.. state.Blocks.Blocks.Select(FiguresOf), .. OutOfService(state)], block.Entry.Ulid, isBusy, IsLeftAlone);

    private void NoteUntouched(HashSet<string> ulids, ulong appliedTo) => _commits.Commit(
        manifest => manifest with
        {
            Blocks = [.. manifest.Blocks.Select(block => ulids.Contains(block.Ulid) ? block with { AppliedTo = appliedTo } : block)],
        },
        (state, manifest) => state.With(manifest, blocks: state.Blocks.Applied(ulids, appliedTo)));

    private BlockCompactionJob? Pick(int atLeast, IReadOnlySet<string> asked, bool onlyAsked, Func<TimeRange, bool> isBusy)
    {
        EngineState state = _state.Acquire();
        try
        {
            if (state.Blocks.Blocks.Length < atLeast) return null;
            return _picker.Next(
                state.Blocks.Blocks.Select(FiguresOf).Concat(OutOfService(state)), () => _waiting(state), _time.GetUtcNow().ToUnixTimeMilliseconds(),
                isBusy, IsLeftAlone, atLeast, asked, onlyAsked);
        }
        finally
        {
            state.Release();
        }
    }

    private List<BlockFigures> OutOfService(EngineState state)
    {
        if (state.Manifest.Blocks.Length == state.Blocks.Blocks.Length) return [];
        List<BlockFigures> found = [];
        foreach (BlockEntry entry in state.Manifest.Blocks.ExceptBy(state.Blocks.Blocks.Select(static block => block.Entry), static entry => entry))
        {
            _leftAlone.Add(entry.Ulid);
            found.Add(FiguresOf(entry));
        }

        return found;
    }

    /// <summary>What is known of a block that cannot be opened. Put right, it comes back to its rank: its time is left alone until then.</summary>
    private BlockFigures FiguresOf(BlockEntry entry)
    {
        if (_outOfService.TryGetValue(entry.Ulid, out BlockFigures? known)) return known;
        try
        {
            BlockMeta meta = BlockMeta.Read(_files, DataLayout.Join(_paths.Block(entry.Ulid), BlockMeta.FileName));
            return _outOfService[entry.Ulid] = new BlockFigures(
                entry.Ulid, new TimeRange(meta.MinTimeMs, meta.EndTimeMs - 1), 0, entry.Rank, entry.Adopted);
        }
        catch (CorruptFileException)
        {
            return _outOfService[entry.Ulid] = ByManifest(entry); // or gone: it was named at the start
        }
        catch (DiskException)
        {
            return ByManifest(entry); // until the disk tells
        }
    }

    private static BlockFigures ByManifest(BlockEntry entry)
    {
        TimeRange range = entry is { MinTimeMs: { } min, MaxTimeMs: { } max } ? new TimeRange(min, max) : TimeRange.All;
        return new BlockFigures(entry.Ulid, range, 0, entry.Rank, entry.Adopted);
    }

    private bool IsLeftAlone(string ulid)
    {
        if (_leftAlone.Contains(ulid)) return true;
        try
        {
            return _files.FileSize(DataLayout.Join(_paths.Block(ulid), NoCompactFileName)) is not null;
        }
        catch (DiskException)
        {
            // What cannot be looked at cannot be read either. The next look may tell.
            EngineCounters.Add(ref _counters.BlockCompactionErrors, 1);
            return true;
        }
    }

    /// <summary>The blocks of a job, held; not the whole state, since a long job would keep MemTables in memory that were flushed long ago.</summary>
    /// <param name="job">The job.</param>
    /// <param name="making">How the result is made.</param>
    /// <returns>Null if a block of the job is not there any more.</returns>
    private ImmutableArray<StoredBlock>? Acquire(BlockCompactionJob job, out Making making)
    {
        HashSet<string> names = [.. job.Blocks.Select(static block => block.Ulid)];
        EngineState state = _state.Acquire();
        making = default;
        try
        {
            ILookup<bool, StoredBlock> blocks = state.Blocks.Overlapping(job.Range).ToLookup(block => names.Contains(block.Entry.Ulid));
            ImmutableArray<StoredBlock> inputs = [.. blocks[true]];
            if (inputs.Length < names.Count) return null;
            long rank = BlockCompactionJob.RankOf(inputs.Select(static block => block.Rank));
            making = new Making(rank, Math.Max(state.DeletionsKnownTo, inputs.Max(static block => block.Entry.AppliedTo)), state.Deletions?.Reaching(inputs));
            Invariant.Check(KeepsOrder(inputs, blocks[false], rank), "newest wins");
            foreach (StoredBlock block in inputs) Invariant.Check(block.Reader.TryAcquire());
            return inputs;
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>True if blocks that are left out rank against the result as they do against each block in it that they overlap.</summary>
    private static bool KeepsOrder(ImmutableArray<StoredBlock> inputs, IEnumerable<StoredBlock> others, long rank) => others.All(
        other => other.Rank != rank && inputs.All(input => !input.Range.Overlaps(other.Range) || (input.Rank < other.Rank) == (rank < other.Rank)));

    private Ulid Compact(BlockCompactionJob job, ImmutableArray<StoredBlock> blocks, in Making making, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        Ulid ulid = Ulid.Create(_time.GetUtcNow().ToUnixTimeMilliseconds());
        var running = new RunningJob(job.Range, blocks.Length, blocks.Sum(static block => block.Reader.Bytes), _time.GetTimestamp());
        _running = running;
        try
        {
            using CompactedBlock? made = Write(job, blocks, making.Deletions, ulid, running, cancel);
            Commit(job, blocks, made, making);
            Count(job, blocks, made, ulid, Stopwatch.GetElapsedTime(started));
            return ulid;
        }
        finally
        {
            _running = null;
        }
    }

    private CompactedBlock? Write(
        BlockCompactionJob job, ImmutableArray<StoredBlock> blocks, DeletionSet? deletions, Ulid ulid, RunningJob running, CancellationToken cancel)
    {
        CompactionThrottle throttle = _throttles.Begin(cancel);
        try
        {
            return _compactor.Write(blocks, job.Range, ulid, Pause, cancel, deletions);
        }
        finally
        {
            EngineCounters.Add(ref _counters.BlockCompactionSleepTicks, throttle.Slept.Ticks);
        }

        void Pause(long bytesWritten)
        {
            running.BytesWritten = bytesWritten;
            throttle.Pause();
        }
    }

    private void Commit(BlockCompactionJob job, ImmutableArray<StoredBlock> inputs, CompactedBlock? made, in Making making)
    {
        HashSet<string> names = [.. job.Blocks.Select(static block => block.Ulid)];
        using var blocks = new NewBlocks(_store, _log);
        if (made is not null)
        {
            blocks.Add(
                made.Writer, mark => BlockCompactor.MetaOf(made, [.. inputs.Select(static block => block.Reader.Meta)], _picker.WindowMs) with { Mark = mark },
                making.AppliedTo, making.Rank);
        }

        blocks.Commit(
            _commits,
            manifest =>
            {
                Invariant.Check(manifest.Blocks.Count(block => names.Contains(block.Ulid)) == names.Count);
                return manifest with
                {
                    Blocks = [.. manifest.Blocks.Where(block => !names.Contains(block.Ulid))],
                    DeletedBlocks = manifest.DeletedBlocks.AddRange(names),
                };
            },
            (state, manifest, stored) =>
            {
                foreach (StoredBlock block in inputs) _upkeep.Retire(block);
                return state.With(manifest, blocks: state.Blocks.Without(names).With(stored));
            });
    }

    /// <summary>Blocks that a failure is to blame on, so that another attempt would end alike. None: it is the disk's, or the new block's.</summary>
    private ImmutableArray<string> WhoIsUnfit(Exception failure, ImmutableArray<StoredBlock> blocks)
    {
        IEnumerable<StoredBlock> unfit = failure switch
        {
            CorruptFileException corrupt => blocks.Where(block => IsOf(block, corrupt.Path)),
            CorruptChunkException corrupt => blocks.Where(block => block.Rank == corrupt.Rank),
            ReadLimitException => blocks, // one series of all of them together
            DiskException { IsSync: false, Errno: not (DiskException.NoSpace or Errno.TooManyFiles or Errno.ReadOnly) } refused => blocks.Where(
                block => IsOf(block, refused.Path) && (_refused[block.Entry.Ulid] = _refused.GetValueOrDefault(block.Entry.Ulid) + 1) >= ReadsAllowedToFail),
            _ => [],
        };
        return [.. unfit.Select(static block => block.Entry.Ulid)];
    }

    private static bool IsOf(StoredBlock block, string path) => path.StartsWith(block.Reader.Directory + "/", StringComparison.Ordinal);

    private void LeaveAlone(ImmutableArray<string> culprits, Exception failure)
    {
        _leftAlone.UnionWith(culprits);
        EngineCounters.Add(ref _counters.BlockCompactionErrors, 1);
        string names = culprits.Length == 1 ? $"block {culprits[0]} is" : $"blocks {string.Join(", ", culprits)} are";
        _damaged($"{failure.Message}; {names} not compacted until the next start");
    }

    private void Count(BlockCompactionJob job, ImmutableArray<StoredBlock> inputs, CompactedBlock? made, Ulid ulid, TimeSpan elapsed)
    {
        long read = inputs.Sum(static block => block.Reader.Bytes);
        long written = made is null ? 0 : made.Writer.Stats.ChunkBytes + made.Writer.Stats.IndexBytes;
        EngineCounters.Add(ref _counters.BlockCompactions, 1);
        EngineCounters.Add(ref _counters.BlockCompactionTicks, elapsed.Ticks);
        EngineCounters.Add(ref _counters.BlocksMerged, inputs.Length);
        EngineCounters.Add(ref _counters.BlockCompactionBytesRead, read);
        EngineCounters.Add(ref _counters.BlockCompactionBytesWritten, written);
        if (made is null)
        {
            Log.BlocksEmpty(_log, inputs.Length, job.Range.MinMs, job.Range.MaxMs);
            return;
        }

        EngineCounters.Add(ref _counters.MergedDuplicates, made.Merged.Duplicates);
        EngineCounters.Add(ref _counters.MergedConflicts, made.Merged.Conflicts);
        Log.BlocksCompacted(
            _log, inputs.Length, job.Range.MinMs, job.Range.MaxMs, ulid.ToString(), made.Writer.Stats.Samples, made.Writer.Stats.Series, read, written, elapsed.TotalSeconds);
    }

    /// <summary>How the result of a job is made.</summary>
    /// <param name="Rank">Its rank.</param>
    /// <param name="AppliedTo">Tombstones up to this sequence do not reach it.</param>
    /// <param name="Deletions">What is taken out of the inputs; null if nothing is.</param>
    private readonly record struct Making(long Rank, ulong AppliedTo, DeletionSet? Deletions);

    /// <summary>A job that has begun.</summary>
    private sealed class RunningJob(TimeRange range, int blocks, long bytes, long began)
    {
        private long _bytesWritten;

        public long BytesWritten
        {
            set => Volatile.Write(ref _bytesWritten, value);
        }

        public RunningBlockCompaction Describe(TimeProvider time) =>
            new(range.MinMs, range.MaxMs + 1, blocks, bytes, Volatile.Read(ref _bytesWritten), time.GetElapsedTime(began).TotalSeconds);
    }
}

/// <summary>A compaction of blocks under way, for people.</summary>
/// <param name="MinTimeMs">Start of the first block, ms.</param>
/// <param name="EndTimeMs">Every sample of the blocks is before, ms.</param>
/// <param name="Blocks">Blocks that become one.</param>
/// <param name="Bytes">Bytes of them.</param>
/// <param name="BytesWritten">Bytes of chunks written so far.</param>
/// <param name="Seconds">Time since it began, sleep included.</param>
public sealed record RunningBlockCompaction(long MinTimeMs, long EndTimeMs, int Blocks, long Bytes, long BytesWritten, double Seconds);
