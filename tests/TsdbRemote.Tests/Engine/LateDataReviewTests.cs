using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Engine;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Review: what block-only mode does with windows that are closed, and with what a switch back leaves behind.</summary>
public sealed class LateDataReviewTests() : OneSeriesTests(TimeSpan.FromMinutes(1))
{
    private const int Flushes = 100;
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 100).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    /// <summary>The same history as OpenWindowTests, three windows late: a sender that catches up after an outage.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task A_window_that_is_written_late_is_written_a_few_times_too(int windowsLate)
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } });
        var random = new Random(3);
        for (int flush = 0; flush < Flushes; flush++)
        {
            long from = At(-windowsLate) + flush * 60_000;
            (byte[], Sample[])[] request = [.. Series.Select(labels => (labels, Enumerable.Range(0, 10).Select(i => Sample.Of(from + i * 5_000, random.NextDouble())).ToArray()))];
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync(request)).Status);
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushByStep();
            while (engine.Engine.StepBlocks())
            {
            }
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats.WriteAmplification <= 10 && stats.BlockCompactions <= Flushes / 4, $"amplification {stats.WriteAmplification:F1}, {stats.BlockCompactions} compactions for {Flushes} flushes");
    }

    /// <summary>A few late samples in each flush beside a block of many: what they cost.</summary>
    [Fact]
    public async Task A_trickle_of_late_samples_does_not_have_a_large_block_written_anew_each_flush()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } });
        var random = new Random(3);
        (byte[], Sample[])[] bulk = [.. Series.Select(labels => (labels, Enumerable.Range(0, 400).Select(i => Sample.Of(At(-3) + i * 15_000, random.NextDouble())).ToArray()))];
        Assert.Equal(WriteStatus.Written, (await engine.WriteAsync(bulk)).Status);
        engine.FlushAndConvertByStep();
        long before = engine.Engine.Stats().BlockCompactionBytesWritten;
        long size = engine.Engine.Stats().Blocks.Single().Bytes;
        for (int flush = 0; flush < 50; flush++)
        {
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync((Series[0], [Sample.Of(At(-3) + flush * 15_000 + 1, flush)]))).Status);
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushAndConvertByStep();
        }

        long written = engine.Engine.Stats().BlockCompactionBytesWritten - before;
        Assert.True(written < 10 * size, $"50 late samples, one a minute, had {written} bytes written beside a block of {size}: {(double)written / size:F0} times");
    }

    /// <summary>Issue: an admin call switches to block-only mode at run time and back, with no restart and nothing lost.</summary>
    [Fact]
    public void What_was_acknowledged_is_still_read_after_block_only_mode_ends()
    {
        EngineHarness engine = Open(new IntegrationOptions { ReadPath = ReadPathChoice.Lsm });
        Write(engine, At(0), 1);
        engine.FlushAndConvertByStep();
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Write(engine, At(0) + 1, 2);
        engine.FlushAndConvertByStep();
        Assert.Equal(2, engine.ReadAll().Values.Single().Count);
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
        Assert.Equal(2, engine.ReadAll().Values.Sum(static samples => samples.Count));
    }

    /// <summary>Series that are written all the time, by a sender that is three hours behind.</summary>
    [Fact]
    public async Task Series_that_are_written_all_the_time_stay_though_their_sender_is_late()
    {
        await using EngineHarness engine = EngineHarness.OpenStepwise(
            Disk, EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks, BlockCompaction = false } }, Time);
        for (int minute = 0; minute < 5; minute++)
        {
            for (int i = 0; i < 2; i++)
            {
                long now = Time.GetUtcNow().ToUnixTimeMilliseconds() - 3 * 3_600_000;
                await engine.WriteAsync([.. Enumerable.Range(0, 2000).Select(number => (DictionaryLifeTests.LabelsOf(number), new[] { Sample.Of(now, number) }))]);
                Time.Advance(TimeSpan.FromSeconds(30));
            }

            engine.FlushAndConvertByStep();
            engine.CollectByStep();
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats.SeriesDropped == 0, $"{stats.SeriesDropped} series left in 5 minutes of 2000 that are written twice a minute; epoch {stats.DictionaryEpoch}");
    }
}
