using System.Net.Http.Headers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>One sample on its way.</summary>
public readonly record struct Delivery(int Series, Sample Sample);

/// <summary>In which order the samples of a history are sent, and the sending.</summary>
public static class Deliveries
{
    /// <summary>By time, as Prometheus wants it.</summary>
    public static IEnumerable<Delivery> InOrder(ScrapeHistory history) => Ordered(
        from pair in All(history) select (pair.Sample.TimeMs, pair));

    /// <summary>
    /// As a fleet of agents sends it: one sample in 20 comes up to two hours behind its time, some come twice, and some have had another value before.
    /// </summary>
    /// <param name="history">What is known at the end.</param>
    /// <param name="isLate">Samples that are left out, for they come much later.</param>
    public static IEnumerable<Delivery> Disordered(ScrapeHistory history, Func<Delivery, bool> isLate) => Ordered(
        from pair in All(history)
        where !isLate(pair)
        from arrival in Arrivals(pair)
        select arrival);

    /// <summary>The samples that come much later.</summary>
    public static IEnumerable<Delivery> Late(ScrapeHistory history, Func<Delivery, bool> isLate) => All(history).Where(isLate);

    /// <summary>Sends samples in requests of a few thousand, one after the other.</summary>
    public static async Task SendAsync(HttpClient client, ScrapeHistory history, IEnumerable<Delivery> deliveries)
    {
        foreach (Delivery[] request in deliveries.Chunk(5000)) await PostAsync(client, Body(history, request));
    }

    /// <summary>A request with one series' samples.</summary>
    public static Task SendAsync(HttpClient client, KnownSeries series, params Sample[] samples)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 10);
        RemoteWriteV1.EncodeSeries(raw, series.Run, samples);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return PostAsync(client, body.Span.ToArray());
    }

    /// <summary>Sends a body to where both Prometheus and the server take remote write.</summary>
    public static async Task PostAsync(HttpClient client, byte[] body)
    {
        using var content = new ByteArrayContent(body);
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        using HttpResponseMessage answer = await client.PostAsync(new Uri("/api/v1/write", UriKind.Relative), content);
        Assert.True(answer.IsSuccessStatusCode, $"{(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
    }

    /// <summary>A number that is the same for the same sample in every run, 0 to 999.</summary>
    public static int Lot(Delivery delivery)
    {
        ulong mix = ((ulong)delivery.Sample.TimeMs * 0x9E3779B97F4A7C15) ^ ((ulong)delivery.Series * 0xC2B2AE3D27D4EB4F);
        mix = (mix ^ (mix >> 29)) * 0xBF58476D1CE4E5B9;
        return (int)((mix >> 32) % 1000);
    }

    private static IEnumerable<Delivery> All(ScrapeHistory history) =>
        history.Series.SelectMany(static (series, index) => series.Samples.Select(sample => new Delivery(index, sample)));

    private static IEnumerable<Delivery> Ordered(IEnumerable<(long When, Delivery Delivery)> arrivals) =>
        arrivals.OrderBy(static arrival => arrival.When).Select(static arrival => arrival.Delivery);

    private static IEnumerable<(long When, Delivery Delivery)> Arrivals(Delivery delivery)
    {
        int lot = Lot(delivery);
        long time = delivery.Sample.TimeMs;
        long when = lot < 50 ? time + 60_000 + lot * 140_000 : time;
        if (lot is >= 500 and < 503) yield return (when - 1, delivery with { Sample = Sample.Of(time, lot) });
        yield return (when, delivery);
        if (lot is >= 45 and < 55) yield return (when + 600_000, delivery);
    }

    private static byte[] Body(ScrapeHistory history, Delivery[] request)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 18);
        foreach (IGrouping<int, Delivery> series in request.GroupBy(static delivery => delivery.Series))
            RemoteWriteV1.EncodeSeries(raw, history.Series[series.Key].Run, [.. series.Select(static delivery => delivery.Sample)]);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }
}
