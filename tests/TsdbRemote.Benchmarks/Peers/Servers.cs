using System.Globalization;
using System.Text.Json.Nodes;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>This project's server with default options: every batch on disk before its answer.</summary>
public sealed class TsdbRemoteTarget(string root, string assembly) : Target("TsdbRemote", root)
{
    /// <summary>Options beside the defaults, for the next start.</summary>
    public IReadOnlyList<string> Options { get; set; } = [];

    public string DataDir => Path.Combine(Directory, "data");

    public string BlocksDir => Path.Combine(DataDir, "blocks");

    public override Task<(long Series, long Samples)> CountAsync(int parts) => CountStreamedAsync(parts);

    public override Task<double> LongestPauseAsync() => MetricAsync("tsdb_remote_gc_pause_longest_seconds");

    protected override string ReadyPath => "/-/ready";

    /// <summary>Flushes, converts and adopts what can be; completes when it is done.</summary>
    public Task CompactAsync() => AdminAsync("compact");

    /// <summary>Everything acknowledged into tables.</summary>
    public Task FlushNowAsync() => AdminAsync("flush");

    /// <summary>The page that shows tables, blocks and conversions.</summary>
    public async Task<JsonNode> StatusAsync() =>
        JsonNode.Parse(await Client.GetStringAsync(new Uri("/api/v1/status/lsm", UriKind.Relative)))!["data"]!;

    protected override (string Program, string[] Arguments) Command() =>
        ("dotnet", [assembly, "--urls", $"http://127.0.0.1:{Port}", $"--storage:data_dir={DataDir}", "--admin:enabled=true", .. Options]);

    protected override Task FlushAsync() => AdminAsync("flush");

    protected override Task FinishAsync() => CompactAsync();

    protected override async Task CheckFinishedAsync()
    {
        int tables = (await StatusAsync())["tables"]!.AsArray().Count;
        if (tables > 0) throw new InvalidOperationException($"{tables} tables are left to be converted, though all windows are closed");
    }

    private async Task AdminAsync(string what)
    {
        using var patient = new HttpClient { BaseAddress = Client.BaseAddress, Timeout = Timeout.InfiniteTimeSpan };
        using HttpResponseMessage answer = await patient.PostAsync(new Uri($"/api/v1/admin/{what}", UriKind.Relative), null);
        answer.EnsureSuccessStatusCode();
    }
}

/// <summary>VictoriaMetrics, single node, defaults; a count may look at as many series as there are.</summary>
public sealed class VictoriaMetricsTarget(string root) : Target("VictoriaMetrics", root)
{
    /// <summary>It has no remote read: counted by its query language, without its cache and its offset for the newest samples.</summary>
    public override async Task<(long Series, long Samples)> CountAsync(int parts)
    {
        await Client.GetStringAsync(new Uri("/internal/force_flush", UriKind.Relative));
        (long series, long samples) = (0, 0);
        foreach ((string Name, string Value)[] labels in ScrapeLoad.PartsOf(parts))
        {
            string selector = $"{{{string.Join(',', labels.Select(static label => $"{label.Name}=\"{label.Value}\""))}}}[30d]";
            series += await QueryAsync($"count(count_over_time({selector}))");
            samples += await QueryAsync($"sum(count_over_time({selector}))");
        }

        return (series, samples);
    }

    protected override string ReadyPath => "/health";

    protected override (string Program, string[] Arguments) Command() => ("victoria-metrics",
    [
        $"-httpListenAddr=127.0.0.1:{Port}", $"-storageDataPath={Path.Combine(Directory, "data")}", "-retentionPeriod=10y",
        "-search.maxUniqueTimeseries=20000000", "-search.maxQueryDuration=10m",
    ]);

    private async Task<long> QueryAsync(string query)
    {
        long end = DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 60;
        string text = await Client.GetStringAsync(new Uri($"/api/v1/query?nocache=1&time={end}&query={Uri.EscapeDataString(query)}", UriKind.Relative));
        JsonArray result = JsonNode.Parse(text)!["data"]!["result"]!.AsArray();
        return result.Count == 0 ? 0 : long.Parse(result[0]!["value"]![1]!.GetValue<string>(), CultureInfo.InvariantCulture);
    }
}

/// <summary>Prometheus as a remote-write receiver, defaults.</summary>
public sealed class PrometheusTarget(string root, params string[] options) : Target("Prometheus", root)
{
    public string DataDir => Path.Combine(Directory, "data");

    public override Task<(long Series, long Samples)> CountAsync(int parts) => CountStreamedAsync(parts);

    protected override string ReadyPath => "/-/ready";

    protected override (string Program, string[] Arguments) Command()
    {
        string config = Path.Combine(Directory, "prometheus.yml");
        File.WriteAllText(config, "global: {}\n");
        return ("prometheus",
        [
            $"--config.file={config}", $"--storage.tsdb.path={DataDir}", $"--web.listen-address=127.0.0.1:{Port}",
            "--web.enable-remote-write-receiver", "--log.level=error", .. options,
        ]);
    }
}
