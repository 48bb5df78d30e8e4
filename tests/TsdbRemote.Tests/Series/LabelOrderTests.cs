using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class LabelOrderTests
{
    [Fact]
    public void The_fast_comparison_agrees_with_the_plain_one()
    {
        Gen.Select(LabelSets.Run, LabelSets.Run).Sample(
            (a, b) => Math.Sign(LabelOrder.Compare(a, b)) == Math.Sign(Labels.Compare(a, b)), iter: 3000);

        // Lengths around one and two bytes of varint, where bytes alone would mislead.
        Gen.Select(Gen.Int[120, 135], Gen.Int[120, 135], Gen.Char['a', 'b'], Gen.Bool).Sample(
            (left, right, last, second) =>
            {
                byte[] a = Labels.Encode(("n", new string('a', left)), ("z", "1"));
                byte[] b = Labels.Encode(("n", new string('a', right - 1) + last), (second ? "z" : "y", "1"));
                return Math.Sign(LabelOrder.Compare(a, b)) == Math.Sign(Labels.Compare(a, b));
            },
            iter: 1000);
    }

    [Fact]
    public void Small_sets_are_sorted_by_labels()
    {
        LabelSets.Run.Array[0, 100].Sample(
            runs =>
            {
                using var series = new SeriesDictionary();
                series.AddAll(runs);
                AssertSorted(series, Shuffled(series.Count, 7));
            },
            iter: 100);
    }

    [Fact]
    public void Large_sets_are_sorted_by_ranks_that_grow_with_the_dictionary()
    {
        using var series = new SeriesDictionary();
        foreach (int count in new[] { 1500, 1600, 9000, 10_100, 10_101 })
        {
            series.AddAll(Enumerable.Range(0, count).Select(RunOf));
            Assert.Equal(count, series.Count);
            AssertSorted(series, Shuffled(count, count));
            AssertSorted(series, [.. Shuffled(count, count + 1).Take(count / 3)]);
        }
    }

    [Fact]
    public void Ranks_taken_from_the_postings_are_those_of_comparing()
    {
        Gen.Select(LabelSets.Run.Array[0, 1500], Gen.Int[0, 1500]).Sample(
            (runs, limit) =>
            {
                using var series = new SeriesDictionary();
                series.AddAll(runs);
                int count = Math.Min(limit, (int)series.Count);
                uint[] expected = [.. Enumerable.Range(0, count).Select(i => (uint)i)];
                Array.Sort(expected, Order);
                uint[] ranked = new uint[count];
                LabelRanking.Sort(series.Postings, ranked, Order);
                Assert.Equal(expected, ranked);

                int Order(uint a, uint b)
                {
                    int order = Labels.Compare(series.LabelsOf(a), series.LabelsOf(b));
                    return order != 0 ? order : a.CompareTo(b);
                }
            },
            iter: 30);
    }

    [Fact]
    public void Ranking_goes_as_deep_as_labels_do_and_joins_equal_sets()
    {
        using var series = new SeriesDictionary();
        for (int i = 0; i < 600; i++)
        {
            // Forty of each set, all alike in the first six labels; every third set ends there.
            (string, string)[] labels = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")];
            if (i % 3 != 0) labels = [.. labels, ("g", $"prefix-{i % 15}"), ("h", $"{i % 5}")];
            series.Load((ulong)i + 1, Labels.Encode(labels));
        }

        series.CompleteLoad();
        series.BuildPostings(CancellationToken.None);
        uint[] expected = Shuffled(600, 3);
        series.SortByLabels(expected);
        uint[] ranked = new uint[600];
        LabelRanking.Sort(series.Postings, ranked, (a, b) =>
        {
            int order = Labels.Compare(series.LabelsOf(a), series.LabelsOf(b));
            return order != 0 ? order : a.CompareTo(b);
        });
        Assert.Equal(expected, ranked);
    }

    [Fact]
    public void A_few_young_series_are_merged_in_without_ranking_all_again()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 3000).Select(RunOf));
        AssertSorted(series, Shuffled(3000, 1));
        series.AddAll(Enumerable.Range(3000, 50).Select(RunOf));
        long before = series.MemoryBytes;
        AssertSorted(series, Shuffled(3050, 1));
        Assert.Equal(before, series.MemoryBytes);
        series.AddAll(Enumerable.Range(3050, 3000).Select(RunOf));
        before = series.MemoryBytes;
        AssertSorted(series, Shuffled(6050, 1));
        Assert.Equal(before + (3050 * 4), series.MemoryBytes);
    }

    [Fact]
    public void Equal_labels_of_two_ids_stand_together_in_the_order_of_ordinals()
    {
        using var series = new SeriesDictionary();
        byte[] twice = Labels.Encode(("a", "1"));
        series.Load(1, twice);
        series.Load(2, Labels.Encode(("a", "0")));
        series.Load(3, twice);
        series.CompleteLoad();
        uint[] ordinals = [2, 0, 1];
        series.SortByLabels(ordinals);
        Assert.Equal([1u, 0, 2], ordinals);
    }

    [Fact]
    public void A_foreign_ordinal_is_refused()
    {
        using var series = new SeriesDictionary();
        series.AddAll([RunOf(1), RunOf(2)]);
        Assert.Throws<ArgumentOutOfRangeException>(() => series.SortByLabels(new uint[] { 1, 2 }));
    }

    [Fact]
    public async Task Many_threads_may_sort_while_series_are_added()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 2000).Select(RunOf));
        Task adding = Task.Factory.StartNew(
            () => series.AddAll(Enumerable.Range(2000, 4000).Select(RunOf)),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        Task[] sorting = [.. Enumerable.Range(0, 3).Select(seed => Task.Factory.StartNew(
            () =>
            {
                for (int round = 0; round < 3; round++) AssertSorted(series, Shuffled(series.Count, seed));
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default))];
        await Task.WhenAll([adding, .. sorting]);
    }

    private static byte[] RunOf(int i) => Labels.Encode(("__name__", $"m{i * 7919 % 101}"), ("i", $"{i}"), (i % 2 == 0 ? "even" : "odd", "1"));

    private static uint[] Shuffled(int count, int seed)
    {
        uint[] ordinals = [.. Enumerable.Range(0, count).Select(i => (uint)i)];
        new Random(seed).Shuffle(ordinals);
        return ordinals;
    }

    private static void AssertSorted(SeriesDictionary series, uint[] ordinals)
    {
        uint[] expected = [.. ordinals];
        Array.Sort(expected, (a, b) =>
        {
            int order = Labels.Compare(series.LabelsOf(a), series.LabelsOf(b));
            return order != 0 ? order : a.CompareTo(b);
        });
        series.SortByLabels(ordinals);
        Assert.Equal(expected, ordinals);
    }
}
