using System.Runtime.InteropServices;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>Which label names and values there are, over everything that a snapshot sees.</summary>
/// <remarks>
/// Time:      as fine as whole sources, as in Prometheus, where they are the head and each block: the dictionary counts, with all its series, if some MemTable or table
///            has data in the range; a block counts, with all of its, if it overlaps the range. To look at the chunks of each series would cost what reading them costs.
/// Cost:      without selectors the postings and the blocks' tables say it all; with them the labels of each series selected are read once for each source.
/// Memory:    what was found, once, bounded by <c>read.memory</c>. Not thread-safe; the sources are held by the snapshot that made it.
/// </remarks>
public sealed class LabelSearch
{
    private const int CancelEvery = 1024;

    private readonly ReadSources _sources;
    private readonly SeriesDictionary _dictionary;
    private readonly TimeRange _range;
    private readonly bool _hasDictionary;
    private readonly TextSet _found;
    private readonly CancellationToken _cancel;
    private int _steps;

    internal LabelSearch(ReadSources sources, SeriesDictionary dictionary, TimeRange range, long memoryBytes, CancellationToken cancel)
    {
        _sources = sources;
        _dictionary = dictionary;
        _range = range;
        _hasDictionary = !range.IsEmpty && (sources.MemTables.Any(Overlaps) || sources.Tables.Any(Overlaps));
        _found = new TextSet(memoryBytes);
        _cancel = cancel;
    }

    private IEnumerable<BlockReader> Blocks =>
        _range.IsEmpty ? [] : _sources.Blocks.Where(block => _range.Overlaps(block.Range)).Select(static block => block.Reader);

    /// <summary>All label names, or those of the series that one of the selectors selects.</summary>
    /// <returns>UTF-8, ascending by bytes.</returns>
    /// <exception cref="ReadLimitException">They take more than <c>read.memory</c>.</exception>
    /// <exception cref="CorruptFileException">A block's index is damaged.</exception>
    public IReadOnlyList<byte[]> Names(IReadOnlyList<IReadOnlyList<Matcher>> selectors)
    {
        if (selectors.Count > 0)
        {
            Visit(selectors, AddNames);
        }
        else
        {
            Postings postings = _dictionary.Postings;
            for (int name = 0; _hasDictionary && name < postings.NameCount; name++) _found.Add(postings.NameAt(name));
            foreach (BlockReader block in Blocks)
            {
                foreach (IndexLabelName name in block.Index.LabelNames) _found.Add(name.Utf8.Span);
            }
        }

        return _found.Sorted();
    }

    /// <summary>All values of a label, or those of the series that one of the selectors selects.</summary>
    /// <returns>UTF-8, ascending by bytes.</returns>
    /// <exception cref="ReadLimitException">They take more than <c>read.memory</c>.</exception>
    /// <exception cref="CorruptFileException">A block's index is damaged.</exception>
    public IReadOnlyList<byte[]> Values(string name, IReadOnlyList<IReadOnlyList<Matcher>> selectors)
    {
        byte[] nameUtf8 = System.Text.Encoding.UTF8.GetBytes(name);
        if (selectors.Count > 0)
        {
            Visit(selectors, run =>
            {
                if (Labels.TryGet(run, nameUtf8, out ReadOnlySpan<byte> value)) _found.Add(value);
            });
        }
        else
        {
            AddStoredValues(nameUtf8);
            foreach (BlockReader block in Blocks)
            {
                using IndexValues values = block.Index.ReadValues(nameUtf8);
                while (values.MoveNext())
                {
                    CheckNowAndThen();
                    _found.Add(values.Value);
                }
            }
        }

        return _found.Sorted();
    }

    private delegate void RunVisitor(ReadOnlySpan<byte> run);

    private bool Overlaps(MemTable memTable)
    {
        var range = new TimeRange(memTable.MinTimeMs, memTable.MaxTimeMs);
        return !range.IsEmpty && _range.Overlaps(range);
    }

    private bool Overlaps(LevelTable table) => _range.Overlaps(new TimeRange(table.Entry.MinTimeMs, table.Entry.MaxTimeMs));

    private void AddStoredValues(ReadOnlySpan<byte> name)
    {
        if (!_hasDictionary || !_dictionary.Postings.TryFindName(name, out int number)) return;
        Postings.ValueReader values = _dictionary.Postings.ValuesOf(number);
        while (values.MoveNext())
        {
            CheckNowAndThen();
            _found.Add(values.Value);
        }
    }

    private void AddNames(ReadOnlySpan<byte> run)
    {
        var labels = new LabelRunReader(run);
        while (labels.MoveNext()) _found.Add(labels.Name);
    }

    /// <summary>Shows the labels of every series selected: once for each selector and source that has it.</summary>
    private void Visit(IReadOnlyList<IReadOnlyList<Matcher>> selectors, RunVisitor visit)
    {
        foreach (IReadOnlyList<Matcher> matchers in selectors)
        {
            foreach (uint ordinal in _hasDictionary ? SeriesSelection.Select(_dictionary, matchers, _cancel) : [])
            {
                CheckNowAndThen();
                visit(_dictionary.LabelsOf(ordinal));
            }

            foreach (BlockReader block in Blocks)
            {
                using BlockSeriesCursor series = block.Select(matchers, new TimeRange(block.MinTimeMs, block.MaxTimeMs), _cancel);
                while (series.MoveNext()) visit(series.Labels);
            }
        }
    }

    private void CheckNowAndThen()
    {
        if (_steps++ % CancelEvery == 0) _cancel.ThrowIfCancellationRequested();
    }
}

/// <summary>Distinct texts in UTF-8, bounded by the bytes that they take.</summary>
internal sealed class TextSet
{
    // Header and length of the array, reference, hash and link in the set, whose tables double: roughly.
    private const int OverheadBytes = 80;

    private readonly long _maxBytes;
    private readonly HashSet<byte[]> _texts = new(Utf8Comparer.Instance);
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _bySpan;
    private long _bytes;

    /// <summary>An empty set.</summary>
    /// <param name="maxBytes">What the texts may take together, with an allowance for each.</param>
    public TextSet(long maxBytes)
    {
        _maxBytes = maxBytes;
        _bySpan = _texts.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <summary>Adds a text, if it is not there.</summary>
    /// <exception cref="ReadLimitException">It would be too much.</exception>
    public void Add(ReadOnlySpan<byte> text)
    {
        if (!_bySpan.Add(text)) return;
        _bytes += text.Length + OverheadBytes;
        if (_bytes > _maxBytes) throw ReadLimitException.OfMemory(_maxBytes);
    }

    /// <summary>All texts, ascending by bytes.</summary>
    public List<byte[]> Sorted()
    {
        List<byte[]> sorted = [.. _texts];
        CollectionsMarshal.AsSpan(sorted).Sort(static (a, b) => a.AsSpan().SequenceCompareTo(b));
        return sorted;
    }
}
