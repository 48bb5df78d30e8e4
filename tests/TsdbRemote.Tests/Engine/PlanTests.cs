using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>The tests that the plan names, under its names, on the real disk with the engine's own threads.</summary>
public sealed class PlanTests
{
    [Fact]
    public async Task BasicWriteAndRead()
    {
        using var directory = new TempDirectory();
        StorageOptions options = OptionsOf(directory);
        byte[] up = Labels.Encode(("__name__", "up"), ("job", "node"));
        byte[] load = Labels.Encode(("__name__", "load"), ("job", "node"));
        Sample[] first = [Sample.Of(1000, 1), Sample.Of(2000, 0), new(3000, StaleMarker.Bits)];
        Sample[] second = [Sample.Of(-5, 0.5), Sample.Of(10_000_000, double.NegativeInfinity)];

        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options))
        {
            WriteReport report = await engine.WriteAsync((up, first), (load, second));
            Assert.Equal((WriteStatus.Written, 5, null), (report.Status, report.Samples, report.Message));
            AssertBoth(engine, up, first, load, second);
            await engine.Engine.FlushAsync(CancellationToken.None);
            AssertBoth(engine, up, first, load, second);
            Assert.Equal(first[1..], engine.Read(new TimeRange(2000, 3000), Matcher.Create(MatcherType.Equal, "__name__", "up")).Values.Single());
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        AssertBoth(again, up, first, load, second);
        Assert.Equal(0, again.Engine.Stats().RecordsReplayed);
    }

    [Fact]
    public async Task ConcurrentWrites()
    {
        const int threads = 8;
        const int seriesEach = 10_000;
        const int seriesPerRequest = 500;
        using var directory = new TempDirectory();
        StorageOptions options = OptionsOf(directory);
        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options))
        {
            await WriteFromThreadsAsync(engine, threads, seriesEach, seriesPerRequest, timeMs: 1000);
            AssertReadable(engine, threads * seriesEach, 1000);
            await engine.Engine.FlushAsync(CancellationToken.None);
            AssertReadable(engine, threads * seriesEach, 1000);

            // Once more for each series, left to the log.
            await WriteFromThreadsAsync(engine, threads, seriesEach, seriesPerRequest, timeMs: 2000);
            await engine.StopWithoutFlushAsync();
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        Assert.True(again.Engine.Stats().RecordsReplayed > 0, "nothing was left to the log");
        AssertReadable(again, threads * seriesEach, 1000, 2000);
        await again.Engine.FlushAsync(CancellationToken.None);
        AssertReadable(again, threads * seriesEach, 1000, 2000);
    }

    [Fact]
    public async Task HybridReadWrite()
    {
        const int writers = 2;
        const int compactions = 6;
        using var directory = new TempDirectory();
        StorageOptions options = OptionsOf(directory) with
        {
            Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(1) },
            Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) },
        };
        var history = new HybridHistory(writers);
        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options))
        {
            using var stop = new CancellationTokenSource();
            Task[] writing = [.. Enumerable.Range(0, writers).Select(writer => Task.Run(() => history.WriteAsync(engine, writer, stop.Token)))];
            Task<int>[] reading = [.. Enumerable.Range(0, 2).Select(_ => Task.Run(() => history.Read(engine, stop.Token)))];
            try
            {
                // As long as it takes until windows were converted, and again with what came late for them.
                for (int i = 0; i < 100 && (i < compactions || engine.Engine.Stats() is { Conversions: < 6 } or { LateConversions: 0 }); i++)
                {
                    await Task.Delay(100, CancellationToken.None);
                    await engine.Engine.CompactAsync(CancellationToken.None);
                }
            }
            finally
            {
                await stop.CancelAsync();
            }

            await Task.WhenAll(writing);
            Assert.All(await Task.WhenAll(reading), static reads => Assert.True(reads > 0, "a reader never came to read"));
            history.Check(engine);
            EngineStats stats = engine.Engine.Stats();
            Assert.True(stats is { Conversions: >= 6, LateConversions: > 0, ConversionErrors: 0, SamplesOutOfOrder: > 0 }, $"{stats}");
            Assert.Empty(stats.Damages);
            await engine.Engine.CompactAsync(CancellationToken.None);
            Assert.Empty(engine.Engine.Stats().Tables);
            history.Check(engine);
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        history.Check(again);
        Assert.Equal([], TestBlocks.Problems(new LocalFileSystem(), $"{options.DataDir}/blocks"));
    }

    [Fact]
    public async Task BlockOnlyModeAndBack()
    {
        const int writers = 2;
        using var directory = new TempDirectory();
        StorageOptions options = OptionsOf(directory) with
        {
            Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(1) },
            Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), MaxBlockRecords = 1000 },
        };
        var history = new HybridHistory(writers);
        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options))
        {
            using var stop = new CancellationTokenSource();
            Task[] writing = [.. Enumerable.Range(0, writers).Select(writer => Task.Run(() => history.WriteAsync(engine, writer, stop.Token)))];
            Task<int> reading = Task.Run(() => history.Read(engine, stop.Token));
            try
            {
                // As long as it takes until each way was gone often enough, and block-only mode has made blocks of its own accord.
                for (int i = 0; i < 400 && (i < 40 || engine.Engine.Stats() is { Conversions: < 10 } or { Flushes: < 10 }); i++)
                {
                    Assert.True(engine.Engine.TrySwitchWritePath(i % 4 < 2 ? WritePathChoice.Blocks : WritePathChoice.Lsm));
                    if (i % 5 == 0) await engine.Engine.FlushAsync(CancellationToken.None);
                    await Task.Delay(25, CancellationToken.None);
                }
            }
            finally
            {
                await stop.CancelAsync();
            }

            await Task.WhenAll(writing);
            Assert.True(await reading > 0, "the reader never came to read");
            history.Check(engine);
            EngineStats stats = engine.Engine.Stats();
            Assert.True(stats is { Conversions: >= 10, Flushes: >= 10, ConversionErrors: 0, FlushErrors: 0 }, $"{stats}");
            Assert.Empty(stats.Damages);
            Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
            await engine.Engine.CompactAsync(CancellationToken.None);
            Assert.Empty(engine.Engine.Stats().Tables);
            history.Check(engine);
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        history.Check(again);
        Assert.Equal([], TestBlocks.Problems(new LocalFileSystem(), $"{options.DataDir}/blocks"));
    }

    private static StorageOptions OptionsOf(TempDirectory directory) => new() { DataDir = directory["data"] };

    private static void AssertBoth(EngineHarness engine, byte[] up, Sample[] first, byte[] load, Sample[] second)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(2, read.Count);
        Assert.Equal(first, read[Labels.Print(up)]);
        Assert.Equal(second, read[Labels.Print(load)]);
    }

    private static Task WriteFromThreadsAsync(EngineHarness engine, int threads, int seriesEach, int seriesPerRequest, long timeMs) =>
        Task.WhenAll(Enumerable.Range(0, threads).Select(thread => Task.Run(async () =>
        {
            for (int first = 0; first < seriesEach; first += seriesPerRequest)
            {
                (byte[], Sample[])[] request =
                    [.. Enumerable.Range(first, seriesPerRequest).Select(i => (LabelsOf(thread * seriesEach + i), new[] { SampleOf(thread * seriesEach + i, timeMs) }))];
                WriteReport report = await engine.WriteAsync(request);
                Assert.Equal((WriteStatus.Written, seriesPerRequest), (report.Status, report.Samples));
            }
        })));

    private static void AssertReadable(EngineHarness engine, int seriesCount, params long[] timesMs)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(seriesCount, read.Count);
        for (int i = 0; i < seriesCount; i++)
        {
            List<Sample> samples = read[Labels.Print(LabelsOf(i))];
            if (!samples.SequenceEqual(timesMs.Select(time => SampleOf(i, time)))) Assert.Fail($"series {i} reads as {string.Join(' ', samples)}");
        }
    }

    private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "requests_total"), ("instance", $"i{series % 97}"), ("series", $"{series}"));

    private static Sample SampleOf(int series, long timeMs) => Sample.Of(timeMs, series + timeMs / 1000.0);

    /// <summary>Writers that go through time and now and then write far behind it; each sample says by its value which it is.</summary>
    private sealed class HybridHistory(int writers)
    {
        private const int SeriesEach = 8;
        private const long StepMs = 600_000;
        private readonly long _firstMs = TimeWindow.StartOf(DateTimeOffset.UtcNow.AddDays(-300).ToUnixTimeMilliseconds(), 7_200_000);
        private readonly long[] _acknowledged = [.. Enumerable.Repeat(-1L, writers)];
        private readonly long[] _sent = [.. Enumerable.Repeat(-1L, writers)];

        public async Task WriteAsync(EngineHarness engine, int writer, CancellationToken stop)
        {
            for (long step = 0; !stop.IsCancellationRequested; step++)
            {
                Volatile.Write(ref _sent[writer], step);
                WriteReport report = await engine.WriteAsync([.. Enumerable.Range(0, SeriesEach).Select(i => (LabelsOf(writer, i), new[] { SampleAt(writer, i, step) }))]);
                Assert.Equal((WriteStatus.Written, SeriesEach, null), (report.Status, report.Samples, report.Message));
                Volatile.Write(ref _acknowledged[writer], step);
                if (step % 8 == 0) await Task.Delay(1, CancellationToken.None);
            }
        }

        public int Read(EngineHarness engine, CancellationToken stop)
        {
            int reads = 0;
            for (; !stop.IsCancellationRequested; reads++) Check(engine);
            return reads;
        }

        /// <summary>All that was acknowledged before, each sample once and in order (as the harness reads), nothing that was not sent.</summary>
        public void Check(EngineHarness engine)
        {
            long[] atLeast = [.. Enumerable.Range(0, writers).Select(writer => Volatile.Read(ref _acknowledged[writer]))];
            Dictionary<string, List<Sample>> read = engine.ReadAll();
            for (int writer = 0; writer < writers; writer++)
            {
                long atMost = Volatile.Read(ref _sent[writer]);
                for (int i = 0; i < SeriesEach; i++)
                {
                    HashSet<Sample> found = [.. read.GetValueOrDefault(Labels.Print(LabelsOf(writer, i)), [])];
                    for (long step = 0; step <= atMost; step++)
                    {
                        if (!found.Remove(SampleAt(writer, i, step)) && step <= atLeast[writer]) Assert.Fail($"step {step} of writer {writer}, series {i}, is missing of {atLeast[writer]}");
                    }

                    if (found.Count > 0) Assert.Fail($"{string.Join(' ', found)} of writer {writer}, series {i}, was never sent");
                }
            }
        }

        private static byte[] LabelsOf(int writer, int series) => Labels.Encode(("__name__", "hybrid"), ("writer", $"{writer}"), ("i", $"{series}"));

        // Each fourth step is late, into a window that may be a block by now, at an instant that no other step has.
        private Sample SampleAt(int writer, int series, long step) =>
            Sample.Of(_firstMs + (step % 4 == 3 ? step / 3 * StepMs + StepMs / 2 : step * StepMs), step * 1000 + writer * 100 + series);
    }
}
