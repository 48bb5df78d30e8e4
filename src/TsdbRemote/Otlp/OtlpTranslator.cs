using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Otlp;
using Key = TsdbRemote.Otlp.OtlpSeriesSet.Key;
using Metric = TsdbRemote.Protos.Otlp.Metric;
using MetricType = TsdbRemote.Protos.Prometheus.MetricMetadata.Types.MetricType;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Otlp;

/// <summary>Translates one export into series, as Prometheus' receiver does; for one request, one thread's.</summary>
/// <remarks>
/// Source: prometheus storage/remote/otlptranslator (3.5). What differs is told in docs/conformance.md: a data point without a translation is refused alone and by name,
/// where Prometheus leaves its metric out without a word to the sender.
/// </remarks>
/// <param name="names">How names are translated.</param>
/// <param name="maxSamples">Most samples of the result; beyond them it is not completed.</param>
internal sealed class OtlpTranslator(OtlpNames names, long maxSamples)
{
    private const int NoRecordedValue = 1;
    private const string TargetInfo = "target_info";

    /// <summary>Time between two samples of <c>target_info</c>, ns: half of what an instant query looks back, so that each finds one.</summary>
    private const ulong TargetInfoStep = 150_000_000_000;

    private const ulong NanosecondsInMs = 1_000_000;

    // Of the resource whose metrics are being translated.
    private OtlpLabels _labels = new(names, null);
    private ulong _earliest;
    private ulong _latest;

    /// <summary>What came of it.</summary>
    public OtlpSeriesSet Series { get; } = new();

    /// <summary>What did not.</summary>
    public OtlpRefusals Refusals { get; } = new();

    /// <summary>True if there are more samples than may be.</summary>
    public bool IsTooMany => Series.Samples > maxSamples;

    /// <summary>Translates a request.</summary>
    public void Translate(ExportRequest request)
    {
        foreach (ResourceMetrics resource in request.ResourceMetrics)
        {
            _labels = new OtlpLabels(names, resource.Resource);
            (_earliest, _latest) = (ulong.MaxValue, 0);
            foreach (ScopeMetrics scope in resource.ScopeMetrics)
            {
                foreach (Metric metric in scope.Metrics) Translate(metric);
            }

            AddTarget();
        }
    }

    private static AggregationTemporality? TemporalityOf(Metric metric) => metric.DataCase switch
    {
        Metric.DataOneofCase.Sum => metric.Sum.AggregationTemporality,
        Metric.DataOneofCase.Histogram => metric.Histogram.AggregationTemporality,
        Metric.DataOneofCase.ExponentialHistogram => metric.ExponentialHistogram.AggregationTemporality,
        _ => null,
    };

    private static MetricType TypeOf(Metric metric) => metric.DataCase switch
    {
        Metric.DataOneofCase.Sum when metric.Sum.IsMonotonic => MetricType.Counter,
        Metric.DataOneofCase.Histogram or Metric.DataOneofCase.ExponentialHistogram => MetricType.Histogram,
        Metric.DataOneofCase.Summary => MetricType.Summary,
        _ => MetricType.Gauge,
    };

    private static Sample SampleOf(long timeMs, double value, uint flags) =>
        (flags & NoRecordedValue) != 0 ? new Sample(timeMs, StaleMarker.Bits) : Sample.Of(timeMs, value);

    private static string Plain(double bound) => GoNumber.Plain(bound);

    private void Translate(Metric metric)
    {
        if (metric.DataCase == Metric.DataOneofCase.None) return;
        AggregationTemporality? temporality = TemporalityOf(metric);
        if (temporality is not (null or AggregationTemporality.Cumulative))
        {
            Refuse(metric, temporality.Value);
            return;
        }

        string name = names.OfMetric(metric);
        Series.Add(new Protos.Prometheus.MetricMetadata { MetricFamilyName = name, Type = TypeOf(metric), Help = metric.Description, Unit = metric.Unit });
        switch (metric.DataCase)
        {
            case Metric.DataOneofCase.Gauge:
                foreach (NumberDataPoint point in metric.Gauge.DataPoints) Add(metric, name, point, withExemplars: false);
                break;
            case Metric.DataOneofCase.Sum:
                foreach (NumberDataPoint point in metric.Sum.DataPoints) Add(metric, name, point, withExemplars: true);
                break;
            case Metric.DataOneofCase.Histogram:
                foreach (HistogramDataPoint point in metric.Histogram.DataPoints) Add(metric, name, point);
                break;
            case Metric.DataOneofCase.ExponentialHistogram:
                foreach (ExponentialHistogramDataPoint point in metric.ExponentialHistogram.DataPoints) Add(metric, name, point);
                break;
            default:
                foreach (SummaryDataPoint point in metric.Summary.DataPoints) Add(metric, name, point);
                break;
        }
    }

