using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.EndToEnd.Support.Exposition;

namespace TsdbRemote.EndToEnd;

/// <summary>
/// A real Prometheus scrapes native histograms and exemplars and writes them by 1.0 to one server and by 2.0 to another; a second and a third one, which store nothing
/// themselves, read through the servers. All answer alike: from MemTables, from tables, from merged tables, from blocks.
/// </summary>
public sealed class HistogramScrapeTests
{
    private static readonly string[] Histograms = ["shop_request_seconds", "shop_queue_seconds", "shop_weighted_seconds", "shop_payload_seconds"];

    // {h} is a metric.
    private static readonly (string Name, string Query)[] Queries =
    [
        ("raw samples", "{h}[50s]"),
        ("selector", "{h}"),
        ("count", "histogram_count({h})"),
        ("sum", "histogram_sum({h})"),
        ("average", "histogram_avg({h})"),
        ("quantile", "histogram_quantile(0.9, {h})"),
        ("quantile of a rate", "histogram_quantile(0.5, rate({h}[15s]))"),
        ("quantile of the sum of rates", "histogram_quantile(0.99, sum(rate({h}[20s])))"),
        ("fraction", "histogram_fraction(0, 0.2, {h})"),
        ("fraction of a rate", "histogram_fraction(-0.5, 0.5, rate({h}[20s]))"),
        ("rate", "rate({h}[10s])"),
        ("rate of the counts", "histogram_count(rate({h}[15s]))"),
        ("increase over restarts", "increase({h}[45s])"),
        ("resets", "resets({h}[50s])"),
        ("samples counted", "count_over_time({h}[50s])"),
        ("average over time", "avg_over_time({h}[20s])"),
        ("offset", "histogram_count(rate({h}[10s] offset 15s))"),
    ];

    [PeerFact("prometheus", "promtool")]
    public async Task Native_histograms_and_exemplars_of_a_target_are_answered_as_the_Prometheus_does_that_scraped_them()
    {
        using var directory = new WorkDirectory();
        await using var exporter = new HistogramExporter();
        using ServerProcess first = Server(directory, "by-1");
        using ServerProcess second = Server(directory, "by-2");
        using var writer = new PrometheusProcess(directory.Path, "writer", "--enable-feature=native-histograms,exemplar-storage");
        using var readsFirst = new PrometheusProcess(directory.Path, "reads-first");
        using var readsSecond = new PrometheusProcess(directory.Path, "reads-second");
        await Task.WhenAll(first.StartAsync(), second.StartAsync(), exporter.StartAsync());
        await Task.WhenAll(writer.StartAsync(WriterConfig(exporter, first, second)), readsFirst.StartAsync(BlockTests.ReaderConfig(first.Url)), readsSecond.StartAsync(BlockTests.ReaderConfig(second.Url)));
        await ScrapedAsync(writer, 20);
        await Task.WhenAll(first.FlushAsync(), second.FlushAsync());
        await ScrapedAsync(writer, 40);
        double end = await StopScrapingAsync(writer);

        // By 1.0 this release of Prometheus sends custom buckets without their bounds, so that nobody could store them.
        (ServerProcess Server, PrometheusProcess Reader, string[] Metrics)[] sides = [(first, readsFirst, Histograms[..3]), (second, readsSecond, Histograms)];
        foreach ((ServerProcess server, PrometheusProcess reader, string[] metrics) in sides)
        {
            await AssertSameAsync("in MemTables and a table", writer, reader, metrics, end);
            await AssertSameExemplarsAsync(writer, server, end);
            await server.FlushAsync();
            await AssertSameAsync("in tables", writer, reader, metrics, end);
            await server.ComeToRestAsync(TimeSpan.FromSeconds(120));
            Assert.NotEmpty((await server.StatusAsync())["blocks"]!.AsArray());
            await AssertSameAsync("in blocks", writer, reader, metrics, end);
            await AssertSameExemplarsAsync(writer, server, end);
            server.Kill();
            await server.StartAsync();
            await AssertSameExemplarsAsync(writer, server, end);
            foreach (string block in BlockPeers.BlocksOf(server.BlocksDir))
                await Promtool.RunAsync(static _ => { }, "tsdb", "analyze", "--extended", server.BlocksDir, Path.GetFileName(block));
        }
    }

    private static ServerProcess Server(WorkDirectory directory, string name) => new(
        Directory.CreateDirectory(Path.Combine(directory.Path, name)).FullName,
        "--storage:block_duration=1m",
        "--storage:integration:block_delay=1s",
        "--storage:integration:late_delay=1s");

