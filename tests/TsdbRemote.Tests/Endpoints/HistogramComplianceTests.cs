using System.Net;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;
using static TsdbRemote.Tests.Endpoints.SentHistograms;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What the receiver compliance suite of Prometheus sends of histograms, and what it expects.</summary>
/// <remarks>The names are those of its tests (protocols.md §2.9).</remarks>
public sealed class HistogramComplianceTests
{
    public static TheoryData<string> Shapes => [.. OfShape.Keys];

    private static Dictionary<string, Func<Histogram>> OfShape { get; } = new()
    {
        ["both sides and zero"] = static () => Exponential(NowMs),
        ["custom buckets"] = static () => Custom(NowMs),
        ["positive only"] = static () => Exponential(NowMs).With(static h =>
        {
            h.NegativeSpans.Clear();
            h.NegativeDeltas.Clear();
            (h.CountInt, h.ZeroCountInt) = (23, 0);
        }),
        ["negative only"] = static () => Exponential(NowMs).With(static h =>
        {
            h.PositiveSpans.Clear();
            h.PositiveDeltas.Clear();
            (h.CountInt, h.ZeroCountInt) = (3, 0);
        }),
        ["zero bucket only"] = static () => new Histogram { CountInt = 5, ZeroCountInt = 5, Sum = 0, ZeroThreshold = 1, Timestamp = NowMs },
        ["empty"] = static () => new Histogram { CountInt = 0, Timestamp = NowMs },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public async Task TestHistograms(string shape) => await AssertTakenAsync(1, request => AddHistogram(request, "h", OfShape[shape]()));

    [Fact]
    public async Task TestHistograms_wrong_count()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of();
        AddHistogram(request, "h", Exponential(NowMs).With(static h => h.CountInt = 99));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "0/0/0"), (answer.Status, answer.Written));
    }

    [Fact]
    public Task TestHistogramWithCreatedTimestamp() => AssertTakenAsync(1, static request =>
    {
        V2.Histogram histogram = AsV2(Exponential(NowMs));
        histogram.StartTimestamp = NowMs - 3_600_000;
        byte[] createdOfOlderSenders = [0x30, 0x80, 0x80, 0x01];
        V2.TimeSeries series = Add(request, "__name__=h");
        series.Histograms.Add(histogram);
        request.Timeseries[0] = V2.TimeSeries.Parser.ParseFrom([.. Google.Protobuf.MessageExtensions.ToByteArray(series), .. createdOfOlderSenders]);
    });

    [Fact]
    public Task TestMultipleHistograms() => AssertTakenAsync(2, static request =>
        Add(request, "__name__=h").Histograms.Add([AsV2(Exponential(NowMs - 10)), AsV2(Exponential(NowMs))]));

    [Fact]
    public Task TestHistogramWithMetadataAndExemplar() => AssertTakenAsync(1, static request =>
        AddAround(request, AddHistogram(request, "h", Exponential(NowMs))));

    [Fact]
    public Task TestCustomBucketsHistogramWithExemplar() => AssertTakenAsync(1, static request =>
        AddAround(request, AddHistogram(request, "h", Custom(NowMs))));

    [Fact]
    public Task TestComplexHistogramsRequest() => AssertTakenAsync(2, static request =>
    {
        AddAround(request, AddHistogram(request, "first", Exponential(NowMs)));
        AddHistogram(request, "second", OfFloats(NowMs));
    });

    [Fact]
    public Task TestManyHistograms() => AssertTakenAsync(50, static request =>
    {
        for (int i = 0; i < 50; i++) AddAround(request, AddHistogram(request, $"h{i}", Exponential(NowMs + 10 * i)));
    });

    /// <summary>All of it is accepted, and all of it can be read.</summary>
    private static async Task AssertTakenAsync(int histograms, Action<V2.Request> fill)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of();
        fill(request);
        Answer answer = await server.WriteAsync(request);
        Assert.True(answer.Status == HttpStatusCode.NoContent, answer.Text);
        Assert.Equal($"0/{histograms}/{request.Timeseries.Sum(static series => series.Exemplars.Count)}", answer.Written);
        Assert.Equal(histograms, (await server.EverythingAsync()).Sum(static series => series.Histograms.Count));
    }

    /// <summary>A series whose labels come in no order.</summary>
    private static V2.TimeSeries AddHistogram(V2.Request request, string name, Histogram histogram)
    {
        V2.TimeSeries series = Add(request, $"job=a,__name__={name},instance=b");
        series.Histograms.Add(AsV2(histogram));
        return series;
    }

    private static void AddAround(V2.Request request, V2.TimeSeries series)
    {
        series.Metadata = new V2.Metadata
        {
            Type = V2.Metadata.Types.MetricType.Histogram,
            HelpRef = Symbol(request, "How long it took."),
            UnitRef = Symbol(request, "seconds"),
        };
        series.Exemplars.Add(new V2.Exemplar { LabelsRefs = { Symbol(request, "trace_id"), Symbol(request, "abc") }, Timestamp = NowMs, Value = 1 });
    }
}
