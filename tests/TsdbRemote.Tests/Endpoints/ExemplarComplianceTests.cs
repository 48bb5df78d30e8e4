using System.Net;
using Google.Protobuf;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What the receiver compliance suite of Prometheus sends of exemplars and metadata, and what it expects. What was counted can be read.</summary>
/// <remarks>The names are those of its tests (protocols.md §2.9). Labels come in no order, and times are now, 10 ms apart.</remarks>
public sealed class ExemplarComplianceTests
{
    public static TheoryData<string> LabelSets => [.. LabelsOf.Keys];

    public static TheoryData<string> Descriptions => [.. DescriptionOf.Keys];

    private static Dictionary<string, (string, string)[]> LabelsOf { get; } = new()
    {
        ["trace_id"] = [("trace_id", "abc123")],
        ["and span_id"] = [("trace_id", "abc123"), ("span_id", "def456")],
        ["no trace_id"] = [("user_id", "7")],
        ["many"] = [.. Enumerable.Range(0, 12).Select(static i => ($"l{i}", $"v{i}"))],
        ["none"] = [],
        ["special characters"] = [("path", "/a?b=\"c\"\n\\d"), ("trace-id", "x y")],
        ["Unicode"] = [("ключ", "значение"), ("🚀", "日本語")],
    };

    private static Dictionary<string, (int Type, string Help, string Unit)> DescriptionOf { get; } = new()
    {
        ["counter"] = (1, "Requests.", "requests"),
        ["gauge"] = (2, "Temperature.", "celsius"),
        ["histogram"] = (3, "Latency.", "seconds"),
        ["no help and no unit"] = (1, "", ""),
        ["newlines and quotes"] = (1, "One \"line\"\nand \\ another", ""),
        ["unspecified"] = (0, "Anything.", ""),
        ["info"] = (6, "Version.", ""),
        ["stateset"] = (7, "State.", ""),
        ["summary"] = (5, "Sizes.", "bytes"),
        ["gaugehistogram"] = (4, "Queues.", ""),
    };

    [Theory]
    [MemberData(nameof(LabelSets))]
    public Task TestExemplars(string labels) => AssertTakenAsync("1/0/1", static _ => { }, Sampled("m", LabelsOf[labels]));

    [Fact]
    public Task TestExemplarWithCreatedTimestamp() => AssertTakenAsync("1/0/1", Created, Sampled("m", LabelsOf["trace_id"]));

    [Fact]
    public Task TestMultipleExemplars() => AssertTakenAsync("1/0/3", static request =>
    {
        for (int i = 0; i < 2; i++) AddExemplar(request, 0, NowMs + 1000 + i, i, ("trace_id", $"t{i}"));
    }, Sampled("m", LabelsOf["trace_id"]));

    [Fact]
    public Task TestExemplarTimestamps() => AssertTakenAsync("3/0/3", static request =>
    {
        long now = NowMs;
        foreach (long before in new[] { 3_600_000, 60_000, 0 })
        {
            Add(request, "job=a,__name__=m", (now - before, 1));
            AddExemplar(request, request.Timeseries.Count - 1, now - before, 1, ("trace_id", "x"));
        }
    });

