using System.Collections.Immutable;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Size-tiered: a level of a window collects runs until it is full, then all of them become one run of the next level.</summary>
/// <remarks>
/// What it does:  each level holds runs about fanout times as large as those of the level above it, for each was merged of so many.
/// Good when:     much is written and little of it is read, or a window sees few flushes: a sample is written once a level, so about
///                log(runs) / log(fanout) times, and each merge reads and writes only what is of like size.
/// Bad when:      reads of new data dominate: a window may stand in (fanout - 1) runs a level, and a read looks into each of them. While a large
///                level is merged, its old and its new form take room at once: up to twice the window on disk.
/// How we tell:   fill = runs / fanout; from threshold × fanout runs on (rounded up, at least 2) a merge is due. The fullest level of a window goes
///                first; of equals the lowest, which fills fastest. The last level merges into itself.
/// Source: the tiering of Bigtable and Cassandra; sizes are levels here, since a merge of neighbours in sequence must not skip one that is smaller.
/// </remarks>
internal static class SizeTieredPicker
{
    /// <summary>The merge that is due in a window, or null.</summary>
    /// <param name="oldestFirst">The window's runs.</param>
    /// <param name="settings">Levels, fanout, threshold.</param>
    public static DueMerge? Next(ImmutableArray<LevelRun> oldestFirst, CompactionSettings settings)
    {
        DueMerge? fullest = null;
        for (int first = oldestFirst.Length - 1, end = oldestFirst.Length; first >= 0; first--)
        {
            int level = oldestFirst[first].Level;
            if (first > 0 && oldestFirst[first - 1].Level == level) continue;
            double fill = (double)(end - first) / settings.Fanout;
            if (end - first >= settings.RunsToStart && fill > (fullest?.Urgency ?? 0))
            {
                int output = level < settings.Levels - 1 ? level + 1 : level;
                fullest = new DueMerge(first, Math.Min(end, first + CompactionPicker.MaxRuns), output, CompactionReason.TooManyRuns, fill);
            }

            end = first;
        }

        return fullest;
    }
}
