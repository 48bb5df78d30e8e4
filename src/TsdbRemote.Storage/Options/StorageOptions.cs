namespace TsdbRemote.Storage.Options;

/// <summary>Which value stays when one series has two values at one time.</summary>
public enum ConflictPolicy
{
    /// <summary>The later arrival; the conflict is counted.</summary>
    NewestWins,

    /// <summary>
    /// The earlier one, as long as it is in a MemTable that this process wrote; the later is refused with a 400, as Prometheus does. What is in tables and
    /// blocks, or was replayed at the start, is not looked at: there the later arrival wins.
    /// </summary>
    Reject,
}

/// <summary>What a read does that needs a damaged chunk.</summary>
public enum ReadCorruptionPolicy
{
    /// <summary>It fails, by the name of the file.</summary>
    Fail,

    /// <summary>It leaves the chunk out; the damage is named in the log and in <c>damages</c>, once a file.</summary>
    Skip,
}

/// <summary>All that the engine can be told. Frozen once it is open.</summary>
/// <remarks>Keys in configuration: this record is <c>storage</c>. <c>config/tsdb-remote.yaml</c> explains each with its price.</remarks>
public sealed record StorageOptions : IOptionsSection
{
    /// <summary>Directory of all data; relative to the working directory. Created when absent; one process at a time.</summary>
    public string DataDir { get; init; } = "data";

    /// <summary>True: <see cref="DataDir"/> may be on NFS, SMB, FUSE or 9P, whose locks and syncs promise less than an acknowledgement does. False: such a start is refused.</summary>
    public bool AllowNetworkDisk { get; init; }

    /// <summary>
    /// Files of the log and tables that may be missing although the manifest names them, relative to <see cref="DataDir"/>, separated by commas: the start goes on without them, and what they
    /// held is lost for good. Null: none may.
    /// </summary>
    [NullWord("none")]
    public string? AcceptDataLoss { get; init; }

    /// <summary>Length of a window of time, aligned to the epoch. A chunk never crosses one before blocks are compacted. Written into the manifest: a change is refused.</summary>
    public Duration BlockDuration { get; init; } = Duration.Hours(2);

    /// <summary>How far behind a series' newest sample a sample may be. Null: any age.</summary>
    [NullWord("unlimited")]
    public Duration? OutOfOrderWindow { get; init; }

    /// <summary>How far ahead of the receive time a sample may be; later ones are refused with a 400.</summary>
    public Duration MaxFuture { get; init; } = Duration.Minutes(10);

    /// <summary>What happens to a second value at the same time.</summary>
    public ConflictPolicy Conflicts { get; init; } = ConflictPolicy.NewestWins;

    /// <summary>How long a clean stop may flush. A stop that runs out of time is as safe as a kill: the log holds the rest.</summary>
    public Duration ShutdownFlushTimeout { get; init; } = Duration.Seconds(30);

    /// <summary>The log-structured merge tree.</summary>
    public LsmOptions Lsm { get; init; } = new();

    /// <summary>The write-ahead log.</summary>
    public WalOptions Wal { get; init; } = new();

    /// <summary>Merging of tables.</summary>
    public CompactionOptions Compaction { get; init; } = new();

    /// <summary>Reads.</summary>
    public ReadOptions Read { get; init; } = new();

    /// <summary>The check that begins by itself.</summary>
    public ScrubOptions Scrub { get; init; } = new();

    /// <summary>Exemplars.</summary>
    public ExemplarOptions Exemplars { get; init; } = new();

    /// <summary>How long data stays.</summary>
    public RetentionOptions Retention { get; init; } = new();

    /// <summary>Conversion to Prometheus blocks.</summary>
    public IntegrationOptions Integration { get; init; } = new();

    /// <summary>What a request or a series may ask for at most.</summary>
    public LimitsOptions Limits { get; init; } = new();

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. DataDirProblems(path),
        .. OptionProblem.Range(path, "block_duration", BlockDuration, Duration.Minutes(1), Duration.Hours(31 * 24)),
        .. OptionProblem.Range(path, "max_future", MaxFuture, Duration.Seconds(0), Duration.Parse("100y")),
        .. OptionProblem.Range(path, "shutdown_flush_timeout", ShutdownFlushTimeout, Duration.Seconds(0), Duration.Hours(24)),
        .. Lsm.Problems($"{path}.lsm"),
        .. Wal.Problems($"{path}.wal"),
        .. Compaction.Problems($"{path}.compaction"),
        .. Read.Problems($"{path}.read"),
        .. Scrub.Problems($"{path}.scrub"),
        .. Exemplars.Problems($"{path}.exemplars"),
        .. Retention.Problems($"{path}.retention"),
        .. Integration.Problems($"{path}.integration"),
        .. ModeProblems(path),
        .. Limits.Problems($"{path}.limits"),
    ];

    private IEnumerable<string> ModeProblems(string path)
    {
        if (!Lsm.Enabled && !Integration.HybridMode) yield return $"{path}.lsm.enabled: false given, true allowed with integration.hybrid_mode false";
    }

    private IEnumerable<string> DataDirProblems(string path)
    {
        if (string.IsNullOrWhiteSpace(DataDir) || DataDir.Contains('\0', StringComparison.Ordinal))
            yield return $"{path}.data_dir: \"{DataDir}\" given, the name of a directory allowed";
    }
}

/// <summary>MemTables and tables. Keys: <c>storage.lsm</c>.</summary>
public sealed record LsmOptions : IOptionsSection
{
    /// <summary>Most levels that <see cref="SstableLevels"/> may ask for.</summary>
    public const int MaxLevels = 16;

