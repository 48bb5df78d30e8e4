using System.Globalization;
using System.Runtime.InteropServices;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Endpoints;

/// <summary>What the server says about itself, in Prometheus' envelope: <c>/api/v1/status/{buildinfo,tsdb,walreplay,lsm}</c>.</summary>
internal static class StatusEndpoints
{
    private const int DefaultLimit = 10;
    private const int MaxLimit = 10_000;
    private static readonly string[] Methods = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Maps the pages.</summary>
    public static void MapStatus(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapMethods("/api/v1/status/buildinfo", Methods, static (HttpContext context) => ApiJson.SendAsync(context, BuildInfo()));
        endpoints.MapMethods("/api/v1/status/walreplay", Methods, static (HttpContext context) => ApiJson.SendAsync(context, WalReplay(EngineOf(context))));
        endpoints.MapMethods("/api/v1/status/tsdb", Methods, TsdbAsync);
        endpoints.MapMethods("/api/v1/status/lsm", Methods, LsmAsync);
        endpoints.MapRuntimeStatus();
    }

    private static LsmEngine EngineOf(HttpContext context) => context.RequestServices.GetRequiredService<EngineHost>().Engine;

    private static object BuildInfo() => new
    {
        Version = ProgramVersion.Number,
        Revision = ProgramVersion.Revision,
        Branch = "",
        BuildUser = "",
        BuildDate = "",

        // Prometheus names its own runtime here, and clients show the text as it is.
        GoVersion = RuntimeInformation.FrameworkDescription,
    };

    private static object WalReplay(LsmEngine engine)
    {
        ReplayProgress progress = engine.ReplayProgress;
        return new { progress.Min, progress.Max, progress.Current };
    }

    private static async Task LsmAsync(HttpContext context)
    {
        string? format = context.Request.Query["format"];
        LsmEngine engine = EngineOf(context);
        if (format is "text")
        {
            context.Response.ContentType = "text/plain; charset=utf-8";
            await context.Response.WriteAsync(LsmText.Of(engine.Stats(), engine.Windows(), engine.ReplayProgress, TimeOf(context)), context.RequestAborted);
        }
        else if (format is null or "" or "json")
        {
            await ApiJson.SendAsync(context, LsmStatus.Of(engine.Stats(), engine.Windows(), engine.ReplayProgress));
        }
        else
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status400BadRequest, ApiJson.BadData, "format must be json or text");
        }
    }

    private static DateTimeOffset TimeOf(HttpContext context) => context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();

    private static async Task TsdbAsync(HttpContext context)
    {
        if (!TryLimit(context.Request.Query["limit"], out int limit, out string? problem))
        {
            await ApiJson.RefuseAsync(context, StatusCodes.Status400BadRequest, ApiJson.BadData, problem!);
            return;
        }

        LsmEngine engine = EngineOf(context);
        PostingsStatistics? index = null;
        HttpAnswer? answer = await context.RequestServices.GetRequiredService<ReadSlots>().RunAsync(context, stop =>
        {
            using ReadSnapshot snapshot = engine.AcquireSnapshot();
            index = snapshot.Statistics(limit, stop);
            return null;
        });
        if (index is not null) await ApiJson.SendAsync(context, Tsdb(engine.Stats(), index));
        else if (answer is { } refused) await ApiJson.RefuseAsync(context, refused);
        else context.Abort();
    }

    private static bool TryLimit(string? text, out int limit, out string? problem)
    {
        limit = DefaultLimit;
        problem = null;
        if (string.IsNullOrEmpty(text)) return true;
        if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out limit) || limit < 1)
            problem = "limit must be a positive number";
        else if (limit > MaxLimit) problem = "limit must not exceed 10000";
        return problem is null;
    }

    /// <summary>Prometheus' head is what lies in memory: here the MemTables. The figures of the index are over everything stored.</summary>
    private static object Tsdb(EngineStats stats, PostingsStatistics index)
    {
        MemTableStats[] filled = [.. stats.MemTables.Where(static memTable => memTable.Samples > 0)];
        return new
        {
            HeadStats = new
            {
                NumSeries = index.SeriesCount,
                NumLabelPairs = index.LabelPairCount,
                // Open chunks only: MemTables do not count the sealed ones.
                ChunkCount = stats.MemTables.Sum(static memTable => memTable.Series),
                MinTime = filled.Length == 0 ? 0 : filled.Min(static memTable => memTable.MinTimeMs),
                MaxTime = filled.Length == 0 ? 0 : filled.Max(static memTable => memTable.MaxTimeMs),
            },
            index.SeriesCountByMetricName,
            index.LabelValueCountByLabelName,
            index.MemoryInBytesByLabelName,
            index.SeriesCountByLabelValuePair,
        };
    }
}
