using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>An open index: finds series by their labels, and the chunks of a series; its bytes are drawn in <see cref="IndexFormat"/>.</summary>
/// <remarks>
/// Use:       <see cref="Open"/>, <see cref="SelectSeries"/>, <see cref="ReadSeries"/> for each id; dispose once nobody reads any more: the owner of
///            the block counts its readers, this does not.
/// Invariant: nothing read from the file is believed before its checksum, nor is memory taken by a length that the file does not bear out. Symbols
///            and postings table are checked as a whole on opening, series and lists when they are touched.
/// Memory:    half a byte a symbol, 1/8 byte a label pair, about 70 bytes a label name; nothing a series. A million series with a label of
///            their own each: 0.64 MB (a test measures it).
/// Order:     ids ascend as label sets do, in the order of <see cref="Labels.Compare"/>.
/// Thread-safe. Not here: samples, time, tombstones.
/// </remarks>
public sealed class IndexReader : IDisposable
{
    private const int ReadAheadBytes = 256 << 10;

    private readonly FileSource _source;
    private readonly IndexToc _toc;
    private readonly IndexSymbols _symbols;
    private readonly PostingsTable _table;
    private readonly PostingsLists _lists;

    private IndexReader(FileSource source, IndexToc toc, IndexSymbols symbols, PostingsTable table, FileWindow window)
    {
        _source = source;
        _toc = toc;
        _symbols = symbols;
        _table = table;
        _lists = new PostingsLists(source, toc);
        SeriesCount = _lists.Open(table.AllSeries, window).Count;
    }

    /// <summary>Name of the file.</summary>
    public string Path => _source.Path;

    /// <summary>Bytes of the file.</summary>
    public long Size => _source.Length;

    /// <summary>True if it is mapped, false if it is read.</summary>
    public bool IsMapped => _source.Map is not null;

    /// <summary>Bytes held in memory, the map not counted.</summary>
    public long MemoryBytes => _symbols.MemoryBytes + _table.MemoryBytes;

    /// <summary>Series, as the list of all of them says.</summary>
    public long SeriesCount { get; }

    /// <summary>Distinct strings.</summary>
    public long SymbolCount => _symbols.Count;

    /// <summary>Label names, ascending by bytes, each with its number of values.</summary>
    public IReadOnlyList<IndexLabelName> LabelNames => _table.Names;

    /// <summary>Opens an index and checks everything but series and postings lists.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="path">Its name.</param>
    /// <param name="mmap">Whether to map it; where that is not possible it is read.</param>
    /// <exception cref="CorruptFileException">It is no index, of another version, or damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static IndexReader Open(IFileSystem files, string path, bool mmap) => OpenAs(files, path, mmap, path);

    /// <summary>As <see cref="Open"/>, of a file that is about to be renamed.</summary>
    internal static IndexReader OpenAs(IFileSystem files, string path, bool mmap, string name)
    {
        ArgumentNullException.ThrowIfNull(files);
        IFile file = files.OpenRead(path);
        FileSource? source = null;
        try
        {
            long length = file.Length;
            if (length < IndexFormat.HeaderBytes + IndexToc.Size) throw new CorruptFileException(path, length, "too short for an index");
            source = new FileSource(file, length, mmap, name);
            return OpenChecked(source);
        }
        catch
        {
            if (source is null) file.Dispose();
            else source.Dispose();
            throw;
        }
    }

