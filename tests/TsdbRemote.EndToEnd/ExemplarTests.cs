using System.Text.Json.Nodes;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd;

/// <summary>
/// A real Prometheus scrapes exemplars and remote-writes them to the server; both are then asked for them, and have to say the same. So has a server that was killed, and one whose
/// log has gone into files.
/// </summary>
public sealed class ExemplarTests
{
    private static readonly string[] Questions =
    [
        "served_total", "served_total{code=\"500\"}", "histogram_quantile(0.9, sum by (le) (rate(took_bucket[5m])))", "rate(served_total[5m]) / on () group_left () took_count",
        "{job=\"target\"}", "took_count", "nosuch", "1 + 1", "served_total{", "{code=~\".*\"}",
    ];

    [PeerFact("prometheus")]
    public Task What_Prometheus_says_of_its_exemplars_is_said_of_what_it_sent_by_remote_write_1() => CompareAsync("prometheus.WriteRequest");

    [PeerFact("prometheus")]
    public Task What_Prometheus_says_of_its_exemplars_is_said_of_what_it_sent_by_remote_write_2() => CompareAsync("io.prometheus.write.v2.Request");

    private static async Task CompareAsync(string message)
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        await using var target = new ExemplarTarget();
        using var writer = new PrometheusProcess(directory.Path, "writer", "--enable-feature=exemplar-storage");
        await Task.WhenAll(server.StartAsync(), target.StartAsync());
        await writer.StartAsync(Config(server, target, message));
        await Until.TrueAsync(() => Task.FromResult(target.IsAtRest), TimeSpan.FromSeconds(60), () => $"not scraped:\n{writer.Output}");
        await CompareAllAsync(writer, server);
        Assert.Equal(20, (await AskAsync(server.Client, "{job=\"target\"}")).Split("\"timestamp\"").Length - 1);

        // From its log, then from its files.
        server.Kill();
        await server.StartAsync();
        await CompareAllAsync(writer, server);
        await server.FlushAsync();
        server.Kill();
        await server.StartAsync();
        await CompareAllAsync(writer, server);
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_exemplars_failed_total"));
        Assert.True(await writer.OwnMetricAsync("prometheus_remote_storage_exemplars_total") >= 20, "exemplars were sent");
    }

    private static async Task CompareAllAsync(PrometheusProcess writer, ServerProcess server)
    {
        foreach (string question in Questions)
        {
            (string expected, string actual) = ("", "");
            await Until.TrueAsync(
                async () =>
                {
                    expected = await AskAsync(writer.Client, question);
                    actual = await AskAsync(server.Client, question);
                    return expected == actual;
                },
                TimeSpan.FromSeconds(30),
                () => $"{question}\n  Prometheus: {expected}\n  server:     {actual}");
        }
    }

    private static async Task<string> AskAsync(HttpClient client, string question)
    {
        using HttpResponseMessage answer = await client.GetAsync(new Uri($"/api/v1/query_exemplars?query={Uri.EscapeDataString(question)}", UriKind.Relative));
        string text = await answer.Content.ReadAsStringAsync();
        return $"{(int)answer.StatusCode} {(text.Length == 0 ? "" : JsonNode.Parse(text)!.ToJsonString())}";
    }

    private static string Config(ServerProcess server, ExemplarTarget target, string message) => $$"""
        global:
          scrape_interval: 1s
        scrape_configs:
          - job_name: target
            static_configs: [{targets: ["{{target.Address}}"]}]
        remote_write:
          - url: {{server.Url}}/api/v1/write
            protobuf_message: {{message}}
            send_exemplars: true
            queue_config: {batch_send_deadline: 500ms}
        """;
}
