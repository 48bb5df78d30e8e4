using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.ChunkEncodings;

/// <summary>Series as a Prometheus that scrapes nodes, containers and services at 15 s holds them; the same in every process.</summary>
/// <remarks>
/// Of 1,000 series:
/// <code>
/// 100  constants        info metrics, limits, start times, `up`
/// 350  bucket counters  a histogram of 10 le bounds, cumulative counts of log-normal latencies at 0.1 to 1,000 requests a scrape
///  35  histogram sums   the sums of those latencies: whole mantissas
///  35  histogram counts
/// 100  event counters   Poisson increments, 0.02 to 20,000 a scrape, log-uniform; half of them follow a daily wave
/// 120  byte counters    increments of 500 B to 50 MB a scrape with heavy tails (bursts)
///  80  CPU seconds      counters that step by hundredths, 0 to 15 s a scrape
///  80  memory gauges    pages of 4 KiB, a random walk, at rest in 30 % of the scrapes
///  30  small gauges     whole numbers below 200 (goroutines, connections, queue lengths), at rest in half of the scrapes
///  40  decimal gauges   load, temperature: one or two decimals
///  30  ratio gauges     means and ratios: whole mantissas
/// </code>
/// Each target scrapes at its own offset, and 3 % of the scrapes are 2 to 40 ms late, which Prometheus does not align any more. A counter
/// starts again from 0 once in about 20,000 scrapes. Each series that is no constant has 1 scrape in 10,000 that fails: a stale marker.
/// </remarks>
internal static class ScrapeLikeSeries
{
    /// <summary>Series of a mixture.</summary>
    public const int Count = 1000;

    /// <summary>Time between two scrapes, ms.</summary>
    public const long IntervalMs = 15_000;

    private const int Bounds = 10;
    private const int BucketSeries = 350;
    private const int ScrapesPerDay = 5760;

    /// <summary>The samples of a series.</summary>
    /// <param name="series">0 to <see cref="Count"/> - 1; from there on another mixture of the same kinds.</param>
    /// <param name="scrapes">Samples.</param>
    /// <param name="startMs">Start of the first interval.</param>
    public static Sample[] SamplesOf(int series, int scrapes, long startMs)
    {
        // Of a histogram, buckets, sum and count see the same requests, at the same times.
        (Kind kind, int ordinal, int target) = KindOf(series % Count);
        target += series / Count * 10_000_000;
        var clock = new Random(target);
        var values = new Random(kind is Kind.Bucket or Kind.Sum or Kind.Requests ? target + 1_000_000 : series + 2_000_000);
        var failures = new Random(series + 3_000_000);
        long offset = clock.NextInt64(IntervalMs - 50);
        Func<int, double> next = Source(kind, ordinal, values);
        var samples = new Sample[scrapes];
        for (int i = 0; i < scrapes; i++)
        {
            long late = clock.NextDouble() < 0.03 ? clock.Next(2, 41) : 0;
            long time = startMs + i * IntervalMs + offset + late;
            double value = next(i);
            bool failed = kind != Kind.Constant && failures.NextDouble() < 0.0001;
            samples[i] = failed ? new Sample(time, StaleMarker.Bits) : Sample.Of(time, value);
        }

        return samples;
    }

    /// <summary>Labels of a series as a canonical run, as node, container and service metrics have them.</summary>
    /// <param name="series">As above.</param>
    public static byte[] LabelsOf(int series)
    {
        (Kind kind, int ordinal, _) = KindOf(series % Count);
        int mixture = series / Count;
        int histogram = kind == Kind.Bucket ? ordinal / Bounds : ordinal;
        (int host, string name, string handler) = kind is Kind.Bucket or Kind.Sum or Kind.Requests
            ? (histogram / 7, "http_request_duration_seconds", $"/api/v1/resource-{histogram % 7}")
            : (ordinal % 15, NameOf(kind) + $"_{ordinal / 15:D2}", "");
        List<(string, string)> labels =
        [
            ("cluster", "prod-eu-west-1"), ("container", $"app-{host:D2}"), ("instance", $"10.{mixture / 256}.{mixture % 256}.{host}:9100"), ("job", "kubernetes-pods"),
            ("namespace", $"team-{host % 5:D2}"), ("pod", $"app-{host:D2}-6d4cf56db6-{mixture:x5}"),
        ];
        if (handler.Length > 0) labels.Add(("handler", handler));
        if (kind == Kind.Bucket) labels.Add(("le", ordinal % Bounds == Bounds - 1 ? "+Inf" : BoundOf(ordinal % Bounds).ToString("G3", CultureInfo.InvariantCulture)));
        labels.Add(("__name__", kind switch { Kind.Bucket => name + "_bucket", Kind.Sum => name + "_sum", Kind.Requests => name + "_count", _ => name }));
        return Labels.Encode([.. labels.OrderBy(static label => label.Item1, StringComparer.Ordinal)]);
    }

    private static string NameOf(Kind kind) => kind switch
    {
        Kind.Constant => "kube_pod_info",
        Kind.Events => "process_events_total",
        Kind.Bytes => "container_network_receive_bytes_total",
        Kind.CpuSeconds => "container_cpu_usage_seconds_total",
        Kind.Memory => "container_memory_working_set_bytes",
        Kind.Small => "go_goroutines",
        Kind.Decimal => "node_load",
        _ => "cache_hit_ratio",
    };

