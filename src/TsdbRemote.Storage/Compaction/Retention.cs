using System.Collections.Immutable;
using TsdbRemote.Storage.BlockStorage;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Which blocks are too old or too much. Pure: figures in, names out.</summary>
/// <remarks>
/// By time:  a block goes once all of it is older than <paramref name="TimeMs"/>, measured from the newest sample stored or from the clock, whichever
///           is older. The newest sample alone would let one sender whose clock runs ahead delete the past, the clock alone one wrong clock
///           (a store that is only read would lose everything with time, as in Prometheus it does not).
/// By size:  the block that ends first goes first, until blocks, tables and log fit together. But a block frees its own bytes only, so that what others take
///           deletes no more than this: tables and log, which become blocks soon or wait for something that is wrong, may take half of the size from the blocks
///           at most, and never the newest of them; quarantine and blocks that are not served, which nothing frees but an operator, take none. Where the
///           directory stays above the size for their sake, <see cref="Excess"/> says so.
/// </remarks>
/// <param name="TimeMs">Option <c>retention.time</c> in ms; null for none.</param>
/// <param name="SizeBytes">Option <c>retention.size</c> in bytes; null for none.</param>
public sealed record Retention(long? TimeMs, long? SizeBytes)
{
    /// <summary>True if nothing is ever deleted.</summary>
    public bool IsUnlimited => TimeMs is null && SizeBytes is null;

    /// <summary>The blocks to delete.</summary>
    /// <param name="blocks">The blocks in service.</param>
    /// <param name="newestMs">Newest sample stored, ms since the epoch; null if there is none.</param>
    /// <param name="clockMs">Time of day that has been confirmed, ms since the epoch; null while it is in doubt: then nothing is too old.</param>
    /// <param name="others">Bytes of the data directory besides the blocks.</param>
    public ImmutableArray<ExpiredBlock> Expired(BlockSet blocks, long? newestMs, long? clockMs, OtherBytes others)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        ArgumentNullException.ThrowIfNull(others);
        StoredBlock[] oldestFirst = [.. blocks.Blocks.OrderBy(static block => block.Range.MaxMs).ThenBy(static block => block.Rank)];
        var expired = ImmutableArray.CreateBuilder<ExpiredBlock>();
        long bytes = blocks.Bytes;
        foreach (StoredBlock block in oldestFirst)
        {
            // The newest block and those beside it: what was stored last is not deleted to make room for what waits to be stored.
            bool isNewest = block.Range.Overlaps(oldestFirst[^1].Range);
            string? reason = IsTooOld(block.Range.MaxMs, newestMs, clockMs) ? "all of it is older than storage.retention.time"
                : SizeBytes is { } size && bytes > (isNewest ? size : Math.Max(size - others.Tables - others.Log, size / 2)) ? Describe(bytes, others)
                : null;
            if (reason is null) continue;
            expired.Add(new ExpiredBlock(block.Entry.Ulid, reason));
            bytes -= block.Reader.Bytes;
        }

        return expired.ToImmutable();
    }

    /// <summary>Whether what ends here is too old.</summary>
    /// <param name="maxMs">No sample is after, ms.</param>
    /// <param name="newestMs">As in <see cref="Expired"/>.</param>
    /// <param name="clockMs">As in <see cref="Expired"/>.</param>
    public bool IsTooOld(long maxMs, long? newestMs, long? clockMs)
    {
        if (TimeMs is not { } time || newestMs is not { } newest || clockMs is not { } clock) return false;
        long measuredFrom = Math.Min(newest, clock);
        return measuredFrom >= long.MinValue + time && maxMs < measuredFrom - time;
    }

    /// <summary>Why the directory is larger than the option allows although nothing is left to delete; null if it is not.</summary>
    /// <param name="blockBytes">Bytes of the blocks that stay.</param>
    /// <param name="others">Bytes of the data directory besides the blocks.</param>
    public string? Excess(long blockBytes, OtherBytes others)
    {
        ArgumentNullException.ThrowIfNull(others);
        if (SizeBytes is not { } size || blockBytes + others.Total <= size) return null;
        (string Name, long Bytes) largest = others.Parts.MaxBy(static part => part.Bytes);
        return $"{Describe(blockBytes, others)}; blocks are not deleted for what is not theirs, {largest.Name} takes most of it";
    }

    private string Describe(long blockBytes, OtherBytes others) =>
        $"the data directory takes {blockBytes + others.Total} bytes, storage.retention.size is {SizeBytes}: blocks {blockBytes}, "
        + string.Join(", ", others.Parts.Select(static part => $"{part.Name} {part.Bytes}"));
}

/// <summary>A block that is to be deleted.</summary>
/// <param name="Ulid">Its name.</param>
/// <param name="Reason">Why, for the log.</param>
public sealed record ExpiredBlock(string Ulid, string Reason);

/// <summary>Bytes of a data directory besides the blocks that are served.</summary>
/// <param name="Tables">Tables.</param>
/// <param name="Log">Log that no table holds yet.</param>
/// <param name="Quarantine">What was found damaged.</param>
/// <param name="Unserved">Blocks that are not served.</param>
public sealed record OtherBytes(long Tables, long Log, long Quarantine, long Unserved)
{
    /// <summary>All of them.</summary>
    public long Total => Tables + Log + Quarantine + Unserved;

    /// <summary>Each by its name, for the log.</summary>
    public IReadOnlyList<(string Name, long Bytes)> Parts =>
        [("tables", Tables), ("the log", Log), ("quarantine", Quarantine), ("blocks that are not served", Unserved)];
}
