namespace TsdbRemote.Blocks.Verification;

/// <summary>Where a block is meant to go; decides which rules about shipping are checked.</summary>
public enum ShippingTarget
{
    /// <summary>Nowhere: it stays on this disk.</summary>
    None = 0,

    /// <summary>A bucket that Thanos reads: rule 47, no tombstones, nothing that marks an old block.</summary>
    Thanos,

    /// <summary>Mimir, by its upload API or its bucket: rule 48 and the day of rule 6, no tombstones, nothing that marks an old block.</summary>
    Mimir,
}

/// <summary>What the bytes of a block cannot tell: the clock, policies, where it is going and what else exists.</summary>
/// <remarks>
/// The defaults check what holds for every block of every writer. Rules that need a context run only where it is given;
/// <see cref="BlockReport.NotRun"/> lists those that did not. Immutable.
/// </remarks>
public sealed record BlockVerifyOptions
{
    /// <summary>The defaults.</summary>
    public static BlockVerifyOptions Default { get; } = new();

    /// <summary>The clock, ms since the epoch; null switches off rule 3's and rule 48's look at the future.</summary>
    public long? NowMs { get; init; }

    /// <summary>
    /// When the making of the block began, ms since the epoch: its ULID must not be older by more than 5 min (rule 3). Null if unknown.
    /// </summary>
    public long? CreatedSinceMs { get; init; }

    /// <summary>
    /// The name that the directory will have, for a block that still has a temporary one (rule 1). Null: the name it has.
    /// </summary>
    public string? FinalName { get; init; }

    /// <summary>
    /// Whether times that look like seconds, µs or ns are errors (rule 4): 5e8 to 1e11 and 1e14 or more, of either sign. Off for data
    /// whose times are made up.
    /// </summary>
    public bool CheckTimeUnits { get; init; } = true;

    /// <summary>
    /// Range of each compaction level in ms, level 1 first; the last one holds for all levels above (rule 6). Empty: no policy.
    /// </summary>
    public IReadOnlyList<long> LevelRangesMs { get; init; } = [];

    /// <summary>ULIDs of blocks that must stay: none may be named as a parent, for Prometheus deletes parents (rule 10).</summary>
    public IReadOnlySet<string> MustStay { get; init; } = new HashSet<string>();

    /// <summary>Whether each series must have a metric name (rule 34, a warning).</summary>
    public bool RequireMetricName { get; init; } = true;

    /// <summary>Where the block is meant to go (rules 6, 11, 46 to 48).</summary>
    public ShippingTarget Shipping { get; init; }

    /// <summary>The other live blocks of the same stream, that is of equal external labels and resolution (rule 49). Null: unknown.</summary>
    public IReadOnlyList<LiveBlock>? LiveBlocks { get; init; }

    /// <summary>Whether the stream's compactor merges overlapping blocks; if not, an overlap is an error (rule 49).</summary>
    public bool VerticalCompaction { get; init; } = true;

    /// <summary>What the object store holds of this block (rule 50). Null: not looked at.</summary>
    public RemoteBlock? Remote { get; init; }

    /// <summary>What the source of the block holds (rule 51). Null: not compared.</summary>
    public ValueChecksum? ExpectedValues { get; init; }

    /// <summary>Whether <see cref="BlockReport.Values"/> is computed although nothing is expected.</summary>
    public bool ComputeValues { get; init; }

    /// <summary>
    /// Asks somebody else, such as promtool, about the directory and returns what is wrong (rule 52). Null: not asked. Its exceptions
    /// are its own.
    /// </summary>
    public Func<string, CancellationToken, IReadOnlyList<string>>? ExternalProof { get; init; }
}

/// <summary>What is known of another block that readers see beside the verified one.</summary>
/// <param name="Ulid">Its id; the verified block's own id is passed over.</param>
/// <param name="MinTimeMs">Start of its range, ms.</param>
/// <param name="MaxTimeMs">End of its range, ms, exclusive.</param>
/// <param name="Sources">Its <c>compaction.sources</c>.</param>
public sealed record LiveBlock(string Ulid, long MinTimeMs, long MaxTimeMs, IReadOnlyCollection<string> Sources);

/// <summary>What an object store holds under the block's prefix.</summary>
/// <remarks>
/// Listed twice while shipping: with <see cref="MetaRead"/> null before meta.json is put, and once more behind it with the object as it
/// was read back.
/// </remarks>
/// <param name="Objects">Path relative to the prefix, with slashes, and size in bytes.</param>
/// <param name="MetaPut">The bytes that are, or were, put as meta.json.</param>
/// <param name="MetaRead">meta.json as it was read back; null before it is put.</param>
public sealed record RemoteBlock(IReadOnlyDictionary<string, long> Objects, ReadOnlyMemory<byte> MetaPut, ReadOnlyMemory<byte>? MetaRead);
