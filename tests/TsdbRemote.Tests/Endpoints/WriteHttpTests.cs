using System.Net;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What HTTP itself decides about a write request, and what the store answers when it cannot take it.</summary>
public sealed class WriteHttpTests
{
    private static readonly byte[] Good = Compress(V1(SeriesOf("__name__=up", (1, 1))));

    [Theory, Trait("Row", "19")]
    [InlineData("GET")]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    [InlineData("PATCH")]
    public async Task Another_method_is_a_405_that_names_POST(string method)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        foreach (string path in new[] { "/api/v1/write", "/api/v1/push", "/api/v1/receive", "/api/v1/read" })
        {
            Answer answer = await server.SendAsync(new HttpMethod(method), path, method == "GET" ? null : Good, ("Content-Type", V2Type));
            Assert.Equal((HttpStatusCode.MethodNotAllowed, "POST", null), (answer.Status, answer["Allow"], answer.Written));
        }
    }

    [Theory]
    [Trait("Row", "20"), Trait("Row", "22")]
    [InlineData("application/json")]
    [InlineData("image/png")]
    [InlineData("application/x-protobuf;foo")]
    [InlineData("application/x-protobuf;proto=yolo")]
    public async Task An_unknown_content_type_with_a_corrupt_body_is_exactly_a_415(string type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] corrupt = [0xFF, .. Good[1..]];
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", corrupt, ("Content-Type", type), ("Content-Encoding", "snappy"));
        Assert.Equal((HttpStatusCode.UnsupportedMediaType, (string?)null), (answer.Status, answer.Written));
        Assert.Contains(type.Split(';')[0], answer.Text, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("Row", "21")]
    [InlineData("gzip")]
    [InlineData("deflate")]
    [InlineData("identity")]
    [InlineData("snappy, snappy")]
    public async Task An_encoding_other_than_snappy_and_zstd_is_a_415(string encoding)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", Good, ("Content-Type", V2Type), ("Content-Encoding", encoding));
        Assert.Equal((HttpStatusCode.UnsupportedMediaType, (string?)null), (answer.Status, answer.Written));
        Assert.EndsWith(" encoding (compression) is not accepted by this server; only snappy and zstd are acceptable\n", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "107")]
    public async Task A_zstd_body_is_taken_and_one_that_is_none_is_a_400()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(CompressionStatus.Ok, SnappyBlock.TryDecompress(Good, 1 << 20, out PooledBuffer? raw));
        using var packer = new ZstdSharp.Compressor();
        byte[] packed = packer.Wrap(raw!.Span).ToArray();
        raw.Dispose();
        (string, string)[] headers = [("Content-Encoding", "zstd")];
        Answer taken = await server.SendAsync(HttpMethod.Post, "/api/v1/write", packed, headers);
        Assert.Equal((HttpStatusCode.NoContent, (string?)null), (taken.Status, taken.Written));
        Assert.Single(await server.EverythingAsync());
        Answer refused = await server.SendAsync(HttpMethod.Post, "/api/v1/write", Good, headers);
        Assert.Equal((HttpStatusCode.BadRequest, (string?)null, "zstd: corrupt input\n"), (refused.Status, refused.Written, refused.Text));
    }

    [Fact]
    public async Task An_older_agent_that_asks_for_zstd_is_told_so()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, "/api/v1/write?get_vm_proto_version=1", null);
        Assert.Equal((HttpStatusCode.OK, "1"), (answer.Status, answer.Text));
    }

    public static TheoryData<string, string> BadSnappy() => new()
    {
        { "framed", "ff060000734e61507059" },
        { "claims 256 MiB", "8080808001" },
        { "nothing", "" },
        { "cut off", "2aa40a28" },
        { "longer than it says", "01040a28" },
        { "no snappy at all", "ffffffffffffffff" },
    };

    [Theory, MemberData(nameof(BadSnappy))]
    [Trait("Row", "24"), Trait("Row", "25"), Trait("Row", "26")]
    public async Task A_body_that_is_no_snappy_block_is_a_400_without_counts(string what, string hex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", Convert.FromHexString(hex), ("Content-Type", V2Type));
        Assert.True(answer.Status == HttpStatusCode.BadRequest, what);
        Assert.Null(answer.Written);
        Assert.True(answer.Text.Length > 1, what);
    }

    [Fact]
    public async Task More_samples_than_a_request_may_hold_are_a_413_for_all_of_it()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:limits:samples_per_request", "2"));
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", [(1, 1), (2, 2), (3, 3)])));
        Assert.Equal((HttpStatusCode.RequestEntityTooLarge, (string?)null), (answer.Status, answer.Written));
        Assert.Empty(await server.EverythingAsync());
    }

    [Fact]
    public async Task Ten_thousand_labels_are_refused_by_name_and_the_rest_is_stored()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        string labels = "__name__=wide," + string.Join(',', Enumerable.Range(0, 10_000).Select(static i => $"l{i:D5}=v"));
        Answer answer = await server.WriteAsync(V2Of((labels, [(1, 1)]), ("__name__=good", [(1, 1)])));
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/0"), (answer.Status, answer.Written));
        Assert.Contains("storage.limits.labels", answer.Text, StringComparison.Ordinal);
        Assert.True(answer.Body.Length <= 1100, "senders keep 1,024 bytes of a text");
        Assert.Equal(["__name__=good 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task One_request_over_two_thousand_windows_is_stored()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        (long, double)[] samples = [.. Enumerable.Range(-1000, 2000).Select(static i => (i * 7_200_000L, (double)i))];
        Assert.Equal("2000/0/0", (await server.WriteAsync(V2Of(("__name__=up", samples)))).Written);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Assert.Equal(samples, (await server.EverythingAsync()).Single().Samples.Select(static sample => (sample.Timestamp, sample.Value)));
    }

    [Theory, Trait("Row", "43")]
    [InlineData(V1Type, null)]
    [InlineData(V2Type, "0/0/0")]
    public async Task A_log_that_cannot_sync_answers_503_with_a_time_to_come_back_and_stays_readable(string type, string? written)
    {
        var files = new FaultInjector(new LocalFileSystem());
        await using ServerUnderTest server = await ServerUnderTest.OnAsync(files);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=before", (1, 1))))).Status);
        files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData) { Path = "*.log", Sticky = true });
        for (int i = 0; i < 2; i++)
        {
            Answer answer = await server.SendAsync(
                HttpMethod.Post, "/api/v1/write", type == V2Type ? Compress(V2Of(("__name__=lost", [(1, 1)]))) : Good, ("Content-Type", type));
            Assert.Equal((HttpStatusCode.ServiceUnavailable, written), (answer.Status, answer.Written));
            Assert.True(int.Parse(answer["Retry-After"]!, null) > 0);
        }

        Assert.Contains("__name__=before 1:1", (await server.EverythingAsync()).Select(Print));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.SendAsync(HttpMethod.Get, "/-/ready")).Status);
    }

    [Fact, Trait("Row", "66")]
    public async Task Bodies_in_flight_beyond_the_budget_wait_and_then_go_ahead()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:lsm:write_buffer_size", "1MB"));
        Task<Answer>[] writes = [.. Enumerable.Range(0, 64).Select(i =>
            server.WriteAsync(V2Of(([.. Enumerable.Range(0, 2000).Select(j => ($"__name__=m{j},writer=w{i}", new (long, double)[] { (1000, i) }))]))))];
        Assert.All(await Task.WhenAll(writes), static answer => Assert.Equal("2000/0/0", answer.Written));
        Assert.Equal(128_000, (await server.EverythingAsync()).Count);
    }
}
