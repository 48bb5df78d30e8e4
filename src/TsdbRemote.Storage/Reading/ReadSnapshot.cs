using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Reading;

/// <summary>Everything stored when it was taken, for one reader. What is written later may show too: the active MemTable goes on.</summary>
/// <remarks>
/// Holds the files and MemTables that it can see until disposed: a flush or deletion meanwhile changes nothing for it.
/// Each query of one request uses the same snapshot. Thread-safe; the cursors are not.
/// </remarks>
public sealed class ReadSnapshot : IDisposable
{
    private readonly ReadSources _sources;
    private readonly long _memoryBytes;
    private readonly ReadHelpers? _helpers;
    private readonly Action<CorruptFileException>? _skipDamaged;
    private Action? _release;

    /// <summary>A snapshot of these sources.</summary>
    /// <param name="sources">Held until <paramref name="release"/> is called.</param>
    /// <param name="series">The dictionary.</param>
    /// <param name="memoryBytes">What each query may take, in bytes.</param>
    /// <param name="release">Called once, at disposal.</param>
    /// <param name="helpers">Read tables side by side; null to read one after the other.</param>
    /// <param name="skipDamaged">Told, on any thread, of each damaged chunk, which is then left out; null to have it fail the read.</param>
    internal ReadSnapshot(
        ReadSources sources, SeriesDictionary series, long memoryBytes, Action release, ReadHelpers? helpers = null, Action<CorruptFileException>? skipDamaged = null)
    {
        _sources = sources;
        Series = series;
        _memoryBytes = memoryBytes;
        _release = release;
        _helpers = helpers;
        _skipDamaged = skipDamaged;
    }

    /// <summary>What the blocks that it sees say about themselves, the oldest first.</summary>
    public IReadOnlyList<BlockMeta> Blocks => [.. _sources.Blocks.Select(static block => block.Reader.Meta).OrderBy(static meta => meta.MinTimeMs)];

    /// <summary>The series known.</summary>
    public SeriesDictionary Series { get; }

    /// <summary>Selects series by matchers.</summary>
    /// <param name="matchers">All must hold; none at all selects nothing, as in Prometheus.</param>
    /// <param name="range">Closed range in ms; an empty one selects nothing.</param>
    /// <param name="cancel">Stops the selection and the cursor's work.</param>
    public SeriesMerge Select(IReadOnlyList<Matcher> matchers, TimeRange range, CancellationToken cancel) =>
        Merge([matchers], range, labelsOnly: false, cancel);

    /// <summary>Selects series by any of several selectors, each series once, for its labels alone: it has a chunk that overlaps the range, if not a sample inside it. What is deleted does not count.</summary>
    /// <param name="selectors">As <see cref="Select"/> takes one each.</param>
    /// <param name="range">Closed range in ms; an empty one selects nothing.</param>
    /// <param name="cancel">Stops the selection and the cursor's work.</param>
    public SeriesMerge SelectLabels(IReadOnlyList<IReadOnlyList<Matcher>> selectors, TimeRange range, CancellationToken cancel) =>
        Merge(selectors, range, labelsOnly: true, cancel);

    /// <summary>Finds label names and values.</summary>
    /// <param name="range">Closed range in ms.</param>
    /// <param name="cancel">Stops the work.</param>
    public LabelSearch SearchLabels(TimeRange range, CancellationToken cancel) => new(_sources, Series, range, _memoryBytes, cancel);

    /// <summary>Counts series, names, values and pairs over everything.</summary>
    /// <remarks>Without blocks the postings have the figures; with them every series of every source is looked at: a microsecond each.</remarks>
    /// <param name="limit">Longest list wanted, 1 or more.</param>
    /// <param name="cancel">Stops the work.</param>
    /// <exception cref="Wire.ReadLimitException">The distinct pairs take more than <c>read.memory</c>.</exception>
    public PostingsStatistics Statistics(int limit, CancellationToken cancel)
    {
        if (_sources.Blocks.Count == 0) return PostingsStatistics.Of(Series.Postings, limit, cancel);
        using SeriesMerge all = SelectLabels([[Matcher.Create(MatcherType.Regex, "__name__", ".*")]], new TimeRange(long.MinValue, long.MaxValue), cancel);
        return new SeriesCensus(_memoryBytes).Take(all, limit);
    }

    /// <inheritdoc/>
    public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();

    private SeriesMerge Merge(IReadOnlyList<IReadOnlyList<Matcher>> selectors, TimeRange range, bool labelsOnly, CancellationToken cancel)
    {
        List<ISeriesSource> sources = [];
        try
        {
            foreach (IReadOnlyList<Matcher> matchers in range.IsEmpty ? [] : selectors)
            {
                sources.Add(SelectStored(matchers, range, cancel));
                foreach (StoredBlock block in _sources.Blocks)
                {
                    if (range.Overlaps(block.Range)) sources.Add(new BlockSource(block, matchers, range, _skipDamaged, cancel));
                }
            }

            return new SeriesMerge(sources, range, _memoryBytes, cancel, labelsOnly, _sources.Deletions?.Within(range));
        }
        catch
        {
            foreach (ISeriesSource source in sources) source.Dispose();
            throw;
        }
    }

    private DictionarySource SelectStored(IReadOnlyList<Matcher> matchers, TimeRange range, CancellationToken cancel)
    {
        uint[] ordinals = SeriesSelection.Select(Series, matchers, cancel);
        Series.SortByLabels(ordinals);
        return new DictionarySource(_sources, Series, ordinals, range, _memoryBytes, _skipDamaged, cancel, _helpers);
    }
}
