using System.Collections.Concurrent;
using System.Diagnostics;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>Some connections that send requests as fast as they are answered, or at a pace.</summary>
internal static class Senders
{
    private const int Connections = 4;

    /// <summary>Sends numbered requests in about their order.</summary>
    /// <param name="target">Where to.</param>
    /// <param name="requests">How many.</param>
    /// <param name="body">The body of each.</param>
    /// <param name="perSecond">Requests a second; infinite for as many as are answered. Each counts from when it was due, however late it goes out: since all connections wait, or a timer overslept.</param>
    /// <param name="connections">Requests under way at one time.</param>
    /// <returns>Times to their answers in ms, sorted.</returns>
    public static async Task<double[]> SendAsync(Target target, int requests, Func<int, byte[]> body, double perSecond = double.PositiveInfinity, int connections = Connections)
    {
        var latencies = new ConcurrentBag<double>();
        int next = -1;
        long began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => Task.Run(async () =>
        {
            for (int request = Interlocked.Increment(ref next); request < requests; request = Interlocked.Increment(ref next))
            {
                byte[] bytes = body(request);
                long from = double.IsInfinity(perSecond) ? Stopwatch.GetTimestamp() : await WhenDueAsync(began, request / perSecond);
                await target.WriteAsync(bytes);
                latencies.Add(Stopwatch.GetElapsedTime(from).TotalMilliseconds);
            }
        })));
        return [.. latencies.Order()];
    }

    /// <summary>Waits until a request is due.</summary>
    /// <returns>When it was due: from then on its time to the answer counts.</returns>
    private static async Task<long> WhenDueAsync(long began, double dueSeconds)
    {
        long due = began + (long)(dueSeconds * Stopwatch.Frequency);
        long now = Stopwatch.GetTimestamp();
        if (now < due) await Task.Delay(Stopwatch.GetElapsedTime(now, due));
        return due;
    }

    /// <summary>A body of remote write 1.0.</summary>
    public static byte[] Body(IEnumerable<(byte[] Labels, ReadOnlyMemory<Sample> Samples)> series)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 19);
        foreach ((byte[] labels, ReadOnlyMemory<Sample> samples) in series) RemoteWriteV1.EncodeSeries(raw, labels, samples.Span);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }

    public static double At(double[] sorted, double quantile) => sorted[(int)Math.Min(sorted.Length - 1, sorted.Length * quantile)];
}
