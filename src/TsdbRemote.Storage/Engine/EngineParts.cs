using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>The parts of an engine, and which of them knows which: made when a directory is opened, freed when it is closed.</summary>
/// <remarks>
/// What they do for each other goes through what they are given here, so this is the place to look who wakes whom, and who asks whom.
/// Not here: threads, the order of opening and stopping (<see cref="LsmEngine"/>).
/// </remarks>
internal sealed class EngineParts : IDisposable
{
    // Beside the thread that a read has of its own; also on one processor, where they wait for the disk together.
    private static readonly int ReadHelperThreads = Math.Clamp(Environment.ProcessorCount - 1, 1, 8);

    private readonly StorageOptions _options;
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly bool _threaded;
    private readonly SegmentLedger _ledger = new();
    private readonly TimeClaims _claims = new();
    private readonly WriteScratchPool _scratches = new();
    private readonly ReaderWriterLockSlim _gate = new(LockRecursionPolicy.NoRecursion);
    private readonly CompactionThrottles _throttles;
    private readonly TableAges _ages;
    private readonly CommitLag _lag;
    private int _reads;

    /// <summary>Opens the directory, which the caller has locked, and makes all parts. None of them does anything yet.</summary>
    /// <exception cref="DataDirectoryException">The directory cannot be opened as it stands.</exception>
    public EngineParts(StorageOptions options, IFileSystem files, TimeProvider time, ILogger log, bool threaded, DictionarySettings dictionaries)
    {
        _options = options;
        _files = files;
        _paths = new DataLayout(options.DataDir);
        _time = time;
        _log = log;
        Damages = new EngineDamages(log);
        _threaded = threaded;
        Modes = new EngineModes(options);
        ReadHelpers = options.Read.ParallelSstableReads ? new ReadHelpers(threaded ? ReadHelperThreads : 0) : null;
        _ages = new TableAges(time);
        _lag = new CommitLag(time);
        Pace = new ReplayPace(time);
        _throttles = new CompactionThrottles(time, options.Integration.AdaptiveCompaction ? Busyness : null, Sleep);

        var store = new BlockStore(files, _paths, options.Read.Mmap, EngineSettings.MatcherCacheBytes, log);
        RecoveredDirectory recovered =
            new Recovery(files, _paths, EngineSettings.Flush(options), store, options.Wal.OnCorruption, AcceptedLosses.Parse(options.AcceptDataLoss), log).Open();
        ReplayNote = ReplayNote.Begin(files, _paths, recovered.Manifest.DirectoryId, !recovered.Segments.IsEmpty, WalOptions.RecordsOf(options.Wal.QuarantineRecord) ?? [], log);
        foreach (string damage in recovered.Damages) Damages.Found.Enqueue(damage);
        Exemplars = new ExemplarRing(options.Exemplars.Memory.Bytes);
        Metadata.TrustFrom((ulong)recovered.NextSegment << SourceRank.IndexBits);
        var sideFiles = new SideFiles(files, _paths, recovered.Manifest.DirectoryId, Metadata, Exemplars, Damages);
        sideFiles.Load();
        if (!recovered.Segments.IsEmpty) recovered.Dictionary.DeferPostings(); // so that replay need not build them
        var ingest = new Ingest(EngineSettings.Ingest(options), Metadata, Exemplars, Counters);
        Wal = new WriteAheadLog(files, _paths.Wal, recovered.Manifest.DirectoryId, EngineSettings.Wal(options), time, log);
        bool logged = options.Wal.Durability != WalDurability.None;
        bool hasSegment = TryStartLog(recovered.NextSegment, logged ? recovered.NoRoom : null);
        MemTable active = NewMemTable(recovered.NextSegment, recovered.Dictionary);
        _ledger.Set(new LedgerSegment(active.Segment, NowMs, 0, 0, AcceptedEnd: null, Inherited: false, HasFile: logged && hasSegment));
        State = new CurrentState(new EngineState(new MemTableSet(active, []), recovered.Levels, recovered.Blocks, recovered.Manifest));
        recovered.Levels.Release(); // the state holds them now
        recovered.Blocks.Release();
        recovered.Dictionary.Dispose();
        foreach (InheritedSegment segment in recovered.Segments)
            _ledger.Set(new LedgerSegment(segment.Number, NowMs, segment.Bytes, 0, segment.AcceptedEnd, Inherited: !segment.MustBeSealed, HasFile: true));

        int maxWaiting = options.Lsm.MaxImmutableMemTables;
        var segments = new LogReplay(
            files, _paths, recovered.Manifest.DirectoryId, recovered.Segments, ingest, NewReplayMemTable, Counters, options.Wal.OnCorruption,
            Damages.Found, Pace, ReplayNote.IsCareful ? null : ReadHelpers, ReplayNote, log);
        Replay = new ReplayWork(segments, recovered.Segments, recovered.NextSegment, maxWaiting, files, State, _ledger, Counters, Damages.Found, log);
        var ids = new TableIds(recovered.NextTableId);
        var commits = new StateCommits(files, _paths, ids, State, _ledger, Failure, log);
        var converter = new BlockConverter(files, _paths, options.Integration.ChunkEncoding, options.BlockDuration.Milliseconds);
        var flushToBlocks = new BlockFlush(
            converter, EngineSettings.Conversion(options), Modes, () => Ready.Task.IsCompletedSuccessfully && !Failure.IsSet, time);
        var flush = new FlushWork(
            files, _paths, State, commits, _ledger, Counters, Failure, EngineSettings.Flush(options), ids, store, flushToBlocks, sideFiles, time, log);
        long heldBytes = options.Lsm.WriteBufferSize.Bytes / 4; // the rest of what requests may hold as sent is for those that go on
        Stall = new WriteStall(
            () => Background!.Pressure, () => Compaction!.Measure(), options.Lsm.SstableLevels, heldBytes, time, Counters, log);
        Dictionaries = new DictionaryWork(
            files, _paths, State, commits, dictionaries, options.BlockDuration.Milliseconds, recovered.NextDictionary, recovered.IsDictionaryDamaged,
            () => Ready.Task.IsCompletedSuccessfully, () => Background!.Wake(), Failure, Counters, time, log);
        Deletes = new DeleteWork(State, commits, () => Background!.Wake(), Failure, Counters, log);
        Background = new BackgroundWork(
            State, _ledger, Wal, flush, commits, recovered.NoRoom is null ? null : recovered.Manifest.Generation,
            EngineSettings.Rotation(options, Modes), Modes, maxWaiting, _gate, NewMemTable, HoldsClosedWindow, () => Replay.Below, Flushed, Dictionaries, Deletes,
            Failure, Counters, Stall, time, log);
        Snapshots = new SnapshotWork(files, _paths, State, time, log);
        VerifyWork NewVerifyWork() => new(files, _paths, State, commits.Settled, () => Wal.WrittenSegment, Damages, time, log, keepsCache: !options.Read.Mmap);
        Verification = NewVerifyWork();
        var scrub = options.Scrub with { Interval = threaded ? options.Scrub.Interval : null };
        Scrub = new ScrubWork(NewVerifyWork(), scrub, () => Ready.Task.IsCompletedSuccessfully, time, Stopping.Token);
        Compaction = NewCompactionWork(commits, ids);
        Blocks = NewBlockWork(commits, store, converter, recovered.BlockRests);
        Writes = new WritePath(
            options, ingest, State, Wal, _gate, Background, Stall, _lag, Failure, Counters, _scratches, time, log, Stopping.Token);
    }

