using System.Runtime.CompilerServices;
using System.Text;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Finds the series that satisfy all of a selector's matchers.</summary>
/// <remarks>
/// As Prometheus does (prometheus: tsdb/querier.go, PostingsForMatchers), an absent label having the value "":
/// a matcher that refuses "" keeps the series in the union of its values' lists; one that accepts "" removes those whose value it refuses, so
/// that series without the label stay. If all accept "", the start is every series. No matcher at all selects nothing.
/// Order of work: matchers whose lists are known without looking at each value (equality, finite sets), smallest first; then those that are
/// asked about each distinct value once (<see cref="MatchedValues"/> remembers the answers); removals last. When few candidates are left, their own labels are
/// asked instead of all values.
/// </remarks>
public static class SeriesSelection
{
    // Reading a candidate's label costs about as much as looking at this many values or ordinals.
    private const int LabelReadCost = 8;

    /// <summary>Selects series. Any thread, while series are added: those added after the call began are left out.</summary>
    /// <param name="series">The dictionary, with <see cref="SeriesDictionary.PostingsReady"/>.</param>
    /// <param name="matchers">The selector; several on one name must all hold.</param>
    /// <param name="cancel">Checked between steps, at each value and each run of ordinals.</param>
    /// <returns>Ordinals, ascending.</returns>
    /// <exception cref="InvalidOperationException">The postings are not ready: an answer would be incomplete.</exception>
    public static uint[] Select(SeriesDictionary series, IReadOnlyList<Matcher> matchers, CancellationToken cancel)
    {
        if (!series.PostingsReady) throw new InvalidOperationException("series cannot be selected before the postings are ready");
        if (matchers.Count == 0) return [];
        uint limit = series.Postings.IndexedCount;
        List<Term>? terms = Plan(series.Postings, matchers);
        if (terms is null) return [];
        CandidateIds? candidates = null;
        foreach (Term term in terms)
        {
            cancel.ThrowIfCancellationRequested();
            if (candidates is null && !term.Removes) candidates = Start(series.Postings, term, limit, cancel);
            else Filter(series, term, candidates ??= CandidateIds.AllBelow(limit), limit, cancel);
            if (candidates.Count == 0) return [];
        }

        uint[] selected = (candidates ?? CandidateIds.AllBelow(limit)).ToArray();
        GC.KeepAlive(series);
        return selected;
    }

    // Null: one matcher requires a label that no series has.
    private static List<Term>? Plan(Postings postings, IReadOnlyList<Matcher> matchers)
    {
        var terms = new List<Term>(matchers.Count);
        foreach (Matcher matcher in matchers)
        {
            if (postings.TryFindName(matcher.NameUtf8.Span, out int name)) terms.Add(TermOf(postings, matcher, name));
            else if (!matcher.MatchesEmpty) return null;
        }

        terms.Sort(static (a, b) => a.Rank.CompareTo(b.Rank));
        return terms;
    }

    private static Term TermOf(Postings postings, Matcher matcher, int name)
    {
        bool removes = matcher.MatchesEmpty;
        List<PostingList>? lists = null;
        if (removes && matcher.Type == MatcherType.NotEqual) lists = ListsOf(postings, name, [Encoding.UTF8.GetBytes(matcher.Value)]);
        else if (!removes && matcher.SetMatches is { } values) lists = ListsOf(postings, name, values);
        return new Term(matcher, name, removes, lists, lists is null ? postings.ValueCount(name) : Total(lists));
    }

    private static List<PostingList> ListsOf(Postings postings, int name, IReadOnlyList<byte[]> values)
    {
        var lists = new List<PostingList>(values.Count);
        foreach (byte[] value in values)
        {
            PostingList list = postings.Find(name, value);
            if (list.Count > 0) lists.Add(list);
        }

        return lists;
    }

    private static long Total(List<PostingList> lists)
    {
        long total = 0;
        foreach (PostingList list in lists) total += list.Count;
        return total;
    }

    private static CandidateIds Start(Postings postings, Term term, uint limit, CancellationToken cancel)
    {
        if (term.Lists is { Count: 0 }) return new CandidateIds([]);
        if (term.Lists is { Count: 1 }) return CandidateIds.Of(term.Lists[0], limit);
        using IdSet union = Union(postings, term, limit, cancel);
        return new CandidateIds(union.ToArray());
    }

    private static void Filter(SeriesDictionary series, Term term, CandidateIds candidates, uint limit, CancellationToken cancel)
    {
        if (term.Lists is { Count: 0 })
        {
            if (!term.Removes) candidates.Clear();
        }
        else if (term.Lists is { Count: 1 })
        {
            candidates.Filter(term.Lists[0], !term.Removes, cancel);
        }
        else if (candidates.Count < term.Cost / LabelReadCost)
        {
            FilterByOwnLabels(series, term.Matcher, candidates, cancel);
        }
        else
        {
            using IdSet union = Union(series.Postings, term, limit, cancel);
            candidates.Filter(union, !term.Removes);
        }
    }

    private static void FilterByOwnLabels(SeriesDictionary series, Matcher matcher, CandidateIds candidates, CancellationToken cancel) =>
        candidates.Filter(
            ordinal =>
            {
                Labels.TryGet(series.LabelsOf(ordinal), matcher.NameUtf8.Span, out ReadOnlySpan<byte> value);
                return matcher.Matches(value);
            },
            cancel);

    // The lists of the values that the matcher accepts or, if it removes, refuses.
    private static IdSet Union(Postings postings, Term term, uint limit, CancellationToken cancel)
    {
        var union = new IdSet(limit);
        try
        {
            if (term.Lists is { } lists)
            {
                foreach (PostingList list in lists) union.Add(list);
            }
            else
            {
                AddMatchingValues(postings, term, union, cancel);
            }

            return union;
        }
        catch
        {
            union.Dispose();
            throw;
        }
    }

    // Called once a query, and then walks a million values: nothing would call it often enough for the compiler to do its best before it matters.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddMatchingValues(Postings postings, Term term, IdSet union, CancellationToken cancel)
    {
        postings.Matched.Find(term.Matcher, out ReadOnlySpan<uint> known, out uint end);
        foreach (uint value in known)
        {
            cancel.ThrowIfCancellationRequested();
            union.Add(postings.ListOf(value));
        }

        byte[] prefix = term is { Removes: false, Matcher: { Type: MatcherType.Regex, Prefix: { } begin } } ? begin : [];
        var found = new List<uint>();
        Postings.ValueReader values = postings.ValuesOf(term.Name, end, prefix);
        while (values.MoveNext())
        {
            cancel.ThrowIfCancellationRequested();
            if ((values.Value.StartsWith(prefix) && term.Matcher.Matches(values.Value)) == term.Removes) continue;
            union.Add(values.Series);
            found.Add(values.Number);
        }

        postings.Matched.Keep(term.Matcher, known, found, Math.Max(end, values.End), values.Passed);
    }

    /// <summary>A matcher on a name that some series have.</summary>
    /// <param name="Matcher">The matcher.</param>
    /// <param name="Name">The name's number.</param>
    /// <param name="Removes">True if it accepts "" and therefore removes series instead of keeping them.</param>
    /// <param name="Lists">The lists to keep or remove, if known without asking about each value.</param>
    /// <param name="Cost">Ordinals in those lists, or values to ask about.</param>
    private sealed record Term(Matcher Matcher, int Name, bool Removes, List<PostingList>? Lists, long Cost)
    {
        /// <summary>Order of work: what keeps before what removes, known before unknown, small before large.</summary>
        public (bool Removes, bool Unknown, long Cost) Rank => (Removes, Lists is null, Cost);
    }
}
