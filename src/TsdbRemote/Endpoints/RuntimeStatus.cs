using System.Diagnostics;
using System.Text.Json.Nodes;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;

namespace TsdbRemote.Endpoints;

/// <summary>How the server runs, in the form in which Prometheus tells it: <c>/api/v1/status/{flags,config,runtimeinfo,tsdb/blocks}</c>.</summary>
internal static class RuntimeStatus
{
    /// <summary>Maps the pages.</summary>
    public static void MapRuntimeStatus(this IEndpointRouteBuilder endpoints)
    {
        string[] get = [HttpMethods.Get, HttpMethods.Head];
        DateTimeOffset started = endpoints.ServiceProvider.GetRequiredService<TimeProvider>().GetUtcNow();
        endpoints.MapMethods("/api/v1/status/flags", get, static context => ApiJson.SendAsync(context, OptionsText.Flags(OptionsOf(context))));
        endpoints.MapMethods("/api/v1/status/config", get, static context => ApiJson.SendAsync(context, new { Yaml = OptionsText.Yaml(OptionsOf(context)) }));
        endpoints.MapMethods("/api/v1/status/runtimeinfo", get, context => ApiJson.SendAsync(context, RuntimeInfo(context, started)));
        endpoints.MapMethods("/api/v1/status/tsdb/blocks", get, BlocksAsync);
    }

    private static TsdbRemoteOptions OptionsOf(HttpContext context) => context.RequestServices.GetRequiredService<TsdbRemoteOptions>();

    private static LsmEngine EngineOf(HttpContext context) => context.RequestServices.GetRequiredService<EngineHost>().Engine;

    /// <summary>Where Prometheus tells of Go's runtime, this tells what of .NET's is most like it.</summary>
    private static Dictionary<string, object> RuntimeInfo(HttpContext context, DateTimeOffset started)
    {
        using Process self = Process.GetCurrentProcess();
        return new Dictionary<string, object>
        {
            ["startTime"] = started.UtcDateTime,
            ["CWD"] = Environment.CurrentDirectory,
            ["hostname"] = Environment.MachineName,
            ["serverTime"] = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow().UtcDateTime,
            ["reloadConfigSuccess"] = true,
            ["lastConfigTime"] = started.UtcDateTime,
            ["corruptionCount"] = EngineOf(context).Stats().Damages.Length,
            ["goroutineCount"] = self.Threads.Count,
            ["GOMAXPROCS"] = Environment.ProcessorCount,
            ["GOMEMLIMIT"] = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            ["GOGC"] = "",
            ["GODEBUG"] = "",
            ["storageRetention"] = Retention(OptionsOf(context).Storage.Retention),
        };
    }

    private static string Retention(RetentionOptions options) => (options.Time, options.Size) switch
    {
        (null, null) => "unlimited",
        ({ } time, null) => time.ToString(),
        (null, { } size) => size.ToString(),
        ({ } time, { } size) => $"{time} or {size}",
    };

    private static async Task BlocksAsync(HttpContext context)
    {
        try
        {
            using ReadSnapshot snapshot = EngineOf(context).AcquireSnapshot();
            await ApiJson.SendAsync(context, new { Blocks = snapshot.Blocks.Select(Public).ToArray() });
        }
        catch (EngineUnavailableException refused)
        {
            await ApiJson.RefuseAsync(context, HttpAnswers.Unavailable(refused.Message, retryAfterSeconds: 5));
        }
    }

    /// <summary>What Prometheus tells of a block: its <c>meta.json</c> without what others have added to that.</summary>
    private static JsonObject Public(BlockMeta meta)
    {
        JsonObject json = JsonNode.Parse(meta.ToJson())!.AsObject();
        json.Remove("thanos");
        json.Remove("tsdb_remote");
        return json;
    }
}
