using System.Globalization;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>CPU a sample of the same series again and again, by remote write 1.0 and 2.0.</summary>
internal static class WriteFigure
{
    private static readonly FigureRow Row1 = new("remote write 1.0, 20,000 series, batches of 2,000: CPU a sample", "µs", "F3")
    {
        AtMost = 0.25,
        OfVictoriaMetrics = 0.25,
        OfPrometheus = 0.1,
    };

    private static readonly FigureRow Row2 = new("the same by remote write 2.0", "µs", "F3") { AtMost = 0.2, OfPrometheus = 0.09 };

    public static Figure Figure { get; } = new("write", [Row1], static run => RunAsync(
        run, Row1, static (given, scrapes) => new ScrapeLoad(given.Series, given.Batch, LoadRun.ClosedStartOf(scrapes), LoadRun.IntervalMs)));

    public static Figure Version2 { get; } = new("write2", [Row2], static run => RunAsync(
        run, Row2, static (given, scrapes) => new ScrapeLoad2(given.Series, given.Batch, LoadRun.ClosedStartOf(scrapes), LoadRun.IntervalMs)));

    private static async Task RunAsync(FigureRun run, FigureRow row, Func<PeersArguments, int, ILoad> loadOf)
    {
        PeersArguments given = run.Given;
        int scrapes = (int)Math.Max(1, given.Samples / given.Series);
        ILoad load = loadOf(given, scrapes);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{given.Series} series, batches of {given.Batch}, {(long)scrapes * given.Series / 1e6:F1} M samples, {LoadRun.Connections} connections, {Environment.ProcessorCount} processors"));
        await LoadTable.MeasureAsync(run, row, load, given.Series, scrapes, (long)scrapes * given.Series);
    }
}
