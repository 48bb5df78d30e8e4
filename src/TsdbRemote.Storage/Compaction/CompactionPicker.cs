using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Compaction;

/// <summary>A merge that is due in a window.</summary>
/// <param name="FirstRun">Index of the oldest run that takes part.</param>
/// <param name="EndRun">Index behind the newest.</param>
/// <param name="OutputLevel">Level of the new run.</param>
/// <param name="Reason">Why.</param>
/// <param name="Urgency">1 where a merge should begin, higher the longer it was put off.</param>
internal sealed record DueMerge(int FirstRun, int EndRun, int OutputLevel, CompactionReason Reason, double Urgency);

/// <summary>Which merge is done next: asks the strategy about each window, takes the most urgent answer. Pure: figures in, decision out.</summary>
/// <remarks>
/// Order: the runs of a window are ordered by sequence, and the higher a run's level, the older it is. A merge takes neighbours only and puts its run
/// where they stood, so that afterwards both still hold: then "the higher rank wins" stays right for reads, and what is read of a window stays the
/// same. Every answer of a strategy is held against this.
/// Neighbours besides: MemTables and logs that are still replayed are newer than every table, for flushes commit in order of sequence. None of them
/// can lie between two tables.
/// One merge a window at a time; ties go to the older window, which is closer to becoming a block.
/// Bounded: a merge takes at most <see cref="MaxRuns"/> runs, the oldest, so that its memory and its length do not grow with what has piled up.
/// </remarks>
public static class CompactionPicker
{
    /// <summary>Runs that one merge takes at most.</summary>
    public const int MaxRuns = 32;

    /// <summary>The most urgent merge, or null if none is due.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="settings">Strategy and thresholds.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="isBusy">True for a window that another job holds, or that must not be merged for another reason.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    /// <exception cref="InvariantViolatedException">A strategy took what are no neighbours.</exception>
    public static CompactionJob? Pick(
        LevelSet levels, CompactionSettings settings, long nowMs, Func<TimeRange, bool> isBusy, Func<long, long> sinceAddedMs)
    {
        ArgumentNullException.ThrowIfNull(isBusy);
        CompactionJob? best = null;
        double highest = 0;
        foreach ((CompactionJob job, double urgency) in Due(levels, settings, nowMs, isBusy, sinceAddedMs))
        {
            if (urgency <= highest) continue;
            highest = urgency;
            best = job;
        }

        return best;
    }

    /// <summary>A merge that takes what is deleted out of tables, or null if there is nothing to take out.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="settings">Levels, length of a window.</param>
    /// <param name="tombstones">The deletes that are meant.</param>
    /// <param name="isBusy">As in <see cref="Pick"/>.</param>
    public static CompactionJob? PickDeleted(
        LevelSet levels, CompactionSettings settings, IReadOnlyCollection<TombstoneEntry> tombstones, Func<TimeRange, bool> isBusy)
    {
        ArgumentNullException.ThrowIfNull(levels);
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentNullException.ThrowIfNull(isBusy);
        if (settings.Levels < 2) return null;
        foreach (long start in levels.Windows)
        {
            TimeRange window = new(start, TimeWindow.EndOf(start, settings.WindowMs));
            TombstoneEntry[] inWindow = [.. tombstones.Where(tombstone => tombstone.Range().Overlaps(window))];
            if (inWindow.Length == 0 || isBusy(window)) continue;
            ImmutableArray<LevelRun> runs = levels.Runs(start);
            if (DueDeleted(runs, table => inWindow.Any(tombstone => tombstone.Reaches(table, settings.WindowMs))) is { } due) return JobOf(window, runs, due);
        }

        return null;
    }

    /// <summary>All runs from the first to the last that is reached. Of level 0, which has no directory for a window, all before them come along.</summary>
    private static DueMerge? DueDeleted(ImmutableArray<LevelRun> oldestFirst, Func<TableEntry, bool> isReached)
    {
        int[] reached = [.. Enumerable.Range(0, oldestFirst.Length).Where(run => oldestFirst[run].Tables.Any(table => isReached(table.Entry)))];
        if (reached.Length == 0) return null;
        int first = reached[0];
        while (first > 0 && oldestFirst[first].Level == 0 && oldestFirst[first - 1].Level == 0) first--;
        return new DueMerge(
            first, Math.Min(reached[^1] + 1, first + MaxRuns), Math.Max(1, oldestFirst[first].Level), CompactionReason.Deleted, Urgency: reached.Length);
    }

    /// <summary>What waits to be merged, whatever other jobs hold: the next merge of each window.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="settings">Strategy and thresholds.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    public static CompactionDebt Debt(LevelSet levels, CompactionSettings settings, long nowMs, Func<long, long> sinceAddedMs)
    {
        CompactionDebt debt = default;
        foreach ((CompactionJob job, _) in Due(levels, settings, nowMs, static _ => false, sinceAddedMs))
            debt = new CompactionDebt(debt.Jobs + 1, debt.Bytes + job.InputBytes);
        return debt;
    }

    private static IEnumerable<(CompactionJob Job, double Urgency)> Due(
        LevelSet levels, CompactionSettings settings, long nowMs, Func<TimeRange, bool> isBusy, Func<long, long> sinceAddedMs)
    {
        ArgumentNullException.ThrowIfNull(levels);
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.Levels < 2) yield break; // level 0 alone: there is nowhere to merge to
        foreach (long start in levels.Windows)
        {
            TimeRange window = new(start, TimeWindow.EndOf(start, settings.WindowMs));
            if (isBusy(window)) continue;
            ImmutableArray<LevelRun> runs = levels.Runs(start);
            DueMerge? due = settings.Strategy switch
            {
                CompactionStrategy.SizeTiered => SizeTieredPicker.Next(runs, settings),
                CompactionStrategy.TimeTiered => TimeTieredPicker.Next(window, runs, settings, nowMs, sinceAddedMs),
                CompactionStrategy.Leveled => LeveledPicker.Next(start, runs, settings),
                _ => throw new ArgumentOutOfRangeException(nameof(settings), settings.Strategy, "unknown strategy"),
            };
            if (due is not null) yield return (JobOf(window, runs, due), due.Urgency);
        }
    }

    private static CompactionJob JobOf(TimeRange window, ImmutableArray<LevelRun> oldestFirst, DueMerge due)
    {
        // One run is rewritten only to stand a level deeper, or without what is deleted of it.
        Invariant.Check(due.FirstRun >= 0 && due.FirstRun < due.EndRun && due.EndRun <= oldestFirst.Length && due.EndRun - due.FirstRun <= MaxRuns);
        Invariant.Check(due.EndRun - due.FirstRun > 1 || due.OutputLevel > oldestFirst[due.FirstRun].Level || due.Reason == CompactionReason.Deleted);
        for (int i = 1; i < oldestFirst.Length; i++)
            Invariant.Check(oldestFirst[i - 1].LastSequence < oldestFirst[i].FirstSequence && oldestFirst[i - 1].Level >= oldestFirst[i].Level);
        Invariant.Check(due.OutputLevel >= Math.Max(1, oldestFirst[due.FirstRun].Level));
        Invariant.Check(due.FirstRun == 0 || due.OutputLevel <= oldestFirst[due.FirstRun - 1].Level);
        return new CompactionJob(window, [.. oldestFirst[due.FirstRun..due.EndRun].SelectMany(static run => run.Tables)], due.OutputLevel, due.Reason);
    }
}
