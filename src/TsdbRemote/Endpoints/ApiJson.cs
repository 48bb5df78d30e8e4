using System.Text.Encodings.Web;
using System.Text.Json;

namespace TsdbRemote.Endpoints;

/// <summary>Prometheus' JSON envelope: <c>{"status":"success","data":…}</c> or <c>{"status":"error","errorType":…,"error":…}</c>.</summary>
internal static class ApiJson
{
    public const string BadData = "bad_data";
    public const string Unavailable = "unavailable";
    public const string Internal = "internal";
    public const string NotFound = "not_found";
    private const string Execution = "execution";
    private const string Timeout = "timeout";

    // Nothing here is ever embedded in HTML, and the content type and nosniff say so.
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };

    private static readonly JsonWriterOptions WriterOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>Begins an answer whose data is a list, which the caller ends, and with it the object.</summary>
    public static Utf8JsonWriter BeginList(JsonBody body)
    {
        var json = new Utf8JsonWriter(body, WriterOptions);
        json.WriteStartObject();
        json.WriteString("status"u8, "success"u8);
        json.WriteStartArray("data"u8);
        return json;
    }

    /// <summary>Sends data.</summary>
    public static Task SendAsync<T>(HttpContext context, T data) => SendAsync(context, StatusCodes.Status200OK, data);

    /// <summary>Sends data under a status of success.</summary>
    public static Task SendAsync<T>(HttpContext context, int status, T data) => SendAnyAsync(context, status, new Success<T>("success", data));

    /// <summary>Data as text, without the envelope.</summary>
    public static string Text<T>(T data) => JsonSerializer.Serialize(data, Indented);

    /// <summary>Sends an error.</summary>
    public static Task RefuseAsync(HttpContext context, int status, string errorType, string error, int retryAfterSeconds = 0)
    {
        RetryAfter.Set(context.Response, retryAfterSeconds);
        return SendAnyAsync(context, status, new Failure("error", errorType, error));
    }

    /// <summary>Sends what became of a read.</summary>
    public static Task RefuseAsync(HttpContext context, HttpAnswer answer)
    {
        answer.Count(context);
        string errorType = answer.Status switch
        {
            StatusCodes.Status400BadRequest or StatusCodes.Status408RequestTimeout or StatusCodes.Status413PayloadTooLarge => BadData,
            StatusCodes.Status422UnprocessableEntity => Execution,
            StatusCodes.Status503ServiceUnavailable => answer == HttpAnswers.ReadTimeout ? Timeout : Unavailable,
            _ => Internal,
        };
        return RefuseAsync(context, answer.Status, errorType, answer.Text ?? "", answer.RetryAfterSeconds);
    }

    /// <summary>Sends data as a writer writes it.</summary>
    public static async Task SendAsync(HttpContext context, JsonBody body)
    {
        Begin(context.Response, StatusCodes.Status200OK, body.Length);
        if (!HttpMethods.IsHead(context.Request.Method)) await body.CopyToAsync(context.Response.Body, context.RequestAborted);
    }

    private static async Task SendAnyAsync<T>(HttpContext context, int status, T answer)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(answer, Options);
        Begin(context.Response, status, json.Length);
        if (!HttpMethods.IsHead(context.Request.Method)) await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    private static void Begin(HttpResponse response, int status, long length)
    {
        response.StatusCode = status;
        response.ContentType = "application/json";
        response.Headers.XContentTypeOptions = "nosniff";
        response.ContentLength = length;
    }

    private sealed record Success<T>(string Status, T Data);

    private sealed record Failure(string Status, string ErrorType, string Error);
}
