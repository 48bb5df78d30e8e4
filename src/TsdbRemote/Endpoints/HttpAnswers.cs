using System.Globalization;
using System.Net.Mime;
using System.Text;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Endpoints;

/// <summary>A status and the sentence that goes with it.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Text">For people; one line or one line for each refused series. Null: no body.</param>
/// <param name="RetryAfterSeconds">When to come again, before <see cref="RetryAfter"/> draws; 0: no such header.</param>
/// <param name="Limit">The limit that refuses, to be counted; null where the engine has counted it, or it is none.</param>
internal readonly record struct HttpAnswer(int Status, string? Text, int RetryAfterSeconds = 0, Limit? Limit = null)
{
    /// <summary>Counts the limit that refuses.</summary>
    public void Count(HttpContext context)
    {
        if (Limit is { } limit) context.RequestServices.GetRequiredService<EngineHost>().OpenEngine?.Count(limit);
    }
}

/// <summary>Every status, header and error text that we send, in one table.</summary>
/// <remarks>
/// A stock Prometheus drops a batch on any 4xx, 429 included, and retries a 5xx for ever: so 4xx only where the same bytes can never succeed, and
/// 503 with Retry-After for whatever passes. Error bodies have Go's form, which Prometheus' users know: the text, a line feed, text/plain, nosniff.
/// </remarks>
internal static class HttpAnswers
{
    public const string WriteV1Message = "prometheus.WriteRequest";
    public const string WriteV2Message = "io.prometheus.write.v2.Request";
    public const string ProtobufMediaType = "application/x-protobuf";
    public const string StreamMediaType = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    public const string Snappy = "snappy";
    public const string Zstd = "zstd";
    public const string Gzip = "gzip";
    public const string JsonMediaType = "application/json";

    private const string SamplesWritten = "X-Prometheus-Remote-Write-Samples-Written";
    private const string HistogramsWritten = "X-Prometheus-Remote-Write-Histograms-Written";
    private const string ExemplarsWritten = "X-Prometheus-Remote-Write-Exemplars-Written";
    private const string Stopping = "X-Prometheus-Stopping";

    /// <summary>Characters of a header or query value that an answer repeats.</summary>
    private const int MaxEcho = 256;

    /// <summary>Senders keep 1,024 bytes of a body.</summary>
    private const int MaxText = 4096;

    // Whole request.
    public static readonly HttpAnswer NoContent = new(StatusCodes.Status204NoContent, null);
    public static readonly HttpAnswer MethodNotAllowed = new(StatusCodes.Status405MethodNotAllowed, "Method Not Allowed");
    public static readonly HttpAnswer BodyTimeout = new(StatusCodes.Status408RequestTimeout, "the body took too long to arrive (http.body_timeout)", Limit: Limit.BodyTimeout);
    public static readonly HttpAnswer ServiceUnavailable = new(StatusCodes.Status503ServiceUnavailable, "Service Unavailable");
    public static readonly HttpAnswer BodiesInFlight = new(
        StatusCodes.Status503ServiceUnavailable, "too many request bytes in flight (storage.lsm.write_buffer_size)", 5, Limit.WriteBufferSize);

    public static readonly HttpAnswer NoMemory = new(StatusCodes.Status503ServiceUnavailable, "the server has no memory for this request now", 5);

    // Access.
    public static readonly HttpAnswer Unauthorized = new(StatusCodes.Status401Unauthorized, "Unauthorized");
    public static readonly HttpAnswer PasswordsBusy = new(StatusCodes.Status503ServiceUnavailable, "too many passwords wait to be checked", 5);
    public static readonly HttpAnswer OnlyHere = new(
        StatusCodes.Status403Forbidden, "without access control (http.web_config) this is answered on the server's own machine only, and under a name of its own, unless http.allow_insecure is true");

    public static readonly HttpAnswer NotFromPages = new(StatusCodes.Status403Forbidden, "writes are not taken from pages in browsers (Origin header)");
    public static readonly HttpAnswer OldHandshake = new(
        StatusCodes.Status503ServiceUnavailable, "the rules for clients' certificates have changed since this connection was made; come again by a new one", 1);

    // Reads.
    public static readonly HttpAnswer TooManyReads = new(
        StatusCodes.Status503ServiceUnavailable, "too many reads at a time (storage.read.max_concurrent)", 5, Limit.ReadMaxConcurrent);

