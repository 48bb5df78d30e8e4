using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Commits flushes, one at a time and in order of sequence: writes the files, replaces the manifest, publishes, deletes the segment.</summary>
/// <remarks>
/// A MemTable becomes a table of level 0; in block-only mode, where <see cref="BlockFlush"/> says so, one block for each of its windows, all of them in one commit.
/// Failure: before the manifest is touched a failed step costs only its files, and is tried again later into new ones; three in a row, or any failure at the
/// manifest's name, makes the storage read-only (<see cref="EngineFailure"/>), and so does at once a failed sync of what cannot be written anew under
/// another name: dictionary, manifest, directories. A full disk is tried again for as long as it takes.
/// Not thread-safe: one thread flushes.
/// </remarks>
internal sealed class FlushWork
{
    private const string NewTableSuffix = DataLayout.TableSuffix + DataLayout.TemporarySuffix;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly SegmentLedger _ledger;
    private readonly EngineCounters _counters;
    private readonly EngineFailure _failure;
    private readonly MemTableFlush _flush;
    private readonly BlockStore _store;
    private readonly BlockFlush _blocks;
    private readonly SideFiles _sideFiles;
    private readonly FlushSettings _settings;
    private readonly TableIds _ids;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly List<string> _undeleted = [];
    private readonly Backoff _backoff;

    public FlushWork(
        IFileSystem files, DataLayout paths, CurrentState state, StateCommits commits, SegmentLedger ledger,
        EngineCounters counters, EngineFailure failure, FlushSettings settings, TableIds ids, BlockStore store, BlockFlush blocks,
        SideFiles sideFiles, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _commits = commits;
        _ledger = ledger;
        _counters = counters;
        _failure = failure;
        _flush = new MemTableFlush(files, paths, settings.BloomBitsPerKey);
        _settings = settings;
        _ids = ids;
        _store = store;
        _blocks = blocks;
        _sideFiles = sideFiles;
        _time = time;
        _log = log;
        _backoff = new Backoff(time);
    }

    /// <summary>True once a flush has failed after the log had: nothing is tried again then.</summary>
    public bool HasGivenUp { get; private set; }

    /// <summary>Why a flush waits for room on the disk; null if none does.</summary>
    public string? NoRoom => _backoff.NoRoom;

    /// <summary>Flushes the oldest waiting MemTable, if its turn has come.</summary>
    /// <param name="replayedBelow">No segment below this number is still being replayed: only then is a MemTable the oldest in sequence.</param>
    /// <returns>The segment whose flush is committed; null if there was nothing to flush, or it has to wait after a failure.</returns>
    public long? FlushOldest(long replayedBelow)
    {
        MemTableSet memTables = _state.Peek.MemTables;
        if (memTables.Waiting.IsEmpty || memTables.Waiting[0].Segment >= replayedBelow) return null;

        // A failed log leaves the MemTables as the only copy of what it may have lost: they may go into new files, if the disk takes those at once.
        if (_failure.IsSet && (_failure.Cause is not LogFailedException || HasGivenUp)) return null;
        if (_backoff.MustWait) return null;
        MemTable oldest = memTables.Waiting[0];
        try
        {
            Flush(oldest);
            _backoff.Succeeded();
            return oldest.Segment;
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException or CorruptChunkException or LogRefusedException)
        {
            Failed(oldest, failure);
            return null;
        }
    }

    /// <summary>Does not wait any longer after a failure. From any thread.</summary>
    public void Hurry() => _backoff.Hurry();

    private void Flush(MemTable memTable)
    {
        LedgerSegment segment = _ledger[memTable.Segment];
        if (segment.Owed.Count > 0) LogQuarantine.Settle(_files, _paths.Quarantine, _paths.Segment(segment.Number), segment.Number, segment.Owed);
        _sideFiles.WriteChanged(); // all that the segment says besides samples, before it may go
        EngineState before = _state.Peek; // its dictionary stays: a collection takes over on this thread only
        _blocks.RememberTimes(memTable, before.Dictionary);
        if (!TryFlushToBlocks(memTable, before, out uint[] newSeries)) newSeries = FlushToTable(memTable, before, segment.LastSequence);
        memTable.Release();
        before.Dictionary.MarkPersisted(newSeries);
        if (segment.HasFile) Delete(_paths.Segment(memTable.Segment));
    }

    /// <summary>Writes and commits a table.</summary>
    /// <returns>Series that the dictionary file has now and lacked before.</returns>
    private uint[] FlushToTable(MemTable memTable, EngineState before, ulong lastSequence)
    {
        long started = Stopwatch.GetTimestamp();
        long tableId = _ids.Take();
        FlushResult result = _flush.Write(memTable, before.Dictionary, lastSequence, before.Manifest, tableId, _settings.WindowMs);
        LevelTable? table = null;
        try
        {
            if (result.Table is { } entry) table = _settings.Open(_files, _paths, entry);
            _commits.Commit(
                manifest => manifest with
                {
                    Tables = result.Table is null ? manifest.Tables : manifest.Tables.Add(result.Table),
                    Dictionaries = result.Dictionary is null ? manifest.Dictionaries : [result.Dictionary],
                },
                (state, manifest) => state.With(
                    manifest, state.MemTables.Without(memTable), table is null ? state.Levels : state.Levels.With(table)),
                flushedSegment: memTable.Segment);
        }
        catch (Exception failure)
        {
            // The segment and its MemTable stay; the table goes, unless nobody knows which manifest stands or what the disk still does.
            table?.Reader.Release();
            if (result.Table is not null && failure is not (ManifestUncertainException or DiskException { IsSync: true })) Delete(_paths.Table(tableId));
            throw;
        }

        table?.Reader.Release(); // the state holds it now
        TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
        Count(new FlushedData(result.Table?.Samples ?? 0, result.Table?.Series ?? 0, result.Table?.Size ?? 0, result.Merged), elapsed);
        if (result.Table is { } made) Log.Flushed(_log, memTable.Segment, made.Id, made.Samples, made.Series, made.Size, elapsed.TotalSeconds);
        return result.NewSeries;
    }

