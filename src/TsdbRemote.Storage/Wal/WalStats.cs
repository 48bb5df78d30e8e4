using System.Collections.Immutable;

namespace TsdbRemote.Storage.Wal;

/// <summary>
/// Counters of the log since it was made. Each is exact by itself; together they are a snapshot only when the log is idle.
/// </summary>
/// <param name="Appends">Records written.</param>
/// <param name="Bytes">Bytes of their groups, frames and padding included.</param>
/// <param name="Groups">Group commits.</param>
/// <param name="GroupSizes">Groups by size: entry i counts groups of 2^i up to 2^(i+1) − 1 records; the last entry all larger ones.</param>
/// <param name="Syncs">Successful syncs of segment files.</param>
/// <param name="SyncTime">Time spent in them.</param>
/// <param name="UnsyncedAcknowledgedRecords">Records acknowledged and not yet synced: what a power cut would take now.</param>
/// <param name="UnsyncedAcknowledgedBytes">Bytes of the groups that hold them.</param>
public sealed record WalStats(
    long Appends,
    long Bytes,
    long Groups,
    ImmutableArray<long> GroupSizes,
    long Syncs,
    TimeSpan SyncTime,
    long UnsyncedAcknowledgedRecords,
    long UnsyncedAcknowledgedBytes);

/// <summary>The running counters behind <see cref="WalStats"/>: written under the log's drain lock, read by anybody.</summary>
internal sealed class WalCounters
{
    private const int Buckets = 12;

    private readonly long[] _groupSizes = new long[Buckets];
    private long _appends;
    private long _bytes;
    private long _groups;
    private long _syncs;
    private long _syncTicks;
    private long _unsyncedRecords;
    private long _unsyncedBytes;

    public long UnsyncedRecords => Volatile.Read(ref _unsyncedRecords);

    public void Group(int records, long bytes)
    {
        Add(ref _appends, records);
        Add(ref _bytes, bytes);
        Add(ref _groups, 1);
        Add(ref _groupSizes[Math.Min(int.Log2(records), Buckets - 1)], 1);
    }

    public void AcknowledgedUnsynced(int records, long bytes)
    {
        Add(ref _unsyncedRecords, records);
        Add(ref _unsyncedBytes, bytes);
    }

    public void Synced(TimeSpan took)
    {
        Add(ref _syncs, 1);
        Add(ref _syncTicks, took.Ticks);
        Volatile.Write(ref _unsyncedRecords, 0);
        Volatile.Write(ref _unsyncedBytes, 0);
    }

    public WalStats Snapshot() => new(
        Volatile.Read(ref _appends),
        Volatile.Read(ref _bytes),
        Volatile.Read(ref _groups),
        [.. _groupSizes],
        Volatile.Read(ref _syncs),
        TimeSpan.FromTicks(Volatile.Read(ref _syncTicks)),
        Volatile.Read(ref _unsyncedRecords),
        Volatile.Read(ref _unsyncedBytes));

    // One writer at a time: a plain sum, published for readers.
    private static void Add(ref long counter, long amount) => Volatile.Write(ref counter, counter + amount);
}
