using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Calls that change the server's state; off unless <c>admin.enabled</c>.</summary>
internal static class AdminEndpoints
{
    /// <summary>Maps <c>POST /api/v1/admin/flush</c>.</summary>
    public static void MapAdmin(this IEndpointRouteBuilder endpoints) => endpoints.MapPost("/api/v1/admin/flush", FlushAsync);

    /// <summary>Answers 204 once everything acknowledged before the call is in tables.</summary>
    private static async Task FlushAsync(HttpContext context)
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

        Log.FlushAsked(services.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(AdminEndpoints).FullName!), context.Connection.RemoteIpAddress?.ToString() ?? "");
        try
        {
            await services.GetRequiredService<EngineHost>().Engine.FlushAsync(context.RequestAborted);
            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
        catch (EngineUnavailableException refused)
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status503ServiceUnavailable, ApiJson.Unavailable, refused.Message, retryAfterSeconds: 30);
        }
    }
}
