using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Walks the postings table and the lists beside it and compares them with the series: rules 29 and 39 to 45.</summary>
/// <remarks>
/// <code>
/// list   be32 length = 4 + 4n │ be32 n │ n × be32 series id │ crc32c of n and ids, be32        at a multiple of 4
/// </code>
/// Lists are streamed. Not thread-safe.
/// </remarks>
internal sealed class PostingsRules : IDisposable
{
    private const int PieceIds = 1 << 14;
    private const int HeadBytes = 2 * sizeof(uint);

    private readonly VerifyContext _context;
    private readonly IndexShape _shape;
    private readonly SymbolTable _symbols;
    private readonly SeriesRules _series;
    private readonly PostingsTableScan _table;
    private readonly SequentialFile _lists;
    private readonly IReadOnlySet<string> _externalNames;
    private readonly PooledBuffer _lastName = PooledBuffer.Rent(256);
    private readonly PooledBuffer _lastValue = PooledBuffer.Rent(256);
    private long _nameOrdinal = -1;
    private uint _valueHint;
    private long _listsEnd;

    /// <summary>Prepares the walk.</summary>
    /// <param name="context">The verification.</param>
    /// <param name="index">The index.</param>
    /// <param name="shape">Its parts.</param>
    /// <param name="symbols">Its symbols.</param>
    /// <param name="series">Its series, walked.</param>
    /// <param name="table">The postings table at its beginning.</param>
    /// <param name="externalNames">Names of external labels, which no series may have (rule 47).</param>
    public PostingsRules(
        VerifyContext context,
        FileSource index,
        IndexShape shape,
        SymbolTable symbols,
        SeriesRules series,
        PostingsTableScan table,
        IReadOnlySet<string> externalNames)
    {
        _context = context;
        _shape = shape;
        _symbols = symbols;
        _series = series;
        _table = table;
        _externalNames = externalNames;
        _lists = new SequentialFile(index, shape.Postings, shape.PostingsTable, context.Cancel);
        _listsEnd = (shape.Postings + 3) & ~3L;
    }

    private Findings Findings => _context.Findings;

    private string Pair => $"{LabelText.Escape(_table.Name, 64)}=\"{LabelText.Escape(_table.Value, 64)}\"";

    /// <summary>Walks table and lists.</summary>
    public void Walk()
    {
        if (_lists.Peek((int)(_listsEnd - _shape.Postings)).ContainsAnyExcept((byte)0))
            Findings.Error(42, IndexShape.File, _shape.Postings, $"the padding before the first list is not zero");
        bool isFirst = true;
        while (_table.MoveNext())
        {
            bool isAll = _table.Name.IsEmpty && _table.Value.IsEmpty;
            if (isFirst && !isAll)
                Findings.Error(39, IndexShape.File, _table.Position, $"the first entry is {Pair}; the list of all series must be the first");
            CheckOrder(isFirst);
            bool isRead = TryReadList(isAll, out Fingerprint ids);
            if (isAll) CompareAll(isRead, ids);
            else ComparePair(isRead, ids);
            isFirst = false;
        }

        if (isFirst) Findings.Error(39, IndexShape.File, _shape.PostingsTable, $"there is no list of all series");
        if (!_table.IsComplete)
        {
            Findings.Skip(29, 43);
            return;
        }

        if (_shape.LabelIndicesTable != 0 && _listsEnd != _shape.LabelIndicesTable)
        {
            Findings.Error(
                29, IndexShape.File, _shape.TocOffset,
                $"LabelIndicesTable is {_shape.LabelIndicesTable}; the last postings list ends at {_listsEnd}");
        }

        ReportLeft();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _lists.Dispose();
        _lastName.Dispose();
        _lastValue.Dispose();
    }

    private void CheckOrder(bool isFirst)
    {
        int order = isFirst ? 1 : _table.Name.SequenceCompareTo(_lastName.Span);
        bool isNewName = order != 0;
        if (order == 0) order = _table.Value.SequenceCompareTo(_lastValue.Span);
        if (order <= 0) Findings.Error(40, IndexShape.File, _table.Position, $"the entry of {Pair} is not above the one before");
        if (isNewName || order <= 0) _valueHint = 0;
        if (isNewName || isFirst) TakeName();
        _lastName.SetLength(0);
        _lastName.Append(_table.Name);
        _lastValue.SetLength(0);
        _lastValue.Append(_table.Value);
    }

    private void TakeName()
    {
        _nameOrdinal = _symbols.Empty;
        if (_table.Name.IsEmpty) return;
        if (_symbols.IsSorted)
        {
            _nameOrdinal = _symbols.Find(_table.Name);
            if (_nameOrdinal < 0)
                Findings.Error(44, IndexShape.File, _table.Position, $"label name \"{LabelText.Escape(_table.Name, 64)}\" is no symbol");
        }

        if (_externalNames.Count > 0 && _externalNames.Contains(System.Text.Encoding.UTF8.GetString(_table.Name)))
            Findings.Error(47, IndexShape.File, _table.Position, $"external label \"{LabelText.Escape(_table.Name, 64)}\" is also a label of series");
    }

