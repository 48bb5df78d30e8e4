using System.Text.Encodings.Web;
using System.Text.Json;

namespace TsdbRemote.Endpoints;

/// <summary>Prometheus' JSON envelope: <c>{"status":"success","data":…}</c> or <c>{"status":"error","errorType":…,"error":…}</c>.</summary>
internal static class ApiJson
{
    public const string BadData = "bad_data";
    public const string Unavailable = "unavailable";
    public const string Internal = "internal";

    // Nothing here is ever embedded in HTML, and the content type and nosniff say so.
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Sends data.</summary>
    public static Task SendAsync<T>(HttpContext context, T data) => SendAsync(context, StatusCodes.Status200OK, new Success<T>("success", data));

    /// <summary>Sends an error.</summary>
    public static Task RefuseAsync(HttpContext context, int status, string errorType, string error, int retryAfterSeconds = 0)
    {
        RetryAfter.Set(context.Response, retryAfterSeconds);
        return SendAsync(context, status, new Failure("error", errorType, error));
    }

    private static async Task SendAsync<T>(HttpContext context, int status, T answer)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(answer, Options);
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    private sealed record Success<T>(string Status, T Data);

    private sealed record Failure(string Status, string ErrorType, string Error);
}
