using System.Globalization;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Overload;

/// <summary>Far more load than the server keeps up with, on a disk that others use, beside readers that do not read: what it takes of memory, and what it answers.</summary>
/// <remarks>
/// Options: <c>--seconds</c> of each phase (60), <c>--place</c> a directory on the disk to be used, <c>--plots</c> where the plot is written (<c>docs/performance</c>).
///   pace      half of what four connections are answered at their fastest, found before
///   overload  64 connections, each of which sends the next request the moment the last is answered, while the disk is kept busy with writes and syncs of others
///   churn     a tenth of 20,000 series replaced with each scrape, eight scrapes a second: a million new ones a minute
///   readers   half the pace again, and 50 readers of everything who take 32 KiB a second each
///   idle      nothing
/// RssAnon is looked at four times a second. The budget is what the options allow, and the process without any load; it is printed part by part. It ends with an
/// error if the budget is exceeded by more than a tenth, if an answer is anything but 2xx or a 503 that says when to come again, or if what is read at the end is
/// not what was acknowledged. To reach beside that: p99 of <c>/-/healthy</c> below 100 ms, and idle no more than 1.2 × of what the pace took (series of the churn
/// stay known until some flushes later, so that holds only behind them).
/// </remarks>
internal static class OverloadVerb
{
    private const int MemTableMiB = 48;
    private const int WriteBufferMiB = 32;
    private const int ReadMiB = 64;
    private const int ImmutableMemTables = 3;
    private const double SlackPart = 1.1;

    private const int SeriesCount = 100_000;
    private const int Batch = 1_000;
    private const int Scrapes = 10_000;
    private const int IntervalMs = 5_000;
    private const int Places = 20_000;
    private const int ChurnBatch = 2_000;
    private const double ChurnScrapesPerSecond = 8;
    private const int Many = 64;
    private const int Readers = 50;
    private const int DiskWriters = 2;
    private const string ChurnJob = "churn";

    // Labels, postings and slots of a series, and its state in the MemTables that it is in.
    private const double KiBPerSeries = 0.6;
    private const int RuntimeMiB = 64;
    private const long Unlimited = 1L << 40;

    private static readonly string[] Options =
    [
        $"--storage:lsm:memtable_size={MemTableMiB}MB", $"--storage:lsm:max_immutable_memtables={ImmutableMemTables}", $"--storage:lsm:write_buffer_size={WriteBufferMiB}MB",
        $"--storage:read:memory={ReadMiB}MB",
    ];

    public static async Task<int> RunAsync(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        var phase = TimeSpan.FromSeconds(given.Number("--seconds", 60));
        string plots = given.Text("--plots", Path.Combine("docs", "performance"));
        using var place = new FigurePlace(given.Text("--place", Path.GetTempPath()), given.ServerAssembly());
        given.RefuseOthers();

        using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = Options };
        await target.StartAsync();
        await Task.Delay(2_000);
        double empty = target.StatusMiB("RssAnon");
        var load = new ScrapeLoad(SeriesCount, Batch, LoadRun.StartOf(Scrapes, IntervalMs), IntervalMs);
        var ledger = new Ledger(target);
        int scrape = await ledger.SendAsync(load, 0, phase / 4, LoadRun.Connections);
        long before = ledger.Taken;
        scrape = await ledger.SendAsync(load, scrape, phase / 2, LoadRun.Connections);
        double pace = (ledger.Taken - before) / (phase / 2).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{pace * Batch / 1e6:F2} M samples/s at the fastest by {LoadRun.Connections} connections, half of it is the pace"));
        Console.WriteLine("| phase | M samples/s | 503 | RssAnon at the end MiB | at the highest MiB | healthy p99 ms |");
        Console.WriteLine("|---|---|---|---|---|---|");

        var seen = new List<(string Name, double Begins, IReadOnlyList<(double Seconds, double MiB)> Memory)>();
        async Task<Watched> PhaseAsync(string name, int batch, Func<Task> work)
        {
            (long taken, long refused) = (ledger.Taken, ledger.Refused);
            var watch = new MemoryWatch(target);
            await using (watch) await work();
            double begins = seen.Sum(static one => one.Memory[^1].Seconds);
            seen.Add((name, begins, watch.Memory));
            var watched = new Watched(watch.Memory[^1].MiB, watch.Memory.Max(static look => look.MiB), Senders.At(watch.Answers, 0.99));
            double rate = (ledger.Taken - taken) * batch / watch.Memory[^1].Seconds / 1e6;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {rate:F2} | {ledger.Refused - refused} | {watched.EndMiB:F0} | {watched.HighestMiB:F0} | {watched.HealthyMs:F1} |"));
            return watched;
        }

