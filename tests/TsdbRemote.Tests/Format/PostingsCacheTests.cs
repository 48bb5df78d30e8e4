using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;
using static TsdbRemote.Tests.Format.IndexModel;

namespace TsdbRemote.Tests.Format;

public class PostingsCacheTests
{
    private static readonly IndexedSeries[] Series = Numbered(500);

    [Fact]
    public void A_matcher_is_evaluated_once()
    {
        using IndexReader reader = Open(out MemoryFileSystem fs);
        PostingsCacheBudget budget = new(1 << 20);
        using PostingsCache cache = new(budget);
        Matcher matcher = Regex("instance", ".*7");
        string[] expected = Expected(Series, matcher);
        Assert.Equal(expected, Select(reader, cache, matcher));
        Assert.Equal((0, 1, 1), (cache.Hits, cache.Misses, budget.Entries));
        Assert.InRange(budget.Bytes, 50 * 4, 1000);
        fs.Trace.Clear();
        Assert.Equal(50, reader.SelectSeries([Regex("instance", ".*7")], cache, CancellationToken.None).Length);
        Assert.Empty(fs.Trace);
        Assert.Equal((1, 1, 1), (cache.Hits, cache.Misses, budget.Entries));

        // The negative one is another: it removes.
        Assert.Equal(Expected(Series, NotRegex("instance", ".*7")), Select(reader, cache, NotRegex("instance", ".*7")));
        Assert.Equal((1, 2, 2), (cache.Hits, cache.Misses, budget.Entries));
    }

    [Fact]
    public void What_one_list_answers_is_not_kept()
    {
        using IndexReader reader = Open(out _);
        PostingsCacheBudget budget = new(1 << 20);
        using PostingsCache cache = new(budget);
        Select(reader, cache, Equal("job", "api"));
        Select(reader, cache, NotEqual("job", "api"));
        Select(reader, cache, Regex("job", "api"));
        Assert.Equal((0, 0, 0), (cache.Hits, cache.Misses, budget.Entries));
    }

    [Fact]
    public void An_answer_that_its_caller_changes_stays_right_in_the_cache()
    {
        using IndexReader reader = Open(out _);
        using PostingsCache cache = new(new PostingsCacheBudget(1 << 20));
        Matcher[] matchers = [Regex("instance", ".*7")];
        for (int i = 0; i < 3; i++) Array.Clear(reader.SelectSeries(matchers, cache, CancellationToken.None));
        Assert.Equal(Expected(Series, matchers), Select(reader, cache, [.. matchers, NotEqual("job", "none")]));
        Assert.Equal(Expected(Series, matchers), Select(reader, cache, matchers));
    }

    [Fact]
    public void Blocks_share_the_budget_and_the_longest_unused_makes_room()
    {
        PostingsCacheBudget budget = new(100_000, maxEntries: 3);
        using IndexReader reader = Open(out _);
        using PostingsCache one = new(budget);
        using PostingsCache two = new(budget);
        Select(reader, one, Regex("instance", ".*1"));
        Select(reader, one, Regex("instance", ".*2"));
        Select(reader, two, Regex("instance", ".*1"));
        Select(reader, one, Regex("instance", ".*1")); // used again
        Select(reader, two, Regex("instance", ".*3")); // pushes .*2 out
        Assert.Equal(3, budget.Entries);
        Assert.Equal((1, 2), (one.Hits, one.Misses));
        Select(reader, one, Regex("instance", ".*1"));
        Select(reader, one, Regex("instance", ".*2"));
        Assert.Equal((2, 3), (one.Hits, one.Misses));
        two.Dispose();
        Assert.Equal(2, budget.Entries);
        Select(reader, two, Regex("instance", ".*9"));
        Assert.Equal(2, budget.Entries);
        one.Dispose();
        Assert.Equal((0, 0), (budget.Bytes, budget.Entries));
    }

    [Fact]
    public void Bytes_are_bounded_and_no_entry_takes_more_than_its_share()
    {
        PostingsCacheBudget budget = new(8 * 1200);
        using IndexReader reader = Open(out _);
        using PostingsCache cache = new(budget);
        Select(reader, cache, Regex("instance", ".+")); // 500 ids
        Assert.Equal(0, budget.Entries);
        for (int i = 0; i < 100; i++)
        {
            Select(reader, cache, Regex("instance", $".*{i:D2}"));
            Assert.InRange(budget.Bytes, 1, 8 * 1200);
        }

        Assert.InRange(budget.Entries, 15, 30);
        using PostingsCache none = new(new PostingsCacheBudget(0));
        Assert.Equal(Expected(Series, Regex("instance", ".*1")), Select(reader, none, Regex("instance", ".*1")));
    }

    private static IndexReader Open(out MemoryFileSystem fs)
    {
        fs = new MemoryFileSystem(canMap: false);
        Write(fs, Series);
        return IndexReader.Open(fs, IndexModel.Path, mmap: false);
    }
}
