namespace TsdbRemote.Endpoints;

/// <summary>The page at <c>/</c>: what this is and where to look. Nothing on it comes from anywhere else.</summary>
internal static class StartPage
{
    private static readonly string Html = $"""
        <!DOCTYPE html>
        <html lang="en">
        <head><meta charset="utf-8"><title>TsdbRemote</title>
        <style>body {"{"} font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em {"}"} code {"{"} background: #8882; padding: 0 .2em {"}"}</style></head>
        <body>
        <h1>TsdbRemote {ProgramVersion.Number}</h1>
        <p>A durable store for Prometheus: it takes <code>remote_write</code> and answers <code>remote_read</code>. It has no query language and no graphs:
        Grafana asks a Prometheus, and that Prometheus reads from here.</p>
        <pre>remote_write:
          - url: http://HOST:PORT/api/v1/write
        remote_read:
          - url: http://HOST:PORT/api/v1/read</pre>
        <h2>Where to look</h2>
        <ul>
        <li><a href="-/ready">/-/ready</a>, <a href="-/healthy">/-/healthy</a>: is it ready, is it alive</li>
        <li><a href="api/v1/status/lsm?format=text">/api/v1/status/lsm?format=text</a>: tables, blocks, merges, what holds writers back</li>
        <li><a href="api/v1/status/tsdb">/api/v1/status/tsdb</a>: which metrics and labels have the most series</li>
        <li><a href="api/v1/labels">/api/v1/labels</a>, <a href="api/v1/label/__name__/values">/api/v1/label/NAME/values</a>, /api/v1/series?match[]=…, <a href="api/v1/metadata">/api/v1/metadata</a>: what is stored</li>
        <li><a href="api/v1/status/config">/api/v1/status/config</a>, <a href="api/v1/status/flags">flags</a>, <a href="api/v1/status/runtimeinfo">runtimeinfo</a>, <a href="api/v1/status/buildinfo">buildinfo</a>, <a href="api/v1/status/tsdb/blocks">blocks</a>: how it runs</li>
        <li><a href="metrics">/metrics</a>: its own metrics</li>
        </ul>
        </body>
        </html>
        """;

    /// <summary>Sends the page.</summary>
    public static Task SendAsync(HttpContext context)
    {
        HttpResponse response = context.Response;
        byte[] body = System.Text.Encoding.UTF8.GetBytes(Html);
        response.ContentType = "text/html; charset=utf-8";
        response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'";
        response.Headers.XContentTypeOptions = "nosniff";
        response.ContentLength = body.Length;
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(body, context.RequestAborted).AsTask();
    }
}
