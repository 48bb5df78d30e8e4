using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What a decision needs to know of a block.</summary>
/// <param name="Ulid">Its name.</param>
/// <param name="Range">The times that it says it holds; both ends belong to it.</param>
/// <param name="Bytes">Bytes on disk.</param>
/// <param name="Rank">Of two versions of an instant that of the higher rank is the newer; below 1 for foreign ones. Blocks of one rank do not overlap.</param>
/// <param name="Adopted">True for a foreign one: it makes no data of its time late.</param>
public sealed record BlockFigures(string Ulid, TimeRange Range, long Bytes, long Rank, bool Adopted)
{
    /// <summary>When it was made, by its name, ms since the epoch.</summary>
    public long MadeMs { get; init; }
}

/// <summary>Blocks to be made one.</summary>
/// <param name="Range">From the first to the last instant of all of them.</param>
/// <param name="Blocks">The blocks, two or more. Any other block of their time ranks above all of them that it overlaps, or below.</param>
public sealed record BlockCompactionJob(TimeRange Range, ImmutableArray<BlockFigures> Blocks)
{
    /// <summary>The rank of what is made of blocks: that of the newest. Of foreign ones alone 1, below all that was made here of anything else.</summary>
    /// <param name="ranks">The ranks of all of them.</param>
    public static long RankOf(IEnumerable<long> ranks) => Math.Max(1, ranks.Max());
}

/// <summary>Which blocks are made one next. Pure: figures in, decision out.</summary>
/// <remarks>
/// <code>
///   range 3 (18 h)  │                    one block                    │
///   range 2 (6 h)   │  one block    │  one block    │  one block      │     a bucket of a range that is complete becomes one block at once,
///   range 1 (2 h)   │ □ │ □ │ □     │ □ │   │ □     │ □ │ □ │ ...     │     however small its blocks: the largest such bucket comes first
/// </code>
/// Overlapping:  blocks that overlap, directly or by others, are one group. Groups of several come first, and are merged whole when
///                 grown    all but the largest come to a third of it, so that a byte is written a few times and not once a block;
///                 quiet    they are closed and none of them was made within <paramref name="LateDelayMs"/>: then once more, for good;
///                 asked    somebody wants to read them elsewhere.
///               Until then, and beside a block of <see cref="LargeBytes"/> of which they are not a tenth, those that heap up are merged among themselves
///               (<see cref="BlockRuns"/>) once they are more than <see cref="ManyOpenBlocks"/>, or quiet and more than <see cref="ManyBlocks"/>.
/// Complete:     a bucket that ended <paramref name="BlockDelayMs"/> ago and of which no window waits for its first conversion. Late data, in windows that wait and in
///               blocks that are not quiet, holds it up for a third of its length, so that it is not written twice, and not for ever, since a sender may be
///               late steadily.
/// Worth it:     disjoint blocks are not joined for little: beside a block of <see cref="LargeBytes"/> or more others wait until they come to a tenth of its
///               bytes or to <see cref="ManyBlocks"/>.
/// Bounded:      disjoint blocks are not joined beyond <see cref="MaxBlocks"/> and <see cref="MaxBytes"/>; then a smaller range gets its turn. Of overlapping
///               ones no more than <see cref="MaxOverlapping"/> are taken at a time.
/// Left alone:   a group with a block that must not be touched stays as it is, and with it every bucket that it lies in.
/// Trade-off:    larger ranges mean fewer files to ask for a long query and fewer copies of labels and symbols, and coarser retention: a block goes when
///               all of it is too old. Hence at most a tenth of the retention.
/// </remarks>
/// <param name="WindowMs">Length of a window in ms: the first range.</param>
/// <param name="BlockDelayMs">Option <c>integration.block_delay</c> in ms.</param>
/// <param name="LateDelayMs">Option <c>integration.late_delay</c> in ms.</param>
/// <param name="RetentionMs">Option <c>retention.time</c> in ms; null for none.</param>
public sealed record BlockCompactionPicker(long WindowMs, long BlockDelayMs, long LateDelayMs, long? RetentionMs)
{
    /// <summary>Most disjoint blocks of one job: 20 days of 2 h at once.</summary>
    public const int MaxBlocks = 256;

    /// <summary>Most bytes of disjoint blocks of one job: some ten minutes of a disk, and the room that it needs beside its inputs.</summary>
    public const long MaxBytes = 32L << 30;

    /// <summary>Most overlapping blocks of one job; each is open while they are merged, and named in the <c>meta.json</c> of the result.</summary>
    public const int MaxOverlapping = 1000;

    /// <summary>Bytes from which on a block is not written anew for little.</summary>
    public const long LargeBytes = 256L << 20;

    /// <summary>So many blocks are not little, whatever their bytes.</summary>
    public const int ManyBlocks = 10;

    /// <summary>Most blocks that overlap for long, give or take what is flushed during a merge: each is asked by every read.</summary>
    public const int ManyOpenBlocks = 30;

    private const int Factor = 3;
    private const int LittlePart = 10;
    private const int RetentionPart = 10;
    private const long LongestMs = 31L * 24 * 3_600_000;

