using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Google.Protobuf;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Otlp;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd;

/// <summary>
/// The exports of OpenTelemetry's metrics that the unit tests have in a script, sent to the real server: another receiver that knows Prometheus' naming makes the same
/// series of them, and a real Prometheus that reads through the server finds histograms that it can work with.
/// </summary>
/// <remarks>The Prometheus that these tests run is built without its OTLP receiver, so it cannot be asked for its own translation.</remarks>
public sealed partial class OtlpTests
{
    private const long BaseMs = 1_700_000_000_000;

    private static readonly string[] SameElsewhere = ["gauges", "sums", "histograms", "summaries", "units of gauges", "units of counters", "scope"];

    [GeneratedRegex("^{__name__=\"(special|updown_one|count_differs|few_counts|no_buckets|[uc](4[01267]|5[34]|6[23]))[_\"]")]
    private static partial Regex DoneOtherwiseThere();

    /// <remarks>
    /// Left out is what VictoriaMetrics does in a way of its own: labels of resources, NaN and -0, gauges from sums that rise and fall, histograms whose counts do not fit their
    /// bounds, characters of units that names do not hold.
    /// </remarks>
    [PeerFact("victoria-metrics")]
    public async Task Another_receiver_makes_the_same_series_of_the_same_exports()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        using var other = new VictoriaMetricsProcess(directory.Path);
        await Task.WhenAll(server.StartAsync(), other.StartAsync());
        foreach (string name in SameElsewhere)
        {
            await SendAsync(server.Client, "/api/v1/otlp/v1/metrics", Exports[name]);
            await SendAsync(other.Client, "/opentelemetry/v1/metrics", Exports[name]);
        }

        SortedDictionary<string, string> ours = await ReadAsync(server.Client);
        SortedDictionary<string, string> theirs = await other.ReadAsync();
        foreach (SortedDictionary<string, string> all in new[] { ours, theirs })
        {
            foreach (string series in all.Keys.Where(static series => DoneOtherwiseThere().IsMatch(series)).ToArray()) all.Remove(series);
        }

