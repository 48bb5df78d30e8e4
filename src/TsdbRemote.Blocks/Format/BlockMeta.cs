using System.Text.Json;
using System.Text.Json.Serialization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>What a block says about itself: <c>meta.json</c>, version 1.</summary>
/// <remarks>
/// <code>
/// {
/// 	"ulid": "01M87K85AJTSJCZBCX46AVGB98",
/// 	"minTime": 1700000000000,                       first sample, ms
/// 	"maxTime": 1700000065501,                       above the last sample, ms
/// 	"stats": { "numSamples": 9, "numSeries": 3, "numChunks": 3 },
/// 	"compaction": { "level": 1, "sources": [ "01M87K85AJTSJCZBCX46AVGB98" ] },
/// 	"version": 1,
/// 	"thanos": { … },                                Thanos' section, kept as it is
/// 	"tsdb_remote": { "directory": "…", "generation": 7, "rank": 42 }
/// }
/// </code>
/// Written as Prometheus does: tabs, plain integers, keys of zero or nothing left out. Read as strictly: a number with a fraction or an
/// exponent, a key twice, a missing key, another version is damage; only keys that nobody here knows are passed over, as readers of
/// this file must. The last key is our own: others ignore it, and it tells our blocks from foreign ones.
/// Source: prometheus: tsdb/block.go. Immutable.
/// </remarks>
public sealed record BlockMeta
{
    /// <summary>Name of the file in its block.</summary>
    public const string FileName = "meta.json";

    /// <summary>The only version that any reader takes. Not the version of the index.</summary>
    public const int CurrentVersion = 1;

    /// <summary>Most bytes of the file: some 35,000 sources. Prometheus' largest have a few thousand.</summary>
    public const int MaxBytes = 1 << 20;

    private const string TemporarySuffix = ".tmp";

    /// <summary>The block's name, and that of its directory.</summary>
    public required Ulid Ulid { get; init; }

    /// <summary>No sample is before, ms.</summary>
    [JsonPropertyName("minTime")]
    public required long MinTimeMs { get; init; }

    /// <summary>Every sample is before, ms: the <c>maxTime</c> of the file, which is exclusive. Above <see cref="MinTimeMs"/>.</summary>
    [JsonPropertyName("maxTime")]
    public required long EndTimeMs { get; init; }

    /// <summary>What the block holds.</summary>
    public BlockMetaStats Stats { get; init => field = value ?? new BlockMetaStats(); } = new();

    /// <summary>What it was made of.</summary>
    public required BlockMetaCompaction Compaction { get; init; }

    /// <summary>Version of the file.</summary>
    public required int Version { get; init; }

    /// <summary>Thanos' section, or null. Survives a rewrite.</summary>
    public JsonElement? Thanos { get; init; }

    /// <summary>Says that a data directory of ours wrote the block; null for a foreign one.</summary>
    [JsonPropertyName("tsdb_remote")]
    public BlockMark? Mark { get; init; }

    /// <summary>Reads the file.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="path">Its name.</param>
    /// <exception cref="CorruptFileException">It is missing, or not what this version means; names the field.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static BlockMeta Read(IFileSystem files, string path)
    {
        ArgumentNullException.ThrowIfNull(files);
        if (files.FileSize(path) is null) throw new CorruptFileException(path, 0, "it is missing");
        using IFile file = files.OpenRead(path);
        long length = file.Length;
        if (length > MaxBytes) throw new CorruptFileException(path, MaxBytes, $"the file has {length} bytes, at most {MaxBytes} are expected");
        using PooledBuffer json = PooledBuffer.Rent(Math.Max(1, (int)length), (int)length);
        json.SetLength(file.Read(0, json.Span));
        return Parse(json.Span, path);
    }

    /// <summary>Reads the contents of a file.</summary>
    /// <param name="json">All of it.</param>
    /// <param name="path">The name that an exception gives.</param>
    /// <exception cref="CorruptFileException">It is not what this version means; names the field.</exception>
    public static BlockMeta Parse(ReadOnlySpan<byte> json, string path)
    {
        BlockMeta meta = BlockMetaText.Parse(json, path);
        if (meta.Version > CurrentVersion) throw new NewerFormatException(path, 0, meta.Version, CurrentVersion);
        return meta.Problem() is { } problem ? throw new CorruptFileException(path, 0, problem) : meta;
    }

    /// <summary>The file's contents.</summary>
    public byte[] ToJson() => BlockMetaText.Write(this);

    /// <summary>Writes the file, or replaces it, so that a crash leaves the old one or the new one whole.</summary>
    /// <remarks>Order: write <c>meta.json.tmp</c>, sync it, rename. The caller syncs the directory.</remarks>
    /// <param name="files">Where to.</param>
    /// <param name="path">Its name.</param>
    /// <exception cref="ArgumentException">It is none that <see cref="Read"/> would take.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void WriteTo(IFileSystem files, string path)
    {
        ArgumentNullException.ThrowIfNull(files);
        if (Problem() is { } problem) throw new ArgumentException($"not a meta.json that can be written: {problem}");
        byte[] json = ToJson();
        if (json.Length > MaxBytes) throw new ArgumentException($"a meta.json of {json.Length} bytes could not be read again");
        string temporary = path + TemporarySuffix;
        if (files.FileSize(temporary) is not null) files.Unlink(temporary);
        using (IFile file = files.CreateNew(temporary))
        {
            file.Write(0, json);
            file.SyncAll();
        }

        files.Rename(temporary, path);
    }

