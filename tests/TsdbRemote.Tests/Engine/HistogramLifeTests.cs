using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Engine.MixedEngine;

namespace TsdbRemote.Tests.Engine;

/// <summary>Floats and histograms of one series on all their ways: memory, tables, merges, blocks, kills. A sorted map says what is to be read.</summary>
public sealed class HistogramLifeTests
{
    private const long WindowMs = 7_200_000;
    private const long StartMs = 200_000 * WindowMs;

    [Theory]
    [InlineData(WritePathChoice.Lsm)]
    [InlineData(WritePathChoice.Blocks)]
    public void What_was_written_is_read_whatever_was_flushed_merged_converted_or_killed_between(WritePathChoice path)
    {
        StorageOptions options = OptionsOf(path);
        for (int seed = 0; seed < 5; seed++)
        {
            var random = new Random(seed);
            var disk = new CrashFileSystem("/disk");
            EngineHarness engine = EngineHarness.OpenStepwise(disk, options);
            var model = new Dictionary<string, SortedDictionary<long, LaneSample>>();
            for (int step = 0; step < 30; step++)
            {
                WriteSome(engine, random, model);
                switch (random.Next(6))
                {
                    case 0:
                        engine.FlushByStep();
                        break;
                    case 1:
                        engine.CompactByStep();
                        break;
                    case 2:
                        disk = disk.CrashClone(CrashPolicy.OnlySynced, seed);
                        engine = EngineHarness.OpenStepwise(disk, options);
                        break;
                }

                if (step % 5 == 4) engine.AssertReads(model);
            }

            engine.CompactByStep();
            engine.AssertReads(model);
            EngineStats stats = engine.Engine.Stats();
            Assert.Equal((0, 0), (stats.FlushErrors, stats.ConversionErrors));
            Assert.NotEmpty(stats.Blocks);
            long stored = stats.Blocks.Sum(static block => block.Samples) + stats.Tables.Sum(static table => table.Samples);
            Assert.Equal(model.Values.Sum(static series => series.Count), stored);
        }
    }

    [Fact]
    public void A_flush_counts_every_instant_of_a_mixed_series_once()
    {
        StorageOptions options = OptionsOf(WritePathChoice.Blocks);
        EngineHarness engine = EngineHarness.OpenStepwise(new CrashFileSystem("/disk"), options);
        NativeHistogram histogram = HistogramGen.Integer(1, 1, 2);
        for (int i = 0; i < 10; i++) engine.WriteOne("h", StartMs + i, histogram);
        for (int i = 5; i < 15; i++) engine.WriteOne("h", StartMs + i, i);
        for (int i = 0; i < 20; i++) engine.WriteOne("h", StartMs + i, histogram);
        Assert.Equal((20, 10), (engine.Engine.Stats().MemTables[0].Samples, engine.Engine.Stats().MemTables[0].Histograms));
        engine.FlushByStep();
        EngineStats stats = engine.Engine.Stats();
        Assert.Equal((20, 20, 1), (stats.FlushSamples, stats.Blocks.Single().Samples, stats.FlushesToBlocks));
        engine.AssertReads(
            "h", [.. Enumerable.Range(0, 20).Select(i => i is >= 5 and < 15 ? Float(StartMs + i, i) : new LaneSample(StartMs + i, histogram))]);
    }

    private static StorageOptions OptionsOf(WritePathChoice path) =>
        EngineHarness.SmallOptions with { Integration = EngineHarness.SmallOptions.Integration with { WritePath = path } };

    /// <summary>Some series, each with what a sender would send next, or with something from long ago.</summary>
    private static void WriteSome(EngineHarness engine, Random random, Dictionary<string, SortedDictionary<long, LaneSample>> model)
    {
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            string name = $"s{random.Next(3)}";
            if (!model.TryGetValue(name, out SortedDictionary<long, LaneSample>? known)) model[name] = known = [];
            bool isLate = known.Count == 0 || random.Next(3) == 0;
            long timeMs = isLate ? StartMs + random.Next(40) * (WindowMs / 10) : known.Keys.Last();
            var traits = new HistogramTraits((ulong)random.Next(), random.Next(1, 25), 15_000)
            {
                IsFloat = random.Next(2) == 0,
                IsCustom = random.Next(4) == 0,
                IsGauge = random.Next(4) == 0,
                Buckets = random.Next(1, 20),
                Unrest = random.Next(600),
            };
            List<HistogramSample> histograms = random.Next(4) == 0 ? [] : HistogramWalk.Series(traits, timeMs);
            foreach (HistogramSample sample in histograms)
            {
                Assert.Equal(WriteStatus.Written, engine.WriteOne(name, sample.TimeMs, sample.Histogram).Status);
                known.Put(new LaneSample(sample.TimeMs, sample.Histogram));
            }

            for (int f = histograms.Count == 0 ? 10 : random.Next(3); f > 0; f--)
            {
                LaneSample sample = Float(timeMs + random.Next(20) * 15_000, random.Next(3));
                Assert.Equal(WriteStatus.Written, engine.WriteOne(name, sample.TimeMs, BitConverter.UInt64BitsToDouble(sample.ValueBits)).Status);
                known.Put(sample);
            }
        }
    }
}
