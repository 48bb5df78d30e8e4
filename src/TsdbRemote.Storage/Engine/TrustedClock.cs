namespace TsdbRemote.Storage.Engine;

/// <summary>The time of day, once it can be believed: for what deletes by age.</summary>
/// <remarks>
/// A reading is believed when for a minute every one agreed with the monotonic clock. So one wrong reading, a clock set ahead while the process
/// runs, or one that was wrong at its start and is corrected within a minute, deletes nothing. Not thread-safe: one thread asks.
/// </remarks>
internal sealed class TrustedClock
{
    private static readonly TimeSpan Tolerance = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Probation = TimeSpan.FromMinutes(1);

    private readonly TimeProvider _time;
    private long _agreesSince;
    private long _lastStamp;
    private DateTimeOffset _lastReading;

    public TrustedClock(TimeProvider time)
    {
        _time = time;
        _agreesSince = _lastStamp = time.GetTimestamp();
        _lastReading = time.GetUtcNow();
    }

    /// <summary>Takes a reading.</summary>
    /// <returns>Milliseconds since the epoch; null while the clock is in doubt.</returns>
    public long? ReadMs()
    {
        long stamp = _time.GetTimestamp();
        DateTimeOffset reading = _time.GetUtcNow();
        TimeSpan off = reading - _lastReading - _time.GetElapsedTime(_lastStamp, stamp);
        if (off.Duration() > Tolerance) _agreesSince = stamp;
        _lastStamp = stamp;
        _lastReading = reading;
        return _time.GetElapsedTime(_agreesSince, stamp) >= Probation ? reading.ToUnixTimeMilliseconds() : null;
    }
}
