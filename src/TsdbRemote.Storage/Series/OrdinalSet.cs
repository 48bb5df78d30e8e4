using System.Numerics;

namespace TsdbRemote.Storage.Series;

/// <summary>A growing set of ordinals, one bit each. Not thread-safe.</summary>
internal sealed class OrdinalSet(int expected)
{
    private ulong[] _words = new ulong[(expected >> 6) + 1];

    /// <summary>Ordinals in it.</summary>
    public int Count { get; private set; }

    /// <summary>True if the ordinal is in it.</summary>
    public bool Contains(uint ordinal)
    {
        uint word = ordinal >> 6;
        return word < (uint)_words.Length && (_words[word] >> (int)(ordinal & 63) & 1) != 0;
    }

    /// <summary>Adds an ordinal.</summary>
    /// <returns>False if it was there.</returns>
    public bool Add(uint ordinal)
    {
        uint word = ordinal >> 6;
        if (word >= (uint)_words.Length) Array.Resize(ref _words, (int)Math.Max(word + 1, (uint)_words.Length * 2));
        ulong bit = 1UL << (int)(ordinal & 63);
        if ((_words[word] & bit) != 0) return false;
        _words[word] |= bit;
        Count++;
        return true;
    }

    /// <summary>The ordinals, ascending.</summary>
    public uint[] ToArray()
    {
        uint[] ordinals = new uint[Count];
        int at = 0;
        for (int i = 0; i < _words.Length; i++)
        {
            for (ulong rest = _words[i]; rest != 0; rest &= rest - 1) ordinals[at++] = ((uint)i << 6) + (uint)BitOperations.TrailingZeroCount(rest);
        }

        return ordinals;
    }
}
