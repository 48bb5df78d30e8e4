using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Wire;
using TsdbRemote.TestSupport;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Engine;

/// <summary>Writes floats and histograms to an engine and reads both back, as chunks: no two may overlap.</summary>
internal static class MixedEngine
{
    public static WriteReport Write(this EngineHarness engine, IMessage message) => engine.Engine.WriteAsync(
        message is V2.Request ? WriteProtocol.V2 : WriteProtocol.V1, SnappyBlock.Compress(message.ToByteArray())).GetAwaiter().GetResult();

    public static WriteReport WriteOne(this EngineHarness engine, string name, long timeMs, double value) =>
        engine.Write(Requests.V1(Requests.SeriesOf($"__name__={name}", (timeMs, value))));

    public static WriteReport WriteOne(this EngineHarness engine, string name, long timeMs, NativeHistogram histogram)
    {
        TimeSeries series = Requests.SeriesOf($"__name__={name}");
        series.Histograms.Add(HistogramMessages.Of(histogram, timeMs));
        return engine.Write(Requests.V1(series));
    }

    public static LaneSample Float(long timeMs, double value) => new(timeMs, BitConverter.DoubleToUInt64Bits(value), null);

    /// <summary>Everything, by printed labels.</summary>
    public static Dictionary<string, List<LaneSample>> ReadMixed(this EngineHarness engine) =>
        engine.ReadLanes(TimeRange.All, Matcher.Create(MatcherType.Regex, "__name__", ".+"));

    public static void AssertReads(this EngineHarness engine, string name, params IReadOnlyCollection<LaneSample> expected) =>
        AssertSame(name, expected, engine.ReadMixed()[$"{{__name__=\"{name}\"}}"]);

    /// <summary>These series, and no others.</summary>
    public static void AssertReads(this EngineHarness engine, Dictionary<string, SortedDictionary<long, LaneSample>> model)
    {
        Dictionary<string, List<LaneSample>> found = engine.ReadMixed();
        Assert.Equal(model.Keys.Select(static name => $"{{__name__=\"{name}\"}}").Order(), found.Keys.Order());
        foreach ((string name, SortedDictionary<long, LaneSample> samples) in model) AssertSame(name, samples.Values, found[$"{{__name__=\"{name}\"}}"]);
    }

    /// <summary>Adds to a model what a store makes of a sample: a float wins over a histogram, and else the later one.</summary>
    public static void Put(this SortedDictionary<long, LaneSample> model, LaneSample sample)
    {
        bool isHidden = sample.Histogram is not null && model.TryGetValue(sample.TimeMs, out LaneSample? there) && there.Histogram is null;
        if (!isHidden) model[sample.TimeMs] = sample;
    }

    private static void AssertSame(string name, IReadOnlyCollection<LaneSample> expected, List<LaneSample> found)
    {
        Assert.Equal(
            expected.Select(static sample => (sample.TimeMs, sample.Histogram is null)), found.Select(static sample => (sample.TimeMs, sample.Histogram is null)));
        foreach ((LaneSample wanted, LaneSample given) in expected.Zip(found)) Assert.True(wanted.IsSame(given), $"{name} at {wanted.TimeMs}");
    }
}
