namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Memory that active series take, above that of the empty process, and the longest pause for garbage while they are written.</summary>
/// <remarks>
/// RssAnon, looked at ten times a second from the first request to the last answer: at the end, and at the highest. Pauses are those that the process
/// tells of; Go's are of another kind, and the last 256 only.
/// </remarks>
internal static class MemoryFigure
{
    private const int Batch = 5_000;

    private static readonly FigureRow[] OfHalf = [.. RowsOf("500,000 active series")];
    private static readonly FigureRow[] OfTwo = [.. RowsOf("2,000,000 active series")];

    public static Figure Half { get; } = new("memory-500k", OfHalf, static run => RunAsync(run, OfHalf, run.Size(500_000, 50_000), 12));

    public static Figure Two { get; } = new("memory-2m", OfTwo, static run => RunAsync(run, OfTwo, run.Size(2_000_000, 100_000), 6));

    private static IEnumerable<FigureRow> RowsOf(string what) =>
    [
        new FigureRow($"{what}: memory above the empty process, at the last answer", "KB a series", "F3") { AtMost = 0.5, OfVictoriaMetrics = 0.55 },
        new FigureRow($"{what}: the same at the highest", "KB a series", "F3") { AtMost = 0.5, OfVictoriaMetrics = 0.55 },
        new FigureRow($"{what}: of it MemTables and dictionary by their own account", "KB a series", "F3"),
        new FigureRow($"{what}: longest pause for garbage", "ms") { AtMost = 50 },
    ];

    private static Task RunAsync(FigureRun run, FigureRow[] rows, int series, int scrapes)
    {
        var load = new ScrapeLoad(series, Batch, LoadRun.StartOf(scrapes), LoadRun.IntervalMs);
        return run.EachAsync(
            async target =>
            {
                await Task.Delay(2_000);
                double empty = target.StatusMiB("RssAnon");
                using var stop = new CancellationTokenSource();
                Task<double> watching = target.PeakMiBAsync("RssAnon", stop.Token);
                await LoadRun.SendAsync(target, load, 0, scrapes);
                double end = target.StatusMiB("RssAnon");
                await stop.CancelAsync();
                run.Record(rows[0], target.Name, (end - empty) * 1024 / series);
                run.Record(rows[1], target.Name, (Math.Max(await watching, end) - empty) * 1024 / series);
                if (target is TsdbRemoteTarget)
                {
                    double said = await target.MetricAsync("tsdb_remote_memtable_bytes") + await target.MetricAsync("tsdb_remote_dictionary_bytes");
                    run.Record(rows[2], target.Name, said / 1024 / series);
                }

                run.Record(rows[3], target.Name, await target.LongestPauseAsync() * 1000);
                await LoadRun.CheckAsync(target, series, (long)series * scrapes);
            },
            prometheus: []);
    }
}
