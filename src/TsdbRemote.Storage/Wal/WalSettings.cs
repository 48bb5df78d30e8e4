using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Wal;

/// <summary>What a record holds; the value is its frame type on disk.</summary>
public enum WalRecordKind : byte
{
    /// <summary>The body of a remote write 1.0 request, snappy.</summary>
    WriteV1 = 16,

    /// <summary>The body of a remote write 2.0 request, snappy.</summary>
    WriteV2 = 17,

    /// <summary>The body of a remote write 1.0 request, zstd.</summary>
    WriteV1Zstd = 18,

    /// <summary>The body of a remote write 2.0 request, zstd.</summary>
    WriteV2Zstd = 19,
}

/// <summary>How the log works.</summary>
/// <param name="Durability">When a request counts as logged.</param>
/// <param name="SyncInterval">Longest time that acknowledged records stay unsynced in mode Interval; above zero.</param>
/// <param name="MaxBatch">Most records in one group commit; 1 or more.</param>
/// <param name="Async">True: one thread commits for all. False: each caller drains the queue itself.</param>
/// <param name="PreallocateBytes">Steps in which file space is reserved ahead, in bytes; 4 KiB or more.</param>
public sealed record WalSettings(
    WalDurability Durability, TimeSpan SyncInterval, int MaxBatch, bool Async, int PreallocateBytes = WalSettings.DefaultPreallocateBytes)
{
    /// <summary>8 MiB: a size change costs the sync a journal commit, which then happens once in hundreds of groups.</summary>
    public const int DefaultPreallocateBytes = 8 << 20;

    /// <summary>Refuses what makes no sense.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range.</exception>
    public void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(SyncInterval, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxBatch, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(PreallocateBytes, 4096);
    }
}

/// <summary>A request on its way into the log.</summary>
/// <param name="Sequence">Its place in the order of all records.</param>
/// <param name="Committed">
/// Completes when it is as durable as configured; fails with <see cref="LogFailedException"/> or <see cref="LogFullException"/>.
/// </param>
public readonly record struct WalTicket(ulong Sequence, Task Committed);
