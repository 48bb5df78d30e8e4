using System.Collections.Concurrent;
using System.Net.Http.Headers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Writes numbered samples over HTTP and keeps a ledger of what was acknowledged: a value names its sample, so any read proves its origin.</summary>
public sealed class SampleWriter(HttpClient client, int seriesCount)
{
    private readonly ConcurrentDictionary<(int Series, long TimeMs), double> _acknowledged = new();
    private readonly ConcurrentDictionary<(int Series, long TimeMs), double> _sent = new();

    public IReadOnlyDictionary<(int Series, long TimeMs), double> Acknowledged => _acknowledged;

    public IReadOnlyDictionary<(int Series, long TimeMs), double> Sent => _sent;

    public static string NameOf(int series) => $"s{series:D5}";

    /// <summary>One request: one sample for each series at one time.</summary>
    /// <returns>True if it was acknowledged.</returns>
    public async Task<bool> WriteAsync(int worker, long timeMs, CancellationToken cancel)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 16);
        var batch = new List<((int, long) Key, double Value)>();
        for (int i = 0; i < seriesCount; i++)
        {
            int series = worker * seriesCount + i;
            double value = series * 1e7 + (timeMs % 10_000_000);
            RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "ledger"), ("id", NameOf(series))), [Sample.Of(timeMs, value)]);
            batch.Add(((series, timeMs), value));
        }

        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        foreach (((int, long) key, double value) in batch) _sent[key] = value;
        using var content = new ByteArrayContent(body.Span.ToArray());
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        try
        {
            using HttpResponseMessage answer = await client.PostAsync(new Uri("/api/v1/write", UriKind.Relative), content, cancel);
            if (!answer.IsSuccessStatusCode) return false;
        }
        catch (Exception gone) when (gone is HttpRequestException or TaskCanceledException or IOException)
        {
            return false;
        }

        foreach (((int, long) key, double value) in batch) _acknowledged[key] = value;
        return true;
    }
}
