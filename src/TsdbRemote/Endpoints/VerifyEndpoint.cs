using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Endpoints;

/// <summary><c>/api/v1/admin/verify</c>: a check of the whole data directory beside everything else. Off unless <c>admin.enabled</c>.</summary>
internal static class VerifyEndpoint
{
    /// <summary>The path.</summary>
    public const string Path = "/api/v1/admin/verify";

    private const string What = "Check of the data directory";

    // A disk that serves does not notice it, and a terabyte takes a day.
    private static readonly ByteSize DefaultRate = ByteSize.Parse("10MB");
    private static readonly ByteSize LeastRate = ByteSize.Parse("64KB");

    /// <summary>Maps POST, which begins one; GET, which tells how it stands; and DELETE, which ends it.</summary>
    public static void MapVerify(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost(Path, BeginAsync);
        endpoints.MapGet(Path, TellAsync);
        endpoints.MapDelete(Path, EndAsync);
    }

    /// <summary>Answers 202 once it runs, 409 if one does already. <c>rate</c>: bytes a second that it reads.</summary>
    private static async Task BeginAsync(HttpContext context)
    {
        if (!await AdminEndpoints.IsAdmittedAsync(context, What)) return;
        string? given = context.Request.Query["rate"];
        ByteSize rate = DefaultRate;
        if (!string.IsNullOrEmpty(given) && (!ByteSize.TryParse(given, out rate) || rate.Bytes < LeastRate.Bytes))
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status400BadRequest, ApiJson.BadData, $"rate must be {LeastRate} or more, in bytes a second, such as {DefaultRate}");
            return;
        }

        LsmEngine engine = EngineOf(context);
        try
        {
            if (engine.TryBeginVerify(rate.Bytes)) await ApiJson.SendAsync(context, StatusCodes.Status202Accepted, VerifyJson.Of(engine.VerifyStatus));
            else await ApiJson.RefuseAsync(context, StatusCodes.Status409Conflict, ApiJson.Unavailable, $"a check is running; GET {Path} tells how far it is, DELETE ends it");
        }
        catch (EngineUnavailableException refused)
        {
            await AdminEndpoints.RefuseAsync(context, refused.Message);
        }
    }

    private static async Task TellAsync(HttpContext context)
    {
        if (await AdminEndpoints.IsAdmittedAsync(context, What)) await ApiJson.SendAsync(context, VerifyJson.Of(EngineOf(context).VerifyStatus));
    }

    /// <summary>Answers 204 once it has ended, 404 if none runs.</summary>
    private static async Task EndAsync(HttpContext context)
    {
        if (!await AdminEndpoints.IsAdmittedAsync(context, What)) return;
        if (await EngineOf(context).CancelVerifyAsync()) context.Response.StatusCode = StatusCodes.Status204NoContent;
        else await ApiJson.RefuseAsync(context, StatusCodes.Status404NotFound, ApiJson.NotFound, "no check is running");
    }

    private static LsmEngine EngineOf(HttpContext context) => context.RequestServices.GetRequiredService<EngineHost>().Engine;
}
