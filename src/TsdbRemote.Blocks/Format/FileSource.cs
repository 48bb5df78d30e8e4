using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>The bytes of an open file that does not change any more: out of its map, or read into a buffer of the caller's.</summary>
/// <remarks>Thread-safe; the buffers are the callers' own. Owns file and map.</remarks>
public sealed class FileSource : IDisposable
{
    private readonly IFile _file;

    /// <summary>Takes over a file.</summary>
    /// <param name="file">The file; must not change any more.</param>
    /// <param name="length">Its length.</param>
    /// <param name="mmap">Whether to map it, if that is possible.</param>
    /// <param name="path">Its name, where it is about to get another one; null for the one it was opened by.</param>
    public FileSource(IFile file, long length, bool mmap, string? path = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        _file = file;
        Path = path ?? file.Path;
        Length = length;
        // A map shorter than what the index may name would fault: then the file is read instead.
        if (mmap && file.TryMap() is { } map)
        {
            if (map.Length >= length) Map = map;
            else map.Dispose();
        }
    }

    /// <summary>Bytes of the file.</summary>
    public long Length { get; }

    /// <summary>Name of the file.</summary>
    public string Path { get; }

    /// <summary>The map, or null where the file is read.</summary>
    public MappedFile? Map { get; }

    /// <summary>Bytes of the file, out of the map or read into <paramref name="scratch"/>, which is made or replaced as needed.</summary>
    /// <returns>Valid until the scratch buffer is used again.</returns>
    /// <exception cref="CorruptFileException">The file ends before.</exception>
    public ReadOnlySpan<byte> Get(long offset, int length, ref PooledBuffer? scratch) =>
        Map is null ? Read(offset, length, ref scratch) : Map.Slice(offset, length).Span;

    /// <summary>Reads bytes by system call, whether the file is mapped or not: an error of the disk is then an exception.</summary>
    /// <exception cref="CorruptFileException">The file ends before.</exception>
    public ReadOnlySpan<byte> Read(long offset, int length, ref PooledBuffer? scratch)
    {
        if (scratch is null || scratch.Capacity < length)
        {
            scratch?.Dispose();
            scratch = PooledBuffer.Rent(length);
        }

        scratch.SetLength(length);
        int read = _file.Read(offset, scratch.Span);
        if (read != length) throw Corrupt(offset + read, $"the file ends here, {length - read} bytes are missing");
        return scratch.Span;
    }

    /// <summary>An exception that names this file.</summary>
    public CorruptFileException Corrupt(long offset, string what) => new(Path, offset, what);

    /// <inheritdoc/>
    public void Dispose()
    {
        Map?.Dispose();
        _file.Dispose();
    }
}
