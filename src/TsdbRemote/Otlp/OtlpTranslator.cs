using System.Globalization;
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
/// <param name="maxText">Most characters of a metric's name, of a job and of an instance: below a longer one there can be no series, and each data point would pay for it.</param>
internal sealed class OtlpTranslator(OtlpNames names, long maxSamples, long maxText)
{
    private const int NoRecordedValue = 1;
    private const string TargetInfo = "target_info";

    /// <summary>Time between two samples of <c>target_info</c>, ns: half of what an instant query looks back, so that each finds one.</summary>
    private const ulong TargetInfoStep = 150_000_000_000;

    /// <summary>How far before the last data point of a resource <c>target_info</c> is told again and again, ns. A single clock that is years off must not make a million samples.</summary>
    private const ulong TargetInfoSpan = 3_600_000_000_000;

    private const ulong NanosecondsInMs = 1_000_000;

    // Of the resource whose metrics are being translated.
    private OtlpLabels _labels = new(names, null);
    private string? _longTarget;
    private ulong _earliest;
    private ulong _latest;
    private CancellationToken _stop;

    /// <summary>What came of it.</summary>
    public OtlpSeriesSet Series { get; } = new();

    /// <summary>What did not.</summary>
    public OtlpRefusals Refusals { get; } = new();

    /// <summary>True if there are more samples than may be.</summary>
    public bool IsTooMany => Series.Samples > maxSamples;

    /// <summary>Translates a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="stop">Ends it between two data points.</param>
    /// <exception cref="OperationCanceledException">Nobody waits for the answer.</exception>
    public void Translate(ExportRequest request, CancellationToken stop)
    {
        _stop = stop;
        foreach (ResourceMetrics resource in request.ResourceMetrics)
        {
            _labels = new OtlpLabels(names, resource.Resource);
            _longTarget = TooLong("its resource's job (service.namespace, service.name)", _labels.Target.Job) ?? TooLong("its resource's instance (service.instance.id)", _labels.Target.Instance);
            Series.Begin(_labels.Target);
            (_earliest, _latest) = (ulong.MaxValue, 0);
            foreach (ScopeMetrics scope in resource.ScopeMetrics)
            {
                foreach (Metric metric in scope.Metrics) Translate(metric);
            }

            if (_longTarget is null) AddTarget();
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
            string told = temporality == AggregationTemporality.Delta ? "delta" : "unspecified";
            Refuse(metric, OtlpRefusal.Temporality, $"invalid temporality and type combination: {told}, cumulative needed");
            return;
        }

        if ((_longTarget ?? TooLong("its name", metric.Name)) is { } tooLong)
        {
            Refuse(metric, OtlpRefusal.LabelValue, tooLong);
            return;
        }

        string name = names.OfMetric(metric);
        Series.Add(new Protos.Prometheus.MetricMetadata { MetricFamilyName = name, Type = TypeOf(metric), Help = metric.Description, Unit = metric.Unit });
        switch (metric.DataCase)
        {
            case Metric.DataOneofCase.Gauge:
                int gauge = Series.InternName(name);
                Each(metric.Gauge.DataPoints, point => Add(metric, gauge, point, withExemplars: false));
                break;
            case Metric.DataOneofCase.Sum:
                int sum = Series.InternName(name);
                Each(metric.Sum.DataPoints, point => Add(metric, sum, point, withExemplars: true));
                break;
            case Metric.DataOneofCase.Histogram:
                var classic = new Family(Series, name);
                Each(metric.Histogram.DataPoints, point => Add(metric, classic, point));
                break;
            case Metric.DataOneofCase.ExponentialHistogram:
                int native = Series.InternName(name);
                Each(metric.ExponentialHistogram.DataPoints, point => Add(metric, native, point));
                break;
            default:
                var summary = new Family(Series, name);
                Each(metric.Summary.DataPoints, point => Add(metric, summary, point));
                break;
        }
    }

    private void Each<T>(RepeatedField<T> points, Action<T> add)
    {
        foreach (T point in points)
        {
            _stop.ThrowIfCancellationRequested();
            if (IsTooMany) return;
            add(point);
        }
    }

