using System.Globalization;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Endpoints;

/// <summary><c>/api/v1/metadata</c>: the last word of senders about metric families.</summary>
internal static class MetadataEndpoint
{
    /// <summary>Maps the path.</summary>
    public static void MapMetadata(this IEndpointRouteBuilder endpoints) => endpoints.MapMethods("/api/v1/metadata", [HttpMethods.Get, HttpMethods.Head], SendAsync);

    private static Task SendAsync(HttpContext context)
    {
        IQueryCollection query = context.Request.Query;
        if (!TryNumber(query["limit"], out int limit)) return RefuseAsync(context, "limit must be a number");
        if (!TryNumber(query["limit_per_metric"], out _)) return RefuseAsync(context, "limit_per_metric must be a number");
        MetricMetadata known = context.RequestServices.GetRequiredService<EngineHost>().Engine.Metadata;
        string metric = query["metric"].FirstOrDefault() ?? "";
        IEnumerable<KeyValuePair<string, MetricDescription>> families = metric.Length == 0
            ? known.List()
            : known.TryGet(metric, out MetricDescription? one) ? [new(metric, one)] : [];
        if (limit >= 0) families = families.Take(limit);

        // One description a family is known, the last one told; Prometheus, which has one a target, answers a list.
        return ApiJson.SendAsync(context, families.ToDictionary(static family => family.Key, static family => new[] { Describe(family.Value) }));
    }

    private static object Describe(MetricDescription family) => new { Type = family.Type.ToString().ToLowerInvariant(), family.Unit, family.Help };

    private static bool TryNumber(string? text, out int number)
    {
        number = -1;
        return string.IsNullOrEmpty(text) || int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number);
    }

    private static Task RefuseAsync(HttpContext context, string problem) => ApiJson.RefuseAsync(context, HttpAnswers.BadRead(problem));
}
