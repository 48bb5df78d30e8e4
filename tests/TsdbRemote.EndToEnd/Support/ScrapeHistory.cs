using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>One series and every sample that it has, by time.</summary>
public sealed class KnownSeries
{
    public KnownSeries(string name, params (string Name, string Value)[] labels)
    {
        Labels = [.. labels.Append(("__name__", name)).OrderBy(static label => label.Item1, StringComparer.Ordinal)];
        Run = TsdbRemote.Blocks.Model.Labels.Encode(Labels);
        Text = Print(Labels);
    }

    /// <summary>Labels by name.</summary>
    public (string Name, string Value)[] Labels { get; }

    /// <summary>The labels as a canonical run.</summary>
    public byte[] Run { get; }

    /// <summary>The labels as Prometheus prints them.</summary>
    public string Text { get; }

    public List<Sample> Samples { get; } = [];

    /// <summary>Labels, ascending by name, as Prometheus prints them.</summary>
    public static string Print(IEnumerable<(string Name, string Value)> labels) =>
        $"{{{string.Join(", ", labels.Select(static label => $"{label.Name}=\"{label.Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\""))}}}";
}

/// <summary>What scrapes of a dozen targets leave behind, made up but always the same for the same start and length.</summary>
/// <remarks>
/// Every target has 27 series: constants, counters (one target restarts), a classic histogram, gauges of all kinds, quantiles that are NaN now and
/// then. Scrapes are late by some ms at times; one target is away for twenty minutes without a word, another one with stale markers. Beside them
/// pods that live for an hour, and a few series of odd values and odd labels.
/// </remarks>
public sealed class ScrapeHistory
{
    public const long IntervalMs = 15_000;

    private static readonly string[] Bounds = ["0.005", "0.01", "0.025", "0.1", "0.5", "1", "5", "+Inf"];
    private readonly List<KnownSeries> _series = [];

    public ScrapeHistory(long startMs, int scrapes, int targets = 12)
    {
        StartMs = startMs;
        EndMs = startMs + scrapes * IntervalMs;
        for (int target = 0; target < targets; target++) AddTarget(target, scrapes);
        for (int pod = 0; pod < 20; pod++) AddPod(pod, scrapes);
        AddOddities(scrapes);
        _series.Sort(static (left, right) => TsdbRemote.Blocks.Model.Labels.Compare(left.Run, right.Run));
    }

    public long StartMs { get; }

    /// <summary>No sample is at or after it.</summary>
    public long EndMs { get; }

    /// <summary>All series in the order of their labels.</summary>
    public IReadOnlyList<KnownSeries> Series => _series;

    public long SampleCount => _series.Sum(static series => (long)series.Samples.Count);

    private void AddTarget(int target, int scrapes)
    {
        var random = new Random(target + 1);
        List<(KnownSeries Series, Func<int, double> Next)> sources = [.. Sources(target, random)];
        _series.AddRange(sources.Select(static source => source.Series));
        long offset = random.NextInt64(IntervalMs - 50);
        for (int scrape = 0; scrape < scrapes; scrape++)
        {
            long time = StartMs + scrape * IntervalMs + offset + (random.NextDouble() < 0.03 ? random.Next(2, 41) : 0);
            bool isAway = (target == 3 && scrape is >= 400 and < 480) || (target == 4 && scrape is > 900 and < 1000);
            bool isStale = target == 4 && scrape == 900;
            foreach ((KnownSeries series, Func<int, double> next) in sources)
            {
                Sample sample = Sample.Of(time, next(scrape));
                if (!isAway) series.Samples.Add(isStale ? new Sample(time, StaleMarker.Bits) : sample);
            }
        }
    }