    public static readonly HttpAnswer ReadTimeout = new(
        StatusCodes.Status503ServiceUnavailable, "the read took too long (http.read_timeout); narrow the matchers or the time range", Limit: Limit.ReadTimeout);

    public static HttpAnswer BadSnappy(CompressionStatus status, long limit) => BadRead(status switch
    {
        CompressionStatus.Empty => "the body is empty; a snappy block expected",
        CompressionStatus.Framed => "the body is in snappy's framed format; a snappy block expected",
        CompressionStatus.TooLarge => Invariant($"snappy: decoded length exceeds limit {limit}"),
        _ => "snappy: corrupt input",
    });

    public static HttpAnswer BodyTooLarge(long limit, string what) =>
        new(StatusCodes.Status413PayloadTooLarge, Invariant($"request body exceeds the {limit} bytes limit ({what})"));

    public static HttpAnswer WriteBodyTooLarge(long limit) => BodyTooLarge(limit, Limit.WriteBody.Path()) with { Limit = Limit.WriteBody };

    public static HttpAnswer Encoding(string encoding) => new(
        StatusCodes.Status415UnsupportedMediaType, $"{Echo(encoding)} encoding (compression) is not accepted by this server; only snappy and zstd are acceptable");

    public static HttpAnswer MediaType(string mediaType) => new(
        StatusCodes.Status415UnsupportedMediaType, $"expected {ProtobufMediaType} as the first (media) part, got {Echo(mediaType)} content-type");

    public static HttpAnswer MediaParameter(string parameter, string contentType) => new(
        StatusCodes.Status415UnsupportedMediaType,
        $"expected parameters to be key-values, got {Echo(parameter)} in {Echo(contentType)} content-type");

    public static HttpAnswer UnknownMessage(string message, string contentType) => new(
        StatusCodes.Status415UnsupportedMediaType,
        $"got {Echo(contentType)} content type; unknown type for remote write protobuf message {Echo(message)}, supported: {WriteV1Message}, {WriteV2Message}");

    public static HttpAnswer RightNeeded(string right) => new(StatusCodes.Status403Forbidden, $"Forbidden: the right {right} is needed");

    // OTLP.
    public static HttpAnswer OtlpType(string type) => new(
        StatusCodes.Status400BadRequest, $"unsupported content type: {Echo(type)}, supported: [{JsonMediaType}, {ProtobufMediaType}]");

    public static HttpAnswer OtlpEncoding(string encoding) => new(
        StatusCodes.Status400BadRequest, $"unsupported compression: {Echo(encoding)}. Only \"{Gzip}\" or no compression supported");

    public static HttpAnswer OtlpBroken(string why) => new(StatusCodes.Status400BadRequest, $"not an OTLP export of metrics: {Echo(why)}");

    public static HttpAnswer OtlpTooLarge(long limit) => new(
        StatusCodes.Status400BadRequest, Invariant($"decoded size exceeds the {limit} bytes limit ({Limit.WriteDecoded.Path()})"), Limit: Limit.WriteDecoded);

    public static HttpAnswer OtlpTooManyMessages(long limit) => new(
        StatusCodes.Status413PayloadTooLarge, Invariant($"too many messages in one request ({Limit.OtlpMessages.Path()} = {limit})"), Limit: Limit.OtlpMessages);

    public static HttpAnswer OtlpTooManySamples(long limit) => new(
        StatusCodes.Status413PayloadTooLarge, Invariant($"too many samples in one request ({Limit.SamplesPerRequest.Path()} = {limit})"), Limit: Limit.SamplesPerRequest);

    public static HttpAnswer InternalError(string id) =>
        new(StatusCodes.Status500InternalServerError, $"internal error; the server's log has it under {id}");

    public static HttpAnswer Unavailable(string why, int retryAfterSeconds) =>
        new(StatusCodes.Status503ServiceUnavailable, why, retryAfterSeconds);

    public static HttpAnswer ResponseTypes(IEnumerable<int> asked) => new(
        StatusCodes.Status400BadRequest,
        $"server does not support any of the requested response types: [{string.Join(' ', asked)}]; supported: map[SAMPLES:{{}} STREAMED_XOR_CHUNKS:{{}}]");

