using System.Diagnostics;
using TsdbRemote.Benchmarks.Peers;

namespace TsdbRemote.Benchmarks.Overload;

/// <summary>Looks at a server's RssAnon and asks whether it is healthy, some times a second, until it is disposed.</summary>
internal sealed class MemoryWatch : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);
    private static readonly Uri Healthy = new("/-/healthy", UriKind.Relative);

    private readonly Target _target;
    private readonly HttpClient _client;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watching;
    private readonly List<(double Seconds, double MiB)> _memory = [];
    private readonly List<double> _answers = [];

    /// <summary>Begins.</summary>
    public MemoryWatch(Target target)
    {
        _target = target;

        // A connection of its own: what is measured is the server, not the queue of this process.
        _client = new HttpClient { BaseAddress = target.Client.BaseAddress, Timeout = TimeSpan.FromMinutes(1) };
        _watching = Task.Factory.StartNew(Watch, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>What was seen: seconds since the first look, and MiB.</summary>
    public IReadOnlyList<(double Seconds, double MiB)> Memory => _memory;

    /// <summary>Times to the answers, ms, sorted.</summary>
    public double[] Answers => [.. _answers.Order()];

    /// <summary>Ends the watch, after which its figures may be read.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _client.Dispose();
        _stop.Dispose();
    }

    // A thread and not a task: the senders keep this process' pool busy, and a late look would pass for a late answer.
    private void Watch()
    {
        long began = Stopwatch.GetTimestamp();
        do
        {
            _memory.Add((Stopwatch.GetElapsedTime(began).TotalSeconds, _target.StatusMiB("RssAnon")));
            using var request = new HttpRequestMessage(HttpMethod.Get, Healthy);
            long asked = Stopwatch.GetTimestamp();
            using HttpResponseMessage answer = _client.Send(request);
            _answers.Add(Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
            answer.EnsureSuccessStatusCode();
        }
        while (!_stop.Token.WaitHandle.WaitOne(Interval));
    }
}
