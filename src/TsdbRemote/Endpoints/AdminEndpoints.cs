using Microsoft.AspNetCore.Http.Features;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
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

    // A full disk may stay so for days; who waits for it is told.
    private static readonly TimeSpan RoomPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RoomInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>Maps <c>POST /api/v1/admin/flush</c>, <c>/compact</c> and <c>/write_path</c>, and Prometheus' own below <c>/api/v1/admin/tsdb</c>.</summary>
    public static void MapAdmin(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost("/api/v1/admin/flush", static context => DoAsync(context, "Flush", static (engine, cancel) => engine.FlushAsync(cancel)));
        endpoints.MapPost("/api/v1/admin/compact", static context => DoAsync(context, "Compaction", static (engine, cancel) => engine.CompactAsync(cancel)));
        endpoints.MapPost("/api/v1/admin/write_path", SwitchAsync);
        string[] postAndPut = [HttpMethods.Post, HttpMethods.Put];
        endpoints.MapMethods("/api/v1/admin/tsdb/delete_series", postAndPut, DeleteAsync);
        endpoints.MapMethods("/api/v1/admin/tsdb/clean_tombstones", postAndPut, static context =>
            DoAsync(context, "Cleaning of tombstones", static (engine, cancel) => engine.CleanTombstonesAsync(cancel)));
        endpoints.MapMethods("/api/v1/admin/tsdb/snapshot", postAndPut, SnapshotAsync);
    }

    /// <summary>Answers 204 once it is done: for a flush, everything acknowledged before is in tables or blocks; for a compaction, no merge is due and every closed window is in a block.</summary>
    private static async Task DoAsync(HttpContext context, string what, Func<LsmEngine, CancellationToken, Task> work)
    {
        if (await IsAdmittedAsync(context, what) && await IsDoneAsync(context, work)) context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    /// <summary>Answers 204 once the samples are deleted: no read sees them any more, neither now nor after a restart.</summary>
    private static async Task DeleteAsync(HttpContext context)
    {
        if (!await IsAdmittedAsync(context, "Delete")) return;
        if (await QueryOfAsync(context) is not { } query) return;
        IReadOnlyList<string> texts = query.All("match[]");
        TimeRange range = default;
        string? problem = texts.Count == 0 ? SelectorQuery.Missing : query.TryRange(out range) ?? SelectorQuery.TooMany(texts);
        List<IReadOnlyList<Matcher>> selectors = [];
        HttpAnswer? refused = problem is not null ? HttpAnswers.BadRead(problem) : await context.RequestServices.GetRequiredService<ReadSlots>().RunAsync(
            context, stop => SelectorQuery.Compile(texts, selectors, TimeOf(context), namesParameter: true, stop) ?? TooLong(selectors) ?? new HttpAnswer(StatusCodes.Status200OK, null));
        if (refused is not { } answer) context.Abort();
        else if (answer.Status != StatusCodes.Status200OK) await ApiJson.RefuseAsync(context, answer);
        else if (await IsDoneAsync(context, (engine, cancel) => engine.DeleteAsync(selectors, range, cancel))) context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    /// <summary>Answers the name of a snapshot once it is complete. With <c>skip_head</c> what is only in memory and in the log is left out.</summary>
    private static async Task SnapshotAsync(HttpContext context)
    {
        if (!await IsAdmittedAsync(context, "Snapshot")) return;
        if (await QueryOfAsync(context) is not { } query) return;
        if (query.TryFlag("skip_head", out bool skipHead) is { } problem)
        {
            await ApiJson.RefuseAsync(context, HttpAnswers.BadRead(problem));
            return;
        }

        string name = "";
        if (await IsDoneAsync(context, async (engine, cancel) => name = await engine.SnapshotAsync(skipHead, cancel))) await ApiJson.SendAsync(context, new { Name = name });
    }

    private static HttpAnswer? TooLong(List<IReadOnlyList<Matcher>> selectors) => selectors.Exists(static matchers => matchers.Count > SelectorParser.MaxTerms)
        ? HttpAnswers.BadRead($"invalid parameter \"match[]\": more than {SelectorParser.MaxTerms} matchers")
        : null;

    /// <summary>The parameters; null if they are refused, or if there is nobody left to answer.</summary>
    private static async Task<ApiQuery?> QueryOfAsync(HttpContext context)
    {
        TimeSpan timeout = context.RequestServices.GetRequiredService<TsdbRemoteOptions>().Http.BodyTimeout.ToTimeSpan();
        (HttpAnswer? refused, ApiQuery? query) = await ApiQuery.ReadAsync(context, timeout, TimeOf(context));
        if (query is not null) return query;
        if (refused is { } answer) await ApiJson.RefuseAsync(context, answer);
        else context.Abort();
        return null;
    }

    /// <summary>Has the engine do something.</summary>
    /// <returns>True once it is done; else it is answered why not.</returns>
    private static async Task<bool> IsDoneAsync(HttpContext context, Func<LsmEngine, CancellationToken, Task> work)
    {
        LsmEngine engine = EngineOf(context);
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        string? full = null;
        try
        {
            Task done = work(engine, giveUp.Token);
            full = await FullDiskAsync(engine, done, TimeOf(context));
            if (full is not null) await giveUp.CancelAsync();
            await done;
            return true;
        }
        catch (OperationCanceledException) when (full is not null)
        {
            await RefuseAsync(context, $"the disk is full, and this waits for room: {full}. It is tried again by itself; ask again once there is room");
        }
        catch (EngineUnavailableException refused)
        {
            await RefuseAsync(context, refused.Message);
        }
        catch (DeleteRefusedException tooMany)
        {
            await ApiJson.RefuseAsync(context, new HttpAnswer(StatusCodes.Status422UnprocessableEntity, tooMany.Message));
        }
        catch (DiskException refused)
        {
            await RefuseAsync(context, refused.Message);
        }

        return false;
    }

    /// <summary>Waits until something is done.</summary>
    /// <returns>Null; or, if the disk is full for some time, what it says.</returns>
    private static async Task<string?> FullDiskAsync(LsmEngine engine, Task done, TimeProvider time)
    {
        long? since = null;
        while (await Task.WhenAny(done, Task.Delay(RoomInterval, time)) != done)
        {
            if (engine.NoRoom is not { } full) since = null;
            else if (time.GetElapsedTime(since ??= time.GetTimestamp()) >= RoomPatience) return full;
        }

        return null;
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
            await RefuseAsync(context, refused.Message);
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

    private static TimeProvider TimeOf(HttpContext context) => context.RequestServices.GetRequiredService<TimeProvider>();

    /// <summary>Answers that it cannot be done now.</summary>
    internal static Task RefuseAsync(HttpContext context, string why) =>
        ApiJson.RefuseAsync(context, StatusCodes.Status503ServiceUnavailable, ApiJson.Unavailable, why, retryAfterSeconds: 30);

    /// <summary>True if the call may be made; else it is answered.</summary>
    internal static async Task<bool> IsAdmittedAsync(HttpContext context, string what)
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