        Watched paced = await PhaseAsync("pace", Batch, async () => scrape = await ledger.SendAsync(load, scrape, phase, LoadRun.Connections, pace / 2));
        await PhaseAsync("overload", Batch, async () => scrape = await Neighbours.BesideDiskUseAsync(place.Root, DiskWriters, () => ledger.SendAsync(load, scrape, phase, Many)));
        var churn = new ChurnLoad(Places, ChurnBatch, every: 1, LoadRun.StartOf(Scrapes, IntervalMs), IntervalMs, ChurnLabelsOf);
        int churned = 0;
        await PhaseAsync("churn", ChurnBatch, async () =>
            churned = await ledger.SendAsync(churn, 0, phase, LoadRun.Connections, ChurnScrapesPerSecond * churn.BatchesPerScrape));
        (long Begun, long Refused) reads = default;
        await PhaseAsync("readers", Batch, async () =>
            (scrape, reads) = await Neighbours.BesideReadersAsync(target, Readers, () => ledger.SendAsync(load, scrape, phase, LoadRun.Connections, pace / 2)));
        Watched idle = await PhaseAsync("idle", Batch, () => Task.Delay(phase));
        Console.WriteLine();
        Console.WriteLine($"slow readers: {reads.Begun} answers begun, {reads.Refused} refused with 503");

        long churnSeries = churn.SeriesIn(churned);
        double budget = BudgetMiB(empty, SeriesCount + churnSeries);
        double highest = seen.SelectMany(static one => one.Memory).Max(static look => look.MiB);
        (double, double)[] points = [.. seen.SelectMany(static one => one.Memory.Select(look => (one.Begins + look.Seconds, look.MiB)))];
        LinePlot.Write(
            Path.Combine(plots, "overload.svg"), "RssAnon, MiB", "seconds",
            [("server", points), ("budget", [(0, budget), (points[^1].Item1, budget)])], [.. seen.Select(static one => (one.Name, one.Begins))]);
        await target.SettleAsync();
        double rest = target.StatusMiB("RssAnon");
        await LoadRun.CheckAsync(target, SeriesCount, (long)SeriesCount * scrape);
        StreamedAnswer answer = await StreamedAnswer.ReadAsync(target.Client, TimeRange.All, Unlimited, ("job", ChurnJob));
        if (answer.Series != churnSeries || answer.Samples != (long)Places * churned)
            throw new InvalidOperationException($"{answer.Series} series with {answer.Samples} samples of the churn were read, {churnSeries} with {(long)Places * churned} were acknowledged");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(long)SeriesCount * scrape + answer.Samples} samples acknowledged, and each of them read"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"highest {highest:F0} of {budget:F0} MiB; idle {idle.EndMiB / paced.HighestMiB:F2} × of the pace; {rest:F0} MiB once all is flushed, merged and converted"));
        return highest <= budget * SlackPart ? 0 : 1;
    }

    private static double BudgetMiB(double empty, long series)
    {
        double memTables = (1 + ImmutableMemTables) * MemTableMiB;
        double dictionary = series * KiBPerSeries / 1024;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"budget, MiB: empty process {empty:F0}, MemTables {memTables:F0}, requests in flight {WriteBufferMiB}, reads {ReadMiB}, {series:N0} series {dictionary:F0}, runtime {RuntimeMiB}"));
        return empty + memTables + WriteBufferMiB + ReadMiB + dictionary + RuntimeMiB;
    }

    private static byte[] ChurnLabelsOf(int series) => Labels.Encode(
        ("__name__", $"container_cpu_usage_seconds_total_{series % 50:D2}"),
        ("cluster", "prod-eu-west-1"),
        ("instance", $"10.1.{series / 200 % 256}.{series / 51_200}:9100"),
        ("job", ChurnJob),
        ("pod", $"batch-{series:x8}"));

    /// <summary>What was seen in a phase.</summary>
    private sealed record Watched(double EndMiB, double HighestMiB, double HealthyMs);
}
