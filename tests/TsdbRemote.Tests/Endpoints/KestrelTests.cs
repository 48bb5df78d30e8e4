using System.Net;
using System.Net.Sockets;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What only a real port shows: limits, broken connections, back-pressure.</summary>
public sealed class KestrelTests
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_body_of_33_MiB_is_a_413_that_names_the_option_and_the_server_goes_on(bool chunked)
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/write") { Content = new ByteArrayContent(new byte[33 * Mebi]) };
        request.Headers.TransferEncodingChunked = chunked;
        request.Headers.ExpectContinue = true;
        using HttpResponseMessage response = await server.Client.SendAsync(request);
        Answer answer = await Answer.OfAsync(response);
        Assert.Equal((HttpStatusCode.RequestEntityTooLarge, (string?)null), (answer.Status, answer.Written));
        Assert.Equal("request body exceeds the 33554432 bytes limit (storage.limits.write_body)\n", answer.Text);
        Assert.Equal("1/0/0", (await server.WriteAsync(V2Of(("__name__=up", [(1, 1)])))).Written);
    }

    [Fact]
    public async Task No_Server_header_leaves_the_house()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        Assert.Null((await server.SendAsync(HttpMethod.Get, "/-/healthy"))["Server"]);
    }

    [Fact]
    public async Task A_body_where_none_belongs_is_bounded()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(("admin:enabled", "true"));
        await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))));
        try
        {
            await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush", new byte[8 * Mebi]);
        }
        catch (HttpRequestException)
        {
            // The server closed the connection rather than take the rest: allowed.
        }

        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/-/healthy")).Status);
    }

    [Fact]
    public async Task Requests_cut_off_anywhere_store_nothing_that_was_not_sent()
    {
        bool poisoned = PooledBuffer.PoisonOnReturn;
        PooledBuffer.PoisonOnReturn = true;
        try
        {
            await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
            byte[] body = Compress(V1([.. Enumerable.Range(0, 50).Select(static i => SeriesOf($"__name__=cut,i={i:D2}", (1000, 42)))]));
            byte[] head = Encoding.ASCII.GetBytes(
                $"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {body.Length}\r\n\r\n");
            var random = new Random(11);
            for (int i = 0; i < 300; i++)
            {
                using var client = new TcpClient();
                await client.ConnectAsync(server.Address.Host, server.Address.Port);
                await client.GetStream().WriteAsync(head);
                await client.GetStream().WriteAsync(body.AsMemory(0, random.Next(body.Length)));
                client.LingerState = new LingerOption(enable: i % 2 == 0, seconds: 0);
            }

            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/write", Compress(V1(SeriesOf("__name__=whole", (1, 1)))))).Status);
            Assert.Equal(["__name__=whole 1:1"], (await server.EverythingAsync()).Select(Print));
        }
        finally
        {
            PooledBuffer.PoisonOnReturn = poisoned;
        }
    }

    [Fact]
    public async Task A_body_that_comes_too_slowly_is_given_up_and_its_memory_released()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(("http:body_timeout", "1s"));
        using Complaints complaints = Complaints.Of(server);
        using var client = new TcpClient();
        await client.ConnectAsync(server.Address.Host, server.Address.Port);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"u8.ToArray());
        await stream.WriteAsync(new byte[10]);
        using var reader = new StreamReader(stream);
        Assert.Equal("HTTP/1.1 408 Request Timeout", await reader.ReadLineAsync());
        Assert.Equal(1, server.Engine.Stats().LimitsExceeded[Limit.BodyTimeout]);
        client.Client.Shutdown(SocketShutdown.Send);
        await Record.ExceptionAsync(() => reader.ReadToEndAsync()); // in order or reset: the connection ends
        Assert.Empty(complaints.Heard);
    }

    [Theory]
    [InlineData("Content-Length: 33554432")]
    [InlineData("Transfer-Encoding: chunked")]
    public async Task A_sender_that_claims_the_whole_budget_and_sends_a_little_stops_nobody(string claim)
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        using var slow = new TcpClient();
        await slow.ConnectAsync(server.Address.Host, server.Address.Port);
        await slow.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes($"POST /api/v1/write HTTP/1.1\r\nHost: x\r\n{claim}\r\n\r\n10\r\n0123456789abcdef"));
        for (int i = 0; i < 20; i++)
            Assert.Equal("1/0/0", (await server.WriteAsync(V2Of(("__name__=up", [(i + 1, 1)])))).Written);
    }

    [Fact]
    public async Task A_reader_that_goes_away_frees_its_slot()
    {
        await using ServerUnderTest server = await BigAsync(("storage:read:max_concurrent", "1"));
        for (int i = 0; i < 3; i++)
        {
            using TcpClient client = await AskAsync(server);
            byte[] some = new byte[4096];
            Assert.True(await client.GetStream().ReadAsync(some) > 0);
            client.LingerState = new LingerOption(enable: true, seconds: 0);
        }

        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/read") { Content = new ByteArrayContent(Compress(Read(Query(0, 1, Eq("__name__", "none"))))) };
        using HttpResponseMessage response = await server.Client.SendAsync(request, patience.Token);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Fact, Trait("Row", "90")]
    public async Task A_reader_that_gives_up_waiting_leaves_the_queue()
    {
        await using ServerUnderTest server = await BigAsync(("storage:read:max_concurrent", "1"));
        using TcpClient slow = await AskAsync(server);
        Assert.True(await slow.GetStream().ReadAsync(new byte[1]) > 0);
        using var impatient = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/read") { Content = new ByteArrayContent(Compress(Read(Query(0, 1, Eq("a", "b"))))) };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => server.Client.SendAsync(request, impatient.Token));
        slow.LingerState = new LingerOption(enable: true, seconds: 0);
        slow.Close();
        Assert.Equal(HttpStatusCode.OK, (await server.ReadAsync(Read(Query(0, 1, Eq("a", "b"))))).Status);
    }

    [Fact]
    public async Task A_question_about_labels_waits_for_a_slot_as_reads_do_and_leaves_the_queue_with_its_client()
    {
        await using ServerUnderTest server = await BigAsync(("storage:read:max_concurrent", "1"));
        using TcpClient slow = await AskAsync(server);
        Assert.True(await slow.GetStream().ReadAsync(new byte[1]) > 0);
        using var impatient = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => server.Client.GetAsync(new Uri("/api/v1/labels", UriKind.Relative), impatient.Token));
        slow.LingerState = new LingerOption(enable: true, seconds: 0);
        slow.Close();
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/api/v1/labels")).Status);
    }

    [Fact, Trait("Row", "89")]
    public async Task A_read_that_fails_in_mid_stream_is_cut_and_never_ends_cleanly()
    {
        await using ServerUnderTest server = await BigAsync(("http:read_timeout", "1s"));
        using TcpClient client = await AskAsync(server);
        NetworkStream stream = client.GetStream();
        Assert.True(await stream.ReadAsync(new byte[1]) > 0);
        await Task.Delay(TimeSpan.FromSeconds(2));
        using var rest = new MemoryStream();
        try
        {
            await stream.CopyToAsync(rest);
        }
        catch (IOException)
        {
            return;
        }

        Assert.False(Encoding.Latin1.GetString(rest.ToArray()).EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal), "the last chunk of HTTP must be missing");
    }

    /// <summary>A server with an answer far larger than all the buffers between it and a reader: random values hardly compress.</summary>
    private static async Task<ServerUnderTest> BigAsync(params (string, string)[] options)
    {
        ServerUnderTest server = await ServerUnderTest.OnKestrel(options);
        var random = new Random(5);
        for (int part = 0; part < 12; part++)
        {
            TimeSeries[] series = [.. Enumerable.Range(0, 100).Select(i =>
                SeriesOf($"__name__=big,i={i}", [.. Enumerable.Range(0, 1000).Select(j => ((part * 1000L + j) * 1000, random.NextDouble()))]))];
            Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);
        }

        return server;
    }

    private static async Task<TcpClient> AskAsync(ServerUnderTest server)
    {
        var client = new TcpClient { ReceiveBufferSize = 4096 };
        await client.ConnectAsync(server.Address.Host, server.Address.Port);
        byte[] body = Compress(Read(Query(0, long.MaxValue, Eq("__name__", "big"))).Accepting(1));
        byte[] head = Encoding.ASCII.GetBytes($"POST /api/v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: {body.Length}\r\n\r\n");
        await client.GetStream().WriteAsync((byte[])[.. head, .. body]);
        return client;
    }
}
