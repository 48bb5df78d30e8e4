using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Clients that send too much before a body, or too little of it: on a real port.</summary>
public sealed class SlowClientTests
{
    [Theory]
    [InlineData(101, 8, "431 Request Header Fields Too Large")]
    [InlineData(5, 7000, "431 Request Header Fields Too Large")]
    [InlineData(1, 33_000, "431 Request Header Fields Too Large")]
    [InlineData(90, 8, "200 OK")]
    [InlineData(4, 7000, "200 OK")]
    public async Task Headers_are_bounded_in_number_and_size(int count, int length, string expected)
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        string headers = string.Concat(Enumerable.Range(0, count).Select(i => $"X-{i}: {new string('x', length)}\r\n"));
        Assert.Equal("HTTP/1.1 " + expected, await AskAsync(server, $"GET /-/healthy HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    }

    [Fact]
    public async Task A_request_line_is_bounded()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        Assert.Equal("HTTP/1.1 414 URI Too Long", await AskAsync(server, $"GET /api/v1/labels?x={new string('x', 9000)} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }

    [Fact]
    public async Task Clients_that_drip_their_headers_are_cut_off_and_hold_nobody_up()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(("http:header_timeout", "1s"));
        TcpClient[] slow = [.. Enumerable.Range(0, 50).Select(static _ => new TcpClient())];
        try
        {
            foreach (TcpClient client in slow)
            {
                await client.ConnectAsync(server.Address.Host, server.Address.Port);
                await client.GetStream().WriteAsync("GET /-/healthy HTTP/1.1\r\nHost: x\r\n"u8.ToArray());
            }

            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            Task[] ends = [.. slow.Select(client => DripAsync(client, patience.Token))];
            Task all = Task.WhenAll(ends);
            do Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/-/healthy")).Status);
            while (await Task.WhenAny(all, Task.Delay(50)) != all);
            await all;
        }
        finally
        {
            foreach (TcpClient client in slow) client.Dispose();
        }
    }

    [Fact]
    public async Task Clients_that_say_nothing_are_cut_off_and_keep_nobody_out()
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(("http:header_timeout", "1s"), ("http:max_connections", "20"));
        TcpClient[] silent = [.. Enumerable.Range(0, 20).Select(static _ => new TcpClient())];
        try
        {
            foreach (TcpClient client in silent) await client.ConnectAsync(server.Address.Host, server.Address.Port);
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            int[] answers = await Task.WhenAll(silent.Select(client => ReadToEndAsync(client.GetStream(), patience.Token)));
            Assert.All(answers, static bytes => Assert.Equal(0, bytes));
            Assert.Equal("HTTP/1.1 200 OK", await AskAsync(server, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        finally
        {
            foreach (TcpClient client in silent) client.Dispose();
        }
    }

    /// <summary>One header after the other, a byte at a time, until the server ends the connection.</summary>
    private static async Task DripAsync(TcpClient client, CancellationToken patience)
    {
        NetworkStream stream = client.GetStream();
        Task<int> cut = ReadToEndAsync(stream, patience);
        while (!cut.IsCompleted)
        {
            try
            {
                await stream.WriteAsync("a"u8.ToArray(), patience);
            }
            catch (IOException)
            {
                break;
            }

            await Task.WhenAny(cut, Task.Delay(100, patience));
        }

        await cut;
    }

    private static async Task<int> ReadToEndAsync(NetworkStream stream, CancellationToken patience)
    {
        byte[] some = new byte[1024];
        int sum = 0;
        try
        {
            while (await stream.ReadAsync(some, patience) is > 0 and int read) sum += read;
        }
        catch (IOException)
        {
            // Reset: an end as well.
        }

        return sum;
    }

    private static async Task<string?> AskAsync(ServerUnderTest server, string request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(server.Address.Host, server.Address.Port);
        try
        {
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(request));
        }
        catch (IOException)
        {
            // The server has answered and closed before it had read all of it.
        }

        using var reader = new StreamReader(client.GetStream());
        return await reader.ReadLineAsync();
    }
}
