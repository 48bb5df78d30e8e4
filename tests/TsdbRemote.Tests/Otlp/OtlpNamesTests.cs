using TsdbRemote.Options;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Tests.Otlp;

/// <summary>Names by each of the four strategies; what Prometheus' own tests of its translator expect is among them.</summary>
public sealed class OtlpNamesTests
{
    private const TranslationStrategy Default = TranslationStrategy.UnderscoreEscapingWithSuffixes;
    private const TranslationStrategy Plain = TranslationStrategy.UnderscoreEscapingWithoutSuffixes;
    private const TranslationStrategy Utf8 = TranslationStrategy.NoUtf8EscapingWithSuffixes;
    private const TranslationStrategy Same = TranslationStrategy.NoTranslation;

    [Theory]
    [InlineData(Default, "gauge", "throughput", "By/s", "throughput_bytes_per_second")]
    [InlineData(Default, "gauge", "custom_metric", "unit@with#special/chars", "custom_metric_unit_with_special_per_chars")]
    [InlineData(Default, "gauge", "metric__with__multiple__underscores", "unit__multiple__underscores", "metric_with_multiple_underscores_unit_multiple_underscores")]
    [InlineData(Default, "counter", "requests_total", "", "requests_total")]
    [InlineData(Default, "counter", "requests.total.count", "1", "requests_count_total")]
    [InlineData(Default, "gauge", "cpu_usage_ratio", "1", "cpu_usage_ratio")]
    [InlineData(Default, "gauge", "custom_metric", "By/{custom}", "custom_metric_bytes")]
    [InlineData(Default, "gauge", "@#$%", "", "")]
    [InlineData(Plain, "gauge", "metric@@##$$name", "s", "metric_name")]
    [InlineData(Plain, "counter", "http.server_requests", "1", "http_server_requests")]
    [InlineData(Plain, "gauge", "a__b", "", "a__b")]
    [InlineData(Plain, "gauge", "123metric", "", "_123metric")]
    [InlineData(Utf8, "counter", "requêsts", "", "requêsts_total")]
    [InlineData(Utf8, "gauge", "cpu_usagé", "1", "cpu_usagé_ratio")]
    [InlineData(Utf8, "gauge", "cpu_usage_ratio", "1", "cpu_usage_ratio")]
    [InlineData(Utf8, "gauge", "respønse_time", "ms", "respønse_time_milliseconds")]
    [InlineData(Utf8, "gauge", "response_time_seconds", "s", "response_time_seconds")]
    [InlineData(Utf8, "counter", "requêsts", "1/s", "requêsts_per_second_total")]
    [InlineData(Utf8, "counter", "cpu_seconds_total", "s", "cpu_seconds_total")]
    [InlineData(Utf8, "counter", "@#$%", "", "@#$%_total")]
    [InlineData(Utf8, "counter", "total", "", "total_total")]
    [InlineData(Same, "counter", "http.server.duration", "ms", "http.server.duration")]
    public void Names_of_metrics(TranslationStrategy strategy, string kind, string name, string unit, string expected)
    {
        var metric = new Metric { Name = name, Unit = unit };
        if (kind == "counter") metric.Sum = new Sum { IsMonotonic = true };
        else metric.Gauge = new Gauge();
        Assert.Equal(expected, new OtlpNames(strategy).OfMetric(metric));
    }

    [Theory]
    [InlineData(Default, "http.method", "http_method")]
    [InlineData(Default, "a..b", "a__b")]
    [InlineData(Default, "1st", "key_1st")]
    [InlineData(Default, "_private", "key_private")]
    [InlineData(Default, "__internal", "__internal")]
    [InlineData(Default, "é", "key_")]
    [InlineData(Default, "", "")]
    [InlineData(Plain, "http.method", "http_method")]
    [InlineData(Utf8, "http.method", "http.method")]
    [InlineData(Same, "1st", "1st")]
    public void Names_of_labels(TranslationStrategy strategy, string key, string expected) => Assert.Equal(expected, new OtlpNames(strategy).OfLabel(key));
}
