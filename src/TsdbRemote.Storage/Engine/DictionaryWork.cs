using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Engine;

/// <summary>When the dictionary is collected.</summary>
/// <param name="MinSeries">Below so many series nothing is gained, 1 or more.</param>
/// <param name="Interval">Least time between two looks through all tables.</param>
internal sealed record DictionarySettings(int MinSeries, TimeSpan Interval)
{
    public static DictionarySettings Default { get; } = new(1000, TimeSpan.FromMinutes(1));
}

/// <summary>Collects the dictionary: series whose data has all gone to blocks leave memory and file, once they are over half.</summary>
/// <remarks>
/// Live is what some MemTable holds or some table, in a window that the manifest still names; and what is recent (<see cref="Recent"/>): in block-only mode
/// neither holds a series for longer than until the next flush, and one that is written all the time must not leave once a minute.
/// Two parts: <see cref="Step"/>, on a thread of its own, looks through tables and MemTables, makes the successor and writes its file, beside
/// everybody else. The rest is done by the thread that flushes (<see cref="BackgroundWork"/>), so that no flush comes between:
/// <see cref="TryCommit"/> looks through what is new, appends to the file and commits it; then MemTable and dictionary are switched under the
/// exclusive gate with <see cref="Finish"/>; then <see cref="TookOver"/>.
/// Disk (reliability §2.3): a new file under a new number, fsync of file and directory, the manifest, only then the old file goes. A crash
/// before the manifest leaves a file that nothing names, one after it the old one: the next open removes either.
/// Never: while the log is replayed, since what it will bring is not known; or while a table that the manifest names is out of service, for
/// nobody knows what it holds.
/// Failure: costs the new file, and is tried again after a while under another number. The failed sync of a directory or of the manifest makes
/// the storage read-only (<see cref="EngineFailure"/>).
/// Memory: the successor beside the old dictionary, 12 bytes for each of its series, a bit or two for each of the old one's.
/// </remarks>
internal sealed class DictionaryWork : IDisposable
{
    /// <summary>Series that may have come back while the successor was made. Adding one under the gate takes about a microsecond.</summary>
    public const int MaxReturned = 20_000;

    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly StateCommits _commits;
    private readonly DictionarySettings _settings;
    private readonly long _windowMs;
    private readonly Func<bool> _mayBegin;
    private readonly Action _wakeFlusher;
    private readonly bool _isDamaged;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Backoff _backoff;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _requestLock = new();
    private readonly List<string> _undeleted = [];
    private TaskCompletionSource? _requested;
    private TaskCompletionSource? _serving;
    private Prepared? _prepared;
    private (int Epoch, long ConversionCounter, long ClockWindowMs)? _lookedAt;
    private long _notBefore = long.MinValue;
    private long _nextNumber;

    /// <summary>Work on a directory.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The directory.</param>
    /// <param name="state">What there is.</param>
    /// <param name="commits">Where the new file is committed.</param>
    /// <param name="settings">When.</param>
    /// <param name="windowMs">Length of a window in ms: for so long a series is recent.</param>
    /// <param name="nextNumber">First number that no dictionary file had.</param>
    /// <param name="isDamaged">True if the file that stands is damaged: then it is kept in quarantine.</param>
    /// <param name="mayBegin">False while the log is replayed.</param>
    /// <param name="wakeFlusher">Has the thread that flushes look at <see cref="IsPrepared"/>.</param>
    /// <param name="failure">Set means: nothing more is written.</param>
    /// <param name="counters">Added to.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">Where events go.</param>
    public DictionaryWork(
        IFileSystem files, DataLayout paths, CurrentState state, StateCommits commits, DictionarySettings settings, long windowMs,
        long nextNumber, bool isDamaged, Func<bool> mayBegin, Action wakeFlusher, EngineFailure failure, EngineCounters counters, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _commits = commits;
        _settings = settings;
        _windowMs = windowMs;
        _nextNumber = nextNumber;
        _isDamaged = isDamaged;
        _mayBegin = mayBegin;
        _wakeFlusher = wakeFlusher;
        _failure = failure;
        _counters = counters;
        _time = time;
        _log = log;
        _backoff = new Backoff(time);
    }

    /// <summary>
    /// Newest times that make a series recent, and times of the last flush that make those that it brought recent. What lies far ahead of the clock does not:
    /// one sender's wrong clock would keep its series for ever.
    /// </summary>
    private TimeRange Recent
    {
        get
        {
            long nowMs = NowMs;
            return new TimeRange(nowMs - _windowMs, nowMs + _windowMs);
        }
    }

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>True while a successor waits for the thread that flushes.</summary>
    public bool IsPrepared => Volatile.Read(ref _prepared) is not null;

