namespace TsdbRemote.Storage.Engine;

/// <summary>How fast the log was replayed when this process started: what the next start will need for what the log holds by then.</summary>
/// <remarks>
/// Use:      <see cref="Begun"/> before and <see cref="Ended"/> after each segment, from any thread; <see cref="BytesPerSecond"/> once replay is over.
/// Measured: bytes of log by time that passed, from the first segment begun to the last one ended: reading, decoding, appending, new series, workers
///           side by side or one alone, waits for flushes that make room, live writes beside it. Nothing has to be assumed of workers or processors, and
///           a log of the same shape takes as long again.
/// Tried:    the time that live writes need for their bytes. It is known without a crash, but it rises with the load, most of it waiting for
///           processors that a replay would have to itself: the log would be held shortest, and flushed most often, just when there is least time for it.
/// Kept in memory only: a start that had nothing to replay, as after a clean stop, goes by <see cref="AssumedBytesPerSecond"/>.
/// </remarks>
internal sealed class ReplayPace(TimeProvider time)
{
    /// <summary>What is assumed until a replay was long enough to tell, a processor: 0.25 µs a sample of some 17 logged bytes.</summary>
    public const long AssumedBytesPerSecond = 64L << 20;

    /// <summary>No pace below this is believed: such a start was disturbed, and a log that short would be all flushes. Bytes a second.</summary>
    public const long LeastBytesPerSecond = 8L << 20;

    // In less, opening files and compiling code are most of what is seen.
    private const long TellingBytes = 64L << 20;
    private static readonly TimeSpan TellingTime = TimeSpan.FromSeconds(1);

    // Guards what follows.
    private readonly Lock _lock = new();
    private long _bytes;
    private long? _began;
    private TimeSpan _took;

    /// <summary>Bytes of log replayed a second, all workers together, not below <see cref="LeastBytesPerSecond"/>; null if too little was replayed to tell.</summary>
    public long? BytesPerSecond
    {
        get
        {
            lock (_lock)
            {
                if (_bytes < TellingBytes && _took < TellingTime) return null;
                double pace = _bytes / Math.Max(_took.TotalSeconds, 0.001);
                return (long)Math.Clamp(pace, LeastBytesPerSecond, long.MaxValue / 2);
            }
        }
    }

    /// <summary>A segment is begun.</summary>
    public void Begun()
    {
        lock (_lock) _began ??= time.GetTimestamp();
    }

    /// <summary>A segment is replayed.</summary>
    /// <param name="bytes">Of its frames; not what was reserved behind them.</param>
    public void Ended(long bytes)
    {
        lock (_lock)
        {
            _bytes += bytes;
            _took = time.GetElapsedTime(_began ?? time.GetTimestamp());
        }
    }
}
