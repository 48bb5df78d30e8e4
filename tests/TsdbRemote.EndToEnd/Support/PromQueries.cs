namespace TsdbRemote.EndToEnd.Support;

/// <summary>Questions about a <see cref="ScrapeHistory"/>, and whether two Prometheus answer them alike.</summary>
public static class PromQueries
{
    public static readonly (string Name, string Query)[] All =
    [
        ("selector", "up"),
        ("regex over names", "{__name__=~\"http_.*|up\", job=\"node\"}"),
        ("negative regex", "goroutines{instance!~\"10.0.0.[0-3]:.*\"}"),
        ("rate", "rate(http_requests_total[5m])"),
        ("rate over a restart", "rate(http_requests_total{instance=\"10.0.0.5:9100\"}[6h])"),
        ("increase", "increase(http_requests_total[1h])"),
        ("resets", "resets(http_requests_total[10h])"),
        ("sum by", "sum by (job, code) (rate(http_requests_total[10m]))"),
        ("average without", "avg without (instance) (process_resident_memory_bytes)"),
        ("histogram quantile", "histogram_quantile(0.9, sum by (le, job) (rate(http_request_duration_seconds_bucket[15m])))"),
        ("mean of a histogram", "rate(http_request_duration_seconds_sum[30m]) / rate(http_request_duration_seconds_count[30m])"),
        ("offset", "temperature_celsius offset 3h"),
        ("rate with offset", "rate(cpu_seconds_total[10m] offset 90m)"),
        ("negative offset", "goroutines offset -10m"),
        ("absent", "absent(up{job=\"nowhere\"})"),
        ("absent over time", "absent_over_time(pod_cpu_seconds_total{pod=\"app-99\"}[3h])"),
        ("topk", "topk(7, sum by (instance, handler) (rate(http_requests_total[20m])))"),
        ("stale series by count", "count_over_time(pod_cpu_seconds_total[10h])"),
        ("series that went stale", "pod_cpu_seconds_total"),
        ("target away with markers", "count_over_time(up{instance=\"10.0.0.4:9100\"}[10h])"),
        ("target away without", "changes(goroutines{instance=\"10.0.0.3:9100\"}[10h])"),
        ("raw samples of counters", "http_requests_total{code=\"500\"}[20m]"),
        ("raw samples with NaN", "latency_seconds[30m]"),
        ("raw samples of odd values", "odd_values[2h]"),
        ("last values of everything", "last_over_time({__name__=~\".+\"}[10h])"),
        ("all samples counted", "count_over_time(http_request_duration_seconds_bucket[10h])"),
        ("all samples summed", "sum_over_time(cpu_seconds_total[10h])"),
        ("series by name", "count by (__name__) ({__name__=~\".+\"})"),
        ("quantile over time", "quantile_over_time(0.25, queue_length[4h])"),
        ("deviation", "stddev_over_time(temperature_celsius[3h])"),
        ("regression", "deriv(process_resident_memory_bytes[2h])"),
        ("subquery", "max_over_time(rate(http_requests_total{code=\"200\"}[5m])[3h:1m])"),
        ("unless", "up unless on (instance) (rate(http_requests_total{code=\"404\"}[5m]) > 20)"),
        ("labels of all kinds", "odd_labels[10h]"),
        ("timestamps", "timestamp(temperature_celsius)"),
        ("present over time", "present_over_time(pod_cpu_seconds_total[1h])"),
    ];

    /// <summary>Asks both everything, at some instants and over ranges.</summary>
    /// <returns>What differs, for people; and questions that have an answer at no instant, which show nothing.</returns>
    public static async Task<IReadOnlyList<string>> DifferencesAsync(
        PrometheusProcess expected, PrometheusProcess actual, long startMs, long endMs, IEnumerable<(string Name, string Query)> queries)
    {
        List<string> differences = [];
        double start = startMs / 1000.0;
        double end = endMs / 1000.0;
        double[] instants = [start + (end - start) * 0.31, start + (end - start) * 0.52, start + (end - start) * 0.76, end - 1];
        foreach ((string name, string query) in queries)
        {
            bool hasAnswer = false;
            foreach (double instant in instants)
            {
                string answer = await expected.QueryAsync(query, instant);
                hasAnswer |= answer.Length > 0;
                Compare($"{name}: {query} @ {instant}", answer, await actual.QueryAsync(query, instant), differences);
            }

            if (!hasAnswer) differences.Add($"{name}: {query}: no answer at all");
            if (query.EndsWith(']')) continue;
            double step = Math.Floor((end - start) / 60);
            Compare(
                $"{name}: {query} over the range", await expected.QueryRangeAsync(query, start, end, step), await actual.QueryRangeAsync(query, start, end, step), differences);
        }

        return differences;
    }

    private static void Compare(string what, string expected, string actual, List<string> differences)
    {
        if (expected == actual) return;
        int at = 0;
        while (at < expected.Length && at < actual.Length && expected[at] == actual[at]) at++;
        int from = Math.Max(0, at - 200);
        differences.Add($"{what}\n  expected: …{Cut(expected, from)}\n  actual:   …{Cut(actual, from)}");
    }

    private static string Cut(string text, int from) => text[Math.Min(from, text.Length)..Math.Min(text.Length, from + 500)];
}
