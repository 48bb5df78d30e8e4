namespace TsdbRemote.Benchmarks.Peers;

/// <summary>CPU a sample where all series are new: half a million with twelve samples each, scrape by scrape.</summary>
internal static class NewSeriesFigure
{
    private const int Batch = 5_000;
    private const int Scrapes = 12;

    private static readonly FigureRow Row = new("all series new, 500,000 × 12 samples, batches of 5,000: CPU a sample", "µs") { AtMost = 0.7, OfVictoriaMetrics = 0.2 };

    public static Figure Figure { get; } = new("new-series", [Row], static async run =>
    {
        int series = run.Size(500_000, 50_000);
        var load = new ScrapeLoad(series, Batch, LoadRun.ClosedStartOf(Scrapes), LoadRun.IntervalMs);
        await LoadTable.MeasureAsync(run, Row, load, series, Scrapes, (long)series * Scrapes);
    });
}
