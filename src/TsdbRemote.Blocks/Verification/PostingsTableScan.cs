using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Reads the postings offset table entry by entry: rules 30 and 40, but for the order.</summary>
/// <remarks>
/// <code>
/// be32 length │ be32 count │ count × (uvarint 2, name, value, uvarint offset) │ crc32c of all behind the length, be32
/// </code>
/// The checksum is checked before the first entry is read. Not thread-safe.
/// </remarks>
internal sealed class PostingsTableScan : IDisposable
{
    private const int LengthBytes = sizeof(uint);
    private const int MinEntryBytes = 4;

    private readonly Findings _findings;
    private readonly SequentialFile _file;
    private readonly PooledBuffer _name = PooledBuffer.Rent(256);
    private readonly PooledBuffer _value = PooledBuffer.Rent(256);
    private uint _read;

    private PostingsTableScan(Findings findings, SequentialFile file, uint count)
    {
        _findings = findings;
        _file = file;
        Count = count;
    }

    /// <summary>Entries that the table claims, and that its bytes have room for.</summary>
    public uint Count { get; }

    /// <summary>Where the current entry stands.</summary>
    public long Position { get; private set; }

    /// <summary>Name of the current entry.</summary>
    public ReadOnlySpan<byte> Name => _name.Span;

    /// <summary>Value of the current entry.</summary>
    public ReadOnlySpan<byte> Value => _value.Span;

    /// <summary>Offset of the current entry's list.</summary>
    public ulong ListOffset { get; private set; }

    /// <summary>Checks length and checksum.</summary>
    /// <returns>Null if entries cannot be read; that has been reported.</returns>
    public static PostingsTableScan? TryOpen(FileSource index, IndexShape shape, VerifyContext context)
    {
        Findings findings = context.Findings;
        long room = shape.TocOffset - shape.PostingsTable;
        using SequentialFile whole = new(index, shape.PostingsTable, shape.TocOffset, context.Cancel);
        ReadOnlySpan<byte> head = whole.Peek(2 * LengthBytes);
        uint length = head.Length < 2 * LengthBytes ? 0 : BinaryPrimitives.ReadUInt32BigEndian(head);
        if (length < LengthBytes || LengthBytes + (long)length + sizeof(uint) != room)
        {
            findings.Error(
                30, IndexShape.File, shape.PostingsTable,
                $"the postings table has {length} bytes, which does not lead to the table of contents at {shape.TocOffset}");
            return null;
        }

        uint count = BinaryPrimitives.ReadUInt32BigEndian(head[LengthBytes..]);
        long start = shape.PostingsTable + LengthBytes;
        long end = start + length;
        using (SequentialFile body = new(index, start, end, context.Cancel))
        {
            uint crc = ~body.CrcToEnd(uint.MaxValue);
            whole.MoveTo(end);
            if (crc != BinaryPrimitives.ReadUInt32BigEndian(whole.Peek(sizeof(uint))))
            {
                findings.Error(40, IndexShape.File, end, $"checksum of the postings table differs");
                return null;
            }
        }

        if (count > (length - LengthBytes) / MinEntryBytes)
        {
            findings.Error(40, IndexShape.File, start, $"{count} entries do not fit into {length} bytes");
            return null;
        }

        return new PostingsTableScan(findings, new SequentialFile(index, start + LengthBytes, end, context.Cancel), count);
    }

    /// <summary>Reads the next entry.</summary>
    /// <returns>False behind the last one, and where none can be read; that has been reported.</returns>
    public bool MoveNext()
    {
        if (_read == Count)
        {
            if (_file.Remaining > 0)
                _findings.Error(40, IndexShape.File, _file.Position, $"{_file.Remaining} bytes follow the last of {Count} entries");
            return false;
        }

        Position = _file.Position;
        bool isKey = _file.TryReadUvarint(out ulong keys);
        if (isKey && keys != 2)
        {
            _findings.Error(40, IndexShape.File, Position, $"entry {_read} of the postings table has {keys} keys; 2 expected");
            return false;
        }

        if (!isKey || !TryReadString(_name) || !TryReadString(_value) || !_file.TryReadUvarint(out ulong offset))
        {
            _findings.Error(40, IndexShape.File, Position, $"entry {_read} of the postings table cannot be read");
            return false;
        }

        ListOffset = offset;
        _read++;
        return true;
    }

    /// <summary>Whether all entries were read.</summary>
    public bool IsComplete => _read == Count;

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _name.Dispose();
        _value.Dispose();
    }

    private bool TryReadString(PooledBuffer target)
    {
        if (!_file.TryReadUvarint(out ulong length) || length > IndexFormat.MaxLabelBytes || (long)length > _file.Remaining) return false;
        target.SetLength(0);
        target.Append(_file.Peek((int)length));
        _file.Skip((int)length);
        return true;
    }
}
