using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Series;

/// <summary>What the dictionary keeps of each series beside its label bytes: 24 bytes, no object.</summary>
internal unsafe struct SeriesRecord
{
    /// <summary>First byte of the canonical run, in the storage's arena.</summary>
    public byte* Labels;

    /// <summary>The id on disk.</summary>
    public ulong Id;

    /// <summary>Bytes of the run.</summary>
    public int Length;

    /// <summary><see cref="OrdinalTable.BitsOf"/> of the run's hash; spares a bulk load from hashing twice.</summary>
    public uint HashBits;

    /// <summary>The run.</summary>
    public readonly ReadOnlySpan<byte> Run => new(Labels, Length);
}

/// <summary>Label bytes and records of all series, by ordinal. Neither ever moves.</summary>
/// <remarks>One writer at a time; an ordinal below <see cref="Count"/> may be read without a lock until <see cref="Dispose"/>.</remarks>
internal sealed class LabelStorage : IDisposable
{
    private const int RecordPageShift = 12;

    private readonly NativeArena _bytes = new();
    private NativePages<SeriesRecord> _records = new(RecordPageShift);
    private int _count;

    /// <summary>Series stored.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Native bytes taken from the system.</summary>
    public long AllocatedBytes => _bytes.AllocatedBytes + _records.AllocatedBytes;

    /// <summary>The record of a stored series.</summary>
    public ref readonly SeriesRecord this[uint ordinal] => ref _records[ordinal];

    /// <summary>Copies a run in and gives it the next ordinal.</summary>
    public unsafe uint Add(ReadOnlySpan<byte> run, ulong id, uint hashBits)
    {
        Invariant.Check(_count < int.MaxValue, "an ordinal is left for another series");
        uint ordinal = (uint)_count;
        NativeBytes copy = _bytes.Allocate(run.Length);
        run.CopyTo(copy.Span);
        _records.EnsureThrough(ordinal);
        _records[ordinal] = new SeriesRecord { Labels = copy.Pointer, Length = run.Length, Id = id, HashBits = hashBits };
        Volatile.Write(ref _count, _count + 1);
        return ordinal;
    }

    /// <summary>Finds the ordinal of an id; ids ascend with ordinals.</summary>
    public bool TryOrdinalOf(ulong id, out uint ordinal)
    {
        ordinal = 0;
        int count = Count;
        if (count == 0) return false;
        ulong first = _records[0].Id;
        ulong last = _records[(uint)count - 1].Id;
        if (id < first || id > last) return false;

        // Ids are nearly dense, and a gap of g ids moves an ordinal by g at most: both bounds together leave as many places as there are gaps.
        long low = Math.Max(0, count - 1 - (long)Math.Min(last - id, int.MaxValue));
        long high = Math.Min(count - 1, (long)Math.Min(id - first, int.MaxValue));
        while (low <= high)
        {
            long middle = (low + high) / 2;
            ulong found = _records[(uint)middle].Id;
            if (found == id)
            {
                ordinal = (uint)middle;
                return true;
            }

            if (found < id) low = middle + 1;
            else high = middle - 1;
        }

        return false;
    }

    /// <summary>Puts records into ascending order of ids and drops repeated ids, of which the first added stays.</summary>
    /// <remarks>Changes ordinals: only while nobody knows one yet, which is during the load at open.</remarks>
    /// <returns>Records dropped.</returns>
    public int SortById()
    {
        int count = _count;
        ulong[] ids = new ulong[count];
        bool ascending = true;
        for (int i = 0; i < count; i++)
        {
            ids[i] = _records[(uint)i].Id;
            if (i > 0 && ids[i] <= ids[i - 1]) ascending = false;
        }

        if (ascending) return 0;
        uint[] order = new uint[count];
        for (int i = 0; i < count; i++) order[i] = (uint)i;
        Array.Sort(order, (a, b) => ids[a] != ids[b] ? ids[a].CompareTo(ids[b]) : a.CompareTo(b));
        return Rearrange(order);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _records.Dispose();
        _bytes.Dispose();
    }

    private int Rearrange(uint[] order)
    {
        var sorted = new NativePages<SeriesRecord>(RecordPageShift);
        int kept = 0;
        foreach (uint from in order)
        {
            SeriesRecord record = _records[from];
            if (kept > 0 && sorted[(uint)kept - 1].Id == record.Id) continue;
            sorted.EnsureThrough((uint)kept);
            sorted[(uint)kept++] = record;
        }

        _records.Dispose();
        _records = sorted;
        _count = kept;
        return order.Length - kept;
    }
}
