using System.Diagnostics;
using System.Net;
using TsdbRemote.Benchmarks.Peers;

namespace TsdbRemote.Benchmarks.Overload;

/// <summary>Sends the requests of a load by some connections, each until it is taken, as a sender of Prometheus does, and keeps account of the answers.</summary>
/// <param name="target">Where to.</param>
internal sealed class Ledger(Target target)
{
    // A refused sender comes again no later than this, so that the pressure stays.
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(1);

    private long _taken;
    private long _refused;

    /// <summary>Requests answered 2xx.</summary>
    public long Taken => Interlocked.Read(ref _taken);

    /// <summary>Answers 503; all had a <c>Retry-After</c>.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Sends, scrape after scrape, until the time is over and the scrape begun last is whole.</summary>
    /// <param name="load">The load.</param>
    /// <param name="from">First scrape.</param>
    /// <param name="time">How long.</param>
    /// <param name="connections">Requests under way at one time; no more than a scrape has.</param>
    /// <param name="perSecond">Requests a second; infinite for as many as are answered.</param>
    /// <returns>The scrape behind the last that was sent.</returns>
    /// <exception cref="InvalidOperationException">An answer that no overload excuses, or a 503 that does not say when to come again.</exception>
    public async Task<int> SendAsync(ILoad load, int from, TimeSpan time, int connections, double perSecond = double.PositiveInfinity)
    {
        long began = Stopwatch.GetTimestamp();
        int next = -1;
        int end = int.MaxValue;
        int batches = load.BatchesPerScrape;
        await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => Task.Run(async () =>
        {
            while (true)
            {
                int request = Interlocked.Increment(ref next);
                if (request >= Volatile.Read(ref end)) return;
                double late = Stopwatch.GetElapsedTime(began).TotalSeconds - request / perSecond;
                if (late < 0) await Task.Delay(TimeSpan.FromSeconds(-late));
                await SendAsync(load.Body(from + request / batches, request % batches), load.IsVersion2);
                if (Stopwatch.GetElapsedTime(began) > time) Interlocked.CompareExchange(ref end, (Volatile.Read(ref next) / batches + 2) * batches, int.MaxValue);
            }
        })));
        return from + end / batches;
    }

    private async Task SendAsync(byte[] body, bool isVersion2)
    {
        while (true)
        {
            using HttpResponseMessage answer = await target.PostAsync(body, isVersion2);
            if (answer.IsSuccessStatusCode)
            {
                Interlocked.Increment(ref _taken);
                return;
            }

            if (answer.StatusCode != HttpStatusCode.ServiceUnavailable || answer.Headers.RetryAfter?.Delta is not { } wait)
                throw new InvalidOperationException($"{(int)answer.StatusCode}, Retry-After {answer.Headers.RetryAfter}: {await answer.Content.ReadAsStringAsync()}");
            Interlocked.Increment(ref _refused);
            await Task.Delay(wait < LongestWait ? wait : LongestWait);
        }
    }
}
