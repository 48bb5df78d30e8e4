using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Block-only mode while a window is being written: each flush adds a block to it.</summary>
public sealed class OpenWindowTests() : OneSeriesTests(TimeSpan.FromMinutes(1))
{
    private const int Flushes = 100;
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 100).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    [Fact]
    public async Task A_window_is_written_a_few_times_and_not_once_a_flush_and_is_one_block_in_the_end()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } });
        int most = 0;
        var random = new Random(3);
        for (int flush = 0; flush < Flushes; flush++)
        {
            long from = At(0) + flush * 60_000;
            (byte[], Sample[])[] request = [.. Series.Select(labels => (labels, Enumerable.Range(0, 10).Select(i => Sample.Of(from + i * 5_000, random.NextDouble())).ToArray()))];
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync(request)).Status);
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushByStep();
            while (engine.Engine.StepBlocks())
            {
            }

            most = Math.Max(most, engine.Engine.Stats().Blocks.Length);
        }

        EngineStats open = engine.Engine.Stats();
        Assert.Equal(Flushes, open.FlushesToBlocks);
        Assert.InRange(open.WriteAmplification, 2, 10);
        Assert.InRange(open.BlockCompactions, 5, Flushes / 4);
        Assert.InRange(most, 2, 32);

        // When it closes all of it is joined, and the block does not name a hundred flushes.
        Time.Advance(TimeSpan.FromHours(3));
        engine.BlocksByStep();
        EngineStats closed = engine.Engine.Stats();
        Assert.Single(closed.Blocks);
        Assert.InRange(engine.Engine.StateNow.Blocks.Blocks[0].Reader.Meta.Compaction.Sources.Count, 1, BlockCompactor.MaxSourcesOfWindow);
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(Flushes * 10, samples.Count));
        Assert.Equal([], TestBlocks.Problems(Disk));
    }
}