    /// <summary>Completes when the dictionary was looked through and, if due, collected; a failure is logged and counted, not thrown.</summary>
    /// <exception cref="EngineUnavailableException">The engine is stopping.</exception>
    public Task CollectAsync(CancellationToken cancel)
    {
        Task done;
        lock (_requestLock)
        {
            _requested ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            done = _requested.Task;
        }

        _wake.Release();
        return done.WaitAsync(cancel);
    }

    /// <summary>The thread's life.</summary>
    public void Run()
    {
        while (!_stop.IsCancellationRequested)
        {
            _wake.Wait(Tick);
            Step();
        }
    }

    /// <summary>One round: looks whether a collection is due, and prepares it.</summary>
    /// <returns>True if one is prepared now, and waits for the thread that flushes.</returns>
    public bool Step()
    {
        if (_stop.IsCancellationRequested) return false;
        if (IsPrepared)
        {
            if (_failure.IsSet)
            {
                // Nobody will complete it: neither who is served nor who has come since.
                Answer();
                TakeUp();
                Answer();
            }

            return false;
        }

        bool isAsked = TakeUp();
        if (_failure.IsSet || !_mayBegin() || (!isAsked && (_time.GetTimestamp() < _notBefore || _backoff.MustWait)))
        {
            Answer();
            return false;
        }

        long started = Stopwatch.GetTimestamp();
        Prepared? prepared = null;
        try
        {
            EngineState state = _state.Acquire();
            try
            {
                if (IsWorthALook(state)) prepared = TryPrepare(state, started);
            }
            finally
            {
                state.Release();
            }
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or EngineUnavailableException)
        {
            return false;
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException)
        {
            Failed(failure);
            return false;
        }
        catch (Exception failure)
        {
            // A bug: the dictionary that stands is untouched, but what the rest of the engine believes may not be.
            if (_failure.Set(failure)) Log.Failed(_log, failure);
        }

        EngineCounters.Add(ref _counters.CollectionTicks, Stopwatch.GetElapsedTime(started).Ticks);
        if (prepared is null)
        {
            Answer();
            return false;
        }

        Volatile.Write(ref _prepared, prepared);
        _wakeFlusher();
        return true;
    }

    /// <summary>Has successor and file hold what has come since they were made, and commits the file. The thread that flushes.</summary>
    /// <returns>False if it failed or was dropped: nothing has changed.</returns>
    public bool TryCommit()
    {
        Prepared prepared = _prepared!;
        long started = Stopwatch.GetTimestamp();
        SeriesCollection collection = prepared.Collection;
        if (_stop.IsCancellationRequested)
        {
            Drop(prepared, mayDelete: true);
            return false;
        }

        EngineState state = _state.Acquire();
        try
        {
            Mark(collection, state, table => !prepared.Tables.Contains(table.Entry.Id), CancellationToken.None);
            collection.CopyNew();
            if (collection.ReturnedCount > MaxReturned)
            {
                Log.CollectionOvertaken(_log, collection.ReturnedCount);
                Drop(prepared, mayDelete: true);
                return false;
            }

            DictionaryEntry file = Append(prepared.File, collection);
            KeepOld(state.Manifest);
            _commits.Commit(
                manifest => manifest with { Dictionaries = [file] },
                static (current, manifest) => current.With(manifest));
            prepared.File = file;
            prepared.Replaced = [.. state.Manifest.Dictionaries.Select(entry => _paths.Dictionary(entry.Number))];
            collection.CopyNew(); // what came during the syncs: as little as can be is left for the gate
            return true;
        }
        catch (Exception failure) when (failure is IOException or CorruptFileException)
        {
            Failed(failure);
            Drop(prepared, mayDelete: failure is not (ManifestUncertainException or DiskException { IsSync: true }));
            return false;
        }
        finally
        {
            state.Release();
            EngineCounters.Add(ref _counters.CollectionTicks, Stopwatch.GetElapsedTime(started).Ticks);
        }
    }

    /// <summary>Completes the successor, under the exclusive gate.</summary>
    /// <param name="active">The MemTable that took writes until now.</param>
    public SeriesDictionary Finish(MemTable active)
    {
        SeriesCollection collection = _prepared!.Collection;
        active.ForEachSeries(collection.Keep);
        return collection.Finish();
    }

