using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>Finds the series of an index that satisfy all of a selector's matchers.</summary>
/// <remarks>
/// As Prometheus does (prometheus: tsdb/querier.go, PostingsForMatchers), an absent label having the value "":
/// a matcher that refuses "" keeps the series in the union of its values' lists; one that accepts "" removes those whose value it refuses, so
/// that series without the label stay. If all accept "", the start is every series. No matcher at all selects nothing.
/// Order of work: what keeps before what removes; matchers whose lists are known without looking at each value (equality, finite sets, in the
/// cache) before those that are asked about each value once; small before large. When few candidates are left, their own labels are asked
/// instead of reading lists that are long by comparison. One use; not thread-safe.
/// </remarks>
internal sealed class IndexSelection : IDisposable
{
    // Costs in units of one id of a list, 2 ns: looking at a value and opening its list, and reading the labels of a series.
    private const long ValueCost = 64;
    private const long LabelReadCost = 512;

    private readonly IndexReader _reader;
    private readonly PostingsTable _table;
    private readonly PostingsLists _lists;
    private readonly PostingsCache? _cache;
    private readonly CancellationToken _cancel;
    private readonly FileWindow _tableWindow = PostingsTable.NewWindow();
    private readonly FileWindow _listWindow = new(PostingsLists.ChunkIds * sizeof(uint));
    private BlockSeries? _series;

    public IndexSelection(IndexReader reader, PostingsTable table, PostingsLists lists, PostingsCache? cache, CancellationToken cancel)
    {
        _reader = reader;
        _table = table;
        _lists = lists;
        _cache = cache;
        _cancel = cancel;
    }

    /// <summary>Selects series.</summary>
    /// <returns>Ids, ascending; the caller's own array.</returns>
    public uint[] Select(IReadOnlyList<Matcher> matchers)
    {
        return matchers.Count > 0 && Plan(matchers) is { } terms ? Select(terms) : [];
    }

    /// <summary>As <see cref="Select(IReadOnlyList{Matcher})"/>, for who keeps the selection: where one list says it all, no array of its ids is ever made.</summary>
    public SelectedSeries SelectCompact(IReadOnlyList<Matcher> matchers)
    {
        if (matchers.Count == 0 || Plan(matchers) is not { } terms) return new SelectedSeries();
        if (terms is [{ Removes: false, Lists: [PostingsList one] }]) return Compact(one);
        uint[] ids = Select(terms);
        var selected = new SelectedSeries(_lists.MinId, _lists.LimitId, (uint)ids.Length);
        selected.Add(ids);
        return selected;
    }

    /// <summary>As <see cref="All"/>, for who keeps it.</summary>
    public SelectedSeries AllCompact() => Compact(_lists.Open(_table.AllSeries, _listWindow));

    /// <summary>Every series.</summary>
    public uint[] All() => _lists.ToArray(_lists.Open(_table.AllSeries, _listWindow), _listWindow, _cancel);

    /// <inheritdoc/>
    public void Dispose()
    {
        _tableWindow.Dispose();
        _listWindow.Dispose();
        _series?.Dispose();
    }

    private uint[] Select(List<Term> terms)
    {
        IdCandidates? candidates = null;
        foreach (Term term in terms)
        {
            _cancel.ThrowIfCancellationRequested();
            if (candidates is null && !term.Removes) candidates = Start(term);
            else Filter(term, candidates ??= new IdCandidates(All()));
            if (candidates.Count == 0) return [];
        }

        return candidates is null ? All() : candidates.ToArray();
    }

    private SelectedSeries Compact(PostingsList list)
    {
        var selected = new SelectedSeries(_lists.MinId, _lists.LimitId, list.Count);
        Span<uint> buffer = stackalloc uint[PostingsLists.ChunkIds];
        PostingsReader reader = _lists.Read(list, _listWindow, buffer);
        while (reader.MoveNext())
        {
            _cancel.ThrowIfCancellationRequested();
            selected.Add(reader.Current);
        }

        return selected;
    }

    // Null: one matcher requires a label that no series has.
    private List<Term>? Plan(IReadOnlyList<Matcher> matchers)
    {
        var terms = new List<Term>(matchers.Count);
        foreach (Matcher matcher in matchers)
        {
            int name = _table.FindName(matcher.NameUtf8.Span);
            if (name >= 0) terms.Add(TermOf(matcher, name));
            else if (!matcher.MatchesEmpty) return null;
        }

        terms.Sort(static (a, b) => a.Rank.CompareTo(b.Rank));
        return terms;
    }

    private Term TermOf(Matcher matcher, int name)
    {
        bool removes = matcher.MatchesEmpty;
        if (matcher.Type == MatcherType.NotEqual && removes) return Known(matcher, name, [System.Text.Encoding.UTF8.GetBytes(matcher.Value)]);
        if (!removes && matcher.SetMatches is { Count: < 2 } one) return Known(matcher, name, one);
        if (_cache?.Find(matcher) is { } ids) return new Term(matcher, name) { Ids = ids, Cost = ids.Length };
        if (!removes && matcher.SetMatches is { } values) return Known(matcher, name, values);
        return new Term(matcher, name) { Cost = _table.Names[name].ValueCount * ValueCost };
    }

