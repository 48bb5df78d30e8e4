using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Format;

/// <summary>Appends the sections of an index that begin with their length and end with the checksum of what stands between.</summary>
/// <remarks>Use: <see cref="Begin"/>, the parts, <see cref="End"/>. Borrows the appender. Not thread-safe.</remarks>
internal sealed class SectionWriter(FileAppender file)
{
    private uint _crc;
    private long _end;

    /// <summary>Starts a section.</summary>
    /// <param name="length">Bytes that will be appended to it.</param>
    /// <param name="what">What it holds, for the exception.</param>
    /// <exception cref="InvalidOperationException">The format has no room for so many.</exception>
    public void Begin(long length, string what)
    {
        if (length > uint.MaxValue) throw new InvalidOperationException($"{what} take {length} bytes, an index has room for {uint.MaxValue}");
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)length);
        file.Append(bytes);
        _crc = uint.MaxValue;
        _end = file.Position + length;
    }

    /// <summary>Appends bytes.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        _crc = Crc32C.Update(_crc, bytes);
        file.Append(bytes);
    }

    /// <summary>Appends a number of fixed width.</summary>
    public void AppendUInt32(uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        Append(bytes);
    }

    /// <summary>Appends a number of variable width.</summary>
    public void AppendVarint(ulong value)
    {
        Span<byte> bytes = stackalloc byte[Varint.MaxBytes];
        Append(bytes[..Varint.Write(bytes, value)]);
    }

    /// <summary>Appends a string.</summary>
    public void AppendString(ReadOnlySpan<byte> text)
    {
        AppendVarint((ulong)text.Length);
        Append(text);
    }

    /// <summary>Ends the section.</summary>
    public void End()
    {
        if (file.Position != _end) throw new InvalidOperationException($"a section ends at {file.Position}, {_end} was announced");
        Span<byte> bytes = stackalloc byte[IndexFormat.ChecksumBytes];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, ~_crc);
        file.Append(bytes);
    }
}