    /// <summary>Reads the list of the current entry.</summary>
    /// <returns>False if its ids cannot be believed; that has been reported.</returns>
    private bool TryReadList(bool isAll, out Fingerprint ids)
    {
        ids = default;
        ulong offset = _table.ListOffset;
        if (offset > long.MaxValue || (long)offset < _shape.Postings || (long)offset > _shape.PostingsTable - HeadBytes - sizeof(uint))
        {
            Findings.Error(42, IndexShape.File, _table.Position, $"the list of {Pair} at {offset} lies outside the postings");
            return false;
        }

        if ((long)offset != _listsEnd)
            Findings.Error(42, IndexShape.File, _table.Position, $"the list of {Pair} stands at {offset}; the one before ends at {_listsEnd}");
        if (offset % 4 != 0) Findings.Error(41, IndexShape.File, (long)offset, $"the list of {Pair} does not stand at a multiple of 4");
        _lists.MoveTo((long)offset);
        ReadOnlySpan<byte> head = _lists.Peek(HeadBytes);
        long length = BinaryPrimitives.ReadUInt32BigEndian(head);
        uint count = BinaryPrimitives.ReadUInt32BigEndian(head[sizeof(uint)..]);
        if (length != sizeof(uint) + sizeof(uint) * (long)count || sizeof(uint) + length + sizeof(uint) > _lists.Remaining)
        {
            Findings.Error(41, IndexShape.File, (long)offset, $"the list of {Pair} has {count} ids in {length} bytes");
            return false;
        }

        if (count == 0 && !(isAll && _series.SeriesCount == 0)) Findings.Error(41, IndexShape.File, (long)offset, $"the list of {Pair} is empty");
        uint crc = Crc32C.Update(uint.MaxValue, head[sizeof(uint)..]);
        _lists.Skip(HeadBytes);
        ListFaults faults = ReadIds(count, ref ids, ref crc);
        bool holds = ~crc == BinaryPrimitives.ReadUInt32BigEndian(_lists.Peek(sizeof(uint)));
        _lists.Skip(sizeof(uint));
        _listsEnd = _lists.Position;
        if (holds) Report(faults, (long)offset);
        else Findings.Error(41, IndexShape.File, (long)offset, $"checksum of the list of {Pair} differs");
        return holds;
    }

    private ListFaults ReadIds(uint count, ref Fingerprint ids, ref uint crc)
    {
        ListFaults faults = default;
        uint last = 0;
        long left = count;
        long firstBehind = _shape.LabelIndices / IndexShape.SeriesAlignment + (_shape.LabelIndices % IndexShape.SeriesAlignment == 0 ? 0 : 1);
        while (left > 0)
        {
            ReadOnlySpan<byte> piece = _lists.Peek((int)Math.Min(left, PieceIds) * sizeof(uint));
            crc = Crc32C.Update(crc, piece);
            for (int at = 0; at < piece.Length; at += sizeof(uint))
            {
                uint id = BinaryPrimitives.ReadUInt32BigEndian(piece[at..]);
                if (ids.Count > 0 && id <= last) faults.Unsorted ??= id;
                if (id >= firstBehind) faults.Outside ??= id;
                else if (_series.IsComplete && !_series.Ids.Has(id)) faults.Unknown ??= id;
                ids.Add(id);
                last = id;
            }

            _lists.Skip(piece.Length);
            left -= piece.Length / sizeof(uint);
        }

        return faults;
    }

    private void Report(in ListFaults faults, long offset)
    {
        if (faults.Unsorted is { } unsorted)
            Findings.Error(41, IndexShape.File, offset, $"id {unsorted} in the list of {Pair} is not above the one before");
        if (faults.Unknown is { } unknown) Findings.Error(41, IndexShape.File, offset, $"id {unknown} in the list of {Pair} is no series");
        if (faults.Outside is { } outside)
        {
            Findings.Error(
                45, IndexShape.File, offset, $"id {outside} in the list of {Pair} lies behind the series, which end at {_shape.LabelIndices}");
        }
    }

    private void CompareAll(bool isRead, Fingerprint ids)
    {
        if (!isRead || !_series.IsComplete) return;
        if (ids != _series.AllIds)
        {
            Findings.Error(
                39, IndexShape.File, (long)_table.ListOffset,
                $"the list of all series names {ids.Count}, of {_series.AllIds.Count} that there are, or others");
        }
    }

    private void ComparePair(bool isRead, Fingerprint ids)
    {
        if (!_series.IsComplete || !_symbols.IsSorted)
        {
            Findings.Skip(43);
            return;
        }

        long value = _nameOrdinal < 0 ? -1 : _symbols.Find(_table.Value, _valueHint);
        if (value >= 0) _valueHint = (uint)value;
        if (value < 0 || !_series.Pairs.TryTake((uint)_nameOrdinal, (uint)value, out Fingerprint expected))
        {
            if (!_series.Pairs.Overflowed) Findings.Error(43, IndexShape.File, _table.Position, $"no series has {Pair}, which has a list");
        }
        else if (isRead && ids != expected)
        {
            Findings.Error(
                43, IndexShape.File, (long)_table.ListOffset,
                $"the list of {Pair} names {ids.Count} series, {expected.Count} have it, or others");
        }
    }

    private void ReportLeft()
    {
        if (!_series.IsComplete || !_symbols.IsSorted) return;
        if (_series.Pairs.Overflowed)
            Findings.Error(43, IndexShape.File, _shape.PostingsTable, $"series have more label pairs than the {_table.Count} lists that there are");
        uint slot = 0;
        while (_series.Pairs.TryNextLeft(ref slot, out uint name, out uint value, out uint count))
        {
            Findings.Error(
                43, IndexShape.File, _shape.PostingsTable,
                $"{count} series have {LabelText.Escape(_symbols.Get(name), 64)}=\"{LabelText.Escape(_symbols.Get(value), 64)}\", which has no list");
        }
    }

    /// <summary>The first id of each fault in one list.</summary>
    private struct ListFaults
    {
        public uint? Unsorted;
        public uint? Unknown;
        public uint? Outside;
    }
}
