using System.Collections.Immutable;
using Microsoft.Extensions.Logging;

namespace TsdbRemote.Storage.Engine;

/// <summary>A time in which writes were held back for one reason.</summary>
/// <param name="Reason">Why.</param>
/// <param name="WindowStartMs">Start of the window that was crowded, ms; null where every write was concerned.</param>
/// <param name="BeganMs">When the first write was held back, ms since the epoch.</param>
/// <param name="EndedMs">When the signal was below its first threshold again, ms since the epoch; null while it is not.</param>
/// <param name="Delayed">Writes that were held back.</param>
/// <param name="Refused">Writes that were told to come again.</param>
/// <param name="WaitedSeconds">What they waited, all together.</param>
public sealed record WriteStallEpisode(
    StallReason Reason, long? WindowStartMs, long BeganMs, long? EndedMs, long Delayed, long Refused, double WaitedSeconds);

/// <summary>What held writes back, now and of late. Thread-safe; touched only by writes that are held back, and once after each flush and merge.</summary>
internal sealed class StallHistory(TimeProvider time, ILogger log)
{
    private const int Kept = 32;

    // Guards the two below; nothing is called while it is held but the log.
    private readonly Lock _lock = new();
    private readonly Dictionary<(StallReason, long?), WriteStallEpisode> _current = [];

    // The newest last.
    private readonly List<WriteStallEpisode> _past = [];

    /// <summary>Those that go on, then those that ended, the last first.</summary>
    public ImmutableArray<WriteStallEpisode> All
    {
        get
        {
            lock (_lock) return [.. _current.Values, .. _past.AsEnumerable().Reverse()];
        }
    }

    private long NowMs => time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>A write begins to wait.</summary>
    public void Held(StallReason reason, long? windowStartMs)
    {
        lock (_lock)
        {
            if (_current.TryGetValue((reason, windowStartMs), out WriteStallEpisode? episode))
            {
                _current[(reason, windowStartMs)] = episode with { Delayed = episode.Delayed + 1 };
                return;
            }

            _current[(reason, windowStartMs)] = new WriteStallEpisode(reason, windowStartMs, NowMs, null, 1, 0, 0);
        }

        Log.StallBegan(log, reason, Tell(windowStartMs));
    }

    /// <summary>It waits no longer.</summary>
    public void Released(StallReason reason, long? windowStartMs, TimeSpan waited, bool refused)
    {
        lock (_lock)
        {
            if (_current.TryGetValue((reason, windowStartMs), out WriteStallEpisode? episode))
            {
                _current[(reason, windowStartMs)] = With(episode, waited, refused);
                return;
            }

            // Ended meanwhile, as it does for whoever waited to its end.
            int last = _past.FindLastIndex(ended => ended.Reason == reason && ended.WindowStartMs == windowStartMs);
            if (last >= 0) _past[last] = With(_past[last], waited, refused);
        }
    }

    /// <summary>Ends what is over.</summary>
    /// <param name="goesOn">Whether a reason, and a window, still holds writes back.</param>
    public void End(Func<StallReason, long?, bool> goesOn)
    {
        lock (_lock)
        {
            foreach (((StallReason Reason, long? WindowStartMs) key, WriteStallEpisode episode) in _current)
            {
                if (goesOn(key.Reason, key.WindowStartMs)) continue;
                _current.Remove(key);
                WriteStallEpisode ended = episode with { EndedMs = NowMs };
                _past.Add(ended);
                if (_past.Count > Kept) _past.RemoveAt(0);
                Log.StallEnded(
                    log, key.Reason, Tell(key.WindowStartMs), (ended.EndedMs.Value - ended.BeganMs) / 1000.0, ended.Delayed, ended.WaitedSeconds, ended.Refused);
            }
        }
    }

    private static string Tell(long? windowStartMs) =>
        windowStartMs is { } start ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"those into the window of {start} ms") : "all";

    private static WriteStallEpisode With(WriteStallEpisode episode, TimeSpan waited, bool refused) => episode with
    {
        Refused = episode.Refused + (refused ? 1 : 0),
        WaitedSeconds = episode.WaitedSeconds + waited.TotalSeconds,
    };
}
