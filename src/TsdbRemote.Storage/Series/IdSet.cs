using System.Buffers;
using System.Numerics;

namespace TsdbRemote.Storage.Series;

/// <summary>A set of ordinals below a limit, one bit each: how the lists of many values are united.</summary>
/// <remarks>Use: <see cref="Add"/> lists, then <see cref="Contains"/> or <see cref="ToArray"/>; dispose. Not thread-safe.</remarks>
internal sealed class IdSet : IDisposable
{
    private readonly uint _limit;
    private readonly int _words;
    private ulong[] _bits;

    /// <summary>An empty set.</summary>
    /// <param name="limit">Ordinals from here on are left out.</param>
    public IdSet(uint limit)
    {
        _limit = limit;
        _words = (int)(((long)limit + 63) >> 6);
        _bits = ArrayPool<ulong>.Shared.Rent(_words);
        _bits.AsSpan(0, _words).Clear();
    }

    /// <summary>Adds all ordinals of a list below the limit.</summary>
    public void Add(PostingList list)
    {
        ulong[] bits = _bits;
        PostingList.Reader chunks = list.Read();
        while (chunks.MoveNext())
        {
            foreach (uint id in chunks.Current)
            {
                if (id >= _limit) return;
                bits[id >> 6] |= 1UL << (int)(id & 63);
            }
        }
    }

    /// <summary>True if the ordinal is in the set.</summary>
    /// <param name="id">An ordinal below the limit.</param>
    public bool Contains(uint id) => (_bits[id >> 6] & (1UL << (int)(id & 63))) != 0;

    /// <summary>The ordinals, ascending.</summary>
    public uint[] ToArray()
    {
        ReadOnlySpan<ulong> words = _bits.AsSpan(0, _words);
        int count = 0;
        foreach (ulong word in words) count += BitOperations.PopCount(word);
        uint[] ids = new uint[count];
        int at = 0;
        for (int i = 0; i < words.Length; i++)
        {
            for (ulong rest = words[i]; rest != 0; rest &= rest - 1) ids[at++] = ((uint)i << 6) + (uint)BitOperations.TrailingZeroCount(rest);
        }

        return ids;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        ulong[] bits = Interlocked.Exchange(ref _bits, []);
        if (bits.Length > 0) ArrayPool<ulong>.Shared.Return(bits);
    }
}
