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
/// Blocks are carved from slabs whose size follows what is reserved already (a quarter of it, 2 KiB to 1 MiB), so that a small
/// MemTable stays small and a large one wastes little. A block given back is kept in its class' list for the next taker of that
/// class; the rest of a slab that is too short for a request goes into the lists too. Blocks are never split or joined: sizes
/// repeat, because all series grow through the same steps. Blocks are aligned to 32 bytes, pages to 64.
/// Not thread-safe: the stripe's lock guards it. A finalizer frees what an owner forgot.
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
    private const byte Poison = 0xDB;

    private readonly List<nint> _slabs = [];
    private readonly nint[] _free = new nint[Classes];
    private byte* _next;
    private byte* _end;

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
        return block;
    }

    /// <summary>A zeroed page that lives as long as the slab. A multiple of 64 bytes, aligned to 64.</summary>
    public byte* AllocatePage(int bytes)
    {
        Debug.Assert(bytes % PageAlignment == 0, "pages are whole cache lines");
        // Slabs are aligned; inside one a single grain can be in the way.
        if (_next != _end && (nint)_next % PageAlignment != 0) Free(Carve(Grain), Grain);
        byte* page = Carve(bytes);
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

    private byte* Carve(int bytes)
    {
        if (_end - _next < bytes) TakeSlab(bytes);
        byte* result = _next;
        _next += bytes;
        return result;
    }

    private void TakeSlab(int needed)
    {
        long size = Math.Max(needed, Math.Clamp(ReservedBytes / 4 / MinSlabBytes * MinSlabBytes, MinSlabBytes, MaxSlabBytes));
        _slabs.EnsureCapacity(_slabs.Count + 1);
        byte* slab = (byte*)NativeMemory.AlignedAlloc((nuint)size, PageAlignment);
        _slabs.Add((nint)slab);
        ReservedBytes += size;
        reserved.Add(size);
        KeepRest();
        _next = slab;
        _end = slab + size;
    }

    private void KeepRest()
    {
        while (_end - _next >= Grain)
        {
            int rest = (int)(_end - _next);
            int sizeClass = ClassOf(rest);
            int size = SizeOfClass(sizeClass);
            if (size > rest) size = SizeOfClass(sizeClass - 1);
            Free(_next, size);
            _next += size;
        }
    }

    private void FreeSlabs()
    {
        foreach (nint slab in _slabs) NativeMemory.AlignedFree((void*)slab);
        _slabs.Clear();
        Array.Clear(_free);
        _next = _end = null;
        reserved.Add(-ReservedBytes);
        ReservedBytes = 0;
    }

    /// <summary>A read of a block after its return shows in debug builds.</summary>
    [Conditional("DEBUG")]
    private static void Fill(byte* block, int bytes) => new Span<byte>(block, bytes).Fill(Poison);
}
