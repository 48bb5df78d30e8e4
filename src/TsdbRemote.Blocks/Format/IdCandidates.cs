namespace TsdbRemote.Blocks.Format;

/// <summary>The series that still match while a selection goes through its matchers: an ascending array that only shrinks.</summary>
/// <remarks>
/// Use: filter by a whole list, <see cref="Filter(ReadOnlySpan{uint}, bool)"/>, or by one that comes in pieces: <see cref="Begin"/>, each piece
/// in order, <see cref="End"/>. Every filter keeps the order and works in place. Not thread-safe.
/// </remarks>
internal sealed class IdCandidates(uint[] ids)
{
    private readonly uint[] _ids = ids;
    private int _read;
    private int _write;

    /// <summary>Candidates left.</summary>
    public int Count { get; private set; } = ids.Length;

    /// <summary>Drops all.</summary>
    public void Clear() => Count = 0;

    /// <summary>Keeps the candidates that are in an ascending list, or those that are not.</summary>
    public void Filter(ReadOnlySpan<uint> list, bool keepListed)
    {
        Begin();
        FilterPiece(list, keepListed);
        End(keepListed);
    }

    /// <summary>Starts a filter whose list comes in pieces.</summary>
    public void Begin() => _read = _write = 0;

    /// <summary>Goes on with the next piece.</summary>
    public void FilterPiece(ReadOnlySpan<uint> piece, bool keepListed)
    {
        int at = 0;
        while (!piece.IsEmpty && _read < Count && _ids[_read] <= piece[^1])
        {
            uint id = _ids[_read++];
            at = FirstNotBelow(piece, at, id);
            if ((piece[at] == id) == keepListed) _ids[_write++] = id;
        }
    }

    /// <summary>Ends it: what lies behind the list is in it no more.</summary>
    public void End(bool keepListed)
    {
        if (!keepListed)
        {
            _ids.AsSpan(_read, Count - _read).CopyTo(_ids.AsSpan(_write));
            _write += Count - _read;
        }

        Count = _write;
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

    // Doubling steps, then bisection: cheap for the next neighbour, logarithmic for a far one. The piece's last id is not below.
    private static int FirstNotBelow(ReadOnlySpan<uint> piece, int from, uint id)
    {
        int step = 1;
        int low = from;
        int high = from;
        while (piece[high] < id)
        {
            low = high + 1;
            high = Math.Min(high + step, piece.Length - 1);
            step *= 2;
        }

        while (low < high)
        {
            int middle = (low + high) / 2;
            if (piece[middle] < id) low = middle + 1;
            else high = middle;
        }

        return high;
    }
}
