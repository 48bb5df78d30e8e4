using Prometheus;

namespace TsdbRemote.Telemetry;

/// <summary>Who was not let in and why, and what became of the web-config file. Thread-safe.</summary>
internal sealed class AccessMetrics
{
    private readonly Counter _refused;
    private readonly Counter _passwords;
    private readonly Counter _reloads;
    private readonly Counter _failures;
    private readonly Gauge _good;
    private readonly Gauge _notAfter;

    /// <summary>Registers the metrics.</summary>
    public AccessMetrics(CollectorRegistry registry)
    {
        MetricFactory factory = Prometheus.Metrics.WithCustomRegistry(registry);
        _refused = factory.CreateCounter("tsdb_remote_access_refused_total", "Requests that were not let in, by reason.", "reason");
        _passwords = factory.CreateCounter("tsdb_remote_access_passwords_checked_total", "Passwords that bcrypt was run for; others were known.");
        _reloads = factory.CreateCounter("tsdb_remote_web_config_reloads_total", "Times the web-config file or a certificate was taken over anew.");
        _failures = factory.CreateCounter("tsdb_remote_web_config_reload_failures_total", "Times it was not, because it does not hold; the old one goes on.");
        _good = factory.CreateGauge("tsdb_remote_web_config_reload_success", "1 if the last change of the web-config file or a certificate was taken over, or there was none.");
        _notAfter = factory.CreateGauge("tsdb_remote_tls_certificate_not_after_seconds", "When the server's certificate ends, seconds since the epoch; 0 without TLS.");
        _good.Set(1);
    }

    /// <summary>Counts a request that was not let in.</summary>
    public void Refused(string reason) => _refused.WithLabels(reason).Inc();

    /// <summary>Counts a run of bcrypt.</summary>
    public void PasswordChecked() => _passwords.Inc();

    /// <summary>Notes the certificate of the start.</summary>
    public void Loaded(DateTimeOffset? notAfter) => _notAfter.Set(notAfter?.ToUnixTimeSeconds() ?? 0);

    /// <summary>Counts a change of the files.</summary>
    public void Reloaded(bool isGood, DateTimeOffset? notAfter)
    {
        (isGood ? _reloads : _failures).Inc();
        _good.Set(isGood ? 1 : 0);
        Loaded(notAfter);
    }
}
