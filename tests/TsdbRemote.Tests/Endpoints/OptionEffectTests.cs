using System.Net;
using System.Net.Sockets;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Options that a sender notices: each is given a value by which the same request is answered differently.</summary>
public sealed class OptionEffectTests
{
    private static readonly (long, double)[] One = [(1, 1)];

    [Theory]
    [InlineData("storage:limits:write_body", "1KB", HttpStatusCode.RequestEntityTooLarge, null, "storage.limits.write_body")]
    [InlineData("storage:limits:write_decoded", "1KB", HttpStatusCode.BadRequest, null, null)]
    [InlineData("storage:limits:series_per_request", "1", HttpStatusCode.RequestEntityTooLarge, null, null)]
    [InlineData("storage:limits:samples_per_request", "1", HttpStatusCode.RequestEntityTooLarge, null, null)]
    [InlineData("storage:limits:labels", "2", HttpStatusCode.BadRequest, "1/0/0", "limits.labels")]
    [InlineData("storage:limits:label_name", "8B", HttpStatusCode.BadRequest, "1/0/0", "limits.label_name")]
    [InlineData("storage:limits:label_value", "4B", HttpStatusCode.BadRequest, "1/0/0", "limits.label_value")]
    [InlineData("storage:limits:labels_size", "32B", HttpStatusCode.BadRequest, "1/0/0", "limits.labels_size")]
    [InlineData("storage:limits:series", "1", HttpStatusCode.BadRequest, "1/0/0", null)]
    public async Task A_limit_refuses_what_the_default_takes(string key, string value, HttpStatusCode status, string? written, string? names)
    {
        // The first series is small in every respect, the second large in each; incompressible values make the body large too.
        var random = new Random(1);
        byte[] noise = new byte[1500];
        random.NextBytes(noise);
        var request = V2Of(("__name__=a", One), ($"__name__=b,another_label={Convert.ToHexString(noise)},third=x", One));
        await using (ServerUnderTest server = await ServerUnderTest.StartAsync())
            Assert.Equal("2/0/0", (await server.WriteAsync(request)).Written);
        await using ServerUnderTest limited = await ServerUnderTest.StartAsync((key, value));
        Answer answer = await limited.WriteAsync(request);
        Assert.Equal((status, written), (answer.Status, answer.Written));
        if (names is not null) Assert.Contains(names, answer.Text, StringComparison.Ordinal);
        Assert.Equal(written is null ? 0 : 1, (await limited.EverythingAsync()).Count);
    }

    [Fact]
    public async Task Max_future_moves_the_border_of_what_is_too_early()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:max_future", "1h"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs + 50 * 60_000, 1))))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs + 70 * 60_000, 1))))).Status);
    }

    [Theory]
    [InlineData("storage:integration:block_delay", "30m", 1)]
    [InlineData("storage:integration:block_delay", "7d", 0)]
    [InlineData("storage:integration:sstable_to_block_conversion", "false", 0)]
    [InlineData("storage:integration:hybrid_mode", "false", 0)]
    public async Task Options_of_conversion_decide_what_a_compaction_on_demand_makes_a_block(string key, string value, int blocks)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync((key, value), ("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs - 86_400_000, 1))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Assert.Equal((blocks, 1 - blocks), (server.Engine.Stats().Blocks.Length, server.Engine.Stats().Tables.Length));
        Assert.Single(await server.EverythingAsync());
    }

    [Theory]
    [InlineData("storage:integration:write_path", "lsm", 0)]
    [InlineData("storage:integration:write_path", "blocks", 1)]
    [InlineData("storage:lsm:enabled", "false", 1)]
    public async Task The_write_path_decides_what_a_compaction_on_demand_makes_of_the_open_window(string key, string value, int blocks)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync((key, value), ("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs, 1))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Assert.Equal((blocks, 1 - blocks), (server.Engine.Stats().Blocks.Length, server.Engine.Stats().Tables.Length));
        Assert.Single(await server.EverythingAsync());
    }

    [Theory]
    [InlineData("storage:compaction:compaction_threshold", "0.5", 1)]
    [InlineData("storage:compaction:compaction_threshold", "1", 2)]
    [InlineData("storage:lsm:compaction_strategy", "time_tiered", 2)]
    public async Task Options_of_merges_decide_what_a_compaction_on_demand_makes_of_two_tables(string key, string value, int tables)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync((key, value), ("admin:enabled", "true"));
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs - i, 1))))).Status);
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        }

        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Assert.Equal(tables, server.Engine.Stats().Tables.Length);
        Assert.Single(await server.EverythingAsync());
    }

    [Fact]
    public async Task Connections_beyond_max_connections_are_closed()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(("http:max_connections", "1"));
        using var first = new TcpClient();
        await first.ConnectAsync(server.Address.Host, server.Address.Port);
        await first.GetStream().WriteAsync("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        Assert.True(await first.GetStream().ReadAsync(new byte[1]) > 0);
        using var second = new TcpClient();
        await second.ConnectAsync(server.Address.Host, server.Address.Port);
        try
        {
            Assert.Equal(0, await second.GetStream().ReadAsync(new byte[1]));
        }
        catch (IOException)
        {
            // Reset rather than closed: refused all the same.
        }
    }
}
