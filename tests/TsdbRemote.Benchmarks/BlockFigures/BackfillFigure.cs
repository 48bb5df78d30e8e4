using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>A backfill by remote write, oldest first and then shuffled: whether it is answered promptly, and when it comes to rest.</summary>
/// <remarks>
/// Four connections send requests of ten times of all series, one sample a five minutes. Rest is when no table is left, without anybody asking for it;
/// at the earliest <c>--late-delay</c> after the last flush, for all but the first data of a window is late; blocks are counted when they are compacted
/// then. Disk is that of the whole data directory.
/// </remarks>
internal static class BackfillFigure
{
    private const long StepMs = 300_000;
    private const long WindowMs = 2 * 3_600_000;
    private const int TimesPerRequest = 10;

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int series = given.Number("--series", 200);
        int days = given.Number("--days", 365);
        string lateDelay = given.Text("--late-delay", "10m");
        int patienceMinutes = given.Number("--patience", 60);
        given.RefuseOthers();
        long times = days * 86_400_000L / StepMs / TimesPerRequest * TimesPerRequest;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{series} series, {days} days at 5 min, {series * times / 1e6:F2} M samples, late_delay {lateDelay}"));
        Console.WriteLine("| order | sent in s | samples/s | ack p50 ms | ack p99 ms | ack max ms | s after the last ack: flushed and converted on demand, at rest by itself | blocks | tables | conversions (late) | block compactions (blocks merged), MiB read, written | errors | CPU s | disk MiB | RSS peak MiB |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        foreach (bool isShuffled in new[] { false, true })
        {
            using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = [$"--storage:integration:late_delay={lateDelay}"] };
            await target.StartAsync();
            Console.WriteLine(await MeasureAsync(target, series, times, isShuffled, TimeSpan.FromMinutes(patienceMinutes)));
        }
    }

    private static async Task<string> MeasureAsync(TsdbRemoteTarget target, int seriesCount, long times, bool isShuffled, TimeSpan patience)
    {
        long end = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 75 * 60_000) / WindowMs * WindowMs;
        long start = end - times * StepMs;
        byte[][] labels = [.. Enumerable.Range(0, seriesCount).Select(ScrapeLoad.LabelsOf)];
        int[] requests = [.. Enumerable.Range(0, (int)(times / TimesPerRequest))];
        if (isShuffled) new Random(1).Shuffle(requests);
        long began = Stopwatch.GetTimestamp();
        double[] acks = await Senders.SendAsync(target, requests.Length, request => BodyOf(labels, start, requests[request] * TimesPerRequest));
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;

        long waiting = Stopwatch.GetTimestamp();
        await target.CompactAsync();
        double compacted = Stopwatch.GetElapsedTime(waiting).TotalSeconds;
        JsonNode status = await target.StatusAsync();
        while (status["tables"]!.AsArray().Count > 0 && Stopwatch.GetElapsedTime(waiting) < patience)
        {
            await Task.Delay(500);
            status = await target.StatusAsync();
        }

        await target.CompactAsync();
        status = await target.StatusAsync();
        double rest = Stopwatch.GetElapsedTime(waiting).TotalSeconds;
        JsonNode conversions = status["conversions"]!;
        JsonNode compactions = status["blockCompactions"]!;
        long samples = status["blocks"]!.AsArray().Concat(status["tables"]!.AsArray()).Sum(static part => part!["samples"]!.GetValue<long>());
        if (samples != seriesCount * times) throw new InvalidOperationException($"{samples} samples in blocks and tables, {seriesCount * times} were sent");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"| {(isShuffled ? "shuffled" : "oldest first")} | {seconds:F1} | {seriesCount * times / seconds:F0} | {Senders.At(acks, 0.5):F2} | {Senders.At(acks, 0.99):F2} | {acks[^1]:F0} | {compacted:F1}, {rest:F1} | {status["blocks"]!.AsArray().Count} | {status["tables"]!.AsArray().Count} | {conversions["count"]} ({conversions["late"]}) | {compactions["count"]} ({compactions["merged"]}), {compactions["bytesRead"]!.GetValue<long>() >> 20}, {compactions["bytesWritten"]!.GetValue<long>() >> 20} | {conversions["errors"]} + {compactions["errors"]} | {target.CpuSeconds:F1} | {target.DiskMiB():F0} | {target.StatusMiB("VmHWM"):F0} |");
    }

    private static byte[] BodyOf(byte[][] labels, long start, int firstTime) => Senders.Body(labels.Select((run, series) =>
    {
        var samples = new Sample[TimesPerRequest];
        for (int i = 0; i < samples.Length; i++) samples[i] = Sample.Of(start + (firstTime + i) * StepMs, ScrapeLoad.ValueOf(series, firstTime + i));
        return (run, (ReadOnlyMemory<Sample>)samples);
    }));
}
