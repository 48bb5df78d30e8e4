namespace TsdbRemote.EndToEnd.Support;

/// <summary>A real node exporter: real metrics, and counters that begin anew when it is restarted.</summary>
public sealed class ExporterProcess(string directory) : ChildProcess("node-exporter", FreePort())
{
    public async Task StartAsync()
    {
        Start(Programs.Get("prometheus-node-exporter"), [$"--web.listen-address=127.0.0.1:{Port}"], directory);
        await WaitForAsync("/metrics", TimeSpan.FromSeconds(30));
    }
}
