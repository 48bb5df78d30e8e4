using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>What growth costs: CPU a sample with more series, time of the same read with more tables.</summary>
/// <remarks>
/// Series: the first scrape, which makes them, is sent and has come to rest before the measure begins. It is a window earlier, since its block would overlap
/// what follows otherwise, and both be merged. Prometheus leaves out the largest.
/// Tables: 2,000 series with 1,000 samples each, cut into as many flushes; a hundred series are read whole, warm. Each table has an hour of its own
/// and nothing is converted, so that no two are merged.
/// </remarks>
internal static class GrowthFigure
{
    private const int Batch = 2_000;
    private const int TableSeries = 2_000;
    private const int TableScrapes = 1_000;
    private const int ReadSeries = 100;
    private const int Reads = 100;
    private const long TableMs = 3_600_000;
    private const long WindowMs = 2 * TableMs;
    private const string Metric = "growth_load";

    private static readonly (int Series, int Scrapes)[] Sizes = [(10_000, 2_000), (100_000, 200), (1_000_000, 20), (4_000_000, 5)];
    private static readonly int[] TableCounts = [1, 10, 100, 1_000];

    private static readonly FigureRow[] SeriesRows = [.. Sizes.Select(static size => new FigureRow($"{size.Series:N0} series, batches of 2,000: CPU a sample", "µs", "F3"))];
    private static readonly FigureRow[] TableRows = [.. TableCounts.Select(static count => new FigureRow($"100 series × 1,000 samples from {count:N0} tables: time", "ms"))];
    private static readonly FigureRow SeriesGrowth = new("CPU a sample at 4,000,000 series of that at 10,000", "×") { AtMost = 2.5 };
    private static readonly FigureRow TableGrowth = new("a read over 1,000 tables of one over 10", "×") { AtMost = 4 };

    public static Figure Series { get; } = new("growth-series", [.. SeriesRows, SeriesGrowth], RunSeriesAsync);

    public static Figure Tables { get; } = new("growth-tables", [.. TableRows, TableGrowth], RunTablesAsync);

    /// <summary>Writes what was measured as plots.</summary>
    public static void WritePlots(PeersArguments given, FigureTable table)
    {
        (string, (double, double)[])[] LinesOf(FigureRow[] rows, double[] sizes) =>
        [
            .. given.Servers.Select(server => (server, rows.Zip(sizes, (row, size) => (size, table.MedianOf(row, server))).Where(static point => point.Item2 is not null)
                .Select(static point => (point.size, point.Item2!.Value)).ToArray())).Where(static line => line.Item2.Length > 1),
        ];
        LinePlot.Write(Path.Combine(given.Plots, "growth-series.svg"), "CPU a sample, µs", "series", LinesOf(SeriesRows, [.. Sizes.Select(static size => (double)size.Series)]));
        LinePlot.Write(Path.Combine(given.Plots, "growth-tables.svg"), "read of 100 series × 1,000 samples, ms", "tables", LinesOf(TableRows, [.. TableCounts.Select(static count => (double)count)]));
    }

    private static async Task RunSeriesAsync(FigureRun run)
    {
        var first = new Dictionary<string, double>();
        for (int i = 0; i < Sizes.Length; i++)
        {
            FigureRow row = SeriesRows[i];
            bool last = i == Sizes.Length - 1;
            int series = Sizes[i].Series / run.Size(1, 40);
            int scrapes = Sizes[i].Scrapes;
            var load = new ScrapeLoad(series, Batch, LoadRun.ClosedStartOf(scrapes + 1), LoadRun.IntervalMs) { LeadMs = WindowMs };
            await run.EachAsync(
                async target =>
                {
                    await LoadRun.MeasureAsync(target, load, 0, 1);
                    LoadResult result = await LoadRun.MeasureAsync(target, load, 1, scrapes + 1);
                    double cpu = result.CpuSeconds / ((double)series * scrapes) * 1e6;
                    run.Record(row, target.Name, cpu);
                    await LoadRun.CheckAsync(target, series, (long)series * (scrapes + 1));
                    if (first.TryAdd(target.Name, cpu) || !last) return;
                    run.Record(SeriesGrowth, target.Name, cpu / first[target.Name]);
                },
                prometheus: last ? null : []);
        }
    }

    private static async Task RunTablesAsync(FigureRun run)
    {
        var times = new Dictionary<int, double>();
        for (int i = 0; i < TableCounts.Length; i++)
        {
            int tables = TableCounts[i];
            if (tables > run.Size(1_000, 100)) continue;
            FigureRow row = TableRows[i];
            await run.EachAsync(
                async target =>
                {
                    if (target is not TsdbRemoteTarget ours) return;
                    await FillAsync(ours, tables);
                    run.Record(row, target.Name, times[tables] = await ReadAsync(ours));
                },
                ours: ["--storage:integration:sstable_to_block_conversion=false"],
                victoriaMetrics: false);
        }

        if (times.TryGetValue(TableCounts[^1], out double most)) run.Record(TableGrowth, ServerNames.Ours, most / times[10]);
    }

    private static async Task FillAsync(TsdbRemoteTarget target, int tables)
    {
        int perTable = TableScrapes / tables;
        long now = TimeWindow.StartOf(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), TableMs);
        for (int table = 0; table < tables; table++)
        {
            long start = now - (tables - table) * TableMs;
            var load = new ScrapeLoad(TableSeries, Batch, start, Math.Min(LoadRun.IntervalMs, TableMs / (perTable + 1)), LabelsOf);
            await LoadRun.SendAsync(target, load, 0, perTable);
            await target.FlushNowAsync();
        }

        JsonNode status = await target.StatusAsync();
        int there = status["tables"]!.AsArray().Count;
        if (there != tables) throw new InvalidOperationException($"{there} tables are there, not {tables}");
    }

    private static async Task<double> ReadAsync(TsdbRemoteTarget target)
    {
        var read = new RepeatedRead(
            target.Client, ReadBodies.Of(new TimeRange(0, 1L << 42), streamed: true, ReadBodies.Equal("__name__", Metric), ReadBodies.Equal("group", "7")));
        await read.CheckAsync(streamed: true, ReadSeries, (long)ReadSeries * TableScrapes);
        for (int i = 0; i < Reads; i++) await read.ReadAsync();
        double[] times = new double[Reads];
        for (int i = 0; i < Reads; i++) times[i] = await read.ReadAsync();
        return Senders.At([.. times.Order()], 0.5);
    }

    private static byte[] LabelsOf(int series) => Labels.Encode(
        ("__name__", Metric), ("cluster", "prod-eu-west-1"), ("group", $"{series % (TableSeries / ReadSeries)}"), ("instance", $"10.0.{series / 250}.{series % 250}:9100"), ("job", ScrapeLoad.Job));
}
