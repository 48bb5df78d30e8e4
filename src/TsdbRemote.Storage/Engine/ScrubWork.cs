using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Engine;

/// <summary>Begins a check of everything stored, again and again, so that rot in files that nobody reads is found while a good copy of them may still be somewhere.</summary>
/// <remarks>
/// It has a <see cref="VerifyWork"/> of its own: who asks for a check does not have to wait for this one, which may take days. A check that takes longer than the interval is followed by the
/// next at once. What it finds goes where every damage goes. Nothing of it outlives the process, so one that is restarted each day begins one each day: each at another place, by chance, so that where a day is too short
/// for all of it, what is at the end has its turn as well. How far it came is not noted: that would be one more file to write, to check and to distrust.
/// Thread-safe.
/// </remarks>
internal sealed class ScrubWork : IDisposable
{
    // A start has other things to read.
    private static readonly TimeSpan First = TimeSpan.FromHours(1);
    private static readonly TimeSpan AskAgain = TimeSpan.FromMinutes(1);

    private readonly VerifyWork _check;
    private readonly ScrubOptions _options;
    private readonly Func<bool> _mayBegin;
    private readonly CancellationToken _stopping;
    private readonly ITimer? _timer;

    /// <summary>Waits for the first.</summary>
    /// <param name="check">Does it; taken over.</param>
    /// <param name="options">When, and how fast.</param>
    /// <param name="mayBegin">Whether one may begin now; asked again soon if not.</param>
    /// <param name="time">The clock.</param>
    /// <param name="stopping">Cancelled once the engine stops.</param>
    public ScrubWork(VerifyWork check, ScrubOptions options, Func<bool> mayBegin, TimeProvider time, CancellationToken stopping)
    {
        _check = check;
        _options = options;
        _mayBegin = mayBegin;
        _stopping = stopping;
        if (options.Interval is not { } interval) return;
        TimeSpan every = interval.ToTimeSpan();

        // In two steps: it may ring before the field is set.
        _timer = time.CreateTimer(_ => TryBegin(every), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(every < First ? every : First, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How the last one stands.</summary>
    public VerifyStatus Status => _check.Status;

    /// <summary>Begins none from now on, and completes once the one that is running has ended.</summary>
    public async Task StopAsync()
    {
        if (_timer is not null) await _timer.DisposeAsync().ConfigureAwait(false);
        await _check.CancelAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _timer?.Dispose();
        _check.Dispose();
    }

    private void TryBegin(TimeSpan interval)
    {
        bool began = _mayBegin() && _check.TryBegin(_options.Rate.Bytes, _stopping, Random.Shared.NextDouble());
        _timer!.Change(began ? interval : AskAgain, Timeout.InfiniteTimeSpan);
    }
}
