using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>The same samples under each compaction strategy: what is written for each byte flushed, how many runs a read looks into, and what the disk holds.</summary>
/// <remarks>
/// Options: <c>--samples</c> (60,000,000), <c>--series</c> (20,000), <c>--memtable</c> (12MB: so small that a window sees a dozen flushes), <c>--late</c>
/// parts of a hundred of the requests that arrive <c>--behind</c> scrapes late (0 and 5; 700, which at 15 s are three hours), <c>--place</c> a directory on the
/// disk to be used. Nothing is converted, so that all stays in tables. Amplifications are ratios of bytes and of runs, so they do not depend on the machine,
/// and hardly on what else it does.
///   write   bytes of all tables written, flushes included, for each byte flushed
///   read    runs of the newest window and of each other one that has ended, mean over the whole time, looked at after each percent of the samples;
///           at rest: of all windows, when nothing more is due
///   space   the most that tables took on disk for each byte that was flushed until then; at rest: for each byte of the smallest strategy
/// </remarks>
internal static class AmplificationVerb
{
    private const int BatchSize = 2000;
    private const long IntervalMs = 15_000;
    private const long WindowMs = 7_200_000;
    private const int Looks = 100;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        int samples = given.Number("--samples", 60_000_000);
        int series = given.Number("--series", 20_000);
        string memTable = given.Text("--memtable", "12MB");
        int behind = given.Number("--behind", 700);
        string place = given.Text("--place", Path.GetTempPath());
        int[] lateParts = [.. given.Text("--late", "0,5").Split(',').Select(static part => int.Parse(part, CultureInfo.InvariantCulture))];
        string assembly = given.ServerAssembly();
        given.RefuseOthers();
        Console.WriteLine($"{samples / 1e6:F0} M samples of {series} series, memtable_size {memTable}");
        Console.WriteLine("| late requests | strategy | flushes | MiB flushed | merges | write | read, newest window | read, others | read, at rest (most) | space, most | MiB at rest | CPU s |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|");
        foreach (int late in lateParts)
        {
            foreach (string strategy in (string[])["size_tiered", "time_tiered", "leveled"])
            {
                string root = Path.Combine(place, $"amplification-{Environment.ProcessId}");
                Directory.CreateDirectory(root);
                try
                {
                    using var target = new TsdbRemoteTarget(root, assembly)
                    {
                        Options =
                        [
                            $"--storage:lsm:compaction_strategy={strategy}", $"--storage:lsm:memtable_size={memTable}",
                            "--storage:integration:sstable_to_block_conversion=false", "--storage:integration:adaptive_compaction=false",
                        ],
                    };
                    await target.StartAsync();
                    string row = await MeasureAsync(target, samples / series, series, late, behind);
                    Console.WriteLine($"| {late} % | {strategy} | {row}");
                    await target.StopAsync();
                }
                finally
                {
                    Directory.Delete(root, recursive: true);
                }
            }
        }

        return 0;
    }

    private static async Task<string> MeasureAsync(TsdbRemoteTarget target, int scrapes, int series, int latePart, int behind)
    {
        long end = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / IntervalMs * IntervalMs;
        var load = new ScrapeLoad(series, BatchSize, end - scrapes * IntervalMs, IntervalMs);
        (int Scrape, int Batch)[] requests = Order(scrapes, load.BatchesPerScrape, latePart, behind);
        List<double> newest = [];
        List<double> others = [];
        double mostSpace = 0;
        int each = Math.Max(requests.Length / Looks, 1);
        for (int from = 0; from < requests.Length; from += each)
        {
            int start = from;
            await Senders.SendAsync(target, Math.Min(each, requests.Length - from), request => load.Body(requests[start + request].Scrape, requests[start + request].Batch));
            JsonNode status = await target.StatusAsync();
            int[] runs = RunsOf(status);
            if (runs.Length == 0) continue;
            newest.Add(runs[^1]);
            others.AddRange(runs[..^1].Select(static count => (double)count));
            mostSpace = Math.Max(mostSpace, BytesOf(status) / status["flushes"]!["bytes"]!.GetValue<double>());
        }

        await target.CompactAsync();
        JsonNode rest = await target.StatusAsync();
        int[] left = RunsOf(rest);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{rest["flushes"]!["count"]} | {rest["flushes"]!["bytes"]!.GetValue<double>() / 1048576:F0} | {rest["compactions"]!["levels"]!.AsArray().Sum(static level => level!["count"]!.GetValue<long>())} | {rest["compactions"]!["writeAmplification"]!.GetValue<double>():F2} | {newest.Average():F2} | {(others.Count == 0 ? 0 : others.Average()):F2} | {left.Average():F2} ({left.Max()}) | {mostSpace:F2} | {BytesOf(rest) / 1048576:F0} | {target.CpuSeconds:F0} |");
    }

    /// <summary>Scrape after scrape; some requests wait until so many scrapes later.</summary>
    private static (int Scrape, int Batch)[] Order(int scrapes, int batches, int latePart, int behind)
    {
        var random = new Random(1);
        return [.. Enumerable.Range(0, scrapes * batches)
            .Select(request => (Scrape: request / batches, Batch: request % batches, At: request / batches + (random.Next(100) < latePart ? behind : 0)))
            .OrderBy(static request => request.At)
            .Select(static request => (request.Scrape, request.Batch))];
    }

    private static int[] RunsOf(JsonNode status) =>
    [
        .. status["windows"]!.AsArray()
            .Where(static window => window!["levels"]!.AsArray().Count > 0)
            .OrderBy(static window => window!["startMs"]!.GetValue<long>())
            .Select(static window => window!["levels"]!.AsArray().Sum(static level => level!["runs"]!.GetValue<int>())),
    ];

    private static double BytesOf(JsonNode status) => status["tables"]!.AsArray().Sum(static table => table!["size"]!.GetValue<double>());
}
