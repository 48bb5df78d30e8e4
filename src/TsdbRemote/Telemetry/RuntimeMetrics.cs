using Prometheus;

namespace TsdbRemote.Telemetry;

/// <summary>Process and .NET runtime metrics of one registry: prometheus-net's <c>process_*</c>, <c>dotnet_*</c>, and the runtime's own meter.</summary>
/// <remarks>The meter is read once a scrape; the older event counters would wake a thread each second.</remarks>
internal sealed class RuntimeMetrics : IDisposable
{
    private readonly IDisposable _meter;

    /// <summary>Starts listening.</summary>
    public RuntimeMetrics(CollectorRegistry registry)
    {
        DotNetStats.Register(registry);
        LongestPause.Watch();
        Gauge longest = Prometheus.Metrics.WithCustomRegistry(registry).CreateGauge(
            "tsdb_remote_gc_pause_longest_seconds", "Longest time that the garbage collector has stopped all threads for, since the start.");
        registry.AddBeforeCollectCallback(() => longest.Set(LongestPause.Seconds));
        _meter = MeterAdapter.StartListening(new MeterAdapterOptions
        {
            Registry = registry,
            MetricFactory = Prometheus.Metrics.WithCustomRegistry(registry),
            InstrumentFilterPredicate = static instrument => instrument.Meter.Name == "System.Runtime",
        });
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
