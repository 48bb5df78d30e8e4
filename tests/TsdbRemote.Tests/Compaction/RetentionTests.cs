using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Tests.BlockStorage;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Compaction;

public sealed class RetentionTests
{
    private const long Age = 1000;
    private readonly BlockSet _set;

    /// <summary>Three blocks, of which the one of the highest rank ends first.</summary>
    public RetentionTests()
    {
        var blocks = new StoredBlocks();
        _set = BlockSet.Empty.With(blocks.Own(1, rank: 3, 0, 99), blocks.Own(2, rank: 1, 100, 199), blocks.Foreign(3, 150, 299));
    }

    [Fact]
    public void Without_a_bound_nothing_ever_goes()
    {
        var none = new Retention(null, null);
        Assert.True(none.IsUnlimited);
        Assert.Empty(none.Expired(_set, newestMs: long.MaxValue, clockMs: long.MaxValue, otherBytes: long.MaxValue / 2));
    }

    [Theory]
    [InlineData(99 + Age, new int[0])]
    [InlineData(100 + Age, new[] { 1 })]
    [InlineData(199 + Age, new[] { 1 })]
    [InlineData(200 + Age, new[] { 1, 2 })]
    [InlineData(10_000, new[] { 1, 2, 3 })]
    public void By_time_a_block_goes_when_all_of_it_is_older(long nowMs, int[] gone) =>
        Assert.Equal(NamesOf(gone), new Retention(Age, null).Expired(_set, nowMs, nowMs, otherBytes: 1 << 30));

    [Theory]
    [InlineData(150 + Age, 1_000_000)] // a store that is only read keeps what it has
    [InlineData(1_000_000, 150 + Age)] // one sender ahead of time deletes nothing
    public void Whichever_of_the_newest_sample_and_the_clock_is_older_counts(long newestMs, long clockMs) =>
        Assert.Equal(NamesOf(1), new Retention(Age, null).Expired(_set, newestMs, clockMs, 0));

    [Fact]
    public void A_clock_in_doubt_and_a_store_without_samples_delete_nothing_by_time()
    {
        Assert.Empty(new Retention(Age, null).Expired(_set, newestMs: 1_000_000, clockMs: null, 0));
        Assert.Empty(new Retention(Age, null).Expired(_set, newestMs: null, clockMs: 1_000_000, 0));
    }

    [Theory]
    [InlineData(long.MinValue)]
    [InlineData(long.MinValue + 1)]
    [InlineData(-1_000_000)]
    public void Samples_of_the_beginning_of_time_make_nothing_old(long newestMs) =>
        Assert.Empty(new Retention(Age, null).Expired(_set, newestMs, clockMs: 1_000_000, 0));

    [Fact]
    public void By_size_the_block_that_ends_first_goes_first_until_the_rest_fits()
    {
        long[] bytes = [.. _set.Blocks.OrderBy(static block => block.Range.MaxMs).Select(static block => block.Reader.Bytes)];
        long all = bytes.Sum();
        Assert.Empty(new Retention(null, all).Expired(_set, null, null, 0));
        Assert.Equal(NamesOf(1), new Retention(null, all - 1).Expired(_set, null, null, 0));
        Assert.Equal(NamesOf(1), new Retention(null, all - bytes[0]).Expired(_set, null, null, 0));
        Assert.Equal(NamesOf(1, 2), new Retention(null, all - bytes[0] - 1).Expired(_set, null, null, 0));
        Assert.Equal(NamesOf(1, 2, 3), new Retention(null, 1).Expired(_set, null, null, 0));
    }

    [Fact]
    public void What_else_the_directory_holds_counts_against_the_size()
    {
        Assert.Empty(new Retention(null, _set.Bytes + 100).Expired(_set, null, null, otherBytes: 100));
        Assert.Equal(NamesOf(1), new Retention(null, _set.Bytes + 100).Expired(_set, null, null, otherBytes: 101));
    }

    [Fact]
    public void Both_bounds_hold_at_once()
    {
        long[] bytes = [.. _set.Blocks.OrderBy(static block => block.Range.MaxMs).Select(static block => block.Reader.Bytes)];
        var both = new Retention(Age, bytes[2]);
        Assert.Equal(NamesOf(1, 2), both.Expired(_set, newestMs: 100 + Age, clockMs: 100 + Age, 0));
        Assert.Equal(NamesOf(1, 2, 3), both.Expired(_set, newestMs: 300 + Age, clockMs: 300 + Age, 0));
        Assert.Equal(NamesOf(1, 2), both.Expired(_set, newestMs: 300 + Age, clockMs: null, 0));
    }

    private static IEnumerable<string> NamesOf(params int[] numbers) => numbers.Select(static number => TestBlocks.Name(number).ToString());
}
