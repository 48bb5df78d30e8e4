using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Where reads of all kinds work: at most <c>storage.read.max_concurrent</c> at a time, each on a thread of its own and for <c>http.read_timeout</c> at most.</summary>
/// <remarks>
/// A thread of its own, so that a cold page of a table never holds a pool thread that a write needs; regular expressions are compiled there too: they may cost
/// more than what they select. More reads wait for a slot. A client that goes away ends its read.
/// </remarks>
internal sealed class ReadSlots(EngineHost host, TsdbRemoteOptions options, TimeProvider time, IHostApplicationLifetime lifetime, ILogger<ReadSlots> log) : IDisposable
{
    private static readonly TimeSpan SlotWait = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _slots = new(options.Storage.Read.MaxConcurrent);

    /// <inheritdoc/>
    public void Dispose() => _slots.Dispose();

    /// <summary>Waits for a slot, then works.</summary>
    /// <param name="context">The request.</param>
    /// <param name="work">Reads; may block. Given what stops it: the client is gone, or its time is up.</param>
    /// <returns>What the work returned, or what became of it; null if there is nobody left to answer.</returns>
    public async Task<HttpAnswer?> RunAsync(HttpContext context, Func<CancellationToken, HttpAnswer?> work)
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
            return await OnOwnThread(() => Work(context, work, stop.Token, deadline.Token));
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

    private HttpAnswer? Work(HttpContext context, Func<CancellationToken, HttpAnswer?> work, CancellationToken stop, CancellationToken deadline)
    {
        try
        {
            return work(stop);
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
            return HttpAnswers.ReadLimit(refused);
        }
        catch (MatcherException refused)
        {
            return HttpAnswers.ReadTooBig(refused.Message);
        }
        catch (CorruptChunkException damaged)
        {
            return Damaged(damaged);
        }
        catch (CorruptFileException damaged)
        {
            return Damaged(damaged);
        }
        catch (OutOfMemoryException failure)
        {
            // And therefore this read is given up, with all that it holds: it may be the one that took too much.
            Log.ReadFailed(log, RequestId.Of(context), failure);
            return HttpAnswers.NoMemory;
        }
        catch (Exception failure)
        {
            // A bug of ours, or the connection broke while we wrote to it.
            if (context.RequestAborted.IsCancellationRequested) return null;
            string id = RequestId.Of(context);
            Log.ReadFailed(log, id, failure);
            return HttpAnswers.InternalError(id);
        }
    }

    private HttpAnswer Damaged(Exception damage)
    {
        host.Engine.NoteDamage(damage);
        Log.ReadDamaged(log, damage);
        return HttpAnswers.DamagedFile(damage.Message);
    }
}
