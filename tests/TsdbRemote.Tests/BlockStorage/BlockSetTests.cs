using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Reading;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.BlockStorage;

public sealed class BlockSetTests
{
    private readonly StoredBlocks _blocks = new();

    [Fact]
    public void Ours_rank_by_the_conversion_counter_and_foreign_ones_below_them_by_name()
    {
        // Names go the other way than ranks: clocks go back.
        BlockSet set = BlockSet.Empty.With(_blocks.Own(9, rank: 1, 0, 10), _blocks.Foreign(5, 0, 10)).With(_blocks.Own(1, rank: 2, 0, 10), _blocks.Foreign(3, 0, 10));
        Assert.Equal(
            [(3, -2L), (5, -1L), (9, 1L), (1, 2L)],
            set.Blocks.Select(static block => (Enumerable.Range(0, 10).Single(number => TestBlocks.Name(number).ToString() == block.Entry.Ulid), block.Rank)));
        Assert.True(set.Blocks[^1].Rank < SourceRank.OfMemTable(0), "a table or a MemTable is newer than every block");
    }

    [Fact]
    public void Ranks_of_foreign_blocks_close_up_when_another_one_comes_and_order_stays_when_one_goes()
    {
        BlockSet set = BlockSet.Empty.With(_blocks.Foreign(5, 0, 10), _blocks.Own(1, rank: 7, 0, 10));
        Assert.Equal([-1, 7], set.Blocks.Select(static block => block.Rank));
        set = set.With(_blocks.Foreign(8, 0, 10), _blocks.Foreign(2, 0, 10));
        Assert.Equal([-3, -2, -1, 7], set.Blocks.Select(static block => block.Rank));
        set = set.Without(new HashSet<string> { TestBlocks.Name(5).ToString() });
        Assert.Equal([TestBlocks.Name(2).ToString(), TestBlocks.Name(8).ToString(), TestBlocks.Name(1).ToString()], set.Blocks.Select(static block => block.Entry.Ulid));
        Assert.Equal(set.Blocks.Select(static block => block.Rank).Order(), set.Blocks.Select(static block => block.Rank));
    }

    [Fact]
    public void Of_adopted_blocks_of_one_directory_the_one_of_the_higher_rank_is_newer_whatever_their_names()
    {
        var (ours, theirs) = (Guid.NewGuid(), Guid.NewGuid());
        BlockMark Mark(Guid directory, long rank) => new() { Directory = directory, Generation = 1, Rank = rank };
        BlockSet set = BlockSet.Empty
            .With(_blocks.Foreign(9, 0, 10, Mark(ours, 1)), _blocks.Foreign(4, 0, 10), _blocks.Foreign(6, 0, 10, Mark(theirs, 5)))
            .With(_blocks.Foreign(2, 0, 10, Mark(ours, 3)), _blocks.Foreign(3, 0, 10, Mark(theirs, 7)), _blocks.Foreign(5, 0, 10, Mark(ours, 2)), _blocks.Own(1, rank: 1, 0, 10));
        int[] order = [.. set.Blocks.Select(static block => Enumerable.Range(0, 10).Single(number => TestBlocks.Name(number).ToString() == block.Entry.Ulid))];
        Assert.Equal([9, 6, 4, 5, 3, 2, 1], order);
        Assert.Equal([-6, -5, -4, -3, -2, -1, 1], set.Blocks.Select(static block => block.Rank));
    }

    [Fact]
    public void Only_a_block_made_here_makes_a_window_a_converted_one()
    {
        BlockSet set = BlockSet.Empty.With(_blocks.Foreign(1, 0, 99), _blocks.Own(2, rank: 1, 100, 199));
        Assert.False(set.IsConverted(new TimeRange(0, 99)));
        Assert.True(set.IsConverted(new TimeRange(0, 100)));
        Assert.True(set.IsConverted(new TimeRange(199, 300)));
        Assert.False(set.IsConverted(new TimeRange(200, 300)));
        Assert.Equal([TestBlocks.Name(1).ToString()], set.Overlapping(new TimeRange(-5, 99)).Select(static block => block.Entry.Ulid));
    }

    [Fact]
    public void A_name_comes_once_and_goes_only_if_it_is_there()
    {
        BlockSet set = BlockSet.Empty.With(_blocks.Own(1, rank: 1, 0, 10));
        Assert.Throws<InvariantViolatedException>(() => set.With(set.Blocks[0]));
        Assert.Throws<InvariantViolatedException>(() => set.Without(new HashSet<string> { TestBlocks.Name(2).ToString() }));
        Assert.Empty(BlockSet.Empty.Blocks);
    }

    [Fact]
    public void A_reader_takes_all_blocks_or_none()
    {
        BlockSet set = BlockSet.Empty.With(_blocks.Own(1, rank: 1, 0, 10), _blocks.Own(2, rank: 2, 0, 10));
        List<string> unused = [];
        Assert.True(set.TryAcquire());
        set.Blocks[1].Reader.MarkObsolete(block => unused.Add(block.Ulid.ToString()));
        set.Blocks[1].Reader.Dispose();
        Assert.Empty(unused);
        set.Release();
        Assert.Equal([TestBlocks.Name(2).ToString()], unused);
        Assert.False(set.TryAcquire());
        set.Blocks[0].Reader.MarkObsolete(block => unused.Add(block.Ulid.ToString()));
        set.Blocks[0].Reader.Dispose();
        Assert.Equal(2, unused.Count); // the block taken before the closed one was given back
    }
}
