using System.Text.Json.Nodes;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd;

/// <summary>
/// A real Prometheus scrapes real targets and remote-writes all of it to the server; both are then asked what series there are, and have to say the same: status and
/// JSON, errors included.
/// </summary>
public sealed class SeriesApiTests
{
    // Which of several values a limit leaves is up to Prometheus' memory order, and is not asked. {N}: a time after the start, {P}: one before it, Unix seconds.
    private static readonly string[] Questions =
    [
        "labels", "labels?limit=3", "labels?limit=1", "labels?match[]=up", "labels?match[]={job=\"node\"}", "labels?match[]=up&match[]=node_cpu_seconds_total",
        "labels?match[]={__name__=~\"node_cpu.*\",mode!~\"idle|user\"}", "labels?match[]={job=\"nosuch\"}", "labels?match[]={mode=\"\",job=\"node\"}",
        "labels?start={P}", "labels?end={P}", "labels?start={P}&end={N}", "labels?start=x", "labels?limit=-1", "labels?match[]={foo=~\".*\"}", "labels?match[]=up{",
        "label/job/values", "label/__name__/values", "label/__name__/values?match[]={job=\"node\"}",
        "label/mode/values", "label/mode/values?match[]=node_cpu_seconds_total{cpu=\"0\"}", "label/mode/values?match[]=up", "label/nosuch/values", "label/U__mode/values",
        "label/le/values?match[]={__name__=~\".+_bucket\"}", "label/instance/values?match[]=up{job=\"node\"}&match[]=go_info{job!=\"node\"}", "label/U__/values",
        "label/job/values?start={P}&end={N}", "label/job/values?end={P}", "label/job/values?match[]={}", "label/job/values?match[]=up{job=~\"(\"}",
        "series", "series?match[]=up", "series?match[]=up&match[]=up{job=\"node\"}", "series?match[]=go_info&match[]={__name__=~\"node_cpu.*\",mode=\"idle\"}",
        "series?match[]={job=\"node\"}", "series?match[]={\"up\",\"job\"=\"node\"}", "series?match[]={__name__=~\"process_.*\",job!=\"node\"}", "series?match[]=nosuch",
        "series?match[]=up{nosuch=\"\"}", "series?match[]=up{job=~\"no.*|x\"}", "series?match[]=up&end={P}", "series?match[]=up&start={P}&end={N}", "series?match[]=up[5m]",
        "series?match[]=sum(up)", "series?match[]=up&limit=x", "series?match[]=up&match[]={foo!=\"a\"}",
        "metadata?metric=nosuch", "metadata?limit=x", "metadata?limit=0",
    ];

    // By 2.0 a Prometheus tells metadata only with a feature that is off by default.
    private static readonly string[] OfMetadata =
        ["metadata?metric=node_cpu_seconds_total", "metadata?metric=prometheus_tsdb_head_series", "metadata?metric=node_load1&limit_per_metric=1"];

    [PeerFact("prometheus", "prometheus-node-exporter")]
    public Task What_Prometheus_says_of_its_series_is_said_of_what_it_sent_by_remote_write_1() => CompareAsync("prometheus.WriteRequest", [.. Questions, .. OfMetadata]);

    [PeerFact("prometheus", "prometheus-node-exporter")]
    public Task What_Prometheus_says_of_its_series_is_said_of_what_it_sent_by_remote_write_2() => CompareAsync("io.prometheus.write.v2.Request", Questions);

    private static async Task CompareAsync(string message, string[] questions)
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        using var exporter = new ExporterProcess(directory.Path);
        using var writer = new PrometheusProcess(directory.Path, "writer");
        await Task.WhenAll(server.StartAsync(), exporter.StartAsync());
        await writer.StartAsync(Config(server, exporter, writer, message));
        await Until.TrueAsync(
            async () => (await writer.QueryAsync("count(node_cpu_seconds_total)", Now())).Length > 0 && (await writer.QueryAsync("count(go_info) == 2", Now())).Length > 0,
            TimeSpan.FromSeconds(60),
            () => $"never scraped:\n{writer.Output}");
        long start = (long)Now();
        await CompareAllAsync(writer, server, questions, start);
        await server.FlushAsync();
        await CompareAllAsync(writer, server, questions, start);
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    /// <summary>Asks both until they agree: what is being scraped and sent meanwhile is one's before it is the other's.</summary>
    private static async Task CompareAllAsync(PrometheusProcess writer, ServerProcess server, string[] questions, long start)
    {
        foreach (string question in questions)
        {
            string path = "/api/v1/" + question.Replace("{P}", $"{start - 86_400}", StringComparison.Ordinal).Replace("{N}", $"{start + 86_400}.5", StringComparison.Ordinal);
            (string expected, string actual) = ("", "");
            await Until.TrueAsync(
                async () =>
                {
                    expected = await AskAsync(writer.Client, path);
                    actual = await AskAsync(server.Client, path);
                    return expected == actual;
                },
                TimeSpan.FromSeconds(30),
                () => $"{path}\n  Prometheus: {Cut(expected)}\n  server:     {Cut(actual)}");
        }
    }

    private static async Task<string> AskAsync(HttpClient client, string path)
    {
        using HttpResponseMessage answer = await client.GetAsync(new Uri(path, UriKind.Relative));
        JsonNode json = JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;

        // The order of series is nobody's promise; names and values are sorted.
        if (json["data"] is JsonArray { Count: > 0 } data && data[0] is JsonObject)
            json["data"] = new JsonArray([.. data.Select(static series => series!.ToJsonString()).Order(StringComparer.Ordinal).Select(static text => JsonNode.Parse(text))]);
        return $"{(int)answer.StatusCode} {json.ToJsonString()}";
    }

    private static string Cut(string text) => text.Length <= 1500 ? text : text[..1500] + "...";

    private static string Config(ServerProcess server, ExporterProcess exporter, PrometheusProcess self, string message) => $$"""
        global:
          scrape_interval: 1s
        scrape_configs:
          - job_name: prometheus
            static_configs: [{targets: ["127.0.0.1:{{self.Port}}"]}]
          - job_name: node
            static_configs: [{targets: ["127.0.0.1:{{exporter.Port}}"]}]
        remote_write:
          - url: {{server.Url}}/api/v1/write
            protobuf_message: {{message}}
            queue_config: {batch_send_deadline: 500ms}
            metadata_config: {send: true, send_interval: 1s}
        """;
}
