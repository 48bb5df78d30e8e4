using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class SeriesSelectionTests
{
    [Fact]
    public void Any_selector_selects_what_asking_each_series_would()
    {
        Gen.Select(LabelSets.Run.Array[0, 150], LabelSets.AnyMatcher.Array[0, 4].Array[1, 10]).Sample(
            (runs, selectors) =>
            {
                using var series = new SeriesDictionary();
                series.AddAll(runs);
                foreach (Matcher[] matchers in selectors)
                {
                    uint[] selected = SeriesSelection.Select(series, matchers, CancellationToken.None);
                    Assert.Equal(LabelSets.SelectNaively(series, matchers, (uint)series.Count), selected);
                }
            },
            iter: 150);
    }

    [Fact]
    public void Long_lists_and_many_values_select_the_same_by_every_way()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 30_000).Select(i => Labels.Encode(
            ("__name__", i % 3 == 0 ? "even" : "odd"), ("id", $"{i}"), ("mod", $"{i % 7}"), ("rare", i % 9999 == 0 ? "yes" : ""))));
        Matcher[][] selectors =
        [
            [Equal("__name__", "odd")],
            [Equal("__name__", "odd"), Equal("mod", "3")],
            [Equal("rare", "yes"), Regex("id", "1.*|9999")],                // few candidates: their own labels are asked
            [Equal("__name__", "odd"), Regex("id", ".*7")],
            [Regex("id", "29.*")],
            [Regex("mod", "1|2|3"), Regex("id", "1.*"), Not("__name__", "even")],
            [Not("rare", "yes")],
            [Not("rare", "")],
            [Matcher.Create(MatcherType.NotRegex, "id", "1.*"), Not("mod", "0")],
            [Equal("rare", "")],
            [Equal("rare", "yes"), Matcher.Create(MatcherType.NotRegex, "id", "9.*")],
            [Regex("id", ".*")],
        ];
        foreach (Matcher[] matchers in selectors)
        {
            Assert.Equal(
                LabelSets.SelectNaively(series, matchers, (uint)series.Count), SeriesSelection.Select(series, matchers, CancellationToken.None));
        }
    }

    [Fact]
    public void A_matcher_that_comes_again_sees_series_and_values_that_came_since()
    {
        using var series = new SeriesDictionary();
        Matcher[][] selectors = [[Regex("id", "1.*")], [Matcher.Create(MatcherType.NotRegex, "id", "1.*")], [Regex("id", ".*9")], [Regex("id", "x.*")]];
        for (int round = 0; round < 6; round++)
        {
            // Each round some new values, and more series of the old ones.
            series.AddAll(Enumerable.Range(0, 2000 * (round + 1)).Select(i => Labels.Encode(("id", $"{i}"), ("round", $"{round}"))));
            foreach (Matcher[] matchers in selectors)
                Assert.Equal(LabelSets.SelectNaively(series, matchers, (uint)series.Count), SeriesSelection.Select(series, matchers, CancellationToken.None));
        }
    }

    [Fact]
    public void A_matcher_that_comes_again_is_not_asked_again()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 2000).Select(static i => Labels.Encode(("id", $"{i}"))));
        Matcher matcher = Regex("id", "1.*");
        uint[] first = SeriesSelection.Select(series, [matcher], CancellationToken.None);
        series.Postings.Matched.Find(matcher, out ReadOnlySpan<uint> known, out uint end);
        Assert.Equal((first.Length, 2000u), (known.Length, end));
        Assert.Equal(first, SeriesSelection.Select(series, [matcher], CancellationToken.None));
    }

    [Fact]
    public void What_is_known_of_matchers_is_bounded_and_the_oldest_goes_first()
    {
        var matched = new MatchedValues(maxBytes: 80_000, maxEntries: 10);
        Matcher[] matchers = [.. Enumerable.Range(0, 20).Select(static i => Regex("id", $"{i}.*"))];
        foreach (Matcher matcher in matchers) matched.Keep(matcher, [], [1, 2, 3], end: 5000, tried: 5000);
        Assert.Equal(10, matchers.Count(matcher => IsKnown(matched, matcher)));
        Assert.True(IsKnown(matched, matchers[^1]));
        matched.Keep(matchers[0], [], [.. Enumerable.Range(0, 5000).Select(static i => (uint)i)], end: 5000, tried: 5000);
        Assert.False(IsKnown(matched, matchers[0]));        // more than an eighth
        matched.Keep(matchers[^1], [], [4], end: 10, tried: 5000);
        matched.Find(matchers[^1], out ReadOnlySpan<uint> known, out uint end);
        Assert.Equal((3, 5000u), (known.Length, end));      // who knows less does not replace who knows more
        Assert.InRange(matched.MemoryBytes, 1, 80_000);
    }

    private static bool IsKnown(MatchedValues matched, Matcher matcher)
    {
        matched.Find(matcher, out _, out uint end);
        return end > 0;
    }

    [Fact]
    public void No_matcher_selects_nothing_and_one_that_accepts_everything_selects_all()
    {
        using var series = new SeriesDictionary();
        series.AddAll([Labels.Encode(("a", "1")), Labels.Encode(("a", "2")), Labels.Encode(("b", "1"))]);
        Assert.Empty(SeriesSelection.Select(series, [], CancellationToken.None));
        Assert.Equal([0u, 1, 2], SeriesSelection.Select(series, [Regex("a", ".*")], CancellationToken.None));
        Assert.Equal([0u, 1, 2], SeriesSelection.Select(series, [Not("absent", "x")], CancellationToken.None));
        Assert.Equal([2u], SeriesSelection.Select(series, [Equal("a", "")], CancellationToken.None));
        Assert.Equal([0u, 1], SeriesSelection.Select(series, [Not("a", "")], CancellationToken.None));
        Assert.Empty(SeriesSelection.Select(series, [Equal("a", "1"), Equal("absent", "x")], CancellationToken.None));
    }

    [Fact]
    public void A_cancelled_selection_stops()
    {
        using var series = new SeriesDictionary();
        series.AddAll([Labels.Encode(("a", "1"))]);
        Assert.Throws<OperationCanceledException>(() => SeriesSelection.Select(series, [Regex("a", "1.*")], new CancellationToken(canceled: true)));
    }

    [Fact]
    public void Nothing_is_selected_before_the_postings_are_ready()
    {
        using var series = new SeriesDictionary();
        series.Load(5, Labels.Encode(("a", "1")));
        series.CompleteLoad();
        Assert.Throws<InvalidOperationException>(() => SeriesSelection.Select(series, [Equal("a", "1")], CancellationToken.None));
        series.BuildPostings(CancellationToken.None);
        Assert.Equal([0u], SeriesSelection.Select(series, [Equal("a", "1")], CancellationToken.None));
    }

    private static Matcher Equal(string name, string value) => Matcher.Create(MatcherType.Equal, name, value);

    private static Matcher Not(string name, string value) => Matcher.Create(MatcherType.NotEqual, name, value);

    private static Matcher Regex(string name, string value) => Matcher.Create(MatcherType.Regex, name, value);
}
