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
}
