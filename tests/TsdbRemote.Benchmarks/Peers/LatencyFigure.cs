using TsdbRemote.Benchmarks.BlockFigures;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Times to the answers where 100,000 samples a second are offered, whether earlier ones are answered or not.</summary>
/// <remarks>Requests of 2,000 samples, one each 20 ms. The first fifth has code compiled on both sides and does not count.</remarks>
internal static class LatencyFigure
{
    private const int SeriesCount = 20_000;
    private const int Batch = 2_000;
    private const double RequestsPerSecond = 50;
    private const int WarmUpPart = 5;

    // Fewer than a scrape has requests, so that none can overtake the same series' last one.
    private const int Connections = 8;

    private static readonly FigureRow Half = new("100,000 samples/s offered: acknowledged after, p50", "ms") { AtMost = 1 };
    private static readonly FigureRow Most = new("the same, p99", "ms") { AtMost = 2 };

    public static Figure Figure { get; } = new("latency", [Half, Most], static async run =>
    {
        int requests = (int)(RequestsPerSecond * run.Size(60, 12));
        int warmUp = requests / WarmUpPart;
        int scrapes = (requests + warmUp) / (SeriesCount / Batch);
        var load = new ScrapeLoad(SeriesCount, Batch, LoadRun.StartOf(scrapes), LoadRun.IntervalMs);
        byte[] BodyOf(int request) => load.Body(request / load.BatchesPerScrape, request % load.BatchesPerScrape);
        await run.EachAsync(
            async target =>
            {
                await Senders.SendAsync(target, warmUp, BodyOf, RequestsPerSecond, Connections);
                double[] acks = await Senders.SendAsync(target, requests, request => BodyOf(warmUp + request), RequestsPerSecond, Connections);
                run.Record(Half, target.Name, Senders.At(acks, 0.5));
                run.Record(Most, target.Name, Senders.At(acks, 0.99));
                await LoadRun.CheckAsync(target, SeriesCount, (long)scrapes * SeriesCount);
            },
            prometheus: []);
    });
}
