using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>A label pair while its index is written.</summary>
internal struct LabelPair
{
    /// <summary>Ordinals of name and value, the name's in the upper half: their order is that of the postings table.</summary>
    public ulong Key;

    /// <summary>Series that have it.</summary>
    public uint Count;

    /// <summary>While lists are collected: where its next series goes, or <see cref="NotCollected"/>.</summary>
    public uint Next;

    /// <summary>The pair's list is written in another pass.</summary>
    public const uint NotCollected = uint.MaxValue;

    /// <summary>Ordinal of the name.</summary>
    public readonly uint Name => (uint)(Key >> 32);

    /// <summary>Ordinal of the value.</summary>
    public readonly uint Value => (uint)Key;

    /// <summary>The key of a label.</summary>
    public static ulong KeyOf(LabelRef label) => ((ulong)label.Name << 32) | label.Value;
}

/// <summary>The distinct label pairs of an index and how many series have each: open addressing over flat records.</summary>
/// <remarks>
/// Memory: 16 to 32 bytes a pair, as the records grow by doubling, and 5.3 to 10.7 for its slots; 12 more while they are sorted.
/// The keys are ordinals of our own making, which a sender cannot choose one by one. Not thread-safe.
/// </remarks>
internal sealed class PairTable : IDisposable
{
    private const int MinSlots = 256;

    private readonly NativeArray<LabelPair> _pairs = new(MinSlots / 2);
    private NativeArray<uint> _slots = new(MinSlots);

    /// <summary>Distinct pairs. They are numbered from 0.</summary>
    public int Count { get; private set; }

    /// <summary>A pair by its number.</summary>
    public ref LabelPair this[int number] => ref _pairs[number];

    /// <summary>The number of a pair, which is added if it is new.</summary>
    public int Intern(ulong key)
    {
        int slot = SlotOf(key);
        for (; _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            int number = (int)(_slots[slot] - 1);
            if (_pairs[number].Key == key) return number;
        }

        if (Count == _pairs.Length) _pairs.Grow((int)Math.Min(Count * 2L, Array.MaxLength));
        _pairs[Count] = new LabelPair { Key = key, Next = LabelPair.NotCollected };
        _slots[slot] = (uint)++Count;
        if (Count > _slots.Length / 4 * 3) Grow();
        return Count - 1;
    }

    /// <summary>The numbers of all pairs, ascending by key. The caller's to dispose.</summary>
    public NativeArray<int> Sorted()
    {
        using var keys = new NativeArray<ulong>(Count);
        var numbers = new NativeArray<int>(Count);
        for (int i = 0; i < Count; i++)
        {
            keys[i] = _pairs[i].Key;
            numbers[i] = i;
        }

        keys.Span.Sort(numbers.Span);
        return numbers;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pairs.Dispose();
        _slots.Dispose();
    }

    private int SlotOf(ulong key) => (int)((key * 0x9E3779B97F4A7C15) >> 33) & (_slots.Length - 1);

    private void Grow()
    {
        if (_slots.Length > Array.MaxLength / 2) throw new InvalidOperationException($"an index of more than {Count} label pairs cannot be written");
        int larger = _slots.Length * 2;
        _slots.Dispose();
        _slots = new NativeArray<uint>(larger);
        for (int number = 0; number < Count; number++)
        {
            int slot = SlotOf(_pairs[number].Key);
            while (_slots[slot] != 0) slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = (uint)number + 1;
        }
    }
}
