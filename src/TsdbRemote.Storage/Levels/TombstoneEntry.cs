using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Levels;

/// <summary>A delete: samples in the range, of series that the matchers select, in sources that are wholly older. What <c>MANIFEST</c> holds of it.</summary>
/// <remarks>
/// A delete begins a log segment of its own number, so that each record lies before it or behind it. It reaches
/// <list type="bullet">
/// <item>a log segment, and its MemTable, of a lower number;</item>
/// <item>a table whose last sequence is lower: a table of older and newer records was merged by who knew the delete, and it was applied to the older ones then;</item>
/// <item>a block that was made of, or adopted beside, what lies before it: whose <see cref="BlockEntry.AppliedTo"/> is lower.</item>
/// </list>
/// A job that began before the delete and ends after it makes older things of older ones, which the delete reaches as it did their inputs.
/// </remarks>
/// <param name="Sequence">First log sequence of the segment that the delete began.</param>
/// <param name="MinTimeMs">First instant deleted, ms.</param>
/// <param name="MaxTimeMs">Last instant deleted, ms.</param>
/// <param name="Matchers">In the form of PromQL, such as <c>"job"=~"a.*"</c>; all must hold.</param>
public sealed record TombstoneEntry(ulong Sequence, long MinTimeMs, long MaxTimeMs, ImmutableArray<string> Matchers)
{
    /// <summary>The first sequence of a segment.</summary>
    public static ulong SequenceOf(long segment) => (ulong)segment << ManifestCompleteness.SegmentShift;

    /// <summary>The time deleted: both ends belong to it.</summary>
    internal TimeRange Range() => new(MinTimeMs, MaxTimeMs);

    /// <summary>True if the log segment lies before the delete.</summary>
    internal bool ReachesSegment(long segment) => SequenceOf(segment) < Sequence;

    /// <summary>True if the table may hold something that this deletes and that has not been taken out of it.</summary>
    internal bool Reaches(TableEntry table, long windowMs)
    {
        if (Math.Max(table.LastSequence, table.AppliedTo) >= Sequence || !Range().Overlaps(new TimeRange(table.MinTimeMs, table.MaxTimeMs))) return false;
        foreach (long start in table.Windows)
        {
            if (Range().Overlaps(new TimeRange(start, TimeWindow.EndOf(start, windowMs)))) return true;
        }

        return false;
    }

    /// <summary>True if the block may hold something that this deletes and that has not been taken out of it.</summary>
    internal bool Reaches(BlockEntry block) =>
        block.AppliedTo < Sequence && Range().Overlaps(new TimeRange(block.MinTimeMs ?? long.MinValue, block.MaxTimeMs ?? long.MaxValue));

    /// <summary>True if this deletes all that the other one does, of all that the other one reaches.</summary>
    internal bool Covers(TombstoneEntry other) =>
        Sequence >= other.Sequence && Range().Contains(other.Range()) && Matchers.AsSpan().SequenceEqual(other.Matchers.AsSpan());

    /// <summary>What cannot be, or null.</summary>
    internal string? Problem()
    {
        if (MinTimeMs > MaxTimeMs) return "its range is empty";
        return Matchers.IsDefaultOrEmpty ? "it has no matcher" : null;
    }
}
