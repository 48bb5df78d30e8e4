using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Tests.Files;

public class NativeArenaTests
{
    [Fact]
    public void What_was_handed_out_neither_moves_nor_overlaps()
    {
        using var arena = new NativeArena(4096);
        var runs = new List<NativeBytes>();
        for (int i = 0; i < 500; i++)
        {
            NativeBytes run = arena.Allocate(i * 7 % 300);
            run.Span.Fill((byte)i);
            runs.Add(run);
        }

        for (int i = 0; i < runs.Count; i++)
        {
            Assert.Equal(i * 7 % 300, runs[i].Length);
            Assert.Equal(-1, runs[i].Span.IndexOfAnyExcept((byte)i));
        }
    }

    [Fact]
    public void A_large_request_does_not_waste_the_current_block()
    {
        using var arena = new NativeArena(4096);
        arena.Allocate(8);
        arena.Allocate(100_000);
        arena.Allocate(4000);
        Assert.Equal(4096 + 100_000, arena.AllocatedBytes);
    }

    [Fact]
    public unsafe void Runs_are_aligned_to_8()
    {
        using var arena = new NativeArena();
        arena.Allocate(3);
        Assert.Equal(0, (nint)arena.Allocate(5).Pointer % 8);
    }

    [Fact]
    public void A_freed_arena_hands_out_nothing_more()
    {
        var arena = new NativeArena();
        arena.Allocate(1);
        arena.Dispose();
        arena.Dispose();
        Assert.Throws<ObjectDisposedException>(() => arena.Allocate(1));
        Assert.Equal(0, arena.AllocatedBytes);
    }
}
