using System.Diagnostics;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Memory that active series take, above that of the empty process, and the longest pause for garbage while they are written.</summary>
/// <remarks>
/// RssAnon, looked at ten times a second from the first request to the last answer: at the end, and at the highest. The load is long enough that a MemTable of
/// 500,000 series is full before its end, at some 48 samples a series, so that the highest is with one that is flushed beside the one that is filled. A peer is
/// given three minutes: the scrapes that it took in them stand in the table. Pauses are those that the process tells of; Go's are of another kind,
/// and the last 256 only.
/// </remarks>
internal static class MemoryFigure
{
    private const int Batch = 5_000;

    // Between two looks at whether a peer's time is over.
    private const int ScrapesAtOnce = 5;
    private static readonly TimeSpan PeerPatience = TimeSpan.FromMinutes(3);

    // In a short run a MemTable is as small for its series as a whole one is for its own.
    private static readonly string[] ShortOptions = ["--storage:lsm:memtable_size=16MB"];

    private static readonly Rows OfHalf = new("500,000 active series");
    private static readonly Rows OfTwo = new("2,000,000 active series");

    public static Figure Half { get; } = new("memory-500k", OfHalf.All, static run => RunAsync(run, OfHalf, run.Size(500_000, 50_000), 70, mustFlush: true));

    public static Figure Two { get; } = new("memory-2m", OfTwo.All, static run => RunAsync(run, OfTwo, run.Size(2_000_000, 100_000), 20, mustFlush: false));

    private static Task RunAsync(FigureRun run, Rows rows, int series, int scrapes, bool mustFlush)
    {
        // It ends now, and is shorter than the delay behind a window's end: nothing is converted beside it, at any hour.
        var load = new ScrapeLoad(series, Batch, LoadRun.StartOf(scrapes), LoadRun.IntervalMs);
        return run.EachAsync(
            async target =>
            {
                await Task.Delay(2_000);
                double empty = target.StatusMiB("RssAnon");
                using var stop = new CancellationTokenSource();
                Task<double> watching = target.PeakMiBAsync("RssAnon", stop.Token);
                int sent = await SendAsync(target, load, scrapes);
                double end = target.StatusMiB("RssAnon");
                await stop.CancelAsync();
                run.Record(rows.AtEnd, target.Name, (end - empty) * 1024 / series);
                run.Record(rows.Highest, target.Name, (Math.Max(await watching, end) - empty) * 1024 / series);
                run.Record(rows.Scrapes, target.Name, sent);
                if (target is TsdbRemoteTarget)
                {
                    double said = await target.MetricAsync("tsdb_remote_memtable_bytes") + await target.MetricAsync("tsdb_remote_dictionary_bytes");
                    run.Record(rows.Said, target.Name, said / 1024 / series);
                    double flushes = await target.MetricAsync("tsdb_remote_flushes_total");
                    run.Record(rows.Flushes, target.Name, flushes);
                    if (mustFlush && flushes == 0) throw new InvalidOperationException("nothing was flushed while the load went on: the highest is not that of a server at work");
                }

                run.Record(rows.Pause, target.Name, await target.LongestPauseAsync() * 1000);
                await LoadRun.CheckAsync(target, series, (long)series * sent);
            },
            ours: run.Given.IsShort ? ShortOptions : null,
            prometheus: []);
    }

    /// <summary>Sends scrapes, to a peer only as long as its time lasts.</summary>
    /// <returns>How many.</returns>
    private static async Task<int> SendAsync(Target target, ScrapeLoad load, int scrapes)
    {
        long began = Stopwatch.GetTimestamp();
        int sent = 0;
        while (sent < scrapes && (target is TsdbRemoteTarget || Stopwatch.GetElapsedTime(began) < PeerPatience))
        {
            int next = Math.Min(sent + ScrapesAtOnce, scrapes);
            await LoadRun.SendAsync(target, load, sent, next);
            sent = next;
        }

        return sent;
    }

    private sealed class Rows(string what)
    {
        public FigureRow AtEnd { get; } = new($"{what}: memory above the empty process, at the last answer", "KB a series", "F3") { AtMost = 0.5, OfVictoriaMetrics = 0.55 };

        public FigureRow Highest { get; } = new($"{what}: the same at the highest", "KB a series", "F3") { AtMost = 0.5, OfVictoriaMetrics = 0.55 };

        public FigureRow Said { get; } = new($"{what}: at the last answer, MemTables and dictionary by their own account", "KB a series", "F3");

        public FigureRow Scrapes { get; } = new($"{what}: samples of each that were taken until then", "samples", "F0");

        public FigureRow Flushes { get; } = new($"{what}: MemTables that were flushed until then", "flushes", "F0");

        public FigureRow Pause { get; } = new($"{what}: longest pause for garbage", "ms") { AtMost = 50 };

        public FigureRow[] All => [AtEnd, Highest, Said, Scrapes, Flushes, Pause];
    }
}