    private Term Known(Matcher matcher, int name, IReadOnlyList<byte[]> values)
    {
        var lists = new List<PostingsList>(values.Count);
        long cost = 0;
        foreach (byte[] value in values)
        {
            _cancel.ThrowIfCancellationRequested();
            long offset = _table.Find(name, value, _tableWindow);
            if (offset == 0) continue;
            lists.Add(_lists.Open(offset, _listWindow));
            cost += lists[^1].Count;
        }

        return new Term(matcher, name) { Lists = lists, Cost = cost };
    }

    private IdCandidates Start(Term term)
    {
        if (term.Lists is { Count: 0 }) return new IdCandidates([]);
        if (term.Lists is { Count: 1 } one) return new IdCandidates(_lists.ToArray(one[0], _listWindow, _cancel));

        // Candidates shrink in place, and what was evaluated may be in the cache.
        return new IdCandidates((uint[])Evaluate(term).Clone());
    }

    private void Filter(Term term, IdCandidates candidates)
    {
        if (term.Lists is { Count: 0 })
        {
            if (!term.Removes) candidates.Clear();
        }
        else if (term.Ids is null && candidates.Count < term.Cost / LabelReadCost)
        {
            FilterByOwnLabels(term.Matcher, candidates);
        }
        else if (term.Lists is { Count: 1 } one)
        {
            FilterByList(one[0], candidates, !term.Removes);
        }
        else
        {
            candidates.Filter(Evaluate(term), !term.Removes);
        }
    }

    private void FilterByOwnLabels(Matcher matcher, IdCandidates candidates)
    {
        BlockSeries series = _series ??= new BlockSeries();
        candidates.Filter(
            id =>
            {
                _reader.ReadSeries(id, series);
                Labels.TryGet(series.Labels, matcher.NameUtf8.Span, out ReadOnlySpan<byte> value);
                return matcher.Matches(value);
            },
            _cancel);
    }

    private void FilterByList(PostingsList list, IdCandidates candidates, bool keepListed)
    {
        Span<uint> buffer = stackalloc uint[PostingsLists.ChunkIds];
        PostingsReader reader = _lists.Read(list, _listWindow, buffer);
        candidates.Begin();
        while (reader.MoveNext())
        {
            _cancel.ThrowIfCancellationRequested();
            candidates.FilterPiece(reader.Current, keepListed);
        }

        candidates.End(keepListed);
    }

    /// <summary>The series of the values that the matcher accepts or, if it removes, refuses. Not to be changed.</summary>
    private uint[] Evaluate(Term term)
    {
        if (term.Ids is { } known) return known;
        using IdUnion union = new(_lists.MinId, _lists.LimitId);
        Span<uint> buffer = stackalloc uint[PostingsLists.ChunkIds];
        if (term.Lists is { } lists)
        {
            foreach (PostingsList list in lists) Add(union, list, buffer);
        }
        else
        {
            AddMatchingValues(term, union, buffer);
        }

        uint[] ids = union.ToArray();
        _cache?.Add(term.Matcher, ids);
        return ids;
    }

    private void AddMatchingValues(Term term, IdUnion union, Span<uint> buffer)
    {
        byte[] prefix = (!term.Removes ? term.Matcher.Prefix : null) ?? [];
        IndexValues values = prefix.Length > 0
            ? _table.ValuesFrom(term.Name, prefix, _tableWindow)
            : _table.Values(term.Name, _tableWindow);
        while (values.MoveNext() && values.Value.StartsWith(prefix))
        {
            _cancel.ThrowIfCancellationRequested();
            if (term.Matcher.Matches(values.Value) != term.Removes) Add(union, _lists.Open(values.ListOffset, _listWindow), buffer);
        }
    }

    private void Add(IdUnion union, PostingsList list, Span<uint> buffer)
    {
        PostingsReader reader = _lists.Read(list, _listWindow, buffer);
        while (reader.MoveNext())
        {
            _cancel.ThrowIfCancellationRequested();
            union.Add(reader.Current);
        }
    }

    /// <summary>A matcher on a name that some series have.</summary>
    private sealed record Term(Matcher Matcher, int Name)
    {
        /// <summary>The lists to keep or remove, if they are known without asking about each value.</summary>
        public List<PostingsList>? Lists { get; init; }

        /// <summary>The ids to keep or remove, if they are known. Shared with the cache.</summary>
        public uint[]? Ids { get; init; }

        /// <summary>What evaluating it costs, in ids.</summary>
        public long Cost { get; init; }

        /// <summary>True if it accepts "" and therefore removes series instead of keeping them.</summary>
        public bool Removes => Matcher.MatchesEmpty;

        /// <summary>Order of work: what keeps before what removes, known before unknown, small before large.</summary>
        public (bool Removes, bool Unknown, long Cost) Rank => (Removes, Lists is null && Ids is null, Cost);
    }
}
