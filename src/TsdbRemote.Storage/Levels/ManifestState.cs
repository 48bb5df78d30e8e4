using System.Collections.Immutable;
using System.Text.Json.Serialization;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Levels;

/// <summary>Everything that exists in a data directory, at one instant: what <c>MANIFEST</c> holds. Immutable.</summary>
public sealed record ManifestState
{
    /// <summary>The format that this code writes, and the newest that it reads.</summary>
    public const int CurrentFormatVersion = 1;

    /// <summary>Version of the format.</summary>
    [JsonRequired]
    public int FormatVersion { get; init; } = CurrentFormatVersion;

    /// <summary>Counts commits, from 1.</summary>
    public required long Generation { get; init; }

    /// <summary>Random id of the data directory; goes into the salt of its logs and dictionaries.</summary>
    public required Guid DirectoryId { get; init; }

    /// <summary>Length of a window in ms. Fixed for the life of the directory.</summary>
    public required long BlockDurationMs { get; init; }

    /// <summary>Above every series id ever given.</summary>
    public required ulong NextSeriesId { get; init; }

    /// <summary>Above every table number ever committed.</summary>
    public required long NextTableId { get; init; }

    /// <summary>Above every segment that was known at this commit.</summary>
    public required long NextSegment { get; init; }

    /// <summary>The highest rank that a block made here ever had; clocks go back, this does not.</summary>
    public required long ConversionCounter { get; init; }

    /// <summary>Tables, by number.</summary>
    [JsonRequired]
    public ImmutableArray<TableEntry> Tables { get; init; } = [];

    /// <summary>Dictionary files, by number.</summary>
    [JsonRequired]
    public ImmutableArray<DictionaryEntry> Dictionaries { get; init; } = [];

    /// <summary>Log segments that hold data no table and no block has, by number.</summary>
    [JsonRequired]
    public ImmutableArray<SegmentEntry> Segments { get; init; } = [];

    /// <summary>Deletes that were asked for and not yet carried out everywhere.</summary>
    [JsonRequired]
    public ImmutableArray<TombstoneEntry> Tombstones { get; init; } = [];

    /// <summary>Blocks in service: those made here, and foreign ones that were verified.</summary>
    [JsonRequired]
    public ImmutableArray<BlockEntry> Blocks { get; init; } = [];

    /// <summary>Names of blocks that are no longer served, until nothing of them is left on disk. None where the file, of an early build, does not say.</summary>
    public ImmutableArray<string> DeletedBlocks { get; init => field = value.IsDefault ? [] : value; } = [];

    /// <summary>What an operator gave up, a sentence for each file: told at every start from then on. Null where there is none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ImmutableArray<string>? Losses { get; init; }

    /// <summary>The first thing in it that cannot be, or null. Asked before each commit and after each load.</summary>
    public string? Problem()
    {
        if (Tables.IsDefault || Dictionaries.IsDefault || Segments.IsDefault || Tombstones.IsDefault || Blocks.IsDefault)
            return "a list is missing";
        if (FormatVersion is < 1 or > CurrentFormatVersion) return $"format_version is {FormatVersion}";
        if (Generation < 1) return $"generation is {Generation}";
        if (BlockDurationMs < 1) return $"block_duration_ms is {BlockDurationMs}";
        if (NextTableId < 0 || NextSegment < 0 || ConversionCounter < 0) return "a counter is negative";
        return ProblemOfTables() ?? ProblemOfDictionaries() ?? ProblemOfSegments() ?? ProblemOfTombstones() ?? ProblemOfBlocks();
    }

    /// <summary>This state's tables after a window of some went elsewhere: without it in their entries, and without the tables that held nothing else.</summary>
    /// <param name="windowStartMs">The window.</param>
    /// <param name="tableIds">The tables whose part of the window went elsewhere; others that hold it came later and keep it.</param>
    public ImmutableArray<TableEntry> TablesWithout(long windowStartMs, IReadOnlySet<long> tableIds)
    {
        ArgumentNullException.ThrowIfNull(tableIds);
        return
        [
            .. Tables.Select(entry => tableIds.Contains(entry.Id) ? entry with { Windows = entry.Windows.Remove(windowStartMs) } : entry)
                .Where(static entry => !entry.Windows.IsEmpty),
        ];
    }

