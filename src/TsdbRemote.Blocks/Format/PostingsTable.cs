using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>A label name of an index.</summary>
/// <param name="Utf8">The name.</param>
/// <param name="ValueCount">Distinct values it has, 1 or more.</param>
public readonly record struct IndexLabelName(ReadOnlyMemory<byte> Utf8, int ValueCount);

/// <summary>Finds the postings list of a label pair: all names in memory, and of each name's values the place of every 32nd.</summary>
/// <remarks>
/// Checked as a whole when it is opened: checksum, lengths, ascending order. Where the lists lie is checked when they are read.
/// Memory: 1/8 byte a label pair, and about 70 bytes a name. Immutable, thread-safe.
/// </remarks>
internal sealed class PostingsTable
{
    private const int ReadAheadBytes = 4096;

    // Most entries are shorter, and then come out of one window without going back.
    private const int UsualEntryBytes = 128;
    private const int NameOverheadBytes = 70;

    private readonly FileSource _source;
    private readonly Section _section;
    private readonly uint[] _sparse;
    private readonly int[] _firstSparse;

    private PostingsTable(FileSource source, Section section, IndexLabelName[] names, uint[] sparse, int[] firstSparse, long allSeries)
    {
        _source = source;
        _section = section;
        _sparse = sparse;
        _firstSparse = firstSparse;
        Names = names;
        AllSeries = allSeries;
        MemoryBytes = (long)sparse.Length * sizeof(uint) + names.Sum(static name => name.Utf8.Length + (long)NameOverheadBytes);
    }

    /// <summary>Names, ascending by bytes.</summary>
    public IndexLabelName[] Names { get; }

    /// <summary>Offset of the list of every series.</summary>
    public long AllSeries { get; }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes { get; }

    /// <summary>Checks and reads the section.</summary>
    /// <exception cref="CorruptFileException">It is damaged.</exception>
    public static PostingsTable Open(FileSource source, IndexToc toc, FileWindow window)
    {
        long limit = source.Length - IndexToc.Size;
        Section section = Section.Open(source, toc.PostingsTable, limit, window);
        if (section.End + IndexFormat.ChecksumBytes != limit)
            throw source.Corrupt(section.End, "the postings table does not end where the table of contents begins");
        SectionCursor cursor = new(source, window, section.Start, section.End);
        uint count = BinaryPrimitives.ReadUInt32BigEndian(cursor.ReadBytes(sizeof(uint)));
        if (count == 0 || !TryReadEntry(ref cursor, out TableEntry all) || all.Name.Length + all.Value.Length != 0)
            throw cursor.Corrupt("the postings table does not begin with the list of every series");
        long allSeries = all.ListOffset;
        using Builder builder = new(section);
        for (uint i = 1; i < count; i++)
        {
            long at = cursor.Position;
            if (!TryReadEntry(ref cursor, out TableEntry entry)) throw cursor.Corrupt($"entry {i} of the postings table cannot be read");
            if (!builder.TryAdd(entry, at)) throw source.Corrupt(at, $"entry {i} of the postings table does not ascend");
        }

        if (cursor.Position != section.End) throw cursor.Corrupt("bytes are left behind the last entry of the postings table");
        return builder.Build(source, allSeries);
    }

    /// <summary>Finds a name's number; negative if there is none.</summary>
    public int FindName(ReadOnlySpan<byte> name)
    {
        int low = 0;
        int high = Names.Length - 1;
        while (low <= high)
        {
            int middle = low + (high - low) / 2;
            int order = Names[middle].Utf8.Span.SequenceCompareTo(name);
            if (order == 0) return middle;
            if (order < 0) low = middle + 1;
            else high = middle - 1;
        }

        return -1;
    }

    /// <summary>Offset of the list of a label pair; 0 if there is none.</summary>
    public long Find(int name, ReadOnlySpan<byte> value, FileWindow window)
    {
        IndexValues values = ValuesFrom(name, value, window);
        return values.MoveNext() && values.Value.SequenceEqual(value) ? values.ListOffset : 0;
    }

    /// <summary>Starts before the first value of a name.</summary>
    /// <param name="name">The name's number.</param>
    /// <param name="window">Where bytes are read into.</param>
    /// <param name="owned">The window again, if it is to be disposed with the walk.</param>
    public IndexValues Values(int name, FileWindow window, FileWindow? owned = null) => ValuesAt(name, 0, window, owned);

