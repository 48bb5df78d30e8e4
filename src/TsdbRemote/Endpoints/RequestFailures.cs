using System.Diagnostics;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>The name under which an answer and the log speak of one request.</summary>
internal static class RequestId
{
    /// <summary>The trace it belongs to, where the log of Microsoft.AspNetCore.Hosting.Diagnostics is on, else the connection's number for it.</summary>
    public static string Of(HttpContext context) => Activity.Current?.TraceId.ToString() ?? context.TraceIdentifier;
}

/// <summary>The last catch: what no endpoint foresaw becomes a 500 that tells nothing but where to look, and want of memory a 503, for it passes.</summary>
internal sealed class RequestFailures(RequestDelegate next, ILogger<RequestFailures> log)
{
    /// <summary>Runs the rest of the pipeline.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (BadHttpRequestException refused) when (!context.Response.HasStarted)
        {
            await HttpAnswers.SendAsync(context, new HttpAnswer(refused.StatusCode, refused.Message));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody is left to answer.
        }
        catch (OutOfMemoryException failure) when (!context.Response.HasStarted)
        {
            Log.RequestFailed(log, context.Request.Method, context.Request.Path, RequestId.Of(context), failure);
            await HttpAnswers.SendAsync(context, HttpAnswers.NoMemory);
        }
        catch (Exception failure) when (!context.Response.HasStarted)
        {
            string id = RequestId.Of(context);
            Log.RequestFailed(log, context.Request.Method, context.Request.Path, id, failure);
            await HttpAnswers.SendAsync(context, HttpAnswers.InternalError(id));
        }
    }
}
