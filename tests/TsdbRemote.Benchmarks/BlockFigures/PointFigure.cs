using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>One series, named by all its labels, among very many in many tables: how long it takes, and in how many tables it is looked for.</summary>
/// <remarks>
/// The first table has all series, each other one some of all over them, so that <c>--copies</c> more have a series and the rest has to be ruled out by
/// bloom filters: neither time nor the range of ids does. Two tables a window, so that none are merged; nothing is converted. Answers are read one after the other over one connection, after as many that do not count.
/// </remarks>
internal static class PointFigure
{
    private const long WindowMs = 2 * 3_600_000;
    private const int SeriesPerRequest = 2000;
    private const long Unlimited = 1L << 40;

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int series = given.Number("--series", 1_000_000);
        int tables = given.Number("--tables", 200);
        int copies = given.Number("--copies", 2);
        int reads = given.Number("--reads", 1000);
        given.RefuseOthers();
        using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly)
        {
            Options = ["--storage:integration:sstable_to_block_conversion=false", "--storage:lsm:memtable_size=1GB"],
        };
        await target.StartAsync();
        long now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        int groups = tables / copies;
        for (int table = 0; table < tables; table++)
        {
            int[] inIt = [.. Enumerable.Range(0, series).Where(one => table == 0 || one % groups == table % groups)];
            long time = now - (tables - table) * (WindowMs / 2);
            await Senders.SendAsync(target, (inIt.Length + SeriesPerRequest - 1) / SeriesPerRequest, request => Senders.Body(
                inIt.Skip(request * SeriesPerRequest).Take(SeriesPerRequest).Select(one => (Labels.Encode(LabelsOf(one)), (ReadOnlyMemory<Sample>)new[] { Sample.Of(time, one) }))));
            await target.FlushNowAsync();
        }

        JsonNode before = await target.StatusAsync();
        int there = before["tables"]!.AsArray().Count;
        if (there != tables) throw new InvalidOperationException($"{there} tables are there");
        var random = new Random(1);
        double[] times = [];
        for (int round = 0; round < 2; round++)
        {
            before = await target.StatusAsync();
            times = new double[reads];
            for (int i = 0; i < reads; i++)
            {
                long began = Stopwatch.GetTimestamp();
                int one = random.Next(series);
                StreamedAnswer answer = await StreamedAnswer.ReadAsync(target.Client, TimeRange.All, Unlimited, LabelsOf(one));
                times[i] = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
                if (answer.Series != 1 || answer.Samples != 1 + Enumerable.Range(1, tables - 1).Count(table => table % groups == one % groups)) throw new InvalidOperationException($"{answer.Series} series with {answer.Samples} samples were read");
            }
        }

        JsonNode after = await target.StatusAsync();
        double Count(string what) => (after["bloom"]![what]!.GetValue<double>() - before["bloom"]![what]!.GetValue<double>()) / reads;
        Array.Sort(times);
        Console.WriteLine("| series | tables | p50 ms | p99 ms | bloom filters a read that said no (hits) | that let pass (misses) |");
        Console.WriteLine("|---|---|---|---|---|---|");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"| {series} | {tables} | {Senders.At(times, 0.5):F2} | {Senders.At(times, 0.99):F2} | {Count("hits"):F1} | {Count("misses"):F1} |"));
        await target.StopAsync();
    }

    private static (string Name, string Value)[] LabelsOf(int series) =>
    [
        ("__name__", "point_load"), ("cluster", "prod-eu-west-1"),
        ("instance", string.Create(CultureInfo.InvariantCulture, $"10.{series / 65_536}.{series / 256 % 256}.{series % 256}:9100")), ("job", "kubernetes-pods"),
    ];
}
