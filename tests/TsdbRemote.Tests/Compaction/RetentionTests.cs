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
        Assert.Empty(none.Expired(_set, newestMs: long.MaxValue, clockMs: long.MaxValue, Others(tables: long.MaxValue / 2)));
    }

    [Theory]
    [InlineData(99 + Age, new int[0])]
    [InlineData(100 + Age, new[] { 1 })]
    [InlineData(199 + Age, new[] { 1 })]
    [InlineData(200 + Age, new[] { 1, 2 })]
    [InlineData(10_000, new[] { 1, 2, 3 })]
    public void By_time_a_block_goes_when_all_of_it_is_older(long nowMs, int[] gone) =>
        Assert.Equal(NamesOf(gone), Expired(new Retention(Age, null), nowMs, nowMs, Others(tables: 1 << 30)));

    [Theory]
    [InlineData(150 + Age, 1_000_000)] // a store that is only read keeps what it has
    [InlineData(1_000_000, 150 + Age)] // one sender ahead of time deletes nothing
    public void Whichever_of_the_newest_sample_and_the_clock_is_older_counts(long newestMs, long clockMs) =>
        Assert.Equal(NamesOf(1), Expired(new Retention(Age, null), newestMs, clockMs, Others()));

    [Fact]
    public void A_clock_in_doubt_and_a_store_without_samples_delete_nothing_by_time()
    {
        Assert.Empty(Expired(new Retention(Age, null), newestMs: 1_000_000, clockMs: null, Others()));
        Assert.Empty(Expired(new Retention(Age, null), newestMs: null, clockMs: 1_000_000, Others()));
    }

    [Theory]
    [InlineData(long.MinValue)]
    [InlineData(long.MinValue + 1)]
    [InlineData(-1_000_000)]
    public void Samples_of_the_beginning_of_time_make_nothing_old(long newestMs) =>
        Assert.Empty(Expired(new Retention(Age, null), newestMs, clockMs: 1_000_000, Others()));

    [Fact]
    public void By_size_the_block_that_ends_first_goes_first_until_the_rest_fits()
    {
        long[] bytes = [.. _set.Blocks.OrderBy(static block => block.Range.MaxMs).Select(static block => block.Reader.Bytes)];
        long all = bytes.Sum();
        Assert.Empty(BySize(all, Others()));
        Assert.Equal(NamesOf(1), BySize(all - 1, Others()));
        Assert.Equal(NamesOf(1), BySize(all - bytes[0], Others()));
        Assert.Equal(NamesOf(1, 2), BySize(all - bytes[0] - 1, Others()));
        Assert.Equal(NamesOf(1, 2, 3), BySize(1, Others()));
    }

    [Fact]
    public void Tables_and_log_count_against_the_size()
    {
        Assert.Empty(BySize(_set.Bytes + 100, Others(tables: 40, log: 60)));
        Assert.Equal(NamesOf(1), BySize(_set.Bytes + 100, Others(tables: 41, log: 60)));
        Assert.Equal(NamesOf(1), BySize(_set.Bytes + 100, Others(tables: 40, log: 61)));
    }

    [Fact]
    public void Tables_and_log_take_half_of_the_size_from_the_blocks_at_most()
    {
        long all = _set.Bytes;
        Assert.Empty(BySize(2 * all, Others(tables: 100 * all, log: 100 * all)));
        Assert.Equal(NamesOf(1), BySize(2 * all - 2, Others(tables: 100 * all, log: 100 * all)));
    }

    [Fact]
    public void The_newest_block_and_what_overlaps_it_never_go_for_bytes_that_are_not_theirs()
    {
        Assert.Equal(NamesOf(1), BySize(_set.Bytes - 1, Others(tables: 1 << 30)));
        Assert.Equal(NamesOf(1, 2, 3), BySize(10, Others(tables: 1 << 30)));
    }

    [Fact]
    public void Quarantine_and_blocks_that_are_not_served_delete_nothing_and_are_named_where_they_are_too_much()
    {
        OtherBytes junk = Others(quarantine: 1L << 40, unserved: 1L << 41);
        Assert.Empty(BySize(_set.Bytes, junk));
        Assert.Equal(NamesOf(1), BySize(_set.Bytes - 1, junk));
        string excess = new Retention(null, _set.Bytes).Excess(_set.Bytes, junk)!;
        Assert.Contains($"quarantine {1L << 40}, blocks that are not served {1L << 41}; ", excess, StringComparison.Ordinal);
        Assert.EndsWith("blocks that are not served takes most of it", excess, StringComparison.Ordinal);
        Assert.Null(new Retention(null, _set.Bytes + 10).Excess(_set.Bytes, Others(1, 2, 3, 4)));
        Assert.NotNull(new Retention(null, _set.Bytes + 9).Excess(_set.Bytes, Others(1, 2, 3, 4)));
        Assert.Null(new Retention(Age, null).Excess(_set.Bytes, junk));
    }

    [Fact]
    public void The_reason_says_which_bound_and_what_takes_the_room()
    {
        ExpiredBlock byTime = Assert.Single(new Retention(Age, 1 << 30).Expired(_set, 150 + Age, 150 + Age, Others()));
        Assert.Contains("storage.retention.time", byTime.Reason, StringComparison.Ordinal);
        ExpiredBlock bySize = Assert.Single(new Retention(null, _set.Bytes + 5).Expired(_set, null, null, Others(1, 5, 7, 9)));
        Assert.Equal(
            $"the data directory takes {_set.Bytes + 22} bytes, storage.retention.size is {_set.Bytes + 5}: blocks {_set.Bytes}, tables 1, the log 5, quarantine 7, blocks that are not served 9",
            bySize.Reason);
    }

    [Fact]
    public void Both_bounds_hold_at_once()
    {
        long[] bytes = [.. _set.Blocks.OrderBy(static block => block.Range.MaxMs).Select(static block => block.Reader.Bytes)];
        var both = new Retention(Age, bytes[2]);
        Assert.Equal(NamesOf(1, 2), Expired(both, newestMs: 100 + Age, clockMs: 100 + Age, Others()));
        Assert.Equal(NamesOf(1, 2, 3), Expired(both, newestMs: 300 + Age, clockMs: 300 + Age, Others()));
        Assert.Equal(NamesOf(1, 2), Expired(both, newestMs: 300 + Age, clockMs: null, Others()));
    }

    private static OtherBytes Others(long tables = 0, long log = 0, long quarantine = 0, long unserved = 0) => new(tables, log, quarantine, unserved);

    private IEnumerable<string> Expired(Retention retention, long? newestMs, long? clockMs, OtherBytes others) =>
        retention.Expired(_set, newestMs, clockMs, others).Select(static block => block.Ulid);

    private IEnumerable<string> BySize(long size, OtherBytes others) => Expired(new Retention(null, size), null, null, others);

    private static IEnumerable<string> NamesOf(params int[] numbers) => numbers.Select(static number => TestBlocks.Name(number).ToString());
}
