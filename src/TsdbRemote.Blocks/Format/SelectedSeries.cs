using System.Numerics;

namespace TsdbRemote.Blocks.Format;

/// <summary>Series that were selected, ascending, in as few bytes as they go: few as their ids, many as one bit each of the ids that there can be.</summary>
/// <remarks>
/// A read of very many series holds one of these for each block as long as it lasts: an id takes four bytes, a bit for each 16 bytes of an index about
/// three quarters of one. Use: <see cref="Add"/> ascending ids; then <see cref="MoveNext"/> once over all. Not thread-safe.
/// </remarks>
internal sealed class SelectedSeries
{
    private readonly uint _min;
    private readonly ulong[] _bits = [];
    private readonly uint[] _ids = [];
    private ulong _rest;
    private int _next;

    /// <summary>An empty selection.</summary>
    /// <param name="minId">No id is below.</param>
    /// <param name="limitId">All ids are below.</param>
    /// <param name="count">How many ids will be added, at most.</param>
    public SelectedSeries(uint minId, uint limitId, uint count)
    {
        _min = minId;
        long words = (Math.Max((long)limitId - minId, 0) + 63) / 64;
        if (words * sizeof(ulong) < (long)count * sizeof(uint)) _bits = new ulong[words];
        else _ids = new uint[count];
    }

    /// <summary>No series.</summary>
    public SelectedSeries()
    {
    }

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>The series of the last <see cref="MoveNext"/>.</summary>
    public uint Current { get; private set; }

    /// <summary>Adds ids within the bounds, behind those that are there.</summary>
    public void Add(ReadOnlySpan<uint> ids)
    {
        if (_bits.Length == 0) ids.CopyTo(_ids.AsSpan(Count));
        else
        {
            foreach (uint id in ids)
            {
                uint bit = id - _min;
                _bits[bit >> 6] |= 1UL << (int)(bit & 63);
            }
        }

        Count += ids.Length;
    }

    /// <summary>Steps to the next series.</summary>
    public bool MoveNext()
    {
        if (_bits.Length == 0)
        {
            if (_next >= Count) return false;
            Current = _ids[_next++];
            return true;
        }

        while (_rest == 0)
        {
            if (_next >= _bits.Length) return false;
            _rest = _bits[_next++];
        }

        Current = _min + ((uint)(_next - 1) << 6) + (uint)BitOperations.TrailingZeroCount(_rest);
        _rest &= _rest - 1;
        return true;
    }
}