    /// <summary>Of this state's tombstones those that something is left for: a table, a block, or a segment, in service or not.</summary>
    /// <param name="segments">Numbers of the segments that hold what no table and no block has.</param>
    /// <returns>The same array, if none is spent.</returns>
    internal ImmutableArray<TombstoneEntry> TombstonesFor(IReadOnlyCollection<long> segments)
    {
        if (Tombstones.IsEmpty) return Tombstones;
        ImmutableArray<TombstoneEntry> left =
        [
            .. Tombstones.Where(tombstone => segments.Any(tombstone.ReachesSegment)
                || Tables.Any(table => tombstone.Reaches(table, BlockDurationMs)) || Blocks.Any(tombstone.Reaches)),
        ];
        return left.Length == Tombstones.Length ? Tombstones : left;
    }

    private string? ProblemOfTombstones()
    {
        foreach (TombstoneEntry tombstone in Tombstones)
        {
            if (tombstone.Problem() is { } problem) return $"the tombstone of sequence {tombstone.Sequence}: {problem}";
        }

        return null;
    }

    private string? ProblemOfTables()
    {
        HashSet<long> seen = [];
        foreach (TableEntry table in Tables)
        {
            if (!seen.Add(table.Id)) return $"table {table.Id} is named twice";
            if (table.Id < 0 || table.Id >= NextTableId) return $"table {table.Id} is not below next_table_id {NextTableId}";
            if (table.Problem() is { } problem) return $"table {table.Id}: {problem}";
            if (table.MaxSeriesId >= NextSeriesId)
                return $"table {table.Id}: max_series_id {table.MaxSeriesId} is not below next_series_id {NextSeriesId}";
        }

        return null;
    }

    private string? ProblemOfDictionaries()
    {
        HashSet<long> seen = [];
        foreach (DictionaryEntry dictionary in Dictionaries)
        {
            if (!seen.Add(dictionary.Number)) return $"dictionary {dictionary.Number} is named twice";
            if (dictionary.Number < 0 || dictionary.Length < 0 || dictionary.Entries < 0)
                return $"dictionary {dictionary.Number} has a negative number";
        }

        return null;
    }

    private string? ProblemOfSegments()
    {
        HashSet<long> seen = [];
        foreach (SegmentEntry segment in Segments)
        {
            if (!seen.Add(segment.Number)) return $"segment {segment.Number} is named twice";
            if (segment.Number < 0 || segment.Number >= NextSegment)
                return $"segment {segment.Number} is not below next_segment {NextSegment}";
            if (segment.AcceptedEnd < 0) return $"segment {segment.Number} ends at {segment.AcceptedEnd}";
        }

        return null;
    }

    private string? ProblemOfBlocks()
    {
        HashSet<string> seen = [];
        foreach (BlockEntry block in Blocks)
        {
            if (!seen.Add(block.Ulid)) return $"block {block.Ulid} is named twice";
            if (!Ulid.TryParse(block.Ulid, out _)) return $"block {block.Ulid} has no name of a block";
            bool ranks = block.Adopted ? block.Rank == 0 : block.Rank >= 1 && block.Rank <= ConversionCounter;
            if (block.MinTimeMs > block.MaxTimeMs) return $"block {block.Ulid} ends before it begins";
            if (!ranks) return $"block {block.Ulid} has rank {block.Rank}, the conversion counter is {ConversionCounter}";
        }

        foreach (string ulid in DeletedBlocks)
        {
            if (!Ulid.TryParse(ulid, out _)) return $"deleted block {ulid} has no name of a block";
            if (!seen.Add(ulid)) return $"block {ulid} is named and deleted";
        }

        return null;
    }
}