    /// <summary>After the switch: the successor is in service. The thread that flushes.</summary>
    public void TookOver()
    {
        Prepared prepared = _prepared!;
        SeriesCollection collection = prepared.Collection;
        collection.MarkWritten();
        int before = collection.Old.Count;
        int dropped = collection.DroppedCount;
        collection.Dispose();
        foreach (string replaced in prepared.Replaced) Delete(replaced);
        _backoff.Succeeded();
        EngineCounters.Add(ref _counters.Collections, 1);
        EngineCounters.Add(ref _counters.SeriesDropped, dropped);
        Log.DictionaryCollected(
            _log, dropped, before, prepared.File.Number, prepared.File.Entries, prepared.File.Length,
            Stopwatch.GetElapsedTime(prepared.Started).TotalSeconds);
        EndRound();
    }

    /// <summary>Ends <see cref="Run"/>; a successor in the making is dropped.</summary>
    public void Stop()
    {
        _stop.Cancel();
        _wake.Release();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _prepared?.Collection.Dispose();
        lock (_requestLock)
        {
            _serving?.TrySetException(EngineUnavailableException.Stopping());
            _requested?.TrySetException(EngineUnavailableException.Stopping());
        }

        _wake.Dispose();
        _stop.Dispose();
    }

    /// <summary>What figures alone tell: whether half of the series can be dead, and something has gone since the last look.</summary>
    private bool IsWorthALook(EngineState state)
    {
        int count = state.Dictionary.Count;
        if (count < _settings.MinSeries || state.Manifest.Tables.Length != state.Levels.Tables.Length) return false;
        if (_lookedAt == LookOf(state)) return false;
        long most = 0;
        foreach (LevelTable table in state.Levels.Tables)
        {
            if (table.Entry.Windows.Length == table.Reader.Properties.Windows.Count) most = Math.Max(most, table.Entry.Series);
        }

        foreach (MemTable memTable in state.MemTables.NewestFirst) most = Math.Max(most, memTable.SeriesCount);
        return most * 2 < count && CountRecent(state.Dictionary) * 2 < count;
    }

    /// <summary>A pass over 8 bytes a series, so it counts as a look: in block-only mode it is what mostly says that there is nothing to do.</summary>
    private long CountRecent(SeriesDictionary dictionary)
    {
        BeginInterval();
        long recent = 0;
        dictionary.ForEachRecent(Recent, _ => recent++);
        return recent;
    }

    private void BeginInterval() => _notBefore = _time.GetTimestamp() + (long)(_settings.Interval.TotalSeconds * _time.TimestampFrequency);

    /// <summary>
    /// What has to change before another look can find more: only what goes into a block leaves MemTables and tables, and what was recent stops being so
    /// within a window of the clock.
    /// </summary>
    private (int Epoch, long ConversionCounter, long ClockWindowMs) LookOf(EngineState state) =>
        (state.Dictionary.Epoch, state.Manifest.ConversionCounter, TimeWindow.StartOf(NowMs, _windowMs));

    private Prepared? TryPrepare(EngineState state, long started)
    {
        BeginInterval();
        var collection = new SeriesCollection(state.Dictionary);
        long number = 0;
        try
        {
            Mark(collection, state, static _ => true, _stop.Token);
            _lookedAt = LookOf(state);
            if (collection.LiveCount * 2L >= collection.Before)
            {
                collection.Dispose();
                return null;
            }

            collection.Build(_stop.Token);
            number = _nextNumber++;
            DictionaryEntry file = Append(new DictionaryEntry(number, 0, 0, 0), collection);
            _files.SyncDir(_paths.Series);
            return new Prepared(collection, [.. state.Levels.Tables.Select(static table => table.Entry.Id)], started) { File = file };
        }
        catch (Exception failure)
        {
            collection.Dispose();
            _lookedAt = null;
            if (number > 0 && failure is not DiskException { IsSync: true }) Delete(_paths.Dictionary(number));
            throw;
        }
    }

    /// <summary>Notes what lives in MemTables, in those tables that are asked for, and what is recent.</summary>
    private void Mark(SeriesCollection collection, EngineState state, Func<LevelTable, bool> isAskedFor, CancellationToken cancel)
    {
        // Before the tables: what is flushed meanwhile is in the MemTable that this state holds.
        foreach (MemTable memTable in state.MemTables.NewestFirst)
        {
            if (ReferenceEquals(memTable.Dictionary, collection.Old)) memTable.ForEachSeries(collection.Keep);
            else memTable.ForEachSeries(ordinal => KeepOlder(memTable.Dictionary, ordinal));
        }

        // A flush in block-only mode notes the times before its MemTable leaves the state. Each time anew: what was flushed while the successor was
        // made may be in no table.
        collection.Old.ForEachRecent(Recent, collection.Keep);
        foreach (LevelTable table in state.Levels.Tables)
        {
            if (!isAskedFor(table)) continue;
            foreach (long window in table.Entry.Windows)
            {
                cancel.ThrowIfCancellationRequested();

                // An id without labels is damage of the dictionary file, and known since the open.
                table.Reader.ForEachSeriesOf(window, id => collection.KeepId(id));
            }
        }

        void KeepOlder(SeriesDictionary older, uint ordinal) =>
            Invariant.Check(collection.KeepId(older.IdOf(ordinal)), "a dictionary knows what MemTables hold");
    }

