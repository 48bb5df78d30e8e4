using System.Collections.Concurrent;
using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;

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

    // Beside the thread that a read has of its own; also on one processor, where they wait for the disk together.
    private static readonly int ReadHelperThreads = Math.Clamp(Environment.ProcessorCount - 1, 1, 8);

    // After the patience for the flush is used up: one system call on a disk that answers takes less.
    private static readonly TimeSpan JoinPatience = TimeSpan.FromSeconds(10);

    // Of files that reads found damaged. Where there are more, it is the disk, and a longer list says no more.
    private const int MaxDamagedFiles = 1000;

    private readonly StorageOptions _options;
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly IDisposable _lock;
    private readonly EngineCounters _counters = new();
    private readonly EngineFailure _failure = new();
    private readonly SegmentLedger _ledger = new();
    private readonly TimeClaims _claims = new();
    private readonly WriteScratchPool _scratches = new();
    private readonly MetricMetadata _metadata = new();
    private readonly ReaderWriterLockSlim _gate = new(LockRecursionPolicy.NoRecursion);
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ConcurrentQueue<string> _damages = new();
    private readonly ConcurrentDictionary<string, byte> _damagedFiles = new();
    private readonly ConcurrentDictionary<string, double> _openSeconds = new();
    private readonly List<Thread> _threads = [];
    private readonly WriteAheadLog _wal;
    private readonly CurrentState _state;
    private readonly BackgroundWork _background;
    private readonly DictionaryWork _dictionaries;
    private readonly BlockWork _blocks;
    private readonly CompactionWork _compaction;
    private readonly CompactionThrottles _throttles;
    private readonly WriteStall _stall;
    private readonly TableAges _ages;
    private readonly CommitLag _lag;
    private readonly WritePath _writes;
    private readonly ReplayWork _replay;
    private readonly ReplayPace _pace;
    private readonly EngineModes _modes;
    private readonly ReadHelpers? _readHelpers;
    private readonly bool _threaded;
    private readonly long _started;
    private int _reads;
    private int _replayersLeft;
    private int _stopped;

    private LsmEngine(
        StorageOptions options, IFileSystem files, TimeProvider time, ILogger log, IDisposable directoryLock, bool threaded, DictionarySettings dictionaries)
    {
        _options = options;
        _files = files;
        _paths = new DataLayout(options.DataDir);
        _time = time;
        _log = log;
        _lock = directoryLock;
        _threaded = threaded;
        _started = time.GetTimestamp();
        _modes = new EngineModes(options);
        _readHelpers = options.Read.ParallelSstableReads ? new ReadHelpers(threaded ? ReadHelperThreads : 0) : null;
        _ages = new TableAges(time);
        _lag = new CommitLag(time);
        _pace = new ReplayPace(time);
        _throttles = new CompactionThrottles(time, options.Integration.AdaptiveCompaction ? Busyness : null, Sleep);

        var store = new BlockStore(files, _paths, options.Read.Mmap, EngineSettings.MatcherCacheBytes, log);
        RecoveredDirectory recovered =
            new Recovery(files, _paths, EngineSettings.Flush(options), store, options.Wal.OnCorruption, log).Open();
        foreach (string damage in recovered.Damages) _damages.Enqueue(damage);
        var ingest = new Ingest(EngineSettings.Ingest(options), _counters);
        _wal = new WriteAheadLog(files, _paths.Wal, recovered.Manifest.DirectoryId, EngineSettings.Wal(options), time, log);
        bool logged = options.Wal.Durability != WalDurability.None;
        bool hasSegment = TryStartLog(recovered.NextSegment, logged ? recovered.NoRoom : null);
        MemTable active = NewMemTable(recovered.NextSegment, recovered.Dictionary);
        _ledger.Set(new LedgerSegment(active.Segment, NowMs, 0, 0, AcceptedEnd: null, Inherited: false, HasFile: logged && hasSegment));
        _state = new CurrentState(new EngineState(new MemTableSet(active, []), recovered.Levels, recovered.Blocks, recovered.Manifest));
        recovered.Levels.Release(); // the state holds them now
        recovered.Blocks.Release();
        recovered.Dictionary.Dispose();
        foreach (InheritedSegment segment in recovered.Segments)
            _ledger.Set(new LedgerSegment(segment.Number, NowMs, segment.Bytes, 0, segment.AcceptedEnd, Inherited: !segment.MustBeSealed, HasFile: true));

        int maxWaiting = options.Lsm.MaxImmutableMemTables;
        var segments = new LogReplay(
            files, _paths, recovered.Manifest.DirectoryId, recovered.Segments, ingest, NewReplayMemTable, _counters, options.Wal.OnCorruption, _damages, _pace, log);
        _replay = new ReplayWork(segments, recovered.Segments, recovered.NextSegment, maxWaiting, files, _state, _ledger, _counters, _damages, log);
        var ids = new TableIds(recovered.NextTableId);
        var commits = new StateCommits(files, _paths, ids, _state, _ledger, _failure, log);
        var converter = new BlockConverter(files, _paths, options.Integration.ChunkEncoding, options.BlockDuration.Milliseconds);
        var flushToBlocks = new BlockFlush(
            converter, EngineSettings.Conversion(options), _modes, () => _ready.Task.IsCompletedSuccessfully && !_failure.IsSet, time);
        var flush = new FlushWork(
            files, _paths, _state, commits, _ledger, _counters, _failure, EngineSettings.Flush(options), ids, store, flushToBlocks, time, log);
        long heldBytes = options.Lsm.WriteBufferSize.Bytes / 4; // the rest of what requests may hold as sent is for those that go on
        _stall = new WriteStall(
            () => _background!.Pressure, () => _compaction!.Measure(), options.Lsm.SstableLevels, heldBytes, time, _counters, log);
        _dictionaries = new DictionaryWork(
            files, _paths, _state, commits, dictionaries, recovered.NextDictionary, recovered.IsDictionaryDamaged, () => _ready.Task.IsCompletedSuccessfully,
            () => _background!.Wake(), _failure, _counters, time, log);
        _background = new BackgroundWork(
            _state, _ledger, _wal, flush, commits, recovered.NoRoom is null ? null : recovered.Manifest.Generation,
            EngineSettings.Rotation(options, _modes), _modes, maxWaiting, _gate, NewMemTable, HoldsClosedWindow, () => _replay.Below, Flushed, _dictionaries,
            _failure, _counters, _stall, time, log);
        _compaction = NewCompactionWork(commits, ids);
        _blocks = NewBlockWork(commits, store, converter, recovered.BlockRests);
        _writes = new WritePath(
            options, ingest, _state, _wal, _gate, _background, _stall, _lag, _failure, _counters, _metadata, _scratches, time, log, _stopping.Token);
    }

    /// <summary>Completes when reads are whole: the log is replayed and the postings are built. Faults if replay had to stop.</summary>
    public Task WhenReady => _ready.Task;

    /// <summary>Budget of decompressed request bytes in flight.</summary>
    public ByteBudget InFlight => _writes.Budget;

    /// <summary>Metadata of metric families, as far as senders have told it.</summary>
    public MetricMetadata Metadata => _metadata;

    /// <summary>How far the replay is.</summary>
    public ReplayProgress ReplayProgress => _replay.Progress;

    /// <summary>What the engine is doing.</summary>
    public EnginePhase Phase
    {
        get
        {
            if (_stopping.IsCancellationRequested) return EnginePhase.Stopping;
            if (_failure.IsSet || _wal.Failure is not null) return EnginePhase.Failed;
            return _ready.Task.IsCompletedSuccessfully ? EnginePhase.Ready : EnginePhase.Replaying;
        }
    }

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

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
    public Task<WriteReport> WriteAsync(WriteProtocol protocol, PooledBuffer body) => _writes.WriteAsync(protocol, body);

    /// <summary>Everything stored so far, for one reader, who disposes it.</summary>
    /// <exception cref="EngineUnavailableException">The log is still being replayed, or the engine is stopping.</exception>
    public ReadSnapshot AcquireSnapshot()
    {
        if (Volatile.Read(ref _stopped) != 0) throw EngineUnavailableException.Stopping();
        if (!_ready.Task.IsCompletedSuccessfully) throw new EngineUnavailableException(ReplayMessage());
        EngineCounters.Add(ref _counters.Reads, 1);
        EngineState state = _state.Acquire();
        var sources = new ReadSources(
            [.. state.MemTables.NewestFirst], _modes.ReadsTables ? state.Levels.Tables : [], _modes.ReadsBlocks ? state.Blocks.Blocks : []);
        Interlocked.Increment(ref _reads);
        return new ReadSnapshot(sources, state.Dictionary, _options.Read.Memory.Bytes, () => Done(state), _readHelpers);
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
            if (_compaction.Running.IsEmpty) break;
        }

        await CollectAsync(cancel).ConfigureAwait(false);
    }

    /// <summary>Changes what MemTables become, from now until the store is closed. What is in tables and blocks stays there and is served.</summary>
    /// <param name="path">Blocks for block-only mode: what tables hold then becomes blocks as well.</param>
    /// <returns>False if the options rule it out (<c>integration.hybrid_mode: false</c>).</returns>
    /// <exception cref="EngineUnavailableException">The engine is stopping.</exception>
    public bool TrySwitchWritePath(WritePathChoice path)
    {
        if (Volatile.Read(ref _stopped) != 0) throw EngineUnavailableException.Stopping();
        if (!_modes.TrySwitch(path)) return false;
        Log.WritePathSwitched(_log, path);
        _background.Wake();
        _compaction.Wake();
        _blocks.Wake();
        return true;
    }

    /// <summary>Only the merges of tables, for tests without threads.</summary>
    internal Task CompactTablesAsync(CancellationToken cancel) => _compaction.CompactAsync(cancel);

    /// <summary>The same without the flush, for tests without threads, which flush by steps.</summary>
    internal Task CompactBlocksAsync(CancellationToken cancel) => _blocks.CompactAsync(cancel);

    /// <summary>Only the look whether the dictionary is to be collected, for tests without threads.</summary>
    internal Task CollectAsync(CancellationToken cancel) => _dictionaries.CollectAsync(cancel);

    /// <summary>The engine's figures now.</summary>
    /// <exception cref="EngineUnavailableException">The engine has stopped.</exception>
    public EngineStats Stats() => EngineStatsReader.Read(
        _counters, Phase, _failure, [.. _damages], _state, _wal, _background.UnflushedLogBytes, _openSeconds, InFlight.Used, _metadata.Count,
        _compaction, _blocks.RunningCompaction, Busyness(), _stall, _modes, _options.Lsm.SstableLevels, _pace, _background.IsRescued);

    /// <summary>The tables of each window by level, oldest window first.</summary>
    /// <exception cref="EngineUnavailableException">The engine has stopped.</exception>
    public ImmutableArray<WindowStats> Windows()
    {
        EngineState state = _state.Acquire();
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
        string file = (damage as CorruptFileException)?.Path ?? damage.Message;
        if (_damagedFiles.Count < MaxDamagedFiles && _damagedFiles.TryAdd(file, 0)) Damaged($"{damage.Message}; found by a read, which failed");
    }

    /// <summary>Refuses new writes, flushes what is in memory and closes the log.</summary>
    /// <param name="cancel">Ends the flush early: what is not flushed then stays in the log, as safe as after a kill.</param>
    public async Task StopAsync(CancellationToken cancel)
    {
        if (Interlocked.Exchange(ref _stopped, 1) != 0) return;
        bool replayed = _ready.Task.IsCompletedSuccessfully;
        await _stopping.CancelAsync().ConfigureAwait(false);
        while (_writes.InFlight > 0 && !cancel.IsCancellationRequested)
            await Task.Delay(TimeSpan.FromMilliseconds(5), _time, CancellationToken.None).ConfigureAwait(false);
        _blocks.Stop();
        _compaction.Stop();
        _dictionaries.Stop();
        _readHelpers?.Stop();
        _background.Hurry();
        bool flushed = replayed && _threaded && (await TryFlushAsync(cancel).ConfigureAwait(false) || await TryRescueAsync(cancel).ConfigureAwait(false));
        _background.Stop();
        CloseLog();
        if (!_threads.TrueForAll(static thread => thread.Join(JoinPatience)))
        {
            // A thread is stuck in the disk. What it uses must not be freed under it; the process ends as it would by a kill, which loses nothing.
            Log.StopStuck(_log);
            return;
        }

        _state.Peek.MemTables.Active.Release();
        foreach (MemTable waiting in _state.Peek.MemTables.Waiting) waiting.Release();
        _state.Close();
        _wal.Dispose();
        _background.Dispose();
        _blocks.Dispose();
        _compaction.Dispose();
        _dictionaries.Dispose();
        _replay.Dispose();
        _readHelpers?.Dispose();
        _scratches.Dispose();
        _lock.Dispose();
        Log.Stopped(_log, flushed);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(_options.ShutdownFlushTimeout.ToTimeSpan(), _time);
        await StopAsync(patience.Token).ConfigureAwait(false);
        _stopping.Dispose();
    }

    /// <summary>One round of background work and of the log, for tests without threads.</summary>
    /// <param name="flush">False to switch the MemTable only, if it is due or a flush was asked for.</param>
    internal bool Step(bool flush = true)
    {
        while (_wal.DrainOnce())
        {
        }

        return _background.Step(flush);
    }

    /// <summary>One merge of tables, for tests without threads.</summary>
    internal bool StepCompaction() => _compaction.Step();

    /// <summary>What is served now, for tests.</summary>
    internal EngineState StateNow => _state.Peek;

    /// <summary>One round of work on blocks, for tests without threads.</summary>
    internal bool StepBlocks() => _blocks.Step();

    /// <summary>One look whether the dictionary is to be collected, for tests without threads; <see cref="Step"/> then completes what is prepared.</summary>
    internal bool StepDictionary() => _dictionaries.Step();

    private BlockWork NewBlockWork(StateCommits commits, BlockStore store, BlockConverter converter, IEnumerable<string> rests)
    {
        var clock = new TrustedClock(_time);
        OtherBytes Others(EngineState state) => new(
            state.Levels.Bytes, _background.UnflushedLogBytes, store.QuarantineBytes, store.UnservedBytes(state.Manifest, state.Blocks));
        var upkeep = new BlockUpkeep(_state, commits, store, EngineSettings.Retention(_options), clock, Others, rests, _counters, Damaged, _log);
        var conversion = new ConversionWork(
            _files, _paths, _state, commits, store, converter, EngineSettings.Conversion(_options), _modes, _claims, _throttles, _ages, _counters, Damaged, _time, _log);
        BlockCompactionWork? compaction = _options.Integration.BlockCompaction
            ? new BlockCompactionWork(
                _files, _paths, _state, commits, store, upkeep, new BlockCompactor(_files, _paths, _options.Integration.ChunkEncoding),
                EngineSettings.BlockCompaction(_options), _claims, _throttles, conversion.Waiting, _counters, Damaged, _time, _log)
            : null;
        return new BlockWork(upkeep, conversion, compaction, () => _ready.Task.IsCompletedSuccessfully, _failure, _counters, _time, _log);
    }

    private CompactionWork NewCompactionWork(StateCommits commits, TableIds ids)
    {
        FlushSettings tables = EngineSettings.Flush(_options);
        CompactionSettings settings = EngineSettings.Compaction(_options);
        var compactor = new TableCompactor(
            _files, _paths, new CompactionOutput(_state.Peek.Manifest.DirectoryId, tables.BloomBitsPerKey, settings.TargetFileBytes, settings.MaxFileBytes));
        var merge = new MergeWork(_files, _paths, commits, compactor, tables, ids, _ages, _counters, Damaged, _log);
        return new CompactionWork(
            _files, _paths, _state, merge, settings, _claims, _ages, IsLeftToConversion, _throttles, _stall.Refresh,
            () => _ready.Task.IsCompletedSuccessfully, _failure, _counters, Damaged, _time, _log);
    }

    /// <summary>
    /// A closed window becomes a block of all its tables soon: a merge before would write its bytes once more for nothing. If it does not, because some of
    /// it keeps arriving or cannot be read, its tables are merged once they are so many that its writers would be held back. In block-only mode that goes for
    /// every window.
    /// </summary>
    private bool IsLeftToConversion(EngineState state, TimeRange window)
    {
        bool isSoon = _modes.IsBlockOnly
            || (_modes.ConvertsClosed && EngineSettings.Conversion(_options).IsClosed(window, NowMs) && !state.Blocks.IsConverted(window));
        return isSoon && state.Levels.At(0, window.MinMs).Count() < StallRules.SlowTables;
    }

    private PaceSignals Busyness() => new(
        Environment.ProcessorCount, _writes.InFlight, Volatile.Read(ref _reads), _wal.WaitingRecords, _state.Peek.MemTables.Waiting.Length,
        _options.Lsm.MaxImmutableMemTables, _lag.Mean, _stall.IsCompactionBehind);

    /// <summary>Between two slices of a job. Without threads of its own the engine has nobody to make way for, and a clock that a test holds would never ring.</summary>
    private void Sleep(TimeSpan pause, CancellationToken cancel)
    {
        if (_threaded) Task.Delay(pause, _time, cancel).GetAwaiter().GetResult();
    }

    private void Flushed(long segment)
    {
        _replay.Flushed(segment);
        _compaction.Wake();
        if (_modes.IsBlockOnly) _blocks.Wake();
    }

    private void Done(EngineState state)
    {
        Interlocked.Decrement(ref _reads);
        state.Release();
    }

    private bool HoldsClosedWindow(MemTable memTable) =>
        EngineSettings.Conversion(_options).HoldsClosed(new TimeRange(memTable.MinTimeMs, memTable.MaxTimeMs), NowMs);

    private void Damaged(string what)
    {
        _damages.Enqueue(what);
        Log.Damage(_log, what);
    }

    private void Begin()
    {
        SeriesDictionary dictionary = _state.Peek.Dictionary; // stays until replay has ended
        _openSeconds["writes_accepted"] = Elapsed();
        Log.Opened(_log, _paths.Root, _state.Peek.Levels.Tables.Length, dictionary.Count, _replay.Left, Elapsed());
        if (!_threaded)
        {
            dictionary.BuildPostings(CancellationToken.None, progress: null);
            _replay.All(FlushAll, CancellationToken.None);
            BecomeReady();
            return;
        }

        // Also where callers drain for themselves: idle frames and interval syncs have no caller.
        StartThread("log", _wal.Run);
        StartThread("flush", _background.Run);
        StartThread("blocks", _blocks.Run);
        for (int i = 0; i < EngineSettings.CompactionWorkers(_options, Environment.ProcessorCount); i++) StartThread($"merge {i}", _compaction.Run);
        StartThread("dictionary", _dictionaries.Run);
        for (int i = 0; i < _readHelpers?.Threads; i++) StartThread($"read {i}", _readHelpers.Run);
        int workers = Math.Clamp(_replay.Left, 1, ReplayWorkers);
        _replayersLeft = workers + 1;
        StartThread("postings", () => Replayer(() => dictionary.BuildPostings(_stopping.Token, progress: null)));
        for (int i = 0; i < workers; i++) StartThread($"replay {i}", () => Replayer(() => _replay.All(_background.Wake, _stopping.Token)));
    }

    private void FlushAll()
    {
        while (_background.Step())
        {
        }
    }

    /// <summary>A full disk is no reason not to serve reads: the log then waits for its first segment as it otherwise does for its next.</summary>
    private bool TryStartLog(long segment, DiskException? full)
    {
        try
        {
            if (full is null) _wal.Start(segment);
        }
        catch (DiskException failure) when (LogFullException.IsMeantBy(failure))
        {
            full = failure;
        }

        if (full is null) return true;
        Log.NoRoomForLog(_log, full);
        _wal.StartWithoutRoom(segment, full);
        return false;
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
            _ready.TrySetCanceled();
        }
        catch (Exception failure)
        {
            Log.ReplayFailed(_log, failure);
            _damages.Enqueue(failure.Message);
            _failure.Set(failure);
            _ready.TrySetException(failure);
        }
    }

    private void BecomeReady()
    {
        _openSeconds["ready"] = Elapsed();
        if (_pace.BytesPerSecond is { } pace) _background.HoldLogTo(EngineSettings.LogBytes(_options, pace));
        _ready.TrySetResult();
        Log.Ready(_log, Elapsed());
    }

    private Task FlushAllAsync(CancellationToken cancel) =>
        _failure.IsSet ? Task.FromException(new EngineUnavailableException(_failure.Message)) : _background.FlushAsync(cancel);

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
            return await _background.RescueAsync(cancel).ConfigureAwait(false);
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
            _wal.Close();
        }
        catch (IOException failed)
        {
            if (_failure.Set(failed)) Log.Failed(_log, failed);
        }
    }

    private string ReplayMessage()
    {
        if (_failure.Cause is { } cause) return $"the log could not be replayed: {cause.Message}";
        ReplayProgress progress = ReplayProgress;
        return $"the log is being replayed: {progress.BytesDone} of {progress.BytesTotal} bytes";
    }

    private double Elapsed() => _time.GetElapsedTime(_started).TotalSeconds;

    private MemTable NewMemTable(long segment, SeriesDictionary dictionary) => new(
        new MemTableOptions(segment, _options.BlockDuration.Milliseconds, _options.Lsm.Stripes, _options.Conflicts == ConflictPolicy.Reject), dictionary);

    private MemTable NewReplayMemTable(long segment) => new(
        new MemTableOptions(segment, _options.BlockDuration.Milliseconds, _options.Lsm.Stripes, RejectConflicts: false), _state.Peek.Dictionary);
}
