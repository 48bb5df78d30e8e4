using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd;

/// <summary>vmagent sends zstd, and falls back to snappy for good where that is refused.</summary>
public sealed class VmagentTests
{
    [PeerFact("vmagent", "prometheus-node-exporter")]
    public async Task The_samples_of_vmagent_arrive_and_it_stays_with_zstd()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        using var exporter = new ExporterProcess(directory.Path);
        using var agent = new AgentProcess(directory.Path);
        await Task.WhenAll(server.StartAsync(), exporter.StartAsync());
        await agent.StartAsync(server, exporter);
        await Until.TrueAsync(
            async () =>
            {
                IReadOnlyList<TimeSeries> up = await SampleReader.ReadAsync(server.Client, "up", 0, long.MaxValue);
                return up.Count == 1 && up[0].Samples.Count >= 3 && up[0].Samples.All(static sample => sample.Value is 1 or 0);
            },
            TimeSpan.FromSeconds(60),
            () => $"no sample of vmagent arrived:\n{agent.Output}\n{server.Output}");
        Assert.NotEmpty(await SampleReader.ReadAsync(server.Client, "node_cpu_seconds_total", 0, long.MaxValue));
        Assert.DoesNotContain("Snappy", agent.Output, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("Downgrading", agent.Output, StringComparison.OrdinalIgnoreCase);
    }

    private sealed class AgentProcess(string directory) : ChildProcess("vmagent", FreePort())
    {
        public async Task StartAsync(ServerProcess server, ExporterProcess exporter)
        {
            string config = Path.Combine(directory, "vmagent.yml");
            await File.WriteAllTextAsync(config, $$"""
                global: {scrape_interval: 1s}
                scrape_configs:
                  - job_name: node
                    static_configs: [{targets: ["127.0.0.1:{{exporter.Port}}"]}]
                """);
            Start(
                Programs.Get("vmagent"),
                [
                    $"-promscrape.config={config}", $"-remoteWrite.url={server.Url}/api/v1/write", $"-remoteWrite.tmpDataPath={Path.Combine(directory, "vmagent")}",
                    $"-httpListenAddr=127.0.0.1:{Port}", "-remoteWrite.flushInterval=500ms",
                ],
                directory);
            await WaitForAsync("/health", TimeSpan.FromSeconds(30));
        }
    }
}
