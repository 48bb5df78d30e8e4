using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Bytes gathered in pages of 1 MiB, so that growing copies nothing and no single array holds them all.</summary>
/// <remarks>Use: <see cref="Append"/>, then <see cref="WriteTo"/>. Not thread-safe.</remarks>
internal sealed class PagedBytes : IDisposable
{
    private const int PageBytes = 1 << 20;

    private readonly List<PooledBuffer> _pages = [];

    /// <summary>Bytes so far.</summary>
    public long Length { get; private set; }

    /// <summary>Appends bytes.</summary>
    public void Append(ReadOnlySpan<byte> source)
    {
        Length += source.Length;
        while (!source.IsEmpty)
        {
            if (_pages.Count == 0 || _pages[^1].Length == PageBytes) _pages.Add(PooledBuffer.Rent(PageBytes));
            int part = Math.Min(source.Length, PageBytes - _pages[^1].Length);
            _pages[^1].Append(source[..part]);
            source = source[part..];
        }
    }

    /// <summary>Appends all of it to a file.</summary>
    public void WriteTo(FileAppender appender)
    {
        foreach (PooledBuffer page in _pages) appender.Append(page.Span);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PooledBuffer page in _pages) page.Dispose();
        _pages.Clear();
    }
}