    private void Add(Metric metric, string name, NumberDataPoint point, bool withExemplars)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        double value = point.ValueCase == NumberDataPoint.ValueOneofCase.AsInt ? point.AsInt : point.AsDouble;
        OtlpSeries series = Series.Add(new Key(LabelsOf(point.Attributes), name), SampleOf(timeMs, value, point.Flags));
        if (withExemplars) series.Exemplars.AddRange(OtlpExemplars.Of(point.Exemplars));
    }

    /// <summary>Prometheus' classic form: counts up to each bound, and all.</summary>
    private void Add(Metric metric, string name, HistogramDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        int labels = LabelsOf(point.Attributes);
        if (point.HasSum) Series.Add(new Key(labels, name + "_sum"), SampleOf(timeMs, point.Sum, point.Flags));
        Series.Add(new Key(labels, name + "_count"), SampleOf(timeMs, point.Count, point.Flags));
        string bucketName = name + "_bucket";
        var buckets = new List<(double Bound, OtlpSeries Series)>(point.ExplicitBounds.Count + 1);
        ulong count = 0;
        for (int i = 0; i < Math.Min(point.ExplicitBounds.Count, point.BucketCounts.Count); i++)
        {
            count = unchecked(count + point.BucketCounts[i]);
            double bound = point.ExplicitBounds[i];
            buckets.Add((bound, Series.Add(new Key(labels, bucketName, "le", Plain(bound)), SampleOf(timeMs, count, point.Flags))));
        }

        buckets.Add((double.PositiveInfinity, Series.Add(new Key(labels, bucketName, "le", "+Inf"), SampleOf(timeMs, point.Count, point.Flags))));
        OtlpExemplars.Spread(OtlpExemplars.Of(point.Exemplars), buckets);
    }

    private void Add(Metric metric, string name, ExponentialHistogramDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        if (OtlpHistograms.TryConvert(point, timeMs, out string? problem) is not { } histogram)
        {
            Refusals.Add(OtlpRefusal.Histogram, metric.Name, 1, $"cannot convert exponential to native histogram: {problem}");
            return;
        }

        Series.Add(new Key(LabelsOf(point.Attributes), name), histogram).Exemplars.AddRange(OtlpExemplars.Of(point.Exemplars));
    }

    private void Add(Metric metric, string name, SummaryDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        int labels = LabelsOf(point.Attributes);
        Series.Add(new Key(labels, name + "_sum"), SampleOf(timeMs, point.Sum, point.Flags));
        Series.Add(new Key(labels, name + "_count"), SampleOf(timeMs, point.Count, point.Flags));
        foreach (SummaryDataPoint.Types.ValueAtQuantile quantile in point.QuantileValues)
            Series.Add(new Key(labels, name, "quantile", Plain(quantile.Quantile)), SampleOf(timeMs, quantile.Value, point.Flags));
    }

    /// <summary>What is known of the resource, told for as long as its data points go.</summary>
    private void AddTarget()
    {
        if (_earliest > _latest || _labels.OfTarget() is not { } target) return;
        var key = new Key(Series.Intern(target), TargetInfo);
        long last = -1;
        for (ulong time = _earliest; time < _latest && !IsTooMany; time += TargetInfoStep)
        {
            last = (long)(time / NanosecondsInMs);
            Series.Add(key, Sample.Of(last, 1));

            // Where the end is less than a step from all that a number holds.
            if (_latest - time < TargetInfoStep) break;
        }

        long end = (long)(_latest / NanosecondsInMs);
        if (last < end) Series.Add(key, Sample.Of(end, 1));
    }

    private int LabelsOf(RepeatedField<KeyValue> attributes) => Series.Intern(_labels.Of(attributes));

    private void Refuse(Metric metric, AggregationTemporality temporality)
    {
        IEnumerable<ulong> times = metric.DataCase switch
        {
            Metric.DataOneofCase.Sum => metric.Sum.DataPoints.Select(static point => point.TimeUnixNano),
            Metric.DataOneofCase.Histogram => metric.Histogram.DataPoints.Select(static point => point.TimeUnixNano),
            _ => metric.ExponentialHistogram.DataPoints.Select(static point => point.TimeUnixNano),
        };
        long points = 0;
        foreach (ulong time in times)
        {
            // The resource was there, whatever becomes of its points.
            if (time > 0) Note(time);
            points++;
        }

        string told = temporality == AggregationTemporality.Delta ? "delta" : "unspecified";
        Refusals.Add(OtlpRefusal.Temporality, metric.Name, points, $"invalid temporality and type combination: {told}, cumulative needed");
    }

    private long? TimeOf(Metric metric, ulong nanoseconds)
    {
        if (nanoseconds == 0)
        {
            Refusals.Add(OtlpRefusal.Time, metric.Name, 1, "no time (time_unix_nano)");
            return null;
        }

        Note(nanoseconds);
        return (long)(nanoseconds / NanosecondsInMs);
    }

    private void Note(ulong nanoseconds)
    {
        _earliest = Math.Min(_earliest, nanoseconds);
        _latest = Math.Max(_latest, nanoseconds);
    }
}
