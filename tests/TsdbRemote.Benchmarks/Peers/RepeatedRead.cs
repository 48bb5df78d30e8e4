using System.Diagnostics;
using System.IO.Hashing;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>One remote read again and again over one connection. The first answer is counted; the others have to be the same bytes, which costs the reader little.</summary>
/// <param name="client">Of the server.</param>
/// <param name="body">The request.</param>
internal sealed class RepeatedRead(HttpClient client, byte[] body)
{
    private const int Piece = 1 << 18;
    private const long Unlimited = 1L << 40;

    private readonly byte[] _piece = new byte[Piece];
    private ulong? _hash;

    /// <summary>Reads it and counts what is answered.</summary>
    /// <exception cref="InvalidOperationException">It is not what was expected.</exception>
    public async Task CheckAsync(bool streamed, long series, long samples)
    {
        (long seriesThere, long samplesThere) = streamed ? await StreamedAsync() : await SamplesAsync();
        if (seriesThere != series || samplesThere != samples)
            throw new InvalidOperationException($"{seriesThere} series with {samplesThere} samples were read, {series} with {samples} are there");
        await ReadAsync();
    }

    /// <summary>Reads it once.</summary>
    /// <returns>Time from the request to the last byte, ms.</returns>
    /// <exception cref="InvalidOperationException">It is not the answer of the time before.</exception>
    public async Task<double> ReadAsync()
    {
        var hash = new XxHash3();
        long began = Stopwatch.GetTimestamp();
        using HttpResponseMessage answer = await SendAsync();
        await using Stream stream = await answer.Content.ReadAsStreamAsync();
        for (int read; (read = await stream.ReadAsync(_piece)) > 0;) hash.Append(_piece.AsSpan(0, read));
        double milliseconds = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        ulong now = hash.GetCurrentHashAsUInt64();
        if (_hash is { } before && before != now) throw new InvalidOperationException("another answer than before");
        _hash = now;
        return milliseconds;
    }

    private async Task<HttpResponseMessage> SendAsync()
    {
        using HttpRequestMessage message = ReadBodies.MessageOf(body);
        HttpResponseMessage answer = await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        return answer.EnsureSuccessStatusCode();
    }

    private async Task<(long Series, long Samples)> StreamedAsync()
    {
        StreamedAnswer answer = await StreamedAnswer.ReadAsync(client, body, Unlimited);
        return (answer.Series, answer.Samples);
    }

    private async Task<(long Series, long Samples)> SamplesAsync()
    {
        using HttpResponseMessage answer = await SendAsync();
        ReadResponse response = ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(await answer.Content.ReadAsByteArrayAsync()));
        TimeSeries[] series = [.. response.Results.SelectMany(static result => result.Timeseries)];
        return (series.Length, series.Sum(static one => (long)one.Samples.Count));
    }
}
