using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Which merge is done next. Pure: figures in, decision out.</summary>
public static class CompactionPicker
{
    /// <summary>The most urgent merge, or null if none is due.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="settings">Strategy and thresholds.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="isBusy">True for a window that another job holds.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    public static CompactionJob? Pick(
        LevelSet levels, CompactionSettings settings, long nowMs, Func<TimeRange, bool> isBusy, Func<long, long> sinceAddedMs) => null;

    /// <summary>What waits to be merged, whatever other jobs hold: one merge a window.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="settings">Strategy and thresholds.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    public static CompactionDebt Debt(LevelSet levels, CompactionSettings settings, long nowMs, Func<long, long> sinceAddedMs) => default;
}
