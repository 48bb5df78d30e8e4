using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>A target whose metrics have exemplars: new ones with each scrape, up to a number, then the same again and again.</summary>
public sealed class ExemplarTarget : IAsyncDisposable
{
    private const int Changes = 5;

    private readonly WebApplication _app;
    private readonly long _start = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
    private int _scrapes;

    public ExemplarTarget()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls($"http://127.0.0.1:{ChildProcess.FreePort()}");
        builder.Logging.ClearProviders();
        _app = builder.Build();
        _app.MapGet("/metrics", SendAsync);
    }

    public string Address => new Uri(_app.Urls.First()).Authority;

    /// <summary>True once nothing changes any more, and that was scraped.</summary>
    public bool IsAtRest => Volatile.Read(ref _scrapes) > Changes;

    public Task StartAsync() => _app.StartAsync();

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task SendAsync(HttpContext context)
    {
        int n = Math.Min(Interlocked.Increment(ref _scrapes), Changes);
        string time = ((_start + n) / 1000.0).ToString("F3", CultureInfo.InvariantCulture);
        var text = new StringBuilder("# HELP served Requests that were served.\n# TYPE served counter\n");
        foreach (int code in new[] { 200, 500 })
            text.Append(CultureInfo.InvariantCulture, $"served_total{{code=\"{code}\"}} {n * code} # {{trace_id=\"{code}-{n}\",span_id=\"s\"}} {n}.5 {time}\n");
        text.Append("# HELP took How long it took.\n# TYPE took histogram\n");
        text.Append(CultureInfo.InvariantCulture, $"took_bucket{{le=\"0.5\"}} {n} # {{}} 0.25 {time}\n");
        text.Append(CultureInfo.InvariantCulture, $"took_bucket{{le=\"+Inf\"}} {2 * n} # {{trace_id=\"ü{n}\"}} 1e21 {time}\n");
        text.Append(CultureInfo.InvariantCulture, $"took_sum {n}\ntook_count {2 * n}\n# EOF\n");
        context.Response.ContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        await context.Response.WriteAsync(text.ToString());
    }
}
