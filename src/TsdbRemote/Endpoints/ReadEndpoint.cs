using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Remote read: SAMPLES and STREAMED_XOR_CHUNKS.</summary>
/// <remarks>
/// Each read works on a thread of its own, so that a cold page of a table never holds a pool thread that a write needs; at most
/// <c>storage.read.max_concurrent</c> at a time, more wait for a slot. Its regular expressions are compiled there too: they may cost more than
/// what they select. A failure before the first byte is a status with a text; after it the connection is aborted, so that the reader sees a
/// broken stream and never a short one that looks whole.
/// </remarks>
internal sealed class ReadEndpoint(
    EngineHost host, TsdbRemoteOptions options, HttpMetrics metrics, TimeProvider time, IHostApplicationLifetime lifetime, ILogger<ReadEndpoint> log) : IDisposable
{
    /// <summary>Most bytes of a request as sent.</summary>
    private const int MaxBody = 1 << 20;

    private static readonly TimeSpan SlotWait = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _slots = new(options.Storage.Read.MaxConcurrent);

    /// <inheritdoc/>
    public void Dispose() => _slots.Dispose();

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

    /// <summary>Waits for a slot, then works.</summary>
    /// <returns>The refusal; one with status 200 if the answer has gone out; null if the connection has to be cut.</returns>
    private async Task<HttpAnswer?> AdmitAsync(HttpContext context, ReadQueries queries)
    {
        try
        {
            if (!await _slots.WaitAsync(SlotWait, context.RequestAborted)) return HttpAnswers.TooManyReads;
        }
        catch (OperationCanceledException)
        {
            return null;
        }

        try
        {
            using var deadline = new CancellationTokenSource(options.Http.ReadTimeout.ToTimeSpan(), time);
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
            var output = new ResponseWriter(context.Response);
            HttpAnswer? answer = await OnOwnThread(() => Work(output, queries, stop.Token, deadline.Token));
            return answer?.Status != StatusCodes.Status200OK && output.Total > 0 ? null : answer;
        }
        finally
        {
            _slots.Release();
        }
    }

    private static Task<HttpAnswer?> OnOwnThread(Func<HttpAnswer?> work)
    {
        var done = new TaskCompletionSource<HttpAnswer?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception failure)
            {
                done.SetException(failure);
            }
        })
        { IsBackground = true, Name = "tsdb read" };
        thread.Start();
        return done.Task;
    }

    /// <summary>Compiles, selects and sends. Blocking is this thread's job; a slow reader blocks it, and nobody else.</summary>
    private HttpAnswer? Work(ResponseWriter output, ReadQueries queries, CancellationToken stop, CancellationToken deadline)
    {
        try
        {
            if (queries.TryCompile(time, stop, out IReadOnlyList<ReadQuery> compiled) is { } refused) return refused;
            using ReadSnapshot snapshot = host.Engine.AcquireSnapshot();
            ReadCounts counts = queries.Streamed
                ? ReadAnswers.Stream(output, snapshot, compiled, (int)options.Storage.Read.ReadBufferSize.Bytes, stop)
                : ReadAnswers.Samples(output, snapshot, compiled, options.Storage.Read.MaxSamples, options.Storage.Read.Memory.Bytes, stop);
            metrics.Returned(queries.Streamed, counts);
            return new HttpAnswer(StatusCodes.Status200OK, null);
        }
        catch (OperationCanceledException)
        {
            return deadline.IsCancellationRequested ? HttpAnswers.ReadTimeout : null;
        }
        catch (EngineUnavailableException refused)
        {
            return HttpAnswers.Unavailable(refused.Message, lifetime.ApplicationStopping.IsCancellationRequested ? 30 : 5);
        }
        catch (ReadLimitException refused)
        {
            return refused.Kind == ReadLimitKind.Samples ? HttpAnswers.BadRead(refused.Message) : HttpAnswers.ReadTooBig(refused.Message);
        }
        catch (MatcherException refused)
        {
            return HttpAnswers.ReadTooBig(refused.Message);
        }
        catch (CorruptChunkException damaged)
        {
            host.Engine.NoteDamage(damaged);
            Log.ReadDamaged(log, damaged);
            return HttpAnswers.DamagedFile(damaged.Message);
        }
        catch (CorruptFileException damaged)
        {
            host.Engine.NoteDamage(damaged);
            Log.ReadDamaged(log, damaged);
            return HttpAnswers.DamagedFile(damaged.Message);
        }
        catch (Exception failure)
        {
            // A bug of ours, or the connection broke while we wrote to it.
            HttpContext context = output.Response.HttpContext;
            if (context.RequestAborted.IsCancellationRequested) return null;
            string id = RequestId.Of(context);
            Log.ReadFailed(log, id, failure);
            return HttpAnswers.InternalError(id);
        }
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
