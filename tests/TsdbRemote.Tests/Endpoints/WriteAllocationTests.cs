using System.Net.Sockets;
using System.Text;
using Google.Protobuf;

using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Garbage of a write request in steady state, counted over the whole process: real Kestrel, real log, a sender that allocates nothing.</summary>
/// <remarks>
/// Requests are made before, and sent one after the other over a blocking socket. Known series, a sample each, so what is counted is what a request costs
/// whatever it holds: 200 series and 2,000 have the same bound.
/// </remarks>
[Collection(nameof(AloneInTheProcess))]
public sealed class WriteAllocationTests
{
    /// <summary>Measured: some, of which most is Kestrel's and the log's. A third more is room for timers and other runtimes.</summary>
    private const long MostBytesPerRequest = 8_000;

    private const int WarmUp = 400;
    private const int Counted = 400;

    [Theory]
    [InlineData(1, 200)]
    [InlineData(1, 2000)]
    [InlineData(2, 200)]
    [InlineData(2, 2000)]
    public async Task A_write_of_known_series_leaves_next_to_nothing_for_the_garbage_collector(int version, int series)
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        byte[][] requests = [.. Enumerable.Range(0, WarmUp + Counted).AsParallel().AsOrdered().Select(scrape => RequestOf(version, series, scrape))];
        long allocated = await Task.Factory.StartNew(
            () => AllocatedBy(server.Address, requests), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.Equal((long)requests.Length * series, server.Engine.Stats().MemTables.Sum(static table => table.Samples));
        Assert.True(allocated / Counted <= MostBytesPerRequest, $"{allocated / Counted} bytes a request");
    }

    private static long AllocatedBy(Uri address, byte[][] requests)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(address.Host, address.Port);
        byte[] answer = new byte[4096];
        for (int i = 0; i < WarmUp; i++) Exchange(socket, requests[i], answer);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        for (int i = WarmUp; i < requests.Length; i++) Exchange(socket, requests[i], answer);
        return GC.GetTotalAllocatedBytes(precise: true) - before;
    }

    /// <summary>Sends a request and takes its answer, which has no body.</summary>
    private static void Exchange(Socket socket, byte[] request, byte[] answer)
    {
        for (int sent = 0; sent < request.Length;) sent += socket.Send(request.AsSpan(sent));
        int held = 0;
        while (!answer.AsSpan(0, held).EndsWith("\r\n\r\n"u8))
        {
            int read = socket.Receive(answer.AsSpan(held));
            if (read == 0) throw new IOException("the server hung up");
            held += read;
        }

        if (!answer.AsSpan(0, held).StartsWith("HTTP/1.1 204 "u8)) throw new IOException(Encoding.ASCII.GetString(answer, 0, held));
    }

    private static byte[] RequestOf(int version, int series, int scrape)
    {
        string LabelsOf(int one) => $"__name__=node_network_receive_bytes_total,device=eth{one % 4},instance=10.0.{one / 200}.{one % 200}:9100,job=kubernetes-nodes";
        (long, double) SampleOf(int one) => (NowMs - (WarmUp + Counted - scrape) * 1000L, one * 1000.0 + scrape);
        IMessage message = version == 2
            ? V2Of([.. Enumerable.Range(0, series).Select(one => (LabelsOf(one), new[] { SampleOf(one) }))])
            : V1([.. Enumerable.Range(0, series).Select(one => SeriesOf(LabelsOf(one), SampleOf(one)))]);
        byte[] body = Compress(message);
        string type = version == 2 ? V2Type : "application/x-protobuf";
        return
        [
            .. Encoding.ASCII.GetBytes(
                $"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: {type}\r\nContent-Encoding: snappy\r\nContent-Length: {body.Length}\r\n\r\n"),
            .. body,
        ];
    }
}

/// <summary>Tests that look at the whole process and run while nothing else does.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;
