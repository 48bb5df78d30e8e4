namespace TsdbRemote.Storage.Engine;

/// <summary>Holds writers back while MemTables or the log are full and a flush has to come first.</summary>
/// <remarks>Use: <see cref="WaitAsync"/> before a write; <see cref="Pulse"/> after each flush. Thread-safe.</remarks>
internal sealed class WriteStall
{
    /// <summary>Longest wait of one writer; then it is told to come again.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Func<bool> _isFull;
    private readonly TimeProvider _time;
    private readonly EngineCounters _counters;
    private TaskCompletionSource _pulse = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public WriteStall(Func<bool> isFull, TimeProvider time, EngineCounters counters)
    {
        _isFull = isFull;
        _time = time;
        _counters = counters;
    }

    /// <summary>Waits until there is room.</summary>
    /// <returns>False if there was none for too long.</returns>
    public ValueTask<bool> WaitAsync() => _isFull() ? WaitSlowAsync() : ValueTask.FromResult(true);

    /// <summary>Something was flushed.</summary>
    public void Pulse() =>
        Interlocked.Exchange(ref _pulse, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private async ValueTask<bool> WaitSlowAsync()
    {
        long started = _time.GetTimestamp();
        try
        {
            while (true)
            {
                Task next = Volatile.Read(ref _pulse).Task;
                if (!_isFull()) return true;
                TimeSpan left = Patience - _time.GetElapsedTime(started);
                if (left <= TimeSpan.Zero) break;
                await next.WaitAsync(left, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        finally
        {
            EngineCounters.Add(ref _counters.StallTicks, _time.GetElapsedTime(started).Ticks);
        }

        EngineCounters.Add(ref _counters.StallsRefused, 1);
        return false;
    }
}
