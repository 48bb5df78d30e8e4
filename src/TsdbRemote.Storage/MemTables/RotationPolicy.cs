namespace TsdbRemote.Storage.MemTables;

/// <summary>Why a MemTable stopped taking writes.</summary>
public enum RotationReason
{
    /// <summary>It need not rotate.</summary>
    None,

    /// <summary>It is full.</summary>
    Size,

    /// <summary>The log holds too much that no table has.</summary>
    LogSize,

    /// <summary>It is as old as a block is long.</summary>
    Age,

    /// <summary>Somebody asked: the admin call, a shutdown.</summary>
    Requested,

    /// <summary>A write to its log segment broke off for want of room, and only the next segment can go on.</summary>
    LogTorn,

    /// <summary>It holds some of a window that could be converted to a block without it.</summary>
    WindowClosed,

    /// <summary>The log failed for good: what is in memory goes into new files.</summary>
    LogFailed,

    /// <summary>The dictionary was collected: the next one has other ordinals.</summary>
    DictionaryCollected,

    /// <summary>Something was deleted: what is written from then on is newer.</summary>
    Deletion,

    /// <summary>It holds as much as block-only mode puts into a block.</summary>
    BlockFull,
}

/// <summary>When the active MemTable is switched. Pure: figures in, decision out.</summary>
/// <param name="FixedBytes">Size of a MemTable in bytes, or null to grow with the active series.</param>
/// <param name="Threshold">Fill, as part of the size, at which it rotates; above 0, at most 1.</param>
/// <param name="LogBytes">Most log that may wait for a flush, in bytes.</param>
/// <param name="MaxAgeMs">Longest life in ms.</param>
/// <param name="ClosedAgeMs">Life in ms after which it rotates if it holds some of a closed window: late senders must not cause a flush at each sample.</param>
/// <param name="MemoryBytes">Memory of the machine or container in bytes.</param>
public sealed record RotationPolicy(long? FixedBytes, double Threshold, long LogBytes, long MaxAgeMs, long ClosedAgeMs, long MemoryBytes)
{
    /// <summary>Smallest size that <c>auto</c> chooses: small tables cost more to read and to merge than they save in memory.</summary>
    public const long AutoMinBytes = 64L << 20;

    /// <summary>State and chunk bytes of one series that holds about 60 samples, slack included.</summary>
    public const long AutoBytesPerSeries = 384;

    /// <summary>Size in bytes at which block-only mode switches it.</summary>
    public long BlockBytes { get; init; } = long.MaxValue;

    /// <summary>Samples at which block-only mode switches it.</summary>
    public long BlockSamples { get; init; } = long.MaxValue;

    // A log three quarters full still leaves room for what arrives during the flush that empties it.
    private const double LogFill = 0.75;

    /// <summary>Size of a full MemTable in bytes, given how many series it holds.</summary>
    public long SizeFor(int seriesCount) =>
        FixedBytes ?? Math.Clamp(seriesCount * AutoBytesPerSeries, AutoMinBytes, Math.Max(AutoMinBytes, MemoryBytes / 16));

    /// <summary>Whether the active MemTable has to be switched, and why.</summary>
    /// <param name="bytes">Its size in bytes.</param>
    /// <param name="seriesCount">Series in it.</param>
    /// <param name="sampleCount">Samples in it.</param>
    /// <param name="unflushedLogBytes">Log bytes that no table holds yet, all segments together.</param>
    /// <param name="ageMs">Time since it was created in ms.</param>
    /// <param name="holdsClosedWindow">True if a window that is closed waits for it.</param>
    /// <param name="isBlockOnly">True in block-only mode.</param>
    /// <param name="hasRecords">True if its segment holds something, even if that is no sample.</param>
    public RotationReason Decide(
        long bytes, int seriesCount, long sampleCount, long unflushedLogBytes, long ageMs, bool holdsClosedWindow, bool isBlockOnly = false,
        bool hasRecords = false)
    {
        if (sampleCount == 0 && !hasRecords) return RotationReason.None;
        if (isBlockOnly && (bytes >= BlockBytes || sampleCount >= BlockSamples)) return RotationReason.BlockFull;
        if (bytes >= SizeFor(seriesCount) * Threshold) return RotationReason.Size;
        if (unflushedLogBytes >= LogBytes * LogFill) return RotationReason.LogSize;
        if (ageMs >= MaxAgeMs) return RotationReason.Age;
        return holdsClosedWindow && ageMs >= ClosedAgeMs ? RotationReason.WindowClosed : RotationReason.None;
    }
}
