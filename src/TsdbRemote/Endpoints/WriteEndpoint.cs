using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Remote write 1.0 and 2.0: reads a request, hands it to the engine, and says what became of it.</summary>
/// <remarks>
/// Order of checks: method, content type, encoding, size; then the engine's: compression, protobuf, series by series. A wrong type with a broken body is a
/// 415, as the compliance suite asks. Once the engine has the body nothing cancels: a sender that goes away changes nothing about what is stored.
/// </remarks>
internal sealed class WriteEndpoint(
    EngineHost host, TsdbRemoteOptions options, BodiesInFlight bodies, HttpMetrics metrics, TimeProvider time, ILogger<WriteEndpoint> log)
{
    /// <summary>Where senders of different makes post to.</summary>
    public static readonly string[] Paths = ["/api/v1/write", "/api/v1/push", "/api/v1/receive"];

    private const string ZstdVersion = "1";

    private readonly long _limit = options.Storage.Limits.WriteBody.Bytes;
    private readonly TimeSpan _bodyTimeout = options.Http.BodyTimeout.ToTimeSpan();

    /// <summary>Handles any method on a write path.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        if (IsHandshake(context.Request))
        {
            await HttpAnswers.SendTextAsync(context.Response, ZstdVersion);
            return;
        }

        if (!HttpMethods.IsPost(context.Request.Method))
        {
            await HttpAnswers.RefuseMethodAsync(context, HttpMethods.Post);
            return;
        }

        long started = time.GetTimestamp();
        HttpAnswer? refused = WriteNegotiation.Decide(
            context.Request.Headers.ContentType, context.Request.Headers.ContentEncoding, out WriteProtocol protocol, out Compression compression);
        HttpAnswer? answer = refused ?? await TryAdmitAsync(context, protocol, compression);
        if (answer is not { } known)
        {
            // Never let the framework answer 200 for a body that was cut off.
            context.Abort();
            return;
        }

        metrics.Written(protocol, known.Status, time.GetElapsedTime(started));
        await HttpAnswers.SendAsync(context, known);
    }

    /// <summary>An older VictoriaMetrics agent asks first whether zstd is understood.</summary>
    private static bool IsHandshake(HttpRequest request) => HttpMethods.IsGet(request.Method) && request.Query.ContainsKey("get_vm_proto_version");

    /// <summary>As <see cref="AdmitAsync"/>; where there is no memory for the request, it is to come again.</summary>
    private async ValueTask<HttpAnswer?> TryAdmitAsync(HttpContext context, WriteProtocol protocol, Compression compression)
    {
        try
        {
            return await AdmitAsync(context, protocol, compression);
        }
        catch (OutOfMemoryException failure)
        {
            Log.WriteFailed(log, RequestId.Of(context), failure);
            return NothingWritten(context, protocol, HttpAnswers.NoMemory);
        }
    }

    /// <summary>Waits for room, reads and stores.</summary>
    /// <returns>The answer; null if there is nobody left to answer.</returns>
    private async ValueTask<HttpAnswer?> AdmitAsync(HttpContext context, WriteProtocol protocol, Compression compression)
    {
        if (context.Request.ContentLength > _limit) return HttpAnswers.WriteBodyTooLarge(_limit);
        using var reservation = bodies.Reserve();
        (BodyEnd end, PooledBuffer? body) = await RequestBody.ReadAsync(context, _limit, _bodyTimeout, time, reservation);
        return end switch
        {
            BodyEnd.Whole => await StoreAsync(context, protocol, compression, body!),
            BodyEnd.TooLarge => HttpAnswers.WriteBodyTooLarge(_limit),
            BodyEnd.TooSlow => HttpAnswers.BodyTimeout,
            BodyEnd.NoRoom => NothingWritten(context, protocol, HttpAnswers.BodiesInFlight),
            _ => null,
        };
    }

    private async ValueTask<HttpAnswer> StoreAsync(HttpContext context, WriteProtocol protocol, Compression compression, PooledBuffer body)
    {
        WriteReport report;
        try
        {
            report = await host.Engine.WriteAsync(protocol, body, compression);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // A bug of ours. Nothing is promised, and a retry is safe; the sender learns no more than where to look.
            string id = RequestId.Of(context);
            Log.WriteFailed(log, id, failure);
            return NothingWritten(context, protocol, HttpAnswers.InternalError(id));
        }

        if (protocol == WriteProtocol.V2 && HttpAnswers.TellsWritten(report.Status))
            HttpAnswers.Written(context.Response, report.Samples, report.Histograms, report.Exemplars);
        return HttpAnswers.Of(report);
    }

    private static HttpAnswer NothingWritten(HttpContext context, WriteProtocol protocol, HttpAnswer answer)
    {
        if (protocol == WriteProtocol.V2) HttpAnswers.Written(context.Response, 0, 0, 0);
        return answer;
    }
}
