using System.Numerics;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Storage.MemTables;

/// <summary>How ordinals spread over stripes: groups of 16 neighbours, dealt out in turn.</summary>
/// <remarks>Neighbours share a stripe because one scrape's series stand together in a request: one lock serves 16 of them.</remarks>
internal readonly struct StripeLayout(int stripes)
{
    private const int GroupShift = 4;
    private const uint InGroup = (1u << GroupShift) - 1;

    private readonly uint _stripeMask = (uint)stripes - 1;
    private readonly int _stripeShift = BitOperations.Log2((uint)stripes);

    /// <summary>The stripe of a series.</summary>
    public uint StripeOf(uint ordinal) => (ordinal >> GroupShift) & _stripeMask;

    /// <summary>The series' number within its stripe, dense from 0.</summary>
    public uint LocalOf(uint ordinal) => ((ordinal >> (GroupShift + _stripeShift)) << GroupShift) | (ordinal & InGroup);

    /// <summary>The inverse of <see cref="StripeOf"/> and <see cref="LocalOf"/>.</summary>
    public uint OrdinalOf(uint stripe, uint local) => (((local >> GroupShift) << _stripeShift | stripe) << GroupShift) | (local & InGroup);
}

/// <summary>Series of one stripe and one lane: local number → slot → state, all in pages of native memory that never move.</summary>
/// <typeparam name="T">State of a series: whole cache lines, a power of two.</typeparam>
/// <remarks>
/// <code>
/// slot pages    64 × u32: 0 = not here, n = state n - 1      one page for each 1,024 ordinals or so that were ever named
/// state pages   so many T, in the order of arrival        1 KiB, aligned to cache lines
/// </code>
/// The small slots are sparse over all series of the dictionary, the large states dense over those of this MemTable. For the
/// garbage collector there are only the two arrays of page addresses. Not thread-safe: the stripe's lock guards it.
/// </remarks>
internal sealed unsafe class SeriesSlots<T>(ChunkSlab slab)
    where T : unmanaged
{
    private const int SlotShift = 6;
    private const uint SlotMask = (1u << SlotShift) - 1;
    private const int StatePageBytes = 1024;

    // Constants to the compiler, for each T.
    private static readonly int StateShift = BitOperations.Log2((uint)(StatePageBytes / sizeof(T)));
    private static readonly uint StateMask = (1u << StateShift) - 1;

    private nint[] _slotPages = new nint[4];
    private nint[] _statePages = new nint[4];
    private uint _count;

    /// <summary>Series here. May be read without the lock.</summary>
    public int Count => (int)Volatile.Read(ref _count);

    /// <summary>The state of a series, or null if it is not here.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T* Find(uint local)
    {
        nint[] pages = _slotPages;
        uint page = local >> SlotShift;
        if (page >= (uint)pages.Length) return null;
        var slots = (uint*)pages[page];
        if (slots == null) return null;
        uint slot = slots[local & SlotMask];
        return slot == 0 ? null : StateAt(slot - 1);
    }

    /// <summary>
    /// As <see cref="Find"/>, but without the lock: may be null although the series is here. If it is not null, it is the state of the series for as long as
    /// the slab lives; what stands in it may be believed under the lock only.
    /// </summary>
    public T* Guess(uint local)
    {
        nint[] pages = Volatile.Read(ref _slotPages);
        uint page = local >> SlotShift;
        if (page >= (uint)pages.Length) return null;
        var slots = (uint*)Volatile.Read(ref pages[page]);
        if (slots == null) return null;
        uint index = Volatile.Read(ref slots[local & SlotMask]) - 1;
        nint[] states = Volatile.Read(ref _statePages);
        if (index >> StateShift >= (uint)states.Length) return null; // also where the slot is free
        var statePage = (T*)Volatile.Read(ref states[index >> StateShift]);
        return statePage == null ? null : statePage + (index & StateMask);
    }

    /// <summary>A zeroed state for a series that is not here; it exists once <see cref="Publish"/> was called.</summary>
    /// <remarks>In two steps, so that a failed allocation between them leaves no half-made series.</remarks>
    public T* Prepare(uint local)
    {
        PageFor(ref _slotPages, local >> SlotShift, sizeof(uint) << SlotShift);
        PageFor(ref _statePages, _count >> StateShift, sizeof(T) << StateShift);
        T* state = StateAt(_count);
        *state = default;
        return state;
    }

    /// <summary>Makes the prepared state that of the series.</summary>
    public void Publish(uint local)
    {
        uint* slot = (uint*)_slotPages[local >> SlotShift] + (local & SlotMask);
        Invariant.Check(*slot == 0);
        Volatile.Write(ref *slot, _count + 1); // behind the state, for whoever looks without the lock
        Volatile.Write(ref _count, _count + 1);
    }

    /// <summary>Names the local numbers of all series here, ascending.</summary>
    public void ForEach(Action<uint> visit)
    {
        for (uint page = 0; page < (uint)_slotPages.Length; page++)
        {
            var slots = (uint*)_slotPages[page];
            if (slots == null) continue;
            for (uint i = 0; i <= SlotMask; i++)
            {
                if (slots[i] != 0) visit((page << SlotShift) | i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private T* StateAt(uint index) => (T*)_statePages[index >> StateShift] + (index & StateMask);

    private void PageFor(ref nint[] pages, uint page, int bytes)
    {
        if (page >= (uint)pages.Length)
        {
            nint[] more = new nint[checked((int)Math.Max(page + 1, (uint)pages.Length * 2))];
            pages.CopyTo(more, 0);
            Volatile.Write(ref pages, more);
        }

        ref nint address = ref pages[page];
        if (address == 0) Volatile.Write(ref address, (nint)slab.AllocatePage(bytes)); // zeroed before anybody sees it
    }
}
