using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>One load against us and the peers, one after the other, in one run; prints a table.</summary>
/// <remarks>
/// CPU is the server process' user + system time from the first request until flush, merges and conversion are idle again; the generator is not
/// in it. Ack latency is the sender's, with all connections sending as fast as they are answered.
/// </remarks>
public static class PeersVerb
{
    private const int Connections = 4;

    // Prometheus refuses a sample an hour behind the newest of all series, so no connection may run far ahead of the others.
    private const int ScrapesInStep = 60;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        int series = given.Number("--series", 20_000);
        int batch = given.Number("--batch", 2_000);
        long samples = given.Number("--samples", 30_000_000);
        string only = given.Text("--only", "TsdbRemote,VictoriaMetrics,Prometheus");
        string assembly = given.ServerAssembly();
        string parent = given.Text("--dir", Path.GetTempPath());
        string root = Path.Combine(parent, $"tsdb-remote-peers-{Environment.ProcessId}");
        int scrapes = (int)Math.Max(1, samples / series);
        const long intervalMs = 15_000;
        long start = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - scrapes * intervalMs) / intervalMs * intervalMs;
        var load = new ScrapeLoad(series, batch, start, intervalMs);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"remote write 1.0, {series} series, batches of {batch}, {(long)scrapes * series / 1e6:F1} M samples, {Connections} connections, {Environment.ProcessorCount} processors"));
        Console.WriteLine("| server | CPU µs/sample | samples/s | ack p50 ms | ack p99 ms | RSS peak MiB | RSS anon after MiB | disk bytes/sample |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (string name in only.Split(','))
        {
            using Target target = name switch
            {
                "TsdbRemote" => new TsdbRemoteTarget(root, assembly),
                "VictoriaMetrics" => new VictoriaMetricsTarget(root),
                "Prometheus" => new PrometheusTarget(root),
                _ => throw new ArgumentException($"unknown server {name}"),
            };
            await target.StartAsync();
            Console.WriteLine(await MeasureAsync(target, load, scrapes, (long)scrapes * series));
        }

        System.IO.Directory.Delete(root, recursive: true);
        return 0;
    }

    private static async Task<string> MeasureAsync(Target target, ScrapeLoad load, int scrapes, long samples)
    {
        var latencies = new ConcurrentBag<List<double>>();
        double cpuBefore = target.CpuSeconds;
        long started = Stopwatch.GetTimestamp();
        for (int first = 0; first < scrapes; first += ScrapesInStep)
        {
            int start = first;
            int end = Math.Min(first + ScrapesInStep, scrapes);
            await Task.WhenAll(Enumerable.Range(0, Connections).Select(connection => Task.Run(() => SendAsync(target, load, start, end, connection, latencies))));
        }

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        await target.SettleAsync();
        double cpu = target.CpuSeconds - cpuBefore;
        double[] sorted = [.. latencies.SelectMany(static list => list).Order()];
        return string.Create(CultureInfo.InvariantCulture,
            $"| {target.Name} | {cpu / samples * 1e6:F3} | {samples / seconds:F0} | {At(sorted, 0.5):F2} | {At(sorted, 0.99):F2} | {target.StatusMiB("VmHWM"):F0} | {target.StatusMiB("RssAnon"):F0} | {target.DiskMiB() * 1048576 / samples:F2} |");
    }

    private static async Task SendAsync(Target target, ScrapeLoad load, int first, int end, int connection, ConcurrentBag<List<double>> latencies)
    {
        var mine = new List<double>();
        for (int scrape = first; scrape < end; scrape++)
        {
            for (int batch = connection; batch < load.BatchesPerScrape; batch += Connections)
            {
                byte[] body = load.Body(scrape, batch);
                long sent = Stopwatch.GetTimestamp();
                await target.WriteAsync(body);
                mine.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
            }
        }

        latencies.Add(mine);
    }

    private static double At(double[] sorted, double quantile) => sorted[(int)Math.Min(sorted.Length - 1, sorted.Length * quantile)];
}
