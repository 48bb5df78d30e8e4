using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Labels, values and series over MemTable, table and block at once.</summary>
public sealed class SeriesApiTests
{
    // Of two windows that are closed.
    private const long OldMs = 1_700_000_000_000;
    private const long OlderMs = OldMs - 86_400_000;

    public static TheoryData<string, string, int, string> Recorded
    {
        get
        {
            var data = new TheoryData<string, string, int, string>();
            foreach (string[] row in File.ReadAllLines(Repository.TestData("api/recorded.txt")).Select(static line => line.Split('\t')))
                data.Add(row[0], row[1], int.Parse(row[2], System.Globalization.CultureInfo.InvariantCulture), row[3]);
            return data;
        }
    }

    [Fact]
    [Trait("Row", "95"), Trait("Row", "96"), Trait("Row", "98")]
    public async Task What_Prometheus_answers_whatever_it_holds_is_answered_alike()
    {
        await using ServerUnderTest server = await StoredAsync(kestrel: true);
        var differences = new List<string>();
        foreach (object[] row in Recorded)
        {
            (string method, string path, int status, string body) = ((string)row[0], (string)row[1], (int)row[2], (string)row[3]);
            Answer answer = await server.SendAsync(new HttpMethod(method), path);
            bool same = (int)answer.Status == status && (body.StartsWith('{') ? JsonNode.DeepEquals(JsonNode.Parse(body), JsonNode.Parse(answer.Text)) : body == answer.Text.Trim());
            if (!same) differences.Add($"{method} {path}\n  recorded: {status} {body}\n  answered: {(int)answer.Status} {answer.Text}");
        }

        Assert.True(differences.Count == 0, string.Join('\n', differences));
    }

