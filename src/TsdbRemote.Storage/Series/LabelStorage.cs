using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Series;

/// <summary>What the dictionary keeps of each series beside its label bytes: 32 bytes, half a cache line, no object.</summary>
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

    /// <summary>The series that came behind this one in a request, its ordinal + 1; 0 if none did. A guess: any writer's word stands.</summary>
    public uint Follower;

    /// <summary>The run.</summary>
    public readonly ReadOnlySpan<byte> Run => new(Labels, Length);
}

/// <summary>Label bytes and records of all series, by ordinal. Neither ever moves.</summary>
/// <remarks>
/// One writer at a time; an ordinal below <see cref="Count"/> may be read without a lock until <see cref="Dispose"/>.
/// Ids ascend with ordinals, but for one stretch at most, whose ids ascend among themselves and are all below those behind it: series that came
/// back while a successor was made (<see cref="SeriesCollection"/>).
/// </remarks>
internal sealed class LabelStorage : IDisposable
{
    private const int RecordPageShift = 12;

    private readonly NativeArena _bytes = new();
    private NativePages<SeriesRecord> _records = new(RecordPageShift);
    private int _count;
    private int _lowerStart;
    private int _lowerEnd;

    /// <summary>Series stored.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>False if ids do not ascend with ordinals everywhere.</summary>
    public bool IdsAscend => _lowerEnd == 0;

    /// <summary>Native bytes taken from the system.</summary>
    public long AllocatedBytes => _bytes.AllocatedBytes + _records.AllocatedBytes;

    /// <summary>The record of a stored series.</summary>
    public ref readonly SeriesRecord this[uint ordinal] => ref _records[ordinal];

    /// <summary>The series that came behind another, its ordinal + 1; 0 if none is known. Any thread reads and writes it.</summary>
    public ref uint FollowerOf(uint ordinal) => ref _records[ordinal].Follower;

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

    /// <summary>Notes that the series from this ordinal on are the stretch whose ids begin anew. Before anybody else knows this object.</summary>
    public void BeginLower() => _lowerStart = _count;

    /// <summary>Ends the stretch.</summary>
    public void EndLower() => _lowerEnd = _count > _lowerStart ? _count : 0;

    /// <summary>Finds the ordinal of an id.</summary>
    public bool TryOrdinalOf(ulong id, out uint ordinal)
    {
        int count = Count;
        if (_lowerEnd == 0) return TryFind(id, 0, count, out ordinal);
        if (_lowerEnd < count && id >= _records[(uint)_lowerEnd].Id) return TryFind(id, _lowerEnd, count, out ordinal);
        return TryFind(id, 0, _lowerStart, out ordinal) || TryFind(id, _lowerStart, _lowerEnd, out ordinal);
    }

    /// <summary>All ordinals below a limit in ascending order of their ids. The limit is not within the stretch whose ids begin anew.</summary>
    public IEnumerable<uint> InOrderOfIds(int limit)
    {
        uint lower = (uint)_lowerStart;
        uint lowerEnd = (uint)_lowerEnd;
        for (uint ordinal = 0; ordinal < limit; ordinal++)
        {
            if (lower < lowerEnd && ordinal == _lowerStart)
            {
                while (lower < lowerEnd) yield return lower++;
            }

            if (ordinal >= _lowerStart && ordinal < lowerEnd) continue;
            while (lower < lowerEnd && _records[lower].Id < _records[ordinal].Id) yield return lower++;
            yield return ordinal;
        }
    }

    private bool TryFind(ulong id, int from, int end, out uint ordinal)
    {
        ordinal = 0;
        if (from == end) return false;
        ulong first = _records[(uint)from].Id;
        ulong last = _records[(uint)end - 1].Id;
        if (id < first || id > last) return false;

        // Ids are nearly dense, and a gap of g ids moves an ordinal by g at most: both bounds together leave as many places as there are gaps.
        long low = Math.Max(from, end - 1 - (long)Math.Min(last - id, int.MaxValue));
        long high = Math.Min(end - 1, from + (long)Math.Min(id - first, int.MaxValue));
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
