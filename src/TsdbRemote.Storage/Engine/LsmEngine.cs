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
public sealed partial class LsmEngine : IAsyncDisposable
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
    private readonly Action<CorruptFileException>? _skipDamaged;
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
        if (options.Read.OnCorruption == ReadCorruptionPolicy.Skip) _skipDamaged = _parts.Damages.AddOfSkip;
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
    /// <exception cref="EngineUnavailableException">The log is still being replayed, a block could not be opened for want of a file handle, or the engine is stopping.</exception>
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
        return new ReadSnapshot(sources, state.Dictionary, _options.Read.Memory.Bytes, () => Done(state), _parts.ReadHelpers, _skipDamaged);
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

    /// <summary>How the check that begins by itself stands.</summary>
    public VerifyStatus ScrubStatus => _parts.Scrub.Status;

    /// <summary>Ends the check that is running. Completes once it has ended, with false if none was running.</summary>
    public Task<bool> CancelVerifyAsync() => _parts.Verification.CancelAsync();

    /// <summary>Completes when the check that was begun last has ended, for tests.</summary>
    internal Task WhenVerified => _parts.Verification.WhenEnded;

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
        Task checks = Task.WhenAll(_parts.Verification.CancelAsync(), _parts.Scrub.StopAsync());
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

        // Last: one that hangs in the disk must not take the patience from the flush.
        bool isCheckStuck = !await HaveEndedAsync(checks, cancel).ConfigureAwait(false);
        if (!_threads.TrueForAll(static thread => thread.Join(JoinPatience)) || isCheckStuck)
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

    private void RefuseReads()
    {
        if (Volatile.Read(ref _stopped) != 0) throw EngineUnavailableException.Stopping();
        if (!_parts.Ready.Task.IsCompletedSuccessfully) throw new EngineUnavailableException(ReplayMessage());
        if (_parts.Modes.ReadsBlocks && _parts.Blocks.WhyShut is { } shut) throw new EngineUnavailableException(shut);
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
            Noted(() => _parts.Replay.All(FlushAll, CancellationToken.None));
            dictionary.BuildPostings(CancellationToken.None, progress: null);
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
        int workers = Math.Clamp(_parts.Replay.Left, 1, _parts.ReplayNote.IsCareful ? 1 : ReplayWorkers);
        _replayersLeft = workers + 1;
        StartThread("postings", () => Replayer(() => dictionary.BuildPostings(_parts.Stopping.Token, progress: null, IsReplaying)));
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

    /// <summary>Waits for the ends of checks; a read may hang in the disk, and what is acknowledged has to be flushed all the same.</summary>
    /// <returns>False if they had not ended when the time was over.</returns>
    private static async Task<bool> HaveEndedAsync(Task checks, CancellationToken cancel)
    {
        await checks.WaitAsync(cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return checks.IsCompleted;
    }

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
