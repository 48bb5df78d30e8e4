using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>What an orchestrator asks: is the process alive, may it be read from.</summary>
internal static class HealthEndpoints
{
    private static readonly string[] Methods = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Maps <c>/-/healthy</c> and <c>/-/ready</c>.</summary>
    public static void MapHealth(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapMethods("/-/healthy", Methods, static context => HttpAnswers.SendTextAsync(context.Response, "TsdbRemote is Healthy.\n"));
        endpoints.MapMethods("/-/ready", Methods, ReadyAsync);
    }

    /// <summary>Ready when reads are whole. A store that has failed is not ready: it can be read, but what is sent to it goes nowhere.</summary>
    private static Task ReadyAsync(HttpContext context)
    {
        LsmEngine engine = context.RequestServices.GetRequiredService<EngineHost>().Engine;
        IHostApplicationLifetime lifetime = context.RequestServices.GetRequiredService<IHostApplicationLifetime>();
        bool stopping = lifetime.ApplicationStopping.IsCancellationRequested || engine.Phase == EnginePhase.Stopping;
        if (engine.Phase == EnginePhase.Ready && !stopping) return HttpAnswers.SendTextAsync(context.Response, "TsdbRemote is Ready.\n");
        context.Response.StatusCode = HttpAnswers.ServiceUnavailable.Status;
        HttpAnswers.IsStopping(context.Response, stopping);
        return HttpAnswers.SendTextAsync(context.Response, HttpAnswers.ServiceUnavailable.Text!);
    }
}
