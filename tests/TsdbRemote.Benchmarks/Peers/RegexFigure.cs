using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Time of a read by a regular expression that a thousand of a million series match: one that was never asked before, and one that was.</summary>
/// <remarks>
/// No two series have the same instance, so an expression has a million values to be tried on. Cold are expressions of the same shape, another one each
/// time, after others that have the code compiled; warm is one again and again. Streamed, one sample a series.
/// </remarks>
internal static class RegexFigure
{
    private const int Batch = 5_000;
    private const int Matching = 1_000;
    private const int WarmUp = 20;
    private const int ColdReads = 40;
    private const int WarmReads = 200;

    private static readonly FigureRow Cold = new("instance=~\"10\\\\.N\\\\..*\", 1,000 of 1,000,000 series, cold: time", "ms") { OfPrometheus = 0.3 };
    private static readonly FigureRow ColdCpu = new("the same: CPU", "ms");
    private static readonly FigureRow Warm = new("the same, warm: time", "ms") { OfPrometheus = 0.3 };
    private static readonly FigureRow WarmCpu = new("the same, warm: CPU", "ms");

    public static Figure Figure { get; } = new("regex", [Cold, ColdCpu, Warm, WarmCpu], static async run =>
    {
        int series = run.Size(1_000_000, 100_000);
        var load = new ScrapeLoad(series, Batch, LoadRun.StartOf(1), LoadRun.IntervalMs, LabelsOf);
        await run.EachAsync(target => MeasureAsync(run, target, load, series), prometheus: [], victoriaMetrics: false);
    });

    private static async Task MeasureAsync(FigureRun run, Target target, ScrapeLoad load, int series)
    {
        await LoadRun.SendAsync(target, load, 0, 1);
        await target.CalmAsync();
        int last = series / Matching - 1;
        for (int i = 0; i < WarmUp; i++) await NewReadAsync(target, last - i);
        double before = target.CpuSeconds;
        RepeatedRead[] reads = [.. Enumerable.Range(0, ColdReads).Select(group => ReadOf(target, group))];
        double[] cold = new double[ColdReads];
        for (int i = 0; i < ColdReads; i++) cold[i] = await reads[i].ReadAsync();
        run.Record(Cold, target.Name, Senders.At([.. cold.Order()], 0.5));
        run.Record(ColdCpu, target.Name, (target.CpuSeconds - before) / ColdReads * 1000);

        // Counted only now, since counting them before would have made them warm; that the bytes are those of the cold answer is looked at, too.
        foreach (RepeatedRead one in reads) await one.CheckAsync(streamed: true, Matching, Matching);
        RepeatedRead read = reads[0];
        before = target.CpuSeconds;
        double[] warm = new double[WarmReads];
        for (int i = 0; i < WarmReads; i++) warm[i] = await read.ReadAsync();
        run.Record(Warm, target.Name, Senders.At([.. warm.Order()], 0.5));
        run.Record(WarmCpu, target.Name, (target.CpuSeconds - before) / WarmReads * 1000);
        await LoadRun.CheckAsync(target, series, series);
    }

    private static async Task<RepeatedRead> NewReadAsync(Target target, int group)
    {
        RepeatedRead read = ReadOf(target, group);
        await read.CheckAsync(streamed: true, Matching, Matching);
        return read;
    }

    private static RepeatedRead ReadOf(Target target, int group) =>
        new(target.Client, ReadBodies.Of(new TimeRange(0, 1L << 42), streamed: true, ReadBodies.Matches("instance", $"10\\.{group}\\..*")));

    private static byte[] LabelsOf(int series) => Labels.Encode(
        ("__name__", "regex_load"), ("cluster", "prod-eu-west-1"),
        ("instance", $"10.{series / Matching}.{series % Matching / 4}.{series % 4}:9100"),
        ("job", ScrapeLoad.Job), ("namespace", ScrapeLoad.NamespaceOf(series)), ("pod", $"app-{series:x6}"));
}
