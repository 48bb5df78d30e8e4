using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Writes the postings lists of an index and the table that finds them: a counting sort over the series just written.</summary>
/// <remarks>
/// How long each list is, is known from counting. So the series section is read back, front to back, and each id put where its lists have
/// room: 4 bytes a posting. Beyond <c>maxPostings</c> the lists come in several passes, each of as many lists as fit (one at least).
/// What is read back is checked: an entry that the disk changed meanwhile is found here. One use; not thread-safe.
/// </remarks>
internal sealed unsafe class PostingsSection : IDisposable
{
    private const int ReadAheadBytes = 1 << 20;
    private const int PieceIds = 16 << 10;

    private readonly FileAppender _file;
    private readonly SectionWriter _section;
    private readonly SymbolSet _symbols;
    private readonly PairTable _pairs;
    private readonly long _seriesCount;
    private readonly long _maxPostings;
    private readonly NativeArray<int> _order;
    private readonly List<LabelRef> _labels = [];
    private readonly List<int> _pairNumbers = [];
    private readonly byte[] _piece = new byte[PieceIds * sizeof(uint)];

    /// <summary>Prepares for all pairs.</summary>
    /// <param name="file">Where the series were appended, and the lists go.</param>
    /// <param name="section">Writes to the same file.</param>
    /// <param name="symbols">Sorted.</param>
    /// <param name="pairs">All pairs with their counts.</param>
    /// <param name="seriesCount">Series in the file.</param>
    /// <param name="maxPostings">Most ids in memory, unless a single list has more.</param>
    public PostingsSection(FileAppender file, SectionWriter section, SymbolSet symbols, PairTable pairs, long seriesCount, long maxPostings)
    {
        _file = file;
        _section = section;
        _symbols = symbols;
        _pairs = pairs;
        _seriesCount = seriesCount;
        _maxPostings = maxPostings;
        _order = pairs.Sorted();
    }

    /// <summary>Appends all lists.</summary>
    /// <param name="seriesStart">Where the series begin, before the padding.</param>
    /// <param name="seriesEnd">Where they end.</param>
    public void WriteLists(long seriesStart, long seriesEnd)
    {
        _file.Flush();

        // The file stays the appender's: this source holds nothing that would have to be disposed.
        var source = new FileSource(_file.File, seriesEnd, mmap: false);
        using var window = new FileWindow(ReadAheadBytes);
        bool withAll = true;
        for (int from = 0; withAll || from < _order.Length;)
        {
            long total = withAll ? _seriesCount : 0;
            int end = from;
            while (end < _order.Length && (total == 0 || total + _pairs[_order[end]].Count <= _maxPostings)) total += _pairs[_order[end++]].Count;
            WritePass(new SectionCursor(source, window, seriesStart, seriesEnd), withAll, from, end, total);
            withAll = false;
            from = end;
        }
    }

    /// <summary>Appends the table.</summary>
    /// <param name="firstList">Where the lists begin; they stand back to back in the order of the table.</param>
    public void WriteTable(long firstList)
    {
        long length = sizeof(uint) + EntrySize(default, default, firstList);
        long at = firstList + ListSize(_seriesCount);
        foreach (int number in _order.Span)
        {
            ref LabelPair pair = ref _pairs[number];
            length += EntrySize(_symbols[pair.Name], _symbols[pair.Value], at);
            at += ListSize(pair.Count);
        }

        _section.Begin(length, "the entries of the postings table");
        _section.AppendUInt32((uint)_order.Length + 1);
        WriteEntry(default, default, firstList);
        at = firstList + ListSize(_seriesCount);
        foreach (int number in _order.Span)
        {
            ref LabelPair pair = ref _pairs[number];
            WriteEntry(_symbols[pair.Name], _symbols[pair.Value], at);
            at += ListSize(pair.Count);
        }

        _section.End();
    }

    /// <inheritdoc/>
    public void Dispose() => _order.Dispose();

    private static long ListSize(long count) => IndexFormat.ListFrameBytes + count * sizeof(uint);

    private static int EntrySize(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, long offset) =>
        Varint.SizeOf(IndexFormat.TableKeys) + Varint.SizeOf((ulong)offset)
            + IndexFormat.SizeOfString(name.Length) + IndexFormat.SizeOfString(value.Length);

