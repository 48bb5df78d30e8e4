using System.Buffers;
using System.Numerics;

namespace TsdbRemote.Blocks.Format;

/// <summary>Unites postings lists: few ids in a list that is sorted at the end, many as one bit each of the ids that the file can hold.</summary>
/// <remarks>Memory: one bit for each 16 bytes of the index at most, whatever the lists hold. Dispose it. Not thread-safe.</remarks>
internal sealed class IdUnion : IDisposable
{
    // Sorting an id costs about as much as clearing and counting this many words of the bit set.
    private const int WordsPerSortedId = 16;
    private const int MinSorted = 512;

    private readonly uint _min;
    private readonly int _words;
    private readonly int _maxSorted;
    private readonly List<uint> _few = [];
    private ulong[]? _bits;

    /// <summary>An empty union.</summary>
    /// <param name="minId">No id is below.</param>
    /// <param name="limitId">All ids are below.</param>
    public IdUnion(uint minId, uint limitId)
    {
        _min = minId;
        _words = (int)((Math.Max((long)limitId - minId, 0) + 63) / 64);
        _maxSorted = Math.Max(_words / WordsPerSortedId, MinSorted);
    }

    /// <summary>Adds ids within the bounds, in any order.</summary>
    public void Add(ReadOnlySpan<uint> ids)
    {
        if (_bits is null && _few.Count + ids.Length <= _maxSorted)
        {
            _few.AddRange(ids);
            return;
        }

        _bits ??= ToBits();
        Set(_bits, ids);
    }

    /// <summary>The ids, ascending, each once.</summary>
    public uint[] ToArray()
    {
        if (_bits is null) return ToSorted();
        ReadOnlySpan<ulong> words = _bits.AsSpan(0, _words);
        int count = 0;
        foreach (ulong word in words) count += BitOperations.PopCount(word);
        uint[] ids = new uint[count];
        int at = 0;
        for (int i = 0; i < words.Length; i++)
        {
            for (ulong rest = words[i]; rest != 0; rest &= rest - 1) ids[at++] = _min + ((uint)i << 6) + (uint)BitOperations.TrailingZeroCount(rest);
        }

        return ids;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_bits is { } bits) ArrayPool<ulong>.Shared.Return(bits);
        _bits = null;
    }

    private ulong[] ToBits()
    {
        ulong[] bits = ArrayPool<ulong>.Shared.Rent(_words);
        bits.AsSpan(0, _words).Clear();
        Set(bits, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_few));
        _few.Clear();
        return bits;
    }

    private void Set(ulong[] bits, ReadOnlySpan<uint> ids)
    {
        foreach (uint id in ids)
        {
            uint bit = id - _min;
            bits[bit >> 6] |= 1UL << (int)(bit & 63);
        }
    }

    private uint[] ToSorted()
    {
        _few.Sort();
        int count = 0;
        for (int i = 0; i < _few.Count; i++)
        {
            // Two values of one name have no series in common; a damaged or foreign index may say otherwise.
            if (count == 0 || _few[i] != _few[count - 1]) _few[count++] = _few[i];
        }

        _few.RemoveRange(count, _few.Count - count);
        return [.. _few];
    }
}
