using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Late data for every window of the largest range, again and again: devices that deliver for any of the last weeks.</summary>
public sealed class LateRangeTests() : OneSeriesTests(TimeSpan.FromMinutes(1))
{
    private const int Windows = 243; // 486 h, the largest range
    private const int Flushes = 72; // so many times as many sources are more than a meta.json names
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions() };
    private static readonly long FromMs = TimeWindow.StartOf(CurrentMs - 60L * 86_400_000, Windows * WindowMs);

    [Fact]
    public void Blocks_come_to_rest_however_often_late_data_comes()
    {
        EngineHarness engine = Open(Options);
        var blocks = new List<int>();
        for (int flush = 0; flush < Flushes; flush++)
        {
            WriteEachWindow(engine, flush);
            blocks.Add(engine.Engine.Stats().Blocks.Length);
            if (blocks[^1] > 1000) break;
        }

        Assert.True(blocks[^1] <= 100, $"at rest after {blocks.Count} flushes: blocks {string.Join(' ', blocks)}");
        Assert.InRange(MostSources(engine), 1, BlockCompactor.MaxSourcesOfWindow * Windows);
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(Windows * Flushes, samples.Count));
    }

    /// <summary>What came while nothing was compacted (switched off, or the disk had no room) is more than is merged at once.</summary>
    [Fact]
    public void Blocks_come_to_rest_after_compaction_was_off_for_a_while()
    {
        EngineHarness engine = Open(Options);
        WriteEachWindow(engine, 0);
        engine = Open(new IntegrationOptions()); // without compaction of blocks
        for (int flush = 1; flush < 6; flush++) WriteEachWindow(engine, flush);
        Assert.True(engine.Engine.Stats().Blocks.Length > BlockCompactionPicker.MaxOverlapping, $"{engine.Engine.Stats().Blocks.Length} blocks");
        engine = Open(Options);
        engine.BlocksByStep();
        Assert.Single(engine.Engine.Stats().Blocks); // no two that overlap, once it was asked for
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(Windows * 6, samples.Count));
        Assert.Equal([], TestBlocks.Problems(Disk));
    }

    private static int MostSources(EngineHarness engine) => engine.Engine.StateNow.Blocks.Blocks.Max(static block => block.Reader.Meta.Compaction.Sources.Count);

    /// <summary>A sample of each window, flushed, and what comes of it by itself.</summary>
    private void WriteEachWindow(EngineHarness engine, int flush)
    {
        Write(engine, [.. Enumerable.Range(0, Windows).Select(window => Sample.Of(FromMs + window * WindowMs + flush * 15_000, flush))]);
        engine.FlushByStep();
        Time.Advance(TimeSpan.FromMinutes(11));
        while (engine.Engine.StepBlocks())
        {
        }
    }
}
