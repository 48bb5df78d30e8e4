using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Commits conversions: one window of tables becomes one block.</summary>
/// <remarks>
/// Order (reliability §2.3): all files of the block but one, synced, opened; then, while no other commit can come between: <c>meta.json</c> with the generation that
/// stands, the block's name, the manifest (window out of the tables, block in); then the state that readers see; then the tables that held
/// nothing else go with their last reader. A crash before the manifest leaves a block whose mark equals directory and generation and that
/// nobody names: the next open removes it. One after it leaves tables that nobody names.
/// Not thread-safe: one thread converts.
/// </remarks>
internal sealed class ConversionWork
{
    /// <summary>Of blocks that overlap an older one made here, so that a Prometheus that loads it does not take it for its newest data.</summary>
    private const string LateHint = "from-out-of-order";

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly BlockStore _store;
    private readonly BlockConverter _converter;
    private readonly ConversionPicker _picker;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    // When each table was first seen here; windows that could not be read, left alone until the next start.
    private readonly Dictionary<long, long> _seen = [];
    private readonly HashSet<long> _passedOver = [];

    public ConversionWork(
        IFileSystem files, DataLayout paths, CurrentState state, StateCommits commits, BlockStore store, BlockConverter converter, ConversionPicker picker,
        EngineCounters counters, Action<string> damaged, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _commits = commits;
        _store = store;
        _converter = converter;
        _picker = picker;
        _counters = counters;
        _damaged = damaged;
        _time = time;
        _log = log;
    }

    /// <summary>Converts the next window, if there is one.</summary>
    /// <returns>False if there is nothing to convert now.</returns>
    /// <exception cref="DiskException">The disk refused; the window is as it was.</exception>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the window is as it was.</exception>
    public bool TryConvertNext(CancellationToken cancel)
    {
        if (TakeNext() is not { } job) return false;
        try
        {
            long started = Stopwatch.GetTimestamp();
            try
            {
                Convert(job, started, cancel);
            }
            catch (Exception unfit) when (unfit is CorruptFileException or CorruptChunkException or ReadLimitException)
            {
                // Damage that no checksum shows and a series too large for the memory come to the same: another attempt would end alike.
                _passedOver.Add(job.Window.MinMs);
                _damaged($"{unfit.Message}; the window of {job.Window.MinMs} ms stays in tables");
            }

            return true;
        }
        finally
        {
            foreach (LevelTable table in job.Tables) table.Reader.Release();
        }
    }

    /// <summary>The next window, with its tables held. Nothing else is: a MemTable that is flushed during a long conversion must leave memory.</summary>
    private ConversionJob? TakeNext()
    {
        EngineState state = _state.Acquire();
        try
        {
            ConversionJob? job = Pick(state);
            foreach (LevelTable table in job?.Tables ?? []) Invariant.Check(table.Reader.TryAcquire());
            return job;
        }
        finally
        {
            state.Release();
        }
    }

    private ConversionJob? Pick(EngineState state)
    {
        long now = _time.GetTimestamp();
        foreach (LevelTable table in state.Levels.Tables) _seen.TryAdd(table.Entry.Id, now);
        if (_seen.Count > 2 * state.Levels.Tables.Length + 16) Forget(state.Levels);
        return _picker.Next(
            state.Levels,
            state.Blocks,
            [.. state.MemTables.NewestFirst.SelectMany(static memTable => memTable.Windows())],
            _time.GetUtcNow().ToUnixTimeMilliseconds(),
            table => (long)_time.GetElapsedTime(_seen[table], now).TotalMilliseconds,
            _passedOver);
    }

    private void Forget(LevelSet levels)
    {
        HashSet<long> there = [.. levels.Tables.Select(static table => table.Entry.Id)];
        foreach (long gone in _seen.Keys.Where(table => !there.Contains(table)).ToArray()) _seen.Remove(gone);
    }

