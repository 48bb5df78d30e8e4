using System.Diagnostics;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Samples a second through the engine in this process: snappy bodies of 2,000 series, look-up included, log in <c>interval</c>, everything else default.</summary>
/// <remarks>
/// Series are known before, bodies are made before; each is copied into a pooled buffer, as from a socket. Flushes go on beside it; the second row waits for
/// the last of them. The first round, which has code compiled, does not count.
/// </remarks>
internal static class InProcessFigure
{
    private const int SeriesCount = 100_000;

    private static readonly FigureRow Acknowledged = new("through the engine in process, 100,000 series, log in interval: acknowledged", "M samples/s") { AtLeast = 8 };
    private static readonly FigureRow Flushed = new("the same, until all is in tables", "M samples/s");

    public static Figure Figure { get; } = new("in-process", [Acknowledged, Flushed], static async run =>
    {
        if (!run.Has(ServerNames.Ours)) return;
        var load = new EngineLoad(SeriesCount, run.Size(300, 60));
        await RoundAsync(load);
        (double acknowledged, double flushed) = await RoundAsync(load);
        run.Record(Acknowledged, ServerNames.Ours, load.Samples / acknowledged / 1e6);
        run.Record(Flushed, ServerNames.Ours, load.Samples / flushed / 1e6);
    });

    private static async Task<(double Acknowledged, double Flushed)> RoundAsync(EngineLoad load)
    {
        await load.OpenAsync(new LsmOptions(), new WalOptions { Durability = WalDurability.Interval });
        long began = Stopwatch.GetTimestamp();
        await load.SendAsync();
        double acknowledged = Stopwatch.GetElapsedTime(began).TotalSeconds;
        await load.FlushAsync();
        double flushed = Stopwatch.GetElapsedTime(began).TotalSeconds;
        await load.CloseAsync();
        return (acknowledged, flushed);
    }
}