    /// <summary>Lengths of the ranges in ms, ascending: the window, and its multiples as far as 31 days and a tenth of the retention go.</summary>
    public ImmutableArray<long> Ranges { get; } = RangesOf(WindowMs, RetentionMs);

    /// <summary>The next job, or null if there is nothing to do now.</summary>
    /// <param name="blocks">The blocks in service.</param>
    /// <param name="readWaiting">Windows that conversion will take, of tables and of MemTables; neighbours may be joined. Asked only where it decides.</param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="isBusy">True for a range that another job works on.</param>
    /// <param name="isLeftAlone">True for the name of a block that must not be touched; asked only where it decides.</param>
    /// <param name="atLeast">Jobs of fewer blocks are passed over.</param>
    /// <param name="asked">
    /// Names of blocks of which two that overlap are merged whatever it costs: somebody asked for it, so that who reads them elsewhere sees each instant once.
    /// </param>
    /// <param name="onlyAsked">Jobs with fewer than two of those are passed over.</param>
    public BlockCompactionJob? Next(
        IEnumerable<BlockFigures> blocks, Func<IReadOnlyCollection<TimeRange>> readWaiting, long nowMs, Func<TimeRange, bool> isBusy, Func<string, bool> isLeftAlone,
        int atLeast = 2, IReadOnlySet<string>? asked = null, bool onlyAsked = false)
    {
        List<BlockCompactionJob> groups = GroupsOf(blocks);
        bool IsAsked(BlockCompactionJob job) => asked is not null && job.Blocks.Count(block => asked.Contains(block.Ulid)) >= 2;
        bool IsWanted(BlockCompactionJob job) => job.Blocks.Length >= Math.Max(atLeast, 2) && !isBusy(job.Range) && (!onlyAsked || IsAsked(job));
        bool MayBe(BlockCompactionJob job) => IsWanted(job) && IsWorthIt(job.Blocks);
        bool IsUntouchable(BlockCompactionJob job) => job.Blocks.Any(block => isLeftAlone(block.Ulid));
        foreach (BlockCompactionJob group in groups)
        {
            if (!IsWanted(group) || Due(group, IsAsked(group), nowMs) is not { } due || due.Blocks.Length < atLeast || IsUntouchable(group)) continue;
            return due;
        }

        IReadOnlyCollection<TimeRange>? waiting = null;
        for (int i = Ranges.Length - 1; i >= 0; i--)
        {
            foreach (BlockCompactionJob job in BucketsOf(groups, Ranges[i]))
            {
                if (MayBe(job) && IsJoinable(job) && IsComplete(job, Ranges[i], groups, () => waiting ??= readWaiting(), nowMs) && !IsUntouchable(job)) return job;
            }
        }

        return null;
    }