    private static async Task ScrapedAsync(PrometheusProcess writer, int scrapes) => await Until.TrueAsync(
        async () => (await writer.QueryAsync($"min(count_over_time(shop_weighted_seconds[3m])) >= {scrapes}", Now())).Length > 0,
        TimeSpan.FromSeconds(120),
        () => $"never scraped {scrapes} times:\n{writer.Output}");

    /// <summary>Scrapes no more, and waits until all that was scraped is acknowledged.</summary>
    /// <returns>An instant, s, before the last scrape.</returns>
    private static async Task<double> StopScrapingAsync(PrometheusProcess writer)
    {
        double end = Math.Floor(Now()) - 2;
        await Until.TrueAsync(
            async () => await writer.OwnMetricAsync("prometheus_remote_storage_queue_highest_sent_timestamp_seconds") / 2 >= end + 2,
            TimeSpan.FromSeconds(60),
            () => $"the queues do not drain:\n{writer.Output}");
        foreach (string kind in new[] { "samples", "histograms", "exemplars" })
            Assert.True(await writer.OwnMetricAsync($"prometheus_remote_storage_{kind}_failed_total") == 0, $"{kind} failed:\n{writer.Output}");
        string config = await File.ReadAllTextAsync(writer.ConfigFile);
        await File.WriteAllTextAsync(writer.ConfigFile, config[..config.IndexOf("scrape_configs", StringComparison.Ordinal)]);
        using HttpResponseMessage answer = await writer.Client.PostAsync(new Uri("/-/reload", UriKind.Relative), null);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        return end;
    }

    private static async Task AssertSameAsync(string where, PrometheusProcess writer, PrometheusProcess reader, string[] metrics, double end)
    {
        List<string> differences = [];
        foreach (string metric in metrics)
        {
            foreach ((string name, string query) in Queries)
            {
                string text = query.Replace("{h}", metric, StringComparison.Ordinal);
                string expected = await writer.QueryAsync(text, end);
                string actual = await reader.QueryAsync(text, end);
                if (expected.Length == 0) differences.Add($"{name}: {text}: the writer itself answers nothing");
                else if (expected != actual) differences.Add($"{name}: {text}\n  written: {Cut(expected)}\n  read:    {Cut(actual)}");
                if (text.EndsWith(']')) continue;
                expected = await writer.QueryRangeAsync(text, end - 30, end, 1);
                actual = await reader.QueryRangeAsync(text, end - 30, end, 1);
                if (expected != actual) differences.Add($"{name} over a range: {text}\n  written: {Cut(expected)}\n  read:    {Cut(actual)}");
            }
        }

        Assert.True(differences.Count == 0, $"{where}: {string.Join("\n\n", differences)}");
    }

    private static async Task AssertSameExemplarsAsync(PrometheusProcess writer, ServerProcess server, double end)
    {
        foreach (string query in new[] { "shop_requests_total", "rate(shop_request_seconds{handler=\"/api\"}[1m])", "{__name__=~\"shop_.*\"}" })
        {
            string expected = await ExemplarsAsync(writer, query, end);
            Assert.True(expected.Length > 200, $"{query}: {expected}");
            Assert.Equal(expected, await ExemplarsAsync(server, query, end));
        }
    }

    private static async Task<string> ExemplarsAsync(ChildProcess process, string query, double end)
    {
        string path = string.Create(CultureInfo.InvariantCulture, $"/api/v1/query_exemplars?query={Uri.EscapeDataString(query)}&start={end - 600}&end={end}");
        using HttpResponseMessage answer = await process.Client.GetAsync(new Uri(path, UriKind.Relative));
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return string.Join('\n', JsonNode.Parse(text)!["data"]!.AsArray().Select(static series => series!.ToJsonString()).Order(StringComparer.Ordinal));
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    private static string Cut(string text) => text.Length <= 900 ? text : text[..900] + "…";

    private static string WriterConfig(HistogramExporter exporter, ServerProcess first, ServerProcess second) => $$"""
        global:
          scrape_interval: 1s
        remote_write:
          - url: {{first.Url}}/api/v1/write
            protobuf_message: prometheus.WriteRequest
            send_native_histograms: true
            send_exemplars: true
            queue_config: {batch_send_deadline: 500ms}
            write_relabel_configs: [{source_labels: [__name__], regex: shop_payload_seconds, action: drop}]
          - url: {{second.Url}}/api/v1/write
            protobuf_message: io.prometheus.write.v2.Request
            send_native_histograms: true
            send_exemplars: true
            queue_config: {batch_send_deadline: 500ms}
        scrape_configs:
          - job_name: shop
            convert_classic_histograms_to_nhcb: true
            static_configs: [{targets: ["127.0.0.1:{{exporter.Port}}"]}]
        """;
}
