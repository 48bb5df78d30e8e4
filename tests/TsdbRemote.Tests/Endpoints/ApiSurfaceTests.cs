using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Configuration;
using TsdbRemote.Options;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What all paths have in common, the pages about the server, and metadata.</summary>
public sealed class ApiSurfaceTests
{
    private static readonly string[] Pages =
    [
        "/api/v1/labels", "/api/v1/label/job/values", "/api/v1/series?match[]=up", "/api/v1/metadata", "/api/v1/status/buildinfo", "/api/v1/status/flags",
        "/api/v1/status/config", "/api/v1/status/runtimeinfo", "/api/v1/status/tsdb", "/api/v1/status/tsdb/blocks", "/api/v1/status/walreplay", "/api/v1/status/lsm", "/",
    ];

    [Fact]
    public async Task HEAD_answers_as_GET_does_without_a_body()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        foreach (string page in Pages)
        {
            Answer get = await server.SendAsync(HttpMethod.Get, page);
            Answer head = await server.SendAsync(HttpMethod.Head, page);
            Assert.Equal((page, HttpStatusCode.OK, HttpStatusCode.OK, 0), (page, get.Status, head.Status, head.Body.Length));
            Assert.Equal((page, get["Content-Type"]), (page, head["Content-Type"]));
            if (!page.EndsWith("info", StringComparison.Ordinal) && !page.EndsWith("lsm", StringComparison.Ordinal)) Assert.Equal((page, get["Content-Length"]), (page, head["Content-Length"]));
        }
    }

    [Theory]
    [InlineData("/api/v1/labels", "http://page")]
    [InlineData("/api/v1/read", "http://page")]
    [InlineData("/api/v1/nosuch", "http://page")]
    [InlineData("/api/v1/write", null)]
    [InlineData("/api/v1/push", null)]
    [InlineData("/api/v1/admin/flush", null)]
    [InlineData("/api/v1/status/config", null)]
    [InlineData("/api/v1/otlp/v1/METRICS", null)]
    [InlineData("/api/v1/WRITE", null)]
    public async Task OPTIONS_is_a_204_that_lets_pages_ask_but_not_write(string path, string? allowed)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Options, path, null, ("Origin", "http://page"));
        Assert.Equal((HttpStatusCode.NoContent, 0, allowed), (answer.Status, answer.Body.Length, answer["Access-Control-Allow-Origin"]));
        if (allowed is null) return;
        Assert.Equal("Accept, Authorization, Content-Type, Origin", answer["Access-Control-Allow-Headers"]);
        Assert.Equal("GET, POST, OPTIONS", answer["Access-Control-Allow-Methods"]);
        Assert.Equal(("Date", "Origin"), (answer["Access-Control-Expose-Headers"], answer["Vary"]));
    }

    [Theory]
    [InlineData("/api/v1/write")]
    [InlineData("/api/v1/push")]
    [InlineData("/api/v1/Write/")]
    [InlineData("/api/v1/otlp/v1/metrics")]
    public async Task A_page_cannot_write_by_a_request_for_which_it_needs_no_leave(string path)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, path, Requests.Compress(Requests.V1(Requests.SeriesOf("__name__=up", (Requests.NowMs, 1)))), ("Origin", "http://page"));
        Assert.Equal((HttpStatusCode.Forbidden, (string?)null), (answer.Status, answer["Access-Control-Allow-Origin"]));
        Assert.Contains("Origin", answer.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("page.example", HttpStatusCode.Forbidden)]
    [InlineData("page.example:9201", HttpStatusCode.Forbidden)]
    [InlineData("MACHINE.page.example", HttpStatusCode.Forbidden)]
    [InlineData("MACHINE", HttpStatusCode.OK)]
    [InlineData("localhost", HttpStatusCode.OK)]
    [InlineData("localhost:9201", HttpStatusCode.OK)]
    [InlineData("127.0.0.1:9201", HttpStatusCode.OK)]
    [InlineData("[::1]:9201", HttpStatusCode.OK)]
    public async Task A_page_whose_name_leads_here_is_told_nothing_of_the_server(string host, HttpStatusCode expected)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(expected, (await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm", null, ("Host", host.Replace("MACHINE", Environment.MachineName, StringComparison.Ordinal)))).Status);
    }

    [Fact]
    public async Task A_page_may_read_an_answer_and_without_an_origin_nothing_is_said()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal("http://page", (await server.SendAsync(HttpMethod.Get, "/api/v1/labels", null, ("Origin", "http://page")))["Access-Control-Allow-Origin"]);
        Answer plain = await server.SendAsync(HttpMethod.Get, "/api/v1/labels");
        Assert.Equal((null, "Origin"), (plain["Access-Control-Allow-Origin"], plain["Vary"]));
    }

    [Fact]
    public async Task JSON_is_compressed_for_who_asks_and_nothing_else_is()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        (string, string) gzip = ("Accept-Encoding", "gzip");
        string plain = (await server.SendAsync(HttpMethod.Get, "/api/v1/status/flags")).Text;
        Answer packed = await server.SendAsync(HttpMethod.Get, "/api/v1/status/flags", null, gzip);
        Assert.Equal("gzip", packed["Content-Encoding"]);
        Assert.Contains("Accept-Encoding", packed["Vary"], StringComparison.Ordinal);
        using var unpacked = new GZipStream(new MemoryStream(packed.Body), CompressionMode.Decompress);
        Assert.Equal(plain, new StreamReader(unpacked).ReadToEnd());
        Answer refused = await server.SendAsync(HttpMethod.Get, "/api/v1/series", null, gzip);
        Assert.Equal((HttpStatusCode.BadRequest, "gzip"), (refused.Status, refused["Content-Encoding"]));
        Assert.Null((await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm?format=text", null, gzip))["Content-Encoding"]);
        Assert.Null((await server.SendAsync(HttpMethod.Get, "/-/ready", null, gzip))["Content-Encoding"]);
        Answer read = await server.SendAsync(HttpMethod.Post, "/api/v1/read", Compress(Read(Query(0, 1, Eq("a", "b")))), [.. ReadHeaders.Where(static header => header.Item1 != "Accept-Encoding"), gzip]);
        Assert.Equal((HttpStatusCode.OK, "snappy"), (read.Status, read["Content-Encoding"]));
    }

    [Theory]
    [InlineData("DELETE", "/api/v1/labels", "GET, HEAD, POST")]
    [InlineData("POST", "/api/v1/label/a/values", "GET, HEAD")]
    [InlineData("PUT", "/api/v1/series", "GET, HEAD, POST")]
    [InlineData("POST", "/api/v1/metadata", "GET, HEAD")]
    [InlineData("POST", "/api/v1/status/tsdb", "GET, HEAD")]
    [InlineData("GET", "/api/v1/admin/flush", "POST")]
    [InlineData("GET", "/api/v1/write", "POST")]
    [InlineData("GET", "/api/v1/read", "POST")]
    [InlineData("POST", "/-/ready", "GET, HEAD")]
    [InlineData("POST", "/", "GET, HEAD")]
    public async Task Other_methods_are_a_405_that_names_those_that_are_taken(string method, string path, string allowed)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(new HttpMethod(method), path);
        Assert.Equal((HttpStatusCode.MethodNotAllowed, allowed), (answer.Status, answer["Allow"]));
    }

    [Theory]
    [InlineData("/api/v1/nosuch", "/nosuch")]
    [InlineData("/api/v1/query?query=up", "/query")]
    [InlineData("/api/v1", "")]
    [InlineData("/api/v1/label//values", "/label//values")]
    public async Task An_unknown_path_of_the_API_is_a_404_in_its_envelope(string path, string rest)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, path);
        Assert.Equal((HttpStatusCode.NotFound, "application/json"), (answer.Status, answer["Content-Type"]));
        Assert.Equal($$"""{"status":"error","errorType":"not_found","error":"no such path of the API: {{rest}}"}""", answer.Text);
        Assert.Equal(HttpStatusCode.NotFound, (await server.SendAsync(HttpMethod.Get, "/nosuch")).Status);
    }

    [Fact]
    public async Task The_start_page_says_what_this_is_and_every_link_of_it_leads_somewhere()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer page = await server.SendAsync(HttpMethod.Get, "/");
        Assert.Equal((HttpStatusCode.OK, "text/html; charset=utf-8"), (page.Status, page["Content-Type"]));
        Assert.Contains("TsdbRemote", page.Text, StringComparison.Ordinal);
        string[] links = [.. page.Text.Split("href=\"").Skip(1).Select(static part => part[..part.IndexOf('"', StringComparison.Ordinal)])];
        Assert.True(links.Length > 8);
        foreach (string link in links) Assert.Equal((link, HttpStatusCode.OK), (link, (await server.SendAsync(HttpMethod.Get, "/" + link)).Status));
        Assert.DoesNotContain("src=", page.Text, StringComparison.Ordinal);
        Assert.StartsWith("default-src 'none'", page["Content-Security-Policy"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Metadata_is_told_as_Prometheus_tells_it()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new WriteRequest();
        foreach (MetricMetadata.Types.MetricType type in Enum.GetValues<MetricMetadata.Types.MetricType>())
            request.Metadata.Add(new MetricMetadata { MetricFamilyName = $"m{(int)type}", Type = type, Help = $"Help \"{type}\"", Unit = type == MetricMetadata.Types.MetricType.Gauge ? "seconds" : "" });
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(request)).Status);
        JsonNode all = await DataAsync(server, "metadata");
        string[] types = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
        Assert.Equal(types, all.AsObject().Select(static family => family.Value![0]!["type"]!.GetValue<string>()));
        const string Gauge = """{"m2":[{"type":"gauge","unit":"seconds","help":"Help \u0022Gauge\u0022"}]}""";
        Assert.Equal(Gauge, (await DataAsync(server, "metadata?metric=m2&limit_per_metric=1")).ToJsonString());
        Assert.Equal(2, (await DataAsync(server, "metadata?limit=2")).AsObject().Count);
        Assert.Equal(8, (await DataAsync(server, "metadata?limit=-1")).AsObject().Count);
    }

    [Fact]
    public async Task Flags_and_config_tell_the_options_that_hold()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:wal:sync_interval", "3s"), ("storage:retention:time", "30d"));
        JsonNode flags = await DataAsync(server, "status/flags");
        Assert.Equal(("3s", "30d", "auto"), (flags["storage.wal.sync_interval"]!.GetValue<string>(), flags["storage.retention.time"]!.GetValue<string>(), flags["storage.lsm.memtable_size"]!.GetValue<string>()));
        string yaml = (await DataAsync(server, "status/config"))["yaml"]!.GetValue<string>();
        var configuration = new ConfigurationManager();
        string file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, yaml);
            ConfigurationLayers.Apply(configuration, ["--config", file]);
            Assert.Equal(server.Services.GetService(typeof(TsdbRemoteOptions)), OptionsChecks.Read(configuration));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Runtime_info_has_the_fields_of_Prometheus()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:retention:time", "30d"), ("storage:retention:size", "5GB"));
        JsonNode info = await DataAsync(server, "status/runtimeinfo");
        string[] fields =
        [
            "startTime", "CWD", "hostname", "serverTime", "reloadConfigSuccess", "lastConfigTime", "corruptionCount", "goroutineCount", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG",
            "storageRetention",
        ];
        Assert.Equal(fields, info.AsObject().Select(static field => field.Key));
        Assert.Equal("30d or 5GB", info["storageRetention"]!.GetValue<string>());
        DateTimeOffset started = info["startTime"]!.GetValue<DateTimeOffset>();
        Assert.InRange(info["serverTime"]!.GetValue<DateTimeOffset>() - started, TimeSpan.Zero, TimeSpan.FromHours(1));
    }

    [Fact]
    public async Task Blocks_are_listed_as_their_own_files_tell()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal("""{"blocks":[]}""", (await DataAsync(server, "status/tsdb/blocks")).ToJsonString());
        await server.WriteAsync(V1(SeriesOf("__name__=up", (1_700_000_000_000, 1), (1_700_000_001_000, 2))));
        await server.Engine.CompactAsync(CancellationToken.None);
        JsonNode block = Assert.Single((await DataAsync(server, "status/tsdb/blocks"))["blocks"]!.AsArray())!;
        Assert.Equal(["ulid", "minTime", "maxTime", "stats", "compaction", "version"], block.AsObject().Select(static field => field.Key));
        Assert.Equal((1_699_999_200_000, 2, 1), (block["minTime"]!.GetValue<long>(), block["stats"]!["numSamples"]!.GetValue<int>(), block["compaction"]!["level"]!.GetValue<int>()));
    }

    private static async Task<JsonNode> DataAsync(ServerUnderTest server, string path)
    {
        Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}");
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return JsonNode.Parse(Encoding.UTF8.GetString(answer.Body))!["data"]!;
    }
}
