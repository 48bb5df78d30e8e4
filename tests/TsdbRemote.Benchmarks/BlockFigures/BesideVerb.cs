using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>
/// Ingestion beside all background work against ingestion alone: the same requests to the real server with everything off, with everything on, and off again,
/// as fast as they are answered; then at a part of the pace that it kept with everything on.
/// </summary>
/// <remarks>
/// Options: <c>--series</c> (10,000), <c>--hours</c> of scrapes at 15 s (18), <c>--open</c> hours of them that stay open (4), <c>--memtable</c> (20MB), <c>--part</c> of the pace
/// in percent (70), <c>--connections</c> that send (4; no more than a scrape has batches, or samples overtake each other), <c>--place</c> a directory on the disk to be used.
/// Time runs faster in the load than on the clock, and all of it lies behind the clock: a window that is not among the open ones is converted as soon as
/// the load has left it and no MemTable holds any of it. The open ones, at the end, are merged. Bodies are made before the first run, so that the server
/// shares its processors with little else (a column says with how much); the first tenth of the requests has the server's code compiled, and counts for nothing but stalls.
///   off    no conversion (<c>sstable_to_block_conversion</c>), no compaction of blocks (<c>block_compaction</c>), and no merge of tables: they begin at four tables a
///          window (<c>compaction_threshold: 1</c>), and MemTables are so large that none has as many. That it was so is checked.
///   on     conversion and compaction of blocks as by default, but for <c>block_delay</c>, which holds the last hours open; merges of tables begin at two
///          (<c>compaction_threshold: 0.5</c>). That each of the three took place is checked.
///   rest   from the last answer until nothing is left to flush, merge, convert or compact. CPU counts up to there.
/// What is read in the end has to be as many samples as were sent. To reach: 0.7 of alone with <c>verbatim</c>, 0.5 with <c>optimal</c>; no stall at the part.
/// </remarks>
internal static class BesideVerb
{
    private const int BatchSize = 2000;
    private const long IntervalMs = 15_000;
    private const long WindowMs = 7_200_000;
    private const int WarmUpPart = 10;
    private const long Unlimited = 1L << 40;

    private static readonly string[] Off =
    [
        "--storage:integration:sstable_to_block_conversion=false", "--storage:integration:block_compaction=false", "--storage:compaction:compaction_threshold=1",
    ];

