using System.Runtime.CompilerServices;
using System.Text;
using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class PostingsTests
{
    [Fact]
    public void Names_values_and_lists_are_those_of_the_label_sets()
    {
        LabelSets.Run.Array[0, 120].Sample(
            runs =>
            {
                using var series = new SeriesDictionary();
                series.AddAll(runs);
                Assert.Equal(Naive(series), Indexed(series.Postings));
                Assert.Equal((uint)series.Count, series.Postings.IndexedCount);
            },
            iter: 100);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(16_382)]
    [InlineData(16_383)]
    [InlineData(16_384)]
    [InlineData(50_000)]
    public void A_list_of_any_length_reads_back_ascending_and_without_empty_runs(int count)
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, count).Select(i => Labels.Encode(("__name__", "m"), ("i", $"{i}"))));
        PostingList list = series.Postings.Find("__name__"u8, "m"u8);
        Assert.Equal(count, list.Count);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (uint)i), list.Ids());
        PostingList.Reader chunks = list.Read();
        while (chunks.MoveNext()) Assert.False(chunks.Current.IsEmpty);
        Assert.Equal([(uint)count - 1], series.Postings.Find("i"u8, Encoding.UTF8.GetBytes($"{count - 1}")).Ids());
    }

    [Fact]
    public void A_list_taken_does_not_grow_with_what_is_added_later()
    {
        using var series = new SeriesDictionary();
        series.AddAll([Labels.Encode(("__name__", "m"))]);
        PostingList list = series.Postings.Find("__name__"u8, "m"u8);
        series.AddAll(Enumerable.Range(0, 100).Select(i => Labels.Encode(("__name__", "m"), ("i", $"{i}"))));
        Assert.Equal([0u], list.Ids());
    }

    [Fact]
    public void What_does_not_exist_has_an_empty_list()
    {
        using var series = new SeriesDictionary();
        Assert.Empty(series.Postings.Find("a"u8, "x"u8).Ids());
        series.AddAll([Labels.Encode(("a", "x"), ("b", "y"))]);
        Assert.Empty(series.Postings.Find("a"u8, "y"u8).Ids());
        Assert.Empty(series.Postings.Find("c"u8, "x"u8).Ids());
        Assert.False(series.Postings.TryFindName("c"u8, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => series.Postings.ValueCount(2));
    }

    [Fact]
    public void Records_have_the_size_that_the_memory_budget_counts_on()
    {
        // 3 pointers of 8, then length, name, older, count, first id of 4, padded to 8; and 8 + 8 + 4 + 4 + 4, padded to 8.
        Assert.Equal(48, Unsafe.SizeOf<ValueRecord>());
        Assert.Equal(32, Unsafe.SizeOf<SeriesRecord>());
    }

    [Fact]
    public void A_series_costs_about_what_the_design_allows()
    {
        using var series = new SeriesDictionary();
        const int Count = 40_000;
        series.AddAll(Enumerable.Range(0, Count).Select(i => Labels.Encode(
            ("__name__", $"metric_{i % 200}"), ("instance", $"host-{i / 200 % 40}"), ("job", "node"), ("cluster", "c"), ("env", "prod"),
            ("handler", $"/api/{i % 5}"), ("code", $"{200 + (i / 8000)}"), ("dc", "eu"))));

        // 8 labels: 32 bytes of ordinals and up to as much again in half-filled blocks; blocks of 256 KiB.
        Assert.InRange(series.Postings.MemoryBytes / (double)Count, 32, 64);
    }

    [Fact]
    public void Statistics_name_the_largest_first()
    {
        using var series = new SeriesDictionary();
        series.AddAll(
        [
            Labels.Encode(("__name__", "up"), ("job", "a")),
            Labels.Encode(("__name__", "up"), ("job", "b")),
            Labels.Encode(("__name__", "up"), ("job", "ccc")),
            Labels.Encode(("__name__", "down"), ("job", "a")),
        ]);
        PostingsStatistics statistics = PostingsStatistics.Of(series.Postings, 2);
        Assert.Equal(4, statistics.SeriesCount);
        Assert.Equal(5, statistics.LabelPairCount);
        Assert.Equal([new("up", 3), new("down", 1)], statistics.SeriesCountByMetricName);
        Assert.Equal([new("job", 3), new("__name__", 2)], statistics.LabelValueCountByLabelName);
        Assert.Equal([new("__name__", 10), new("job", 6)], statistics.MemoryInBytesByLabelName);
        Assert.Equal([new("__name__=up", 3), new("job=a", 2)], statistics.SeriesCountByLabelValuePair);
        Assert.Equal([new("__name__=up", 3)], PostingsStatistics.Of(series.Postings, 1).SeriesCountByLabelValuePair);
    }

    private static SortedDictionary<string, string> Naive(SeriesDictionary series)
    {
        var lists = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (uint ordinal = 0; ordinal < series.Count; ordinal++)
        {
            var labels = new LabelRunReader(series.LabelsOf(ordinal));
            while (labels.MoveNext())
            {
                string pair = $"{Encoding.UTF8.GetString(labels.Name)}={Encoding.UTF8.GetString(labels.Value)}";
                lists[pair] = lists.TryGetValue(pair, out string? ids) ? $"{ids},{ordinal}" : $"{ordinal}";
            }
        }

        return lists;
    }

    private static SortedDictionary<string, string> Indexed(Postings postings)
    {
        var lists = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (int name = 0; name < postings.NameCount; name++)
        {
            int values = 0;
            Postings.ValueReader reader = postings.ValuesOf(name);
            while (reader.MoveNext())
            {
                values++;
                string ids = string.Join(',', reader.Series.Ids());
                Assert.Equal(ids, string.Join(',', postings.Find(postings.NameAt(name), reader.Value).Ids()));
                lists.Add($"{Encoding.UTF8.GetString(postings.NameAt(name))}={Encoding.UTF8.GetString(reader.Value)}", ids);
            }

            Assert.Equal(postings.ValueCount(name), values);
        }

        Assert.Equal(postings.PairCount, lists.Count);
        return lists;
    }
}
