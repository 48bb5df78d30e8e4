using System.Collections.Concurrent;
using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>The store: opens a data directory, takes writes, answers reads, flushes, closes. All that a host sees.</summary>
/// <remarks>
/// Use:       <c>Open</c>, then any thread calls <see cref="WriteAsync"/> and <see cref="AcquireSnapshot"/>; <see cref="StopAsync"/> at the end.
/// Promise:   a write answered <see cref="WriteStatus.Written"/> is durable as configured and seen by every snapshot taken after the answer, once
///            <see cref="WhenReady"/> is complete; before that, reads are refused rather than answered in part.
/// Threads:   one for the log, one for switching and flushing, some for merges, one for blocks, some that help reads, some for replay, all of this class. Nothing below starts any.
/// Invariant: a writer holds the gate (shared) from its decision to its last append; a switch of MemTable and segment holds it alone.
/// Not here:  HTTP, decoding, file formats.
/// </remarks>
public sealed class LsmEngine : IAsyncDisposable
{
    // Replay is bounded by processors; more workers would only hold more MemTables at a time.
    private static readonly int ReplayWorkers = Math.Clamp(Environment.ProcessorCount, 1, 8);

    // After the patience for the flush is used up: one system call on a disk that answers takes less.
    private static readonly TimeSpan JoinPatience = TimeSpan.FromSeconds(10);

    private readonly StorageOptions _options;
    private readonly DataLayout _paths;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly IDisposable _lock;
    private readonly bool _threaded;
    private readonly long _started;
    private readonly EngineParts _parts;
    private readonly ConcurrentDictionary<string, double> _openSeconds = new();
    private readonly List<Thread> _threads = [];
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _replayersLeft;
    private int _stopped;

    private LsmEngine(
        StorageOptions options, IFileSystem files, TimeProvider time, ILogger log, IDisposable directoryLock, bool threaded, DictionarySettings dictionaries)
    {
        _options = options;
        _paths = new DataLayout(options.DataDir);
        _time = time;
        _log = log;
        _lock = directoryLock;
        _threaded = threaded;
        _started = time.GetTimestamp();
        _parts = new EngineParts(options, files, time, log, threaded, dictionaries);
    }

    /// <summary>Completes when reads are whole: the log is replayed and the postings are built. Faults if replay had to stop.</summary>
    public Task WhenReady => _parts.Ready.Task;

    /// <summary>Budget of decompressed request bytes in flight.</summary>
    public ByteBudget InFlight => _parts.Writes.Budget;

    /// <summary>Metadata of metric families, as far as senders have told it.</summary>
    public MetricMetadata Metadata => _parts.Metadata;

    /// <summary>Counts what a limit outside the engine refused.</summary>
    public void Count(Limit limit) => _parts.Counters.Count(limit);

    /// <summary>The exemplars that are kept.</summary>
    public ExemplarRing Exemplars => _parts.Exemplars;

    /// <summary>How far the replay is.</summary>
    public ReplayProgress ReplayProgress => _parts.Replay.Progress;

    /// <summary>What the engine is doing.</summary>
    public EnginePhase Phase
    {
        get
        {
            if (_parts.Stopping.IsCancellationRequested) return EnginePhase.Stopping;
            if (_parts.Failure.IsSet || _parts.Wal.Failure is not null) return EnginePhase.Failed;
            return _parts.Ready.Task.IsCompletedSuccessfully ? EnginePhase.Ready : EnginePhase.Replaying;
        }
    }

    /// <summary>Why something that has to be written waits for room on the disk, which is tried again until there is some; null if nothing does.</summary>
    public string? NoRoom => _parts.NoRoom;

    /// <summary>Opens a data directory, creating it if there is none. Returns once writes are accepted.</summary>
    /// <param name="options">Checked options.</param>
    /// <param name="files">The disk.</param>
    /// <param name="time">The clock.</param>
    /// <param name="loggers">Where events go.</param>
    /// <exception cref="DataDirectoryException">The directory cannot be opened as it stands.</exception>
    /// <exception cref="DirectoryLockedException">Another process has it.</exception>
    public static LsmEngine Open(StorageOptions options, IFileSystem files, TimeProvider time, ILoggerFactory loggers) =>
        Open(options, files, time, loggers, threaded: true);

