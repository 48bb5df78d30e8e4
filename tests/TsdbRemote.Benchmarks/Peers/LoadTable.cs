using System.Globalization;
using TsdbRemote.Benchmarks.BlockFigures;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A load sent to each server, with a table of all that it cost: for figures of one row, CPU a sample.</summary>
internal static class LoadTable
{
    /// <summary>Sends it as fast as it is answered, records CPU a sample in µs, and counts everything again.</summary>
    public static async Task MeasureAsync(FigureRun run, FigureRow row, ILoad load, long series, int scrapes, long samples, params string[] prometheus)
    {
        Console.WriteLine("| server | CPU µs/sample | samples/s | ack p50 ms | ack p99 ms | RSS peak MiB | RSS anon after MiB | disk bytes/sample |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        await run.EachAsync(
            async target =>
            {
                LoadResult result = await LoadRun.MeasureAsync(target, load, 0, scrapes);
                double cpu = result.CpuSeconds / samples * 1e6;
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {target.Name} | {cpu:F3} | {samples / result.Seconds:F0} | {Senders.At(result.Acks, 0.5):F2} | {Senders.At(result.Acks, 0.99):F2} | {target.StatusMiB("VmHWM"):F0} | {target.StatusMiB("RssAnon"):F0} | {target.DiskMiB() * 1048576 / samples:F2} |"));
                await LoadRun.CheckAsync(target, series, samples);
                run.Record(row, target.Name, cpu);
            },
            prometheus: prometheus,
            victoriaMetrics: !load.IsVersion2);
    }
}
