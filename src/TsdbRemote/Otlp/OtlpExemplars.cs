using System.Runtime.InteropServices;
using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;
using Exemplar = TsdbRemote.Protos.Prometheus.Exemplar;

namespace TsdbRemote.Otlp;

/// <summary>Exemplars of data points as those of remote write.</summary>
internal static class OtlpExemplars
{
    /// <summary>Characters of names and values together; attributes that would not fit are left out, the trace stays.</summary>
    private const int MaxChars = 128;

    private const string TraceId = "trace_id";
    private const string SpanId = "span_id";

    /// <summary>Translates exemplars; one without a value is none.</summary>
    public static List<Exemplar> Of(IEnumerable<Protos.Otlp.Exemplar> exemplars) =>
        [.. exemplars.Where(static exemplar => exemplar.ValueCase != Protos.Otlp.Exemplar.ValueOneofCase.None).Select(Of)];

    /// <summary>Gives each exemplar to the narrowest bucket that holds it.</summary>
    /// <param name="exemplars">The exemplars.</param>
    /// <param name="buckets">Upper bounds, in any order, and their series; put in order.</param>
    public static void Spread(List<Exemplar> exemplars, List<(double Bound, OtlpSeries Series)> buckets)
    {
        if (exemplars.Count == 0) return;
        (double Bound, OtlpSeries Series)[] ascending = [.. buckets.Where(static bucket => !double.IsNaN(bucket.Bound)).OrderBy(static bucket => bucket.Bound)];
        double[] bounds = [.. ascending.Select(static bucket => bucket.Bound)];
        foreach (Exemplar exemplar in exemplars)
        {
            if (double.IsNaN(exemplar.Value)) continue;
            int at = Array.BinarySearch(bounds, exemplar.Value);
            if (at < 0) at = ~at;
            while (at > 0 && bounds[at - 1] == exemplar.Value) at--;
            ascending[at].Series.Exemplars.Add(exemplar);
        }
    }

    private static Exemplar Of(Protos.Otlp.Exemplar source)
    {
        var exemplar = new Exemplar
        {
            Timestamp = (long)(source.TimeUnixNano / 1_000_000),
            Value = source.ValueCase == Protos.Otlp.Exemplar.ValueOneofCase.AsInt ? source.AsInt : source.AsDouble,
        };
        List<Label> labels = [.. new[] { IdOf(TraceId, source.TraceId), IdOf(SpanId, source.SpanId) }.OfType<Label>()];
        List<Label> attributes = [.. source.FilteredAttributes.Select(static pair => new Label { Name = pair.Key, Value = OtlpValues.Print(pair.Value) })];
        if (CharsOf(labels) + CharsOf(attributes) <= MaxChars) labels.AddRange(attributes);
        exemplar.Labels.AddRange(labels.OrderBy(static label => label.Name, StringComparer.Ordinal));
        return exemplar;
    }

    private static Label? IdOf(string name, ByteString id) =>
        id.Span.IndexOfAnyExcept((byte)0) < 0 ? null : new Label { Name = name, Value = Convert.ToHexStringLower(id.Span) };

    private static long CharsOf(List<Label> labels)
    {
        long chars = 0;
        foreach (Label label in CollectionsMarshal.AsSpan(labels)) chars += label.Name.EnumerateRunes().Count() + label.Value.EnumerateRunes().Count();
        return chars;
    }
}
