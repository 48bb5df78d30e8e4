using System.Collections.Immutable;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Leveled: above level 0 each level of a window is one run, into which the level above it is merged.</summary>
/// <remarks>
/// What it does:  runs of level 0 are merged with the whole run of level 1; a run that has outgrown its level is merged with that of the next one.
/// Good when:     data is read often, and soon after it was written: a read looks into the runs of level 0 and one run a level, mostly one in all,
///                and few versions of a sample lie about.
/// Bad when:      much is written: each merge of level 0 writes level 1 anew, so that a sample is written up to target(1) / flush times before it
///                sinks, and up to <see cref="Growth"/> times a level after that.
/// How we tell:   fill of level 0 = runs / fanout; of a deeper level n = bytes / (target file size × <see cref="FilesOfLevel1"/> × <see cref="Growth"/>^(n-1)).
///                From threshold on a merge is due, the fullest level first; of equals the lowest. The last level never outgrows itself.
/// More than one run at a deeper level is what another strategy left: they are made one first.
/// Source: LevelDB, but for its merges of parts of a run: a window is the part here.
/// </remarks>
internal static class LeveledPicker
{
    /// <summary>Files of the target size that fill level 1.</summary>
    public const int FilesOfLevel1 = 4;

    /// <summary>Times that a level may be larger than the one above it.</summary>
    public const int Growth = 10;

    /// <summary>The merge that is due in a window, or null.</summary>
    /// <param name="windowStartMs">Start of the window in ms.</param>
    /// <param name="oldestFirst">Its runs.</param>
    /// <param name="settings">Levels, fanout, threshold, sizes.</param>
    public static DueMerge? Next(long windowStartMs, ImmutableArray<LevelRun> oldestFirst, CompactionSettings settings)
    {
        DueMerge? fullest = null;
        for (int first = oldestFirst.Length - 1, end = oldestFirst.Length; first >= 0; first--)
        {
            int level = oldestFirst[first].Level;
            if (first > 0 && oldestFirst[first - 1].Level == level) continue;
            DueMerge? due = level == 0 ? OfLevel0(oldestFirst, first, settings)
                : end - first > 1 ? Unite(first, end, level)
                : Sink(oldestFirst, first, windowStartMs, settings);
            if (due is not null && due.Urgency > (fullest?.Urgency ?? 0)) fullest = due;
            end = first;
        }

        return fullest;
    }

    private static DueMerge? OfLevel0(ImmutableArray<LevelRun> oldestFirst, int first, CompactionSettings settings)
    {
        int runs = oldestFirst.Length - first;
        if (runs < settings.RunsToStart) return null;
        bool joinsLevel1 = first > 0 && oldestFirst[first - 1].Level == 1;
        int from = joinsLevel1 ? first - 1 : first;
        return new DueMerge(
            from, Math.Min(oldestFirst.Length, from + CompactionPicker.MaxRuns), OutputLevel: 1, CompactionReason.TooManyRuns, (double)runs / settings.Fanout);
    }

    private static DueMerge Unite(int first, int end, int level) =>
        new(first, Math.Min(end, first + CompactionPicker.MaxRuns), level, CompactionReason.TooManyRuns, Urgency: end - first);

    private static DueMerge? Sink(ImmutableArray<LevelRun> oldestFirst, int run, long windowStartMs, CompactionSettings settings)
    {
        int level = oldestFirst[run].Level;
        if (level >= settings.Levels - 1) return null;
        double fill = oldestFirst[run].BytesIn(windowStartMs) / (settings.TargetFileBytes * FilesOfLevel1 * Math.Pow(Growth, level - 1));
        if (fill < settings.Threshold) return null;
        bool joinsNext = run > 0 && oldestFirst[run - 1].Level == level + 1;
        return new DueMerge(joinsNext ? run - 1 : run, run + 1, level + 1, CompactionReason.LevelFull, fill);
    }
}
