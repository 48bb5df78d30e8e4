using System.Runtime.InteropServices;

namespace TsdbRemote.Storage.SSTables;

/// <summary>The distinct ids of many ascending runs, 8 bytes each however many windows an id is in.</summary>
/// <remarks>
/// Use: <see cref="Add"/> ids of a run ascending, <see cref="EndRun"/> after each run, then <see cref="Ids"/>. Not thread-safe.
/// </remarks>
internal sealed class DistinctIds
{
    private readonly List<ulong> _fresh = [];
    private List<ulong> _known = [];
    private int _cursor;

    /// <summary>All distinct ids of the runs that have ended, ascending.</summary>
    public ReadOnlySpan<ulong> Ids => CollectionsMarshal.AsSpan(_known);

    /// <summary>Ids, those of the run that has not ended yet counted too.</summary>
    public int Count => _known.Count + _fresh.Count;

    /// <summary>Adds the next id of the run.</summary>
    public void Add(ulong id)
    {
        // One step for most ids: windows of one table mostly hold the same series.
        while (_cursor < _known.Count && _known[_cursor] < id) _cursor++;
        if (_cursor == _known.Count || _known[_cursor] != id) _fresh.Add(id);
    }

    /// <summary>Ends the run.</summary>
    public void EndRun()
    {
        _cursor = 0;
        if (_fresh.Count == 0) return;
        if (_known.Count == 0 || _known[^1] < _fresh[0]) _known.AddRange(_fresh);
        else _known = Merge(_known, _fresh);
        _fresh.Clear();
    }

    private static List<ulong> Merge(List<ulong> left, List<ulong> right)
    {
        List<ulong> merged = new(left.Count + right.Count);
        int next = 0;
        foreach (ulong id in left)
        {
            while (next < right.Count && right[next] < id) merged.Add(right[next++]);
            merged.Add(id);
        }

        while (next < right.Count) merged.Add(right[next++]);
        return merged;
    }
}
