using CsCheck;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Format;

/// <summary>Laws over random label sets and chunks, names and values beyond ASCII among them.</summary>
public class IndexLawTests
{
    private const int Rounds = 200;

    [Theory]
    [InlineData(null)]
    [InlineData(1L)]
    [InlineData(20L)]
    public void The_writer_writes_what_the_description_of_the_format_says(long? maxPostings) =>
        IndexModel.Series(60).Sample(
            series =>
            {
                MemoryFileSystem fs = new();
                IndexCounts counts = IndexModel.Write(fs, series, maxPostings);
                byte[] expected = NaiveIndex.Of(series).Bytes;
                Assert.Equal(Convert.ToHexString(expected), Convert.ToHexString(fs[IndexModel.Path]));
                Assert.Equal((series.Length, series.Sum(one => one.Chunks.Length), expected.Length), (counts.Series, counts.Chunks, counts.Bytes));
                Assert.Equal(series.Sum(one => one.Labels.Length), counts.Postings);
            },
            iter: Rounds / 4);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Every_series_reads_back_as_it_was_written(bool mmap) =>
        IndexModel.Series(120).Sample(
            series =>
            {
                MemoryFileSystem fs = new();
                IndexCounts counts = IndexModel.Write(fs, series);
                using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap);
                Assert.Equal(mmap, reader.IsMapped);
                Assert.Equal((counts.Bytes, counts.Series, counts.Symbols), (reader.Size, reader.SeriesCount, reader.SymbolCount));
                uint[] ids = reader.AllSeries(CancellationToken.None);
                Assert.Equal(series.Select(one => one.Text), IndexModel.Read(reader, ids));

                // Backwards and with other buffers, since the buffer remembers what it read before.
                using BlockSeries into = new();
                for (int i = ids.Length - 1; i >= 0; i--) Assert.Equal(series[i].Text, IndexModel.Read(reader, ids[i], into));
                Assert.Equal(counts.Lists, reader.LabelNames.Sum(name => (long)name.ValueCount));
            },
            iter: Rounds);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Any_matchers_select_what_asking_each_series_would(bool mmap) =>
        Gen.Select(IndexModel.Series(150), IndexModel.Matchers.Array[1, 12]).Sample(
            (series, selectors) =>
            {
                MemoryFileSystem fs = new();
                IndexModel.Write(fs, series);
                using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap);
                using PostingsCache cache = new(new PostingsCacheBudget(1 << 20));
                uint[] all = reader.AllSeries(CancellationToken.None);
                foreach (Matcher[] matchers in selectors)
                {
                    uint[] expected = IndexModel.ExpectedIds(series, all, matchers);
                    Assert.Equal(expected, reader.SelectSeries(matchers, cache: null, CancellationToken.None));
                    Assert.Equal(expected, reader.SelectSeries(matchers, cache, CancellationToken.None));
                    Assert.Equal(expected, reader.SelectSeries(matchers, cache, CancellationToken.None));
                }
            },
            iter: Rounds);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Values_are_walked_in_order_with_the_series_of_each(bool mmap) =>
        IndexModel.Series(120).Sample(
            series =>
            {
                MemoryFileSystem fs = new();
                IndexModel.Write(fs, series);
                using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap);
                Assert.True(reader.LabelNames.Zip(reader.LabelNames.Skip(1), static (a, b) => a.Utf8.Span.SequenceCompareTo(b.Utf8.Span) < 0).All(x => x));
                foreach (IndexLabelName name in reader.LabelNames)
                {
                    string[] expected = [.. series.Where(one => one.ValueOf(name.Utf8.Span).Length > 0).Select(one => one.Text).Order()];
                    Assert.Equal(expected, Walk(reader, name).Order());
                }

                Assert.False(reader.ReadValues("nope"u8).MoveNext());
            },
            iter: Rounds / 4);

    [Fact]
    public void A_union_of_lists_is_the_set_of_their_ids() =>
        Gen.Select(Gen.UInt[0, 5000], Gen.UInt[0, 100_000], Gen.UInt[0, 99_999].Array[0, 700].Array[0, 6]).Sample(
            (min, range, lists) =>
            {
                using IdUnion union = new(min, min + range);
                uint[][] within = [.. lists.Select(list => list.Where(id => id < range).Select(id => id + min).Order().ToArray())];
                foreach (uint[] list in within) union.Add(list);
                Assert.Equal(within.SelectMany(list => list).Distinct().Order(), union.ToArray());
            });

    private static List<string> Walk(IndexReader reader, IndexLabelName name)
    {
        var found = new List<string>();
        byte[] previous = [];
        int count = 0;
        using IndexValues values = reader.ReadValues(name.Utf8.Span);
        while (values.MoveNext())
        {
            Assert.True(values.Value.SequenceCompareTo(previous) > 0);
            previous = values.Value.ToArray();
            count++;
            found.AddRange(IndexModel.Read(reader, reader.ReadList(values.ListOffset, CancellationToken.None)));
        }

        Assert.Equal(name.ValueCount, count);
        return found;
    }
}
