using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What a decision needs to know of a block.</summary>
/// <param name="Ulid">Its name.</param>
/// <param name="Range">The times that it says it holds; both ends belong to it.</param>
/// <param name="Bytes">Bytes on disk.</param>
/// <param name="Sources">Blocks of level 1 that went into it: each is named in the <c>meta.json</c> of whatever it goes into.</param>
/// <param name="Adopted">True for a foreign one: it makes no data of its time late.</param>
public sealed record BlockFigures(string Ulid, TimeRange Range, long Bytes, int Sources, bool Adopted);

/// <summary>Blocks to be made one.</summary>
/// <param name="Range">From the first to the last instant of all of them; no other block overlaps it.</param>
/// <param name="Blocks">The blocks by time, two or more.</param>
public sealed record BlockCompactionJob(TimeRange Range, ImmutableArray<BlockFigures> Blocks);

/// <summary>Which blocks are made one next. Pure: figures in, decision out.</summary>
/// <remarks>
/// <code>
///   range 3 (18 h)  │                    one block                    │
///   range 2 (6 h)   │  one block    │  one block    │  one block      │     a bucket of a range that is complete becomes one block at once,
///   range 1 (2 h)   │ □ │ □ │ □     │ □ │   │ □     │ □ │ □ │ ...     │     however small its blocks: the largest such bucket comes first
/// </code>
/// Overlapping:  blocks that overlap, directly or by others, are one group and only ever taken together, whatever their size: of two versions of an
///               instant the higher rank wins, and the result's rank is above all, so nothing that overlaps it may stay behind. Groups of several
///               come first.
/// Complete:     a bucket that ended <paramref name="BlockDelayMs"/> ago and of which no window waits for its first conversion. Windows of late data hold
///               it up for a third of its length, so that it is not written twice, and not for ever, since a sender may be late steadily.
/// Worth it:     a result is not written for a few late samples: beside a block of <see cref="LargeBytes"/> or more others wait until they come to a
///               tenth of its bytes or to <see cref="ManyBlocks"/>. So each byte is written about once a range, and a late trickle costs ten times
///               what it brings.
/// Open windows: in block-only mode each flush adds a block to the window that is being written. Those are merged when they have grown by a third, or are
///               <see cref="ManyOpenBlocks"/>, so that a window is written a few times and not once a flush; when it closes, all that overlaps is joined.
/// Bounded:      disjoint blocks are not joined beyond <see cref="MaxBlocks"/> and <see cref="MaxBytes"/>; then a smaller range gets its turn. Overlapping
///               ones are taken whole, or, beyond what a <c>meta.json</c> can name (<see cref="MaxOverlapping"/>, <see cref="MaxSources"/>), left overlapping.
/// Left alone:   a group with a block that must not be touched stays as it is, and with it every bucket that it lies in.
/// Trade-off:    larger ranges mean fewer files to ask for a long query and fewer copies of labels and symbols, and coarser retention: a block goes when
///               all of it is too old. Hence at most a tenth of the retention.
/// </remarks>
/// <param name="WindowMs">Length of a window in ms: the first range.</param>
/// <param name="BlockDelayMs">Option <c>integration.block_delay</c> in ms.</param>
/// <param name="RetentionMs">Option <c>retention.time</c> in ms; null for none.</param>
public sealed record BlockCompactionPicker(long WindowMs, long BlockDelayMs, long? RetentionMs)
{
    /// <summary>Most disjoint blocks of one job: 20 days of 2 h at once.</summary>
    public const int MaxBlocks = 256;

    /// <summary>Most bytes of disjoint blocks of one job: some ten minutes of a disk, and the room that it needs beside its inputs.</summary>
    public const long MaxBytes = 32L << 30;

    /// <summary>Most overlapping blocks of one job; each is open while they are merged, and named in the <c>meta.json</c> of the result.</summary>
    public const int MaxOverlapping = 1000;

    /// <summary>Most blocks of level 1 in the <c>meta.json</c> of a result, which has a megabyte.</summary>
    public const int MaxSources = 16_000;

    /// <summary>Bytes from which on a block is not written anew for little.</summary>
    public const long LargeBytes = 256L << 20;

    /// <summary>Sources after which a block that is all of one window counts as one itself: 31 days of windows with so many fit <see cref="MaxSources"/>.</summary>
    public const int MaxSourcesOfWindow = 32;

    /// <summary>So many blocks are not little, whatever their bytes.</summary>
    public const int ManyBlocks = 10;

    /// <summary>Most blocks of an open window that overlap, give or take what is flushed during a merge: each is asked by every read.</summary>
    public const int ManyOpenBlocks = 30;

    private const int Factor = 3;
    private const int LittlePart = 10;
    private const int OpenPart = 3;
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
        if (groups.Find(group => IsWanted(group) && (IsAsked(group) || IsWorthItNow(group, nowMs)) && IsMergeable(group) && !IsUntouchable(group)) is { } overlapping) return overlapping;
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

    private static bool IsMergeable(BlockCompactionJob job) => job.Blocks.Length <= MaxOverlapping && SourcesOf(job) <= MaxSources;

    private static bool IsJoinable(BlockCompactionJob job) =>
        job.Blocks.Length <= MaxBlocks && job.Blocks.Sum(static block => block.Bytes) <= MaxBytes && SourcesOf(job) <= MaxSources;

    private static long SourcesOf(BlockCompactionJob job) => job.Blocks.Sum(static block => (long)block.Sources);

    private bool IsWorthItNow(BlockCompactionJob group, long nowMs)
    {
        if (TimeWindow.EndOf(group.Range.MaxMs, WindowMs) < nowMs - BlockDelayMs) return IsWorthIt(group.Blocks);
        (long largest, long others) = Sizes(group.Blocks);
        return others >= largest / OpenPart || group.Blocks.Length > ManyOpenBlocks;
    }

    private static (long Largest, long Others) Sizes(ImmutableArray<BlockFigures> blocks)
    {
        long largest = blocks.Max(static block => block.Bytes);
        return (largest, blocks.Sum(static block => block.Bytes) - largest);
    }

    private static bool IsWorthIt(ImmutableArray<BlockFigures> blocks)
    {
        (long largest, long others) = Sizes(blocks);
        return largest < LargeBytes || others >= largest / LittlePart || blocks.Length > ManyBlocks;
    }

    private bool IsComplete(BlockCompactionJob job, long rangeMs, List<BlockCompactionJob> groups, Func<IReadOnlyCollection<TimeRange>> waiting, long nowMs)
    {
        TimeRange bucket = new(TimeWindow.StartOf(job.Range.MinMs, rangeMs), TimeWindow.EndOf(job.Range.MinMs, rangeMs));
        long closedMs = nowMs - BlockDelayMs;
        if (bucket.MaxMs >= closedMs) return false;
        bool waitsForLate = bucket.MaxMs >= closedMs - rangeMs / Factor;
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