/// <summary>A table.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Level">Its level; from 1 on it belongs to one window.</param>
/// <param name="Windows">Starts of its windows in ms, ascending; those that went into a block are left out.</param>
/// <param name="MinSeriesId">Lowest series id.</param>
/// <param name="MaxSeriesId">Highest series id.</param>
/// <param name="FirstSequence">First log sequence that it is complete for.</param>
/// <param name="LastSequence">Last log sequence that it is complete for.</param>
/// <param name="Series">Distinct series.</param>
/// <param name="Chunks">Chunks.</param>
/// <param name="Samples">Samples.</param>
/// <param name="MinTimeMs">Time of its first sample in ms.</param>
/// <param name="MaxTimeMs">Time of its last sample in ms.</param>
/// <param name="Size">Bytes of the file.</param>
/// <param name="Crc">Checksum of its footer, which covers all of it.</param>
/// <param name="AppliedTo">Sequence of the newest tombstone that the merge knew which made it: what that one and older ones delete is not in it. 0 for none.</param>
public sealed record TableEntry(
    long Id,
    int Level,
    ImmutableArray<long> Windows,
    ulong MinSeriesId,
    ulong MaxSeriesId,
    ulong FirstSequence,
    ulong LastSequence,
    long Series,
    long Chunks,
    long Samples,
    long MinTimeMs,
    long MaxTimeMs,
    long Size,
    uint Crc,
    ulong AppliedTo = 0)
{
    /// <summary>The entry of a table just written.</summary>
    public static TableEntry Of(SSTableInfo table)
    {
        ArgumentNullException.ThrowIfNull(table);
        Protos.Tables.SSTableProperties properties = table.Properties;
        return new TableEntry(
            properties.TableId,
            properties.Level,
            [.. properties.Windows.Select(window => window.StartMs)],
            properties.MinSeriesId,
            properties.MaxSeriesId,
            properties.FirstSequence,
            properties.LastSequence,
            properties.Series,
            properties.Chunks,
            properties.Samples,
            properties.MinTimeMs,
            properties.MaxTimeMs,
            table.Size,
            table.Crc);
    }

    /// <summary>What cannot be, or null.</summary>
    internal string? Problem()
    {
        if (Windows.IsDefaultOrEmpty) return "it has no window";
        if (Level < 0) return $"level is {Level}";
        if (Level > 0 && Windows.Length > 1) return $"it stands at level {Level} and has {Windows.Length} windows";
        for (int i = 1; i < Windows.Length; i++)
        {
            if (Windows[i] <= Windows[i - 1]) return "its windows do not ascend";
        }

        if (MinSeriesId > MaxSeriesId || FirstSequence > LastSequence || MinTimeMs > MaxTimeMs) return "a range is empty";
        bool countsCanBe = Series >= 1 && Chunks >= Series && Samples >= 0 && Size >= SSTableFormat.HeaderBytes + SSTableFormat.FooterBytes;
        return countsCanBe ? null : "a count cannot be";
    }
}

/// <summary>A dictionary file.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Length">Committed bytes; what lies beyond is the rest of an aborted flush.</param>
/// <param name="Crc">Running checksum of the committed bytes.</param>
/// <param name="Entries">Series in it.</param>
public sealed record DictionaryEntry(long Number, long Length, uint Crc, long Entries);

/// <summary>A log segment that holds what no table and no block has.</summary>
/// <param name="Number">Its number.</param>
/// <param name="AcceptedEnd">Where a recovery found its end, in bytes; null if it is sealed, active or not replayed yet.</param>
/// <param name="Inherited">
/// A process that is gone left it: it may lack a seal although later segments hold records, for those are of a later process.
/// </param>
public sealed record SegmentEntry(long Number, long? AcceptedEnd, bool Inherited = false);

/// <summary>A block in service.</summary>
/// <param name="Ulid">Name of its directory.</param>
/// <param name="Rank">Conversion counter when it was made, or when its inputs were read: the higher, the newer. 0 for a foreign block, which ranks below those made here.</param>
/// <param name="Adopted">A foreign block, or one that came back: found in <c>blocks/</c> and verified. Always if its rank is 0.</param>
/// <param name="MinTimeMs">No sample of it is before, ms; null where an early build wrote the entry and the block was never opened since.</param>
/// <param name="MaxTimeMs">No sample of it is after, ms; null as the other. By it a block that cannot be opened still ends by age.</param>
/// <param name="AppliedTo">
/// Tombstones up to this sequence do not reach it: they were known when it was made, and applied to what it was made of as far as that was older; or when it was
/// adopted, for what an operator restores after a delete is wanted. 0 where an early build wrote the entry.
/// </param>
public sealed record BlockEntry(string Ulid, long Rank, bool Adopted = false, long? MinTimeMs = null, long? MaxTimeMs = null, ulong AppliedTo = 0)
{
    /// <summary>True for a foreign block, or one that came back.</summary>
    public bool Adopted { get; init; } = Adopted || Rank == 0;

    /// <summary>The entry of a block.</summary>
    /// <param name="meta">What the block says about itself.</param>
    /// <param name="rank">Conversion counter when it was made; 0 for a foreign one.</param>
    /// <param name="appliedTo">Tombstones up to this sequence do not reach it.</param>
    public static BlockEntry Of(BlockMeta meta, long rank, ulong appliedTo = 0)
    {
        ArgumentNullException.ThrowIfNull(meta);
        return new BlockEntry(meta.Ulid.ToString(), rank, Adopted: rank == 0, meta.MinTimeMs, meta.EndTimeMs - 1, appliedTo);
    }
}
