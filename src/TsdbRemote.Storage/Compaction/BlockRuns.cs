using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Which of many blocks that overlap are made one where not all of them are. Pure.</summary>
/// <remarks>
/// <code>
///   rank  1          2    3    4    5   6
///         ████████   ██   ██   ██   █   █      the longest run of neighbours in rank that has grown: 2 to 6, and not the large one
///                    └─────── one ──────┘      its rank is 6: what ranks above stays above, what ranks below stays below
/// </code>
/// Neighbours:   the result has one rank for all of its samples, so nothing that stays behind may rank between those that go into it. Nor may it have the
///               result's rank: neighbours of one rank go together. Foreign blocks become one of ours, which ranks above those of them that stay behind: so a run of
///               them ends with the highest.
/// Grown:        all but the largest come to a third of it. Blocks that are alike in size are merged, and a large one waits until it is worth it: a byte is written
///               a few times for each factor of four between the sizes, however many blocks come.
/// </remarks>
internal static class BlockRuns
{
    private const int GrownPart = 3;

    /// <summary>True if the largest of some blocks is worth writing anew for the others.</summary>
    /// <param name="largest">Its bytes.</param>
    /// <param name="others">Bytes of all others.</param>
    public static bool IsGrown(long largest, long others) => others >= largest / GrownPart;

    /// <summary>The longest run that has grown, and of such the one of fewest bytes; where there is none, the newest blocks.</summary>
    /// <param name="group">Blocks that overlap, directly or by others; two or more.</param>
    /// <param name="most">Most blocks of the run.</param>
    public static BlockCompactionJob PartOf(BlockCompactionJob group, int most)
    {
        BlockFigures[] byRank = [.. group.Blocks.OrderBy(static block => block.Rank).ThenBy(static block => block.Range.MinMs)];
        (int From, int To, long Bytes)? best = null;
        for (int from = 0; from < byRank.Length - 1; from++)
        {
            long largest = byRank[from].Bytes;
            long bytes = largest;
            for (int to = from + 2; to <= byRank.Length && to - from <= most; to++)
            {
                largest = Math.Max(largest, byRank[to - 1].Bytes);
                bytes += byRank[to - 1].Bytes;
                if (best is { } other && (to - from < other.To - other.From || (to - from == other.To - other.From && bytes >= other.Bytes))) continue;
                if (IsGrown(largest, bytes - largest) && IsOne(byRank, from, to)) best = (from, to, bytes);
            }
        }

        // Above the newest is nothing. Below, a block of the result's rank is there only if all of the run are of that rank: then none of them overlap.
        BlockFigures[] run = best is { } found ? byRank[found.From..found.To] : byRank[^Math.Min(most, byRank.Length)..];
        return new BlockCompactionJob(new TimeRange(run.Min(static block => block.Range.MinMs), run.Max(static block => block.Range.MaxMs)), [.. run]);
    }

    /// <summary>True if the result is told apart by its rank from what stays behind.</summary>
    private static bool IsOne(BlockFigures[] byRank, int from, int to)
    {
        long rank = BlockCompactionJob.RankOf([byRank[to - 1].Rank]);
        return (to == byRank.Length || byRank[to].Rank > rank) && (from == 0 || byRank[from - 1].Rank < rank);
    }
}