    private void WriteEntry(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, long offset)
    {
        _section.AppendVarint(IndexFormat.TableKeys);
        _section.AppendString(name);
        _section.AppendString(value);
        _section.AppendVarint((ulong)offset);
    }

    private void WritePass(SectionCursor series, bool withAll, int from, int end, long total)
    {
        if (total >= uint.MaxValue) throw new InvalidOperationException($"a postings list of {total} series cannot be written");
        uint* ids = (uint*)NativeMemory.Alloc((nuint)Math.Max(total, 1), sizeof(uint));
        try
        {
            uint next = withAll ? (uint)_seriesCount : 0;
            for (int i = from; i < end; i++)
            {
                ref LabelPair pair = ref _pairs[_order[i]];
                pair.Next = next;
                next += pair.Count;
            }

            Collect(series, ids, total, withAll);
            uint* list = ids;
            if (withAll) WriteList(ref list, (uint)_seriesCount);
            for (int i = from; i < end; i++)
            {
                ref LabelPair pair = ref _pairs[_order[i]];
                WriteList(ref list, pair.Count);
                pair.Next = LabelPair.NotCollected;
            }
        }
        finally
        {
            NativeMemory.Free(ids);
        }
    }

    /// <summary>Reads the series back and puts their ids into the lists of this pass.</summary>
    private void Collect(SectionCursor series, uint* ids, long total, bool withAll)
    {
        for (long i = 0; i < _seriesCount; i++)
        {
            long offset = IndexFormat.Align(series.Position, IndexFormat.SeriesAlignment);
            series.Seek(offset);
            ReadOnlySpan<byte> body = ReadBody(ref series);
            int at = 0;
            if (SeriesEntry.TryReadLabels(body, ref at, (uint)_symbols.Count, _labels) is { } problem) throw series.Corrupt(problem);
            uint id = (uint)(offset / IndexFormat.SeriesAlignment);
            if (withAll) ids[i] = id;
            for (int label = 0; label < _labels.Count; label++)
            {
                ref LabelPair pair = ref _pairs[NumberOf(label)];
                if (pair.Next == LabelPair.NotCollected) continue;

                // Counted when they were added, so there is room; but this is native memory, and somebody may have changed the file.
                if (pair.Next >= total) throw series.Corrupt("a series reads back with other labels");
                ids[pair.Next++] = id;
            }
        }
    }

    // Neighbours share many labels at the same place: a comparison instead of a hash.
    private int NumberOf(int label)
    {
        ulong key = LabelPair.KeyOf(_labels[label]);
        if (label == _pairNumbers.Count) _pairNumbers.Add(_pairs.Intern(key));
        else if (_pairs[_pairNumbers[label]].Key != key) _pairNumbers[label] = _pairs.Intern(key);
        return _pairNumbers[label];
    }

    private static ReadOnlySpan<byte> ReadBody(ref SectionCursor series)
    {
        ulong length = series.ReadVarint();
        if (length > IndexFormat.MaxSeriesBytes) throw series.Corrupt($"a series of {length} bytes was written shorter");
        ReadOnlySpan<byte> entry = series.ReadBytes((int)length + IndexFormat.ChecksumBytes);
        ReadOnlySpan<byte> body = entry[..(int)length];
        if (Crc32C.Of(body) != BinaryPrimitives.ReadUInt32BigEndian(entry[body.Length..])) throw series.Corrupt("a series reads back differently");
        return body;
    }

    private void WriteList(ref uint* list, uint count)
    {
        _section.Begin(sizeof(uint) + count * (long)sizeof(uint), "the series of a label");
        _section.AppendUInt32(count);
        while (count > 0)
        {
            int part = (int)Math.Min(count, PieceIds);
            Span<byte> piece = _piece.AsSpan(0, part * sizeof(uint));
            for (int i = 0; i < part; i++) BinaryPrimitives.WriteUInt32BigEndian(piece[(i * sizeof(uint))..], list[i]);
            _section.Append(piece);
            list += part;
            count -= (uint)part;
        }

        _section.End();
    }
}
