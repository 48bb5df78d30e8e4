using System.Net.Sockets;
using System.Text;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd;

/// <summary>A real Prometheus, as it is configured by default, in front of a server that does not keep up for a while.</summary>
public sealed class OverloadTests
{
    // Each body that arrives takes a quarter of the smallest budget at least.
    private const int Hogs = 4;

    [PeerFact("prometheus")]
    public async Task T79_a_Prometheus_that_is_told_to_come_again_for_a_while_drops_nothing_and_all_of_it_arrives()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path, "--storage:lsm:write_buffer_size=1MB");
        using var writer = new PrometheusProcess(directory.Path, "writer");
        using var reader = new PrometheusProcess(directory.Path, "reader");
        await server.StartAsync();
        await writer.StartAsync(WriterConfig(server, writer));
        await reader.StartAsync(ReaderConfig(server));
        await Until.TrueAsync(async () => await SentAsync(writer) > 0, TimeSpan.FromSeconds(30), () => $"nothing was sent:\n{writer.Output}");

        using (var relief = new CancellationTokenSource())
        {
            Task[] hogs = [.. Enumerable.Range(0, Hogs).Select(_ => HogAsync(new Uri(server.Url), relief.Token))];
            await Until.TrueAsync(
                async () => await writer.OwnMetricAsync("prometheus_remote_storage_samples_retried_total") > 0, TimeSpan.FromSeconds(40),
                () => $"the server keeps up with everything:\n{writer.Output}\n{server.Output}");
            await relief.CancelAsync();
            await Task.WhenAll(hogs);
        }

        double end = Math.Floor(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0);
        await Until.TrueAsync(async () => await SentAsync(writer) > end + 1, TimeSpan.FromSeconds(60), () => $"the queue does not drain:\n{writer.Output}");
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_samples_failed_total"));
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_samples_dropped_total"));
        const string everything = "{__name__=~\".+\"}[5m]";
        string scraped = await writer.QueryAsync(everything, end);
        Assert.True(scraped.Split('\n').Length > 100, scraped);
        string stored = await reader.QueryAsync(everything, end);
        Assert.True(scraped == stored, $"{scraped.Length} characters were scraped, {stored.Length} are read back");
    }

    private static Task<double> SentAsync(PrometheusProcess writer) => writer.OwnMetricAsync("prometheus_remote_storage_queue_highest_sent_timestamp_seconds");

    /// <summary>A sender whose body never comes to its end, and comes just fast enough not to be cut off.</summary>
    private static async Task HogAsync(Uri server, CancellationToken relief)
    {
        using var connection = new TcpClient();
        await connection.ConnectAsync(server.Host, server.Port, CancellationToken.None);
        NetworkStream stream = connection.GetStream();
        const string Head = "POST /api/v1/write HTTP/1.1\r\nHost: hog\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nContent-Length: 1000000\r\n\r\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(Head), CancellationToken.None);
        byte[] piece = new byte[2000];
        while (!relief.IsCancellationRequested)
        {
            await stream.WriteAsync(piece, CancellationToken.None);
            await Task.Delay(TimeSpan.FromMilliseconds(200), CancellationToken.None);
        }
    }

    private static string WriterConfig(ServerProcess server, PrometheusProcess self) => $$"""
        global:
          scrape_interval: 1s
          external_labels:
            cluster: test
        scrape_configs:
          - job_name: prometheus
            static_configs: [{targets: ["127.0.0.1:{{self.Port}}"]}]
        remote_write:
          - url: {{server.Url}}/api/v1/write
        """;

    private static string ReaderConfig(ServerProcess server) => $$"""
        global:
          external_labels:
            cluster: test
        remote_read:
          - url: {{server.Url}}/api/v1/read
            read_recent: true
        """;
}
