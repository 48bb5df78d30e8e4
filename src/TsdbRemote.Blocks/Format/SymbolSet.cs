using System.Buffers.Binary;
using System.IO.Hashing;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Collects the distinct strings of an index, sorts them, and then knows each one's ordinal.</summary>
/// <remarks>
/// <code>
/// slot u64:   high 32 bits of the hash │ number + 1            0 = free; linear probing
/// </code>
/// Use:     <see cref="Add"/> as often as needed, <see cref="Sort"/> once, then <see cref="TryFind"/> and the indexer.
/// Memory:  native: the bytes of each string, and 27 to 53 a string, 12 more while sorting; no object a string, no garbage.
/// Hostile: the hash has a seed drawn for each set, so that nobody can prepare strings that collide.
/// Not thread-safe.
/// </remarks>
internal sealed unsafe class SymbolSet : IDisposable
{
    private const int MinSlots = 256;

    private readonly NativeArena _bytes = new();
    private readonly long _seed = Random.Shared.NextInt64();
    private NativeArray<ulong> _slots = new(MinSlots);
    private readonly NativeArray<Symbol> _symbols = new(MinSlots / 2);
    private readonly NativeArray<int> _order = new(0);
    private readonly NativeArray<ulong> _used = new(0);

    /// <summary>Distinct strings.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes of all strings with their lengths, as an index stores them.</summary>
    public long EncodedBytes { get; private set; }

    /// <summary>Strings that <see cref="TryFind"/> found at least once.</summary>
    public int UsedCount { get; private set; }

    /// <summary>A string by its ordinal, once sorted.</summary>
    public ReadOnlySpan<byte> this[uint ordinal] => _symbols[_order[(int)ordinal]].Bytes;

    /// <summary>Adds a string, if it is new.</summary>
    public void Add(ReadOnlySpan<byte> text)
    {
        ulong hash = XxHash3.HashToUInt64(text, _seed);
        int slot = SlotOf(hash, text, out int number);
        if (number >= 0) return;
        if (Count == _symbols.Length) _symbols.Grow((int)Math.Min(Count * 2L, Array.MaxLength));
        NativeBytes copy = _bytes.Allocate(text.Length);
        text.CopyTo(copy.Span);
        _symbols[Count] = new Symbol { Pointer = copy.Pointer, Length = text.Length };
        _slots[slot] = (hash & 0xFFFFFFFF_00000000) | (uint)(Count + 1);
        Count++;
        EncodedBytes += IndexFormat.SizeOfString(text.Length);
        if (Count > _slots.Length / 4 * 3) Grow();
    }

    /// <summary>Gives each string its ordinal, by ascending bytes. No string is added after that.</summary>
    public void Sort()
    {
        // The first eight bytes decide nearly always: only strings equal in those are compared in memory.
        using var keys = new NativeArray<ulong>(Count);
        _order.Grow(Count);
        for (int i = 0; i < Count; i++)
        {
            keys[i] = KeyOf(_symbols[i].Bytes);
            _order[i] = i;
        }

        keys.Span.Sort(_order.Span);
        int from = 0;
        for (int i = 1; i <= keys.Length; i++)
        {
            if (i < keys.Length && keys[i] == keys[from]) continue;
            if (i - from > 1) _order.Span[from..i].Sort((a, b) => _symbols[a].Bytes.SequenceCompareTo(_symbols[b].Bytes));
            from = i;
        }

        for (int i = 0; i < Count; i++) _symbols[_order[i]].Ordinal = (uint)i;
        _used.Grow((Count + 63) / 64);
    }

    /// <summary>Finds a string's ordinal, once sorted, and notes that it is used.</summary>
    public bool TryFind(ReadOnlySpan<byte> text, out uint ordinal)
    {
        SlotOf(XxHash3.HashToUInt64(text, _seed), text, out int number);
        ordinal = 0;
        if (number < 0) return false;
        ordinal = _symbols[number].Ordinal;
        ref ulong word = ref _used[(int)(ordinal / 64)];
        ulong bit = 1UL << (int)(ordinal % 64);
        if ((word & bit) == 0) UsedCount++;
        word |= bit;
        return true;
    }

    /// <summary>Some string that was never found; an empty one if there is none.</summary>
    public ReadOnlySpan<byte> FirstUnused()
    {
        for (uint ordinal = 0; ordinal < (uint)Count; ordinal++)
        {
            if ((_used[(int)(ordinal / 64)] & (1UL << (int)(ordinal % 64))) == 0) return this[ordinal];
        }

        return default;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _bytes.Dispose();
        _slots.Dispose();
        _symbols.Dispose();
        _order.Dispose();
        _used.Dispose();
    }

    private static ulong KeyOf(ReadOnlySpan<byte> text)
    {
        if (text.Length >= sizeof(ulong)) return BinaryPrimitives.ReadUInt64BigEndian(text);
        Span<byte> padded = stackalloc byte[sizeof(ulong)];
        padded.Clear();
        text.CopyTo(padded);
        return BinaryPrimitives.ReadUInt64BigEndian(padded);
    }

    /// <summary>The slot of a string, or the free one where it would go; its number, or -1.</summary>
    private int SlotOf(ulong hash, ReadOnlySpan<byte> text, out int number)
    {
        int slot = (int)(hash & (ulong)(_slots.Length - 1));
        for (; _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            ulong entry = _slots[slot];
            if ((entry ^ hash) >> 32 != 0) continue;
            number = (int)((uint)entry - 1);
            if (_symbols[number].Bytes.SequenceEqual(text)) return slot;
        }

        number = -1;
        return slot;
    }

    private void Grow()
    {
        // The low bits of the hash are not kept: they are computed again.
        if (_slots.Length > Array.MaxLength / 2) throw new InvalidOperationException($"an index of more than {Count} symbols cannot be written");
        var larger = new NativeArray<ulong>(_slots.Length * 2);
        for (int number = 0; number < Count; number++)
        {
            ulong hash = XxHash3.HashToUInt64(_symbols[number].Bytes, _seed);
            int slot = (int)(hash & (ulong)(larger.Length - 1));
            while (larger[slot] != 0) slot = (slot + 1) & (larger.Length - 1);
            larger[slot] = (hash & 0xFFFFFFFF_00000000) | (uint)(number + 1);
        }

        _slots.Dispose();
        _slots = larger;
    }

    private struct Symbol
    {
        public byte* Pointer;
        public int Length;
        public uint Ordinal;

        public readonly ReadOnlySpan<byte> Bytes => new(Pointer, Length);
    }
}