    public static async Task<int> RunAsync(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        int series = given.Number("--series", 10_000);
        int scrapes = (int)(given.Number("--hours", 18) * 3_600_000L / IntervalMs);
        int open = given.Number("--open", 4);
        int part = given.Number("--part", 70);
        int connections = given.Number("--connections", 4);
        string memTable = $"--storage:lsm:memtable_size={given.Text("--memtable", "20MB")}";
        using var place = new FigurePlace(given.Text("--place", Path.GetTempPath()), given.ServerAssembly());
        given.RefuseOthers();

        byte[][] bodies = BodiesOf(series, scrapes);
        long samples = (long)series * scrapes;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{samples / 1e6:F1} M samples of {series} series, {scrapes * IntervalMs / WindowMs} windows, {open} h of them open, {Environment.ProcessorCount} processors"));
        Console.WriteLine(Row.Head);
        Task<Row> MeasureRowAsync(string name, string[] options, double perSecond = double.PositiveInfinity) =>
            MeasureAsync(place, name, bodies, series, samples, (perSecond, connections), [memTable, .. options]);
        Row first = (await MeasureRowAsync("alone", Off)).CheckOff();
        Row verbatim = (await MeasureRowAsync("verbatim", On("verbatim", open))).CheckOn();
        Row optimal = (await MeasureRowAsync("optimal", On("optimal", open))).CheckOn();
        Row second = (await MeasureRowAsync("alone again", Off)).CheckOff();
        double pace = optimal.SamplesPerSecond * part / 100;
        Row paced = (await MeasureRowAsync($"optimal, {part} %", On("optimal", open), pace * bodies.Length / samples)).CheckOn();

        double alone = 2 / (1 / first.SamplesPerSecond + 1 / second.SamplesPerSecond);
        Console.WriteLine();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"of alone, both runs of it together: verbatim {verbatim.SamplesPerSecond / alone:F2}, optimal {optimal.SamplesPerSecond / alone:F2}; alone again / alone {second.SamplesPerSecond / first.SamplesPerSecond:F2}"));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"at {part} % of {optimal.SamplesPerSecond:F0} samples/s: {paced.Stalls} stalls, {paced.SamplesPerSecond / pace * 100:F1} % of the pace kept"));
        return 0;
    }

    private static string[] On(string encoding, int openHours) =>
    [
        $"--storage:integration:chunk_encoding={encoding}", $"--storage:integration:block_delay={openHours}h", "--storage:compaction:compaction_threshold=0.5",
    ];

    private static byte[][] BodiesOf(int series, int scrapes)
    {
        long end = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / IntervalMs * IntervalMs;
        var load = new ScrapeLoad(series, BatchSize, end - scrapes * IntervalMs, IntervalMs);
        int batches = load.BatchesPerScrape;
        return [.. Enumerable.Range(0, scrapes * batches).AsParallel().AsOrdered().Select(request => load.Body(request / batches, request % batches))];
    }

    private static async Task<Row> MeasureAsync(FigurePlace place, string name, byte[][] bodies, int series, long samples, (double PerSecond, int Connections) pace, string[] options)
    {
        string root = place.NewRoot();
        using var target = new TsdbRemoteTarget(root, place.Assembly) { Options = options };
        await target.StartAsync();
        int warmUp = bodies.Length / WarmUpPart;
        await Senders.SendAsync(target, warmUp, request => bodies[request], pace.PerSecond, pace.Connections);
        double cpu = target.CpuSeconds;
        TimeSpan own = Environment.CpuUsage.TotalTime;
        long began = Stopwatch.GetTimestamp();
        double[] acks = await Senders.SendAsync(target, bodies.Length - warmUp, request => bodies[warmUp + request], pace.PerSecond, pace.Connections);
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        own = Environment.CpuUsage.TotalTime - own;
        began = Stopwatch.GetTimestamp();
        await ComeToRestAsync(target);
        double measured = samples * (1 - (double)warmUp / bodies.Length);
        double rest = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var row = new Row(name, measured / seconds, acks, rest, (target.CpuSeconds - cpu) / measured * 1e6, own.TotalMicroseconds / measured, await target.StatusAsync());
        Console.WriteLine(row);
        StreamedAnswer answer = await StreamedAnswer.ReadAsync(target.Client, TimeRange.All, Unlimited, ("job", "kubernetes-nodes"));
        if (answer.Series != series || answer.Samples != samples)
            throw new InvalidOperationException($"{name}: {answer.Series} series with {answer.Samples} samples were read, {series} with {samples} were written");
        await target.StopAsync();
        Directory.Delete(root, recursive: true);
        return row;
    }

    /// <summary>Asks until there was nothing to do.</summary>
    private static async Task ComeToRestAsync(TsdbRemoteTarget target)
    {
        long before;
        long after = -1;
        do
        {
            before = after;
            await target.CompactAsync();
            JsonNode status = await target.StatusAsync();
            after = Row.MergesOf(status) + Row.Count(status, "conversions") + Row.Count(status, "blockCompactions");
        }
        while (after != before);
    }

    /// <summary>What one run came to.</summary>
    private sealed record Row(string Name, double SamplesPerSecond, double[] Acks, double RestSeconds, double CpuMicroseconds, double OwnMicroseconds, JsonNode Status)
    {
        public const string Head =
            "| run | samples/s | CPU µs/sample | of the sender | stalls | stalled s | refused | ack p50 ms | p99 ms | longest ms | to rest s | flushes | merges | conversions | block compactions | blocks | tables |\n"
            + "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

        /// <summary>Times that writers were held back, one after the other.</summary>
        public int Stalls => Status["stalls"]!["episodes"]!.AsArray().Count;

        public static long Count(JsonNode status, string what) => status[what]!["count"]!.GetValue<long>();

        public static long MergesOf(JsonNode status) => OfMerges(status, "count");

        /// <summary>This, of a run beside which nothing was done but flushes.</summary>
        public Row CheckOff() => MergesOf(Status) + Count(Status, "conversions") + Count(Status, "blockCompactions") == 0
            ? this
            : throw new InvalidOperationException($"{Name}: not all was off; a larger --memtable makes fewer tables a window");

        /// <summary>This, of a run beside which all was done that can be, without an error.</summary>
        public Row CheckOn()
        {
            if (MergesOf(Status) == 0 || Count(Status, "conversions") == 0 || Count(Status, "blockCompactions") == 0)
                throw new InvalidOperationException($"{Name}: not all was on; more --hours, or more of them --open, give it more to do");
            long errors = OfMerges(Status, "errors") + Status["conversions"]!["errors"]!.GetValue<long>() + Status["blockCompactions"]!["errors"]!.GetValue<long>();
            return errors == 0 ? this : throw new InvalidOperationException($"{Name}: {errors} errors of merges, conversions and compactions");
        }

        private static long OfMerges(JsonNode status, string what) => status["compactions"]!["levels"]!.AsArray().Sum(level => level![what]!.GetValue<long>());

        public override string ToString() => string.Create(
            CultureInfo.InvariantCulture,
            $"| {Name} | {SamplesPerSecond:F0} | {CpuMicroseconds:F3} | {OwnMicroseconds:F3} | {Stalls} | {Status["stalls"]!["seconds"]!.GetValue<double>():F2} | {Status["stalls"]!["refused"]} | {Senders.At(Acks, 0.5):F2} | {Senders.At(Acks, 0.99):F2} | {Acks[^1]:F0} | {RestSeconds:F1} | {Count(Status, "flushes")} | {MergesOf(Status)} | {Count(Status, "conversions")} | {Count(Status, "blockCompactions")} | {Status["blocks"]!.AsArray().Count} | {Status["tables"]!.AsArray().Count} |");
    }
}