    /// <summary>Counters of everything.</summary>
    public EngineCounters Counters { get; } = new();

    /// <summary>What made the store read-only, if anything has.</summary>
    public EngineFailure Failure { get; } = new();

    /// <summary>What was found damaged.</summary>
    public EngineDamages Damages { get; }

    /// <summary>Metadata of metric families.</summary>
    public MetricMetadata Metadata { get; } = new();

    /// <summary>Exemplars.</summary>
    public ExemplarRing Exemplars { get; }

    /// <summary>Cancelled at the stop.</summary>
    public CancellationTokenSource Stopping { get; } = new();

    /// <summary>Completes when reads are whole.</summary>
    public TaskCompletionSource Ready { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Which paths writes and reads take.</summary>
    public EngineModes Modes { get; }

    /// <summary>Threads that all reads share; null if each read is to work alone.</summary>
    public ReadHelpers? ReadHelpers { get; }

    /// <summary>Measures the replay.</summary>
    public ReplayPace Pace { get; }

    /// <summary>The log.</summary>
    public WriteAheadLog Wal { get; }

    /// <summary>What is served.</summary>
    public CurrentState State { get; }

    /// <summary>Replays what the last process left in the log.</summary>
    public ReplayWork Replay { get; }

    /// <summary>Remembers over starts where the replay ended.</summary>
    public ReplayNote ReplayNote { get; }

    /// <summary>Holds writers back.</summary>
    public WriteStall Stall { get; }

    /// <summary>Collects the dictionary.</summary>
    public DictionaryWork Dictionaries { get; }

    /// <summary>Switches and flushes MemTables.</summary>
    public BackgroundWork Background { get; }

    /// <summary>Takes deletes.</summary>
    public DeleteWork Deletes { get; }

    /// <summary>What is to be taken out of all files.</summary>
    public CleaningGoal Cleaning { get; } = new();

    /// <summary>Makes snapshots.</summary>
    public SnapshotWork Snapshots { get; }

    /// <summary>Checks the directory.</summary>
    public VerifyWork Verification { get; }

    /// <summary>Checks it by itself.</summary>
    public ScrubWork Scrub { get; }

    /// <summary>Merges tables.</summary>
    public CompactionWork Compaction { get; }

    /// <summary>Adopts, deletes, converts and compacts blocks.</summary>
    public BlockWork Blocks { get; }

    /// <summary>Takes writes.</summary>
    public WritePath Writes { get; }

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Why something that has to be written waits for room on the disk; null if nothing does.</summary>
    public string? NoRoom => Background.NoRoom ?? Compaction.NoRoom ?? Blocks.NoRoom;

    /// <summary>A read has begun.</summary>
    public void ReadBegan() => Interlocked.Increment(ref _reads);

    /// <summary>A read has ended.</summary>
    public void ReadEnded() => Interlocked.Decrement(ref _reads);

    /// <inheritdoc/>
    public void Dispose()
    {
        State.Peek.MemTables.Active.Release();
        foreach (MemTable waiting in State.Peek.MemTables.Waiting) waiting.Release();
        State.Close();
        Wal.Dispose();
        Background.Dispose();
        Blocks.Dispose();
        Compaction.Dispose();
        Dictionaries.Dispose();
        Replay.Dispose();
        ReplayNote.Dispose();
        ReadHelpers?.Dispose();
        Verification.Dispose();
        Scrub.Dispose();
        _scratches.Dispose();
        Stopping.Dispose();
    }

    private BlockWork NewBlockWork(StateCommits commits, BlockStore store, BlockConverter converter, IEnumerable<string> rests)
    {
        var clock = new TrustedClock(_time);
        OtherBytes Others(EngineState state) => new(
            state.Levels.Bytes, Background.UnflushedLogBytes, store.QuarantineBytes, store.UnservedBytes(state.Manifest, state.Blocks));
        var upkeep = new BlockUpkeep(State, commits, store, EngineSettings.Retention(_options), clock, Others, rests, Counters, Damages.Add, _log);
        var conversion = new ConversionWork(
            _files, _paths, State, commits, store, converter, EngineSettings.Conversion(_options), Modes, _claims, _throttles, _ages, Counters, Damages.Add, _time, _log);
        var compaction = new BlockCompactionWork(
            _files, _paths, State, commits, store, upkeep, new BlockCompactor(_files, _paths, _options.Integration.ChunkEncoding),
            EngineSettings.BlockCompaction(_options), _claims, _throttles, conversion.Waiting, Counters, Damages.Add, _time, _log);
        return new BlockWork(
            upkeep, conversion, compaction, _options.Integration.BlockCompaction, Cleaning, () => Ready.Task.IsCompletedSuccessfully, Failure, Counters, _time, _log);
    }

    private CompactionWork NewCompactionWork(StateCommits commits, TableIds ids)
    {
        FlushSettings tables = EngineSettings.Flush(_options);
        CompactionSettings settings = EngineSettings.Compaction(_options);
        var compactor = new TableCompactor(
            _files, _paths, new CompactionOutput(State.Peek.Manifest.DirectoryId, tables.BloomBitsPerKey, settings.TargetFileBytes, settings.MaxFileBytes));
        var merge = new MergeWork(_files, _paths, commits, compactor, tables, ids, _ages, Counters, Damages.Add, _log);
        return new CompactionWork(
            _files, _paths, State, merge, settings, _claims, _ages, IsLeftToConversion, Cleaning, _throttles, Stall.Refresh,
            () => Ready.Task.IsCompletedSuccessfully, Failure, Counters, Damages.Add, _time, _log);
    }

    /// <summary>
    /// A closed window becomes a block of all its tables soon: a merge before would write its bytes once more for nothing. If it does not, because some of
    /// it keeps arriving or cannot be read, its tables are merged once they are so many that its writers would be held back. In block-only mode that goes for
    /// every window.
    /// </summary>
    private bool IsLeftToConversion(EngineState state, TimeRange window)
    {
        bool isSoon = Modes.IsBlockOnly
            || (Modes.ConvertsClosed && EngineSettings.Conversion(_options).IsClosed(window, NowMs) && !state.Blocks.IsConverted(window));
        return isSoon && state.Levels.At(0, window.MinMs).Count() < StallRules.SlowTables;
    }

    /// <summary>What the pace of background work follows.</summary>
    public PaceSignals Busyness() => new(
        Environment.ProcessorCount, Writes.InFlight, Volatile.Read(ref _reads), Wal.WaitingRecords, State.Peek.MemTables.Waiting.Length,
        _options.Lsm.MaxImmutableMemTables, _lag.Mean, Stall.IsCompactionBehind);

    /// <summary>Between two slices of a job. Without threads of its own the engine has nobody to make way for, and a clock that a test holds would never ring.</summary>
    private void Sleep(TimeSpan pause, CancellationToken cancel)
    {
        if (_threaded) Task.Delay(pause, _time, cancel).GetAwaiter().GetResult();
    }

    private void Flushed(long segment)
    {
        Replay.Flushed(segment);
        Compaction.Wake();
        if (Modes.IsBlockOnly) Blocks.Wake();
    }

    private bool HoldsClosedWindow(MemTable memTable) =>
        EngineSettings.Conversion(_options).HoldsClosed(new TimeRange(memTable.MinTimeMs, memTable.MaxTimeMs), NowMs);

    /// <summary>A full disk is no reason not to serve reads: the log then waits for its first segment as it otherwise does for its next.</summary>
    private bool TryStartLog(long segment, DiskException? full)
    {
        try
        {
            if (full is null) Wal.Start(segment);
        }
        catch (DiskException failure) when (LogFullException.IsMeantBy(failure))
        {
            full = failure;
        }

        if (full is null) return true;
        Log.NoRoomForLog(_log, full);
        Wal.StartWithoutRoom(segment, full);
        return false;
    }

    private MemTable NewMemTable(long segment, SeriesDictionary dictionary) => new(
        new MemTableOptions(segment, _options.BlockDuration.Milliseconds, _options.Lsm.Stripes, _options.Conflicts == ConflictPolicy.Reject), dictionary);

    private MemTable NewReplayMemTable(long segment) => new(
        new MemTableOptions(segment, _options.BlockDuration.Milliseconds, _options.Lsm.Stripes, RejectConflicts: false), State.Peek.Dictionary);
}