    /// <summary>False: block-only mode, as <see cref="IntegrationOptions.WritePath"/> has it, whatever that says.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Bytes of chunks and per-series state in one MemTable. Null: grows with the active series, from 64 MB to 1/16 of memory.</summary>
    [OptionKey("memtable_size"), NullWord("auto")]
    public ByteSize? MemTableSize { get; init; }

    /// <summary>Fill of the MemTable, as a part of its size, that starts a flush. The rest is room for what arrives while the flush is prepared.</summary>
    [OptionKey("memtable_flush_threshold")]
    public double MemTableFlushThreshold { get; init; } = 0.8;

    /// <summary>MemTables that may wait for their flush. Beyond them writers wait, then get a 503.</summary>
    [OptionKey("max_immutable_memtables")]
    public int MaxImmutableMemTables { get; init; } = 3;

    /// <summary>Locks of a MemTable; a power of two. More: fewer waits among many cores, a few KB each.</summary>
    public int Stripes { get; init; } = 64;

    /// <summary>Levels of tables, level 0 counted. Fewer: the deepest is rewritten more often, and reads look into fewer tables.</summary>
    public int SstableLevels { get; init; } = 7;

    /// <summary>How tables are chosen for a merge.</summary>
    public CompactionStrategy CompactionStrategy { get; init; } = CompactionStrategy.SizeTiered;

    /// <summary>Bits a series in a table's bloom filter. More: fewer useless look-ups in narrow reads, memory and disk.</summary>
    public int BloomFilterBits { get; init; } = 10;

    /// <summary>Bytes that requests in flight may hold: once for bodies as sent, once for decompressed ones. Beyond them requests wait their turn, then get a 503.</summary>
    public ByteSize WriteBufferSize { get; init; } = ByteSize.Mebibytes(32);

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path)
    {
        List<string> problems =
        [
            .. OptionProblem.Range(path, "max_immutable_memtables", MaxImmutableMemTables, 1, 64),
            .. OptionProblem.Range(path, "stripes", Stripes, 1, 1024),
            .. OptionProblem.Range(path, "sstable_levels", SstableLevels, 2, MaxLevels),
            .. OptionProblem.Range(path, "bloom_filter_bits", BloomFilterBits, 1, 32),
            .. OptionProblem.Range(path, "write_buffer_size", WriteBufferSize, ByteSize.Mebibytes(1), ByteSize.Gibibytes(64)),
        ];
        if (MemTableSize is { } size) problems.AddRange(OptionProblem.Range(path, "memtable_size", size, ByteSize.Kibibytes(64), ByteSize.Gibibytes(64)));
        if (!(MemTableFlushThreshold is > 0 and <= 1))
            problems.Add(FormattableString.Invariant($"{path}.memtable_flush_threshold: {MemTableFlushThreshold} given, above 0 and up to 1 allowed"));
        if (!int.IsPow2(Stripes)) problems.Add(FormattableString.Invariant($"{path}.stripes: {Stripes} given, a power of two allowed"));
        return problems;
    }
}

/// <summary>Reads. Keys: <c>storage.read</c>.</summary>
public sealed record ReadOptions : IOptionsSection
{
    /// <summary>Most bytes of one frame of a streamed answer, and the unit in which tables are read where they are not mapped.</summary>
    public ByteSize ReadBufferSize { get; init; } = ByteSize.Mebibytes(1);

    /// <summary>True: sparse index and bloom filter of each table stay in memory. False: they are read for each use.</summary>
    public bool CacheSstableMetadata { get; init; } = true;

    /// <summary>True: the tables of one read are read side by side, by threads that all reads share. False: one after the other.</summary>
    public bool ParallelSstableReads { get; init; } = true;

    /// <summary>Reads at one time. More wait up to 30 s for a slot, then get a 503.</summary>
    public int MaxConcurrent { get; init; } = 10;

    /// <summary>Samples of one query of a SAMPLES read; beyond them the read gets a 400. 0: no limit. Streamed reads have none: they take no memory for samples, and <c>http.read_timeout</c> bounds them.</summary>
    public long MaxSamples { get; init; } = 50_000_000;

    /// <summary>
    /// Series of one read, of all its queries together, or of one answer about series; beyond them 422, or a cut connection where a streamed answer had begun. 0: no limit.
    /// </summary>
    public long MaxSeries { get; init; } = 5_000_000;

    /// <summary>Bytes of one SAMPLES answer, or of one about labels or series, which has to be whole before its first byte can be sent; beyond them the read gets a 422.</summary>
    public ByteSize Memory { get; init; } = ByteSize.Mebibytes(256);

    /// <summary>What a read does that needs a chunk whose checksum differs. Damage of an index fails it in any case: what it would have named is not known.</summary>
    public ReadCorruptionPolicy OnCorruption { get; init; } = ReadCorruptionPolicy.Fail;

    /// <summary>True: tables are mapped into memory. False: they are read with pread, which counts against the process, not the page cache.</summary>
    public bool Mmap { get; init; } = true;

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. OptionProblem.Range(path, "read_buffer_size", ReadBufferSize, ByteSize.Kibibytes(4), ByteSize.Mebibytes(32)),
        .. OptionProblem.Range(path, "max_concurrent", MaxConcurrent, 1, 10_000),
        .. OptionProblem.Range(path, "max_samples", MaxSamples, 0, long.MaxValue),
        .. OptionProblem.Range(path, "max_series", MaxSeries, 0, long.MaxValue),
        .. OptionProblem.Range(path, "memory", Memory, ByteSize.Mebibytes(1), ByteSize.Gibibytes(2)),
    ];
}
