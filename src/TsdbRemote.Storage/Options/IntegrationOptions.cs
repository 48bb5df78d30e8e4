namespace TsdbRemote.Storage.Options;

/// <summary>How chunks go into blocks.</summary>
public enum ChunkEncodingChoice
{
    /// <summary>Float chunks are encoded anew with the cheapest sequence of windows: the same samples for every reader, in fewer bytes.</summary>
    Optimal,

    /// <summary>Chunks go over as the MemTable encoded them, unless they have to be merged.</summary>
    Verbatim,
}

/// <summary>What MemTables become.</summary>
public enum WritePathChoice
{
    /// <summary>Tables, which become blocks once their window is closed.</summary>
    Lsm,

    /// <summary>Blocks, whether their window is closed or not: block-only mode.</summary>
    Blocks,
}

/// <summary>Where reads look. MemTables are read in any case.</summary>
public enum ReadPathChoice
{
    /// <summary>In tables and blocks.</summary>
    Hybrid,

    /// <summary>In tables: what is in blocks is not answered.</summary>
    Lsm,

    /// <summary>In blocks: what is in tables is not answered.</summary>
    Blocks,
}

/// <summary>How long data stays. Whole blocks go, the oldest first. Keys: <c>storage.retention</c>.</summary>
public sealed record RetentionOptions : IOptionsSection
{
    /// <summary>Age, against the newest sample stored and the clock, whichever is older, at which a block is deleted. Null: never.</summary>
    [NullWord("unlimited")]
    public Duration? Time { get; init; }

    /// <summary>
    /// Bytes that blocks, tables and log may take together; beyond them the oldest blocks are deleted. Tables and log take half of it from the blocks at most,
    /// and never the newest block; what is in quarantine or cannot be served deletes nothing, but is warned of where it is too much. Null: no bound.
    /// </summary>
    [NullWord("unlimited")]
    public ByteSize? Size { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. Time is { } time ? OptionProblem.Range(path, "time", time, Duration.Minutes(1), Duration.Parse("1000y")) : [],
        .. Size is { } size ? OptionProblem.Range(path, "size", size, ByteSize.Mebibytes(1), new ByteSize(long.MaxValue)) : [],
    ];
}

/// <summary>Tables to Prometheus blocks. Keys: <c>storage.integration</c>.</summary>
public sealed record IntegrationOptions : IOptionsSection
{
    /// <summary>True: tables and blocks side by side. False: no table becomes a block, and reads look into tables alone.</summary>
    public bool HybridMode { get; init; } = true;

    /// <summary>
    /// What MemTables become when the store is opened; a call can change it while it runs. Blocks: nothing stays in tables, and every flush makes
    /// blocks that overlap those before it until they are compacted.
    /// </summary>
    public WritePathChoice WritePath { get; init; } = WritePathChoice.Lsm;

    /// <summary>Where reads look; to compare the two halves, or to do without one.</summary>
    public ReadPathChoice ReadPath { get; init; } = ReadPathChoice.Hybrid;

    /// <summary>Bytes of a MemTable at which block-only mode switches it, if it is not full before.</summary>
    public ByteSize MaxBlockSize { get; init; } = ByteSize.Mebibytes(64);

    /// <summary>Samples of a MemTable at which block-only mode switches it. Fewer: blocks sooner, and more of them to compact.</summary>
    public long MaxBlockRecords { get; init; } = 1_000_000;

    /// <summary>True: windows that are closed become blocks. False: tables stay tables, unless in block-only mode; blocks that are there are served all the same.</summary>
    public bool SstableToBlockConversion { get; init; } = true;

    /// <summary>
    /// True: blocks grow by ranges, to 31 days or a tenth of the retention, and overlapping ones are merged. False: blocks stay as they were made,
    /// as who ships them from here wants it.
    /// </summary>
    public bool BlockCompaction { get; init; } = true;

    /// <summary>Time after the end of a window at which it is closed. Shorter: blocks sooner, and more data that comes too late for them.</summary>
    public Duration BlockDelay { get; init; } = Duration.Minutes(30);

    /// <summary>
    /// Time without new data after which a window that was converted already is converted again, into an overlapping block; and time without new blocks after
    /// which blocks of closed windows that overlap become one though they have not grown much.
    /// </summary>
    public Duration LateDelay { get; init; } = Duration.Minutes(10);

    /// <summary>True: merges, conversions and block compactions work less while writes and reads are busy. False: they always work at full speed.</summary>
    public bool AdaptiveCompaction { get; init; } = true;

    /// <summary>How chunks go into blocks.</summary>
    public ChunkEncodingChoice ChunkEncoding { get; init; } = ChunkEncodingChoice.Optimal;

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. ModeProblems(path),
        .. OptionProblem.Range(path, "max_block_size", MaxBlockSize, ByteSize.Kibibytes(64), ByteSize.Gibibytes(64)),
        .. OptionProblem.Range(path, "max_block_records", MaxBlockRecords, 1000, long.MaxValue),
        .. OptionProblem.Range(path, "block_delay", BlockDelay, Duration.Seconds(0), Duration.Hours(31 * 24)),
        .. OptionProblem.Range(path, "late_delay", LateDelay, Duration.Seconds(0), Duration.Hours(31 * 24)),
    ];

    private IEnumerable<string> ModeProblems(string path)
    {
        if (!HybridMode && WritePath == WritePathChoice.Blocks) yield return $"{path}.write_path: blocks given, lsm allowed with hybrid_mode false";
        if (!HybridMode && ReadPath == ReadPathChoice.Blocks) yield return $"{path}.read_path: blocks given, hybrid or lsm allowed with hybrid_mode false";
    }
}
