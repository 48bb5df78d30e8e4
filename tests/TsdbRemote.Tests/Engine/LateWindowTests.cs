using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Block-only mode while a closed window goes on being written: each flush adds a block to it, as to one that is open (<see cref="OpenWindowTests"/>).</summary>
public sealed class LateWindowTests() : OneSeriesTests(TimeSpan.FromMinutes(1))
{
    private const int Flushes = 100;
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } };
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 100).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    /// <summary>A sender that catches up after an outage.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task A_window_is_written_a_few_times_however_late_and_is_one_block_once_it_is_quiet(int windowsLate)
    {
        EngineHarness engine = Open(Options);
        var random = new Random(3);
        int most = 0;
        for (int flush = 0; flush < Flushes; flush++)
        {
            long from = At(-windowsLate) + flush * 60_000;
            (byte[], Sample[])[] request = [.. Series.Select(labels => (labels, Enumerable.Range(0, 10).Select(i => Sample.Of(from + i * 5_000, random.NextDouble())).ToArray()))];
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync(request)).Status);
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushAndConvertByStep();
            most = Math.Max(most, engine.Engine.Stats().Blocks.Length);
        }

        EngineStats written = engine.Engine.Stats();
        Assert.True(
            written.WriteAmplification <= 10 && written.BlockCompactions is >= 5 and <= Flushes / 4,
            $"amplification {written.WriteAmplification:F1}, {written.BlockCompactions} compactions for {Flushes} flushes");
        Assert.InRange(most, 2, 32);

        // Late or not, it is closed by then. Once for all that is left, and not again.
        if (windowsLate == 0) Time.Advance(TimeSpan.FromHours(1));
        Time.Advance(TimeSpan.FromMinutes(8));
        engine.FlushAndConvertByStep();
        if (windowsLate > 0) Assert.Equal(written.Blocks.Length, engine.Engine.Stats().Blocks.Length);
        Time.Advance(TimeSpan.FromMinutes(3));
        engine.FlushAndConvertByStep();
        Time.Advance(TimeSpan.FromMinutes(30));
        engine.FlushAndConvertByStep();
        EngineStats quiet = engine.Engine.Stats();
        Assert.Equal((1, written.BlockCompactions + (written.Blocks.Length > 1 ? 1 : 0)), (quiet.Blocks.Length, quiet.BlockCompactions));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(Flushes * 10, samples.Count));
        Assert.Equal([], TestBlocks.Problems(Disk));
    }

    /// <summary>A few late samples in each flush, beside a block of many.</summary>
    [Fact]
    public async Task A_trickle_of_late_samples_does_not_have_a_large_block_written_anew_each_flush()
    {
        EngineHarness engine = Open(Options);
        await WriteBulkAsync(engine);
        long before = engine.Engine.Stats().BlockCompactionBytesWritten;
        long size = engine.Engine.Stats().Blocks.Single().Bytes;
        for (int flush = 0; flush < 50; flush++) await WriteLateAsync(engine, flush);
        long written = engine.Engine.Stats().BlockCompactionBytesWritten - before;
        Assert.True(written < size, $"50 late samples, one a minute, had {written} bytes written beside a block of {size}: {(double)written / size:F1} times");
        Assert.InRange(engine.Engine.Stats().BlockCompactions, 1, 5);

        // Quiet, all of it is merged once.
        Time.Advance(TimeSpan.FromMinutes(10));
        engine.FlushAndConvertByStep();
        Assert.Single(engine.Engine.Stats().Blocks);
    }

    [Fact]
    public async Task Who_asks_does_not_wait_for_a_late_window_to_be_quiet()
    {
        EngineHarness engine = Open(Options);
        await WriteBulkAsync(engine);
        for (int flush = 0; flush < 5; flush++) await WriteLateAsync(engine, flush);
        Assert.Equal((6, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().BlockCompactions));
        engine.BlocksByStep();
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().BlockCompactions));
    }

    /// <summary>Late blocks that become one of their own lie between an older block and newer ones, and hold values of both.</summary>
    [Fact]
    public async Task Late_blocks_that_are_merged_among_themselves_stay_above_what_is_older_and_below_what_is_newer()
    {
        EngineHarness engine = Open(Options);
        await WriteBulkAsync(engine);
        Dictionary<long, double> expected = [];
        for (int flush = 0; flush < 40; flush++)
        {
            // Of the large block, of the late ones before and of its own.
            Sample[] late = [Sample.Of(TimeOf(flush), flush), Sample.Of(TimeOf(flush / 2), 1000 + flush), Sample.Of(TimeOf(399 - flush), 2000 + flush)];
            foreach (Sample sample in late) expected[sample.TimeMs] = sample.Value;
            await engine.WriteAsync((Series[0], late));
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushAndConvertByStep();
            AssertReads(engine, expected);
        }

        EngineStats stats = engine.Engine.Stats();
        Assert.True(stats.BlockCompactions == 1 && stats.BlocksMerged >= 30 && stats.Blocks.Length > 2, $"{stats.BlockCompactions} compactions of {stats.BlocksMerged} blocks, {stats.Blocks.Length} left");
        engine = Open(Options);
        AssertReads(engine, expected);
        engine.BlocksByStep();
        Assert.Single(engine.Engine.Stats().Blocks);
        AssertReads(engine, expected);
    }

    private static long TimeOf(int step) => At(-3) + step * 15_000;

    private static void AssertReads(EngineHarness engine, Dictionary<long, double> expected)
    {
        List<Sample> read = engine.ReadAll()[Labels.Print(Series[0])];
        Assert.Equal(400, read.Count);
        Assert.Equal(expected.OrderBy(static one => one.Key), read.Where(sample => expected.ContainsKey(sample.TimeMs)).Select(static sample => KeyValuePair.Create(sample.TimeMs, sample.Value)));
    }

    private static async Task WriteBulkAsync(EngineHarness engine)
    {
        var random = new Random(3);
        (byte[], Sample[])[] bulk = [.. Series.Select(labels => (labels, Enumerable.Range(0, 400).Select(i => Sample.Of(TimeOf(i), random.NextDouble())).ToArray()))];
        Assert.Equal(WriteStatus.Written, (await engine.WriteAsync(bulk)).Status);
        engine.FlushAndConvertByStep();
    }

    private async Task WriteLateAsync(EngineHarness engine, int flush)
    {
        Assert.Equal(WriteStatus.Written, (await engine.WriteAsync((Series[0], [Sample.Of(TimeOf(flush) + 1, flush)]))).Status);
        Time.Advance(TimeSpan.FromMinutes(1));
        engine.FlushAndConvertByStep();
    }
}
