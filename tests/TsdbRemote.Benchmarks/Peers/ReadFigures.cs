using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>CPU a sample of one read of 600,000 samples of 2,000 series, streamed and as SAMPLES, from each place that samples live in.</summary>
/// <remarks>
/// All samples are in one window that is closed, so that one directory holds them first in MemTables, then in a table, and after a start with conversion
/// in a block. Prometheus answers from its head. Each read is repeated over one connection until the server has used two seconds of processor time.
/// </remarks>
internal static class ReadFigures
{
    private const int SeriesCount = 2_000;
    private const int Scrapes = 300;
    private const long Samples = (long)SeriesCount * Scrapes;
    private const long WindowMs = 7_200_000;
    private const int WarmUp = 60;
    private const int MostReads = 2_000;

    private static readonly FigureRow[] Streamed = [.. RowsOf("streamed read of 600,000 samples", 20, 0.25)];
    private static readonly FigureRow[] Plain = [.. RowsOf("SAMPLES read of 600,000 samples", 100, 0.4)];

    public static Figure Figure { get; } = new("read", [.. Streamed, .. Plain], RunAsync);

    private static IEnumerable<FigureRow> RowsOf(string what, double atMost, double ofPrometheus) =>
        new[] { "MemTables", "tables", "blocks" }.Select(place => new FigureRow($"{what}, from {place} (Prometheus: head): CPU a sample", "ns", "F1") { AtMost = atMost, OfPrometheus = ofPrometheus });

    private static async Task RunAsync(FigureRun run)
    {
        long start = TimeWindow.StartOf(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), WindowMs) - 3 * WindowMs + 60_000;
        var load = new ScrapeLoad(SeriesCount, SeriesCount, start, LoadRun.IntervalMs);
        double seconds = run.Size(20, 5) / 10.0;
        await run.EachAsync(
            async target =>
            {
                await LoadRun.SendAsync(target, load, 0, Scrapes);
                await target.CalmAsync();
                if (target is TsdbRemoteTarget ours) await OursAsync(run, ours, seconds);
                else await PrometheusAsync(run, target, seconds);
            },
            ours: ["--storage:integration:sstable_to_block_conversion=false"],
            prometheus: [],
            victoriaMetrics: false);
    }

    private static async Task OursAsync(FigureRun run, TsdbRemoteTarget target, double seconds)
    {
        await PlaceAsync(run, target, 0, (0, 0), seconds);
        await target.FlushNowAsync();
        await PlaceAsync(run, target, 1, (1, 0), seconds);
        await target.StopAsync();
        target.Options = [];
        await target.StartAsync();
        await target.CompactAsync();
        await PlaceAsync(run, target, 2, (0, 1), seconds);
    }

    private static async Task PlaceAsync(FigureRun run, TsdbRemoteTarget target, int place, (int Tables, int Blocks) expected, double seconds)
    {
        JsonNode status = await target.StatusAsync();
        (int Tables, int Blocks) there = (status["tables"]!.AsArray().Count, status["blocks"]!.AsArray().Count);
        if (there != expected) throw new InvalidOperationException($"{there.Tables} tables and {there.Blocks} blocks are there");
        run.Record(Streamed[place], target.Name, await MeasureAsync(target, streamed: true, seconds));
        run.Record(Plain[place], target.Name, await MeasureAsync(target, streamed: false, seconds));
    }

    private static async Task PrometheusAsync(FigureRun run, Target target, double seconds)
    {
        double streamed = await MeasureAsync(target, streamed: true, seconds);
        double plain = await MeasureAsync(target, streamed: false, seconds);
        foreach (FigureRow row in Streamed) run.Record(row, target.Name, streamed);
        foreach (FigureRow row in Plain) run.Record(row, target.Name, plain);
    }

    private static async Task<double> MeasureAsync(Target target, bool streamed, double seconds)
    {
        using var client = new HttpClient { BaseAddress = target.Client.BaseAddress };
        var read = new RepeatedRead(client, ReadBodies.Of(new TimeRange(0, 1L << 42), streamed, ReadBodies.Equal("job", ScrapeLoad.Job)));
        await read.CheckAsync(streamed, SeriesCount, Samples);
        for (int i = 0; i < WarmUp; i++) await read.ReadAsync();
        double before = target.CpuSeconds;
        int reads = 0;
        double used = 0;
        for (; reads < MostReads && used < seconds; reads++)
        {
            await read.ReadAsync();
            used = target.CpuSeconds - before;
        }

        return used / reads / Samples * 1e9;
    }
}
