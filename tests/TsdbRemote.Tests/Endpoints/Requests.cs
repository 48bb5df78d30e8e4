using System.Globalization;
using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Short ways to say what a sender sends, with the generated types: they are the oracle of the hand decoders.</summary>
public static class Requests
{
    public const string V1Type = "application/x-protobuf;proto=prometheus.WriteRequest";
    public const string V2Type = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

    public static readonly (string, string)[] ReadHeaders =
    [
        ("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy"), ("Accept-Encoding", "snappy"), ("X-Prometheus-Remote-Read-Version", "0.1.0"),
    ];

    public static long NowMs => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();

    public static byte[] Compress(IMessage message) => IronSnappy.Snappy.Encode(message.ToByteArray());

    public static (string, string)[] HeadersOf(IMessage message) => message is V2.Request
        ? [("Content-Type", V2Type), ("Content-Encoding", "snappy"), ("X-Prometheus-Remote-Write-Version", "2.0.0")]
        : [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy"), ("X-Prometheus-Remote-Write-Version", "0.1.0")];

    public static WriteRequest V1(params TimeSeries[] series)
    {
        var request = new WriteRequest();
        request.Timeseries.AddRange(series);
        return request;
    }

    /// <summary>A 1.0 series; labels as <c>name=value</c>, in the order given.</summary>
    public static TimeSeries SeriesOf(string labels, params (long TimeMs, double Value)[] samples)
    {
        var series = new TimeSeries();
        foreach ((string name, string value) in Pairs(labels)) series.Labels.Add(new Label { Name = name, Value = value });
        foreach ((long time, double value) in samples) series.Samples.Add(new Sample { Timestamp = time, Value = value });
        return series;
    }

    /// <summary>A 2.0 request with its symbols collected from the series.</summary>
    public static V2.Request V2Of(params (string Labels, (long TimeMs, double Value)[] Samples)[] series)
    {
        var request = new V2.Request();
        request.Symbols.Add("");
        foreach ((string labels, (long TimeMs, double Value)[] samples) in series) Add(request, labels, samples);
        return request;
    }

    /// <summary>Adds a series to a 2.0 request.</summary>
    public static V2.TimeSeries Add(V2.Request request, string labels, params (long TimeMs, double Value)[] samples)
    {
        var series = new V2.TimeSeries();
        foreach ((string name, string value) in Pairs(labels)) series.LabelsRefs.AddRange([Symbol(request, name), Symbol(request, value)]);
        foreach ((long time, double value) in samples) series.Samples.Add(new V2.Sample { Timestamp = time, Value = value });
        request.Timeseries.Add(series);
        return series;
    }

    public static uint Symbol(V2.Request request, string text)
    {
        int at = request.Symbols.IndexOf(text);
        if (at >= 0) return (uint)at;
        request.Symbols.Add(text);
        return (uint)request.Symbols.Count - 1;
    }

    public static ReadRequest Read(params Query[] queries)
    {
        var request = new ReadRequest();
        request.Queries.AddRange(queries);
        return request;
    }

    public static ReadRequest Accepting(this ReadRequest request, params int[] types)
    {
        foreach (int type in types) request.AcceptedResponseTypes.Add((ReadRequest.Types.ResponseType)type);
        return request;
    }

    public static Query Query(long startMs, long endMs, params LabelMatcher[] matchers)
    {
        var query = new Query { StartTimestampMs = startMs, EndTimestampMs = endMs };
        query.Matchers.AddRange(matchers);
        return query;
    }

    public static LabelMatcher Eq(string name, string value) => Matcher(0, name, value);

    public static LabelMatcher Neq(string name, string value) => Matcher(1, name, value);

    public static LabelMatcher Re(string name, string value) => Matcher(2, name, value);

    public static LabelMatcher Nre(string name, string value) => Matcher(3, name, value);

    public static LabelMatcher Matcher(int type, string name, string value) => new() { Type = (LabelMatcher.Types.Type)type, Name = name, Value = value };

    /// <summary>A series as one line: labels in the order sent, then time and value bits of each sample.</summary>
    public static string Print(TimeSeries series) =>
        string.Join(',', series.Labels.Select(static label => $"{label.Name}={label.Value}")) + " "
        + string.Join(' ', series.Samples.Select(static sample =>
            string.Create(CultureInfo.InvariantCulture, $"{sample.Timestamp}:{sample.Value:R}")));

    public static ulong BitsOf(Sample sample) => BitConverter.DoubleToUInt64Bits(sample.Value);

    private static IEnumerable<(string Name, string Value)> Pairs(string labels) =>
        labels.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(static pair => (pair[..pair.IndexOf('=', StringComparison.Ordinal)], pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..]));
}
