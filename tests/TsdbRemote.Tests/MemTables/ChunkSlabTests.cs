using CsCheck;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Tests.MemTables;

public sealed unsafe class ChunkSlabTests
{
    [Theory]
    [InlineData(1, 32)]
    [InlineData(32, 32)]
    [InlineData(33, 64)]
    [InlineData(512, 512)]
    [InlineData(513, 640)]
    [InlineData(640, 640)]
    [InlineData(1024, 1024)]
    [InlineData(1025, 1280)]
    [InlineData(4096, 4096)]
    [InlineData((1 << 30) - 1, 1 << 30)]
    [InlineData(1 << 30, 1 << 30)]
    public void Sizes_round_up_to_their_class(int bytes, int block) => Assert.Equal(block, ChunkSlab.RoundUp(bytes));

    [Fact]
    public void Every_class_wastes_less_than_a_step_or_a_quarter() => Gen.Int[1, 1 << 30].Sample(
        bytes =>
        {
            int block = ChunkSlab.RoundUp(bytes);
            Assert.InRange(block, bytes, Math.Max(bytes + ChunkSlab.Grain - 1, bytes + bytes / 4));
            Assert.Equal(block, ChunkSlab.RoundUp(block));
        },
        time: 1);

    [Fact]
    public void A_block_above_the_largest_class_is_refused()
    {
        using var slab = new ChunkSlab(new ByteCounter());
        Assert.Throws<ArgumentOutOfRangeException>(() => { slab.Allocate(ChunkSlab.MaxBlockBytes + 1, out _); });
    }

    [Fact]
    public void Blocks_in_use_never_overlap_and_pages_begin_on_cache_lines() =>
        Gen.Select(Gen.Int[0, 2], Gen.Int[1, 3000], Gen.Int[0, 1000]).Array[1, 60].Sample(
            steps =>
            {
                var counter = new ByteCounter();
                using var slab = new ChunkSlab(counter);
                var live = new List<(nint Start, int Bytes, bool Page)>();
                foreach ((int kind, int bytes, int pick) in steps) Step(slab, live, kind, bytes, pick);
                live.Sort((a, b) => a.Start.CompareTo(b.Start));
                for (int i = 1; i < live.Count; i++) Assert.True(live[i - 1].Start + live[i - 1].Bytes <= live[i].Start);
                Assert.InRange(live.Sum(block => (long)block.Bytes), 0, slab.ReservedBytes);
                Assert.Equal(slab.ReservedBytes, counter.Value);
                slab.Dispose();
                Assert.Equal(0, counter.Value);
            },
            time: 1);

    [Fact]
    public void A_block_given_back_is_the_next_one_of_its_class()
    {
        using var slab = new ChunkSlab(new ByteCounter());
        byte* first = slab.Allocate(100, out int capacity);
        Assert.Equal(128, capacity);
        slab.Free(first, capacity);
        Assert.True(first != slab.Allocate(96, out _));
        Assert.True(first == slab.Allocate(97, out _));
    }

    private static void Step(ChunkSlab slab, List<(nint Start, int Bytes, bool Page)> live, int kind, int bytes, int pick)
    {
        if (kind == 0 && live.Count > 0 && !live[pick % live.Count].Page)
        {
            slab.Free((byte*)live[pick % live.Count].Start, live[pick % live.Count].Bytes);
            live.RemoveAt(pick % live.Count);
        }
        else if (kind == 1)
        {
            int page = (bytes + 63) / 64 * 64;
            byte* start = slab.AllocatePage(page);
            Assert.Equal(0, (nint)start % 64);
            Assert.False(new ReadOnlySpan<byte>(start, page).ContainsAnyExcept((byte)0));
            new Span<byte>(start, page).Fill(0xAA);
            live.Add(((nint)start, page, true));
        }
        else
        {
            byte* start = slab.Allocate(bytes, out int capacity);
            Assert.Equal(0, (nint)start % ChunkSlab.Grain);
            new Span<byte>(start, capacity).Fill(0xAA);
            live.Add(((nint)start, capacity, false));
        }
    }
}
