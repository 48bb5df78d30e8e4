namespace TsdbRemote.TestSupport;

/// <summary>A file's contents in 4 KiB pages that are never changed once written, so that copies share them.</summary>
/// <remarks>
/// A page that was never written is null and reads as zeros. Bytes behind <see cref="Length"/> are zero, except between
/// <see cref="SetPage"/> and the <see cref="SetLength"/> that must follow it. Not thread-safe.
/// </remarks>
internal sealed class SparseBytes
{
    public const int PageBytes = 4096;

    private readonly List<byte[]?> _pages;

    public SparseBytes()
        : this([], 0)
    {
    }

    private SparseBytes(List<byte[]?> pages, long length)
    {
        _pages = pages;
        Length = length;
    }

    public long Length { get; private set; }

    public SparseBytes Clone() => new([.. _pages], Length);

    public byte[]? Page(int index) => index < _pages.Count ? _pages[index] : null;

    public int Read(long offset, Span<byte> destination)
    {
        if (offset >= Length) return 0;
        int total = (int)Math.Min(destination.Length, Length - offset);
        for (int done = 0; done < total;)
        {
            (int index, int start) = Locate(offset + done);
            int count = Math.Min(total - done, PageBytes - start);
            Span<byte> target = destination.Slice(done, count);
            if (Page(index) is { } page) page.AsSpan(start, count).CopyTo(target);
            else target.Clear();
            done += count;
        }

        return total;
    }

    /// <summary>Writes, growing the file if needed, and reports each new page.</summary>
    public void Write(long offset, ReadOnlySpan<byte> source, List<PageVersion> written)
    {
        Length = Math.Max(Length, offset + source.Length);
        while (!source.IsEmpty)
        {
            (int index, int start) = Locate(offset);
            int count = Math.Min(source.Length, PageBytes - start);
            byte[] page = Page(index) is { } old ? (byte[])old.Clone() : new byte[PageBytes];
            source[..count].CopyTo(page.AsSpan(start));
            SetPage(index, page);
            written.Add(new PageVersion(index, page));
            offset += count;
            source = source[count..];
        }
    }

    /// <summary>Replaces a page without changing the length.</summary>
    public void SetPage(int index, byte[]? page)
    {
        while (_pages.Count <= index) _pages.Add(null);
        _pages[index] = page;
    }

    /// <summary>Cuts or grows; what lies behind the new end is gone.</summary>
    public void SetLength(long length)
    {
        Length = length;
        int kept = (int)((length + PageBytes - 1) / PageBytes);
        if (_pages.Count > kept) _pages.RemoveRange(kept, _pages.Count - kept);
        (int last, int used) = Locate(length);
        if (used == 0 || Page(last) is not { } page || page.AsSpan(used).IndexOfAnyExcept((byte)0) < 0) return;
        page = (byte[])page.Clone();
        page.AsSpan(used).Clear();
        _pages[last] = page;
    }

    private static (int Index, int Start) Locate(long offset) => (checked((int)(offset / PageBytes)), (int)(offset % PageBytes));
}

/// <summary>What a page held after a write.</summary>
internal readonly record struct PageVersion(int Index, byte[] Page);