    [Theory]
    [InlineData("job=a", "0/0/0")]
    [InlineData("job=a,__name__=", "0/0/0")]
    [InlineData("job=a,__name__=valid", "1/0/1")]
    public async Task TestExemplarValidation(string labels, string written)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of((labels, [(NowMs, 1)]));
        AddExemplar(request, 0, NowMs, 1, ("trace_id", "x"));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((written == "1/0/1" ? HttpStatusCode.NoContent : HttpStatusCode.BadRequest, written), (answer.Status, answer.Written));
        Assert.Equal(written == "1/0/1" ? 1 : 0, server.Engine.Exemplars.Stats.Count);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1.5)]
    [InlineData(1e10)]
    [InlineData(1e-10)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public Task TestExemplarSpecialValues(double value) => AssertTakenAsync("1/0/1", request => AddExemplar(request, 0, NowMs, value, ("trace_id", "x")), Sampled("m"));

    [Theory]
    [MemberData(nameof(Descriptions))]
    public Task TestMetadata(string description) => AssertTakenAsync("1/0/0", request => Describe(request, 0, DescriptionOf[description]), Sampled("m"));

    [Fact]
    public Task TestCounterMetadataWithCreatedTimestamp() => AssertTakenAsync("1/0/0", static request =>
    {
        Describe(request, 0, DescriptionOf["counter"]);
        Created(request);
    }, Sampled("m"));

    [Fact]
    public Task TestMultipleMetadata() => AssertTakenAsync("3/0/0", static request =>
    {
        foreach ((string name, int i) in new[] { "counter", "gauge", "histogram" }.Select(static (name, i) => (name, i)))
        {
            Add(request, $"job=a,__name__={name}", (NowMs, 1));
            Describe(request, i, DescriptionOf[name]);
        }
    });

    [Fact]
    public Task TestMetadataWithComplexLabels() => AssertTakenAsync(
        "1/0/0", static request => Describe(request, 0, DescriptionOf["newlines and quotes"]), Sampled("m,path=/a b,ключ=日本,z=1,a=2"));

    [Theory]
    [InlineData("job=a")]
    [InlineData("job=a,__name__=")]
    public async Task TestMetadataValidation(string labels)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of((labels, [(NowMs, 1)]));
        Describe(request, 0, DescriptionOf["counter"]);
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "0/0/0"), (answer.Status, answer.Written));
        Assert.Equal(0, server.Engine.Metadata.Count);
    }

    [Fact]
    public async Task TestEdgeCaseCombinations()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request described = V2Of(("job=a,__name__=m", []));
        Describe(described, 0, DescriptionOf["counter"]);
        V2.Request exemplified = V2Of(("job=a,__name__=m", []));
        AddExemplar(exemplified, 0, NowMs, 1, ("trace_id", "x"));
        foreach (V2.Request request in new[] { described, exemplified })
        {
            Answer answer = await server.WriteAsync(request);
            Assert.Equal((HttpStatusCode.BadRequest, "0/0/0"), (answer.Status, answer.Written));
        }

        V2.Request mixed = V2Of(("job=a,__name__=m", [(NowMs - 3_600_000, 1), (NowMs, 2)]));
        AddExemplar(mixed, 0, NowMs - 1_800_000, 1, ("trace_id", "x"));
        Assert.Equal("2/0/1", (await server.WriteAsync(mixed)).Written);
    }

    [Fact]
    public Task TestManySamples() => AssertTakenAsync("50/0/50", static request =>
    {
        for (int i = 0; i < 50; i++)
        {
            Add(request, $"job=a,__name__=m{i}", (NowMs + (10 * i), i));
            Describe(request, i, DescriptionOf["counter"]);
            AddExemplar(request, i, NowMs + (10 * i), i, ("trace_id", $"t{i}"));
        }
    });

    [Fact]
    public Task TestSamplesWithMetadataAndExemplars() => AssertTakenAsync(
        "1/0/1", static request => Describe(request, 0, DescriptionOf["counter"]), Sampled("m", LabelsOf["trace_id"]));

    [Fact]
    public Task TestComplexSamplesRequest() => AssertTakenAsync("2/0/1", static request =>
    {
        Describe(request, 0, DescriptionOf["counter"]);
        Created(request);
        Add(request, "job=b,__name__=other", (NowMs, 2));
    }, Sampled("m", LabelsOf["trace_id"]));

    [Fact]
    public Task TestMultipleMetricFamiliesSamples() => AssertTakenAsync("3/0/3", static request =>
    {
        foreach ((string name, int i) in new[] { "counter", "gauge", "summary" }.Select(static (name, i) => (name, i)))
        {
            Add(request, $"job=a,__name__={name}", (NowMs, 1));
            Describe(request, i, DescriptionOf[name]);
            AddExemplar(request, i, NowMs, 1, ("trace_id", name));
        }
    });

    [Fact]
    public Task TestSpecialCharactersCombined() => AssertTakenAsync(
        "1/0/1", static request => Describe(request, 0, DescriptionOf["newlines and quotes"]), Sampled("my.metric name,la bel=a\nb,🚀=\"", LabelsOf["special characters"]));

    /// <summary>Adds a series with a sample, and an exemplar if it has labels.</summary>
    private static Action<V2.Request> Sampled(string name, (string, string)[]? exemplar = null) => request =>
    {
        Add(request, $"job=a,__name__={name},instance=b", (NowMs, 1));
        if (exemplar is not null) AddExemplar(request, 0, NowMs, 1, exemplar);
    };

    private static async Task AssertTakenAsync(string written, Action<V2.Request> then, Action<V2.Request>? first = null)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of();
        first?.Invoke(request);
        then(request);
        Answer answer = await server.WriteAsync(request);
        Assert.True(answer.Status == HttpStatusCode.NoContent, answer.Text);
        Assert.Equal(written, answer.Written);
        Assert.Equal(request.Timeseries.SelectMany(static series => series.Exemplars).Select(static exemplar => exemplar.Timestamp).Order(), Times(server));
        foreach (V2.TimeSeries series in request.Timeseries.Where(static series => series.Metadata is not null))
        {
            if (series.Metadata.Type == 0 && series.Metadata.HelpRef + series.Metadata.UnitRef == 0) continue;
            int name = series.LabelsRefs.IndexOf((uint)request.Symbols.IndexOf("__name__"));
            Assert.True(server.Engine.Metadata.TryGet(request.Symbols[(int)series.LabelsRefs[name + 1]], out Storage.Series.MetricDescription? known));
            Assert.Equal(
                ((int)series.Metadata.Type, request.Symbols[(int)series.Metadata.HelpRef], request.Symbols[(int)series.Metadata.UnitRef]),
                ((int)known.Type, known.Help, known.Unit));
        }
    }

    private static IEnumerable<long> Times(ServerUnderTest server) => server.Engine.Exemplars
        .Find(static _ => true, TsdbRemote.Blocks.Model.TimeRange.All).SelectMany(static series => series.Exemplars).Select(static exemplar => exemplar.At.TimeMs).Order();

    private static void AddExemplar(V2.Request request, int series, long timeMs, double value, params (string Name, string Value)[] labels)
    {
        var exemplar = new V2.Exemplar { Timestamp = timeMs, Value = value };
        foreach ((string name, string text) in labels) exemplar.LabelsRefs.AddRange([Symbol(request, name), Symbol(request, text)]);
        request.Timeseries[series].Exemplars.Add(exemplar);
    }

    private static void Describe(V2.Request request, int series, (int Type, string Help, string Unit) what) => request.Timeseries[series].Metadata = new V2.Metadata
    {
        Type = (V2.Metadata.Types.MetricType)what.Type,
        HelpRef = Symbol(request, what.Help),
        UnitRef = Symbol(request, what.Unit),
    };

    /// <summary>The start time an hour ago, as senders of up to rc.3 tell it: field 6 of the series.</summary>
    private static void Created(V2.Request request)
    {
        using var field = new MemoryStream();
        var output = new CodedOutputStream(field);
        output.WriteTag(6, WireFormat.WireType.Varint);
        output.WriteInt64(NowMs - 3_600_000);
        output.Flush();
        request.Timeseries[0] = V2.TimeSeries.Parser.ParseFrom([.. request.Timeseries[0].ToByteArray(), .. field.ToArray()]);
    }
}