    private void Convert(ConversionJob job, long started, CancellationToken cancel)
    {
        Ulid ulid = Ulid.Create(_time.GetUtcNow().ToUnixTimeMilliseconds());
        using PreparedBlock? block = _converter.Write(job, ulid, cancel);
        if (block is null)
        {
            _passedOver.Add(job.Window.MinMs);
            _damaged($"nothing of the window of {job.Window.MinMs} ms can be read; it stays in tables");
            return;
        }

        foreach (string damage in block.Damages) _damaged(damage);
        KeepDamaged(job, block);
        Commit(job, block, ulid);
        Count(job, block, ulid, Stopwatch.GetElapsedTime(started));
    }

    /// <summary>A table of which something was left out gets a second name before it loses its first: it may be the only copy.</summary>
    private void KeepDamaged(ConversionJob job, PreparedBlock block)
    {
        foreach (LevelTable table in job.Tables.Where(table => block.DamagedTables.Contains(table.Entry.Id)))
        {
            string kept = DataLayout.Join(_paths.Quarantine, $"table-{table.Entry.Id}{DataLayout.TableSuffix}");
            if (_files.FileSize(kept) is null) _files.Link(table.Reader.Path, kept);
            _files.SyncDir(_paths.Quarantine); // also of a link that is there: an attempt that was cut off may not have come to it
        }
    }

    private void Commit(ConversionJob job, PreparedBlock block, Ulid ulid)
    {
        ImmutableHashSet<long> tables = [.. job.Tables.Select(static table => table.Entry.Id)];
        StoredBlock? stored = null;
        ImmutableArray<LevelTable> gone = [];
        using FinishedBlock finished = _store.OpenFinished(block.Writer);
        try
        {
            _commits.Commit(
                manifest =>
                {
                    long rank = manifest.ConversionCounter + 1;
                    BlockMeta meta = MetaOf(job, block, new BlockMark { Directory = manifest.DirectoryId, Generation = manifest.Generation, Rank = rank });
                    block.Writer.Commit(meta);
                    stored = new StoredBlock(BlockEntry.Of(meta, rank), finished.Serve(meta));
                    return manifest with
                    {
                        ConversionCounter = rank,
                        Blocks = manifest.Blocks.Add(stored.Entry),
                        Tables = Without(manifest.Tables, job.Window.MinMs, tables),
                    };
                },
                (state, manifest) =>
                {
                    LevelSet levels = state.Levels.WithoutWindow(job.Window.MinMs, tables, out gone);
                    foreach (LevelTable table in gone) table.Reader.MarkObsolete((path, failure) => Log.DeleteFailed(_log, path, failure));
                    return state.With(manifest, levels: levels, blocks: state.Blocks.With(stored!));
                });
        }
        catch (Exception failure)
        {
            stored?.Reader.Dispose();
            if (failure is not (ManifestUncertainException or DiskException { IsSync: true })) RemoveUnnamed(ulid);
            throw;
        }

        stored!.Reader.Dispose(); // the state holds it now
    }

    private void RemoveUnnamed(Ulid ulid)
    {
        try
        {
            _store.Remove(ulid.ToString());
        }
        catch (DiskException failure)
        {
            // The failure that led here is the one to report. The next open removes the block, if no commit comes before it; else it is found as a
            // foreign one, whose samples the tables hold as well and outrank.
            Log.DeleteFailed(_log, _paths.Block(ulid.ToString()), failure);
        }
    }

    private static ImmutableArray<TableEntry> Without(ImmutableArray<TableEntry> entries, long window, ImmutableHashSet<long> tables) =>
    [
        .. entries.Select(entry => tables.Contains(entry.Id) ? entry with { Windows = entry.Windows.Remove(window) } : entry)
            .Where(static entry => !entry.Windows.IsEmpty),
    ];

    private static BlockMeta MetaOf(ConversionJob job, PreparedBlock block, BlockMark mark)
    {
        BlockMeta meta = block.Writer.NewMeta();
        return meta with
        {
            // As Prometheus cuts its own: the window's bounds, by which planners see that it is whole.
            MinTimeMs = job.Window.MinMs,
            EndTimeMs = job.Window.MaxMs + 1,
            Compaction = job.IsLate ? meta.Compaction with { Hints = [LateHint] } : meta.Compaction,
            Mark = mark,
        };
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
