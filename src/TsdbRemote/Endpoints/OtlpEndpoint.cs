using System.Globalization;
using System.Text.Json;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Options;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Otlp;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>OpenTelemetry's metrics over HTTP: an export becomes a request of remote write 1.0, which is logged and stored like any other.</summary>
/// <remarks>
/// Order of checks: method, content type, encoding, size, packing, form, messages; then the engine's. What has no translation is refused by name in a 400, and so is
/// what the engine refuses, while the rest is stored; a 200 is for exports of which nothing was refused. Once the engine has the body nothing cancels.
/// </remarks>
internal sealed class OtlpEndpoint(
    EngineHost host, TsdbRemoteOptions options, BodiesInFlight bodies, HttpMetrics metrics, TimeProvider time, ILogger<OtlpEndpoint> log)
{
    /// <summary>Where exporters post to; they append <c>/v1/metrics</c> to their endpoint.</summary>
    public const string Path = "/api/v1/otlp/v1/metrics";

    private static readonly HttpAnswer Stored = new(StatusCodes.Status200OK, null);

    private readonly LimitsOptions _limits = options.Storage.Limits;
    private readonly OtlpNames _names = new(options.Otlp.TranslationStrategy);
    private readonly TimeSpan _bodyTimeout = options.Http.BodyTimeout.ToTimeSpan();

    /// <summary>Handles any method on the path.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        if (!HttpMethods.IsPost(context.Request.Method))
        {
            await HttpAnswers.RefuseMethodAsync(context, HttpMethods.Post);
            return;
        }

        long started = time.GetTimestamp();
        HttpAnswer? answer = Negotiate(context.Request, out bool isJson, out bool isPacked) ?? await AdmitAsync(context, isJson, isPacked);
        if (answer is not { } known)
        {
            context.Abort();
            return;
        }

        metrics.WrittenOtlp(known.Status, time.GetElapsedTime(started));
        await HttpAnswers.SendAsync(context, known);
    }

    /// <summary>Reads Content-Type and Content-Encoding. Both refusals are 400, as Prometheus has them.</summary>
    private static HttpAnswer? Negotiate(HttpRequest request, out bool isJson, out bool isPacked)
    {
        string type = request.Headers.ContentType.ToString();
        string encoding = request.Headers.ContentEncoding.ToString().Trim();
        string media = type.Split(';')[0].Trim();
        isJson = media.Equals(HttpAnswers.JsonMediaType, StringComparison.OrdinalIgnoreCase);
        isPacked = encoding.Equals(HttpAnswers.Gzip, StringComparison.OrdinalIgnoreCase);
        if (!isJson && !media.Equals(HttpAnswers.ProtobufMediaType, StringComparison.OrdinalIgnoreCase)) return HttpAnswers.OtlpType(type);
        return isPacked || encoding.Length == 0 ? null : HttpAnswers.OtlpEncoding(encoding);
    }

    /// <summary>Waits for room, reads, unpacks and stores.</summary>
    /// <returns>The answer; null if there is nobody left to answer.</returns>
    private async ValueTask<HttpAnswer?> AdmitAsync(HttpContext context, bool isJson, bool isPacked)
    {
        using BodyReservation reservation = bodies.Reserve();
        (BodyEnd end, PooledBuffer? body) = await RequestBody.ReadAsync(context, _limits.WriteBody.Bytes, _bodyTimeout, time, reservation);
        switch (end)
        {
            case BodyEnd.TooLarge: return HttpAnswers.WriteBodyTooLarge(_limits.WriteBody.Bytes);
            case BodyEnd.TooSlow: return HttpAnswers.BodyTimeout;
            case BodyEnd.NoRoom: return HttpAnswers.BodiesInFlight;
            case BodyEnd.Aborted: return null;
        }

        using (body)
        {
            long length = body!.Length;
            if (isPacked && !GzipBody.TryReadLength(body.Span, out length)) return HttpAnswers.OtlpBroken("gzip: too short to be any");
            if (length > _limits.WriteDecoded.Bytes) return HttpAnswers.OtlpTooLarge(_limits.WriteDecoded.Bytes);
            try
            {
                using BodyReservation? room = await bodies.ReserveExportAsync(length, context.RequestAborted);
                if (room is null) return HttpAnswers.BodiesInFlight;
                if (!isPacked) return await StoreAsync(context, body, isJson);
                using PooledBuffer raw = GzipBody.Unpack(body, length);
                return await StoreAsync(context, raw, isJson);
            }
            catch (InvalidDataException broken)
            {
                return HttpAnswers.OtlpBroken($"gzip: {broken.Message}");
            }
            catch (OperationCanceledException)
            {
                return null;
            }
        }
    }

    private async ValueTask<HttpAnswer> StoreAsync(HttpContext context, PooledBuffer raw, bool isJson)
    {
        if (OtlpMessage.Weigh(raw.Span, isJson, out long weight) is { } problem) return HttpAnswers.OtlpBroken(problem);
        if (weight > _limits.OtlpMessages) return HttpAnswers.OtlpTooManyMessages(_limits.OtlpMessages);
        if (Translate(raw, isJson, context.RequestAborted, out OtlpRefusals refusals, out PooledBuffer? body) is { } refused) return refused;
        foreach ((OtlpRefusal reason, long points) in refusals.ByReason)
        {
            metrics.RefusedOtlp(JsonNamingPolicy.SnakeCaseLower.ConvertName(reason.ToString()), points);
            if (reason == OtlpRefusal.LabelValue) host.Engine.Count(Limit.LabelValue);
        }

        WriteReport report;
        try
        {
            report = await host.Engine.WriteAsync(WriteProtocol.V1, body!);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // A bug of ours. Nothing is promised, and a retry is safe; the sender learns no more than where to look.
            string id = RequestId.Of(context);
            Log.WriteFailed(log, id, failure);
            return HttpAnswers.InternalError(id);
        }

        return AnswerOf(report, refusals);
    }

    /// <summary>Parses and translates.</summary>
    /// <param name="raw">The export.</param>
    /// <param name="isJson">Its form.</param>
    /// <param name="stop">Nobody waits for the answer any more.</param>
    /// <param name="refusals">What has no translation.</param>
    /// <param name="body">A snappy block of a WriteRequest, the caller's; null if refused.</param>
    private HttpAnswer? Translate(PooledBuffer raw, bool isJson, CancellationToken stop, out OtlpRefusals refusals, out PooledBuffer? body)
    {
        body = null;
        var translator = new OtlpTranslator(_names, _limits.SamplesPerRequest, _limits.LabelValue.Bytes);
        refusals = translator.Refusals;
        if (OtlpMessage.Parse(raw.Span, isJson, out ExportRequest request) is { } problem) return HttpAnswers.OtlpBroken(problem);
        translator.Translate(request, stop);
        if (translator.IsTooMany) return HttpAnswers.OtlpTooManySamples(_limits.SamplesPerRequest);
        using PooledBuffer translated = PooledBuffer.Rent(64 << 10);
        if (!translator.Series.TryEncode(translated, _limits.WriteDecoded.Bytes)) return HttpAnswers.OtlpTooLarge(_limits.WriteDecoded.Bytes);
        body = SnappyBlock.Compress(translated.Span);
        return null;
    }

    private static HttpAnswer AnswerOf(WriteReport report, OtlpRefusals refusals)
    {
        if (report.Status is not (WriteStatus.Written or WriteStatus.Rejected)) return HttpAnswers.Of(report);
        if (refusals.Points == 0) return report.Status == WriteStatus.Written ? Stored : HttpAnswers.Of(report);
        string stored = report.Message ?? string.Create(CultureInfo.InvariantCulture, $"{report.Samples + report.Histograms} samples stored");
        return new HttpAnswer(StatusCodes.Status400BadRequest, $"{refusals}\n{stored}");
    }
}
