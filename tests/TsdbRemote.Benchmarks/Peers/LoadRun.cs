using System.Collections.Concurrent;
using System.Diagnostics;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>What a load cost a server, and how it was acknowledged.</summary>
/// <param name="CpuSeconds">Of the server, user and system, from the first request until it is idle again.</param>
/// <param name="Seconds">From the first request to the last answer.</param>
/// <param name="Acks">Times to the answers in ms, sorted.</param>
internal sealed record LoadResult(double CpuSeconds, double Seconds, double[] Acks);

/// <summary>Sends a load as fast as it is answered, by four connections.</summary>
internal static class LoadRun
{
    /// <summary>Connections that send.</summary>
    public const int Connections = 4;

    /// <summary>Time between two scrapes.</summary>
    public const long IntervalMs = 15_000;

    // Prometheus refuses a sample an hour behind the newest of all series, so no connection may run far ahead of the others.
    private const int ScrapesInStep = 60;

    // Both a range that blocks are compacted into (18 h, into which any load here goes) and a day in UTC, by which VictoriaMetrics indexes, end at each multiple of it;
    // and what the server waits for behind a window's end before it is closed (`block_delay`).
    private const long RangeMs = 72 * 3_600_000;
    private const long DelayMs = 30 * 60_000;

    /// <summary>Where so many scrapes begin if the last is now.</summary>
    public static long StartOf(int scrapes, long intervalMs = IntervalMs) => StartBefore(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), scrapes, intervalMs);

    /// <summary>Where so many scrapes begin if the last is at the end of a range that is closed: all of it is converted and compacted, whatever the hour.</summary>
    /// <remarks>
    /// How many windows of a load that ends now are closed depends on the hour, and with it what the load costs: between none and all of conversion and compaction. So
    /// does what is joined if only a range of six hours has ended, since the next one of 18 h has in one of three of them. Prometheus, whose bounds are relative
    /// to the newest sample it has, takes such times on an empty directory.
    /// </remarks>
    public static long ClosedStartOf(int scrapes) =>
        StartBefore((DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - DelayMs) / RangeMs * RangeMs, scrapes, IntervalMs);

    private static long StartBefore(long endMs, int scrapes, long intervalMs) => (endMs - scrapes * intervalMs) / intervalMs * intervalMs;

    /// <summary>Sends scrapes of a load that lies in closed windows, and waits until all is done to them that ever will be.</summary>
    public static async Task<LoadResult> MeasureAsync(Target target, ILoad load, int from, int to)
    {
        double cpu = target.CpuSeconds;
        long started = Stopwatch.GetTimestamp();
        double[] acks = await SendAsync(target, load, from, to);
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        await target.SettleClosedAsync();
        return new LoadResult(target.CpuSeconds - cpu, seconds, acks);
    }

    /// <summary>Sends scrapes.</summary>
    /// <returns>Times to the answers in ms, sorted.</returns>
    public static async Task<double[]> SendAsync(Target target, ILoad load, int from, int to)
    {
        var acks = new ConcurrentBag<List<double>>();
        for (int first = from; first < to; first += ScrapesInStep)
        {
            int start = first;
            int end = Math.Min(first + ScrapesInStep, to);
            await Task.WhenAll(Enumerable.Range(0, Connections).Select(connection => Task.Run(() => SendAsync(target, load, start, end, connection, acks))));
        }

        return [.. acks.SelectMany(static list => list).Order()];
    }

    /// <summary>Counts again what was sent.</summary>
    /// <exception cref="InvalidOperationException">It is not that.</exception>
    public static async Task CheckAsync(Target target, long series, long samples)
    {
        (long seriesThere, long samplesThere) = await target.CountAsync(samples > 40_000_000 || series > 200_000 ? 20 : 1);
        if (seriesThere != series || samplesThere != samples)
            throw new InvalidOperationException($"{target.Name}: {seriesThere} series with {samplesThere} samples were read, {series} with {samples} were sent");
    }

    private static async Task SendAsync(Target target, ILoad load, int from, int end, int connection, ConcurrentBag<List<double>> acks)
    {
        var mine = new List<double>();
        for (int scrape = from; scrape < end; scrape++)
        {
            for (int batch = connection; batch < load.BatchesPerScrape; batch += Connections)
            {
                byte[] body = load.Body(scrape, batch);
                long sent = Stopwatch.GetTimestamp();
                await target.WriteAsync(body, load.IsVersion2);
                mine.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
            }
        }

        acks.Add(mine);
    }
}
