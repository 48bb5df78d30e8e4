using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Holds writers back while flushes or merges are behind: a little at first, and if that does not help, until there is room.</summary>
/// <remarks>
/// Use:       <see cref="WaitAsync"/> before a request is decoded; <see cref="CrowdOf"/> once its times are known, and <see cref="WaitForAsync"/> if it goes into
///            a crowded window; <see cref="Refresh"/> after each flush and merge, and whenever a MemTable or the log may have filled up.
/// Hot path:  one volatile read while nothing is crowded.
/// Fairness:  who waits for a crowded window holds none of the memory that others need: its decoded form is dropped, and what all of them hold as sent is bounded.
///            So late data never stalls live data.
/// Thread-safe. Not here: when to delay and by how much (<see cref="StallRules"/>).
/// </remarks>
internal sealed class WriteStall
{
    /// <summary>Longest wait of one writer; then it is told to come again.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Func<FlushPressure> _flush;
    private readonly Func<CompactionPressure> _compaction;
    private readonly int _levels;
    private readonly long _maxHeldBytes;
    private readonly TimeProvider _time;
    private readonly EngineCounters _counters;
    private readonly StallHistory _history;
    private TaskCompletionSource _pulse = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Null while every signal is below its first threshold.
    private CompactionPressure? _crowded;
    private long _heldBytes;

    /// <summary>Nobody waits yet.</summary>
    /// <param name="flush">MemTables and log now; cheap, for every write that finds something crowded asks.</param>
    /// <param name="compaction">What merges are behind by; asked for by <see cref="Refresh"/> only.</param>
    /// <param name="levels">Number of levels.</param>
    /// <param name="maxHeldBytes">Bytes of requests as sent that may wait for crowded windows at a time.</param>
    /// <param name="time">Clock of delays.</param>
    /// <param name="counters">Added to.</param>
    /// <param name="log">Where events go.</param>
    public WriteStall(
        Func<FlushPressure> flush, Func<CompactionPressure> compaction, int levels, long maxHeldBytes, TimeProvider time, EngineCounters counters, ILogger log)
    {
        _flush = flush;
        _compaction = compaction;
        _levels = levels;
        _maxHeldBytes = maxHeldBytes;
        _time = time;
        _counters = counters;
        _history = new StallHistory(time, log);
    }

    /// <summary>What held writes back, now and of late.</summary>
    public ImmutableArray<WriteStallEpisode> Episodes => _history.All;

    /// <summary>True while writes are held back because merges are behind.</summary>
    public bool IsCompactionBehind
    {
        get
        {
            if (Volatile.Read(ref _crowded) is not { } crowded) return false;
            return !crowded.Crowded.IsEmpty || crowded.DebtBytes >= StallRules.SlowDebtBytes(_flush().MemTableBytes, _levels);
        }
    }

    /// <summary>All signals with their thresholds.</summary>
    public ImmutableArray<StallSignal> Signals(CompactionPressure compaction) =>
        [.. StallRules.Signals(_flush(), compaction.DebtBytes, _levels), StallRules.SignalOf(compaction.MostTables)];

