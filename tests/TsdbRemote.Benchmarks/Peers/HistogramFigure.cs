namespace TsdbRemote.Benchmarks.Peers;

/// <summary>CPU a native histogram of 20 buckets, by remote write 2.0. VictoriaMetrics takes none.</summary>
internal static class HistogramFigure
{
    private const int SeriesCount = 5_000;
    private const int Batch = 1_000;

    private static readonly FigureRow Row = new("native histograms of 20 buckets, 5,000 series, 2.0: CPU a histogram", "µs") { OfPrometheus = 0.3 };

    public static Figure Figure { get; } = new("histograms", [Row], static async run =>
    {
        int scrapes = run.Size(1_200, 80);
        var load = new HistogramLoad(SeriesCount, Batch, LoadRun.ClosedStartOf(scrapes), LoadRun.IntervalMs);
        await LoadTable.MeasureAsync(run, Row, load, SeriesCount, scrapes, (long)SeriesCount * scrapes, "--enable-feature=native-histograms");
    });
}
