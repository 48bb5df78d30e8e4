using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Google.Protobuf;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Endpoints;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>One of the two servers that a row asks. What it answers comes as short text, times as distances from <see cref="At"/> 0.</summary>
public sealed partial class Peer(ChildProcess process, Func<Task> start, long epochMs)
{
    private const string WritePath = "/api/v1/write";

    // Of a longer text the page shows the beginning; other tests know it whole.
    private const int LongText = 112;

    public ChildProcess Process { get; } = process;

    /// <summary>A time of the row's, ms since the epoch.</summary>
    public long At(long ms = 0) => epochMs + ms;

    /// <summary>Kills the server without a word and starts it again.</summary>
    public Task RestartAsync()
    {
        Process.Kill();
        return start();
    }

    /// <summary>Sends a request of either version as Prometheus would.</summary>
    public Task<string> WriteAsync(IMessage request) => SendAsync(HttpMethod.Post, WritePath, Requests.Compress(request), Requests.HeadersOf(request));

    /// <summary>Sends a request with headers of the row's own.</summary>
    public Task<string> WriteAsync(IMessage request, params (string Name, string Value)[] headers) =>
        SendAsync(HttpMethod.Post, WritePath, Requests.Compress(request), headers);

    /// <summary>Sends a body to the write path.</summary>
    public Task<string> WriteBytesAsync(byte[] body, params (string Name, string Value)[] headers) => SendAsync(HttpMethod.Post, WritePath, body, headers);

    /// <summary>Status, the three counts of 2.0 if they are there, and the first line of the text.</summary>
    public async Task<string> SendAsync(HttpMethod method, string path, byte[]? body, params (string Name, string Value)[] headers)
    {
        try
        {
            (HttpResponseMessage answer, byte[] bytes) = await ExchangeAsync(method, path, body, headers);
            using HttpResponseMessage owned = answer;
            return Short(answer, Encoding.UTF8.GetString(bytes));
        }
        catch (HttpRequestException cut) when (cut.HttpRequestError == HttpRequestError.ResponseEnded)
        {
            return "connection cut";
        }
    }

    /// <summary>What a JSON answer holds: its data, or its error.</summary>
    public async Task<string> JsonAsync(string path, HttpMethod? method = null)
    {
        (HttpResponseMessage answer, byte[] bytes) = await ExchangeAsync(method ?? HttpMethod.Get, path, null, []);
        using HttpResponseMessage owned = answer;
        string text = Encoding.UTF8.GetString(bytes);
        if (bytes.Length == 0 || answer.Content.Headers.ContentType?.MediaType != "application/json") return Short(answer, text);
        JsonNode json = JsonNode.Parse(text)!;
        string content = json["error"] is { } error ? $"{json["errorType"]}: {error}" : json["data"]!.ToJsonString(Unescaped);
        string warnings = json["warnings"] is { } list ? " " + list.ToJsonString(Unescaped) : "";
        return Relative($"{(int)answer.StatusCode} {content}{warnings}");
    }

    /// <summary>The series that match, by remote read as SAMPLES, sorted.</summary>
    public Task<string> ReadAsync(params LabelMatcher[] matchers) => ReadAsync(Requests.Read(Requests.Query(At(-3_600_000), At(3_600_000), matchers)));

    /// <summary>The series of one metric.</summary>
    public Task<string> ReadAsync(string metric) => ReadAsync(Requests.Eq("__name__", metric));