    public static HttpAnswer BadRead(string why) => new(StatusCodes.Status400BadRequest, why);

    public static HttpAnswer ReadTooBig(string why, Limit? limit = null) => new(StatusCodes.Status422UnprocessableEntity, why, Limit: limit);

    public static HttpAnswer ReadLimit(ReadLimitException refused) => refused.Kind switch
    {
        ReadLimitKind.Samples => BadRead(refused.Message) with { Limit = Limit.ReadMaxSamples },
        ReadLimitKind.Series => ReadTooBig(refused.Message, Limit.ReadMaxSeries),
        _ => ReadTooBig(refused.Message, Limit.ReadMemory),
    };

    public static HttpAnswer ExpressionsTooExpensive(TimeSpan limit, int query, string name, string expression) => ReadTooBig(Invariant(
        $"the regular expressions of this read take more than {limit.TotalSeconds:0} s to compile: those before {Echo(name)}, {Echo(expression)}, of query {query} did"));

    public static HttpAnswer DamagedFile(string what) => new(StatusCodes.Status500InternalServerError, what);

    /// <summary>What the engine made of a write request.</summary>
    public static HttpAnswer Of(WriteReport report) => report.Status switch
    {
        WriteStatus.Written => NoContent,
        WriteStatus.TooLarge => new HttpAnswer(StatusCodes.Status413PayloadTooLarge, report.Message),
        WriteStatus.Unavailable => new HttpAnswer(StatusCodes.Status503ServiceUnavailable, report.Message, Math.Max(1, report.RetryAfterSeconds)),
        _ => new HttpAnswer(StatusCodes.Status400BadRequest, report.Message),
    };

    /// <summary>True if the negotiation of remote write 2.0 was complete, so that the sender is told how much was written (protocols: 2.5).</summary>
    public static bool TellsWritten(WriteStatus status) => status is not (WriteStatus.BadCompression or WriteStatus.TooLarge);

    /// <summary>The three headers by which a 2.0 sender learns how much was written. A 1.0 sender would take them for a false report.</summary>
    public static void Written(HttpResponse response, long samples, long histograms, long exemplars)
    {
        response.Headers[SamplesWritten] = samples.ToString(CultureInfo.InvariantCulture);
        response.Headers[HistogramsWritten] = histograms.ToString(CultureInfo.InvariantCulture);
        response.Headers[ExemplarsWritten] = exemplars.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The header by which Prometheus tells a start from a shutdown.</summary>
    public static void IsStopping(HttpResponse response, bool stopping) => response.Headers[Stopping] = stopping ? "true" : "false";

    /// <summary>Sends a plain answer.</summary>
    public static Task SendAsync(HttpContext context, HttpAnswer answer)
    {
        answer.Count(context);
        HttpResponse response = context.Response;
        response.StatusCode = answer.Status;
        RetryAfter.Set(response, answer.RetryAfterSeconds);
        if (answer.Text is null) return Task.CompletedTask;
        string text = answer.Text.Length > MaxText ? answer.Text[..MaxText] : answer.Text;
        return SendTextAsync(response, text + "\n");
    }

    /// <summary>Sends a 405 that says what is allowed.</summary>
    public static Task RefuseMethodAsync(HttpContext context, string allowed)
    {
        context.Response.Headers.Allow = allowed;
        return SendAsync(context, MethodNotAllowed);
    }

    /// <summary>Sends a text exactly as it is.</summary>
    public static Task SendTextAsync(HttpResponse response, string text)
    {
        byte[] body = System.Text.Encoding.UTF8.GetBytes(text);
        response.ContentType = MediaTypeNames.Text.Plain + "; charset=utf-8";
        response.Headers.XContentTypeOptions = "nosniff";
        response.ContentLength = body.Length;
        return HttpMethods.IsHead(response.HttpContext.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(body).AsTask();
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>A sender's text, bounded and without control characters, so that it can go back and into a log line.</summary>
    private static string Echo(string text)
    {
        var safe = new StringBuilder(Math.Min(text.Length, MaxEcho));
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (safe.Length >= MaxEcho) return safe.Append("...").ToString();
            bool visible = !Rune.IsControl(rune) && Rune.GetUnicodeCategory(rune) != UnicodeCategory.Format;
            if (visible) safe.Append(rune.ToString());
            else safe.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}");
        }

        return safe.ToString();
    }
}
