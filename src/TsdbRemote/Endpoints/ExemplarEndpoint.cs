using System.Text.Json;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Options;
using TsdbRemote.Storage.Exemplars;

namespace TsdbRemote.Endpoints;

/// <summary><c>/api/v1/query_exemplars</c>: the exemplars of the series that an expression selects, as Prometheus answers it.</summary>
/// <remarks>
/// Of the expression only the form is read (<see cref="ExpressionSelectors"/>). An answer is made whole in a read's slot, within <c>storage.read.memory</c>, before its first
/// byte is sent.
/// </remarks>
internal sealed class ExemplarEndpoint(EngineHost host, TsdbRemoteOptions options, TimeProvider time, ReadSlots slots)
{
    private readonly long _maxBytes = options.Storage.Read.Memory.Bytes;

    /// <summary>Maps the path.</summary>
    public void Map(IEndpointRouteBuilder endpoints) =>
        endpoints.MapMethods("/api/v1/query_exemplars", [HttpMethods.Get, HttpMethods.Head, HttpMethods.Post], AnswerAsync);

    private async Task AnswerAsync(HttpContext context)
    {
        (HttpAnswer? refused, ApiQuery? query) = await ApiQuery.ReadAsync(context, options.Http.BodyTimeout.ToTimeSpan(), time);
        if (query is null)
        {
            await EndAsync(context, refused);
            return;
        }

        string? problem = query.TryRange(out TimeRange range);
        if (problem is null && range.IsEmpty) problem = "end timestamp must not be before start timestamp";
        if (problem is not null)
        {
            await EndAsync(context, HttpAnswers.BadRead(problem));
            return;
        }

        using var body = new JsonBody(_maxBytes);
        HttpAnswer? answer = await slots.RunAsync(context, stop => Work(query.First("query"), range, body, stop));
        if (answer?.Status == StatusCodes.Status200OK) await ApiJson.SendAsync(context, body);
        else await EndAsync(context, answer);
    }

    private HttpAnswer? Work(string expression, TimeRange range, JsonBody body, CancellationToken stop)
    {
        IReadOnlyList<ExpressionSelector> selectors;
        try
        {
            selectors = ExpressionSelectors.Find(expression);
        }
        catch (SelectorException refused)
        {
            return HttpAnswers.BadRead(refused.Message);
        }

        // What selects nothing has no data to answer with, not even an empty list.
        if (selectors.Count == 0) return new HttpAnswer(StatusCodes.Status204NoContent, null);
        ReadQueries queries = ReadQueries.Of(selectors.Select(static selector => selector.Terms));
        if (queries.TryCompile(time, stop, out IReadOnlyList<ReadQuery> compiled) is { } tooMuch) return tooMuch;
        for (int i = 0; i < compiled.Count; i++)
        {
            if (compiled[i].Matchers.All(static matcher => matcher.MatchesEmpty))
                return HttpAnswers.BadRead($"{selectors[i].Place}: parse error: vector selector must contain at least one non-empty matcher");
        }

        bool IsWanted(byte[] labels)
        {
            stop.ThrowIfCancellationRequested();
            return compiled.Any(query => query.Matchers.All(matcher => Matches(matcher, labels)));
        }

        return Write(host.Engine.FindExemplars(IsWanted, range), body, stop) ?? new HttpAnswer(StatusCodes.Status200OK, null);
    }

    private static bool Matches(Matcher matcher, byte[] labels)
    {
        Labels.TryGet(labels, matcher.NameUtf8.Span, out ReadOnlySpan<byte> value);
        return matcher.Matches(value);
    }

    private static HttpAnswer? Write(IReadOnlyList<SeriesExemplars> found, JsonBody body, CancellationToken stop)
    {
        using Utf8JsonWriter json = ApiJson.BeginList(body);
        foreach (SeriesExemplars series in found)
        {
            stop.ThrowIfCancellationRequested();
            json.WriteStartObject();
            WriteLabels(json, "seriesLabels"u8, series.Labels);
            json.WriteStartArray("exemplars"u8);
            foreach (Exemplar exemplar in series.Exemplars)
            {
                json.WriteStartObject();
                WriteLabels(json, "labels"u8, exemplar.Labels);
                json.WriteString("value"u8, ApiNumber.Value(exemplar.At.Value));
                json.WritePropertyName("timestamp"u8);
                json.WriteRawValue(ApiNumber.Seconds(exemplar.At.TimeMs));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
            json.Flush();
            if (body.Refusal is { } refused) return refused;
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return body.Refusal;
    }

    private static void WriteLabels(Utf8JsonWriter json, ReadOnlySpan<byte> name, ReadOnlySpan<byte> run)
    {
        json.WriteStartObject(name);
        var labels = new LabelRunReader(run);
        while (labels.MoveNext()) json.WriteString(labels.Name, labels.Value);
        json.WriteEndObject();
    }

    private static Task EndAsync(HttpContext context, HttpAnswer? answer)
    {
        if (answer?.Status == StatusCodes.Status204NoContent)
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return Task.CompletedTask;
        }

        if (answer is { } known) return ApiJson.RefuseAsync(context, known);
        context.Abort();
        return Task.CompletedTask;
    }
}
