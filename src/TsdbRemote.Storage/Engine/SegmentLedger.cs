using System.Collections.Immutable;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>One log segment whose samples no table holds yet.</summary>
/// <param name="Number">Its number.</param>
/// <param name="CreatedMs">When it was created, or found at open; ms since the epoch.</param>
/// <param name="Bytes">Log bytes in it; for the active segment the log knows better.</param>
/// <param name="LastSequence">Sequence of its last record, once it takes no more.</param>
/// <param name="AcceptedEnd">Where replay stopped in a segment that was never sealed; null otherwise.</param>
/// <param name="Inherited">An earlier process left it.</param>
/// <param name="HasFile">False if nothing is logged (<c>wal.durability: none</c>): then the manifest must not name it.</param>
public sealed record LedgerSegment(long Number, long CreatedMs, long Bytes, ulong LastSequence, long? AcceptedEnd, bool Inherited, bool HasFile)
{
    /// <summary>Copies of its doubtful bytes that found no room: they come before its flush, for then the file goes.</summary>
    public IReadOnlyList<OwedCopy> Owed { get; init; } = [];

    /// <summary>What the manifest says of it.</summary>
    public SegmentEntry Entry => new(Number, AcceptedEnd, Inherited);
}

/// <summary>Which segments hold acknowledged samples that no table has. Thread-safe.</summary>
public sealed class SegmentLedger
{
    private readonly Lock _changes = new();

    // Asked for by every write, so it is kept and not summed.
    private long _bytes;
    private ImmutableSortedDictionary<long, LedgerSegment> _segments = ImmutableSortedDictionary<long, LedgerSegment>.Empty;

    /// <summary>Log bytes of all but the active one, whose bytes the log knows.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>All, oldest first.</summary>
    public IEnumerable<LedgerSegment> All => Volatile.Read(ref _segments).Values;

    /// <summary>One segment; it must be there.</summary>
    public LedgerSegment this[long number] => Volatile.Read(ref _segments)[number];

    /// <summary>One segment; null if its flush is committed.</summary>
    public LedgerSegment? Find(long number) => Volatile.Read(ref _segments).GetValueOrDefault(number);

    /// <summary>Adds a segment or replaces what is known of it.</summary>
    public void Set(LedgerSegment segment)
    {
        lock (_changes)
        {
            _bytes += segment.Bytes - (Find(segment.Number)?.Bytes ?? 0);
            Volatile.Write(ref _segments, _segments.SetItem(segment.Number, segment));
        }
    }

    /// <summary>Forgets a segment whose flush is committed.</summary>
    public void Remove(long number)
    {
        lock (_changes)
        {
            _bytes -= Find(number)?.Bytes ?? 0;
            Volatile.Write(ref _segments, _segments.Remove(number));
        }
    }
}
