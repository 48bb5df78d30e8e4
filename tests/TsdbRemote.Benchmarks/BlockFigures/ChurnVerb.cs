using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>
/// Series that come and go: each window of a simulated day brings new ones, written as past data to the real server and compacted before the next; prints
/// what the server holds after each.
/// </summary>
/// <remarks>
/// Options: <c>--series</c> new ones a window (833,333: ten million a day), <c>--windows</c> (12), <c>--samples</c> of each series (3), <c>--steady</c>
/// series that every window has and that have a sample of this moment, too, so that they live (1,000), <c>--compact-every</c> windows (1), <c>--place</c> a directory on the disk to be used.
/// The figure asked for: RssAnon after the last window at most 1.1 times that after the third; the dictionary file at most twice what is live.
/// </remarks>
internal static class ChurnVerb
{
    private const long WindowMs = 7_200_000;
    private const int SeriesPerRequest = 2000;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        int perWindow = given.Number("--series", 833_333);
        int windows = given.Number("--windows", 12);
        int samples = given.Number("--samples", 3);
        int steady = given.Number("--steady", 1000);
        int compactEvery = given.Number("--compact-every", 1);
        string place = given.Text("--place", Path.GetTempPath());
        string assembly = given.ServerAssembly();
        given.RefuseOthers();

        string root = Path.Combine(place, $"churn-{Environment.ProcessId}");
        Directory.CreateDirectory(root);
        try
        {
            using var target = new TsdbRemoteTarget(root, assembly);
            await target.StartAsync();
            Console.WriteLine($"{perWindow} new series a window and {steady} steady ones, {samples} samples each, compacted every {compactEvery} windows");
            Console.WriteLine();
            Console.WriteLine("| window | write s | compact s | RssAnon MiB before | RssAnon MiB | series before | series | live | dictionary MiB | file KiB | file series | epoch | collection s | blocks |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
            long first = TimeWindow.StartOf(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), WindowMs) - (windows + 2) * WindowMs;
            List<double> anonymous = [];
            for (int window = 0; window < windows; window++)
                anonymous.Add(await WindowAsync(target, window, first + window * WindowMs, perWindow, samples, steady, (window + 1) % compactEvery == 0));
            Console.WriteLine();
            if (windows > 3)
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"RssAnon after window {windows} = {anonymous[^1] / anonymous[2]:F2} x that after window 3"));
            await target.StopAsync();
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        return 0;
    }

    private static async Task<double> WindowAsync(TsdbRemoteTarget target, int window, long startMs, int perWindow, int samples, int steady, bool compact)
    {
        int total = perWindow + steady;
        long began = Stopwatch.GetTimestamp();
        await Senders.SendAsync(target, (total + SeriesPerRequest - 1) / SeriesPerRequest, request =>
        {
            int from = request * SeriesPerRequest;
            int count = Math.Min(SeriesPerRequest, total - from);
            long nowMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
            return Senders.Body(Enumerable.Range(from, count).Select(i =>
            {
                IEnumerable<Sample> past = Enumerable.Range(0, samples).Select(sample => Sample.Of(startMs + (sample + 1) * (WindowMs / (samples + 1)), i + sample));
                return (LabelsOf(i < steady ? -1 : window, i), (ReadOnlyMemory<Sample>)(i < steady ? past.Append(Sample.Of(nowMs, i)) : past).ToArray());
            }));
        });
        double write = Stopwatch.GetElapsedTime(began).TotalSeconds;
        double before = target.StatusMiB("RssAnon");
        JsonNode status = await target.StatusAsync();
        long seriesBefore = status["series"]!["series"]!.GetValue<long>();
        began = Stopwatch.GetTimestamp();
        if (compact) await target.CompactAsync();
        double compacted = Stopwatch.GetElapsedTime(began).TotalSeconds;
        await Task.Delay(3000); // what is freed goes back to the system when idle
        double after = target.StatusMiB("RssAnon");
        status = await target.StatusAsync();
        JsonNode dictionary = status["dictionary"]!;
        long live = status["tables"]!.AsArray().Concat(status["memTables"]!.AsArray()).Sum(static part => part!["series"]!.GetValue<long>());
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {window + 1} | {write:F1} | {compacted:F1} | {before:F0} | {after:F0} | {seriesBefore} | {status["series"]!["series"]} | {live} | {status["series"]!["dictionaryBytes"]!.GetValue<long>() / 1048576.0:F1} | {dictionary["fileBytes"]!.GetValue<long>() / 1024.0:F0} | {dictionary["fileSeries"]} | {dictionary["epoch"]} | {dictionary["collectionSeconds"]!.GetValue<double>():F2} | {status["blocks"]!.AsArray().Count} |"));
        return after;
    }

    private static byte[] LabelsOf(int window, int series) => Labels.Encode(
        ("__name__", "container_cpu_usage_seconds_total"), ("cluster", "prod-1"), ("container", "app"), ("namespace", $"team-{series % 40}"),
        ("node", $"node-{series % 500}"), ("pod", $"app-{window}-{series:x8}"));
}
