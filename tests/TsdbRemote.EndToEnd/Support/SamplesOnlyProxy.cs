using System.Net.Http.Headers;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Stands between a Prometheus and the server, and asks for samples where the Prometheus would take chunks, which it always does.</summary>
public sealed class SamplesOnlyProxy : IAsyncDisposable
{
    private readonly HttpClient _server;
    private readonly WebApplication _app;
    private int _answered;

    public SamplesOnlyProxy(HttpClient server)
    {
        _server = server;
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls($"http://127.0.0.1:{ChildProcess.FreePort()}");
        builder.Logging.ClearProviders();
        _app = builder.Build();
        _app.MapPost("/api/v1/read", ForwardAsync);
    }

    /// <summary>Where the Prometheus is to read.</summary>
    public string Url => _app.Urls.First();

    /// <summary>Answers of samples that went through.</summary>
    public int Answered => _answered;

    public Task StartAsync() => _app.StartAsync();

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task ForwardAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        ReadRequest request = ReadRequest.Parser.ParseFrom(IronSnappy.Snappy.Decode(body.ToArray()));
        request.AcceptedResponseTypes.Clear();
        request.AcceptedResponseTypes.Add(ReadRequest.Types.ResponseType.Samples);
        using var content = new ByteArrayContent(IronSnappy.Snappy.Encode(request.ToByteArray()));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        using HttpResponseMessage answer = await _server.PostAsync(new Uri("/api/v1/read", UriKind.Relative), content);
        byte[] samples = await answer.Content.ReadAsByteArrayAsync();
        context.Response.StatusCode = (int)answer.StatusCode;
        context.Response.ContentType = answer.Content.Headers.ContentType?.ToString();
        if (answer.IsSuccessStatusCode)
        {
            context.Response.Headers.ContentEncoding = "snappy";
            Interlocked.Increment(ref _answered);
        }

        await context.Response.Body.WriteAsync(samples);
    }
}
