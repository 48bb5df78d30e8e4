using System.Globalization;
using Prometheus;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Telemetry;

/// <summary>What the HTTP surface counts by itself: requests, answers, latencies, what reads returned. Thread-safe.</summary>
internal sealed class HttpMetrics
{
    private static readonly double[] LatencySeconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

    private readonly Counter _writes;
    private readonly Histogram.Child _writeSecondsV1;
    private readonly Histogram.Child _writeSecondsV2;
    private readonly Counter.Child _writtenV1;
    private readonly Counter.Child _writtenV2;
    private readonly Histogram.Child _writeSecondsOtlp;
    private readonly Counter _otlpRefused;
    private readonly Counter _reads;
    private readonly Histogram _readSeconds;
    private readonly Counter _series;
    private readonly Counter _samples;
    private readonly Counter _bytes;

    /// <summary>Registers the metrics.</summary>
    public HttpMetrics(CollectorRegistry registry)
    {
        MetricFactory factory = Prometheus.Metrics.WithCustomRegistry(registry);
        _writes = factory.CreateCounter("tsdb_remote_write_requests_total", "Write requests answered, by remote write version, or otlp, and HTTP status.", "version", "code");
        Histogram writeSeconds = factory.CreateHistogram(
            "tsdb_remote_write_request_duration_seconds", "Time from a write request's headers to its answer.",
            ["version"], new HistogramConfiguration { Buckets = LatencySeconds });
        _writeSecondsV1 = writeSeconds.WithLabels("1");
        _writeSecondsV2 = writeSeconds.WithLabels("2");
        _writeSecondsOtlp = writeSeconds.WithLabels("otlp");
        _otlpRefused = factory.CreateCounter("tsdb_remote_otlp_points_refused_total", "Data points of OTLP that have no translation, by reason.", "reason");
        _writtenV1 = _writes.WithLabels("1", "204");
        _writtenV2 = _writes.WithLabels("2", "204");
        _reads = factory.CreateCounter(
            "tsdb_remote_read_requests_total", "Read requests answered, by form of the answer and HTTP status; 499: the reader went away.", "type", "code");
        _readSeconds = factory.CreateHistogram(
            "tsdb_remote_read_request_duration_seconds", "Time from a read request's headers to the last byte of its answer, waiting included.",
            ["type"], new HistogramConfiguration { Buckets = LatencySeconds });
        _series = factory.CreateCounter("tsdb_remote_read_series_total", "Series returned by reads.", "type");
        _samples = factory.CreateCounter("tsdb_remote_read_samples_total", "Samples returned by reads.", "type");
        _bytes = factory.CreateCounter("tsdb_remote_read_response_bytes_total", "Bytes of the bodies that reads returned.", "type");
    }

    /// <summary>Counts a write request.</summary>
    public void Written(WriteProtocol protocol, int status, TimeSpan took)
    {
        bool first = protocol == WriteProtocol.V1;
        (first ? _writeSecondsV1 : _writeSecondsV2).Observe(took.TotalSeconds);
        if (status == StatusCodes.Status204NoContent) (first ? _writtenV1 : _writtenV2).Inc();
        else _writes.WithLabels(first ? "1" : "2", status.ToString(CultureInfo.InvariantCulture)).Inc();
    }

    /// <summary>Counts an OTLP export.</summary>
    public void WrittenOtlp(int status, TimeSpan took)
    {
        _writeSecondsOtlp.Observe(took.TotalSeconds);
        _writes.WithLabels("otlp", status.ToString(CultureInfo.InvariantCulture)).Inc();
    }

    /// <summary>Counts data points of an OTLP export that could not be translated.</summary>
    public void RefusedOtlp(string reason, long points) => _otlpRefused.WithLabels(reason).Inc(points);

    /// <summary>Counts a read request.</summary>
    public void Read(bool streamed, int status, TimeSpan took)
    {
        _reads.WithLabels(TypeOf(streamed), status.ToString(CultureInfo.InvariantCulture)).Inc();
        _readSeconds.WithLabels(TypeOf(streamed)).Observe(took.TotalSeconds);
    }

    /// <summary>Counts what a read returned.</summary>
    public void Returned(bool streamed, ReadCounts counts)
    {
        string type = TypeOf(streamed);
        _series.WithLabels(type).Inc(counts.Series);
        _samples.WithLabels(type).Inc(counts.Samples);
        _bytes.WithLabels(type).Inc(counts.Bytes);
    }

    private static string TypeOf(bool streamed) => streamed ? "streamed" : "samples";
}