    /// <summary>Starts before the first value of a name that is not below <paramref name="from"/>.</summary>
    public IndexValues ValuesFrom(int name, ReadOnlySpan<byte> from, FileWindow window)
    {
        int low = 0;
        int high = SparseCount(name);
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            IndexValues probe = ValuesAt(name, middle, window);
            if (probe.MoveNext() && probe.Value.SequenceCompareTo(from) <= 0) low = middle + 1;
            else high = middle;
        }

        IndexValues values = ValuesAt(name, Math.Max(low - 1, 0), window);
        values.SkipBelow(from);
        return values;
    }

    /// <summary>A window to go through values with.</summary>
    public static FileWindow NewWindow() => new(ReadAheadBytes);

    /// <summary>Reads one entry; its spans are valid until the cursor reads on.</summary>
    internal static bool TryReadEntry(scoped ref SectionCursor cursor, out TableEntry entry)
    {
        entry = default;
        cursor.Ensure(UsualEntryBytes);
        if (cursor.ReadVarint() != IndexFormat.TableKeys) return false;
        int nameLength = cursor.ReadLength();
        long nameAt = cursor.Position;
        cursor.Seek(nameAt + nameLength);
        int valueLength = cursor.ReadLength();
        long valueAt = cursor.Position;

        // Back to the name, and the whole rest into the window at once: else the value could push the name out of it.
        cursor.Seek(nameAt);
        cursor.Ensure((int)(valueAt - nameAt) + valueLength + Varint.MaxBytes);
        entry.Name = cursor.ReadBytes(nameLength);
        cursor.Seek(valueAt);
        entry.Value = cursor.ReadBytes(valueLength);
        entry.ListOffset = (long)Math.Min(cursor.ReadVarint(), long.MaxValue);
        return true;
    }

    private int SparseCount(int name) => (int)((Names[name].ValueCount + IndexFormat.ValueStep - 1L) / IndexFormat.ValueStep);

    private IndexValues ValuesAt(int name, int block, FileWindow window, FileWindow? owned = null)
    {
        long start = _section.Start + _sparse[_firstSparse[name] + block];
        int rest = Names[name].ValueCount - block * IndexFormat.ValueStep;
        return new IndexValues(new SectionCursor(_source, window, start, _section.End), rest, owned);
    }

    /// <summary>Takes the entries in order and keeps what stays in memory.</summary>
    private sealed class Builder(Section section) : IDisposable
    {
        private readonly List<IndexLabelName> _names = [];
        private readonly List<int> _firstSparse = [];
        private readonly List<uint> _sparse = [];
        private readonly PooledBuffer _previousValue = PooledBuffer.Rent(256);
        private int _values;

        /// <summary>Takes the next entry; false if it is not behind the one before.</summary>
        public bool TryAdd(TableEntry entry, long at)
        {
            int order = _names.Count == 0 ? 1 : entry.Name.SequenceCompareTo(_names[^1].Utf8.Span);
            if (entry.Name.IsEmpty || order < 0 || (order == 0 && entry.Value.SequenceCompareTo(_previousValue.Span) <= 0)) return false;
            if (order > 0)
            {
                EndName();
                _names.Add(new IndexLabelName(entry.Name.ToArray(), 0));
                _firstSparse.Add(_sparse.Count);
            }

            if (_values++ % IndexFormat.ValueStep == 0) _sparse.Add((uint)(at - section.Start));
            _previousValue.SetLength(0);
            _previousValue.Append(entry.Value);
            return true;
        }

        public PostingsTable Build(FileSource source, long allSeries)
        {
            EndName();
            return new PostingsTable(source, section, [.. _names], [.. _sparse], [.. _firstSparse], allSeries);
        }

        public void Dispose() => _previousValue.Dispose();

        private void EndName()
        {
            if (_names.Count > 0) _names[^1] = _names[^1] with { ValueCount = _values };
            _values = 0;
        }
    }
}

/// <summary>One entry of the table.</summary>
internal ref struct TableEntry
{
    public ReadOnlySpan<byte> Name;
    public ReadOnlySpan<byte> Value;
    public long ListOffset;
}
