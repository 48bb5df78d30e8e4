using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>A look at some bytes of a <see cref="FileSource"/>: out of its map, or out of a buffer that reads ahead.</summary>
/// <remarks>One owner, any number of sources one after the other. What was shown is valid until the next look. Not thread-safe.</remarks>
/// <param name="readAhead">Bytes read at least, where the file is not mapped and has as many.</param>
internal sealed class FileWindow(int readAhead) : IDisposable
{
    private FileSource? _source;
    private PooledBuffer? _buffer;
    private long _start;
    private int _length;

    /// <summary>Bytes from an offset on: as many as asked for, and whatever follows and costs nothing.</summary>
    /// <param name="source">The file.</param>
    /// <param name="offset">Where they begin.</param>
    /// <param name="length">How many are needed.</param>
    /// <param name="end">Where their section ends; at most the file's length.</param>
    /// <exception cref="CorruptFileException">The section, or the file, ends before.</exception>
    public ReadOnlySpan<byte> At(FileSource source, long offset, int length, long end)
    {
        if (offset < 0 || length > end - offset) throw source.Corrupt(offset, $"{length} bytes are expected, the section ends at {end}");
        if (source.Map is { } map) return map.Slice(offset, (int)Math.Min(end - offset, int.MaxValue)).Span;
        if (source != _source || offset < _start || offset + length > _start + _length) Load(source, offset, length, end);
        int skipped = (int)(offset - _start);
        return _buffer!.Span[skipped..(int)Math.Min(_length, end - _start)];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _source = null;
        _buffer?.Dispose();
    }

    private void Load(FileSource source, long offset, int length, long end)
    {
        _source = null;
        _length = (int)Math.Min(end - offset, Math.Max(length, readAhead));
        source.Read(offset, _length, ref _buffer);
        _start = offset;
        _source = source;
    }
}
