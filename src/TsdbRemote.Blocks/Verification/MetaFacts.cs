namespace TsdbRemote.Blocks.Verification;

/// <summary>What meta.json says, as far as rules look at it. Null where a field is absent or no number.</summary>
internal sealed record MetaFacts
{
    public required string? Ulid { get; init; }

    public required long? Version { get; init; }

    public required long? MinTimeMs { get; init; }

    public required long? MaxTimeMs { get; init; }

    public required MetaStats Stats { get; init; }

    public required long? Level { get; init; }

    public required IReadOnlyList<string> Sources { get; init; }

    /// <summary>ULIDs of the parents.</summary>
    public required IReadOnlyList<string> Parents { get; init; }

    public required IReadOnlyList<string> Hints { get; init; }

    public required bool IsDeletable { get; init; }

    public required bool IsFailed { get; init; }

    public required ThanosFacts? Thanos { get; init; }
}

/// <summary>The counts of meta.json; absent ones are 0, as its writers leave zeros out.</summary>
internal sealed record MetaStats(
    ulong Samples, ulong FloatSamples, ulong HistogramSamples, ulong Series, ulong Chunks, ulong Tombstones);

/// <summary>The <c>thanos</c> section.</summary>
internal sealed record ThanosFacts
{
    public required long? Version { get; init; }

    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    public required long? ResolutionMs { get; init; }

    /// <summary>Whether a rewrite of the block is on record.</summary>
    public required bool IsRewritten { get; init; }

    public required IReadOnlyList<string> SegmentFiles { get; init; }

    /// <summary>Path inside the block and size; null where none is given.</summary>
    public required IReadOnlyList<(string Path, long? Size)> Files { get; init; }
}
