using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;

namespace TsdbRemote.Storage.MemTables;

/// <summary>A sum of bytes that many write and one reads cheaply. Thread-safe.</summary>
internal sealed class ByteCounter
{
    private long _bytes;

    /// <summary>Bytes now.</summary>
    public long Value => Volatile.Read(ref _bytes);

    /// <summary>Adds bytes; takes them off if negative.</summary>
    public void Add(long bytes) => Interlocked.Add(ref _bytes, bytes);
}

/// <summary>Native memory of one stripe: blocks in size classes, given back one by one, and pages that stay. Freed all at once.</summary>
/// <remarks>
/// <code>
/// class  0..15   32, 64, 96, … 512              steps of 32
/// class 16..99   640, 768, 896, 1024, 1280, …   four a doubling, up to 1 GiB
/// </code>
/// Blocks are carved from slabs whose size follows what is reserved already (an eighth of it, 2 KiB to 1 MiB), so that a small
/// MemTable stays small and a large one wastes little. A block given back waits in its class' list for the next taker of that class.
/// Since the series of a scrape grow in step, whole generations of one size come back at once and nobody wants that size any
/// more: without a remedy half of the memory ended in lists. So before a new slab is taken, and if the lists have grown by an
/// eighth of what is reserved since the last time, neighbours are joined to regions that any size can be carved from.
/// Blocks are aligned to 32 bytes, pages to 64. Not thread-safe: the stripe's lock guards it. A finalizer frees what an owner forgot.
/// </remarks>
internal sealed unsafe class ChunkSlab(ByteCounter reserved) : IDisposable
{
    /// <summary>Size and alignment of the smallest block, bytes.</summary>
    public const int Grain = 32;

    /// <summary>Largest block, bytes.</summary>
    public const int MaxBlockBytes = 1 << 30;

    private const int PageAlignment = 64;
    private const int FineClasses = 16;
    private const int FineBytes = FineClasses * Grain;
    private const int FineBytesLog2 = 9;
    private const int Classes = FineClasses + 4 * (30 - FineBytesLog2);
    private const int MinSlabBytes = 2 << 10;
    private const int MaxSlabBytes = 1 << 20;
    private const int MinRegionBytes = 512;
    private const byte Poison = 0xDB;

    private readonly List<nint> _slabs = [];
    private readonly List<Extent> _regions = [];
    private readonly nint[] _free = new nint[Classes];
    private byte* _next;
    private byte* _end;

    // What the lists hold, and at how many bytes the next joining is worth its sort.
    private int _freeBlocks;
    private long _freeBytes;
    private long _joinAtBytes = MinSlabBytes;

    /// <summary>Frees what was not disposed.</summary>
    ~ChunkSlab() => FreeSlabs();

    /// <summary>Bytes taken from the system and not given back.</summary>
    public long ReservedBytes { get; private set; }

    /// <summary>Bytes of the block that a request for <paramref name="bytes"/> gets; 1 to <see cref="MaxBlockBytes"/>.</summary>
    public static int RoundUp(int bytes) => SizeOfClass(ClassOf(bytes));

    /// <summary>A block of at least <paramref name="bytes"/>, contents undefined.</summary>
    /// <param name="bytes">1 to <see cref="MaxBlockBytes"/>.</param>
    /// <param name="capacity">Bytes of the block; what <see cref="Free"/> wants to know.</param>
    /// <exception cref="ArgumentOutOfRangeException">More than the largest block.</exception>
    public byte* Allocate(int bytes, out int capacity)
    {
        int sizeClass = ClassOf(bytes);
        capacity = SizeOfClass(sizeClass);
        byte* block = (byte*)_free[sizeClass];
        if (block == null) return Carve(capacity);
        _free[sizeClass] = *(nint*)block;
        _freeBlocks--;
        _freeBytes -= capacity;
        return block;
    }

    /// <summary>A zeroed page that lives as long as the slab. A multiple of 64 bytes, aligned to 64.</summary>
    public byte* AllocatePage(int bytes)
    {
        Debug.Assert(bytes % PageAlignment == 0, "pages are whole cache lines");
        if ((nint)Carve(0, bytes) % PageAlignment != 0 && (nint)Carve(0, bytes + Grain) % PageAlignment != 0) Free(Carve(Grain, Grain), Grain);
        byte* page = Carve(bytes, bytes);
        NativeMemory.Clear(page, (nuint)bytes);
        return page;
    }

    /// <summary>Gives a block back. Nobody may read it any more.</summary>
    /// <param name="block">From <see cref="Allocate"/>.</param>
    /// <param name="capacity">As <see cref="Allocate"/> said.</param>
    public void Free(byte* block, int capacity)
    {
        int sizeClass = ClassOf(capacity);
        Debug.Assert(SizeOfClass(sizeClass) == capacity, "not a block's size");
        Fill(block, capacity);
        *(nint*)block = _free[sizeClass];
        _free[sizeClass] = (nint)block;
        _freeBlocks++;
        _freeBytes += capacity;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        FreeSlabs();
        GC.SuppressFinalize(this);
    }

