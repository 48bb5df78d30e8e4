using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Remote read: SAMPLES and STREAMED_XOR_CHUNKS.</summary>
/// <remarks>
/// A failure before the first byte is a status with a text; after it the connection is aborted, so that the reader sees a broken stream and never a short one
/// that looks whole.
/// </remarks>
internal sealed class ReadEndpoint(EngineHost host, TsdbRemoteOptions options, HttpMetrics metrics, TimeProvider time, ReadSlots slots)
{
    /// <summary>Most bytes of a request as sent.</summary>
    private const int MaxBody = 1 << 20;

    /// <summary>Handles any method on the read path.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        if (!HttpMethods.IsPost(context.Request.Method))
        {
            await HttpAnswers.RefuseMethodAsync(context, HttpMethods.Post);
            return;
        }

        long started = time.GetTimestamp();
        (HttpAnswer? refused, ReadQueries? queries) = await ParseAsync(context);
        if (queries is null)
        {
            await AnswerAsync(context, refused, streamed: false, started);
            return;
        }

        HttpAnswer? answer = await AdmitAsync(context, queries);
        await AnswerAsync(context, answer, queries.Streamed, started);
    }

    private async ValueTask<(HttpAnswer? Refused, ReadQueries? Queries)> ParseAsync(HttpContext context)
    {
        (BodyEnd end, PooledBuffer? body) = await RequestBody.ReadAsync(context, MaxBody, options.Http.BodyTimeout.ToTimeSpan(), time);
        switch (end)
        {
            case BodyEnd.Whole:
                using (body)
                {
                    HttpAnswer? refused = ReadQueries.TryParse(body!.Span, out ReadQueries? queries);
                    return (refused, queries);
                }

            case BodyEnd.TooLarge: return (HttpAnswers.BodyTooLarge(MaxBody, "remote read"), null);
            case BodyEnd.TooSlow: return (HttpAnswers.BodyTimeout, null);
            default: return (null, null);
        }
    }

    /// <summary>Compiles, selects and sends. Blocking is this thread's job; a slow reader blocks it, and nobody else.</summary>
    /// <returns>The refusal; one with status 200 if the answer has gone out; null if the connection has to be cut.</returns>
    private async Task<HttpAnswer?> AdmitAsync(HttpContext context, ReadQueries queries)
    {
        var output = new ResponseWriter(context.Response);
        HttpAnswer? answer = await slots.RunAsync(context, stop => Work(output, queries, stop));
        if (answer?.Status == StatusCodes.Status200OK || output.Total == 0) return answer;
        answer?.Count(context);
        return null;
    }

    private HttpAnswer? Work(ResponseWriter output, ReadQueries queries, CancellationToken stop)
    {
        if (queries.TryCompile(time, stop, out IReadOnlyList<ReadQuery> compiled) is { } refused) return refused;
        using ReadSnapshot snapshot = host.Engine.AcquireSnapshot();
        ReadCounts counts = queries.Streamed
            ? ReadAnswers.Stream(output, snapshot, compiled, (int)options.Storage.Read.ReadBufferSize.Bytes, options.Storage.Read.MaxSeries, stop)
            : ReadAnswers.Samples(output, snapshot, compiled, options.Storage.Read.MaxSamples, options.Storage.Read.MaxSeries, options.Storage.Read.Memory.Bytes, stop);
        metrics.Returned(queries.Streamed, counts);
        return new HttpAnswer(StatusCodes.Status200OK, null);
    }

    private Task AnswerAsync(HttpContext context, HttpAnswer? answer, bool streamed, long started)
    {
        metrics.Read(streamed, answer?.Status ?? 499, time.GetElapsedTime(started));
        if (answer is not { } known)
        {
            context.Abort();
            return Task.CompletedTask;
        }

        return known.Status == StatusCodes.Status200OK ? Task.CompletedTask : HttpAnswers.SendAsync(context, known);
    }
}
