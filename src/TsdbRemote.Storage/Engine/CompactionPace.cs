namespace TsdbRemote.Storage.Engine;

/// <summary>How busy the store is with what somebody waits for, at one instant.</summary>
/// <param name="Processors">Processors there are.</param>
/// <param name="Requests">Write requests that are not answered yet.</param>
/// <param name="Reads">Reads under way.</param>
/// <param name="QueuedRecords">Records that wait for the log's writer.</param>
/// <param name="WaitingMemTables">MemTables that wait for their flush.</param>
/// <param name="MaxWaitingMemTables">How many may.</param>
/// <param name="CommitLag">Time that the log took of late from a record to its acknowledgement.</param>
/// <param name="IsCrowded">Writes are slowed down, or soon will be, because merges are behind.</param>
internal readonly record struct PaceSignals(
    int Processors, int Requests, int Reads, int QueuedRecords, int WaitingMemTables, int MaxWaitingMemTables, TimeSpan CommitLag, bool IsCrowded);

/// <summary>
/// How much of its time a job may work, a merge of tables, a conversion or a compaction of blocks: ingestion and reads go first, and jobs never starve. Pure.
/// </summary>
/// <remarks>
/// What it does:  the busiest of five signals is the load, from 0 (nobody waits) to 1. A job works all of its time at load 0 and
///                <see cref="LeastDuty"/> of it at load 1, in a straight line between; it sleeps the rest, slice by slice.
/// Full speed:    also when merges are so far behind that writes are slowed down for it: then sleeping would cost the writers more than working does.
///                A compaction of blocks hurries too, for conversions, which take tables away, wait behind it.
/// Tried:         nothing cleverer. A controller that aims at a latency needs a model of the disk; a worker fewer helps only where there are several.
/// </remarks>
internal static class CompactionPace
{
    /// <summary>Part of its time that a job works whatever else goes on.</summary>
    public const double LeastDuty = 0.2;

    /// <summary>Longest sleep at a time: the load may have gone meanwhile.</summary>
    public static readonly TimeSpan LongestSleep = TimeSpan.FromSeconds(1);

    // A sync of a disk that is not busy stays below the first; at the second, senders notice.
    private static readonly TimeSpan LagNoticed = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan LagFull = TimeSpan.FromMilliseconds(20);

    // Records of one group commit that are no sign of a queue.
    private const double QueueFull = 16;

    /// <summary>How long to sleep after a slice of work.</summary>
    /// <param name="worked">Length of the slice.</param>
    /// <param name="signals">How busy the store is.</param>
    public static TimeSpan SleepAfter(TimeSpan worked, in PaceSignals signals)
    {
        double duty = DutyOf(signals);
        if (duty >= 1) return TimeSpan.Zero;
        TimeSpan sleep = worked * (1 / duty - 1);
        return sleep < LongestSleep ? sleep : LongestSleep;
    }

    /// <summary>Part of its time that a job works, from <see cref="LeastDuty"/> to 1.</summary>
    public static double DutyOf(in PaceSignals signals) => signals.IsCrowded ? 1 : 1 - (1 - LeastDuty) * LoadOf(signals);

    private static double LoadOf(in PaceSignals signals)
    {
        double requests = signals.Requests / (2.0 * signals.Processors); // half of them wait for the disk
        double reads = signals.Reads / (double)signals.Processors;
        double queue = signals.QueuedRecords / QueueFull;
        double memTables = signals.WaitingMemTables / (double)signals.MaxWaitingMemTables;
        double lag = (signals.CommitLag - LagNoticed) / (LagFull - LagNoticed);
        return Math.Clamp(Math.Max(Math.Max(Math.Max(requests, reads), Math.Max(queue, memTables)), lag), 0, 1);
    }
}

/// <summary>Gives each job what makes it keep the pace. Thread-safe.</summary>
/// <param name="time">The clock, of work and of sleep.</param>
/// <param name="signals">How busy the store is; null for full speed.</param>
/// <param name="sleep">Sleeps between slices of work; throws when cancelled.</param>
internal sealed class CompactionThrottles(TimeProvider time, Func<PaceSignals>? signals, Action<TimeSpan, CancellationToken> sleep)
{
    /// <summary>For one job, whose work begins now.</summary>
    /// <param name="cancel">Ends a sleep.</param>
    public CompactionThrottle Begin(CancellationToken cancel) => new(time, signals, pause => sleep(pause, cancel));
}

/// <summary>Makes one job keep the pace: measures its slices, and sleeps between them. One thread uses it.</summary>
/// <param name="time">The clock, of work and of sleep.</param>
/// <param name="signals">Asked after each slice; null for full speed.</param>
/// <param name="sleep">Sleeps, or throws to give up.</param>
internal sealed class CompactionThrottle(TimeProvider time, Func<PaceSignals>? signals, Action<TimeSpan> sleep)
{
    // Shorter ones would have the timer's own slack decide.
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);

    private long _sliceBegan = time.GetTimestamp();

    /// <summary>Time slept so far.</summary>
    public TimeSpan Slept { get; private set; }

    /// <summary>Called between pieces of work.</summary>
    public void Pause()
    {
        if (signals is null) return;
        TimeSpan worked = time.GetElapsedTime(_sliceBegan);
        if (worked < Slice) return;
        TimeSpan pause = CompactionPace.SleepAfter(worked, signals());
        if (pause > TimeSpan.Zero)
        {
            Slept += pause;
            sleep(pause);
        }

        _sliceBegan = time.GetTimestamp();
    }
}

/// <summary>What the log takes from a record to its acknowledgement, as a mean in which the last eight count most. Thread-safe.</summary>
internal sealed class CommitLag(TimeProvider time)
{
    private const int Weight = 8;

    // A mean of requests long past says nothing.
    private static readonly TimeSpan Stale = TimeSpan.FromSeconds(1);

    private long _meanTicks;
    private long _notedAt;

    /// <summary>The mean now; zero if nothing was acknowledged of late.</summary>
    public TimeSpan Mean =>
        time.GetElapsedTime(Volatile.Read(ref _notedAt)) > Stale ? TimeSpan.Zero : TimeSpan.FromTicks(Volatile.Read(ref _meanTicks));

    /// <summary>Notes one acknowledgement. Two at once may lose one of them, which a mean can bear.</summary>
    /// <param name="began">Timestamp when its record was queued.</param>
    public void Note(long began)
    {
        long mean = Volatile.Read(ref _meanTicks);
        Volatile.Write(ref _meanTicks, mean + (time.GetElapsedTime(began).Ticks - mean) / Weight);
        Volatile.Write(ref _notedAt, time.GetTimestamp());
    }
}
