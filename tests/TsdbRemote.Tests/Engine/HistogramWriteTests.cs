using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Wire;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Engine.MixedEngine;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Engine;

/// <summary>Histograms in requests: what is refused and in which words, what the log has of the rest, what is there after a kill.</summary>
public sealed class HistogramWriteTests
{
    private static readonly NativeHistogram Small = HistogramGen.Integer(1, 1, 2);
    private static readonly NativeHistogram Large = HistogramGen.Integer(9, 5, 6, 7);

    private readonly CrashFileSystem _disk = new("/disk");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_kill_loses_no_acknowledged_histogram(bool isV2)
    {
        for (int seed = 0; seed < 20; seed++)
        {
            var random = new Random(seed);
            var disk = new CrashFileSystem("/disk");
            EngineHarness engine = EngineHarness.OpenStepwise(disk);
            var model = new Dictionary<string, SortedDictionary<long, LaneSample>>();
            for (int request = 0; request < 12; request++)
            {
                (IMessage message, long floats, long histograms, bool anyRefused) = RandomRequest(random, isV2, model);
                WriteReport report = engine.Write(message);
                Assert.Equal(anyRefused ? WriteStatus.Rejected : WriteStatus.Written, report.Status);
                Assert.Equal((floats, histograms), (report.Samples, report.Histograms));
                if (random.Next(4) > 0) continue;
                disk = disk.CrashClone(CrashPolicy.OnlySynced, seed);
                engine = EngineHarness.OpenStepwise(disk);
            }

            engine.AssertReads(model);
            EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.OnlySynced, seed)).AssertReads(model);
        }
    }

    [Fact]
    public void Of_a_series_that_is_refused_in_part_the_rest_is_there_after_a_kill()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk);
        TimeSeries series = Requests.SeriesOf("__name__=mixed", (10, 1), (20, 2));
        series.Histograms.Add(HistogramMessages.Of(HistogramMessages.Wrong(), 30));
        series.Histograms.Add(HistogramMessages.Of(Small, 40));
        TimeSeries onlyBad = Requests.SeriesOf("__name__=bad");
        onlyBad.Histograms.Add(HistogramMessages.Of(HistogramMessages.Wrong(), 30));
        TimeSeries nameless = Requests.SeriesOf("job=a");
        nameless.Histograms.Add(HistogramMessages.Of(Small, 30));
        WriteReport report = engine.Write(Requests.V1(onlyBad, series, nameless));
        Assert.Equal((WriteStatus.Rejected, 2, 1), (report.Status, report.Samples, report.Histograms));
        const string text = "3 observations found in buckets, but the Count field is 99: histogram's observation count should equal";
        Assert.Contains(text, report.Message, StringComparison.Ordinal);
        Assert.Contains("for series {__name__=\"bad\"}", report.Message, StringComparison.Ordinal);
        Assert.Contains("for series {__name__=\"mixed\"}", report.Message, StringComparison.Ordinal);
        Assert.Contains("invalid metric name or labels, got {job=\"a\"}", report.Message, StringComparison.Ordinal);
        Assert.Contains("3 of 6 samples stored", report.Message, StringComparison.Ordinal);
        Assert.Equal(1, engine.Engine.Stats().SeriesCreated);
        LaneSample[] expected = [Float(10, 1), Float(20, 2), new(40, Small)];
        engine.AssertReads("mixed", expected);
        engine = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1));
        engine.AssertReads("mixed", expected);
        Assert.Single(engine.ReadMixed());
    }

    [Fact]
    public void A_histogram_too_far_ahead_is_refused_and_makes_no_series()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk);
        long nowMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        Assert.Equal(WriteStatus.Written, engine.WriteOne("soon", nowMs + 9 * 60_000, Small).Status);
        WriteReport report = engine.WriteOne("far", nowMs + 11 * 60_000, Small);
        Assert.Equal(WriteStatus.Rejected, report.Status);
        Assert.Contains("out of bounds: timestamp is too far in the future for series {__name__=\"far\"}", report.Message, StringComparison.Ordinal);
        Assert.Equal(1, engine.Engine.Stats().SeriesCreated);
        Assert.Equal((1, 1), (engine.Engine.Stats().HistogramsWritten, engine.Engine.Stats().SamplesRejected[RejectionReason.Future]));
    }

    [Fact]
    public void Where_conflicts_are_refused_the_second_to_come_is_whatever_it_is()
    {
        StorageOptions options = EngineHarness.SmallOptions with { Conflicts = ConflictPolicy.Reject };
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, options);
        const string bare = "duplicate sample for timestamp for series {__name__=\"h\"}";
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 1000, Small).Status);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 1000, Small).Status);
        AssertRefused(bare, engine.WriteOne("h", 1000, Large));
        AssertRefused(
            "duplicate sample for timestamp 1000; overrides not allowed: existing is a histogram, new value 2 for series {__name__=\"h\"}",
            engine.WriteOne("h", 1000, 2));
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 2000, 7).Status);
        AssertRefused(bare, engine.WriteOne("h", 2000, Small));

        // Within one request the floats come first.
        TimeSeries both = Requests.SeriesOf("__name__=h", (3000, 3), (500, 4));
        both.Histograms.Add([HistogramMessages.Of(Large, 3000), HistogramMessages.Of(Large, 500), HistogramMessages.Of(Large, 600)]);
        WriteReport report = engine.Write(Requests.V1(both));
        AssertRefused(bare, report);
        Assert.Equal((2, 1), (report.Samples, report.Histograms));

        LaneSample[] expected = [Float(500, 4), new(600, Large), new(1000, Small), Float(2000, 7), Float(3000, 3)];
        engine.AssertReads("h", expected);
        EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), options).AssertReads("h", expected);
    }

    [Fact]
    public void Where_conflicts_are_refused_MemTables_that_wait_are_asked_too()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, EngineHarness.SmallOptions with { Conflicts = ConflictPolicy.Reject });
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 1000, Small).Status);
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        engine.Engine.Step(flush: false);
        Assert.False(flush.IsCompleted);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 1000, Small).Status);
        AssertRefused("duplicate sample for timestamp for series", engine.WriteOne("h", 1000, Large));
        AssertRefused("existing is a histogram, new value 2", engine.WriteOne("h", 1000, 2));
        engine.AssertReads("h", [new(1000, Small)]);
    }

    [Theory]
    [InlineData("0s", "out of order sample for series {__name__=\"h\"}")]
    [InlineData("1s", "too old sample for series {__name__=\"h\"}")]
    public void A_histogram_older_than_the_window_allows_is_refused_and_not_logged(string window, string text)
    {
        StorageOptions options = EngineHarness.SmallOptions with { OutOfOrderWindow = Duration.Parse(window) };
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, options);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 10_000, Small).Status);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 20_000, 1).Status); // the newest of a series is of either kind
        AssertRefused(text, engine.WriteOne("h", 15_000, Large));
        AssertRefused(text, engine.WriteOne("h", 10_000, Large));
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 10_000, Small).Status);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 30_000, Large).Status);
        AssertRefused(text, engine.WriteOne("h", 25_000, 2));
        if (window == "1s") Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 29_500, Small).Status);
        List<LaneSample> expected = [new(10_000, Small), Float(20_000, 1), new(30_000, Large)];
        if (window == "1s") expected.Insert(2, new LaneSample(29_500, Small));
        engine.AssertReads("h", [.. expected]);
        EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), options).AssertReads("h", [.. expected]);
    }

    [Fact]
    public void A_float_and_a_histogram_of_one_time_are_both_accepted_and_the_float_is_read()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk);
        Assert.Equal((WriteStatus.Written, 1), (engine.WriteOne("h", 1000, Small).Status, engine.WriteOne("h", 1000, 5).Samples));
        WriteReport second = engine.WriteOne("h", 1000, Large);
        Assert.Equal((WriteStatus.Written, 1), (second.Status, second.Histograms));
        engine.AssertReads("h", [Float(1000, 5)]);
        Assert.Equal(2, engine.Engine.Stats().SamplesReplaced);
        EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1)).AssertReads("h", [Float(1000, 5)]);
    }

    [Fact]
    public void A_schema_that_is_too_fine_is_reduced_also_by_the_replay()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk);
        NativeHistogram fine = HistogramGen.Integer(3, 1, 2, 3, 4, 5);
        fine.Schema = 10;
        NativeHistogram coarse = HistogramGen.Integer(3, 1, 14);
        coarse.Schema = 8;
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", 1000, fine).Status);
        engine.AssertReads("h", [new(1000, coarse)]);
        EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1)).AssertReads("h", [new(1000, coarse)]);
    }

    private static (IMessage Message, long Floats, long Histograms, bool AnyRefused) RandomRequest(
        Random random, bool isV2, Dictionary<string, SortedDictionary<long, LaneSample>> model)
    {
        var v1 = new WriteRequest();
        V2.Request v2 = Requests.V2Of();
        (long floats, long histograms, bool anyRefused) = (0, 0, false);
        for (int i = random.Next(1, 5); i > 0; i--)
        {
            string name = $"s{random.Next(6)}";
            (long, double)[] samples = [.. Enumerable.Range(0, random.Next(3)).Select(_ => ((long)random.Next(200), (double)random.Next(3)))];
            List<(long TimeMs, NativeHistogram Histogram)> given =
                [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => ((long)random.Next(200), RandomHistogram(random)))];
            TimeSeries series = Requests.SeriesOf($"__name__={name}", samples);
            series.Histograms.AddRange(given.Select(static pair => HistogramMessages.Of(pair.Histogram, pair.TimeMs)));
            v1.Timeseries.Add(series);
            Requests.Add(v2, $"__name__={name}", samples).Histograms.AddRange(given.Select(static pair => HistogramMessages.V2Of(pair.Histogram, pair.TimeMs)));
            bool IsGood((long, NativeHistogram Histogram) pair) => HistogramValidation.Problem(pair.Histogram) is null;
            floats += samples.Length;
            histograms += given.Count(IsGood);
            anyRefused |= !given.TrueForAll(IsGood);
            if (samples.Length == 0 && !given.Exists(IsGood)) continue;
            if (!model.TryGetValue(name, out SortedDictionary<long, LaneSample>? known)) model[name] = known = [];
            foreach ((long time, double value) in samples) known.Put(Float(time, value));
            foreach ((long time, NativeHistogram histogram) in given.Where(IsGood)) known.Put(new LaneSample(time, histogram));
        }

        // Floats are appended first: a float later in the request still wins over a histogram before it, as the model has it too.
        return (isV2 ? v2 : v1, floats, histograms, anyRefused);
    }

    private static NativeHistogram RandomHistogram(Random random) => random.Next(6) switch
    {
        0 => HistogramMessages.Wrong(),
        1 => HistogramGen.Float(HistogramGen.Integer(random.Next(3), 1, random.Next(3))),
        2 => HistogramGen.Stale(isFloat: random.Next(2) == 0),
        _ => HistogramGen.Integer(random.Next(3), [.. Enumerable.Range(0, random.Next(5)).Select(_ => (long)random.Next(4))]),
    };

    private static void AssertRefused(string text, WriteReport report)
    {
        Assert.Equal(WriteStatus.Rejected, report.Status);
        Assert.Contains(text, report.Message, StringComparison.Ordinal);
    }
}
