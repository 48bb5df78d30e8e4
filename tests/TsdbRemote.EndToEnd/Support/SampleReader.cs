using System.Buffers.Binary;
using System.Net.Http.Headers;
using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Reads raw samples back by remote read, with the generated protobuf types and IronSnappy.</summary>
public static class SampleReader
{
    public static Task<IReadOnlyList<TimeSeries>> ReadAsync(HttpClient client, string metric, long startMs, long endMs) =>
        ReadAsync(client, new LabelMatcher { Type = LabelMatcher.Types.Type.Eq, Name = "__name__", Value = metric }, startMs, endMs);

    public static async Task<IReadOnlyList<TimeSeries>> ReadAsync(HttpClient client, LabelMatcher matcher, long startMs, long endMs)
    {
        byte[] body = await PostAsync(client, matcher, startMs, endMs, ReadRequest.Types.ResponseType.Samples);
        return ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(body)).Results[0].Timeseries;
    }

    /// <summary>
    /// Reads the chunks of a streamed answer, by labels as Prometheus prints them: each value's bits, where Prometheus' plain answer makes 0 of -0.
    /// </summary>
    public static async Task<Dictionary<string, List<Blocks.Model.Sample>>> ReadStreamedAsync(HttpClient client, LabelMatcher matcher, long startMs, long endMs)
    {
        byte[] body = await PostAsync(client, matcher, startMs, endMs, ReadRequest.Types.ResponseType.StreamedXorChunks);
        Dictionary<string, List<Blocks.Model.Sample>> all = [];
        for (int at = 0; at < body.Length;)
        {
            var frame = new CodedInputStream(body, at, body.Length - at);
            int length = (int)frame.ReadUInt32();
            at = (int)frame.Position + sizeof(uint);
            Assert.Equal(Crc32C.Of(body.AsSpan(at, length)), BinaryPrimitives.ReadUInt32BigEndian(body.AsSpan(at - sizeof(uint))));
            foreach (ChunkedSeries series in ChunkedReadResponse.Parser.ParseFrom(body, at, length).ChunkedSeries)
            {
                string labels = KnownSeries.Print(series.Labels.Select(static label => (label.Name, label.Value)));
                if (!all.TryGetValue(labels, out List<Blocks.Model.Sample>? samples)) all.Add(labels, samples = []);
                foreach (Chunk chunk in series.Chunks) Decode(chunk, samples);
            }

            at += length;
        }

        return all;
    }

    private static void Decode(Chunk chunk, List<Blocks.Model.Sample> output)
    {
        Assert.Equal(Chunk.Types.Encoding.Xor, chunk.Type);
        var reader = new XorChunkReader(chunk.Data.Span);
        while (reader.MoveNext()) output.Add(new Blocks.Model.Sample(reader.TimeMs, reader.ValueBits));
        Assert.False(reader.IsCorrupt);
    }

    private static async Task<byte[]> PostAsync(HttpClient client, LabelMatcher matcher, long startMs, long endMs, ReadRequest.Types.ResponseType type)
    {
        var query = new Query { StartTimestampMs = startMs, EndTimestampMs = endMs };
        query.Matchers.Add(matcher);
        var request = new ReadRequest();
        request.Queries.Add(query);
        request.AcceptedResponseTypes.Add(type);
        using var content = new ByteArrayContent(IronSnappy.Snappy.Encode(request.ToByteArray()));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        using HttpResponseMessage answer = await client.PostAsync(new Uri("/api/v1/read", UriKind.Relative), content);
        byte[] body = await answer.Content.ReadAsByteArrayAsync();
        Assert.True(answer.IsSuccessStatusCode, System.Text.Encoding.UTF8.GetString(body));
        return body;
    }
}
