using System.Globalization;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd;

/// <summary>
/// A real Prometheus scrapes real targets and remote-writes to the server; a second one, which stores nothing itself, reads through the server. Both must
/// answer the same questions bit by bit.
/// </summary>
public sealed class PrometheusRoundTripTests
{
    // Named so that a difference says what broke. {T} is the end of the time asked for.
    private static readonly (string Name, string Query)[] Instant =
    [
        ("plain selector", "up"),
        ("one label", "up{job=\"prometheus\"}"),
        ("not equal", "up{job!=\"node\"}"),
        ("regex alternation", "up{job=~\"node|prometheus\"}"),
        ("regex prefix", "{__name__=~\"go_gc_.*\", job=\"prometheus\"}"),
        ("regex suffix", "{__name__=~\".*_total\", job=\"node\"}"),
        ("regex contains", "{__name__=~\".*memory.*\", job=\"node\"}"),
        ("negative regex", "prometheus_http_requests_total{handler!~\"/api.*\"}"),
        ("regex with classes", "{__name__=~\"node_cpu_[a-z]+_total\", cpu=~\"[0-9]\"}"),
        ("absent label by empty value", "up{nosuchlabel=\"\"}"),
        ("present label by plus", "{__name__=\"node_cpu_seconds_total\", mode=~\".+\"}"),
        ("offset", "up offset 5s"),
        ("offset of a rate", "rate(process_cpu_seconds_total[10s] offset 3s)"),
        ("negative offset", "up offset -2s"),
        ("at modifier", "up @ {T}"),
        ("or of two", "up{job=\"prometheus\"} or up{job=\"node\"}"),
        ("or with a missing side", "nosuchmetric or up"),
        ("and", "up and on(job) process_cpu_seconds_total"),
        ("unless", "up unless up{job=\"prometheus\"}"),
        ("rate over a restart", "rate(process_cpu_seconds_total{job=\"node\"}[30s])"),
        ("increase over a restart", "increase(node_scrape_collector_duration_seconds[30s])"),
        ("resets over a restart", "resets(process_cpu_seconds_total{job=\"node\"}[40s])"),
        ("irate", "irate(prometheus_tsdb_head_samples_appended_total[10s])"),
        ("delta", "delta(go_memstats_heap_alloc_bytes[15s])"),
        ("deriv", "deriv(go_memstats_heap_alloc_bytes[15s])"),
        ("stale series counted", "count_over_time(up{job=\"gone\"}[1m])"),
        ("stale series last value", "last_over_time(up{job=\"gone\"}[1m])"),
        ("absence of the stale series", "absent(up{job=\"gone\"})"),
        ("timestamps", "timestamp(up)"),
        ("raw samples of a range", "up[20s]"),
        ("raw samples of a histogram's buckets", "prometheus_http_request_duration_seconds_bucket{handler=\"/metrics\"}[10s]"),
        ("histogram quantile", "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[20s])))"),
        ("sum by", "sum by (mode) (node_cpu_seconds_total)"),
        ("count of everything", "count({__name__=~\".+\"})"),
        ("count by name", "count by (__name__) ({job=\"node\"})"),
        ("topk", "topk(5, node_cpu_seconds_total)"),
        ("quantile over series", "quantile(0.5, node_cpu_seconds_total)"),
        ("average over time", "avg_over_time(go_goroutines[20s])"),
        ("maximum over time", "max_over_time(go_goroutines[20s])"),
        ("standard deviation over time", "stddev_over_time(go_memstats_heap_alloc_bytes[20s])"),
        ("subquery", "max_over_time(rate(process_cpu_seconds_total[5s])[20s:2s])"),
        ("label replace", "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")"),
        ("group left", "up * on(instance) group_left(version) go_info"),
        ("arithmetic of two metrics", "node_memory_MemFree_bytes / node_memory_MemTotal_bytes"),
        ("comparison", "node_cpu_seconds_total > bool 1"),
        ("changes", "changes(go_goroutines[20s])"),
        ("NaN kept", "go_gc_duration_seconds{quantile=\"0.5\"}"),
    ];

    private static readonly (string Name, string Query)[] Range =
    [
        ("range of a gauge", "go_goroutines"),
        ("range of a rate", "rate(node_cpu_seconds_total[10s])"),
        ("range over the restart", "rate(process_cpu_seconds_total{job=\"node\"}[10s])"),
        ("range over the stale series", "up{job=\"gone\"}"),
        ("range of an aggregation", "sum by (job) (scrape_samples_scraped)"),
        ("range of an or", "up{job=\"gone\"} or up{job=\"node\"}"),
    ];

