using System.Buffers.Binary;
using System.Net;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What came back: status, headers, the whole body.</summary>
public sealed record Answer(HttpStatusCode Status, IReadOnlyDictionary<string, string> Headers, byte[] Body)
{
    private const string WrittenPrefix = "X-Prometheus-Remote-Write-";

    public string Text => Encoding.UTF8.GetString(Body);

    /// <summary>The three Written headers as <c>samples/histograms/exemplars</c>; null if there is none of them.</summary>
    public string? Written
    {
        get
        {
            string?[] counts = [.. new[] { "Samples", "Histograms", "Exemplars" }.Select(kind => this[$"{WrittenPrefix}{kind}-Written"])];
            return counts.All(static count => count is null) ? null : string.Join('/', counts.Select(static count => count ?? "-"));
        }
    }

    public string? this[string header] => Headers.TryGetValue(header, out string? value) ? value : null;

    public static async Task<Answer> OfAsync(HttpResponseMessage response)
    {
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach ((string name, IEnumerable<string> values) in response.Headers.Concat(response.Content.Headers)) headers[name] = string.Join(", ", values);
        return new Answer(response.StatusCode, headers, await response.Content.ReadAsByteArrayAsync());
    }

    public ReadResponse AsSamples() => ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(Body));

    /// <summary>The frames of a streamed answer, each with its checksum verified.</summary>
    public IReadOnlyList<ChunkedReadResponse> AsFrames()
    {
        var frames = new List<ChunkedReadResponse>();
        int at = 0;
        while (at < Body.Length)
        {
            Assert.True(Varint.TryRead(Body, ref at, out ulong length), "a frame begins with its length");
            uint crc = BinaryPrimitives.ReadUInt32BigEndian(Body.AsSpan(at));
            ReadOnlySpan<byte> payload = Body.AsSpan(at + sizeof(uint), (int)length);
            Assert.Equal(Crc32C.Of(payload), crc);
            frames.Add(ChunkedReadResponse.Parser.ParseFrom(payload));
            at += sizeof(uint) + (int)length;
        }

        return frames;
    }
}