    /// <summary>Finds the series that satisfy all matchers, with Prometheus' meaning: an absent label has the value "".</summary>
    /// <param name="matchers">The selector; several on one name must all hold. None: no series.</param>
    /// <param name="cache">Evaluated matchers of this index, or null.</param>
    /// <param name="cancel">Checked at each value and each thousand ids.</param>
    /// <returns>Ids, ascending.</returns>
    /// <exception cref="CorruptFileException">A list that was needed is damaged.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public uint[] SelectSeries(IReadOnlyList<Matcher> matchers, PostingsCache? cache, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(matchers);
        using IndexSelection selection = new(this, _table, _lists, cache, cancel);
        return selection.Select(matchers);
    }

    /// <summary>All series.</summary>
    /// <returns>Ids, ascending.</returns>
    /// <exception cref="CorruptFileException">The list of all series is damaged.</exception>
    public uint[] AllSeries(CancellationToken cancel)
    {
        using IndexSelection selection = new(this, _table, _lists, cache: null, cancel);
        return selection.All();
    }

    /// <summary>As <see cref="SelectSeries"/>, in as few bytes as it goes.</summary>
    internal SelectedSeries SelectCompact(IReadOnlyList<Matcher> matchers, PostingsCache? cache, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(matchers);
        using IndexSelection selection = new(this, _table, _lists, cache, cancel);
        return selection.SelectCompact(matchers);
    }

    /// <summary>As <see cref="AllSeries"/>, in as few bytes as it goes.</summary>
    internal SelectedSeries AllCompact(CancellationToken cancel)
    {
        using IndexSelection selection = new(this, _table, _lists, cache: null, cancel);
        return selection.AllCompact();
    }

    /// <summary>Reads labels and chunks of a series.</summary>
    /// <param name="id">An id that this index gave.</param>
    /// <param name="into">Is filled; empty after an exception.</param>
    /// <exception cref="CorruptFileException">The series is damaged, or there is none of that id.</exception>
    public void ReadSeries(uint id, BlockSeries into)
    {
        ArgumentNullException.ThrowIfNull(into);
        bool isRead = false;
        try
        {
            into.Begin(_symbols);
            long offset = id * (long)IndexFormat.SeriesAlignment;
            ReadOnlySpan<byte> body = BodyAt(offset, into.EntryWindow);
            int at = 0;
            string? problem = SeriesEntry.TryReadLabels(body, ref at, _symbols.Count, into.Refs)
                ?? SeriesEntry.TryReadChunks(body, at, into.ChunkList)
                ?? into.BuildLabels();
            if (problem is not null) throw _source.Corrupt(offset, problem);
            into.Id = id;
            isRead = true;
        }
        finally
        {
            if (!isRead) into.Reset();
        }
    }

    /// <summary>Walks the values of a label name; none if no series has it. Dispose the walk.</summary>
    public IndexValues ReadValues(ReadOnlySpan<byte> name)
    {
        int number = _table.FindName(name);
        if (number < 0) return default;
        FileWindow window = PostingsTable.NewWindow();
        return _table.Values(number, window, window);
    }

    /// <summary>The series that have a label pair.</summary>
    /// <param name="listOffset">What <see cref="IndexValues.ListOffset"/> says.</param>
    /// <param name="cancel">Checked at each thousand ids.</param>
    /// <returns>Ids, ascending.</returns>
    /// <exception cref="CorruptFileException">The list is damaged, or there is none.</exception>
    public uint[] ReadList(long listOffset, CancellationToken cancel)
    {
        using FileWindow window = new(PostingsLists.ChunkIds * sizeof(uint));
        return _lists.ToArray(_lists.Open(listOffset, window), window, cancel);
    }

    /// <inheritdoc/>
    public void Dispose() => _source.Dispose();

    private static IndexReader OpenChecked(FileSource source)
    {
        using FileWindow window = new(ReadAheadBytes);
        ReadOnlySpan<byte> header = window.At(source, 0, IndexFormat.HeaderBytes, IndexFormat.HeaderBytes);
        if (IndexFormat.IsNewer(header)) throw new NewerFormatException(source.Path, sizeof(uint), header[sizeof(uint)], IndexFormat.Version);
        string? problem = IndexFormat.CheckHeader(header);
        if (problem is not null) throw source.Corrupt(0, problem);
        long tocAt = source.Length - IndexToc.Size;
        problem = IndexToc.TryRead(window.At(source, tocAt, IndexToc.Size, source.Length), source.Length, out IndexToc toc);
        if (problem is not null) throw source.Corrupt(tocAt, problem);
        IndexSymbols symbols = IndexSymbols.Open(source, toc, window);
        PostingsTable table = PostingsTable.Open(source, toc, window);
        foreach (IndexLabelName name in table.Names)
        {
            if (!symbols.Contains(name.Utf8.Span, window))
                throw source.Corrupt(toc.PostingsTable, $"label name {LabelText.Escape(name.Utf8.Span, 100)} of the postings table is no symbol");
        }

        return new IndexReader(source, toc, symbols, table, window);
    }

    private ReadOnlySpan<byte> BodyAt(long offset, FileWindow window)
    {
        if (offset < _toc.Series || offset >= _toc.PostingsTable) throw _source.Corrupt(offset, "no series can begin here");
        int most = (int)Math.Min(Varint.MaxBytes, _toc.PostingsTable - offset);
        ReadOnlySpan<byte> bytes = window.At(_source, offset, most, _toc.PostingsTable);
        int at = 0;
        if (!Varint.TryRead(bytes, ref at, out ulong length) || length > IndexFormat.MaxSeriesBytes)
            throw _source.Corrupt(offset, "length of a series cannot be read or is too large");
        int whole = at + (int)length + IndexFormat.ChecksumBytes;
        if (bytes.Length < whole) bytes = window.At(_source, offset, whole, _toc.PostingsTable);
        ReadOnlySpan<byte> body = bytes.Slice(at, (int)length);
        uint stored = BinaryPrimitives.ReadUInt32BigEndian(bytes[(at + body.Length)..]);
        return Crc32C.Of(body) == stored ? body : throw _source.Corrupt(offset, "checksum of a series differs");
    }
}
