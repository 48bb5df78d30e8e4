using System.Diagnostics;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>After kill -9 right behind the last answer: when the server is ready, when it takes writes, and what it has lost.</summary>
/// <remarks>Ours may flush nothing before, so that all of it has to come from the log; the peers have their defaults.</remarks>
internal static class RestartFigure
{
    private static readonly string[] NoFlush =
    [
        "--storage:lsm:memtable_size=32GB", "--storage:wal:max_size=64GB", "--storage:wal:max_replay_time=24h",
    ];

    private static readonly FigureRow[] OfSeries = [.. RowsOf("6 M samples of 500,000 series", 2)];
    private static readonly FigureRow[] OfSamples = [.. RowsOf("60 M samples of 20,000 series", 8)];

    public static Figure Series { get; } = new("restart-series", OfSeries, static run => RunAsync(run, OfSeries, run.Size(500_000, 50_000), 5_000, 12));

    public static Figure Samples { get; } = new("restart-samples", OfSamples, static run => RunAsync(run, OfSamples, 20_000, 2_000, run.Size(3_000, 300)));

    private static IEnumerable<FigureRow> RowsOf(string what, double atMost) =>
    [
        new FigureRow($"kill -9 with {what} in the log: ready after", "s") { AtMost = atMost },
        new FigureRow($"the same, {what}: writes accepted after", "s") { AtMost = 1 },
        new FigureRow($"the same, {what}: acknowledged samples that are lost", "samples", "F0") { AtMost = 0 },
    ];

    private static Task RunAsync(FigureRun run, FigureRow[] rows, int series, int batch, int scrapes)
    {
        // A second apart, so that Prometheus keeps all of them in its head and its log.
        const long intervalMs = 1_000;
        var load = new ScrapeLoad(series, batch, LoadRun.StartOf(scrapes, intervalMs), intervalMs);
        return run.EachAsync(
            async target =>
            {
                await LoadRun.SendAsync(target, load, 0, scrapes);
                if (target is TsdbRemoteTarget ours && (await ours.StatusAsync())["tables"]!.AsArray().Count > 0) throw new InvalidOperationException("something was flushed");
                await target.KillAsync();
                long began = Stopwatch.GetTimestamp();
                target.Start();
                Task<double> writing = WhenWrittenAsync(target, began);
                await target.WhenReadyAsync();
                run.Record(rows[0], target.Name, Stopwatch.GetElapsedTime(began).TotalSeconds);
                run.Record(rows[1], target.Name, await writing);
                (_, long samples) = await target.CountAsync(20);
                run.Record(rows[2], target.Name, (long)series * scrapes - samples);
                if (target is TsdbRemoteTarget) await LoadRun.CheckAsync(target, series, (long)series * scrapes);
            },
            ours: NoFlush,
            prometheus: []);
    }

    /// <summary>Tries to write a sample of another series until it is taken.</summary>
    /// <returns>When it was, seconds.</returns>
    private static async Task<double> WhenWrittenAsync(Target target, long began)
    {
        byte[] body = Senders.Body([(Labels.Encode(("__name__", "after_the_kill")), new[] { Sample.Of(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), 1) })]);
        while (true)
        {
            try
            {
                using HttpResponseMessage answer = await target.PostAsync(body);
                if (answer.IsSuccessStatusCode) return Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            await Task.Delay(10);
        }
    }
}
