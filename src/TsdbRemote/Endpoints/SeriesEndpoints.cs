using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Endpoints;

/// <summary>What series there are, as Prometheus answers it: <c>/api/v1/labels</c>, <c>/api/v1/label/NAME/values</c>, <c>/api/v1/series</c>.</summary>
/// <remarks>
/// Sorted, each once, over everything stored. Time is as fine as whole sources for names and values (<see cref="LabelSearch"/>), as chunks for series. An answer is
/// made whole in a read's slot, within <c>storage.read.memory</c>, before its first byte is sent.
/// </remarks>
internal sealed class SeriesEndpoints(EngineHost host, TsdbRemoteOptions options, TimeProvider time, ReadSlots slots)
{
    /// <summary>Characters of a name that an error repeats.</summary>
    private const int MaxEcho = 256;

    private const string Truncated = "results truncated due to limit";

    // Looked at now and then, not for each series.
    private const long CheckEveryBytes = 1 << 16;

    private readonly long _maxBytes = options.Storage.Read.Memory.Bytes;
    private readonly long _maxSeries = options.Storage.Read.MaxSeries;

    /// <summary>Maps the paths.</summary>
    public void Map(IEndpointRouteBuilder endpoints)
    {
        string[] get = [HttpMethods.Get, HttpMethods.Head];
        string[] getAndPost = [.. get, HttpMethods.Post];
        endpoints.MapMethods("/api/v1/labels", getAndPost, context => AnswerAsync(context, Names));
        endpoints.MapMethods("/api/v1/label/{name}/values", get, ValuesAsync);
        endpoints.MapMethods("/api/v1/series", getAndPost, SeriesAsync);
    }

    private static HttpAnswer? Names(ReadSnapshot snapshot, LabelQuestion question, JsonBody body, CancellationToken stop) =>
        Write(body, snapshot.SearchLabels(question.Range, stop).Names(question.Selectors), question.Limit);

    private HttpAnswer? Series(ReadSnapshot snapshot, LabelQuestion question, JsonBody body, CancellationToken stop)
    {
        using Utf8JsonWriter json = ApiJson.BeginList(body);
        using SeriesMerge series = snapshot.SelectLabels(question.Selectors, question.Range, stop);
        long count = 0;
        long written = 0;
        bool isTruncated = false;
        while (!isTruncated && series.MoveNext())
        {
            isTruncated = question.Limit > 0 && count++ == question.Limit;
            if (isTruncated) break;
            if (_maxSeries > 0 && ++written > _maxSeries) throw ReadLimitException.OfSeries(_maxSeries);
            json.WriteStartObject();
            var labels = new LabelRunReader(series.Labels);
            while (labels.MoveNext()) json.WriteString(labels.Name, labels.Value);
            json.WriteEndObject();
            if (json.BytesPending < CheckEveryBytes) continue;
            json.Flush();
            if (body.Refusal is { } refused) return refused;
        }

        return End(json, body, isTruncated);
    }

    private static HttpAnswer? Write(JsonBody body, IReadOnlyList<byte[]> texts, long limit)
    {
        using Utf8JsonWriter json = ApiJson.BeginList(body);
        bool isTruncated = limit > 0 && limit < texts.Count;
        for (int i = 0; i < (isTruncated ? limit : texts.Count); i++)
        {
            json.WriteStringValue(texts[i]);
            if (json.BytesPending < CheckEveryBytes) continue;
            json.Flush();
            if (body.Refusal is { } refused) return refused;
        }

        return End(json, body, isTruncated);
    }

    private static HttpAnswer? End(Utf8JsonWriter json, JsonBody body, bool isTruncated)
    {
        json.WriteEndArray();
        if (isTruncated)
        {
            json.WriteStartArray("warnings"u8);
            json.WriteStringValue(Truncated);
            json.WriteEndArray();
        }

        json.WriteEndObject();
        json.Flush();
        return body.Refusal;
    }

    private async Task ValuesAsync(HttpContext context)
    {
        byte[] bytes = PathSegment.Of(context, "/label/", "/values");
        if (bytes.AsSpan().Contains((byte)'/'))
        {
            // To Prometheus that is another path.
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }

        string? name = Utf8.IsValid(bytes) ? EscapedName.Unescape(Encoding.UTF8.GetString(bytes)) : null;
        if (string.IsNullOrEmpty(name))
        {
            await RefuseAsync(context, $"invalid label name: \"{(name is null ? LabelText.Escape(bytes, MaxEcho) : name)}\"");
            return;
        }

        await AnswerAsync(context, (snapshot, question, body, stop) =>
            Write(body, snapshot.SearchLabels(question.Range, stop).Values(name, question.Selectors), question.Limit));
    }

    private Task SeriesAsync(HttpContext context) => AnswerAsync(context, Series, selectorRequired: true);

    private async Task AnswerAsync(HttpContext context, Answerer answerer, bool selectorRequired = false)
    {
        (HttpAnswer? refused, ApiQuery? query) = await ApiQuery.ReadAsync(context, options.Http.BodyTimeout.ToTimeSpan(), time);
        if (query is null)
        {
            await EndAsync(context, refused);
            return;
        }

        IReadOnlyList<string> selectors = query.All("match[]");
        if (selectorRequired && selectors.Count == 0)
        {
            await RefuseAsync(context, SelectorQuery.Missing);
            return;
        }

        TimeRange range = default;
        string? problem = query.TryLimit(out long limit) ?? query.TryRange(out range) ?? SelectorQuery.TooMany(selectors);
        if (problem is not null)
        {
            await RefuseAsync(context, problem);
            return;
        }

        using var body = new JsonBody(_maxBytes);
        HttpAnswer? answer = await slots.RunAsync(context, stop => Work(answerer, selectors, selectorRequired, range, limit, body, stop));
        if (answer?.Status == StatusCodes.Status200OK) await ApiJson.SendAsync(context, body);
        else await EndAsync(context, answer);
    }

    private HttpAnswer? Work(
        Answerer answerer, IReadOnlyList<string> texts, bool namesParameter, TimeRange range, long limit, JsonBody body, CancellationToken stop)
    {
        List<IReadOnlyList<Matcher>> selectors = [];
        if (SelectorQuery.Compile(texts, selectors, time, namesParameter, stop) is { } refused) return refused;
        using ReadSnapshot snapshot = host.Engine.AcquireSnapshot();
        return answerer(snapshot, new LabelQuestion(selectors, range, limit), body, stop) ?? new HttpAnswer(StatusCodes.Status200OK, null);
    }

    private static Task RefuseAsync(HttpContext context, string problem) => ApiJson.RefuseAsync(context, HttpAnswers.BadRead(problem));

    private static Task EndAsync(HttpContext context, HttpAnswer? answer)
    {
        if (answer is { } known) return ApiJson.RefuseAsync(context, known);
        context.Abort();
        return Task.CompletedTask;
    }

    private delegate HttpAnswer? Answerer(ReadSnapshot snapshot, LabelQuestion question, JsonBody body, CancellationToken stop);

    /// <summary>A question, compiled.</summary>
    /// <param name="Selectors">Series that satisfy one of them count; none at all means no restriction.</param>
    /// <param name="Range">Closed, ms.</param>
    /// <param name="Limit">Most entries of the answer; 0 for all.</param>
    private sealed record LabelQuestion(IReadOnlyList<IReadOnlyList<Matcher>> Selectors, TimeRange Range, long Limit);
}