    /// <summary>Writes and commits one block for each window, if that may be.</summary>
    /// <param name="memTable">The MemTable.</param>
    /// <param name="before">What stands.</param>
    /// <param name="newSeries">Series that the dictionary file has now and lacked before.</param>
    /// <returns>False if it has to become a table.</returns>
    private bool TryFlushToBlocks(MemTable memTable, EngineState before, out uint[] newSeries)
    {
        newSeries = [];
        ImmutableArray<ConversionJob> windows = _blocks.Plan(memTable, before);
        if (windows.IsEmpty) return false;
        long started = Stopwatch.GetTimestamp();
        try
        {
            DictionaryEntry? dictionary = _flush.WriteDictionary(memTable, before.Dictionary, before.Manifest, out newSeries);
            using var blocks = new NewBlocks(_store, _log);
            FlushedData written = _blocks.Write(memTable, windows, blocks);
            blocks.Commit(
                _commits,
                manifest => dictionary is null ? manifest : manifest with { Dictionaries = [dictionary] },
                (state, manifest, made) => state.With(manifest, state.MemTables.Without(memTable), blocks: state.Blocks.With(made)),
                flushedSegment: memTable.Segment);
            TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
            Count(written, elapsed);
            EngineCounters.Add(ref _counters.FlushesToBlocks, 1);
            EngineCounters.Add(ref _counters.FlushBlocks, blocks.Count);
            Log.FlushedToBlocks(_log, memTable.Segment, blocks.Count, written.Samples, written.Series, written.Bytes, elapsed.TotalSeconds);
            return true;
        }
        catch (ReadLimitException tooLarge)
        {
            Log.NotFlushedToBlocks(_log, memTable.Segment, tooLarge);
            return false;
        }
        catch
        {
            _blocks.LeaveToTables(memTable);
            throw;
        }
    }

    private void Delete(string path)
    {
        _undeleted.Add(path);
        for (int i = _undeleted.Count - 1; i >= 0; i--)
        {
            try
            {
                _files.Unlink(_undeleted[i]);
                _undeleted.RemoveAt(i);
            }
            catch (DiskException failure)
            {
                Log.DeleteFailed(_log, _undeleted[i], failure);
            }
        }
    }

    private void Failed(MemTable memTable, Exception failure)
    {
        EngineCounters.Add(ref _counters.FlushErrors, 1);
        if (failure is DiskException { IsSync: true } sync && !IsDropped(sync)) Fail(failure);
        TimeSpan delay = _backoff.Failed(failure);
        HasGivenUp = _failure.IsSet && (_backoff.HasFailed || failure is DiskException { IsSync: true });
        Log.FlushFailed(_log, memTable.Segment, delay.TotalSeconds, failure);
        if (_backoff.IsHopeless) Fail(failure);
    }

    /// <summary>
    /// The only files whose failed sync is harmless: the next attempt writes them anew, tables and blocks under another name, a side file and a copy for quarantine from its
    /// source.
    /// </summary>
    private bool IsDropped(DiskException failure) => failure.Path.EndsWith(NewTableSuffix, StringComparison.Ordinal) || NewBlocks.IsOfNewBlock(failure)
        || _sideFiles.IsUnfinished(failure.Path)
        || (failure.Path.StartsWith(_paths.Quarantine, StringComparison.Ordinal) && failure.Path.EndsWith(DataLayout.TemporarySuffix, StringComparison.Ordinal));

    private void Fail(Exception failure)
    {
        if (_failure.Set(failure)) Log.Failed(_log, failure);
    }

    private void Count(in FlushedData written, TimeSpan elapsed)
    {
        EngineCounters.Add(ref _counters.Flushes, 1);
        EngineCounters.Add(ref _counters.FlushTicks, elapsed.Ticks);
        EngineCounters.Add(ref _counters.FlushBytes, written.Bytes);
        EngineCounters.Add(ref _counters.FlushSamples, written.Samples);
        EngineCounters.Add(ref _counters.MergedDuplicates, written.Merged.Duplicates);
        EngineCounters.Add(ref _counters.MergedConflicts, written.Merged.Conflicts);
        Volatile.Write(ref _counters.LastFlushMs, _time.GetUtcNow().ToUnixTimeMilliseconds());
    }
}

/// <summary>How tables are written and opened.</summary>
/// <param name="WindowMs">Length of a window in ms.</param>
/// <param name="BloomBitsPerKey">Bits of bloom filter for each series.</param>
/// <param name="Mmap">Whether tables are mapped or read.</param>
/// <param name="CacheMetadata">Whether sparse indexes and bloom filters stay in memory.</param>
/// <param name="ReadBufferBytes">Bytes read at a time from tables that are not mapped.</param>
internal sealed record FlushSettings(long WindowMs, int BloomBitsPerKey, bool Mmap, bool CacheMetadata, int ReadBufferBytes)
{
    /// <summary>Opens a table that was just written; the caller releases its reader.</summary>
    public LevelTable Open(IFileSystem files, DataLayout paths, TableEntry entry) =>
        new(entry, SSTableReader.Open(files, paths.Table(entry), entry.Id, entry.Size, Mmap, CacheMetadata, entry.Crc, ReadBufferBytes));
}