    private DictionaryEntry Append(DictionaryEntry file, SeriesCollection collection)
    {
        uint[] series = collection.TakeUnwritten();
        if (series.Length == 0 && file.Length > 0) return file;
        SeriesFileEnd end = SeriesFile.Append(
            _files, _paths.Dictionary(file.Number), _state.Peek.Manifest.DirectoryId, file.Number, file.Length, file.Crc, collection.Old, series);
        return new DictionaryEntry(file.Number, end.Length, end.Crc, file.Entries + series.Length);
    }

    /// <summary>Where something damaged is kept, its labels are kept too: a damaged dictionary file, and any while tables are in quarantine.</summary>
    private void KeepOld(ManifestState manifest)
    {
        if (!_isDamaged && !_files.List(_paths.Quarantine).Any(IsTable)) return;
        foreach (DictionaryEntry old in manifest.Dictionaries)
        {
            string kept = DataLayout.Join(_paths.Quarantine, $"series-{old.Number}{DataLayout.DictionarySuffix}");
            if (_files.FileSize(kept) is null) _files.Link(_paths.Dictionary(old.Number), kept);
        }

        _files.SyncDir(_paths.Quarantine);

        static bool IsTable(DirectoryEntry entry) => entry.Name.EndsWith(DataLayout.TableSuffix, StringComparison.Ordinal);
    }

    private void Drop(Prepared prepared, bool mayDelete)
    {
        prepared.Collection.Dispose();
        _lookedAt = null;
        if (mayDelete) Delete(_paths.Dictionary(prepared.File.Number));
        EndRound();
    }

    /// <summary>In this order: once nothing is prepared another round may begin, whose request would take the place of the one that is served.</summary>
    private void EndRound()
    {
        Answer();
        Volatile.Write(ref _prepared, null);
    }

    private void Failed(Exception failure)
    {
        EngineCounters.Add(ref _counters.CollectionErrors, 1);
        TimeSpan delay = _backoff.Failed(failure);
        Log.CollectionFailed(_log, delay.TotalSeconds, failure);

        // A dictionary file that is given up has a number that is not used again; whatever else was not synced may have left a name that is not
        // what it says.
        bool isFatal = failure is DiskException { IsSync: true } sync
            && !sync.Path.EndsWith(DataLayout.DictionarySuffix, StringComparison.Ordinal);
        if (isFatal && _failure.Set(failure)) Log.Failed(_log, failure);
        Answer();
    }

    private void Delete(string path)
    {
        lock (_undeleted)
        {
            _undeleted.Add(path);
            for (int i = _undeleted.Count - 1; i >= 0; i--)
            {
                try
                {
                    if (_files.FileSize(_undeleted[i]) is not null) _files.Unlink(_undeleted[i]);
                    _undeleted.RemoveAt(i);
                }
                catch (DiskException failure)
                {
                    Log.DeleteFailed(_log, _undeleted[i], failure);
                }
            }
        }
    }

    /// <summary>Only who asked before a round began is served by it.</summary>
    private bool TakeUp()
    {
        lock (_requestLock)
        {
            if (_requested is null) return false;
            _serving = _requested;
            _requested = null;
            return true;
        }
    }

    private void Answer()
    {
        lock (_requestLock)
        {
            _serving?.TrySetResult();
            _serving = null;
        }
    }

    /// <summary>A successor that waits to take over.</summary>
    private sealed class Prepared(SeriesCollection collection, ImmutableHashSet<long> tables, long started)
    {
        public SeriesCollection Collection { get; } = collection;

        /// <summary>Tables whose series are marked.</summary>
        public ImmutableHashSet<long> Tables { get; } = tables;

        public long Started { get; } = started;

        /// <summary>The new file: not named by the manifest until it is committed.</summary>
        public required DictionaryEntry File { get; set; }

        /// <summary>Files that the new one replaced.</summary>
        public ImmutableArray<string> Replaced { get; set; } = [];
    }
}
