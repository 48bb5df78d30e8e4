using System.Globalization;
using TsdbRemote.Benchmarks.ChunkEncodings;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>Bytes a sample in blocks of two hours, chunks and index, of ours and of Prometheus' own; and what conversion costs.</summary>
/// <remarks>
/// Both take the same scrape-like samples by remote write, scrape by scrape. Prometheus cuts its blocks from its head; the tail sample, well behind
/// the last window, lets it do so at once. Ours are converted in a process of its own after a stop, once as the default packs and once verbatim; its
/// processor time is the process', less that of a start that converts nothing.
/// </remarks>
internal static class BytesFigure
{
    private const long WindowMs = 2 * 3_600_000;
    private const int SeriesPerRequest = 2500;

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int seriesCount = given.Number("--series", 5_000);
        int windows = Math.Max(1, given.Number("--hours", 10) / 2);
        given.RefuseOthers();
        int scrapes = (int)(windows * WindowMs / ScrapeLikeSeries.IntervalMs);
        long end = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 75 * 60_000) / WindowMs * WindowMs;
        long start = end - windows * WindowMs;
        (byte[] Labels, Sample[] Samples)[] data =
            [.. Enumerable.Range(0, seriesCount).AsParallel().AsOrdered().Select(series => (ScrapeLikeSeries.LabelsOf(series), ScrapeLikeSeries.SamplesOf(series, scrapes, start)))];
        long samples = (long)seriesCount * scrapes;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{seriesCount} series, {windows * 2} h at 15 s, {samples / 1e6:F2} M samples"));
        Console.WriteLine("| blocks of | blocks | samples/chunk | chunks B/sample | index B/sample | B/sample | conversion ns/sample | process CPU ns/sample |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        await OursAsync(place, data, scrapes, samples);
        await PrometheusAsync(place, data, scrapes, samples, end);
    }

    private static async Task OursAsync(FigurePlace place, (byte[], Sample[])[] data, int scrapes, long samples)
    {
        using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = ["--storage:integration:block_delay=31d"] };
        await target.StartAsync();
        await WriteAsync(target, data, scrapes);
        await target.FlushNowAsync();
        double write = target.CpuSeconds;
        await target.StopAsync();

        await target.StartAsync();
        await target.SettleAsync();
        double idle = target.CpuSeconds;
        await target.StopAsync();
        using (var copy = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = ["--storage:integration:chunk_encoding=verbatim"] })
        {
            CopyTree(target.DataDir, copy.DataDir);
            await ConvertAsync(copy, "ours, verbatim", idle, samples);
        }

        target.Options = [];
        await ConvertAsync(target, "ours", idle, samples);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| (ours, write and flush) | | | | | | | {write / samples * 1e9:F0} |"));
    }

    private static async Task ConvertAsync(TsdbRemoteTarget target, string name, double idleCpu, long samples)
    {
        await target.StartAsync();
        await target.CompactAsync();
        double cpu = target.CpuSeconds - idleCpu;
        var conversions = (await target.StatusAsync())["conversions"]!;
        Print(name, BlockFiles.Of(target.BlocksDir), samples, conversions["seconds"]!.GetValue<double>(), cpu);
    }

    private static async Task PrometheusAsync(FigurePlace place, (byte[], Sample[])[] data, int scrapes, long samples, long end)
    {
        using var target = new PrometheusTarget(
            place.NewRoot(), "--storage.tsdb.retention.time=10y", "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h");
        await target.StartAsync();
        await WriteAsync(target, data, scrapes);
        double write = target.CpuSeconds;
        await target.WriteAsync(Senders.Body([(Labels.Encode(("__name__", "tail")), new[] { Sample.Of(end + 70 * 60_000, 0) })]));
        for (int i = 0; i < 3000 && await target.MetricAsync("prometheus_tsdb_head_min_time") < end; i++) await Task.Delay(200);
        double cpu = target.CpuSeconds - write;
        Print("Prometheus", BlockFiles.Of(target.DataDir, end), samples, double.NaN, cpu);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| (Prometheus, write) | | | | | | | {write / samples * 1e9:F0} |"));
    }

    private static async Task WriteAsync(Target target, (byte[] Labels, Sample[] Samples)[] data, int scrapes)
    {
        int batches = (data.Length + SeriesPerRequest - 1) / SeriesPerRequest;

        // Each scrape is whole before the next one: Prometheus takes no sample behind the last of its series.
        for (int scrape = 0; scrape < scrapes; scrape++)
        {
            int at = scrape;
            await Senders.SendAsync(target, batches, batch => Senders.Body(
                data.Skip(batch * SeriesPerRequest).Take(SeriesPerRequest).Select(series => (series.Labels, (ReadOnlyMemory<Sample>)series.Samples.AsMemory(at, 1)))));
        }
    }

    private static void Print(string name, BlockFiles files, long samples, double seconds, double cpu)
    {
        if (files.Samples != samples) throw new InvalidOperationException($"{name}: {files.Samples} samples in blocks, {samples} were written");
        string conversion = double.IsNaN(seconds) ? "" : (seconds / samples * 1e9).ToString("F0", CultureInfo.InvariantCulture);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {name} | {files.Blocks} | {(double)samples / files.Chunks:F0} | {(double)files.ChunkBytes / samples:F3} | {(double)files.IndexBytes / samples:F3} | {(double)(files.ChunkBytes + files.IndexBytes) / samples:F3} | {conversion} | {cpu / samples * 1e9:F0} |"));
    }

    private static void CopyTree(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }
}