    /// <summary>The results of a read as SAMPLES.</summary>
    public async Task<string> ReadAsync(ReadRequest request)
    {
        (HttpResponseMessage answer, byte[] bytes) = await ReadBytesAsync(request);
        using HttpResponseMessage owned = answer;
        if (answer.StatusCode != HttpStatusCode.OK) return Short(answer, Encoding.UTF8.GetString(bytes));
        var results = ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(bytes)).Results;
        return string.Join(" / ", results.Select(result => Series(result.Timeseries.Select(one => Printed.Of(one, epochMs)))));
    }

    /// <summary>The frames of a streamed read; each frame's checksum and number of series is checked on the way.</summary>
    public async Task<IReadOnlyList<ChunkedReadResponse>> FramesAsync(ReadRequest request)
    {
        (HttpResponseMessage answer, byte[] bytes) = await ReadBytesAsync(request.Accepting(1));
        using HttpResponseMessage owned = answer;
        Assert.True(answer.StatusCode == HttpStatusCode.OK, Encoding.UTF8.GetString(bytes));
        return Frames.Of(bytes);
    }

    /// <summary>The series of a streamed read, in the order of the frames.</summary>
    public async Task<string> StreamAsync(params LabelMatcher[] matchers) => Printed.Of(
        await FramesAsync(Requests.Read(Requests.Query(At(-3_600_000), At(3_600_000), matchers))), epochMs);

    /// <summary>What is kept of a metric's exemplars.</summary>
    public Task<string> ExemplarsAsync(string metric) => JsonAsync(
        FormattableString.Invariant($"/api/v1/query_exemplars?query={metric}&start={At(-3_600_000) / 1000}&end={At(3_600_000) / 1000}"));

    /// <summary>Status and named headers of a read.</summary>
    public async Task<string> ReadHeadersAsync(ReadRequest request)
    {
        (HttpResponseMessage answer, byte[] bytes) = await ReadBytesAsync(request);
        using HttpResponseMessage owned = answer;
        if (answer.StatusCode != HttpStatusCode.OK) return Short(answer, Encoding.UTF8.GetString(bytes));
        string encoding = string.Join(',', answer.Content.Headers.ContentEncoding);
        return $"200 {answer.Content.Headers.GetValues("Content-Type").Single()}, {(encoding.Length == 0 ? "not compressed" : encoding)}";
    }

    /// <summary>Status of a call with any method, and its value of a header.</summary>
    public async Task<string> HeaderAsync(HttpMethod method, string path, string header, byte[]? body = null, params (string Name, string Value)[] headers)
    {
        (HttpResponseMessage answer, _) = await ExchangeAsync(method, path, body, headers);
        using HttpResponseMessage owned = answer;
        string value = answer.Headers.TryGetValues(header, out IEnumerable<string>? values) ? string.Join(',', values) : "none";
        return $"{(int)answer.StatusCode} {header}: {value}";
    }

    private static readonly System.Text.Json.JsonSerializerOptions Unescaped = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static string Series(IEnumerable<string> series) => string.Join("; ", series.Order(StringComparer.Ordinal)) is { Length: > 0 } text ? text : "nothing";

    private Task<(HttpResponseMessage Answer, byte[] Body)> ReadBytesAsync(ReadRequest request) =>
        ExchangeAsync(HttpMethod.Post, "/api/v1/read", Requests.Compress(request), Requests.ReadHeaders);

    private string Short(HttpResponseMessage answer, string text)
    {
        string counts = answer.Headers.Contains(Counts[0]) ? " W " + string.Join('/', Counts.Select(name => answer.Headers.GetValues(name).Single())) : "";
        string line = Relative(text.Split('\n')[0]);
        if (line.Length > LongText) line = line[..LongText] + "…";
        return line.Length == 0 ? $"{(int)answer.StatusCode}{counts}" : $"{(int)answer.StatusCode}{counts} {line}";
    }

    private static readonly string[] Counts =
        [.. new[] { "Samples", "Histograms", "Exemplars" }.Select(static what => $"X-Prometheus-Remote-Write-{what}-Written")];

    private string Relative(string text)
    {
        string seconds = TimestampPattern().Replace(text, found => Distance((long)(decimal.Parse(found.Groups[1].Value, CultureInfo.InvariantCulture) * 1000)));
        return MillisecondsPattern().Replace(seconds, found => Distance(long.Parse(found.Value, CultureInfo.InvariantCulture)));
    }

    private string Distance(long timeMs) => FormattableString.Invariant($"T{timeMs - epochMs:+0;-0;+0}");

    private async Task<(HttpResponseMessage Answer, byte[] Body)> ExchangeAsync(HttpMethod method, string path, byte[]? body, (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative));
        if (body is not null) request.Content = new ByteArrayContent(body);
        foreach ((string name, string value) in headers)
        {
            bool taken = name.StartsWith("Content-", StringComparison.Ordinal)
                ? request.Content!.Headers.TryAddWithoutValidation(name, value)
                : request.Headers.TryAddWithoutValidation(name, value);
            Assert.True(taken, name);
        }

        HttpResponseMessage answer = await Process.Client.SendAsync(request);
        return (answer, await answer.Content.ReadAsByteArrayAsync());
    }

    [GeneratedRegex("(?<=\"timestamp\":)([0-9]{10}(?:[.][0-9]+)?)")]
    private static partial Regex TimestampPattern();

    [GeneratedRegex(@"(?<![0-9a-f])1[0-9]{12}(?![0-9])")]
    private static partial Regex MillisecondsPattern();
}
