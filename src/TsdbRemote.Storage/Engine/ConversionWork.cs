using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Commits conversions: one window of tables becomes one block.</summary>
/// <remarks>
/// Order (reliability §2.3): all files of the block but one, synced; then, as <see cref="NewBlocks"/> has it, its name and the manifest (window out of the tables,
/// block in); then the state that readers see; then the tables that held nothing else go with their last reader. A crash before the manifest leaves a block
/// that nobody names, one after it tables that nobody names: the next open removes either.
/// Deletes: of the state that the tables are of. One that is committed later begins a segment that none of these tables holds any of, so it reaches the block.
/// Not: a window that cannot be read, nor one of which a table is out of service (<see cref="EngineState.WindowsOutOfService"/>): they stay in tables.
/// Not thread-safe: one thread converts.
/// </remarks>
internal sealed class ConversionWork
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly BlockStore _store;
    private readonly BlockConverter _converter;
    private readonly ConversionPicker _picker;
    private readonly EngineModes _modes;
    private readonly TimeClaims _claims;
    private readonly CompactionThrottles _throttles;
    private readonly TableAges _ages;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    // Windows that could not be read, left alone until the next start.
    private readonly HashSet<long> _passedOver = [];

    public ConversionWork(
        IFileSystem files, DataLayout paths, CurrentState state, StateCommits commits, BlockStore store, BlockConverter converter, ConversionPicker picker,
        EngineModes modes, TimeClaims claims, CompactionThrottles throttles, TableAges ages, EngineCounters counters, Action<string> damaged, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _commits = commits;
        _store = store;
        _converter = converter;
        _picker = picker;
        _modes = modes;
        _claims = claims;
        _throttles = throttles;
        _ages = ages;
        _counters = counters;
        _damaged = damaged;
        _time = time;
        _log = log;
    }

    /// <summary>Converts the next window, if there is one.</summary>
    /// <param name="asked">Windows of which late data does not wait for more of it; the one that is converted leaves them.</param>
    /// <param name="cancel">Drops the conversion.</param>
    /// <returns>False if there is nothing to convert now.</returns>
    /// <exception cref="DiskException">The disk refused; the window is as it was.</exception>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the window is as it was.</exception>
    public bool TryConvertNext(HashSet<long> asked, CancellationToken cancel)
    {
        if (TakeNext(asked, out SeriesDictionary? dictionary) is not { } job || dictionary is null) return false;
        try
        {
            using IDisposable? claim = _claims.TryClaim(job.Window);

            // A compaction that began or ended since the state was read: what stands now is looked at in the next round.
            if (claim is null || !_state.Peek.Levels.Holds(job.Window.MinMs, job.Tables)) return true;
            long started = Stopwatch.GetTimestamp();
            try
            {
                Convert(job, dictionary, started, cancel);
            }
            catch (Exception unfit) when (unfit is CorruptFileException or CorruptChunkException or ReadLimitException)
            {
                // Damage that no checksum shows and a series too large for the memory come to the same: another attempt would end alike.
                _passedOver.Add(job.Window.MinMs);
                _damaged($"{unfit.Message}; the window of {job.Window.MinMs} ms stays in tables");
            }

            asked.Remove(job.Window.MinMs);
            return true;
        }
        finally
        {
            foreach (LevelTable table in job.Tables) table.Reader.Release();
            dictionary.Release();
        }
    }

    /// <summary>
    /// The next window, with its tables and the dictionary held. Nothing else is: a MemTable that is flushed during a long conversion must leave memory.
    /// </summary>
    private ConversionJob? TakeNext(HashSet<long> asked, out SeriesDictionary? dictionary)
    {
        dictionary = null;
        EngineState state = _state.Acquire();
        try
        {
            ConversionJob? first = asked.Count > 0 ? Pick(state, OthersThan(asked, state), asked, _claims.IsClaimed) : null;
            if ((first ?? Pick(state, LeftAlone(state), asked, _claims.IsClaimed)) is not { } job) return null;
            foreach (LevelTable table in job.Tables) Invariant.Check(table.Reader.TryAcquire());
            dictionary = state.Dictionary;
            Invariant.Check(dictionary.TryAcquire());
            return job with { AppliedTo = state.DeletionsKnownTo, Deletions = state.Deletions?.Reaching(job.Tables, job.Window) };
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>Every window that tables hold some of now, by its start.</summary>
    public IEnumerable<long> Windows()
    {
        EngineState state = _state.Acquire();
        try
        {
            return state.Levels.Windows;
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>True if one of these windows could be converted, now or once another job lets go of it.</summary>
    public bool IsLeft(IReadOnlySet<long> asked)
    {
        if (asked.Count == 0) return false;
        EngineState state = _state.Acquire();
        try
        {
            return Pick(state, OthersThan(asked, state), asked, static _ => false) is not null;
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>Windows that conversion will take sooner or later: those of tables, but for what failed, and those of MemTables.</summary>
    public IReadOnlyCollection<TimeRange> Waiting(EngineState state)
    {
        List<TimeRange> waiting = [];
        if (!_modes.Converts) return waiting;
        HashSet<long> leftAlone = LeftAlone(state);
        foreach (long start in state.Levels.Windows)
        {
            if (!leftAlone.Contains(start)) waiting.Add(new TimeRange(start, TimeWindow.EndOf(start, _picker.WindowMs)));
        }

        foreach (MemTables.MemTable memTable in state.MemTables.NewestFirst) waiting.AddRange(memTable.Windows());
        return waiting;
    }

    private HashSet<long> LeftAlone(EngineState state) => [.. _passedOver, .. state.WindowsOutOfService];

    private HashSet<long> OthersThan(IReadOnlySet<long> asked, EngineState state) =>
        [.. LeftAlone(state), .. state.Levels.Windows.Where(start => !asked.Contains(start))];

    private ConversionJob? Pick(EngineState state, IReadOnlySet<long> passedOver, IReadOnlySet<long> asked, Func<TimeRange, bool> isBusy)
    {
        if (!_modes.Converts) return null;
        _ages.Note(state.Levels);
        return _picker.Next(
            state.Levels,
            state.Blocks,
            [.. state.MemTables.NewestFirst.SelectMany(static memTable => memTable.Windows())],
            _time.GetUtcNow().ToUnixTimeMilliseconds(),
            _ages.SinceAddedMs,
            passedOver,
            isBusy,
            asked,
            _modes.IsBlockOnly);
    }

    private void Convert(ConversionJob job, SeriesDictionary dictionary, long started, CancellationToken cancel)
    {
        Ulid ulid = Ulid.Create(_time.GetUtcNow().ToUnixTimeMilliseconds());
        using PreparedBlock? block = Write(job, dictionary, ulid, cancel, out bool isAllDeleted);
        if (isAllDeleted)
        {
            Commit(job, null);
            EngineCounters.Add(ref _counters.Conversions, 1);
            Log.WindowDeleted(_log, job.Window.MinMs, job.Tables.Length);
            return;
        }

        if (block is null)
        {
            _passedOver.Add(job.Window.MinMs);
            _damaged($"nothing of the window of {job.Window.MinMs} ms can be read; it stays in tables");
            return;
        }

        foreach (string damage in block.Damages) _damaged(damage);

        // A table of which something was left out gets a second name before it loses its first: it may be the only copy.
        foreach (LevelTable table in job.Tables.Where(table => block.DamagedTables.Contains(table.Entry.Id))) TableQuarantine.Keep(_files, _paths, table);
        Commit(job, block);
        Count(job, block, ulid, Stopwatch.GetElapsedTime(started));
    }

    private PreparedBlock? Write(ConversionJob job, SeriesDictionary dictionary, Ulid ulid, CancellationToken cancel, out bool isAllDeleted)
    {
        CompactionThrottle throttle = _throttles.Begin(cancel);
        try
        {
            return _converter.Write(job, dictionary, ulid, _ => throttle.Pause(), cancel, out isAllDeleted);
        }
        finally
        {
            EngineCounters.Add(ref _counters.ConversionSleepTicks, throttle.Slept.Ticks);
        }
    }

    private void Commit(ConversionJob job, PreparedBlock? block)
    {
        ImmutableHashSet<long> tables = [.. job.Tables.Select(static table => table.Entry.Id)];
        using var blocks = new NewBlocks(_store, _log);
        if (block is not null) blocks.Add(block.Writer, mark => BlockConverter.MetaOf(block, job, mark), job.AppliedTo);
        blocks.Commit(
            _commits,
            manifest => manifest with { Tables = manifest.TablesWithout(job.Window.MinMs, tables) },
            (state, manifest, made) =>
            {
                LevelSet levels = state.Levels.WithoutWindow(job.Window.MinMs, tables, out ImmutableArray<LevelTable> gone);
                foreach (LevelTable table in gone) table.Reader.MarkObsolete((path, failure) => Log.DeleteFailed(_log, path, failure));
                return state.With(manifest, levels: levels, blocks: state.Blocks.With(made));
            });
    }

    private void Count(ConversionJob job, PreparedBlock block, Ulid ulid, TimeSpan elapsed)
    {
        TsdbRemote.Blocks.BlockStats stats = block.Writer.Stats;
        EngineCounters.Add(ref _counters.Conversions, 1);
        EngineCounters.Add(ref _counters.LateConversions, job.IsLate ? 1 : 0);
        EngineCounters.Add(ref _counters.ConversionTicks, elapsed.Ticks);
        EngineCounters.Add(ref _counters.ConversionSamples, stats.Samples);
        EngineCounters.Add(ref _counters.ConversionBytes, stats.ChunkBytes + stats.IndexBytes);
        EngineCounters.Add(ref _counters.MergedDuplicates, block.Merged.Duplicates);
        EngineCounters.Add(ref _counters.MergedConflicts, block.Merged.Conflicts);
        Log.Converted(
            _log, job.Window.MinMs, ulid.ToString(), job.Tables.Length, stats.Samples, stats.Series, stats.ChunkBytes + stats.IndexBytes, elapsed.TotalSeconds);
    }
}