    private static IEnumerable<(KnownSeries Series, Func<int, double> Next)> Sources(int target, Random random)
    {
        string instance = string.Create(CultureInfo.InvariantCulture, $"10.0.0.{target}:9100");
        (string, string)[] Of(params (string, string)[] more) => [("instance", instance), ("job", target % 2 == 0 ? "node" : "api"), .. more];
        yield return (new KnownSeries("up", Of()), static _ => 1);
        yield return (new KnownSeries("build_info", Of(("version", "1.2.3"))), static _ => 1);
        yield return (new KnownSeries("process_start_time_seconds", Of()), _ => 1_735_000_000.25 + target);
        foreach (string code in new[] { "200", "404", "500" })
        {
            foreach (string handler in new[] { "/api", "/metrics" })
                yield return (new KnownSeries("http_requests_total", Of(("code", code), ("handler", handler))), Counter(random, random.Next(1, 2000), target == 5 ? 1200 : -1));
        }

        foreach ((KnownSeries, Func<int, double>) source in Histogram(Of(), random)) yield return source;
        long pages = random.Next(2_000, 200_000);
        yield return (new KnownSeries("process_resident_memory_bytes", Of()), _ => 4096.0 * (random.NextDouble() < 0.3 ? pages : pages = Math.Max(100, pages + random.Next(-500, 501))));
        foreach (string mode in new[] { "system", "user" })
        {
            long hundredths = random.Next(1_000_000);
            yield return (new KnownSeries("cpu_seconds_total", Of(("mode", mode))), _ => (hundredths += random.Next(1500)) / 100.0);
        }

        double celsius = -2;
        yield return (new KnownSeries("temperature_celsius", Of()), _ => Math.Round(celsius += random.NextDouble() - 0.5, 1));
        yield return (new KnownSeries("queue_length", Of()), _ => random.NextDouble() < 0.01 ? 1_000_003.7 * random.NextDouble() : random.Next(12));
        foreach (string quantile in new[] { "0.5", "0.99" })
        {
            yield return (new KnownSeries("latency_seconds", Of(("quantile", quantile))), _ =>
                random.NextDouble() < 0.05 ? BitConverter.UInt64BitsToDouble(StaleMarker.NormalNaN) : random.NextDouble());
        }

        int goroutines = 40;
        yield return (new KnownSeries("goroutines", Of()), _ => random.NextDouble() < 0.5 ? goroutines : goroutines = random.Next(20, 90));
    }

    private static Func<int, double> Counter(Random random, int most, int restart)
    {
        double state = random.Next(1_000_000);
        return scrape => state = (scrape == restart ? 0 : state) + random.Next(most);
    }

    private static IEnumerable<(KnownSeries Series, Func<int, double> Next)> Histogram((string, string)[] labels, Random random)
    {
        long[] buckets = new long[Bounds.Length];
        double sum = 0;
        for (int bound = 0; bound < Bounds.Length; bound++)
        {
            int index = bound;
            yield return (new KnownSeries("http_request_duration_seconds_bucket", [.. labels, ("le", Bounds[bound])]), _ =>
            {
                // The first bucket of a scrape draws its requests; the others only show them.
                for (int requests = index == 0 ? random.Next(30) : 0; requests > 0; requests--)
                {
                    double seconds = Math.Exp(2 * (random.NextDouble() + random.NextDouble() + random.NextDouble()) - 6);
                    sum += seconds;
                    for (int i = 0; i < Bounds.Length; i++)
                    {
                        if (i == Bounds.Length - 1 || seconds <= double.Parse(Bounds[i], CultureInfo.InvariantCulture)) buckets[i]++;
                    }
                }

                return buckets[index];
            }
            );
        }

        yield return (new KnownSeries("http_request_duration_seconds_count", labels), _ => buckets[^1]);
        yield return (new KnownSeries("http_request_duration_seconds_sum", labels), _ => sum);
    }

    private void AddPod(int pod, int scrapes)
    {
        var random = new Random(1000 + pod);
        var series = new KnownSeries("pod_cpu_seconds_total", ("namespace", $"team-{pod % 3}"), ("pod", string.Create(CultureInfo.InvariantCulture, $"app-{pod:D2}-6d4cf")));
        _series.Add(series);
        int first = random.Next(scrapes);
        int last = Math.Min(first + 240, scrapes) - 1;
        double state = 0;
        for (int scrape = first; scrape <= last; scrape++)
        {
            long time = StartMs + scrape * IntervalMs + pod * 11;
            state += random.Next(100) / 8.0;
            series.Samples.Add(scrape == last ? new Sample(time, StaleMarker.Bits) : Sample.Of(time, state));
        }
    }

    private void AddOddities(int scrapes)
    {
        double[] odd =
        [
            double.PositiveInfinity, double.NegativeInfinity, double.MaxValue, double.Epsilon, -0.0, 0.0, double.MinValue, 1e-300, Math.PI, -Math.E,
            BitConverter.UInt64BitsToDouble(0x7ff8000000000123), BitConverter.UInt64BitsToDouble(0xfff8000000000000), 9007199254740993,
        ];
        var series = new KnownSeries("odd_values", ("case", "all"));
        var rare = new KnownSeries("odd_labels", ("Zone", "sorts before the name"), ("path", "C:\\dir \"quoted\""), ("stadt", "Köln 東京 😀"));
        var single = new KnownSeries("odd_labels", ("case", "one sample"));
        for (int scrape = 0; scrape < scrapes; scrape++)
        {
            long time = StartMs + scrape * IntervalMs;
            series.Samples.Add(Sample.Of(time + 1, odd[scrape * 7 % odd.Length]));
            if (scrape % 61 == 0) rare.Samples.Add(Sample.Of(time + scrape % 13, scrape));
        }

        single.Samples.Add(Sample.Of(StartMs + scrapes / 2 * IntervalMs, 42));
        _series.AddRange([series, rare, single]);
    }
}
