using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Reads a section of a file front to back, however long it is: lengths are compared with what is left before anything is taken.</summary>
/// <remarks>Offsets are those of the file. Spans handed out are valid until the next call. The window is borrowed.</remarks>
internal ref struct SectionCursor
{
    private readonly FileSource _source;
    private readonly FileWindow _window;
    private ReadOnlySpan<byte> _bytes;
    private long _start;
    private int _at;

    /// <summary>Starts at an offset.</summary>
    /// <param name="source">The file.</param>
    /// <param name="window">Where bytes are read into.</param>
    /// <param name="offset">Where to begin.</param>
    /// <param name="end">Where the section ends; at most the file's length.</param>
    public SectionCursor(FileSource source, FileWindow window, long offset, long end)
    {
        _source = source;
        _window = window;
        _start = offset;
        End = end;
    }

    /// <summary>Where the section ends.</summary>
    public long End { get; }

    /// <summary>Where the next byte stands.</summary>
    public readonly long Position => _start + _at;

    /// <summary>Goes on at another offset.</summary>
    public void Seek(long offset)
    {
        long at = offset - _start;
        if (at >= 0 && at <= _bytes.Length)
        {
            _at = (int)at;
            return;
        }

        _start = offset;
        _at = 0;
        _bytes = default;
    }

    /// <summary>Sees to it that so many bytes, or all that are left if they are fewer, can be read without losing a span handed out since.</summary>
    public void Ensure(int length)
    {
        if (_bytes.Length - _at >= length) return;
        long position = Position;
        int needed = (int)Math.Min(length, Math.Max(End - position, 0));
        if (_bytes.Length - _at >= needed) return;
        _bytes = _window.At(_source, position, needed, End);
        _start = position;
        _at = 0;
    }

    /// <summary>Reads a number.</summary>
    public ulong ReadVarint()
    {
        Ensure(Varint.MaxBytes);
        if (!Varint.TryRead(_bytes, ref _at, out ulong value)) throw Corrupt("a number ends early or is too large");
        return value;
    }

    /// <summary>Reads the length of a string, which is in the section as a whole.</summary>
    public int ReadLength()
    {
        ulong length = ReadVarint();
        if (length > (ulong)(End - Position)) throw Corrupt($"a string of {length} bytes runs past the end of its section");
        if (length > IndexFormat.MaxLabelBytes) throw Corrupt($"a string of {length} bytes, {IndexFormat.MaxLabelBytes} are allowed");
        return (int)length;
    }

    /// <summary>Reads bytes.</summary>
    public ReadOnlySpan<byte> ReadBytes(int length)
    {
        Ensure(length);
        if (_bytes.Length - _at < length) throw Corrupt($"{length} bytes are expected, the section ends at {End}");
        ReadOnlySpan<byte> bytes = _bytes.Slice(_at, length);
        _at += length;
        return bytes;
    }

    /// <summary>Reads a string.</summary>
    public ReadOnlySpan<byte> ReadString() => ReadBytes(ReadLength());

    /// <summary>Steps over a string.</summary>
    public void SkipString()
    {
        int length = ReadLength();
        Seek(Position + length);
    }

    /// <summary>An exception that names file and position.</summary>
    public readonly CorruptFileException Corrupt(string what) => _source.Corrupt(Position, what);
}
