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
