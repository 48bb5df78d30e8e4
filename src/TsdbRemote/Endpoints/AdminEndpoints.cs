using Microsoft.AspNetCore.Http.Features;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Calls that change the server's state; off unless <c>admin.enabled</c>.</summary>
internal static class AdminEndpoints
{
    // One short word is all that a form is read for.
    private static readonly FormOptions FormBounds = new() { ValueCountLimit = 8, KeyLengthLimit = 64, ValueLengthLimit = 64 };

    /// <summary>Maps <c>POST /api/v1/admin/flush</c>, <c>/compact</c> and <c>/write_path</c>.</summary>
    public static void MapAdmin(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost("/api/v1/admin/flush", static context => DoAsync(context, "Flush", static (engine, cancel) => engine.FlushAsync(cancel)));
        endpoints.MapPost("/api/v1/admin/compact", static context => DoAsync(context, "Compaction", static (engine, cancel) => engine.CompactAsync(cancel)));
        endpoints.MapPost("/api/v1/admin/write_path", SwitchAsync);
    }

    /// <summary>Answers 204 once it is done: for a flush, everything acknowledged before is in tables or blocks; for a compaction, no merge is due and every closed window is in a block.</summary>
    private static async Task DoAsync(HttpContext context, string what, Func<LsmEngine, CancellationToken, Task> work)
    {
        if (!await IsAdmittedAsync(context, what)) return;
        try
        {
            await work(EngineOf(context), context.RequestAborted);
            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
        catch (EngineUnavailableException refused)
        {
            await RefuseAsync(context, refused);
        }
    }

    /// <summary>
    /// Answers 204 once MemTables become what <c>path</c> says, in the query or in a form: <c>blocks</c> is block-only mode, <c>lsm</c> the way back. It holds until
    /// the process ends; the option decides at the next start.
    /// </summary>
    private static async Task SwitchAsync(HttpContext context)
    {
        if (!await IsAdmittedAsync(context, "Switch of the write path")) return;
        WritePathChoice? path = await PathOfAsync(context.Request, context.RequestAborted) switch
        {
            "lsm" => WritePathChoice.Lsm,
            "blocks" => WritePathChoice.Blocks,
            _ => null,
        };
        if (path is not { } asked)
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status400BadRequest, ApiJson.BadData, "path must be lsm or blocks");
            return;
        }

        try
        {
            if (EngineOf(context).TrySwitchWritePath(asked)) context.Response.StatusCode = StatusCodes.Status204NoContent;
            else await ApiJson.RefuseAsync(context, StatusCodes.Status400BadRequest, ApiJson.BadData, "path must be lsm with storage.integration.hybrid_mode false");
        }
        catch (EngineUnavailableException refused)
        {
            await RefuseAsync(context, refused);
        }
    }

    private static async Task<string?> PathOfAsync(HttpRequest request, CancellationToken cancel)
    {
        if (request.Query.TryGetValue("path", out var asked)) return asked;
        if (!request.HasFormContentType) return null;
        try
        {
            return (await request.ReadFormAsync(FormBounds, cancel))["path"];
        }
        catch (InvalidDataException)
        {
            return null; // no form, or a large one
        }
    }

    private static LsmEngine EngineOf(HttpContext context) => context.RequestServices.GetRequiredService<EngineHost>().Engine;

    private static Task RefuseAsync(HttpContext context, EngineUnavailableException refused) =>
        ApiJson.RefuseAsync(context, StatusCodes.Status503ServiceUnavailable, ApiJson.Unavailable, refused.Message, retryAfterSeconds: 30);

    /// <summary>True if the call may be made; else it is answered.</summary>
    private static async Task<bool> IsAdmittedAsync(HttpContext context, string what)
    {
        IServiceProvider services = context.RequestServices;
        if (!services.GetRequiredService<TsdbRemoteOptions>().Admin.Enabled)
        {
            // 500 is what Prometheus answers for this type; its tools know it.
            await ApiJson.RefuseAsync(context, StatusCodes.Status500InternalServerError, ApiJson.Unavailable, "admin APIs disabled (admin.enabled)");
            return false;
        }

        // A page in a browser could have been made to send this.
        if (context.Request.Headers.Origin.Count > 0)
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status403Forbidden, ApiJson.BadData, "admin APIs take no requests from browsers (Origin header)");
            return false;
        }

        Log.AdminAsked(
            services.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(AdminEndpoints).FullName!), what, context.Connection.RemoteIpAddress?.ToString() ?? "");
        return true;
    }
}