    [Theory]
    [InlineData("label/a%2Fb/values", 404)]
    [InlineData("label/a%2fb/values?match[]=up", 404)]
    [InlineData("label/a%252Fb/values", 200)]
    [InlineData("label/%20/values", 200)]
    [InlineData("label/a%5Cb/values", 200)]
    [InlineData("labels?start=Inf", 200)]
    [InlineData("labels?start=-Inf", 200)]
    [InlineData("labels?start=%2BInf", 200)]
    [InlineData("labels?end=infinity", 200)]
    [InlineData("labels?start=1e308", 200)]
    public async Task Odd_questions_have_the_status_that_Prometheus_gives_them(string path, int status)
    {
        await using ServerUnderTest server = await StoredAsync(kestrel: true);
        Assert.Equal(status, (int)(await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}")).Status);
    }

    [Theory]
    [InlineData("start=-Inf&end=Inf", "__name__ a.b host job old recent")]
    [InlineData("start=Inf", "")]
    [InlineData("end=-inf", "")]
    public async Task The_ends_of_time_can_be_named(string range, string expected)
    {
        await using ServerUnderTest server = await StoredAsync();
        Assert.Equal(expected, string.Join(' ', (await DataAsync(server, $"labels?{range}")).AsArray().Select(static item => item!.GetValue<string>())));
    }

    [Theory]
    [InlineData("labels", "__name__ a.b host job old recent")]
    [InlineData("labels?match[]=up", "__name__ host job")]
    [InlineData("labels?match[]=up&match[]={old=\"yes\"}", "__name__ host job old")]
    [InlineData("labels?match[]={job=\"nosuch\"}", "")]
    [InlineData("label/__name__/values", "gone my.metric up")]
    [InlineData("label/job/values", "a b c")]
    [InlineData("label/job/values?match[]=up{host!=\"x\"}", "a")]
    [InlineData("label/job/values?match[]={__name__=\"up\",host=\"x\"}&match[]=gone", "b c")]
    [InlineData("label/a.b/values", "quoted")]
    [InlineData("label/a.b/values?match[]={\"my.metric\",\"a.b\"=~\"q.*\"}", "quoted")]
    [InlineData("label/nosuch/values", "")]
    public async Task Names_and_values_come_from_everything_stored_sorted_and_once(string path, string expected)
    {
        await using ServerUnderTest server = await StoredAsync();
        Assert.Equal(expected, string.Join(' ', (await DataAsync(server, path)).AsArray().Select(static item => item!.GetValue<string>())));
    }

    [Fact, Trait("Row", "99")]
    public async Task Row_99_an_escaped_name_means_the_name()
    {
        await using ServerUnderTest server = await StoredAsync();
        foreach (string name in new[] { "a.b", "U__a_2e_b", "U__a_2E_b" })
            Assert.Equal("[\"quoted\"]", (await DataAsync(server, $"label/{name}/values")).ToJsonString());
        Assert.Equal("[\"a\",\"b\",\"c\"]", (await DataAsync(server, "label/U__job/values")).ToJsonString());
        Assert.Equal("[]", (await DataAsync(server, "label/U__a_2e/values")).ToJsonString());
    }

    [Fact]
    public async Task Series_come_from_everything_stored_in_label_order_and_once()
    {
        await using ServerUnderTest server = await StoredAsync();
        const string Up = """{"__name__":"up","host":"w","job":"a"},{"__name__":"up","host":"x","job":"b"}""";
        const string Gone = """{"__name__":"gone","job":"c","old":"yes"}""";
        Assert.Equal($"[{Up}]", await SeriesAsync(server, "match[]=up"));
        Assert.Equal($"[{Gone},{Up}]", await SeriesAsync(server, "match[]=up&match[]={job=~\"b|c\"}&match[]=gone"));
        Assert.Equal("""[{"__name__":"my.metric","a.b":"quoted","recent":"yes"}]""", await SeriesAsync(server, "match[]={\"my.metric\"}"));
        Assert.Equal("[]", await SeriesAsync(server, "match[]=nosuch"));
    }

    [Fact]
    public async Task A_range_leaves_out_what_lies_outside()
    {
        await using ServerUnderTest server = await StoredAsync();

        // Series as fine as chunks; both ends belong to the range, seconds may have decimals, and times may be written out.
        const string Job = "match[]={job=~\".%2B\"}";
        string old = $"end={OldMs / 1000}.5";
        Assert.Equal("""[{"__name__":"gone","job":"c","old":"yes"}]""", await SeriesAsync(server, $"{Job}&{old}&start={OldMs / 1000}"));
        Assert.Equal("[]", await SeriesAsync(server, $"{Job}&start={OldMs / 1000 + 1}&end={OldMs / 1000 + 9}"));
        Assert.Equal("""[{"__name__":"gone","job":"c","old":"yes"}]""", await SeriesAsync(server, $"{Job}&start=2023-11-14T22:13:20Z&end=2023-11-14T23:13:20%2B01:00"));

        // Names and values as fine as sources: the block alone, or all that is not in blocks.
        Assert.Equal("""["a","b","c"]""", (await DataAsync(server, "label/job/values?" + $"start={OlderMs / 1000 - 86400}")).ToJsonString());
        Assert.Equal("""["c"]""", (await DataAsync(server, $"label/job/values?{old}&start={OldMs / 1000}")).ToJsonString());
        Assert.Equal("""["__name__","job","old"]""", (await DataAsync(server, $"labels?{old}&start={OldMs / 1000}")).ToJsonString());
        Assert.Equal("[]", (await DataAsync(server, "labels?end=5")).ToJsonString());
        Assert.Equal("[]", (await DataAsync(server, $"labels?start={NowMs / 1000 + 3600}")).ToJsonString());
    }

    [Theory, Trait("Row", "97")]
    [InlineData("labels?limit=1", "__name__")]
    [InlineData("label/job/values?limit=1", "a")]
    [InlineData("series?match[]=up&limit=1", """{"__name__":"up","host":"w","job":"a"}""")]
    [InlineData("series?match[]=up&match[]=gone&limit=1", """{"__name__":"gone","job":"c","old":"yes"}""")]
    public async Task Row_97_a_limit_cuts_the_answer_and_says_so(string path, string first)
    {
        await using ServerUnderTest server = await StoredAsync();
        JsonNode answer = await AskAsync(server, path);
        JsonNode? only = Assert.Single(answer["data"]!.AsArray());
        Assert.Equal(first, only is JsonValue text ? text.GetValue<string>() : only!.ToJsonString());
        Assert.Equal("""["results truncated due to limit"]""", answer["warnings"]!.ToJsonString());
        Assert.Null((await AskAsync(server, path.Replace("limit=1", "limit=99", StringComparison.Ordinal)))["warnings"]);
        Assert.Null((await AskAsync(server, path.Replace("limit=1", "limit=0", StringComparison.Ordinal)))["warnings"]);
        Assert.Null((await AskAsync(server, path.Replace("limit=1", $"limit={answer["data"]!.AsArray().Count + 9}", StringComparison.Ordinal)))["warnings"]);
    }

    [Theory, Trait("Row", "95")]
    [InlineData("GET")]
    [InlineData("POST")]
    public async Task Row_95_series_wants_a_selector(string method)
    {
        await using ServerUnderTest server = await StoredAsync();
        Answer answer = await server.SendAsync(new HttpMethod(method), "/api/v1/series");
        Assert.Equal((HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}"""), (answer.Status, answer.Text));
    }

    [Theory, Trait("Row", "96")]
    [InlineData("labels", "")]
    [InlineData("label/job/values", "")]
    [InlineData("series", "invalid parameter \\\"match[]\\\": ")]
    public async Task Row_96_a_selector_that_matches_everything_is_refused(string path, string prefix)
    {
        await using ServerUnderTest server = await StoredAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}?match[]={Uri.EscapeDataString("{foo=~\".*\"}")}");
        string error = $$"""{"status":"error","errorType":"bad_data","error":"{{prefix}}match[] must contain at least one non-empty matcher"}""";
        Assert.Equal((HttpStatusCode.BadRequest, error), (answer.Status, answer.Text));
    }

    [Fact, Trait("Row", "98")]
    public async Task Row_98_an_unknown_label_has_no_values()
    {
        await using ServerUnderTest server = await StoredAsync();
        Assert.Equal("""{"status":"success","data":[]}""", (await server.SendAsync(HttpMethod.Get, "/api/v1/label/nosuch/values")).Text);
    }

    [Fact]
    public async Task A_form_asks_as_an_address_does_and_both_together_ask_for_both()
    {
        await using ServerUnderTest server = await StoredAsync();
        Assert.Equal("""["__name__","host","job"]""", await PostAsync(server, "labels", "match[]=up&start=1"));
        Assert.Equal("""["__name__","host","job","old"]""", await PostAsync(server, "labels?match[]=gone", "match%5B%5D=up"));
        Assert.Equal("""[{"__name__":"my.metric","a.b":"quoted","recent":"yes"}]""", await PostAsync(server, "series", "match[]=%7B%22my.metric%22%7D&limit=1"));
        string long1 = "match[]={job=~\"" + string.Join('|', Enumerable.Range(0, 20_000).Select(static i => $"host{i}")) + "|c\"}";
        Assert.Equal("""[{"__name__":"gone","job":"c","old":"yes"}]""", await PostAsync(server, "series", long1));
        Answer tooLarge = await server.SendAsync(HttpMethod.Post, "/api/v1/series", new byte[(1 << 20) + 1], ("Content-Type", "application/x-www-form-urlencoded"));
        Assert.Equal((HttpStatusCode.RequestEntityTooLarge, "bad_data"), (tooLarge.Status, JsonNode.Parse(tooLarge.Text)!["errorType"]!.GetValue<string>()));
    }

    [Fact]
    public async Task Too_many_selectors_are_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, "/api/v1/labels?" + string.Join('&', Enumerable.Repeat("match[]=up", 33)));
        Assert.Contains("too many match[] in a request: 33 given, 32 allowed", answer.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("label/v/values")]
    [InlineData("label/v/values?match[]=many")]
    [InlineData("series?match[]=many")]
    [InlineData("status/tsdb")]
    public async Task An_answer_larger_than_a_read_may_be_names_the_limit(string path)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:memory", "1MB"));
        string filler = new('x', 100);
        TimeSeries[] many = [.. Enumerable.Range(0, 12_000).Select(i => SeriesOf($"__name__=many,v={i}{filler}", (OldMs, 1)))];
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(many))).Status);
        await server.Engine.CompactAsync(CancellationToken.None);
        Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}");
        Assert.Equal((HttpStatusCode.UnprocessableEntity, "execution"), (answer.Status, JsonNode.Parse(answer.Text)!["errorType"]!.GetValue<string>()));
        Assert.Contains("read.memory = 1048576", answer.Text, StringComparison.Ordinal);
        if (path.StartsWith("series", StringComparison.Ordinal))
            Assert.Single((await DataAsync(server, "series?match[]=many&limit=1")).AsArray());
    }

    [Fact]
    public async Task Before_the_replay_is_done_and_after_a_stop_there_is_a_503_to_come_again()
    {
        await using ServerUnderTest server = await StoredAsync();
        await server.Engine.StopAsync(CancellationToken.None);
        foreach (string path in new[] { "labels", "label/job/values", "series?match[]=up", "status/tsdb", "status/tsdb/blocks" })
        {
            Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}");
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "unavailable"), (answer.Status, JsonNode.Parse(answer.Text)!["errorType"]!.GetValue<string>()));
            Assert.NotNull(answer["Retry-After"]);
        }
    }

    [Fact]
    public async Task The_figures_of_the_status_page_count_each_series_once_wherever_it_is()
    {
        await using ServerUnderTest server = await StoredAsync();
        JsonNode figures = await DataAsync(server, "status/tsdb");
        Assert.Equal("4", figures["headStats"]!["numSeries"]!.ToJsonString());
        Assert.Equal("11", figures["headStats"]!["numLabelPairs"]!.ToJsonString());
        Assert.Equal("""[{"name":"up","value":2},{"name":"gone","value":1},{"name":"my.metric","value":1}]""", figures["seriesCountByMetricName"]!.ToJsonString());
        Assert.Equal("""{"name":"__name__","value":3}""", figures["labelValueCountByLabelName"]![0]!.ToJsonString());
        Assert.Equal("""{"name":"__name__","value":17}""", figures["memoryInBytesByLabelName"]![0]!.ToJsonString());
        Assert.Equal("""{"name":"__name__=up","value":2}""", figures["seriesCountByLabelValuePair"]![0]!.ToJsonString());
    }

    /// <summary>A series in a block and in the MemTable, one in another block alone, one in a table, one in the MemTable.</summary>
    /// <param name="kestrel">True for a real port: only there do odd paths arrive as they were sent.</param>
    private static async Task<ServerUnderTest> StoredAsync(bool kestrel = false)
    {
        (string, string)[] options = [("storage:integration:block_compaction", "false")];
        ServerUnderTest server = kestrel ? await ServerUnderTest.OnKestrel(options) : await ServerUnderTest.StartAsync(options);
        await WriteAsync(server, SeriesOf("__name__=up,host=w,job=a", (OlderMs, 1)), SeriesOf("__name__=gone,job=c,old=yes", (OldMs, 1)));
        await server.Engine.CompactAsync(CancellationToken.None);
        Assert.Equal(2, server.Engine.Stats().Blocks.Length);
        await WriteAsync(server, SeriesOf("__name__=up,host=x,job=b", (NowMs, 1)));
        await server.Engine.FlushAsync(CancellationToken.None);
        await WriteAsync(server, SeriesOf("__name__=up,host=w,job=a", (NowMs, 1)), SeriesOf("__name__=my.metric,a.b=quoted,recent=yes", (NowMs, 1)));
        return server;
    }

    private static async Task WriteAsync(ServerUnderTest server, params TimeSeries[] series) =>
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);

    private static async Task<JsonNode> AskAsync(ServerUnderTest server, string path)
    {
        Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/{path}");
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return JsonNode.Parse(answer.Text)!;
    }

    private static async Task<JsonNode> DataAsync(ServerUnderTest server, string path) => (await AskAsync(server, path))["data"]!;

    private static async Task<string> SeriesAsync(ServerUnderTest server, string query) => (await DataAsync(server, $"series?{query}")).ToJsonString();

    private static async Task<string> PostAsync(ServerUnderTest server, string path, string form)
    {
        Answer answer = await server.SendAsync(HttpMethod.Post, $"/api/v1/{path}", Encoding.UTF8.GetBytes(form), ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"));
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return JsonNode.Parse(answer.Text)!["data"]!.ToJsonString();
    }
}
