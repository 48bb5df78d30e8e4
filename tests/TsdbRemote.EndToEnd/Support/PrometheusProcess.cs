using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>A real Prometheus with a configuration of the test's own.</summary>
public sealed class PrometheusProcess : ChildProcess
{
    private readonly string _directory;
    private readonly string[] _arguments;

    public PrometheusProcess(string directory, string name, params string[] arguments)
        : base(name, FreePort())
    {
        _directory = Path.Combine(directory, name);
        _arguments = arguments;
        Directory.CreateDirectory(_directory);
    }

    /// <summary>Where its blocks are, or are to be before it starts.</summary>
    public string DataDir => Path.Combine(_directory, "data");

    public string ConfigFile => Path.Combine(_directory, "prometheus.yml");

    public async Task StartAsync(string config)
    {
        await File.WriteAllTextAsync(ConfigFile, config);
        Start(
            Programs.Get("prometheus"),
            [
                $"--config.file={ConfigFile}", $"--storage.tsdb.path={DataDir}", $"--web.listen-address=127.0.0.1:{Port}",
                "--web.enable-lifecycle", "--log.level=info", .. _arguments,
            ],
            _directory);
        await WaitForAsync("/-/ready", TimeSpan.FromSeconds(60));
    }

    /// <summary>The result of an instant query, sorted, as text: equal texts mean equal labels, times and value strings.</summary>
    public async Task<string> QueryAsync(string query, double time)
    {
        string uri = $"/api/v1/query?query={Uri.EscapeDataString(query)}&time={time.ToString("F3", CultureInfo.InvariantCulture)}";
        return await ResultAsync(uri);
    }

    /// <summary>The result of a range query, sorted, as text.</summary>
    public async Task<string> QueryRangeAsync(string query, double start, double end, double step)
    {
        string uri = string.Create(
            CultureInfo.InvariantCulture, $"/api/v1/query_range?query={Uri.EscapeDataString(query)}&start={start:F3}&end={end:F3}&step={step:F3}");
        return await ResultAsync(uri);
    }

    /// <summary>Sum of a counter of this Prometheus' own metrics.</summary>
    public async Task<double> OwnMetricAsync(string name)
    {
        string text = await Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        return text.Split('\n').Where(line => line.StartsWith(name, StringComparison.Ordinal) && !line.StartsWith('#') && IsNameEnd(line, name.Length))
            .Sum(static line => double.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture));
    }

    private static bool IsNameEnd(string line, int at) => line.Length > at && line[at] is '{' or ' ';

    private async Task<string> ResultAsync(string uri)
    {
        using HttpResponseMessage answer = await Client.GetAsync(new Uri(uri, UriKind.Relative));
        string text = await answer.Content.ReadAsStringAsync();
        JsonNode json = JsonNode.Parse(text)!;
        Assert.True(answer.IsSuccessStatusCode && json["status"]!.GetValue<string>() == "success", $"{uri}: {text}");
        JsonNode data = json["data"]!;
        if (data["result"] is not JsonArray series) return data.ToJsonString();
        if (data["resultType"]!.GetValue<string>() == "scalar") return series.ToJsonString();
        return string.Join('\n', series.Select(static one => Canonical(one!)).Order(StringComparer.Ordinal));
    }

    private static string Canonical(JsonNode series)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        if (series["metric"] is JsonObject metric)
        {
            foreach ((string name, JsonNode? value) in metric) labels[name] = value!.GetValue<string>();
        }

        // Of a range with floats and histograms both are there.
        string[] results = ["values", "value", "histograms", "histogram"];
        IEnumerable<string> texts = results.Select(name => series[name]).OfType<JsonNode>().Select(static result => " " + result.ToJsonString());
        return JsonSerializer.Serialize(labels) + string.Concat(texts);
    }
}