        string[] differences =
        [
            .. ours.Where(series => theirs.GetValueOrDefault(series.Key) != series.Value).Select(series => $"{series.Key} {series.Value}, there {theirs.GetValueOrDefault(series.Key, "absent")}"),
            .. theirs.Keys.Except(ours.Keys).Select(static series => $"{series} only there"),
        ];
        Assert.True(differences.Length == 0, string.Join('\n', differences));
        Assert.True(ours.Count > 140, $"{ours.Count} series");
    }

    [PeerFact("prometheus")]
    public async Task Prometheus_works_with_exponential_histograms_that_came_by_OTLP()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        using var reader = new PrometheusProcess(directory.Path, "reader", "--enable-feature=native-histograms");
        await server.StartAsync();
        await reader.StartAsync($$"""
            remote_read:
              - url: {{server.Url}}/api/v1/read
                read_recent: true
            """);
        await SendAsync(server.Client, "/api/v1/otlp/v1/metrics", Exports["exponential"]);
        await SendAsync(server.Client, "/api/v1/otlp/v1/metrics", Exports["stale histograms"]);
        for (int flushed = 0; flushed < 2; flushed++)
        {
            Assert.Equal("21", await ValueAsync(reader, "histogram_count(e_plain_seconds)"));
            Assert.Equal("1.5", await ValueAsync(reader, "histogram_sum(e_plain_seconds)"));

            // Two of the four observations are in the bucket from 1.41 to 2, whose lower end is the quantile of one quarter.
            Assert.Equal(Math.Sqrt(2), double.Parse(await ValueAsync(reader, "histogram_quantile(0.25, e_two @ 1700000010)"), CultureInfo.InvariantCulture), 1e-9);
            Assert.Equal("36", await ValueAsync(reader, "histogram_count(e_scale_down_far)"));
            Assert.Equal("", await reader.QueryAsync("{__name__=~\".*gone.*\"}", BaseMs / 1000.0));
            await server.FlushAsync();
        }
    }

    private static async Task<string> ValueAsync(PrometheusProcess reader, string query)
    {
        string answer = await reader.QueryAsync(query, BaseMs / 1000.0);
        Assert.True(answer.Contains('[', StringComparison.Ordinal), $"{query}: {answer}");
        return JsonNode.Parse(answer[answer.IndexOf('[', StringComparison.Ordinal)..])![1]!.GetValue<string>();
    }

    private static Dictionary<string, ExportRequest> Exports { get; } = Read();

    private static Dictionary<string, ExportRequest> Read()
    {
        var parser = new JsonParser(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
        Dictionary<string, ExportRequest> exports = [];
        string[] lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "otlp-exports.txt"));
        for (int i = 0; i < lines.Length; i++)
        {
            if (!lines[i].StartsWith("export ", StringComparison.Ordinal)) continue;
            int end = Array.IndexOf(lines, "----", i);
            string name = lines[i]["export ".Length..];
            if (name != "bad trace id" && name != "trace id is no hex") exports.Add(name, parser.Parse<ExportRequest>(string.Concat(lines[(i + 1)..end])));
        }

        return exports;
    }

    private static async Task SendAsync(HttpClient client, string path, ExportRequest export)
    {
        using var content = new ByteArrayContent(export.ToByteArray());
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        using HttpResponseMessage answer = await client.PostAsync(new Uri(path, UriKind.Relative), content);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode || text.Contains("samples stored", StringComparison.Ordinal), text);
    }

    private static async Task<SortedDictionary<string, string>> ReadAsync(HttpClient client)
    {
        var matcher = new LabelMatcher { Type = LabelMatcher.Types.Type.Re, Name = "__name__", Value = ".+" };
        var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (TimeSeries series in await SampleReader.ReadAsync(client, matcher, 0, long.MaxValue))
        {
            string labels = KnownSeries.Print(series.Labels.Where(static label => label.Name != "job").Select(static label => (label.Name, label.Value)));
            all.Add(labels, string.Join(' ', series.Samples.Select(static sample => Print(sample.Timestamp, sample.Value))));
        }

        return all;
    }

    private static string Print(long timeMs, double value) => string.Create(CultureInfo.InvariantCulture, $"{timeMs - BaseMs}:{value:R}");

    private sealed class VictoriaMetricsProcess(string directory) : ChildProcess("victoria-metrics", FreePort())
    {
        public async Task StartAsync()
        {
            Start(
                Programs.Get("victoria-metrics"),
                [
                    $"-storageDataPath={Path.Combine(directory, "victoria-metrics")}", $"-httpListenAddr=127.0.0.1:{Port}", "-retentionPeriod=100y",
                    "-opentelemetry.usePrometheusNaming", "-opentelemetry.promoteAllResourceAttributes=false", "-opentelemetry.promoteScopeMetadata=false",
                ],
                directory);
            await WaitForAsync("/health", TimeSpan.FromSeconds(30));
        }

        /// <summary>All series, in the form of the server's.</summary>
        public async Task<SortedDictionary<string, string>> ReadAsync()
        {
            _ = await Client.GetStringAsync(new Uri("/internal/force_flush", UriKind.Relative));
            string text = await Client.GetStringAsync(new Uri("/api/v1/export?match[]={__name__!=\"\"}", UriKind.Relative));
            var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
            foreach (JsonNode series in text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonNode.Parse(line)!))
            {
                (string Name, string Value)[] labels = [.. series["metric"]!.AsObject().Select(static label => (label.Key, label.Value!.GetValue<string>()))];
                long[] times = [.. series["timestamps"]!.AsArray().Select(static time => time!.GetValue<long>())];
                IEnumerable<string> samples = series["values"]!.AsArray().Select((value, i) => Print(times[i], ValueOf(value)));
                all.Add(KnownSeries.Print(labels.OrderBy(static label => label.Name, StringComparer.Ordinal)), string.Join(' ', samples));
            }

            return all;
        }

        /// <summary>What is no number in JSON comes as a text, and what is none at all as null.</summary>
        private static double ValueOf(JsonNode? value)
        {
            if (value is null) return double.NaN;
            return value.GetValueKind() == System.Text.Json.JsonValueKind.String ? double.Parse(value.GetValue<string>(), CultureInfo.InvariantCulture) : value.GetValue<double>();
        }
    }
}
