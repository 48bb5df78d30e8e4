using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Google.Protobuf;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Otlp;
using static TsdbRemote.Tests.Endpoints.Requests;
using Metric = TsdbRemote.Protos.Otlp.Metric;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>The receiver of OpenTelemetry's metrics over HTTP: forms, packings, refusals, what can be read back.</summary>
public sealed class OtlpEndpointTests
{
    private const string Path = "/api/v1/otlp/v1/metrics";
    internal const string ProtobufType = "application/x-protobuf";
    internal const string JsonType = "application/json";

    private const string Simple = """
        {"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[
        {"name":"http.requests","unit":"1","description":"Requests.","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"5000000000","asInt":"7"}]}}]}]}]}
        """;

    [Theory, Trait("Row", "105")]
    [InlineData(JsonType, false)]
    [InlineData(JsonType, true)]
    [InlineData("application/json; charset=utf-8", true)]
    [InlineData(ProtobufType, false)]
    [InlineData(ProtobufType, true)]
    public async Task Row_105_json_and_protobuf_plain_and_in_gzip_are_stored(string type, bool packed)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] body = type == ProtobufType ? Parse(Simple).ToByteArray() : Encoding.UTF8.GetBytes(Simple);
        Answer answer = packed
            ? await server.SendAsync(HttpMethod.Post, Path, Gzip(body), ("Content-Type", type), ("Content-Encoding", "gzip"))
            : await server.SendAsync(HttpMethod.Post, Path, body, ("Content-Type", type));
        Assert.Equal((HttpStatusCode.OK, ""), (answer.Status, answer.Text));
        Assert.Equal(["__name__=http_requests_total,job=shop 5000:7"], (await server.EverythingAsync()).Select(Print));
        JsonNode metadata = JsonNode.Parse((await server.SendAsync(HttpMethod.Get, "/api/v1/metadata")).Text)!["data"]!;
        Assert.Equal("""{"http_requests_total":[{"type":"counter","unit":"1","help":"Requests."}]}""", metadata.ToJsonString());
    }

    [Theory, Trait("Row", "106")]
    [InlineData("text/plain")]
    [InlineData("")]
    [InlineData("application/x-protobuf2")]
    public async Task Row_106_another_type_is_a_400(string type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(Simple), type.Length > 0 ? [("Content-Type", type)] : []);
        Assert.Equal((HttpStatusCode.BadRequest, $"unsupported content type: {type}, supported: [application/json, application/x-protobuf]\n"), (answer.Status, answer.Text));
        Assert.Empty(await server.EverythingAsync());
    }

    [Theory]
    [InlineData("snappy")]
    [InlineData("zstd")]
    [InlineData("deflate")]
    public async Task Another_packing_is_a_400(string encoding)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(Simple), ("Content-Type", JsonType), ("Content-Encoding", encoding));
        Assert.Equal((HttpStatusCode.BadRequest, $"unsupported compression: {encoding}. Only \"gzip\" or no compression supported\n"), (answer.Status, answer.Text));
    }

    [Fact]
    public async Task Other_methods_are_told_what_is_allowed_and_pages_are_not()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, Path, null, ("Origin", "http://elsewhere"));
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "POST", (string?)null), (answer.Status, answer["Allow"], answer["Access-Control-Allow-Origin"]));
    }

    [Theory]
    [InlineData(JsonType, "{")]
    [InlineData(JsonType, "")]
    [InlineData(JsonType, "[]")]
    [InlineData(JsonType, """{"resourceMetrics":{}}""")]
    [InlineData(JsonType, """{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":7}]}]}]}""")]
    [InlineData(JsonType, """{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"\ud800"}]}]}]}""")]
    [InlineData(ProtobufType, "\u000A\u00FF")]
    [InlineData(ProtobufType, "\u000A\u0007\u0012\u0005\u0012\u0003\u000A\u0001\u00FF")]
    public async Task What_is_no_export_is_a_400_and_nothing_is_stored(string type, string latin1)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Encoding.Latin1.GetBytes(latin1), ("Content-Type", type));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.StartsWith("not an OTLP export of metrics: ", answer.Text, StringComparison.Ordinal);
        Assert.Empty(await server.EverythingAsync());
    }

    [Theory]
    [InlineData("")]
    [InlineData("not gzip at all")]
    public async Task What_is_no_gzip_is_a_400(string body)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Encoding.ASCII.GetBytes(body), ("Content-Type", JsonType), ("Content-Encoding", "gzip"));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("gzip", answer.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "storage.limits.write_decoded")]
    [InlineData(5, "longer than it says")]
    public async Task A_small_body_that_unpacks_to_more_than_the_limit_or_than_it_says_is_a_400(int? says, string why)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] bomb = Gzip(new byte[64 << 20]);
        Assert.InRange(bomb.Length, 1, 1 << 20);
        if (says is { } length) System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(bomb.AsSpan(bomb.Length - 4), length);
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, bomb, ("Content-Type", JsonType), ("Content-Encoding", "gzip"));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains(why, answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_small_export_whose_series_would_be_huge_is_a_400()
    {
        // 4,000 buckets that share 64 KB of labels are a quarter of a gigabyte as series.
        var point = new HistogramDataPoint { TimeUnixNano = 1_000_000_000 };
        point.Attributes.Add(new KeyValue { Key = "long", Value = new AnyValue { StringValue = new string('x', 64 << 10) } });
        for (int i = 0; i < 4000; i++)
        {
            point.ExplicitBounds.Add(i);
            point.BucketCounts.Add(1);
        }

        var metric = new Metric { Name = "wide", Histogram = new Histogram { AggregationTemporality = AggregationTemporality.Cumulative, DataPoints = { point } } };
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Of(metric).ToByteArray(), ("Content-Type", ProtobufType));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("storage.limits.write_decoded", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_clock_that_is_decades_off_makes_no_more_of_target_info_than_an_hour()
    {
        var metric = new Metric { Name = "old", Gauge = new Gauge() };
        metric.Gauge.DataPoints.Add(new NumberDataPoint { TimeUnixNano = 1, AsInt = 1 });
        metric.Gauge.DataPoints.Add(new NumberDataPoint { TimeUnixNano = 1_700_000_000_000_000_000, AsInt = 1 });
        ExportRequest request = Of(metric);
        request.ResourceMetrics[0].Resource = new Resource { Attributes = { Text("service.name", "a"), Text("k", "v") } };
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, request.ToByteArray(), ("Content-Type", ProtobufType));
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Dictionary<string, int> samples = (await server.EverythingAsync()).ToDictionary(static series => series.Labels.Single(static label => label.Name == "__name__").Value, static series => series.Samples.Count);
        Assert.Equal((2, 1 + (60 * 60 / 150) + 1), (samples["old"], samples["target_info"]));
    }

    [Fact]
    public async Task Exports_count_by_status_and_refused_points_by_reason()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        string delta = Simple.Replace("\"aggregationTemporality\":2", "\"aggregationTemporality\":1", StringComparison.Ordinal);
        foreach (string body in new[] { Simple, delta })
            await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(body), ("Content-Type", JsonType));
        string[] lines = (await server.SendAsync(HttpMethod.Get, "/metrics")).Text.Split('\n');
        Assert.Contains("tsdb_remote_write_requests_total{version=\"otlp\",code=\"200\"} 1", lines);
        Assert.Contains("tsdb_remote_write_requests_total{version=\"otlp\",code=\"400\"} 1", lines);
        Assert.Contains("tsdb_remote_write_request_duration_seconds_count{version=\"otlp\"} 2", lines);
        Assert.Contains("tsdb_remote_otlp_points_refused_total{reason=\"temporality\"} 1", lines);
    }

    [Theory]
    [InlineData("underscore_escaping_with_suffixes", "http_requests_total")]
    [InlineData("NoUTF8EscapingWithSuffixes", "http.requests_total")]
    [InlineData("underscore_escaping_without_suffixes", "http_requests")]
    [InlineData("NoTranslation", "http.requests")]
    public async Task The_translation_strategy_decides_names(string strategy, string name)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("otlp:translation_strategy", strategy));
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(Simple), ("Content-Type", JsonType));
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Equal([$"__name__={name},job=shop 5000:7"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task An_export_is_logged_and_flushed_like_any_write()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(Simple), ("Content-Type", JsonType))).Status);
        Assert.Equal(1, server.Engine.Stats().Wal.Appends);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Assert.Equal(["__name__=http_requests_total,job=shop 5000:7"], (await server.EverythingAsync()).Select(Print));
    }

    /// <summary>What is long and stands in an export once must not be paid for by each of its data points: it is refused before the first.</summary>
    [Theory]
    [InlineData("job")]
    [InlineData("instance")]
    [InlineData("name")]
    public async Task A_name_or_a_target_that_no_label_can_hold_refuses_its_data_points_at_once(string where)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        string text = new('a', 4097);
        var request = new ExportRequest();
        var resource = new ResourceMetrics { Resource = new Resource() };
        if (where != "name") resource.Resource.Attributes.Add(new KeyValue { Key = where == "job" ? "service.name" : "service.instance.id", Value = new AnyValue { StringValue = text } });
        var metric = new Metric { Name = where == "name" ? text : "m", Gauge = new Gauge() };
        for (int i = 0; i < 400; i++) metric.Gauge.DataPoints.Add(new NumberDataPoint { TimeUnixNano = (ulong)(5_000_000_000 + (i * 1_000_000L)), AsDouble = 1 });
        var scope = new ScopeMetrics { Metrics = { metric } };
        resource.ScopeMetrics.Add(scope);
        request.ResourceMetrics.Add(resource);
        Answer answer = await server.SendAsync(HttpMethod.Post, Path, request.ToByteArray(), ("Content-Type", ProtobufType));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("400 data points refused: its ", answer.Text, StringComparison.Ordinal);
        Assert.Contains("(storage.limits.label_value = 4096)", answer.Text, StringComparison.Ordinal);
        Assert.Empty(await server.EverythingAsync());
    }

    [Fact]
    public void Translation_stops_where_there_are_too_many_samples()
    {
        var point = new HistogramDataPoint { TimeUnixNano = 5_000_000_000 };
        for (int i = 0; i < 200_000; i++)
        {
            point.BucketCounts.Add(0);
            point.ExplicitBounds.Add(i + 0.5);
        }

        var histogram = new Metric { Name = "m", Histogram = new Histogram { AggregationTemporality = AggregationTemporality.Cumulative, DataPoints = { point, point } } };
        var request = new ExportRequest { ResourceMetrics = { new ResourceMetrics { ScopeMetrics = { new ScopeMetrics { Metrics = { histogram, histogram } } } } } };
        var translator = new OtlpTranslator(new OtlpNames(default), maxSamples: 1000, maxText: 4096);
        translator.Translate(request, CancellationToken.None);
        Assert.True(translator.IsTooMany);
        Assert.InRange(translator.Series.Samples, 1001, 1010);
    }

    [Fact]
    public void Translation_ends_when_nobody_waits_for_it()
    {
        var gauge = new Metric { Name = "m", Gauge = new Gauge { DataPoints = { new NumberDataPoint { TimeUnixNano = 1 } } } };
        var request = new ExportRequest { ResourceMetrics = { new ResourceMetrics { ScopeMetrics = { new ScopeMetrics { Metrics = { gauge } } } } } };
        var translator = new OtlpTranslator(new OtlpNames(default), maxSamples: 1000, maxText: 4096);
        Assert.Throws<OperationCanceledException>(() => translator.Translate(request, new CancellationToken(canceled: true)));
    }

    /// <summary>.NET takes a stream that is cut for one that has ended.</summary>
    [Fact]
    public async Task A_gzip_body_that_is_cut_is_a_400()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new ExportRequest();
        for (int i = 0; i < 3000; i++)
        {
            var gauge = new Metric { Name = $"m{i}", Gauge = new Gauge { DataPoints = { new NumberDataPoint { TimeUnixNano = 5_000_000_000, AsDouble = i * 1.1 } } } };
            request.ResourceMetrics.Add(new ResourceMetrics { ScopeMetrics = { new ScopeMetrics { Metrics = { gauge } } } });
        }

        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true)) gzip.Write(request.ToByteArray());
        byte[] whole = packed.ToArray();
        for (int cut = 0; cut < 60; cut++)
        {
            // A length that the rest does not come to.
            byte[] body = [.. whole[..(whole.Length - 9 - (cut * 37))], 0, 0, 0, 1];
            Answer answer = await server.SendAsync(HttpMethod.Post, Path, body, ("Content-Type", ProtobufType), ("Content-Encoding", "gzip"));
            Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        }
    }

    /// <summary>Broken in every way a byte can be: answered, never a 5xx, and the server goes on.</summary>
    [Theory]
    [InlineData(JsonType, 1)]
    [InlineData(ProtobufType, 2)]
    public async Task Mutated_exports_are_never_a_5xx(string type, int seed)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[][] bodies = Bodies(type);
        var random = new Random(seed);
        for (int i = 0; i < 500; i++)
        {
            byte[] body = Mutate(bodies[random.Next(bodies.Length)], type, random);
            Answer answer = await server.SendAsync(HttpMethod.Post, Path, body, ("Content-Type", type));
            Assert.True((int)answer.Status is 200 or 400 or 413, $"seed {seed}, round {i}: {answer.Status} {answer.Text} {Convert.ToHexString(body)}");
        }

        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Post, Path, Encoding.UTF8.GetBytes(Simple), ("Content-Type", JsonType))).Status);
    }

    /// <summary>Good exports, each of one kind of thing, in one of the two forms.</summary>
    internal static byte[][] Bodies(string type)
    {
        byte[][] bodies = [.. File.ReadAllText(Repository.TestData("otlp/exports.txt")).Split("\n\n").Where(static part => part.StartsWith("export ", StringComparison.Ordinal))
            .Select(part => Body(part, type)).OfType<byte[]>().Where(static body => body.Length < 6000)];
        Assert.True(bodies.Length > 30);
        return bodies;
    }

    private static byte[] Mutate(byte[] body, string type, Random random)
    {
        body = [.. body];
        for (int changes = random.Next(1, 4); changes > 0 && body.Length > 0; changes--)
        {
            int at = random.Next(body.Length);
            if (random.Next(3) == 0) body = [.. body.AsSpan(0, at), .. body.AsSpan(Math.Min(body.Length, at + random.Next(1, 9)))];
            else body[at] = (byte)(type == JsonType ? "0123456789{}[],:\"ae-\\ u"[random.Next(23)] : random.Next(256));
        }

        return body;
    }

    private static byte[]? Body(string part, string type)
    {
        string[] lines = part.Split('\n');
        byte[] json = Encoding.UTF8.GetBytes(string.Concat(lines[1..Array.IndexOf(lines, "----")]));
        if (type == JsonType) return json;
        return OtlpMessage.Parse(json, isJson: true, out ExportRequest request) is null ? request.ToByteArray() : null;
    }

    private static ExportRequest Parse(string json)
    {
        Assert.Null(OtlpMessage.Parse(Encoding.UTF8.GetBytes(json), isJson: true, out ExportRequest request));
        return request;
    }

    private static ExportRequest Of(params Metric[] metrics)
    {
        var scope = new ScopeMetrics();
        scope.Metrics.AddRange(metrics);
        return new ExportRequest { ResourceMetrics = { new ResourceMetrics { ScopeMetrics = { scope } } } };
    }

    private static KeyValue Text(string key, string value) => new() { Key = key, Value = new AnyValue { StringValue = value } };

    private static byte[] Gzip(byte[] raw)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest)) gzip.Write(raw);
        return packed.ToArray();
    }
}