    private void Add(Metric metric, int name, NumberDataPoint point, bool withExemplars)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        double value = point.ValueCase == NumberDataPoint.ValueOneofCase.AsInt ? point.AsInt : point.AsDouble;
        OtlpSeries series = Series.Add(new Key(LabelsOf(point.Attributes), name), SampleOf(timeMs, value, point.Flags));
        if (withExemplars) series.Exemplars.AddRange(OtlpExemplars.Of(point.Exemplars));
    }

    /// <summary>Prometheus' classic form: counts up to each bound, and all.</summary>
    private void Add(Metric metric, in Family family, HistogramDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        int labels = LabelsOf(point.Attributes);
        if (point.HasSum) Series.Add(new Key(labels, family.Sum), SampleOf(timeMs, point.Sum, point.Flags));
        Series.Add(new Key(labels, family.Count), SampleOf(timeMs, point.Count, point.Flags));
        var buckets = new List<(double Bound, OtlpSeries Series)>();
        ulong count = 0;
        for (int i = 0; i < Math.Min(point.ExplicitBounds.Count, point.BucketCounts.Count) && !IsTooMany; i++)
        {
            count = unchecked(count + point.BucketCounts[i]);
            double bound = point.ExplicitBounds[i];
            buckets.Add((bound, Series.Add(new Key(labels, family.Bucket, "le", Plain(bound)), SampleOf(timeMs, count, point.Flags))));
        }

        buckets.Add((double.PositiveInfinity, Series.Add(new Key(labels, family.Bucket, "le", "+Inf"), SampleOf(timeMs, point.Count, point.Flags))));
        OtlpExemplars.Spread(OtlpExemplars.Of(point.Exemplars), buckets);
    }

    private void Add(Metric metric, int name, ExponentialHistogramDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        if (OtlpHistograms.TryConvert(point, timeMs, out string? problem) is not { } histogram)
        {
            Refusals.Add(OtlpRefusal.Histogram, metric.Name, 1, $"cannot convert exponential to native histogram: {problem}");
            return;
        }

        Series.Add(new Key(LabelsOf(point.Attributes), name), histogram).Exemplars.AddRange(OtlpExemplars.Of(point.Exemplars));
    }

    private void Add(Metric metric, in Family family, SummaryDataPoint point)
    {
        if (TimeOf(metric, point.TimeUnixNano) is not { } timeMs) return;
        int labels = LabelsOf(point.Attributes);
        Series.Add(new Key(labels, family.Sum), SampleOf(timeMs, point.Sum, point.Flags));
        Series.Add(new Key(labels, family.Count), SampleOf(timeMs, point.Count, point.Flags));
        foreach (SummaryDataPoint.Types.ValueAtQuantile quantile in point.QuantileValues)
        {
            if (IsTooMany) return;
            Series.Add(new Key(labels, family.Name, "quantile", Plain(quantile.Quantile)), SampleOf(timeMs, quantile.Value, point.Flags));
        }
    }

    /// <summary>What is known of the resource, told for as long as its data points go, but not of more than the last hour; and at the first.</summary>
    private void AddTarget()
    {
        if (_earliest > _latest || _labels.OfTarget() is not { } target) return;
        var key = new Key(Series.Intern(target), Series.InternName(TargetInfo));
        long last = -1;
        ulong from = _earliest;
        if (_latest - _earliest > TargetInfoSpan)
        {
            Series.Add(key, Sample.Of((long)(_earliest / NanosecondsInMs), 1));
            from = _latest - TargetInfoSpan;
        }

        for (ulong time = from; time < _latest && !IsTooMany; time += TargetInfoStep)
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

    /// <summary>Refuses all data points of a metric.</summary>
    private void Refuse(Metric metric, OtlpRefusal reason, string why)
    {
        IEnumerable<ulong> times = metric.DataCase switch
        {
            Metric.DataOneofCase.Gauge => metric.Gauge.DataPoints.Select(static point => point.TimeUnixNano),
            Metric.DataOneofCase.Sum => metric.Sum.DataPoints.Select(static point => point.TimeUnixNano),
            Metric.DataOneofCase.Histogram => metric.Histogram.DataPoints.Select(static point => point.TimeUnixNano),
            Metric.DataOneofCase.ExponentialHistogram => metric.ExponentialHistogram.DataPoints.Select(static point => point.TimeUnixNano),
            _ => metric.Summary.DataPoints.Select(static point => point.TimeUnixNano),
        };
        long points = 0;
        foreach (ulong time in times)
        {
            // The resource was there, whatever becomes of its points.
            if (time > 0) Note(time);
            points++;
        }

        Refusals.Add(reason, metric.Name, points, why);
    }

    /// <summary>Null, or that a text is longer than a label's value may be. UTF-8 has at least as many bytes as there are characters.</summary>
    private string? TooLong(string what, string? text) =>
        text?.Length > maxText ? string.Create(CultureInfo.InvariantCulture, $"{what} has more than {maxText} bytes (storage.limits.label_value = {maxText})") : null;

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

    /// <summary>Numbers of the names that a classic histogram or a summary has: made once for a metric, not for each of its data points.</summary>
    private readonly struct Family(OtlpSeriesSet series, string name)
    {
        public int Name { get; } = series.InternName(name);

        public int Sum { get; } = series.InternName(name + "_sum");

        public int Count { get; } = series.InternName(name + "_count");

        public int Bucket { get; } = series.InternName(name + "_bucket");
    }
}
