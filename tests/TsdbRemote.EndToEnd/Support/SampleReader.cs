using System.Net.Http.Headers;
using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Reads raw samples back by remote read, with the generated protobuf types and IronSnappy.</summary>
public static class SampleReader
{
    public static Task<IReadOnlyList<TimeSeries>> ReadAsync(HttpClient client, string metric, long startMs, long endMs) =>
        ReadAsync(client, new LabelMatcher { Type = LabelMatcher.Types.Type.Eq, Name = "__name__", Value = metric }, startMs, endMs);

    public static async Task<IReadOnlyList<TimeSeries>> ReadAsync(HttpClient client, LabelMatcher matcher, long startMs, long endMs)
    {
        var query = new Query { StartTimestampMs = startMs, EndTimestampMs = endMs };
        query.Matchers.Add(matcher);
        var request = new ReadRequest();
        request.Queries.Add(query);
        using var content = new ByteArrayContent(IronSnappy.Snappy.Encode(request.ToByteArray()));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        using HttpResponseMessage answer = await client.PostAsync(new Uri("/api/v1/read", UriKind.Relative), content);
        byte[] body = await answer.Content.ReadAsByteArrayAsync();
        Assert.True(answer.IsSuccessStatusCode, System.Text.Encoding.UTF8.GetString(body));
        return ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(body)).Results[0].Timeseries;
    }
}
