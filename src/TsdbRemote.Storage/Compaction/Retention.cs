using System.Collections.Immutable;
using TsdbRemote.Storage.BlockStorage;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Which blocks are too old or too much. Pure: figures in, names out.</summary>
/// <remarks>
/// By time:  a block goes once all of it is older than <paramref name="TimeMs"/>, measured from the newest sample stored or from the clock, whichever
///           is older. The newest sample alone would let one sender whose clock runs ahead delete the past, the clock alone one wrong clock
///           (a store that is only read would lose everything with time, as in Prometheus it does not).
/// By size:  the block that ends first goes first, until the rest fits.
/// </remarks>
/// <param name="TimeMs">Option <c>retention.time</c> in ms; null for none.</param>
/// <param name="SizeBytes">Option <c>retention.size</c> in bytes; null for none.</param>
public sealed record Retention(long? TimeMs, long? SizeBytes)
{
    /// <summary>True if nothing is ever deleted.</summary>
    public bool IsUnlimited => TimeMs is null && SizeBytes is null;

    /// <summary>Names of the blocks to delete.</summary>
    /// <param name="blocks">The blocks in service.</param>
    /// <param name="newestMs">Newest sample stored, ms since the epoch; null if there is none.</param>
    /// <param name="clockMs">Time of day that has been confirmed, ms since the epoch; null while it is in doubt: then nothing is too old.</param>
    /// <param name="otherBytes">Bytes of the data directory besides the blocks.</param>
    public ImmutableArray<string> Expired(BlockSet blocks, long? newestMs, long? clockMs, long otherBytes)
    {
        StoredBlock[] oldestFirst = [.. blocks.Blocks.OrderBy(static block => block.Range.MaxMs).ThenBy(static block => block.Rank)];
        var expired = ImmutableArray.CreateBuilder<string>();
        long bytes = otherBytes + blocks.Bytes;
        foreach (StoredBlock block in oldestFirst)
        {
            bool tooMuch = SizeBytes is { } size && bytes > size;
            if (!tooMuch && !IsTooOld(block, newestMs, clockMs)) continue;
            expired.Add(block.Entry.Ulid);
            bytes -= block.Reader.Bytes;
        }

        return expired.ToImmutable();
    }

    private bool IsTooOld(StoredBlock block, long? newestMs, long? clockMs)
    {
        if (TimeMs is not { } time || newestMs is not { } newest || clockMs is not { } clock) return false;
        long measuredFrom = Math.Min(newest, clock);
        return measuredFrom >= long.MinValue + time && block.Range.MaxMs < measuredFrom - time;
    }
}
