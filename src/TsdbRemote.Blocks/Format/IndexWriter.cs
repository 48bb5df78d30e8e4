using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>Writes the index of a block, front to back; its bytes are drawn in <see cref="IndexFormat"/>.</summary>
/// <remarks>
/// Use:       <see cref="Declare"/> for each series, in any order; then <see cref="Add"/> for each series in label order; then
///            <see cref="Finish"/>, after which the file is durable, though not its name. Without it, or after any exception, the file is
///            garbage that the owner removes. <see cref="Dispose"/> in every case.
/// Invariant: labels strictly ascend, references strictly ascend over all series, and every symbol is used: what readers and Thanos rely on.
/// Memory:    for each symbol its bytes and 27 to 53 (12 more while they are sorted), for each distinct label pair 21 to 43 (12 more at the end),
///            and at the end 4 for each label of each series, 256 MiB of them at most. None of it for chunks.
/// Not thread-safe. Not here: chunks, meta.json, the directory.
/// </remarks>
public sealed class IndexWriter : IDisposable
{
    private const long MaxPostingsInMemory = 64 << 20;

    private readonly FileAppender _file;
    private readonly SectionWriter _section;
    private readonly SymbolSet _symbols = new();
    private readonly PairTable _pairs = new();
    private readonly long _maxPostings;
    private readonly PooledBuffer _entry = PooledBuffer.Rent(1024);
    private readonly PooledBuffer _previousRun = PooledBuffer.Rent(1024);
    private readonly List<LabelRef> _labels = [];
    private readonly List<int> _pairNumbers = [];
    private ulong _previousReference;
    private long _seriesStart;
    private long _series;
    private long _chunks;
    private long _postings;
    private State _state;

    /// <summary>Creates the file.</summary>
    /// <param name="files">Where.</param>
    /// <param name="path">Its name, which must not exist; its directory must.</param>
    /// <exception cref="DiskException">The disk refused.</exception>
    public IndexWriter(IFileSystem files, string path)
        : this(files, path, MaxPostingsInMemory)
    {
    }

    /// <summary>With another bound on the ids in memory, so that a test need not write as many.</summary>
    internal IndexWriter(IFileSystem files, string path, long maxPostings)
    {
        ArgumentNullException.ThrowIfNull(files);
        _file = new FileAppender(files.CreateNew(path));
        _section = new SectionWriter(_file);
        _maxPostings = maxPostings;
    }

    private enum State
    {
        Declaring,
        Adding,
        Finished,
    }

    /// <summary>First pass: takes the label names and values of a series.</summary>
    /// <param name="labelRun">Canonical labels, see <see cref="Labels"/>.</param>
    /// <exception cref="ArgumentException">The run is not canonical.</exception>
    /// <exception cref="InvalidOperationException">A series was added already.</exception>
    public void Declare(ReadOnlySpan<byte> labelRun)
    {
        if (_state != State.Declaring) throw new InvalidOperationException("symbols are declared before the first series is added");
        var labels = new LabelRunReader(labelRun);
        var before = new LabelRunReader(_previousRun.Span);
        while (labels.MoveNext())
        {
            // Neighbours mostly share names and many values: a comparison instead of a hash.
            before.MoveNext();
            if (!labels.Name.SequenceEqual(before.Name)) _symbols.Add(labels.Name);
            if (!labels.Value.SequenceEqual(before.Value)) _symbols.Add(labels.Value);
        }

        if (labels.IsMalformed) throw new ArgumentException("labels are not a canonical run", nameof(labelRun));
        Remember(labelRun);
    }

    /// <summary>Second pass: appends the next series.</summary>
    /// <param name="labelRun">Canonical labels, behind those of the series before in the order of <see cref="Labels.Compare"/>.</param>
    /// <param name="chunks">Its chunks, one or more, disjoint and ascending by time, references ascending over the whole index.</param>
    /// <exception cref="ArgumentException">Labels or chunks are not so, or a label was not declared.</exception>
    /// <exception cref="InvalidOperationException">The file is finished, or the series would begin behind byte 64 GiB.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Add(ReadOnlySpan<byte> labelRun, ReadOnlySpan<ChunkMeta> chunks)
    {
        if (_state == State.Finished) throw new InvalidOperationException("the index is finished");
        CheckOrder(labelRun);
        CheckChunks(chunks);
        if (_state == State.Declaring) WriteSymbols();
        Resolve(labelRun);
        _entry.SetLength(0);
        SeriesEntry.Write(_entry, CollectionsMarshal.AsSpan(_labels), chunks);
        Pad(IndexFormat.SeriesAlignment);
        if (_file.Position > IndexFormat.MaxBytes) throw new InvalidOperationException("an index has room for series in its first 64 GiB only");
        _file.Append(_entry.Span);
        Count();
        _series++;
        _chunks += chunks.Length;
        _previousReference = chunks[^1].Reference;
        Remember(labelRun);
    }

    /// <summary>Writes what finds the series, makes the file's bytes durable and closes it.</summary>
    /// <returns>What the index holds.</returns>
    /// <exception cref="InvalidOperationException">
    /// It is finished, a declared symbol is in no series, or a section is over its bound of 4 GiB.
    /// </exception>
    /// <exception cref="CorruptFileException">A series read back differently.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public IndexCounts Finish()
    {
        if (_state == State.Finished) throw new InvalidOperationException("the index is finished");
        if (_state == State.Declaring) WriteSymbols();
        _state = State.Finished;
        if (_symbols.UsedCount != _symbols.Count)
        {
            string unused = LabelText.Escape(_symbols.FirstUnused().ToArray(), 100);
            throw new InvalidOperationException($"{_symbols.Count - _symbols.UsedCount} declared symbols are in no series, such as {unused}");
        }

        WritePostings();
        _file.Flush();
        _file.File.SyncAll();
        IndexCounts counts = new(_series, _chunks, _symbols.Count, _postings, _pairs.Count, _file.Position);
        Dispose();
        return counts;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _state = State.Finished;
        _file.Dispose();
        _symbols.Dispose();
        _pairs.Dispose();
        _entry.Dispose();
        _previousRun.Dispose();
    }

