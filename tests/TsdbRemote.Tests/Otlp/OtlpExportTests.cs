using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Options;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Endpoints;
using OtlpMessages = TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Tests.Otlp;

/// <summary>What exports are translated into, by scripts.</summary>
public sealed class OtlpExportTests
{
    private const long BaseMs = 1_700_000_000_000;

    [Fact]
    public async Task Exports_become_what_Prometheus_makes_of_them()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        DataDriven.Run("otlp/exports.txt", command =>
        {
            byte[] json = Encoding.UTF8.GetBytes(string.Concat(command.Input));
            Answer answer = server.SendAsync(HttpMethod.Post, "/api/v1/otlp/v1/metrics", json, ("Content-Type", "application/json")).GetAwaiter().GetResult();
            return string.Join('\n', [$"{(int)answer.Status} {answer.Text}".TrimEnd(), .. Translate(json, TranslationStrategy.UnderscoreEscapingWithSuffixes)]);
        });
    }

    private static IEnumerable<string> Translate(byte[] json, TranslationStrategy strategy)
    {
        if (OtlpMessage.Parse(json, isJson: true, out OtlpMessages.ExportRequest request) is not null) return [];
        var translator = new OtlpTranslator(new OtlpNames(strategy), long.MaxValue, long.MaxValue);
        translator.Translate(request, CancellationToken.None);
        using PooledBuffer body = PooledBuffer.Rent(1024);
        Assert.True(translator.Series.TryEncode(body, int.MaxValue));
        WriteRequest written = WriteRequest.Parser.ParseFrom(body.Span);
        return [
            .. written.Timeseries.Select(Print).Order(StringComparer.Ordinal),
            .. written.Metadata.Select(static known => $"# {known.MetricFamilyName} {known.Type} {known.Unit} {known.Help}".TrimEnd()).Order(StringComparer.Ordinal),
        ];
    }

    private static string Print(TimeSeries series)
    {
        var text = new StringBuilder();
        text.Append(Print(series.Labels));
        foreach (Protos.Prometheus.Sample sample in series.Samples) text.Append(CultureInfo.InvariantCulture, $" {Seconds(sample.Timestamp)}:{Number(sample.Value)}");
        foreach (Histogram histogram in series.Histograms) text.Append(' ').Append(Print(histogram));
        foreach (Exemplar exemplar in series.Exemplars)
            text.Append(CultureInfo.InvariantCulture, $" exemplar {Print(exemplar.Labels)} {Seconds(exemplar.Timestamp)}:{Number(exemplar.Value)}");
        return text.ToString();
    }

    private static string Print(IEnumerable<Label> labels) =>
        "{" + string.Join(", ", labels.Select(static label => $"{label.Name}=\"{label.Value.Replace("\n", "\\n", StringComparison.Ordinal)}\"")) + "}";

    private static string Print(Histogram histogram)
    {
        string head = string.Create(
            CultureInfo.InvariantCulture,
            $"{Seconds(histogram.Timestamp)}:h(count {histogram.CountInt} sum {Number(histogram.Sum)} schema {histogram.Schema} zero {histogram.ZeroCountInt} to {histogram.ZeroThreshold:R}");
        return $"{head}{Buckets(" +", histogram.PositiveSpans, histogram.PositiveDeltas)}{Buckets(" -", histogram.NegativeSpans, histogram.NegativeDeltas)})";
    }

    private static string Buckets(string sign, IEnumerable<Protos.Prometheus.BucketSpan> spans, Google.Protobuf.Collections.RepeatedField<long> deltas)
    {
        var text = new StringBuilder();
        using IEnumerator<long> delta = deltas.GetEnumerator();
        long index = 0;
        long count = 0;
        foreach (Protos.Prometheus.BucketSpan span in spans)
        {
            index += span.Offset;
            for (uint i = 0; i < span.Length; i++, index++)
            {
                Assert.True(delta.MoveNext());
                count += delta.Current;
                text.Append(CultureInfo.InvariantCulture, $"{sign}[{index}]:{count}");
            }
        }

        Assert.False(delta.MoveNext());
        return text.ToString();
    }

    private static string Seconds(long timeMs) => ((timeMs - BaseMs) / 1000m).ToString("0.###", CultureInfo.InvariantCulture);

    private static string Number(double value) => BitConverter.DoubleToUInt64Bits(value) == StaleMarker.Bits ? "stale" : value.ToString("R", CultureInfo.InvariantCulture);
}
