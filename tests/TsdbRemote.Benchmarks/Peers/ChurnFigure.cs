namespace TsdbRemote.Benchmarks.Peers;

/// <summary>CPU a sample where every ten scrapes a tenth of the series makes way for others.</summary>
internal static class ChurnFigure
{
    private const int Every = 10;

    private static readonly FigureRow Row = new("20,000 series of which 10 % change every 10 scrapes, batches of 2,000: CPU a sample", "µs", "F3") { OfVictoriaMetrics = 0.35 };

    public static Figure Figure { get; } = new("churn", [Row], static async run =>
    {
        PeersArguments given = run.Given;
        int scrapes = (int)Math.Max(1, given.Samples / given.Series);
        var load = new ChurnLoad(given.Series, given.Batch, Every, LoadRun.ClosedStartOf(scrapes), LoadRun.IntervalMs);
        await LoadTable.MeasureAsync(run, Row, load, load.SeriesIn(scrapes), scrapes, (long)scrapes * given.Series);
    });
}
