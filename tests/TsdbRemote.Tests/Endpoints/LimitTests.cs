using System.Net;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Endpoints;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wire;
using static TsdbRemote.Tests.Endpoints.Requests;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Each limit broken: the error names the option and its value, the metric counts it, and the rest goes on.</summary>
public sealed class LimitTests
{
    private const string Export = "/api/v1/otlp/v1/metrics";

    private static readonly (long, double)[] One = [(1, 1)];

    public static TheoryData<Limit> All => [.. Enum.GetValues<Limit>()];

    [Theory]
    [InlineData(Limit.WriteBody, "storage:limits:write_body", "1KB", 413, "1024 bytes", 0)]
    [InlineData(Limit.WriteDecoded, "storage:limits:write_decoded", "1KB", 400, "1024 bytes", 0)]
    [InlineData(Limit.SeriesPerRequest, "storage:limits:series_per_request", "1", 413, " = 1", 0)]
    [InlineData(Limit.SamplesPerRequest, "storage:limits:samples_per_request", "1", 413, " = 1", 0)]
    [InlineData(Limit.Labels, "storage:limits:labels", "2", 400, " = 2", 1)]
    [InlineData(Limit.LabelName, "storage:limits:label_name", "8B", 400, " = 8", 1)]
    [InlineData(Limit.LabelValue, "storage:limits:label_value", "4B", 400, " = 4", 1)]
    [InlineData(Limit.LabelsSize, "storage:limits:labels_size", "32B", 400, " = 32", 1)]
    [InlineData(Limit.Series, "storage:limits:series", "1", 400, " = 1", 1)]
    public async Task Limits_of_writes(Limit limit, string key, string value, int status, string says, int stored)
    {
        byte[] noise = new byte[1500];
        new Random(1).NextBytes(noise);
        await using ServerUnderTest server = await ServerUnderTest.StartAsync((key, value));
        Answer answer = await server.WriteAsync(V2Of(("__name__=a", One), ($"__name__=b,another_label={Convert.ToHexString(noise)},third=x", One)));
        await AssertRefusedAsync(server, answer, limit, status, says);
        Assert.Equal(stored, (await server.EverythingAsync()).Count);
    }