    /// <summary>What has to be written anew to take what is deleted out of a block, or null if it cannot be now.</summary>
    /// <remarks>
    /// A block of ours, whose rank no other has, alone: it keeps its place. A foreign one, or what was made of such, has its rank among those of its time: it becomes one
    /// with all that overlap it, or as many of them as go at a time.
    /// </remarks>
    /// <param name="blocks">The blocks, those out of service too.</param>
    /// <param name="ulid">Name of the one that is meant, in service.</param>
    /// <param name="isBusy">True for a range that another job works on.</param>
    /// <param name="isLeftAlone">True for the name of a block that must not be touched.</param>
    public static BlockCompactionJob? JobToClean(
        IReadOnlyList<BlockFigures> blocks, string ulid, Func<TimeRange, bool> isBusy, Func<string, bool> isLeftAlone)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        ArgumentNullException.ThrowIfNull(isBusy);
        ArgumentNullException.ThrowIfNull(isLeftAlone);
        BlockFigures meant = blocks.First(block => block.Ulid == ulid);
        BlockCompactionJob job = meant.Rank > BlockCompactionJob.RankOf([0])
            ? new BlockCompactionJob(meant.Range, [meant])
            : GroupsOf(blocks).First(group => group.Blocks.Contains(meant));
        if (job.Blocks.Any(block => isLeftAlone(block.Ulid))) return null;
        if (job.Blocks.Length > MaxOverlapping) job = BlockRuns.PartOf(job, MaxOverlapping);
        return isBusy(job.Range) ? null : job;
    }

    private static ImmutableArray<long> RangesOf(long windowMs, long? retentionMs)
    {
        long longest = Math.Min(LongestMs, retentionMs / RetentionPart ?? long.MaxValue);
        var ranges = ImmutableArray.CreateBuilder<long>();
        for (long range = windowMs; range <= longest; range *= Factor) ranges.Add(range);
        return ranges.ToImmutable();
    }

    /// <summary>Blocks that overlap, transitively, by time.</summary>
    private static List<BlockCompactionJob> GroupsOf(IEnumerable<BlockFigures> blocks)
    {
        List<BlockCompactionJob> groups = [];
        var open = ImmutableArray.CreateBuilder<BlockFigures>();
        long endMs = long.MinValue;
        foreach (BlockFigures block in blocks.OrderBy(static block => block.Range.MinMs).ThenBy(static block => block.Ulid, StringComparer.Ordinal))
        {
            if (open.Count > 0 && block.Range.MinMs > endMs) Close();
            open.Add(block);
            endMs = Math.Max(endMs, block.Range.MaxMs);
        }

        if (open.Count > 0) Close();
        return groups;

        void Close()
        {
            groups.Add(new BlockCompactionJob(new TimeRange(open[0].Range.MinMs, endMs), open.ToImmutable()));
            open.Clear();
        }
    }

    /// <summary>What lies wholly in one bucket, where that is more than one group. A group that crosses a bound belongs to no bucket of this range.</summary>
    private static IEnumerable<BlockCompactionJob> BucketsOf(List<BlockCompactionJob> groups, long rangeMs) => groups
        .Where(group => group.Range.MaxMs <= TimeWindow.EndOf(group.Range.MinMs, rangeMs))
        .GroupBy(group => TimeWindow.StartOf(group.Range.MinMs, rangeMs))
        .Select(static bucket => bucket.ToArray())
        .Where(static bucket => bucket.Length > 1)
        .Select(static bucket => new BlockCompactionJob(
            new TimeRange(bucket[0].Range.MinMs, bucket[^1].Range.MaxMs), [.. bucket.SelectMany(static group => group.Blocks)]));

    private static bool IsJoinable(BlockCompactionJob job) => job.Blocks.Length <= MaxBlocks && job.Blocks.Sum(static block => block.Bytes) <= MaxBytes;

    /// <summary>What of a group is to be merged now; null for nothing.</summary>
    private BlockCompactionJob? Due(BlockCompactionJob group, bool isAsked, long nowMs)
    {
        (long largest, long others) = Sizes(group.Blocks);
        bool isQuiet = IsClosed(group, nowMs) && IsQuiet(group, nowMs);
        bool isWhole = isAsked || BlockRuns.IsGrown(largest, others) || (isQuiet && !IsLittle(largest, others));
        if (isWhole && group.Blocks.Length <= MaxOverlapping) return group;
        return isWhole || group.Blocks.Length > (isQuiet ? ManyBlocks : ManyOpenBlocks) ? BlockRuns.PartOf(group, MaxOverlapping) : null;
    }

    private bool IsClosed(BlockCompactionJob group, long nowMs) => TimeWindow.EndOf(group.Range.MaxMs, WindowMs) < nowMs - BlockDelayMs;

    /// <summary>True if nothing was added for a while. A block that is named ahead of the clock says that the clock went back, and no more.</summary>
    private bool IsQuiet(BlockCompactionJob group, long nowMs) => !group.Blocks.Any(block => block.MadeMs <= nowMs && block.MadeMs > nowMs - LateDelayMs);

    private static (long Largest, long Others) Sizes(ImmutableArray<BlockFigures> blocks)
    {
        long largest = blocks.Max(static block => block.Bytes);
        return (largest, blocks.Sum(static block => block.Bytes) - largest);
    }

    private static bool IsLittle(long largest, long others) => largest >= LargeBytes && others < largest / LittlePart;

    private static bool IsWorthIt(ImmutableArray<BlockFigures> blocks)
    {
        (long largest, long others) = Sizes(blocks);
        return !IsLittle(largest, others) || blocks.Length > ManyBlocks;
    }

    private bool IsComplete(BlockCompactionJob job, long rangeMs, List<BlockCompactionJob> groups, Func<IReadOnlyCollection<TimeRange>> waiting, long nowMs)
    {
        TimeRange bucket = new(TimeWindow.StartOf(job.Range.MinMs, rangeMs), TimeWindow.EndOf(job.Range.MinMs, rangeMs));
        long closedMs = nowMs - BlockDelayMs;
        if (bucket.MaxMs >= closedMs) return false;
        bool waitsForLate = bucket.MaxMs >= closedMs - rangeMs / Factor;
        if (waitsForLate && groups.Exists(group => group.Blocks.Length > 1 && group.Range.Overlaps(bucket) && !IsQuiet(group, nowMs))) return false;
        return !waiting().Any(windows => windows.Overlaps(bucket) && (waitsForLate || !IsConverted(windows, bucket, groups)));
    }

    /// <summary>True if blocks made here hold the time of all of some windows in a bucket: then what waits of them is late.</summary>
    private static bool IsConverted(TimeRange windows, TimeRange bucket, List<BlockCompactionJob> groups)
    {
        long fromMs = Math.Max(windows.MinMs, bucket.MinMs);
        long toMs = Math.Min(windows.MaxMs, bucket.MaxMs);
        foreach (BlockCompactionJob group in groups)
        {
            if (group.Range.MaxMs < fromMs) continue;
            foreach (BlockFigures block in group.Blocks)
            {
                if (block.Adopted) continue;
                if (block.Range.MinMs > fromMs) return false;
                if (block.Range.MaxMs >= toMs) return true;
                fromMs = Math.Max(fromMs, block.Range.MaxMs + 1);
            }
        }

        return false;
    }
}
