using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>The same range read from compacted tables and from a block of the same samples: 1,000 series over an hour, whole and cut, warm.</summary>
/// <remarks>Whole: all samples are in the range, so that chunks go out as they are. Cut: all but the first and the last, so that a chunk at each end is encoded anew.</remarks>
internal static class ParityFigure
{
    private const long WindowMs = 2 * 3_600_000;
    private const long StepMs = 15_000;
    private const int Scrapes = 240;
    private const int Flushes = 8;
    private const int ReadGroups = 5;
    private const int WarmUp = 10;
    private const long Unlimited = 1L << 40;

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int series = given.Number("--series", 5000);
        int reads = given.Number("--reads", 60);
        given.RefuseOthers();
        long start = TimeWindow.StartOf(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), WindowMs) - 2 * WindowMs + 60_000;
        using var tables = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = ["--storage:integration:sstable_to_block_conversion=false"] };
        using var blocks = new TsdbRemoteTarget(place.NewRoot(), place.Assembly);
        foreach (TsdbRemoteTarget target in new[] { tables, blocks })
        {
            await target.StartAsync();
            foreach (int[] part in Enumerable.Range(0, Scrapes).Chunk(Scrapes / Flushes))
            {
                await Senders.SendAsync(target, part.Length, request => Senders.Body(Enumerable.Range(0, series).Select(one => (
                    LabelsOf(one, series), (ReadOnlyMemory<Sample>)new[] { Sample.Of(start + part[request] * StepMs, ScrapeLoad.ValueOf(one, part[request])) }))));
                await target.FlushNowAsync();
            }

            await target.CompactAsync();
        }

        Console.WriteLine("| range | from | ms, median | KiB | of tables |");
        Console.WriteLine("|---|---|---|---|---|");
        var whole = new TimeRange(start, start + Scrapes * StepMs);
        await CompareAsync("whole", whole, tables, blocks, series, reads, Scrapes);
        await CompareAsync("cut", new TimeRange(whole.MinMs + 1, start + (Scrapes - 1) * StepMs - 1), tables, blocks, series, reads, Scrapes - 2);
        await tables.StopAsync();
        await blocks.StopAsync();
    }

    private static async Task CompareAsync(string name, TimeRange range, TsdbRemoteTarget tables, TsdbRemoteTarget blocks, int series, int reads, int samplesEach)
    {
        JsonNode status = await tables.StatusAsync();
        JsonNode converted = await blocks.StatusAsync();
        if (status["blocks"]!.AsArray().Count > 0 || converted["tables"]!.AsArray().Count > 0) throw new InvalidOperationException("tables and blocks are not apart");
        (double Milliseconds, long Bytes) fromTables = await MedianAsync(tables, range, series, reads, samplesEach);
        (double Milliseconds, long Bytes) fromBlocks = await MedianAsync(blocks, range, series, reads, samplesEach);
        Print(name, $"{status["tables"]!.AsArray().Count} tables", fromTables, 1);
        Print(name, $"{converted["blocks"]!.AsArray().Count} block", fromBlocks, fromBlocks.Milliseconds / fromTables.Milliseconds);
    }

    private static void Print(string range, string from, (double Milliseconds, long Bytes) read, double ratio) => Console.WriteLine(
        string.Create(CultureInfo.InvariantCulture, $"| {range} | {from} | {read.Milliseconds:F2} | {read.Bytes / 1024.0:F0} | {ratio:F2} |"));

    private static async Task<(double Milliseconds, long Bytes)> MedianAsync(TsdbRemoteTarget target, TimeRange range, int series, int reads, int samplesEach)
    {
        var times = new double[reads];
        long bytes = 0;
        for (int i = -WarmUp; i < reads; i++)
        {
            long began = Stopwatch.GetTimestamp();
            StreamedAnswer answer = await StreamedAnswer.ReadAsync(target.Client, range, Unlimited, ("__name__", "parity_load"), ("group", "2"));
            if (i >= 0) times[i] = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
            bytes = answer.Bytes;
            if (answer.Series != series / ReadGroups || answer.Samples != (long)samplesEach * series / ReadGroups)
                throw new InvalidOperationException($"{answer.Series} series with {answer.Samples} samples were read");
        }

        Array.Sort(times);
        return (times[reads / 2], bytes);
    }

    private static byte[] LabelsOf(int one, int series) => Labels.Encode(
        ("__name__", "parity_load"), ("group", $"{one / Math.Max(series / ReadGroups, 1)}"), ("instance", $"10.0.{one / 200}.{one % 200}:9100"), ("job", "kubernetes-nodes"));
}
