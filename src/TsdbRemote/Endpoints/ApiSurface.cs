using Microsoft.AspNetCore.ResponseCompression;

namespace TsdbRemote.Endpoints;

/// <summary>What all paths of the API have in common: preflights, CORS, an envelope for paths that do not exist, a word for methods that are not taken.</summary>
/// <remarks>
/// Pages of other origins may ask for data as Prometheus would let them (its default, <c>--web.cors.origin=.*</c>), and for nothing that tells of the server or writes. That no header
/// allows it keeps a browser from handing on an answer, not from sending a plain request: endpoints that write refuse pages themselves (<see cref="AccessRules.NotFromPages"/>).
/// </remarks>
internal sealed class ApiSurface(RequestDelegate next)
{
    private const string Root = "/api/v1";
    private const string Json = "application/json";

    private static readonly PathString[] NotForPages =
        [.. WriteEndpoint.Paths.Select(static path => new PathString(path)), new PathString(OtlpEndpoint.Path), new PathString("/api/v1/admin"), new PathString("/api/v1/status")];

    /// <summary>Runs the rest of the pipeline.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        if (!context.Request.Path.StartsWithSegments(Root, StringComparison.Ordinal, out PathString rest))
        {
            await next(context);
            return;
        }

        // Routes do not tell upper case from lower.
        if (!Array.Exists(NotForPages, path => context.Request.Path.StartsWithSegments(path, StringComparison.OrdinalIgnoreCase))) AllowPages(context);
        if (HttpMethods.IsOptions(context.Request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }

        await next(context);
        if (context.Response.HasStarted || context.Response.ContentLength is not null || context.Response.ContentType is not null) return;
        if (context.Response.StatusCode == StatusCodes.Status405MethodNotAllowed) await HttpAnswers.SendAsync(context, HttpAnswers.MethodNotAllowed);
        else if (context.Response.StatusCode == StatusCodes.Status404NotFound)
            await ApiJson.RefuseAsync(context, StatusCodes.Status404NotFound, ApiJson.NotFound, $"no such path of the API: {rest}");
    }

    /// <summary>True for answers that may be compressed: those in JSON, which nobody reads as a stream.</summary>
    public static bool MayBeCompressed(HttpContext context) =>
        context.Request.Path.StartsWithSegments(Root, StringComparison.Ordinal) && context.Request.Path != "/api/v1/read"
        && !Array.Exists(WriteEndpoint.Paths, path => context.Request.Path == path);

    /// <summary>How answers are compressed.</summary>
    public static void Compress(ResponseCompressionOptions options)
    {
        options.EnableForHttps = true;
        options.MimeTypes = [Json];
        options.Providers.Add<GzipCompressionProvider>();
    }

    private static void AllowPages(HttpContext context)
    {
        IHeaderDictionary headers = context.Response.Headers;
        headers.Vary = "Origin";
        if (context.Request.Headers.Origin.Count == 0) return;
        headers.AccessControlAllowHeaders = "Accept, Authorization, Content-Type, Origin";
        headers.AccessControlAllowMethods = "GET, POST, OPTIONS";
        headers.AccessControlAllowOrigin = context.Request.Headers.Origin;
        headers.AccessControlExposeHeaders = "Date";
    }
}
