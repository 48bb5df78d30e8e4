using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>A part of a file in memory, moved along it in large steps.</summary>
/// <remarks>
/// What was read and not yet looked at is carried over to the front when the window moves. The window grows only for a run longer than
/// itself, so the caller must have checked lengths against its limit and against <see cref="Limit"/>. Not thread-safe.
/// </remarks>
internal sealed class LogWindow : IDisposable
{
    private const int ReadAttempts = 4;

    private readonly IFile _file;
    private readonly int _step;
    private PooledBuffer _buffer;
    private long _start;

    /// <summary>A window at the start of a file, empty.</summary>
    /// <param name="file">The file; stays the caller's.</param>
    /// <param name="limit">Where the window's world ends; at most the file's length.</param>
    /// <param name="step">Bytes to read at a time.</param>
    public LogWindow(IFile file, long limit, int step)
    {
        _file = file;
        Limit = limit;
        _step = step;
        _buffer = PooledBuffer.Rent(step);
    }

    /// <summary>Offset behind the last byte.</summary>
    public long Limit { get; }

    /// <summary>All bytes at hand from an offset on.</summary>
    /// <param name="offset">First byte.</param>
    /// <param name="least">At least so many, or all up to the limit.</param>
    /// <returns>Valid until the next call.</returns>
    public ReadOnlySpan<byte> At(long offset, int least)
    {
        if (offset >= Limit) return default;
        least = (int)Math.Min(least, Limit - offset);
        if (offset < _start || offset + least > _start + _buffer.Length) MoveTo(offset, least);
        return _buffer.Span[(int)(offset - _start)..];
    }

    /// <summary>The first byte from an offset on that is not zero, or <see cref="Limit"/>.</summary>
    public long FirstNonZero(long offset)
    {
        while (offset < Limit)
        {
            ReadOnlySpan<byte> span = At(offset, 1);
            int found = span.IndexOfAnyExcept((byte)0);
            if (found >= 0) return offset + found;
            offset += span.Length;
        }

        return Limit;
    }

    /// <summary>Offset behind the last byte that is not zero, or <paramref name="offset"/> if all are.</summary>
    public long BehindLastNonZero(long offset)
    {
        long behind = offset;
        while (offset < Limit)
        {
            ReadOnlySpan<byte> span = At(offset, 1);
            int found = span.LastIndexOfAnyExcept((byte)0);
            if (found >= 0) behind = offset + found + 1;
            offset += span.Length;
        }

        return behind;
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    private void MoveTo(long offset, int least)
    {
        int size = (int)Math.Min(Math.Max(least, _step), Limit - offset);
        int carried = offset >= _start ? (int)Math.Max(0, _start + _buffer.Length - offset) : 0;
        ReadOnlySpan<byte> carry = _buffer.Span[(_buffer.Length - carried)..];
        if (size > _buffer.Capacity)
        {
            PooledBuffer larger = PooledBuffer.Rent(size);
            larger.Append(carry);
            _buffer.Dispose();
            _buffer = larger;
        }
        else
        {
            _buffer.SetLength(Math.Max(_buffer.Length, carried));
            carry.CopyTo(_buffer.Span);
        }

        _buffer.SetLength(carried);
        _start = offset;
        int missing = size - carried;
        Read(offset + carried, _buffer.Reserve(missing)[..missing]);
        _buffer.SetLength(size);
    }

    // Again and again: a read error is not corruption, and taking it for one would throw good records away.
    private void Read(long offset, Span<byte> destination)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                int read = _file.Read(offset, destination);
                if (read == destination.Length) return;
                throw Unreadable(offset + read, "the file became shorter while it was read", null);
            }
            catch (DiskException) when (attempt < ReadAttempts)
            {
                // And therefore the same bytes are asked for once more.
            }
            catch (DiskException error)
            {
                throw Unreadable(offset, error.Message, error);
            }
        }
    }

    private LogRefusedException Unreadable(long offset, string what, Exception? cause) =>
        new(LogRefusal.Unreadable, _file.Path, offset, what, cause);
}
