using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Calls that change the server's state; off unless <c>admin.enabled</c>.</summary>
internal static class AdminEndpoints
{
    /// <summary>Maps <c>POST /api/v1/admin/flush</c> and <c>/compact</c>.</summary>
    public static void MapAdmin(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost("/api/v1/admin/flush", static context => DoAsync(context, "Flush", static (engine, cancel) => engine.FlushAsync(cancel)));
        endpoints.MapPost("/api/v1/admin/compact", static context => DoAsync(context, "Compaction", static (engine, cancel) => engine.CompactAsync(cancel)));
    }

    /// <summary>Answers 204 once it is done: for a flush, everything acknowledged before is in tables; for a compaction, no merge is due and every closed window is in a block.</summary>
    private static async Task DoAsync(HttpContext context, string what, Func<LsmEngine, CancellationToken, Task> work)
    {
        IServiceProvider services = context.RequestServices;
        if (!services.GetRequiredService<TsdbRemoteOptions>().Admin.Enabled)
        {
            // 500 is what Prometheus answers for this type; its tools know it.
            await ApiJson.RefuseAsync(context, StatusCodes.Status500InternalServerError, ApiJson.Unavailable, "admin APIs disabled (admin.enabled)");
            return;
        }

        // A page in a browser could have been made to send this.
        if (context.Request.Headers.Origin.Count > 0)
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status403Forbidden, ApiJson.BadData, "admin APIs take no requests from browsers (Origin header)");
            return;
        }

        Log.AdminAsked(
            services.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(AdminEndpoints).FullName!), what, context.Connection.RemoteIpAddress?.ToString() ?? "");
        try
        {
            await work(services.GetRequiredService<EngineHost>().Engine, context.RequestAborted);
            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
        catch (EngineUnavailableException refused)
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status503ServiceUnavailable, ApiJson.Unavailable, refused.Message, retryAfterSeconds: 30);
        }
    }
}
