using System.Numerics;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Verification;

/// <summary>How many series carry each label pair and a fingerprint of their ids, to compare with the stored postings (rule 43).</summary>
/// <remarks>
/// Open addressing over native memory, 20 bytes a slot at a load of at most 4/5, made once at the size that the postings table claims: 25
/// bytes a pair. The fingerprint is 64 bits over the ids in their order; two different lists share one by chance only, once in 2^64.
/// More pairs than claimed are counted, not kept: the claim is then wrong, which is the finding. Not thread-safe.
/// </remarks>
internal sealed unsafe class PairFingerprints : IDisposable
{
    private readonly uint _slots;
    private readonly uint _limit;
    private Slot* _table;

    /// <summary>An empty table.</summary>
    /// <param name="pairs">Most pairs that are kept.</param>
    public PairFingerprints(uint pairs)
    {
        _limit = Math.Min(pairs, int.MaxValue);
        _slots = _limit + _limit / 4 + 1;
        _table = (Slot*)NativeMemory.AllocZeroed(_slots, (nuint)sizeof(Slot));
    }

    /// <summary>Frees what was not disposed.</summary>
    ~PairFingerprints() => Free();

    /// <summary>Pairs that are kept.</summary>
    public uint Count { get; private set; }

    /// <summary>Whether there were more pairs than there was room for.</summary>
    public bool Overflowed { get; private set; }

    /// <summary>Adds a series to the list of a pair.</summary>
    public void Add(uint name, uint value, uint id)
    {
        Slot* slot = Find(name, value);
        if (slot->Count == 0)
        {
            if (Count == _limit)
            {
                Overflowed = true;
                return;
            }

            *slot = new Slot { Name = name, Value = value };
            Count++;
        }

        Fingerprint ids = new() { Hash = slot->Hash };
        ids.Add(id);
        slot->Hash = ids.Hash;
        slot->Count = Math.Min(slot->Count + 1, Slot.CountMask);
    }

    /// <summary>Takes out the list of a pair, once.</summary>
    /// <param name="name">Ordinal of the name.</param>
    /// <param name="value">Ordinal of the value.</param>
    /// <param name="ids">Count and fingerprint.</param>
    /// <returns>False if no series has the pair.</returns>
    public bool TryTake(uint name, uint value, out Fingerprint ids)
    {
        Slot* slot = Find(name, value);
        ids = new Fingerprint { Count = slot->Count & Slot.CountMask, Hash = slot->Hash };
        if (slot->Count == 0) return false;
        slot->Count |= Slot.Taken;
        return true;
    }

    /// <summary>The first pair from a slot on that nobody took.</summary>
    /// <param name="from">Where to look; behind the slot found on return.</param>
    /// <param name="name">Ordinal of the name.</param>
    /// <param name="value">Ordinal of the value.</param>
    /// <param name="count">How many series have it.</param>
    public bool TryNextLeft(ref uint from, out uint name, out uint value, out uint count)
    {
        (name, value, count) = (0, 0, 0);
        while (from < _slots)
        {
            Slot* slot = _table + from++;
            if (slot->Count == 0 || (slot->Count & Slot.Taken) != 0) continue;
            (name, value, count) = (slot->Name, slot->Value, slot->Count);
            return true;
        }

        return false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private Slot* Find(uint name, uint value)
    {
        ulong mixed = (((ulong)name << 32) | value) * 0x9E3779B97F4A7C15;
        mixed ^= mixed >> 29;
        mixed *= 0xBF58476D1CE4E5B9;
        uint at = (uint)((UInt128)mixed * _slots >> 64);
        while (_table[at].Count != 0 && (_table[at].Name != name || _table[at].Value != value)) at = at + 1 == _slots ? 0 : at + 1;
        return _table + at;
    }

    private void Free()
    {
        NativeMemory.Free(_table);
        _table = null;
    }

    /// <summary>Empty while the count is 0. Packed: at ten million pairs each byte is 12 MB.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct Slot
    {
        public const uint Taken = 1u << 31;
        public const uint CountMask = Taken - 1;

        public ulong Hash;
        public uint Name;
        public uint Value;
        public uint Count;
    }
}

/// <summary>Count and order-sensitive hash of a list of series ids.</summary>
internal record struct Fingerprint
{
    public uint Count;
    public ulong Hash;

    /// <summary>Appends an id.</summary>
    public void Add(uint id)
    {
        Count++;
        Hash = (BitOperations.RotateLeft(Hash, 23) ^ id) * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
    }
}
