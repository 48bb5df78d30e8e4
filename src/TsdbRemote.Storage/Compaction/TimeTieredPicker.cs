using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Time-tiered: a window is left alone while it is written to, and becomes one run once it is closed and quiet.</summary>
/// <remarks>
/// What it does:  in an open window flushes pile up, twice as many as a level holds, before they are merged into a run of level 1. A closed window is
///                merged to one run, whatever it holds.
/// Good when:     data comes in time order, as from scrapes: nearly each sample is written twice (flush, closing merge), and what is older than the
///                open window is read from one run.
/// Bad when:      data keeps coming late: each few late flushes have the whole closed window written anew. And reads of the newest two hours look into
///                up to 2 × fanout runs, and one more for each such merge.
/// How we tell:   closed = the window's end lies behind the clock. Quiet = threshold × fanout late runs of level 0 have come, or none of them is younger
///                than <see cref="QuietMs"/>: what another merge made is no arrival. An open window counts as full at 2 × fanout runs of level 0.
/// Source: the time windows of Cassandra's TWCS, whose merges stop at the window's end because no read and no deletion crosses it for long.
/// </remarks>
internal static class TimeTieredPicker
{
    /// <summary>Time without a flush that holds some of it after which a closed window is merged, ms.</summary>
    public const long QuietMs = 10 * 60 * 1000;

    /// <summary>The merge that is due in a window, or null.</summary>
    /// <param name="window">The window.</param>
    /// <param name="oldestFirst">Its runs.</param>
    /// <param name="settings">Fanout and threshold.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    public static DueMerge? Next(
        TimeRange window, ImmutableArray<LevelRun> oldestFirst, CompactionSettings settings, long nowMs, Func<long, long> sinceAddedMs)
    {
        ArgumentNullException.ThrowIfNull(sinceAddedMs);
        int runs = oldestFirst.Length;
        int fresh = oldestFirst.Count(static run => run.Level == 0);
        if (window.MaxMs >= nowMs)
        {
            int full = 2 * settings.Fanout;
            if (fresh < full) return null;
            int first = runs - fresh;
            return new DueMerge(first, Math.Min(runs, first + CompactionPicker.MaxRuns), OutputLevel: 1, CompactionReason.TooManyRuns, (double)fresh / full);
        }

        if (runs < 2) return null;
        bool enough = fresh >= settings.RunsToStart;
        bool quiet = oldestFirst.All(run => run.Level > 0 || run.Tables.All(table => sinceAddedMs(table.Entry.Id) >= QuietMs));
        if (!enough && !quiet) return null;
        return new DueMerge(
            FirstRun: 0, Math.Min(runs, CompactionPicker.MaxRuns), Math.Max(1, oldestFirst[0].Level), CompactionReason.WindowClosed, (double)runs / settings.Fanout);
    }
}
