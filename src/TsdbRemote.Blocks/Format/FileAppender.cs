using System.IO.Hashing;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Writes a new file front to back in pieces of about 1 MiB, and keeps the hash of all that went in.</summary>
/// <remarks>After an exception the file's contents are undefined: let it be. Owns the file. Not thread-safe.</remarks>
public sealed class FileAppender : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly PooledBuffer _buffer = PooledBuffer.Rent(PieceBytes);
    private readonly XxHash3 _hash = new();
    private long _written;

    /// <summary>Starts at the front of an empty file.</summary>
    public FileAppender(IFile file) => File = file;

    /// <summary>The file.</summary>
    public IFile File { get; }

    /// <summary>Bytes appended.</summary>
    public long Position => _written + _buffer.Length;

    /// <summary>Appends bytes.</summary>
    public void Append(ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            if (_buffer.Length == PieceBytes) Flush();
            int part = Math.Min(source.Length, PieceBytes - _buffer.Length);
            _buffer.Append(source[..part]);
            source = source[part..];
        }
    }

    /// <summary>Hands everything to the file system.</summary>
    /// <returns>XXH3 of all that was appended.</returns>
    public ulong Flush()
    {
        if (_buffer.Length > 0)
        {
            _hash.Append(_buffer.Span);
            File.Write(_written, _buffer.Span);
            _written += _buffer.Length;
            _buffer.SetLength(0);
        }

        return _hash.GetCurrentHashAsUInt64();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _buffer.Dispose();
        File.Dispose();
    }
}