    /// <summary>The same, optionally without any thread: tests then drive log, replay and flush step by step.</summary>
    internal static LsmEngine Open(
        StorageOptions options, IFileSystem files, TimeProvider time, ILoggerFactory loggers, bool threaded, DictionarySettings? dictionaries = null)
    {
        Recovery.MakeRoot(files, options.DataDir);
        Recovery.CheckKind(files, options, loggers.CreateLogger<LsmEngine>());
        string holder = $"pid {Environment.ProcessId} since {time.GetUtcNow():O}";
        IDisposable directoryLock = files.Lock(new DataLayout(options.DataDir).Lock, holder);
        try
        {
            var engine = new LsmEngine(options, files, time, loggers.CreateLogger<LsmEngine>(), directoryLock, threaded, dictionaries ?? DictionarySettings.Default);
            engine.Begin();
            return engine;
        }
        catch
        {
            directoryLock.Dispose();
            throw;
        }
    }

    /// <summary>Stores one remote-write request. Never cancelled: once the log has the body, the answer follows the disk.</summary>
    /// <param name="protocol">Which message the body is.</param>
    /// <param name="body">The compressed body as it came; taken over.</param>
    /// <param name="compression">How it is packed.</param>
    public Task<WriteReport> WriteAsync(WriteProtocol protocol, PooledBuffer body, Compression compression = Compression.Snappy) =>
        _parts.Writes.WriteAsync(protocol, body, compression);

    /// <summary>Everything stored so far, for one reader, who disposes it.</summary>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the engine is stopping.</exception>
    public ReadSnapshot AcquireSnapshot()
    {
        RefuseReads();
        EngineCounters.Add(ref _parts.Counters.Reads, 1);
        EngineState state = _parts.State.Acquire();
        var sources = new ReadSources(
            [.. state.MemTables.NewestFirst], _parts.Modes.ReadsTables ? state.Levels.Tables : [], _parts.Modes.ReadsBlocks ? state.Blocks.Blocks : [])
        {
            Deletions = state.Deletions,
        };
        _parts.ReadBegan();
        return new ReadSnapshot(sources, state.Dictionary, _options.Read.Memory.Bytes, () => Done(state), _parts.ReadHelpers);
    }

    /// <summary>Finds exemplars.</summary>
    /// <param name="isWanted">Whether a series, given by its canonical label run, is asked for.</param>
    /// <param name="range">Closed, ms.</param>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the engine is stopping.</exception>
    public IReadOnlyList<SeriesExemplars> FindExemplars(Func<byte[], bool> isWanted, TimeRange range)
    {
        RefuseReads();
        return _parts.Exemplars.Find(isWanted, range);
    }

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

    /// <summary>How the check of the data directory stands.</summary>
    public VerifyStatus VerifyStatus => _parts.Verification.Status;