    private static (Kind Kind, int Ordinal, int Target) KindOf(int series)
    {
        int at = series;
        foreach ((Kind kind, int count) in new[]
        {
            (Kind.Constant, 100), (Kind.Bucket, BucketSeries), (Kind.Sum, BucketSeries / Bounds), (Kind.Requests, BucketSeries / Bounds),
            (Kind.Events, 100), (Kind.Bytes, 120), (Kind.CpuSeconds, 80), (Kind.Memory, 80), (Kind.Small, 30), (Kind.Decimal, 40), (Kind.Ratio, 30),
        })
        {
            if (at < count)
            {
                int histogram = kind == Kind.Bucket ? at / Bounds : at;
                return (kind, at, kind is Kind.Bucket or Kind.Sum or Kind.Requests ? histogram : 1000 + series);
            }

            at -= count;
        }

        throw new ArgumentOutOfRangeException(nameof(series));
    }

    private static Func<int, double> Source(Kind kind, int ordinal, Random random) => kind switch
    {
        Kind.Constant => Constant(ordinal),
        Kind.Bucket or Kind.Sum or Kind.Requests => Histogram(kind, ordinal % Bounds, random),
        Kind.Events => Events(ordinal, random),
        Kind.Bytes => Bytes(random),
        Kind.CpuSeconds => CpuSeconds(random),
        Kind.Memory => Memory(random),
        Kind.Small => Small(random),
        Kind.Decimal => Decimals(ordinal % 2 + 1, random),
        _ => _ => random.NextDouble() * 0.2 + 0.7,
    };

    private static Func<int, double> Constant(int ordinal)
    {
        double value = (ordinal % 4) switch { 0 => 1, 1 => 1_735_000_000.25 + ordinal, 2 => 536_870_912, _ => 0 };
        return _ => value;
    }

    private static Func<int, double> Histogram(Kind kind, int bound, Random random)
    {
        double rate = LogUniform(random, 0.1, 1000);
        double median = LogUniform(random, 0.005, 0.5);
        double state = Math.Floor(random.NextDouble() * 100_000);
        double le = BoundOf(bound);
        return _ =>
        {
            int requests = Poisson(random, rate);
            for (int i = 0; i < requests; i++)
            {
                double latency = median * Math.Exp(0.9 * Normal(random));
                if (kind == Kind.Sum) state += latency;
                else if (kind == Kind.Requests || latency <= le) state++;
            }

            return state = Restart(random, state);
        };
    }

    private static double BoundOf(int bound) => 0.005 * Math.Pow(10, bound * 3.3 / (Bounds - 1));   // 5 ms to 10 s

    private static Func<int, double> Events(int ordinal, Random random)
    {
        double rate = LogUniform(random, 0.02, 20_000);
        double state = Math.Floor(random.NextDouble() * rate * 100_000);
        double depth = ordinal % 2 * 0.8;
        return scrape =>
        {
            state += Poisson(random, rate * (1 + depth * Math.Sin(scrape * 2 * Math.PI / ScrapesPerDay)));
            return state = Restart(random, state);
        };
    }

    private static Func<int, double> Bytes(Random random)
    {
        double size = LogUniform(random, 500, 50_000_000);
        double state = Math.Floor(size * random.NextDouble() * 50_000);
        return _ =>
        {
            state += Math.Floor(size * Math.Exp(0.6 * Normal(random)) * (random.NextDouble() < 0.02 ? 20 : 1));
            return state = Restart(random, state);
        };
    }

    private static Func<int, double> CpuSeconds(Random random)
    {
        double use = 15 * Math.Pow(random.NextDouble(), 3);
        double hundredths = random.Next(100_000_000);
        return _ =>
        {
            hundredths += Math.Round(100 * use * (0.7 + 0.6 * random.NextDouble()));
            return (hundredths = Restart(random, hundredths)) / 100;
        };
    }

    private static Func<int, double> Memory(Random random)
    {
        long pages = random.Next(2_000, 2_000_000);
        double step = pages * LogUniform(random, 0.0001, 0.02);
        return _ =>
        {
            if (random.NextDouble() >= 0.3) pages = Math.Max(1000, pages + (long)(step * Normal(random)));
            return pages * 4096.0;
        };
    }

    private static Func<int, double> Small(Random random)
    {
        int level = random.Next(3, 200);
        int value = level;
        return _ => random.NextDouble() < 0.5 ? value : value = Poisson(random, level);
    }

    private static Func<int, double> Decimals(int decimals, Random random)
    {
        double level = 1 + 60 * random.NextDouble();
        double value = level;
        return _ =>
        {
            value += 0.1 * (level - value) + 0.02 * level * Normal(random);
            return Math.Round(value, decimals);
        };
    }

    private static double Restart(Random random, double state) => random.NextDouble() < 1.0 / 20_000 ? 0 : state;

    private static double LogUniform(Random random, double low, double high) => low * Math.Pow(high / low, random.NextDouble());

    private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    /// <summary>Knuth's method while it is short, else the normal approximation.</summary>
    private static int Poisson(Random random, double mean)
    {
        if (mean > 30) return (int)Math.Max(0, Math.Round(mean + Math.Sqrt(mean) * Normal(random)));
        double product = random.NextDouble();
        double limit = Math.Exp(-mean);
        int events = 0;
        for (; product > limit; events++) product *= random.NextDouble();
        return events;
    }

    private enum Kind
    {
        Constant,
        Bucket,
        Sum,
        Requests,
        Events,
        Bytes,
        CpuSeconds,
        Memory,
        Small,
        Decimal,
        Ratio,
    }
}