    /// <summary>Looks at all signals anew, and lets those go ahead who may.</summary>
    public void Refresh()
    {
        FlushPressure flush = _flush();
        CompactionPressure compaction = _compaction();
        ImmutableArray<StallSignal> signals = StallRules.Signals(flush, compaction.DebtBytes, _levels);
        bool isCrowded = !compaction.Crowded.IsEmpty || signals.Any(static signal => signal.Value >= signal.SlowAt);
        bool wasCrowded = Interlocked.Exchange(ref _crowded, isCrowded ? compaction : null) is not null;
        if (!wasCrowded && !isCrowded) return;
        _history.End((reason, window) => window is { } start
            ? compaction.Crowded.Any(crowded => crowded.Window.MinMs == start)
            : signals.Any(signal => signal.Reason == reason && signal.Value >= signal.SlowAt));
        Interlocked.Exchange(ref _pulse, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Waits as every write has to.</summary>
    /// <returns>Null, or what was in the way for too long.</returns>
    public ValueTask<string?> WaitAsync() => Volatile.Read(ref _crowded) is null ? ValueTask.FromResult<string?>(null) : WaitSlowAsync();

    /// <summary>The most crowded window that some of the samples go into; null if none does.</summary>
    /// <param name="minMs">No sample is before.</param>
    /// <param name="maxMs">No sample is behind.</param>
    /// <param name="samples">All floats; looked at only where the bounds leave it open.</param>
    /// <param name="histograms">All histograms; looked at as the floats are.</param>
    public CrowdedWindow? CrowdOf(long minMs, long maxMs, ReadOnlySpan<Sample> samples, ReadOnlySpan<HistogramEntry> histograms)
    {
        if (Volatile.Read(ref _crowded) is not { Crowded.IsEmpty: false } crowded) return null;
        CrowdedWindow? worst = null;
        foreach (CrowdedWindow candidate in crowded.Crowded)
        {
            if (candidate.Tables <= (worst?.Tables ?? 0) || !candidate.Window.Overlaps(new TimeRange(minMs, maxMs))) continue;
            if (HoldsSome(candidate.Window, samples) || HoldsSome(candidate.Window, histograms)) worst = candidate;
        }

        return worst;
    }

    /// <summary>Waits as a write into a crowded window has to.</summary>
    /// <param name="crowd">The window.</param>
    /// <param name="heldBytes">Bytes of the request that its sender's connection holds meanwhile.</param>
    /// <returns>Null, or what was in the way for too long.</returns>
    public async ValueTask<string?> WaitForAsync(CrowdedWindow crowd, long heldBytes)
    {
        bool hasRoom = Interlocked.Add(ref _heldBytes, heldBytes) <= _maxHeldBytes;
        try
        {
            long start = crowd.Window.MinMs;
            StallSignal? Look()
            {
                CrowdedWindow? there = Volatile.Read(ref _crowded)?.Crowded.FirstOrDefault(window => window.Window.MinMs == start);
                return there is null ? null : StallRules.SignalOf(there.Tables);
            }

            bool passed = await HoldAsync(Look, StallReason.L0Tables, start, hasRoom ? Patience : TimeSpan.Zero).ConfigureAwait(false);
            return passed ? null : $"the window of {start} ms has {crowd.Tables} tables that wait to be merged; writes into it have to wait, others need not";
        }
        finally
        {
            Interlocked.Add(ref _heldBytes, -heldBytes);
        }
    }

    private static bool HoldsSome(TimeRange window, ReadOnlySpan<Sample> samples)
    {
        foreach (ref readonly Sample sample in samples)
        {
            if (window.Contains(sample.TimeMs)) return true;
        }

        return false;
    }

    private static bool HoldsSome(TimeRange window, ReadOnlySpan<HistogramEntry> histograms)
    {
        foreach (ref readonly HistogramEntry histogram in histograms)
        {
            if (window.Contains(histogram.TimeMs)) return true;
        }

        return false;
    }

    private async ValueTask<string?> WaitSlowAsync()
    {
        foreach (StallReason reason in (StallReason[])[StallReason.MemTables, StallReason.LogBytes, StallReason.CompactionDebt])
        {
            StallSignal? Look()
            {
                long debt = Volatile.Read(ref _crowded)?.DebtBytes ?? 0;
                return StallRules.Signals(_flush(), debt, _levels).First(signal => signal.Reason == reason);
            }

            if (await HoldAsync(Look, reason, null, Patience).ConfigureAwait(false)) continue;
            return reason switch
            {
                StallReason.MemTables => "MemTables are full and wait for a flush",
                StallReason.LogBytes => "the log is full and waits for a flush",
                _ => "too many bytes of tables wait to be merged",
            };
        }

        return null;
    }

    /// <summary>Waits while a signal stops writes, then sleeps what it delays them.</summary>
    /// <returns>False if it did not go back in time.</returns>
    private async ValueTask<bool> HoldAsync(Func<StallSignal?> look, StallReason reason, long? window, TimeSpan patience)
    {
        long began = _time.GetTimestamp();
        bool isHeld = false;
        bool passed = false;
        try
        {
            while (true)
            {
                Task next = Volatile.Read(ref _pulse).Task;
                FlushPressure flush = _flush();
                if (look() is not { } signal) return passed = true;
                bool stops = StallRules.Stops(signal, flush);
                TimeSpan delay = stops ? patience - _time.GetElapsedTime(began) : isHeld ? TimeSpan.Zero : StallRules.DelayOf(signal, flush);
                if (!stops && delay <= TimeSpan.Zero) return passed = true;
                if (!isHeld) _history.Held(reason, window);
                isHeld = true;
                if (!stops)
                {
                    await Task.Delay(delay, _time, CancellationToken.None).ConfigureAwait(false);
                    return passed = true;
                }

                if (delay <= TimeSpan.Zero) return false;
                await next.WaitAsync(delay, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        finally
        {
            if (isHeld)
            {
                TimeSpan waited = _time.GetElapsedTime(began);
                EngineCounters.Add(ref _counters.StallTicks[(int)reason], waited.Ticks);
                EngineCounters.Add(ref _counters.StallsRefused[(int)reason], passed ? 0 : 1);
                _history.Released(reason, window, waited, refused: !passed);
            }
        }
    }
}