    /// <summary>What no reader could work with, with the field's name; null if nothing.</summary>
    private string? Problem()
    {
        if (Version != CurrentVersion) return $"version: is {Version}, {CurrentVersion} is expected";
        if (MinTimeMs >= EndTimeMs) return $"maxTime: {EndTimeMs} is not above minTime, {MinTimeMs}";
        return Stats.Problem() ?? Compaction.Problem() ?? Mark?.Problem();
    }
}

/// <summary>What a block holds, as its <c>meta.json</c> says. Numbers are 0 or more.</summary>
public sealed record BlockMetaStats
{
    /// <summary>Samples of all kinds; 0 is an empty block, which shippers pass over.</summary>
    [JsonPropertyName("numSamples")]
    public long Samples { get; init; }

    /// <summary>Float samples; 0 also where the writer was older than Prometheus 3.6.</summary>
    [JsonPropertyName("numFloatSamples")]
    public long FloatSamples { get; init; }

    /// <summary>Native histogram samples; 0 also where the writer was older than Prometheus 3.6.</summary>
    [JsonPropertyName("numHistogramSamples")]
    public long HistogramSamples { get; init; }

    /// <summary>Series.</summary>
    [JsonPropertyName("numSeries")]
    public long Series { get; init; }

    /// <summary>Chunks.</summary>
    [JsonPropertyName("numChunks")]
    public long Chunks { get; init; }

    /// <summary>Intervals in the tombstones file.</summary>
    [JsonPropertyName("numTombstones")]
    public long Tombstones { get; init; }

    internal string? Problem() =>
        Negative("numSamples", Samples) ?? Negative("numFloatSamples", FloatSamples) ?? Negative("numHistogramSamples", HistogramSamples)
        ?? Negative("numSeries", Series) ?? Negative("numChunks", Chunks) ?? Negative("numTombstones", Tombstones);

    private static string? Negative(string name, long value) => value < 0 ? $"stats.{name}: is {value}" : null;
}

/// <summary>What a block was made of, as its <c>meta.json</c> says.</summary>
public sealed record BlockMetaCompaction
{
    /// <summary>1 for a block cut from raw data, above it for one made of blocks.</summary>
    public required int Level { get; init; }

    /// <summary>The blocks of level 1 that went in, ascending; of a block of level 1 itself. Who holds these holds the same data.</summary>
    public IReadOnlyList<Ulid> Sources { get; init => field = value ?? []; } = [];

    /// <summary>The blocks that it replaces: Prometheus deletes every block named here once this one loads.</summary>
    public IReadOnlyList<BlockMetaParent> Parents { get; init => field = value ?? []; } = [];

    /// <summary>Compaction made no sample of this block; it may go.</summary>
    public bool Deletable { get; init; }

    /// <summary>Compaction of this block failed; planners pass it over.</summary>
    public bool Failed { get; init; }

    /// <summary>Where it comes from, ascending: such as <c>from-out-of-order</c>.</summary>
    public IReadOnlyList<string> Hints { get; init => field = value ?? []; } = [];

    internal string? Problem()
    {
        if (Level < 1) return $"compaction.level: is {Level}, at least 1 is expected";
        for (int i = 0; i < Parents.Count; i++)
        {
            if (Parents[i] is null) return $"compaction.parents[{i}]: is null";
        }

        for (int i = 0; i < Hints.Count; i++)
        {
            if (Hints[i] is null) return $"compaction.hints[{i}]: is null";
        }

        return null;
    }
}

/// <summary>A block that another one replaces.</summary>
public sealed record BlockMetaParent
{
    /// <summary>Its name.</summary>
    public required Ulid Ulid { get; init; }

    /// <summary>No sample of it is before, ms.</summary>
    [JsonPropertyName("minTime")]
    public required long MinTimeMs { get; init; }

    /// <summary>Every sample of it is before, ms.</summary>
    [JsonPropertyName("maxTime")]
    public required long EndTimeMs { get; init; }
}

/// <summary>Our mark in a block: which data directory wrote it, and when. Tells the rest of a crash from a foreign block.</summary>
public sealed record BlockMark
{
    /// <summary>Id of the data directory.</summary>
    public required Guid Directory { get; init; }

    /// <summary>Generation of the manifest that was to name the block first; 0 or more.</summary>
    public required long Generation { get; init; }

    /// <summary>How new the block's samples are: of two versions of one instant that of the higher rank wins. 0 or more.</summary>
    public required long Rank { get; init; }

    internal string? Problem()
    {
        if (Generation < 0) return $"tsdb_remote.generation: is {Generation}";
        return Rank < 0 ? $"tsdb_remote.rank: is {Rank}" : null;
    }
}