    [Fact]
    public async Task T66_of_a_million_new_series_as_many_are_taken_as_the_limit_allows_and_old_ones_are_written_on()
    {
        const int limit = 100_000;
        const int old = 1_000;
        const int requests = 10;
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:limits:series", $"{limit}"));
        Assert.Equal(HttpStatusCode.NoContent, (await SendManyAsync(server, timeMs: 1, old)).Status);

        // Each brings 99,999 new series and a sample of an old one, so none of them fits into what is left.
        // Two at a time: ten would leave other tests no thread for as long.
        var answers = new Answer[requests];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, requests), new ParallelOptions { MaxDegreeOfParallelism = 2 },
            async (request, _) => answers[request] = await SendManyAsync(server, 2 + request, old: 1, fresh: limit - 1, request));
        Assert.All(answers, static answer => Assert.True(answer.Status is HttpStatusCode.BadRequest or HttpStatusCode.ServiceUnavailable, $"{answer.Status} {answer.Text}"));
        Answer[] refused = [.. answers.Where(static answer => answer.Status == HttpStatusCode.BadRequest)];
        Assert.NotEmpty(refused);
        Assert.All(refused, static answer => Assert.Contains($"{Limit.Series.Path()} = {limit}", answer.Text, StringComparison.Ordinal));
        EngineStats stats = server.Engine.Stats();
        Assert.Equal(limit, stats.Series);

        // What a series is said to cost (limits.series), and the budget of MemTables.
        Assert.InRange(stats.DictionaryBytes, 1, limit * 600L);
        Assert.InRange(stats.MemTables.Sum(static table => table.Bytes), 1, 64L << 20);
        Assert.Equal(HttpStatusCode.NoContent, (await SendManyAsync(server, timeMs: 100, old)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await SendManyAsync(server, timeMs: 101, old: 0, fresh: 1, request: requests)).Status);
        Assert.Equal(limit, server.Engine.Stats().Series);
        TimeSeries shared = Assert.Single(await server.SamplesAsync(Eq("__name__", "old"), Eq("i", "0")));
        Assert.Equal(1 + refused.Length + 1, shared.Samples.Count);
        Assert.Equal(old, (await server.SamplesAsync(Eq("__name__", "old"))).Count(static series => series.Samples[^1].Timestamp == 100));
    }

    [Theory]
    [InlineData(Limit.ReadMaxSamples, "storage:read:max_samples", "1", 400, "(1)")]
    [InlineData(Limit.ReadMaxSeries, "storage:read:max_series", "2", 422, "(2)")]
    public async Task Limits_of_reads(Limit limit, string key, string value, int status, string says)
    {
        await using ServerUnderTest server = await ThreeSeriesAsync(key, value);
        ReadRequest request = Read(Query(0, 9, Re("__name__", "[ab]")), Query(0, 9, Eq("__name__", "c")));
        await AssertRefusedAsync(server, await server.ReadAsync(request), limit, status, says);

        // As many as the limit says are fine.
        Assert.Equal(HttpStatusCode.OK, (await server.ReadAsync(Read(Query(0, 1, Eq("__name__", "a")), Query(0, 1, Eq("__name__", "b"))))).Status);
    }

    [Fact]
    public async Task A_streamed_read_beyond_the_limit_of_series_is_cut_off()
    {
        await using ServerUnderTest server = await ThreeSeriesAsync("storage:read:max_series", "2");
        ReadRequest request = Read(Query(0, 9, Re("__name__", "[abc]"))).Accepting(1);
        await Assert.ThrowsAnyAsync<Exception>(() => server.ReadAsync(request));
        await AssertCountedAsync(server, Limit.ReadMaxSeries);
        Assert.Equal(HttpStatusCode.OK, (await server.ReadAsync(Read(Query(0, 9, Re("__name__", "[ab]"))).Accepting(1))).Status);
    }

    [Fact]
    public async Task The_limit_of_series_holds_for_the_API_too_and_not_for_what_it_is_asked_to_leave_out()
    {
        await using ServerUnderTest server = await ThreeSeriesAsync("storage:read:max_series", "2");
        Answer answer = await server.SendAsync(HttpMethod.Get, "/api/v1/series?match[]={__name__=~\".%2B\"}");
        await AssertRefusedAsync(server, answer, Limit.ReadMaxSeries, 422, "(2)");
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/api/v1/series?match[]={__name__=~\".%2B\"}&limit=2")).Status);
    }

    [Fact]
    public async Task The_memory_of_a_read()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:memory", "1MB"));
        WriteRequest request = V1([.. Enumerable.Range(0, 400).Select(static i => SeriesOf($"__name__={new string('m', 4000)}{i}", (1, 1)))]);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(request)).Status);
        Answer answer = await server.SendAsync(HttpMethod.Get, "/api/v1/label/__name__/values");
        await AssertRefusedAsync(server, answer, Limit.ReadMemory, 422, "1048576");
    }

    [Fact]
    public async Task Messages_of_an_export()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:limits:otlp_messages", "6"));
        string small = """{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[]}}]}]}]}""";
        string large = """{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{},{}]}}]}]}]}""";
        Assert.Equal(HttpStatusCode.OK, (await ExportAsync(server, small)).Status);
        await AssertRefusedAsync(server, await ExportAsync(server, large), Limit.OtlpMessages, 413, " = 6");
    }

    [Theory]
    [InlineData(Limit.WriteBody, "storage:limits:write_body", "1KB", 413, "1024 bytes")]
    [InlineData(Limit.WriteDecoded, "storage:limits:write_decoded", "1KB", 400, "1024 bytes")]
    [InlineData(Limit.SamplesPerRequest, "storage:limits:samples_per_request", "2", 413, " = 2")]
    [InlineData(Limit.SeriesPerRequest, "storage:limits:series_per_request", "2", 413, " = 2")]
    public async Task Limits_of_writes_hold_for_exports(Limit limit, string key, string value, int status, string says)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync((key, value));
        string point = """{"timeUnixNano":"1000000000","asInt":"1","attributes":[{"key":"k","value":{"stringValue":"VALUE"}}]}""";
        string points = string.Join(',', Enumerable.Range(0, 12).Select(i => point.Replace("VALUE", $"{i}", StringComparison.Ordinal)));
        Answer answer = await ExportAsync(server, $$$"""{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{{{points}}}]}}]}]}]}""");
        await AssertRefusedAsync(server, answer, limit, status, says);
        Assert.Empty(await server.EverythingAsync());
    }

    [Fact]
    public async Task Bytes_in_flight_beyond_the_budget_and_its_queue_are_a_503()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:lsm:write_buffer_size", "1MB"));
        BodiesInFlight bodies = server.Services.GetRequiredService<BodiesInFlight>();
        using var enough = new CancellationTokenSource();
        using BodyReservation all = bodies.Reserve();
        Assert.True(await all.CoverAsync(1 << 20, enough.Token));
        BodyReservation[] queue = [.. Enumerable.Range(0, 256).Select(_ => bodies.Reserve())];
        Task<bool>[] waiting = [.. queue.Select(one => one.CoverAsync(1, enough.Token).AsTask())];
        await AssertRefusedAsync(server, await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1)))), Limit.WriteBufferSize, 503, "");
        Answer export = await ExportAsync(server, "{}");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, export.Status);
        Assert.NotNull(export["Retry-After"]);
        await enough.CancelAsync();
        foreach (Task<bool> one in waiting) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one);
        foreach (BodyReservation one in queue) one.Dispose();
    }

    [Fact]
    public async Task Exports_that_need_the_whole_budget_take_turns_and_all_are_stored()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:lsm:write_buffer_size", "1MB"));
        string Points(int series) => string.Join(',', Enumerable.Range(0, 1000).Select(i => $$$"""{"timeUnixNano":"{{{1 + i}}}000000","asInt":"{{{series}}}","attributes":[]}"""));
        Task<Answer>[] exports = [.. Enumerable.Range(0, 16).Select(series => ExportAsync(
            server, $$$"""{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m{{{series}}}","gauge":{"dataPoints":[{{{Points(series)}}}]}}]}]}]}"""))];
        Assert.All(await Task.WhenAll(exports), static answer => Assert.Equal(HttpStatusCode.OK, answer.Status));
        Assert.Equal(16_000, (await server.EverythingAsync()).Sum(static series => series.Samples.Count));
    }

    [Fact]
    public void What_waits_too_long_names_its_limit()
    {
        Assert.Equal(
            [Limit.ReadMaxConcurrent, Limit.ReadTimeout, Limit.BodyTimeout],
            new[] { HttpAnswers.TooManyReads, HttpAnswers.ReadTimeout, HttpAnswers.BodyTimeout }.Select(static answer => answer.Limit!.Value));
        Assert.All(
            new[] { HttpAnswers.TooManyReads, HttpAnswers.ReadTimeout, HttpAnswers.BodyTimeout },
            static answer => Assert.Contains(answer.Limit!.Value.Path(), answer.Text, StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(All))]
    public void Every_limit_is_an_option_and_in_the_table(Limit limit)
    {
        string table = File.ReadAllText(Path.Combine(Repository.Root, "docs", "limits.md"));
        Assert.Contains($"| `{limit.Path()}` |", table, StringComparison.Ordinal);
        Assert.Contains(TsdbRemote.Options.OptionsText.Flags(new TsdbRemote.Options.TsdbRemoteOptions()).Keys, path => path == limit.Path());
    }

    /// <summary>One request with a sample each of some old series and of some that nobody else sends.</summary>
    private static async Task<Answer> SendManyAsync(ServerUnderTest server, long timeMs, int old, int fresh = 0, int request = 0)
    {
        using PooledBuffer raw = PooledBuffer.Rent(8 << 20);
        Sample[] sample = [Sample.Of(timeMs, 1)];
        for (int i = 0; i < old; i++) RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "old"), ("i", $"{i}")), sample);
        for (int i = 0; i < fresh; i++) RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "new"), ("i", $"{i}"), ("request", $"{request}")), sample);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return await server.SendAsync(HttpMethod.Post, "/api/v1/write", body.Span.ToArray(), HeadersOf(new WriteRequest()));
    }

    private static async Task<ServerUnderTest> ThreeSeriesAsync(string key, string value)
    {
        ServerUnderTest server = await ServerUnderTest.StartAsync((key, value));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=a", (1, 1), (2, 1)), SeriesOf("__name__=b", (1, 1)), SeriesOf("__name__=c", (1, 1))))).Status);
        return server;
    }

    private static Task<Answer> ExportAsync(ServerUnderTest server, string json) =>
        server.SendAsync(HttpMethod.Post, Export, Encoding.UTF8.GetBytes(json), ("Content-Type", "application/json"));

    private static async Task AssertRefusedAsync(ServerUnderTest server, Answer answer, Limit limit, int status, string says)
    {
        Assert.Equal(status, (int)answer.Status);
        Assert.Contains(limit.Path(), answer.Text, StringComparison.Ordinal);
        Assert.Contains(says, answer.Text, StringComparison.Ordinal);
        await AssertCountedAsync(server, limit);
    }

    private static async Task AssertCountedAsync(ServerUnderTest server, Limit limit)
    {
        string[] counted = [.. (await server.SendAsync(HttpMethod.Get, "/metrics")).Text.Split('\n')
            .Where(static line => line.StartsWith("tsdb_remote_limit_exceeded_total{", StringComparison.Ordinal) && !line.EndsWith("} 0", StringComparison.Ordinal))];
        Assert.Equal([$"tsdb_remote_limit_exceeded_total{{limit=\"{limit.Path()}\"}} 1"], counted);
    }
}
