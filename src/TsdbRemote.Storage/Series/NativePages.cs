using System.Runtime.InteropServices;

namespace TsdbRemote.Storage.Series;

/// <summary>A growing array of plain structs outside the garbage-collected heap, whose elements never move.</summary>
/// <remarks>
/// Use:       the writer calls <see cref="EnsureThrough"/> and fills elements; then it publishes their index by a volatile write elsewhere (a count,
///            a table entry). Readers who learnt the index that way read the element without a lock.
/// Invariant: pages are only ever added. The short directory of pages is copied on growth and published whole, so a reader sees the
///            old or the new one, and an element's address is the same in both.
/// Threads:   one writer at a time for <see cref="EnsureThrough"/>; any number of readers. Nobody may read during or after <see cref="Dispose"/>.
/// </remarks>
internal sealed unsafe class NativePages<T> : IDisposable
    where T : unmanaged
{
    private readonly int _shift;
    private readonly uint _mask;
    private readonly T? _initial;
    private nint[] _pages = [];

    /// <summary>No pages yet.</summary>
    /// <param name="pageShift">Base-2 logarithm of the elements of one page.</param>
    /// <param name="initial">What new elements hold; null for zeros, which cost nothing until touched.</param>
    public NativePages(int pageShift, T? initial = null)
    {
        _shift = pageShift;
        _mask = (1u << pageShift) - 1;
        _initial = initial;
    }

    /// <summary>Frees what was not disposed.</summary>
    ~NativePages() => Free();

    /// <summary>Bytes taken from the system.</summary>
    public long AllocatedBytes => (long)Volatile.Read(ref _pages).Length * PageBytes;

    private long PageBytes => (long)sizeof(T) << _shift;

    /// <summary>The element; its page must exist.</summary>
    public ref T this[uint index] => ref ((T*)Volatile.Read(ref _pages)[index >> _shift])[index & _mask];

    /// <summary>True if the element's page exists.</summary>
    public bool Covers(uint index) => index >> _shift < (uint)Volatile.Read(ref _pages).Length;

    /// <summary>Creates all missing pages up to that of <paramref name="index"/>. One caller at a time.</summary>
    public void EnsureThrough(uint index)
    {
        nint[] pages = _pages;
        int needed = (int)(index >> _shift) + 1;
        if (needed <= pages.Length) return;
        nint[] more = new nint[needed];
        pages.CopyTo(more, 0);
        for (int i = pages.Length; i < needed; i++) more[i] = NewPage();
        Volatile.Write(ref _pages, more);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private nint NewPage()
    {
        if (_initial is not { } initial) return (nint)NativeMemory.AllocZeroed((nuint)PageBytes);
        nint page = (nint)NativeMemory.Alloc((nuint)PageBytes);
        new Span<T>((T*)page, 1 << _shift).Fill(initial);
        return page;
    }

    private void Free()
    {
        nint[] pages = Interlocked.Exchange(ref _pages, []);
        foreach (nint page in pages) NativeMemory.Free((void*)page);
    }
}
