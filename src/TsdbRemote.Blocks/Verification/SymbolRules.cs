using System.Buffers.Binary;
using System.Text.Unicode;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Reads the symbol table front to back and checks it: rule 31, but for which symbols are used.</summary>
/// <remarks>
/// <code>
/// be32 length │ be32 count │ count × (uvarint length, bytes) │ crc32c of count and strings, be32
/// </code>
/// </remarks>
internal sealed class SymbolRules : IDisposable
{
    private const int LengthBytes = sizeof(uint);

    private readonly Findings _findings;
    private readonly SequentialFile _file;
    private readonly List<long> _groups = [];
    private readonly PooledBuffer _last = PooledBuffer.Rent(256);
    private uint _crc = uint.MaxValue;
    private bool _isSorted = true;
    private long _metricName = -1;
    private long _empty = -1;
    private int _longest;

    private SymbolRules(FileSource index, long start, long end, VerifyContext context)
    {
        _findings = context.Findings;
        _file = new SequentialFile(index, start, end, context.Cancel);
    }

    /// <summary>Reads and checks the table.</summary>
    /// <returns>Null if symbols cannot be told apart; that has been reported.</returns>
    public static SymbolTable? TryRead(FileSource index, IndexShape shape, VerifyContext context)
    {
        using SymbolRules rules = new(index, shape.Symbols, shape.Series, context);
        ReadOnlySpan<byte> head = rules._file.Peek(2 * LengthBytes);
        if (head.Length < 2 * LengthBytes) return rules.Broken($"the symbol table has no room for its length");
        uint length = BinaryPrimitives.ReadUInt32BigEndian(head);
        uint count = BinaryPrimitives.ReadUInt32BigEndian(head[LengthBytes..]);
        long end = shape.Symbols + LengthBytes + length;
        if (end + sizeof(uint) != shape.Series || length < LengthBytes)
            return rules.Broken($"the symbol table is {length} bytes long, which does not lead to the series at {shape.Series}");
        if (count > length - LengthBytes) return rules.Broken($"{count} symbols do not fit into {length} bytes");
        rules._file.Skip(LengthBytes);
        rules.Pass(LengthBytes);
        for (uint i = 0; i < count; i++)
        {
            if (!rules.TryPassSymbol(i, end)) return null;
        }

        if (rules._file.Position != end) rules.Broken($"{end - rules._file.Position} bytes follow the last of {count} symbols");
        return rules.Close(index, count, end);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _last.Dispose();
    }

    private SymbolTable Close(FileSource index, uint count, long end)
    {
        Pass((int)Math.Min(end - _file.Position, int.MaxValue));
        if (~_crc != BinaryPrimitives.ReadUInt32BigEndian(_file.Peek(sizeof(uint))))
            _findings.Error(31, IndexShape.File, _file.Position, $"checksum of the symbol table differs");
        _groups.Add(end);
        return new SymbolTable(index, _groups, count) { IsSorted = _isSorted, MetricName = _metricName, Empty = _empty, LongestBytes = _longest };
    }

    private bool TryPassSymbol(uint ordinal, long end)
    {
        if (ordinal % SymbolTable.GroupSize == 0) _groups.Add(_file.Position);
        long start = _file.Position;
        int prefix = 0;
        bool isLength = Varint.TryRead(_file.Peek(Varint.MaxBytes), ref prefix, out ulong length);
        if (!isLength || length > IndexFormat.MaxLabelBytes || start + prefix + (long)length > end)
        {
            Broken($"symbol {ordinal} is longer than {IndexFormat.MaxLabelBytes} bytes or than its table");
            return false;
        }

        Pass(prefix);
        Check(_file.Peek((int)length), ordinal, start);
        Pass((int)length);
        return true;
    }

    private void Check(ReadOnlySpan<byte> symbol, uint ordinal, long offset)
    {
        if (!Utf8.IsValid(symbol)) _findings.Error(31, IndexShape.File, offset, $"symbol {ordinal} is not UTF-8");
        if (ordinal > 0 && _last.Span.SequenceCompareTo(symbol) >= 0)
        {
            _isSorted = false;
            _findings.Error(31, IndexShape.File, offset, $"symbol {ordinal} is not above the one before");
        }

        _longest = Math.Max(_longest, symbol.Length);
        if (symbol.IsEmpty) _empty = ordinal;
        if (symbol.SequenceEqual("__name__"u8)) _metricName = ordinal;
        _last.SetLength(0);
        _last.Append(symbol);
    }

    private void Pass(int count)
    {
        while (count > 0)
        {
            ReadOnlySpan<byte> piece = _file.Peek(Math.Min(count, 1 << 16));
            if (piece.IsEmpty) return;
            _crc = Crc32C.Update(_crc, piece);
            _file.Skip(piece.Length);
            count -= piece.Length;
        }
    }

    private SymbolTable? Broken(FormattableString what)
    {
        _findings.Error(31, IndexShape.File, _file.Position, $"{FormattableString.Invariant(what)}");
        return null;
    }
}
