using System.Globalization;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace TsdbRemote.EndToEnd.Support.Exposition;

/// <summary>A target with native histograms of all kinds and with exemplars. Each scrape shows more observations than the one before, but for restarts.</summary>
public sealed class HistogramExporter : IAsyncDisposable
{
    private const int RestartsEvery = 13;
    private static readonly double[] ClassicBounds = [0.1, 0.25, 0.5, 1, 2.5];
    private readonly Random _random = new(11);
    private readonly Dictionary<string, Observations> _state = [];
    private readonly WebApplication _app;
    private int _scrapes;

    public HistogramExporter()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        Port = ChildProcess.FreePort();
        _app = builder.Build();
        _app.Urls.Add($"http://127.0.0.1:{Port}");
        _app.MapGet("/metrics", AnswerAsync);
    }

    public int Port { get; }

    public Task StartAsync() => _app.StartAsync();

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        lock (_state)
        {
            foreach (MetricFamily family in Scrape()) family.WriteDelimitedTo(body);
        }

        context.Response.ContentType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        await context.Response.Body.WriteAsync(body.GetBuffer().AsMemory(0, (int)body.Length));
    }

    private IEnumerable<MetricFamily> Scrape()
    {
        if (++_scrapes % RestartsEvery == 0) _state.Clear();
        foreach (string handler in new[] { "/api", "/page" }) Of(handler).Observe(_random, 40);
        yield return Family("shop_requests_total", MetricType.Counter, static (_, seen) => new Metric
        {
            Counter = new Counter { Value = seen.Count, Exemplar = Exemplar(seen.Last, seen.Count) },
        });
        yield return Family("shop_request_seconds", MetricType.Histogram, static (_, seen) => new Metric { Histogram = Integer(seen, exemplars: true) });
        yield return Family("shop_queue_seconds", MetricType.GaugeHistogram, (_, _) =>
        {
            var now = new Observations();
            now.Observe(_random, _random.Next(1, 60));
            return new Metric { Histogram = Integer(now, exemplars: false) };
        });
        yield return Family("shop_weighted_seconds", MetricType.Histogram, static (_, seen) => new Metric { Histogram = OfFloats(seen) });
        yield return Family("shop_payload_seconds", MetricType.Histogram, static (_, seen) => new Metric { Histogram = Classic(seen) });
    }

    private MetricFamily Family(string name, MetricType type, Func<string, Observations, Metric> make)
    {
        var family = new MetricFamily { Name = name, Type = type, Help = $"About {name}." };
        foreach (string handler in new[] { "/api", "/page" })
        {
            Metric metric = make(handler, Of(handler));
            metric.Label.Add(new LabelPair { Name = "handler", Value = handler });
            family.Metric.Add(metric);
        }

        return family;
    }

    private Observations Of(string handler)
    {
        if (!_state.TryGetValue(handler, out Observations? seen)) _state.Add(handler, seen = new Observations());
        return seen;
    }

    private static ExposedHistogram Integer(Observations seen, bool exemplars)
    {
        var histogram = new ExposedHistogram { SampleCount = (ulong)seen.Count, SampleSum = seen.Sum, Schema = Observations.Schema, ZeroThreshold = Observations.ZeroThreshold, ZeroCount = (ulong)seen.Zeros };
        Runs(seen.Positive, histogram.PositiveSpan, histogram.PositiveDelta);
        Runs(seen.Negative, histogram.NegativeSpan, histogram.NegativeDelta);
        if (exemplars) histogram.Exemplars.Add(Exemplar(seen.Last, seen.Count));
        return histogram;
    }

    private static ExposedHistogram OfFloats(Observations seen)
    {
        var histogram = new ExposedHistogram
        {
            SampleCountFloat = seen.Count * 0.5,
            SampleSum = seen.Sum * 0.5,
            Schema = Observations.Schema,
            ZeroThreshold = Observations.ZeroThreshold,
            ZeroCountFloat = seen.Zeros * 0.5,
        };
        Runs(seen.Positive, histogram.PositiveSpan, []);
        histogram.PositiveCount.Add(seen.Positive.Values.Select(static count => count * 0.5));
        Runs(seen.Negative, histogram.NegativeSpan, []);
        histogram.NegativeCount.Add(seen.Negative.Values.Select(static count => count * 0.5));
        return histogram;
    }

    private static ExposedHistogram Classic(Observations seen)
    {
        var histogram = new ExposedHistogram { SampleCount = (ulong)seen.Count, SampleSum = seen.Sum };
        foreach (double bound in ClassicBounds)
            histogram.Bucket.Add(new Bucket { UpperBound = bound, CumulativeCount = (ulong)seen.All.Count(value => value <= bound) });
        return histogram;
    }

    /// <summary>Spans of neighbours, and the counts as distances from the one before.</summary>
    private static void Runs(SortedDictionary<int, long> buckets, RepeatedField<Span> spans, RepeatedField<long> deltas)
    {
        Span? span = null;
        int next = 0;
        long before = 0;
        foreach ((int index, long count) in buckets)
        {
            if (span is null || index != next) spans.Add(span = new Span { Offset = span is null ? index : index - next });
            span.Length++;
            next = index + 1;
            deltas.Add(count - before);
            before = count;
        }
    }

    private static ExposedExemplar Exemplar(double value, long number) => new()
    {
        Label = { new LabelPair { Name = "trace_id", Value = number.ToString("x16", CultureInfo.InvariantCulture) } },
        Value = value,
        Timestamp = Timestamp.FromDateTimeOffset(DateTimeOffset.FromUnixTimeMilliseconds(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds())),
    };

    /// <summary>What a target has observed since it started.</summary>
    private sealed class Observations
    {
        public const int Schema = 2;
        public const double ZeroThreshold = 0.001;

        public List<double> All { get; } = [];

        public SortedDictionary<int, long> Positive { get; } = [];

        public SortedDictionary<int, long> Negative { get; } = [];

        public long Zeros { get; private set; }

        public long Count => All.Count;

        public double Sum { get; private set; }

        public double Last => All[^1];

        public void Observe(Random random, int count)
        {
            for (; count > 0; count--)
            {
                double value = random.Next(10) switch
                {
                    0 => 0,
                    1 => -random.NextDouble(),
                    _ => Math.Exp(2 * (random.NextDouble() + random.NextDouble() + random.NextDouble()) - 4),
                };
                All.Add(value);
                Sum += value;
                if (Math.Abs(value) <= ZeroThreshold)
                {
                    Zeros++;
                    continue;
                }

                SortedDictionary<int, long> side = value > 0 ? Positive : Negative;
                int index = (int)Math.Ceiling(Math.Log2(Math.Abs(value)) * (1 << Schema));
                side[index] = side.GetValueOrDefault(index) + 1;
            }
        }
    }
}
