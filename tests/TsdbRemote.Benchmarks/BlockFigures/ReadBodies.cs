using System.Net.Http.Headers;
using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>Requests of remote read.</summary>
internal static class ReadBodies
{
    /// <summary>A body of one query, in snappy.</summary>
    /// <param name="range">Times that are asked for.</param>
    /// <param name="streamed">True for streamed chunks, false for SAMPLES.</param>
    /// <param name="matchers">What series have to match.</param>
    public static byte[] Of(TimeRange range, bool streamed, params LabelMatcher[] matchers)
    {
        var query = new Query { StartTimestampMs = range.MinMs, EndTimestampMs = range.MaxMs };
        query.Matchers.AddRange(matchers);
        var request = new ReadRequest();
        request.Queries.Add(query);
        request.AcceptedResponseTypes.Add(streamed ? ReadRequest.Types.ResponseType.StreamedXorChunks : ReadRequest.Types.ResponseType.Samples);
        return IronSnappy.Snappy.Encode(request.ToByteArray());
    }

    /// <summary>A label has this value.</summary>
    public static LabelMatcher Equal(string name, string value) => new() { Type = LabelMatcher.Types.Type.Eq, Name = name, Value = value };

    /// <summary>A label matches an anchored expression.</summary>
    public static LabelMatcher Matches(string name, string expression) => new() { Type = LabelMatcher.Types.Type.Re, Name = name, Value = expression };

    /// <summary>The message that carries a body.</summary>
    public static HttpRequestMessage MessageOf(byte[] body)
    {
        var content = new ByteArrayContent(body);
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        return new HttpRequestMessage(HttpMethod.Post, "/api/v1/read") { Content = content };
    }
}
