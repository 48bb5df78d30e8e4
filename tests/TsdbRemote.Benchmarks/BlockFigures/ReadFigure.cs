using System.Diagnostics;
using System.Globalization;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>One streamed read of very many series over tables and blocks by a slow reader: what it adds to the server's memory.</summary>
/// <remarks>
/// Every series has one sample in each block and in each table. The server is started anew before the read, so idle is what it holds without having
/// answered anything; RssAnon is looked at ten times a second.
/// </remarks>
internal static class ReadFigure
{
    private const long WindowMs = 2 * 3_600_000;
    private const int SeriesPerRequest = 2000;
    private const string Metric = "read_load";

    // Two tables a window, so that none are merged.
    private const long TableMs = WindowMs / 2;

    private const string NoBlockCompaction = "--storage:integration:block_compaction=false";
    private static readonly string[] NoConversion = [NoBlockCompaction, "--storage:integration:sstable_to_block_conversion=false", "--storage:lsm:memtable_size=2GB", "--http:read_timeout=1d"];

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int series = given.Number("--series", 1_000_000);
        int tables = given.Number("--tables", 50);
        int blocks = given.Number("--blocks", 10);
        int kibPerSecond = given.Number("--rate", 1024);
        given.RefuseOthers();
        using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly) { Options = [NoBlockCompaction, "--storage:integration:block_delay=31d"] };
        await FillAsync(target, series, tables, blocks);

        await target.StartAsync();
        await target.SettleAsync();
        var status = await target.StatusAsync();
        double idle = target.StatusMiB("RssAnon");
        double idleFile = target.StatusMiB("RssFile");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{series} series over {status["tables"]!.AsArray().Count} tables and {status["blocks"]!.AsArray().Count} blocks, reader at {kibPerSecond} KiB/s"));
        using var stop = new CancellationTokenSource();
        Task<double> watching = target.PeakMiBAsync("RssAnon", stop.Token);
        Task<double> watchingFile = target.PeakMiBAsync("RssFile", stop.Token);
        long started = Stopwatch.GetTimestamp();
        double cpu = target.CpuSeconds;
        StreamedAnswer answer = await StreamedAnswer.ReadAsync(target.Client.BaseAddress!, Metric, kibPerSecond * 1024L);
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        cpu = target.CpuSeconds - cpu;
        await stop.CancelAsync();
        (double peak, double peakFile) = (await watching, await watchingFile);
        if (status["tables"]!.AsArray().Count != tables || status["blocks"]!.AsArray().Count != blocks)
            throw new InvalidOperationException("the tables or blocks are not those that were made");
        if (answer.Series != series || answer.Samples != (long)series * (tables + blocks))
            throw new InvalidOperationException($"{answer.Series} series and {answer.Samples} samples were read, {series} and {(long)series * (tables + blocks)} are there");
        Console.WriteLine("| series | samples | answer MiB | first byte s | time s | CPU s | RssAnon idle MiB | peak MiB | rise MiB | RssFile idle, peak MiB |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {answer.Series} | {answer.Samples} | {answer.Bytes / 1048576.0:F1} | {answer.FirstByteSeconds:F2} | {seconds:F1} | {cpu:F1} | {idle:F1} | {peak:F1} | {peak - idle:F1} | {idleFile:F0}, {peakFile:F0} |"));
    }

    private static async Task FillAsync(TsdbRemoteTarget target, int series, int tables, int blocks)
    {
        long now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        long end = (now - (tables + 1) * TableMs) / WindowMs * WindowMs;

        // A window is converted only when all of it is there, and tables for good when conversion is off: three lives of one directory.
        await target.StartAsync();
        for (int block = 0; block < blocks; block++) await RoundAsync(target, series, end - (block + 1) * WindowMs + 60_000);
        await target.FlushNowAsync();
        await target.StopAsync();
        target.Options = [NoBlockCompaction];
        await target.StartAsync();
        await target.CompactAsync();
        await target.StopAsync();
        target.Options = NoConversion;
        await target.StartAsync();
        for (int table = 0; table < tables; table++)
        {
            await RoundAsync(target, series, now - (tables - table) * TableMs);
            await target.FlushNowAsync();
        }

        await target.StopAsync();
    }

    private static async Task RoundAsync(TsdbRemoteTarget target, int series, long timeMs) => await Senders.SendAsync(
        target,
        (series + SeriesPerRequest - 1) / SeriesPerRequest,
        request => Senders.Body(Enumerable.Range(request * SeriesPerRequest, Math.Min(SeriesPerRequest, series - request * SeriesPerRequest))
            .Select(one => (LabelsOf(one), (ReadOnlyMemory<Sample>)new[] { Sample.Of(timeMs + one % 1000, ScrapeLoad.ValueOf(one, (int)(timeMs / 15_000))) }))));

    private static byte[] LabelsOf(int series) => Labels.Encode(
        ("__name__", Metric),
        ("cluster", "prod-eu-west-1"),
        ("instance", string.Create(CultureInfo.InvariantCulture, $"10.{series / 65_536}.{series / 256 % 256}.{series % 256}:9100")),
        ("job", "kubernetes-pods"),
        ("namespace", string.Create(CultureInfo.InvariantCulture, $"team-{series % 20:D2}")));
}
