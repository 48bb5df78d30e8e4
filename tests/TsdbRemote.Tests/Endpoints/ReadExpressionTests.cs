using System.Net;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Endpoints;
using TsdbRemote.Storage.Engine;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What the regular expressions of a read may cost before the first series is looked at, and where that is paid.</summary>
public sealed class ReadExpressionTests
{
    /// <summary>127 characters to tell apart: tens of megabytes and a fifth of a second to compile.</summary>
    private static readonly string Large = string.Concat(Enumerable.Range(0, 127).Select(static i => $@"\x{i:x2}*"));

    /// <summary>Two more than can be told apart, which only compiling finds.</summary>
    private static readonly string TooLarge = Large + "é*ö*";

    [Fact]
    public async Task Expressions_that_cost_minutes_together_are_refused_after_seconds()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.ReadAsync(Read([.. Enumerable.Range(0, 32).Select(static _ => Query(0, 1, [.. Enumerable.Repeat(Re("foo", Large), 100)]))]));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.Status);
        Assert.Matches(@"^the regular expressions of this read take more than 2 s to compile: those before foo, \\x00.*, of query 0 did", answer.Text);
    }

    [Fact]
    public async Task A_dashboards_list_of_thousands_of_hosts_is_answered_and_an_expression_of_that_length_is_not()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up,instance=host-04999.example.com:9100", (1000, 1))))).Status);
        string hosts = string.Join('|', Enumerable.Range(0, 5000).Select(static i => $@"host-{i:D5}\.example\.com:9100"));
        Assert.InRange(hosts.Length, 100_000, 200_000);
        Answer answer = await server.ReadAsync(Read(Query(0, 9000, Re("instance", hosts))));
        Assert.Equal(["__name__=up,instance=host-04999.example.com:9100 1000:1"], answer.AsSamples().Results.Single().Timeseries.Select(Print));

        Answer refused = await server.ReadAsync(Read(Query(0, 9000, Re("instance", hosts + ".*"))));
        Assert.Equal((HttpStatusCode.BadRequest, "matcher value is longer than 16384 bytes\n"), (refused.Status, refused.Text));
    }

    [Fact]
    public async Task The_time_of_a_read_runs_while_its_expressions_are_compiled()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("http:read_timeout", "1s"));
        Answer answer = await server.ReadAsync(Read(Query(0, 1, [.. Enumerable.Repeat(Re("foo", Large), 100)])));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Contains("http.read_timeout", answer.Text, StringComparison.Ordinal);
        Assert.Equal(1, server.Engine.Stats().LimitsExceeded[Limit.ReadTimeout]);
    }

    [Fact]
    public async Task A_mistake_is_told_at_once_and_what_is_dear_to_compile_waits_for_a_slot()
    {
        var files = new FaultInjector(new LocalFileSystem());
        await using ServerUnderTest server = await ServerUnderTest.OnAsync(files, ("storage:read:max_concurrent", "1"), ("storage:read:mmap", "false"), ("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        using var gate = new ManualResetEventSlim();
        FaultRule slow = files.Add(new FaultRule(new Fault.Held(gate), FileOperationKind.Read) { Path = "*.sst" });
        Task<Answer> first = Task.Run(() => server.ReadAsync(Read(Query(0, 9000, Eq("__name__", "up")))));
        while (slow.Injections == 0 && !first.IsCompleted) await Task.Delay(1);
        Assert.False(first.IsCompleted, "the only slot is taken");

        Task<Answer> second = Task.Run(() => server.ReadAsync(Read(Query(0, 1, Re("foo", TooLarge)))));
        for (int i = 0; i < 50; i++)
        {
            Answer mistake = await server.ReadAsync(Read(Query(0, 1, Eq("foo", "("), Nre("foo", "a(b"))));
            Assert.Equal((HttpStatusCode.BadRequest, "error parsing regexp: missing closing ): `a(b`\n"), (mistake.Status, mistake.Text));
        }

        Assert.False(first.IsCompleted || second.IsCompleted, "neither the one that works nor the one that waits has an answer");
        gate.Set();
        Assert.Equal(["__name__=up 1000:1"], (await first).AsSamples().Results.Single().Timeseries.Select(Print));
        Assert.Equal(HttpStatusCode.BadRequest, (await second).Status);
        Assert.StartsWith("error parsing regexp: more than 128 different characters", (await second).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(200, 10, false)]
    [InlineData(200, 12, true)]
    [InlineData(3_600_000, 4, false)] // a machine that stood still for an hour, each time
    [InlineData(3_600_000, 6, true)]
    public void The_matchers_of_all_queries_share_two_seconds_of_which_one_counts_half_a_second_at_most(int milliseconds, int matchers, bool refused)
    {
        ReadQueries queries = Parse([.. Enumerable.Range(0, matchers).Select(static i => Query(0, 1, Re($"label{i}", "a.*b")))]);
        HttpAnswer? answer = queries.TryCompile(new SlowTime(TimeSpan.FromMilliseconds(milliseconds)), CancellationToken.None, out IReadOnlyList<ReadQuery> compiled);
        Assert.Equal(refused ? StatusUnprocessable : null, answer?.Status);
        if (refused) Assert.EndsWith($"those before label{matchers - 1}, a.*b, of query {matchers - 1} did", answer?.Text, StringComparison.Ordinal);
        else Assert.Equal(queries.Queries.Select(static query => query.Matchers[0].Name), compiled.Select(static query => query.Matchers[0].Name));
    }

    [Fact]
    public void A_reader_that_is_gone_ends_the_compiling_between_two_matchers()
    {
        using var gone = new CancellationTokenSource();
        var time = new SlowTime(TimeSpan.FromMilliseconds(1));
        time.Looked += looks =>
        {
            if (looks == 6) gone.Cancel();
        };
        ReadQueries queries = Parse(Query(0, 1, [.. Enumerable.Repeat(Re("foo", "a.*b"), 100)]));
        Assert.Throws<OperationCanceledException>(() => queries.TryCompile(time, gone.Token, out _));
        Assert.Equal(6, time.Looks); // two for each of three matchers
    }

    private const int StatusUnprocessable = 422;

    private static ReadQueries Parse(params TsdbRemote.Protos.Prometheus.Query[] queries)
    {
        Assert.Null(ReadQueries.TryParse(Compress(Read(queries)), out ReadQueries? parsed));
        return parsed!;
    }

    /// <summary>A clock that goes on by one step each time somebody looks.</summary>
    private sealed class SlowTime(TimeSpan step) : TimeProvider
    {
        public event Action<int>? Looked;

        public int Looks { get; private set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp()
        {
            Looks++;
            Looked?.Invoke(Looks);
            return Looks * step.Ticks;
        }
    }
}
