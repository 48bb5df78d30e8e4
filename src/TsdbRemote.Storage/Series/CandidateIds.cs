namespace TsdbRemote.Storage.Series;

/// <summary>The ordinals that still match while a selection goes through its matchers: an ascending array that only shrinks.</summary>
/// <remarks>Every filter keeps the order and works in place. Not thread-safe.</remarks>
internal sealed class CandidateIds
{
    private readonly uint[] _ids;

    /// <summary>Starts with these ordinals, ascending; the array is taken over.</summary>
    public CandidateIds(uint[] ids)
    {
        _ids = ids;
        Count = ids.Length;
    }

    /// <summary>Candidates left.</summary>
    public int Count { get; private set; }

    /// <summary>All ordinals below a limit.</summary>
    public static CandidateIds AllBelow(uint limit)
    {
        uint[] ids = new uint[limit];
        for (uint id = 0; id < limit; id++) ids[id] = id;
        return new CandidateIds(ids);
    }

    /// <summary>The ordinals of one list below a limit.</summary>
    public static CandidateIds Of(PostingList list, uint limit)
    {
        uint[] ids = new uint[list.Count];
        int at = 0;
        PostingList.Reader chunks = list.Read();
        while (chunks.MoveNext())
        {
            chunks.Current.CopyTo(ids.AsSpan(at));
            at += chunks.Current.Length;
        }

        while (at > 0 && ids[at - 1] >= limit) at--;
        return new CandidateIds(ids) { Count = at };
    }

    /// <summary>Drops all.</summary>
    public void Clear() => Count = 0;

    /// <summary>Keeps the candidates that are in the list, or those that are not.</summary>
    public void Filter(PostingList list, bool keepListed, CancellationToken cancel)
    {
        int read = 0;
        int write = 0;
        PostingList.Reader chunks = list.Read();
        while (read < Count && chunks.MoveNext())
        {
            cancel.ThrowIfCancellationRequested();
            ReadOnlySpan<uint> chunk = chunks.Current;
            int at = 0;
            while (read < Count && _ids[read] <= chunk[^1])
            {
                uint id = _ids[read++];
                at = FirstNotBelow(chunk, at, id);
                if ((chunk[at] == id) == keepListed) _ids[write++] = id;
            }
        }

        if (!keepListed)
        {
            _ids.AsSpan(read, Count - read).CopyTo(_ids.AsSpan(write));
            write += Count - read;
        }

        Count = write;
    }

    /// <summary>Keeps the candidates that are in the set, or those that are not.</summary>
    public void Filter(IdSet set, bool keepListed)
    {
        int write = 0;
        for (int read = 0; read < Count; read++)
        {
            uint id = _ids[read];
            if (set.Contains(id) == keepListed) _ids[write++] = id;
        }

        Count = write;
    }

    /// <summary>Keeps the candidates of which the predicate is true.</summary>
    public void Filter(Func<uint, bool> predicate, CancellationToken cancel)
    {
        int write = 0;
        for (int read = 0; read < Count; read++)
        {
            cancel.ThrowIfCancellationRequested();
            uint id = _ids[read];
            if (predicate(id)) _ids[write++] = id;
        }

        Count = write;
    }

    /// <summary>The candidates left; the object is used up.</summary>
    public uint[] ToArray() => Count == _ids.Length ? _ids : _ids.AsSpan(0, Count).ToArray();

    // Doubling steps, then bisection: cheap for the next neighbour, logarithmic for a far one. The chunk's last element is not below the
    // id.
    private static int FirstNotBelow(ReadOnlySpan<uint> chunk, int from, uint id)
    {
        int step = 1;
        int low = from;
        int high = from;
        while (chunk[high] < id)
        {
            low = high + 1;
            high = Math.Min(high + step, chunk.Length - 1);
            step *= 2;
        }

        while (low < high)
        {
            int middle = (low + high) / 2;
            if (chunk[middle] < id) low = middle + 1;
            else high = middle;
        }

        return high;
    }
}
