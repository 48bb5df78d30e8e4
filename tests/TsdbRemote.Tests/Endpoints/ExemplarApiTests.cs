using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using TsdbRemote.Endpoints;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What <c>/api/v1/query_exemplars</c> answers.</summary>
public sealed class ExemplarApiTests
{
    private const string Path = "/api/v1/query_exemplars";
    private const long T = 1_700_000_000_000;

    /// <summary>The answers of a Prometheus 3.5.3 to which the same was written.</summary>
    [Fact]
    public async Task What_Prometheus_answers_is_answered_alike()
    {
        await using ServerUnderTest server = await StoredAsync();
        var differences = new List<string>();
        string[] rows = File.ReadAllLines(Repository.TestData("api/exemplars.txt"));
        foreach (string[] row in rows.Select(static line => line.Split('\t')))
        {
            (string path, string status, string body) = (row[1], row[2], row[3]);
            Answer answer = await server.SendAsync(new HttpMethod(row[0]), path);
            bool same = $"{(int)answer.Status}" == status && (body.Length == 0 ? answer.Body.Length == 0 : JsonNode.DeepEquals(JsonNode.Parse(body), JsonNode.Parse(answer.Text)));
            if (!same) differences.Add($"{Uri.UnescapeDataString(path)}\n  recorded: {status} {body}\n  answered: {(int)answer.Status} {answer.Text}");
        }

        Assert.True(differences.Count == 0, string.Join('\n', differences));
        Assert.InRange(rows.Length, 100, int.MaxValue);
    }

    [Fact]
    public async Task A_form_asks_as_an_address_does()
    {
        await using ServerUnderTest server = await StoredAsync();
        Answer answer = await server.SendAsync(
            HttpMethod.Post, Path, Encoding.UTF8.GetBytes("query=rate(latency_bucket%5B5m%5D)&start=1700000000.008"), ("Content-Type", "application/x-www-form-urlencoded"));
        Assert.Equal(
            """{"status":"success","data":[{"seriesLabels":{"__name__":"latency_bucket","job":"api","le":"0.5"},"exemplars":[{"labels":{"trace_id":"ü\uD83D\uDE80"},"value":"123456789.125","timestamp":1700000000.008}]}]}""",
            answer.Text);
        Assert.Equal("application/json", answer["Content-Type"]);
    }

    [Theory]
    [InlineData("vector(1)", HttpStatusCode.NoContent)]
    [InlineData("nosuch", HttpStatusCode.OK)]
    public async Task HEAD_has_the_status_and_no_body(string query, HttpStatusCode expected)
    {
        await using ServerUnderTest server = await StoredAsync();
        Answer answer = await server.SendAsync(HttpMethod.Head, $"{Path}?query={query}");
        Assert.Equal((expected, 0), (answer.Status, answer.Body.Length));
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await server.SendAsync(HttpMethod.Put, Path)).Status);
    }

    [Fact]
    public async Task An_answer_larger_than_a_read_may_be_names_the_limit()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:memory", "1MB"));
        V2.Request request = V2Of(("__name__=many", [(1, 1)]));
        for (int i = 0; i < 30_000; i++)
            request.Timeseries[0].Exemplars.Add(new V2.Exemplar { LabelsRefs = { Symbol(request, "t"), Symbol(request, "x") }, Timestamp = i });
        Assert.Equal("1/0/30000", (await server.WriteAsync(request)).Written);
        Answer answer = await server.SendAsync(HttpMethod.Get, $"{Path}?query=many");
        Assert.Equal((HttpStatusCode.UnprocessableEntity, "execution"), (answer.Status, JsonNode.Parse(answer.Text)!["errorType"]!.GetValue<string>()));
        Assert.Contains("read.memory = 1048576", answer.Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, $"{Path}?query=many&end=1")).Status);
    }

    [Fact]
    public async Task After_a_stop_there_is_a_503_to_come_again()
    {
        await using ServerUnderTest server = await StoredAsync();
        await server.Engine.StopAsync(CancellationToken.None);
        Answer answer = await server.SendAsync(HttpMethod.Get, $"{Path}?query=latency_bucket");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "unavailable"), (answer.Status, JsonNode.Parse(answer.Text)!["errorType"]!.GetValue<string>()));
        Assert.NotNull(answer["Retry-After"]);
    }

    [Theory]
    [InlineData(0, "0")]
    [InlineData(1_700_000_000_050, "1700000000.050")]
    [InlineData(-1, "-0.001")]
    [InlineData(-2000, "-2")]
    [InlineData(long.MaxValue, "9223372036854775.807")]
    [InlineData(long.MinValue, "-9223372036854775.808")]
    public void Times_are_seconds_with_three_decimals_or_none(long timeMs, string expected) => Assert.Equal(expected, ApiNumber.Seconds(timeMs));

    [Theory]
    [InlineData(0.000001, "0.000001")]
    [InlineData(9.99e-7, "9.99e-07")]
    [InlineData(123456789.125, "123456789.125")]
    [InlineData(1e20, "100000000000000000000")]
    [InlineData(-1e21, "-1e+21")]
    [InlineData(-0.0, "-0")]
    [InlineData(5e-324, "5e-324")]
    [InlineData(double.PositiveInfinity, "+Inf")]
    [InlineData(double.NaN, "NaN")]
    public void Values_are_as_Go_writes_them(double value, string expected) => Assert.Equal(expected, ApiNumber.Value(value));

    /// <summary>What the recorded Prometheus was sent.</summary>
    private static async Task<ServerUnderTest> StoredAsync()
    {
        ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of();
        V2.TimeSeries series = Add(request, "__name__=http_requests_total,job=api,code=200", (T, 1));
        AddExemplar(request, series, T - 5000, 1, ("trace_id", "a1"));
        AddExemplar(request, series, T - 1, 0.25, ("trace_id", "a2"));
        AddExemplar(request, series, T, 6, ("trace_id", "a3"));
        AddExemplar(request, Add(request, "__name__=http_requests_total,job=web,code=500", (T, 1)), T + 50, 1e-7, ("trace_id", "b1"), ("span_id", "s \"1\"\n"));
        series = Add(request, "__name__=latency_bucket,job=api,le=0.5", (T, 3));
        AddExemplar(request, series, T + 7, 1e21);
        AddExemplar(request, series, T + 8, 123456789.125, ("trace_id", "ü🚀"));
        series = Add(request, "__name__=latency_bucket,job=api,le=+Inf", (T, 3));
        AddExemplar(request, series, T, double.PositiveInfinity, ("trace_id", "c"));
        AddExemplar(request, series, T + 1, double.NaN, ("trace_id", "c2"));
        AddExemplar(request, Add(request, "__name__=my.metric,a b=x", (T, 1)), T + 999, -0.5, ("trace_id", "d"));
        foreach ((string trace, double value) in new[] { ("a4", 6.0), ("a7", 7) })
            AddExemplar(request, Add(request, "__name__=http_requests_total,job=api,code=200", (T, 1)), T, value, ("trace_id", trace));
        Answer answer = await server.WriteAsync(request);
        Assert.True(answer.Written == "7/0/11", answer.Text);
        return server;
    }

    private static void AddExemplar(V2.Request request, V2.TimeSeries series, long timeMs, double value, params (string Name, string Value)[] labels)
    {
        var exemplar = new V2.Exemplar { Timestamp = timeMs, Value = value };
        foreach ((string name, string text) in labels) exemplar.LabelsRefs.AddRange([Symbol(request, name), Symbol(request, text)]);
        series.Exemplars.Add(exemplar);
    }
}
