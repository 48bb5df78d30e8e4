using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Open addressing from hash to small numbers: series ordinals, or the numbers of names, values and aliases.</summary>
/// <remarks>
/// <code>
/// entry u64:   high 32 bits of the hash │ number + 1            0 = free
/// </code>
/// Use:       <see cref="Find"/> gives every number whose 32 hash bits are equal; the caller compares the keys themselves, which stand elsewhere.
///            <see cref="Add"/> does not look for equal keys.
/// Slots:     slot = bits × capacity / 2³², then linear probing. Any capacity works, and entries stand in (almost) ascending order of their
///            bits, so that growth reads the old and fills the new table front to back, touching no key.
/// Size:      load 0.5 to 0.75 once grown: 10.7 to 16 bytes an entry.
/// Threads:   one writer at a time; readers take no lock. Growth publishes a new array; a reader in the old one may miss what was added since,
///            so a miss only counts under the writers' lock. Nothing is ever removed.
/// Hostile:   the hash is <see cref="Labels.Hash"/>, another one in each process: nobody outside can tell which keys meet in one run of slots.
/// </remarks>
internal sealed class OrdinalTable
{
    private const int MinCapacity = 16;

    private ulong[] _entries;

    /// <summary>An empty table.</summary>
    /// <param name="expected">Entries that fit without growing.</param>
    public OrdinalTable(int expected = 0) => _entries = new ulong[CapacityFor(expected)];

    /// <summary>Entries held. Exact only for the writer.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes => (long)Volatile.Read(ref _entries).Length * sizeof(ulong);

    /// <summary>The bits of a hash that the table works with.</summary>
    public static uint BitsOf(ulong hash) => (uint)(hash >> 32);

    /// <summary>All numbers added under these bits, oldest first as a rule, possibly with strangers' keys.</summary>
    public Candidates Find(uint bits) => new(Volatile.Read(ref _entries), bits);

    /// <summary>Brings the first slot of these bits near, for a <see cref="Find"/> soon after.</summary>
    public void PrefetchSlot(uint bits)
    {
        ulong[] entries = Volatile.Read(ref _entries);
        Prefetch.Near(ref entries[SlotOf(bits, entries.Length)]);
    }

    /// <summary>Adds a number. One caller at a time.</summary>
    public void Add(uint bits, uint number)
    {
        if (Count + 1 > _entries.Length / 4 * 3) Grow();
        Insert(_entries, ((ulong)bits << 32) | (number + 1));
        Count++;
    }

    private static int CapacityFor(int expected) => (int)Math.Clamp(expected * 3L / 2, MinCapacity, Array.MaxLength);

    private static int SlotOf(uint bits, int capacity) => (int)(((ulong)bits * (uint)capacity) >> 32);

    private static void Insert(ulong[] entries, ulong entry)
    {
        int slot = SlotOf((uint)(entry >> 32), entries.Length);
        while (entries[slot] != 0)
        {
            if (++slot == entries.Length) slot = 0;
        }

        // What the number leads to was written before; a reader that sees the entry sees that too.
        Volatile.Write(ref entries[slot], entry);
    }

    private void Grow()
    {
        ulong[] old = _entries;
        ulong[] larger = new ulong[(int)Math.Min(old.Length * 3L / 2, Array.MaxLength)];
        Invariant.Check(larger.Length > Count + 1, "the hash table has room for another entry");
        foreach (ulong entry in old)
        {
            if (entry != 0) Insert(larger, entry);
        }

        Volatile.Write(ref _entries, larger);
    }

    /// <summary>Walks the entries of equal bits.</summary>
    internal ref struct Candidates
    {
        private readonly ulong[] _entries;
        private readonly uint _bits;
        private int _slot;

        /// <summary>Starts before the first.</summary>
        public Candidates(ulong[] entries, uint bits)
        {
            _entries = entries;
            _bits = bits;
            _slot = SlotOf(bits, entries.Length);
        }

        /// <summary>The number found.</summary>
        public uint Current { readonly get; private set; }

        /// <summary>Steps to the next; ends at the first free slot, of which there always is one.</summary>
        public bool MoveNext()
        {
            while (true)
            {
                ulong entry = Volatile.Read(ref _entries[_slot]);
                if (entry == 0) return false;
                if (++_slot == _entries.Length) _slot = 0;
                if ((uint)(entry >> 32) != _bits) continue;
                Current = (uint)entry - 1;
                return true;
            }
        }
    }
}
