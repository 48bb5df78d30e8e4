namespace TsdbRemote.Tests.Wal;

/// <summary>A clock that stands still until a test moves it; timers ring in <see cref="Advance"/>, on the caller's thread.</summary>
internal sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<Alarm> _alarms = [];
    private long _now;

    /// <summary>Some timer will ring.</summary>
    public bool IsArmed
    {
        get
        {
            lock (_lock) return _alarms.Exists(static alarm => alarm.Due != long.MaxValue);
        }
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddTicks(GetTimestamp());

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var alarm = new Alarm(this, callback, state);
        alarm.Change(dueTime, period);
        return alarm;
    }

    public void Advance(TimeSpan by)
    {
        long target = _now + by.Ticks;
        while (NextDue(target) is { } alarm)
        {
            Volatile.Write(ref _now, alarm.Due);
            alarm.Due = long.MaxValue;
            alarm.Ring();
        }

        Volatile.Write(ref _now, target);
    }

    private Alarm? NextDue(long target)
    {
        lock (_lock) return _alarms.Where(alarm => alarm.Due <= target).MinBy(static alarm => alarm.Due);
    }

    private sealed class Alarm(ManualTime time, TimerCallback callback, object? state) : ITimer
    {
        public long Due { get; set; } = long.MaxValue;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Assert.Equal(Timeout.InfiniteTimeSpan, period);
            lock (time._lock)
            {
                if (!time._alarms.Contains(this)) time._alarms.Add(this);
                Due = dueTime == Timeout.InfiniteTimeSpan ? long.MaxValue : time._now + dueTime.Ticks;
            }

            return true;
        }

        public void Ring() => callback(state);

        public void Dispose()
        {
            lock (time._lock) time._alarms.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