    private void CheckOrder(ReadOnlySpan<byte> run)
    {
        if (run.Length > IndexFormat.MaxLabelBytes)
            throw new ArgumentException($"labels of {run.Length} bytes, {IndexFormat.MaxLabelBytes} are allowed", nameof(run));
        if (_series > 0 && Labels.Compare(_previousRun.Span, run) >= 0)
            throw new ArgumentException($"series {Labels.Print(run)} does not follow {Labels.Print(_previousRun.Span)}", nameof(run));
    }

    private void CheckChunks(ReadOnlySpan<ChunkMeta> chunks)
    {
        if (chunks.IsEmpty) throw new ArgumentException("a series without chunks cannot be written", nameof(chunks));
        for (int i = 0; i < chunks.Length; i++)
        {
            ChunkMeta chunk = chunks[i];
            bool isFirst = _series == 0 && i == 0;
            ulong before = i == 0 ? _previousReference : chunks[i - 1].Reference;
            bool ascends = chunk.MinTimeMs <= chunk.MaxTimeMs && (i == 0 || chunk.MinTimeMs > chunks[i - 1].MaxTimeMs);
            if (!ascends) throw new ArgumentException($"times of chunk {i} do not ascend: {chunk}", nameof(chunks));
            if ((!isFirst && chunk.Reference <= before) || chunk.Reference > long.MaxValue)
                throw new ArgumentException($"reference of chunk {i} does not follow {before}: {chunk}", nameof(chunks));
        }
    }

    /// <summary>Labels of a run as ordinals of symbols, and as numbers of pairs: in place, over those of the series before.</summary>
    private void Resolve(ReadOnlySpan<byte> run)
    {
        int count = 0;
        ReadOnlySpan<byte> previousName = default;
        var labels = new LabelRunReader(run);
        var before = new LabelRunReader(_previousRun.Span);
        for (; labels.MoveNext(); count++)
        {
            if (labels.Name.SequenceCompareTo(previousName) <= 0 || labels.Value.IsEmpty)
                throw new ArgumentException($"labels {Labels.Print(run)} are not canonical", nameof(run));
            previousName = labels.Name;
            bool hasBefore = before.MoveNext();
            if (!hasBefore)
            {
                _labels.Add(default);
                _pairNumbers.Add(0);
            }

            LabelRef label = _labels[count];
            bool hasName = hasBefore && labels.Name.SequenceEqual(before.Name);
            bool hasValue = hasBefore && labels.Value.SequenceEqual(before.Value);
            if (hasName && hasValue) continue;
            label = new LabelRef(hasName ? label.Name : Find(labels.Name, run), hasValue ? label.Value : Find(labels.Value, run));
            _labels[count] = label;
            _pairNumbers[count] = _pairs.Intern(LabelPair.KeyOf(label));
        }

        if (labels.IsMalformed || count == 0) throw new ArgumentException("labels are not a canonical run", nameof(run));
        _labels.RemoveRange(count, _labels.Count - count);
        _pairNumbers.RemoveRange(count, _pairNumbers.Count - count);
    }

    private uint Find(ReadOnlySpan<byte> text, ReadOnlySpan<byte> run)
    {
        if (_symbols.TryFind(text, out uint ordinal)) return ordinal;
        throw new ArgumentException($"labels {Labels.Print(run)} were not declared", nameof(run));
    }

    private void Remember(ReadOnlySpan<byte> run)
    {
        _previousRun.SetLength(0);
        _previousRun.Append(run);
    }

    private void Count()
    {
        foreach (int number in _pairNumbers) _pairs[number].Count++;
        _postings += _pairNumbers.Count;
    }

    private void WriteSymbols()
    {
        Span<byte> header = stackalloc byte[IndexFormat.HeaderBytes];
        IndexFormat.WriteHeader(header);
        _file.Append(header);
        _symbols.Sort();
        _section.Begin(sizeof(uint) + _symbols.EncodedBytes, "symbols");
        _section.AppendUInt32((uint)_symbols.Count);
        for (uint ordinal = 0; ordinal < (uint)_symbols.Count; ordinal++) _section.AppendString(_symbols[ordinal]);
        _section.End();
        _seriesStart = _file.Position;
        _previousRun.SetLength(0);
        _state = State.Adding;
    }

    private void WritePostings()
    {
        long seriesEnd = _file.Position;
        Pad(IndexFormat.PostingsAlignment);
        long firstList = _file.Position;
        using var postings = new PostingsSection(_file, _section, _symbols, _pairs, _series, _maxPostings);
        postings.WriteLists(_seriesStart, seriesEnd);
        long table = _file.Position;
        postings.WriteTable(firstList);
        var toc = new IndexToc(IndexFormat.HeaderBytes, _seriesStart, seriesEnd, table, seriesEnd, table);
        Span<byte> bytes = stackalloc byte[IndexToc.Size];
        toc.WriteTo(bytes);
        _file.Append(bytes);
    }

    private void Pad(int alignment)
    {
        Span<byte> zeros = stackalloc byte[IndexFormat.SeriesAlignment];
        zeros.Clear();
        _file.Append(zeros[..(int)(IndexFormat.Align(_file.Position, alignment) - _file.Position)]);
    }
}
