using System.Buffers;
using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>A body that is whole before its first byte is sent, so that every failure still has a status; in pages, and bounded.</summary>
/// <remarks>Not thread-safe.</remarks>
internal sealed class JsonBody(long maxBytes) : IBufferWriter<byte>, IDisposable
{
    private const int FirstPage = 16 << 10;
    private const int LargestPage = 1 << 20;

    private readonly List<(PooledBuffer Page, int Used)> _pages = [];

    /// <summary>Bytes written.</summary>
    public long Length { get; private set; }

    /// <summary>What to say if it grew beyond its bound; null as long as it has not.</summary>
    public HttpAnswer? Refusal => Length <= maxBytes ? null : HttpAnswers.ReadTooBig(string.Create(
        CultureInfo.InvariantCulture, $"the answer exceeds the memory of one read (storage.read.memory = {maxBytes} bytes); narrow the matchers or the time range, or set a limit"), Limit.ReadMemory);

    /// <inheritdoc/>
    public void Advance(int count)
    {
        (PooledBuffer page, int used) = _pages[^1];
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(page.Length - used), nameof(count));
        _pages[^1] = (page, used + count);
        Length += count;
    }

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        int needed = Math.Max(sizeHint, 1);
        if (_pages.Count == 0 || _pages[^1].Page.Length - _pages[^1].Used < needed)
        {
            PooledBuffer added = PooledBuffer.Rent(Math.Max(needed, (int)Math.Clamp(Length, FirstPage, LargestPage)));
            added.SetLength(added.Capacity);
            _pages.Add((added, 0));
        }

        (PooledBuffer page, int used) = _pages[^1];
        return page.Memory[used..];
    }

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <summary>Sends it.</summary>
    public async Task CopyToAsync(Stream target, CancellationToken cancel)
    {
        foreach ((PooledBuffer page, int used) in _pages) await target.WriteAsync(page.Memory[..used], cancel);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((PooledBuffer page, _) in _pages) page.Dispose();
        _pages.Clear();
    }
}
