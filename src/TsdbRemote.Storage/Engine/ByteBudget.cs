namespace TsdbRemote.Storage.Engine;

/// <summary>A bounded number of bytes that may be in use at a time; who asks for more waits its turn.</summary>
/// <remarks>
/// First come, first served, so that a large request is not starved by small ones. A request above the whole budget passes alone. Thread-safe.
/// </remarks>
public sealed class ByteBudget
{
    private readonly Lock _lock = new();
    private readonly Queue<Waiter> _waiting = new();
    private readonly long _total;
    private readonly int _maxWaiting;
    private readonly TimeProvider _time;
    private long _used;

    /// <summary>A budget.</summary>
    /// <param name="total">Bytes.</param>
    /// <param name="maxWaiting">Most requests that may wait; more are refused at once.</param>
    /// <param name="time">Times out the waits.</param>
    public ByteBudget(long total, int maxWaiting, TimeProvider time)
    {
        _total = total;
        _maxWaiting = maxWaiting;
        _time = time;
    }

    /// <summary>Bytes there are.</summary>
    public long Total => _total;

    /// <summary>Bytes in use.</summary>
    public long Used
    {
        get
        {
            lock (_lock) return _used;
        }
    }

    /// <summary>Takes bytes; give them back with <see cref="Release"/>.</summary>
    /// <param name="bytes">How many; above the whole budget counts as the whole budget.</param>
    /// <param name="patience">Longest wait.</param>
    /// <param name="cancel">Gives up waiting.</param>
    /// <returns>Bytes to give back, or -1 if the wait was too long or too many wait already.</returns>
    public async ValueTask<long> TryAcquireAsync(long bytes, TimeSpan patience, CancellationToken cancel)
    {
        bytes = Math.Clamp(bytes, 0, _total);
        Waiter waiter;
        lock (_lock)
        {
            if (_waiting.Count == 0 && _used + bytes <= _total)
            {
                _used += bytes;
                return bytes;
            }

            if (_waiting.Count >= _maxWaiting) return -1;
            waiter = new Waiter(bytes);
            _waiting.Enqueue(waiter);
        }

        try
        {
            await waiter.Granted.Task.WaitAsync(patience, _time, cancel).ConfigureAwait(false);
            return bytes;
        }
        catch (Exception failure) when (failure is TimeoutException or OperationCanceledException)
        {
            // Granted in the same instant: the bytes are ours after all, so give them to the next.
            if (!waiter.Granted.TrySetCanceled(CancellationToken.None)) Release(bytes);
            else Release(0);
            if (failure is OperationCanceledException) throw;
            return -1;
        }
    }

    /// <summary>Gives bytes back, and lets those go ahead whose turn it is.</summary>
    public void Release(long bytes)
    {
        lock (_lock)
        {
            _used -= bytes;
            while (_waiting.TryPeek(out Waiter? next))
            {
                if (next.Granted.Task.IsCanceled)
                {
                    _waiting.Dequeue();
                    continue;
                }

                if (_used + next.Bytes > _total) return;
                _waiting.Dequeue();
                if (next.Granted.TrySetResult()) _used += next.Bytes;
            }
        }
    }

    private sealed class Waiter(long bytes)
    {
        public long Bytes { get; } = bytes;

        public TaskCompletionSource Granted { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