    private static int ClassOf(int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)bytes, (uint)MaxBlockBytes, nameof(bytes));
        Debug.Assert(bytes > 0, "a block has a size");
        int last = bytes - 1;
        if (last < FineBytes) return last / Grain;
        int log2 = BitOperations.Log2((uint)last);
        return FineClasses + 4 * (log2 - FineBytesLog2) + ((last >> (log2 - 2)) & 3);
    }

    private static int SizeOfClass(int sizeClass)
    {
        if (sizeClass < FineClasses) return (sizeClass + 1) * Grain;
        int coarse = sizeClass - FineClasses;
        return ((coarse & 3) + 5) << ((coarse >> 2) + FineBytesLog2 - 2);
    }

    private byte* Carve(int bytes) => Carve(bytes, bytes);

    /// <summary>Takes <paramref name="bytes"/> off a region that has at least <paramref name="room"/> left.</summary>
    private byte* Carve(int bytes, int room)
    {
        if (_end - _next < room)
        {
            Keep(new Extent((nint)_next, _end - _next));
            _next = _end = null;
            if (!TryUseRegion(room)) TakeSlab(room);
        }

        byte* result = _next;
        _next += bytes;
        return result;
    }

    private bool TryUseRegion(int room)
    {
        if (_freeBytes >= _joinAtBytes) JoinNeighbours();
        for (int i = _regions.Count - 1; i >= 0; i--)
        {
            if (_regions[i].Bytes < room) continue;
            _next = (byte*)_regions[i].Start;
            _end = (byte*)_regions[i].End;
            _regions.RemoveAt(i);
            return true;
        }

        return false;
    }

    private void TakeSlab(int room)
    {
        long wanted = Math.Clamp(ReservedBytes / 8, MinSlabBytes, MaxSlabBytes) / MinSlabBytes * MinSlabBytes;
        long size = Math.Max(wanted, (room + PageAlignment - 1) / PageAlignment * PageAlignment);
        _slabs.EnsureCapacity(_slabs.Count + 1);
        byte* slab = (byte*)NativeMemory.AlignedAlloc((nuint)size, PageAlignment);
        _slabs.Add((nint)slab);
        ReservedBytes += size;
        reserved.Add(size);
        _next = slab;
        _end = slab + size;
    }

    /// <summary>Empties the lists, joins blocks that touch, and keeps the results as regions, or as blocks where they are short.</summary>
    private void JoinNeighbours()
    {
        int count = _freeBlocks;
        var blocks = (Extent*)NativeMemory.Alloc((nuint)count, (nuint)sizeof(Extent));
        try
        {
            var sorted = new Span<Extent>(blocks, count);
            TakeAll(sorted);
            sorted.Sort(static (a, b) => a.Start.CompareTo(b.Start));
            Extent joined = default;
            foreach (Extent block in sorted)
            {
                if (block.Start == joined.End)
                {
                    joined = joined with { Bytes = joined.Bytes + block.Bytes };
                    continue;
                }

                Keep(joined);
                joined = block;
            }

            Keep(joined);
        }
        finally
        {
            NativeMemory.Free(blocks);
        }

        _joinAtBytes = _freeBytes + ReservedBytes / 8;
    }

    private void TakeAll(Span<Extent> output)
    {
        int at = 0;
        for (int sizeClass = 0; sizeClass < Classes; sizeClass++)
        {
            long size = SizeOfClass(sizeClass);
            for (nint block = _free[sizeClass]; block != 0; block = *(nint*)block) output[at++] = new Extent(block, size);
        }

        Invariant.Check(at == _freeBlocks);
        Array.Clear(_free);
        _freeBlocks = 0;
        _freeBytes = 0;
    }

    /// <summary>Keeps free memory of any length that is a multiple of <see cref="Grain"/>.</summary>
    private void Keep(Extent extent)
    {
        if (extent.Bytes >= MinRegionBytes)
        {
            _regions.Add(extent);
            return;
        }

        byte* start = (byte*)extent.Start;
        int rest = (int)extent.Bytes;
        while (rest >= Grain)
        {
            int sizeClass = ClassOf(rest);
            if (SizeOfClass(sizeClass) > rest) sizeClass--;
            int size = SizeOfClass(sizeClass);
            Free(start, size);
            start += size;
            rest -= size;
        }
    }

    private void FreeSlabs()
    {
        foreach (nint slab in _slabs) NativeMemory.AlignedFree((void*)slab);
        _slabs.Clear();
        _regions.Clear();
        Array.Clear(_free);
        _next = _end = null;
        reserved.Add(-ReservedBytes);
        ReservedBytes = 0;
    }

    /// <summary>A read of a block after its return shows in debug builds.</summary>
    [Conditional("DEBUG")]
    private static void Fill(byte* block, int bytes) => new Span<byte>(block, bytes).Fill(Poison);

    private readonly record struct Extent(nint Start, long Bytes)
    {
        public nint End => Start + (nint)Bytes;
    }
}
