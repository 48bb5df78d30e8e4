using System.Net.Sockets;
using System.Text;
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
    /// <summary>Measured: 2,700 to 3,080, whatever the version and however many series; a third more is room for timers and other runtimes.</summary>
    private const long MostBytesPerRequest = 4_000;

    private const int WarmUp = 100;
    private const int Counted = 300;

    // Sent again, a request is success and stored once; the code it runs is compiled for good the sooner.
    private const int Repeats = 15;
    private const int Requests = WarmUp + Counted;

    [Theory]
    [InlineData(1, 200)]
    [InlineData(1, 2000)]
    [InlineData(2, 200)]
    [InlineData(2, 2000)]
    public async Task A_write_of_known_series_leaves_next_to_nothing_for_the_garbage_collector(int version, int series)
    {
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel();
        byte[][] requests = [.. RequestsOf(version, series)];
        long allocated = await Task.Factory.StartNew(
            () => AllocatedBy(server.Address, requests), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.Equal((long)Requests * series, server.Engine.Stats().MemTables.Sum(static table => table.Samples));
        Assert.True(allocated / Counted <= MostBytesPerRequest, $"{allocated / Counted} bytes a request");
    }

    private static long AllocatedBy(Uri address, byte[][] requests)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(address.Host, address.Port);
        byte[] answer = new byte[4096];
        for (int i = 0; i < WarmUp * Repeats; i++) Exchange(socket, requests[i % WarmUp], answer);
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

    /// <summary>Scrapes a second apart, the last one now. One message is changed for each: making it costs more than sending it.</summary>
    private static IEnumerable<byte[]> RequestsOf(int version, int series)
    {
        string LabelsOf(int one) => $"__name__=node_network_receive_bytes_total,device=eth{one % 4},instance=10.0.{one / 200}.{one % 200}:9100,job=kubernetes-nodes";
        (long, double)[] first = [(0, 0)];
        var version1 = V1([.. Enumerable.Range(0, series).Select(one => SeriesOf(LabelsOf(one), first))]);
        var version2 = V2Of([.. Enumerable.Range(0, series).Select(one => (LabelsOf(one), first))]);
        long start = NowMs - Requests * 1000L;
        for (int scrape = 0; scrape < Requests; scrape++)
        {
            for (int one = 0; one < series; one++)
            {
                (version1.Timeseries[one].Samples[0].Timestamp, version1.Timeseries[one].Samples[0].Value) = (start + scrape * 1000L, one * 1000.0 + scrape);
                (version2.Timeseries[one].Samples[0].Timestamp, version2.Timeseries[one].Samples[0].Value) = (start + scrape * 1000L, one * 1000.0 + scrape);
            }

            byte[] body = Compress(version == 2 ? version2 : version1);
            string head = $"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: {(version == 2 ? V2Type : V1Type)}\r\nContent-Encoding: snappy\r\nContent-Length: {body.Length}\r\n\r\n";
            yield return [.. Encoding.ASCII.GetBytes(head), .. body];
        }
    }
}

/// <summary>Tests that look at the whole process and run while nothing else does.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;