    /// <summary>Begins a check of the whole data directory, which goes on beside everything else; <see cref="VerifyStatus"/> tells how far it is and what it found.</summary>
    /// <param name="bytesPerSecond">Pace of its reads, 1 or more.</param>
    /// <returns>False if one is running.</returns>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the engine is stopping.</exception>
    public bool TryBeginVerify(long bytesPerSecond)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytesPerSecond, 1);
        RefuseReads();
        return _parts.Verification.TryBegin(bytesPerSecond, _parts.Stopping.Token);
    }

    /// <summary>Ends the check that is running. Completes once it has ended, with false if none was running.</summary>
    public Task<bool> CancelVerifyAsync() => _parts.Verification.CancelAsync();

    /// <summary>Completes when the check that was begun last has ended, for tests.</summary>
    internal Task WhenVerified => _parts.Verification.WhenEnded;

    /// <summary>Asks for deletes to be carried out, for tests without threads, until it is disposed.</summary>
    internal IDisposable BeginCleaning() => _parts.Cleaning.Begin(_parts.State.Peek.DeletionsKnownTo);

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

    /// <summary>Only the merges of tables, for tests without threads.</summary>
    internal Task CompactTablesAsync(CancellationToken cancel) => _parts.Compaction.CompactAsync(cancel);

    /// <summary>The same without the flush, for tests without threads, which flush by steps.</summary>
    internal Task CompactBlocksAsync(CancellationToken cancel) => _parts.Blocks.CompactAsync(cancel);

    /// <summary>Only the look whether the dictionary is to be collected, for tests without threads.</summary>
    internal Task CollectAsync(CancellationToken cancel) => _parts.Dictionaries.CollectAsync(cancel);

    /// <summary>The engine's figures now.</summary>
    /// <exception cref="EngineUnavailableException">The engine has stopped.</exception>
    public EngineStats Stats() => EngineStatsReader.Read(
        _parts.Counters, Phase, _parts.Failure, [.. _parts.Damages.Found], _parts.State, _parts.Wal, _parts.Background.UnflushedLogBytes, _openSeconds, InFlight.Used, _parts.Metadata.Count, _parts.Exemplars.Stats,
        _parts.Compaction, _parts.Blocks.RunningCompaction, _parts.Busyness(), _parts.Stall, _parts.Modes, _options.Lsm.SstableLevels, _parts.Pace, _parts.Background.IsRescued) with
    {
        NoRoom = NoRoom,
    };

    /// <summary>The tables of each window by level, oldest window first.</summary>
    /// <exception cref="EngineUnavailableException">The engine has stopped.</exception>
    public ImmutableArray<WindowStats> Windows()
    {
        EngineState state = _parts.State.Acquire();
        try
        {
            return EngineStatsReader.Windows(state.Levels);
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>Takes note of damage that a read found, so that it is seen: each file once.</summary>
    public void NoteDamage(Exception damage)
    {
        ArgumentNullException.ThrowIfNull(damage);
        _parts.Damages.AddOfRead(damage);
    }

    /// <summary>Refuses new writes, flushes what is in memory and closes the log. Who comes second waits for that, too.</summary>
    /// <param name="cancel">Ends the flush early: what is not flushed then stays in the log, as safe as after a kill.</param>
    public async Task StopAsync(CancellationToken cancel)
    {
        if (Interlocked.Exchange(ref _stopped, 1) != 0)
        {
            await _closed.Task.ConfigureAwait(false);
            return;
        }

        try
        {
            await CloseAsync(cancel).ConfigureAwait(false);
        }
        finally
        {
            _closed.SetResult();
        }
    }

    private async Task CloseAsync(CancellationToken cancel)
    {
        bool replayed = _parts.Ready.Task.IsCompletedSuccessfully;
        await _parts.Stopping.CancelAsync().ConfigureAwait(false);
        await _parts.Verification.CancelAsync().ConfigureAwait(false);
        while (_parts.Writes.InFlight > 0 && !cancel.IsCancellationRequested)
            await Task.Delay(TimeSpan.FromMilliseconds(5), _time, CancellationToken.None).ConfigureAwait(false);
        _parts.Blocks.Stop();
        _parts.Compaction.Stop();
        _parts.Dictionaries.Stop();
        _parts.ReadHelpers?.Stop();
        _parts.Background.Hurry();
        bool flushed = replayed && _threaded && (await TryFlushAsync(cancel).ConfigureAwait(false) || await TryRescueAsync(cancel).ConfigureAwait(false));
        _parts.Background.Stop();
        CloseLog();
        if (!_threads.TrueForAll(static thread => thread.Join(JoinPatience)))
        {
            // A thread is stuck in the disk. What it uses must not be freed under it; the process ends as it would by a kill, which loses nothing.
            Log.StopStuck(_log);
            return;
        }

        _parts.Dispose();
        _lock.Dispose();
        Log.Stopped(_log, flushed);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(_options.ShutdownFlushTimeout.ToTimeSpan(), _time);
        await StopAsync(patience.Token).ConfigureAwait(false);
    }

    /// <summary>One round of background work and of the log, for tests without threads.</summary>
    /// <param name="flush">False to switch the MemTable only, if it is due or a flush was asked for.</param>
    internal bool Step(bool flush = true)
    {
        while (_parts.Wal.DrainOnce())
        {
        }

        return _parts.Background.Step(flush);
    }

    /// <summary>One merge of tables, for tests without threads.</summary>
    internal bool StepCompaction() => _parts.Compaction.Step();

    /// <summary>What is served now, for tests.</summary>
    internal EngineState StateNow => _parts.State.Peek;

    /// <summary>One round of work on blocks, for tests without threads.</summary>
    internal bool StepBlocks() => _parts.Blocks.Step();

    /// <summary>One look whether the dictionary is to be collected, for tests without threads; <see cref="Step"/> then completes what is prepared.</summary>
    internal bool StepDictionary() => _parts.Dictionaries.Step();

    private void RefuseReads()
    {
        if (Volatile.Read(ref _stopped) != 0) throw EngineUnavailableException.Stopping();
        if (!_parts.Ready.Task.IsCompletedSuccessfully) throw new EngineUnavailableException(ReplayMessage());
    }

    private void Done(EngineState state)
    {
        _parts.ReadEnded();
        state.Release();
    }

    private void Begin()
    {
        SeriesDictionary dictionary = _parts.State.Peek.Dictionary; // stays until replay has ended
        _openSeconds["writes_accepted"] = Elapsed();
        Log.Opened(_log, _paths.Root, _parts.State.Peek.Levels.Tables.Length, dictionary.Count, _parts.Replay.Left, Elapsed());
        if (!_threaded)
        {
            dictionary.BuildPostings(CancellationToken.None, progress: null);
            _parts.Replay.All(FlushAll, CancellationToken.None);
            BecomeReady();
            return;
        }

        // Also where callers drain for themselves: idle frames and interval syncs have no caller.
        StartThread("log", _parts.Wal.Run);
        StartThread("flush", _parts.Background.Run);
        StartThread("blocks", _parts.Blocks.Run);
        for (int i = 0; i < EngineSettings.CompactionWorkers(_options, Environment.ProcessorCount); i++) StartThread($"merge {i}", _parts.Compaction.Run);
        StartThread("dictionary", _parts.Dictionaries.Run);
        for (int i = 0; i < _parts.ReadHelpers?.Threads; i++) StartThread($"read {i}", _parts.ReadHelpers.Run);
        int workers = Math.Clamp(_parts.Replay.Left, 1, ReplayWorkers);
        _replayersLeft = workers + 1;
        StartThread("postings", () => Replayer(() => dictionary.BuildPostings(_parts.Stopping.Token, progress: null)));
        for (int i = 0; i < workers; i++) StartThread($"replay {i}", () => Replayer(() => _parts.Replay.All(_parts.Background.Wake, _parts.Stopping.Token)));
    }

    private void FlushAll()
    {
        while (_parts.Background.Step())
        {
        }
    }

    private void StartThread(string name, ThreadStart run)
    {
        var thread = new Thread(run) { IsBackground = true, Name = $"tsdb {name}" };
        _threads.Add(thread);
        thread.Start();
    }

    private void Replayer(Action work)
    {
        try
        {
            work();
            if (Interlocked.Decrement(ref _replayersLeft) == 0) BecomeReady();
        }
        catch (OperationCanceledException)
        {
            _parts.Ready.TrySetCanceled();
        }
        catch (Exception failure)
        {
            Log.ReplayFailed(_log, failure);
            _parts.Damages.Found.Enqueue(failure.Message);
            _parts.Failure.Set(failure);
            _parts.Ready.TrySetException(failure);
        }
    }

    private void BecomeReady()
    {
        _openSeconds["ready"] = Elapsed();
        if (_parts.Pace.BytesPerSecond is { } pace) _parts.Background.HoldLogTo(EngineSettings.LogBytes(_options, pace));
        _parts.Ready.TrySetResult();
        Log.Ready(_log, Elapsed());
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

    private async Task<bool> TryFlushAsync(CancellationToken cancel)
    {
        try
        {
            await FlushAllAsync(cancel).ConfigureAwait(false);
            return true;
        }
        catch (Exception failure) when (failure is OperationCanceledException or EngineUnavailableException)
        {
            return false;
        }
    }

    private async Task<bool> TryRescueAsync(CancellationToken cancel)
    {
        try
        {
            return await _parts.Background.RescueAsync(cancel).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private void CloseLog()
    {
        try
        {
            _parts.Wal.Close();
        }
        catch (IOException failed)
        {
            if (_parts.Failure.Set(failed)) Log.Failed(_log, failed);
        }
    }

    private string ReplayMessage()
    {
        if (_parts.Failure.Cause is { } cause) return $"the log could not be replayed: {cause.Message}";
        ReplayProgress progress = ReplayProgress;
        return $"the log is being replayed: {progress.BytesDone} of {progress.BytesTotal} bytes";
    }

    private double Elapsed() => _time.GetElapsedTime(_started).TotalSeconds;
}