    [PeerFact("prometheus", "prometheus-node-exporter")]
    public Task A_second_Prometheus_answers_through_the_server_as_the_first_does_with_remote_write_1() => RoundTripAsync("prometheus.WriteRequest");

    [PeerFact("prometheus", "prometheus-node-exporter")]
    public Task A_second_Prometheus_answers_through_the_server_as_the_first_does_with_remote_write_2() =>
        RoundTripAsync("io.prometheus.write.v2.Request");

    private static async Task RoundTripAsync(string message)
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        using var exporter = new ExporterProcess(directory.Path);
        using var gone = new ExporterProcess(directory.Path);
        using var writer = new PrometheusProcess(directory.Path, "writer");
        using var reader = new PrometheusProcess(directory.Path, "reader");
        await Task.WhenAll(server.StartAsync(), exporter.StartAsync(), gone.StartAsync());
        string targets = Path.Combine(directory.Path, "gone.json");
        await File.WriteAllTextAsync(targets, $$"""[{"targets": ["127.0.0.1:{{gone.Port}}"]}]""");
        await writer.StartAsync(WriterConfig(server, exporter, writer, targets, message));
        await reader.StartAsync(ReaderConfig(server));

        await ScrapedAsync(writer, "up{job=\"gone\"}[2m]", 5);
        await File.WriteAllTextAsync(targets, "[]");
        await server.FlushAsync();
        await ScrapedAsync(writer, "up{job=\"node\"}[2m]", 15);
        exporter.Kill();
        await exporter.StartAsync();
        await ScrapedAsync(writer, "process_cpu_seconds_total{job=\"node\"}[2m]", 28);

        double end = await DrainedAsync(writer);
        var differences = new List<string>();
        foreach ((string name, string query) in Instant)
        {
            string text = query.Replace("{T}", end.ToString("F3", CultureInfo.InvariantCulture), StringComparison.Ordinal);
            Compare(name, text, await writer.QueryAsync(text, end), await reader.QueryAsync(text, end), differences);
        }

        foreach ((string name, string query) in Range)
        {
            string expected = await writer.QueryRangeAsync(query, end - 30, end, 1);
            Compare(name, query, expected, await reader.QueryRangeAsync(query, end - 30, end, 1), differences);
        }

        Assert.True(differences.Count == 0, string.Join("\n\n", differences) + "\n" + server.Output);
    }

    private static void Compare(string name, string query, string expected, string actual, List<string> differences)
    {
        if (expected.Length == 0) differences.Add($"{name}: {query}: the writer itself answers nothing");
        else if (expected != actual) differences.Add($"{name}: {query}\n  written: {Cut(expected)}\n  read:    {Cut(actual)}");
    }

    private static string Cut(string text) => text.Length <= 1500 ? text : text[..1500] + "...";

    private static async Task ScrapedAsync(PrometheusProcess prometheus, string selector, int samples)
    {
        double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
        string query = $"max(count_over_time({selector})) >= {samples}";
        await Until.TrueAsync(async () => (await prometheus.QueryAsync(query, Now())).Length > 0, TimeSpan.FromSeconds(60), () => $"never: {query}\n{prometheus.Output}");
    }

    /// <summary>An instant up to which everything scraped has been sent and acknowledged.</summary>
    private static async Task<double> DrainedAsync(PrometheusProcess writer)
    {
        double end = Math.Floor(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0) - 2;
        await Until.TrueAsync(
            async () => await writer.OwnMetricAsync("prometheus_remote_storage_queue_highest_sent_timestamp_seconds") >= end + 3,
            TimeSpan.FromSeconds(60),
            () => $"the queue does not drain:\n{writer.Output}");
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_samples_failed_total"));
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_samples_dropped_total"));
        return end;
    }

    private static string WriterConfig(ServerProcess server, ExporterProcess exporter, PrometheusProcess self, string targets, string message) => $$"""
        global:
          scrape_interval: 1s
          external_labels:
            cluster: test
        scrape_configs:
          - job_name: prometheus
            static_configs: [{targets: ["127.0.0.1:{{self.Port}}"]}]
          - job_name: node
            static_configs: [{targets: ["127.0.0.1:{{exporter.Port}}"]}]
          - job_name: gone
            file_sd_configs: [{files: ["{{targets}}"], refresh_interval: 1s}]
        remote_write:
          - url: {{server.Url}}/api/v1/write
            protobuf_message: {{message}}
            queue_config: {batch_send_deadline: 500ms}
            metadata_config: {send: true, send_interval: 2s}
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
