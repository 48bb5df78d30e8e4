using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Storage.Compaction;

/// <summary>A window of some tables, or of a MemTable, to be made a block.</summary>
/// <param name="Window">The window; both ends belong to it.</param>
/// <param name="Tables">The tables that hold some of it, all of them.</param>
/// <param name="IsLate">A block made here holds some of the window already: this one will overlap it.</param>
/// <param name="IsOpen">The window is not closed yet: its end may still lie ahead.</param>
/// <param name="MemTable">In place of tables a MemTable, of which the window's part is made a block; it takes no more writes.</param>
public sealed record ConversionJob(TimeRange Window, ImmutableArray<LevelTable> Tables, bool IsLate, bool IsOpen = false, MemTable? MemTable = null)
{
    /// <summary>Tombstones up to this sequence do not reach the block: they are known, or older than all that goes into it.</summary>
    internal ulong AppliedTo { get; init; }

    /// <summary>What is taken out of the older tables; null if nothing is.</summary>
    internal DeletionSet? Deletions { get; init; }
}

/// <summary>Which window is converted next. Pure: figures in, decision out.</summary>
/// <remarks>
/// What it does:  the oldest window that is closed, whole and quiet.
///   closed       its end is <paramref name="BlockDelayMs"/> or more behind the clock. A clock that jumps ahead converts too early, which costs an
///                overlapping block and loses nothing.
///   whole        no MemTable holds some of it, so that what goes into the block is all that was acknowledged.
///   quiet        only of windows that a block made here holds already: for <paramref name="LateDelayMs"/> no table with some of it was added, or
///                <see cref="LateBytes"/> wait. Else a sender that is an hour behind would have every flush made an overlapping block.
/// At once:       in block-only mode none of this is waited for. What MemTables hold of the window is newer than all tables, and outranks the block until
/// it is flushed and becomes a newer one.
/// </remarks>
/// <param name="WindowMs">Length of a window in ms.</param>
/// <param name="BlockDelayMs">Option <c>integration.block_delay</c> in ms.</param>
/// <param name="LateDelayMs">Option <c>integration.late_delay</c> in ms.</param>
public sealed record ConversionPicker(long WindowMs, long BlockDelayMs, long LateDelayMs)
{
    /// <summary>Bytes of tables with late data that are converted without waiting any longer.</summary>
    public const long LateBytes = 64L << 20;

    /// <summary>The next window, or null if there is nothing to convert now.</summary>
    /// <param name="levels">The tables.</param>
    /// <param name="blocks">The blocks.</param>
    /// <param name="memTables">
    /// Windows that MemTables hold some of, and logs that are still replayed. Not all between their first and their last sample: a sender that is
    /// steadily late would keep every window in between from being converted.
    /// </param>
    /// <param name="nowMs">Time of day, ms since the epoch.</param>
    /// <param name="sinceAddedMs">For a table's number, the time since it was added or found at open, ms.</param>
    /// <param name="passedOver">Windows that failed and are left alone for now, by their start.</param>
    /// <param name="isBusy">Windows that another job works on.</param>
    /// <param name="asked">Windows, by their start, of which late data is converted without waiting: somebody asked for it.</param>
    /// <param name="atOnce">True to wait for nothing: block-only mode.</param>
    public ConversionJob? Next(
        LevelSet levels, BlockSet blocks, IReadOnlyList<TimeRange> memTables, long nowMs, Func<long, long> sinceAddedMs, IReadOnlySet<long> passedOver,
        Func<TimeRange, bool> isBusy, IReadOnlySet<long>? asked = null, bool atOnce = false)
    {
        foreach (long start in levels.Windows)
        {
            TimeRange window = new(start, TimeWindow.EndOf(start, WindowMs));
            if (!atOnce && !IsClosed(window, nowMs)) break;
            if (passedOver.Contains(start) || isBusy(window) || (!atOnce && memTables.Any(window.Overlaps))) continue;
            ImmutableArray<LevelTable> tables = levels.InWindow(start);
            bool isLate = blocks.IsConverted(window);
            if (isLate && !atOnce && asked?.Contains(start) != true && !IsQuiet(tables, start, sinceAddedMs)) continue;
            return new ConversionJob(window, tables, isLate, !IsClosed(window, nowMs));
        }

        return null;
    }

    /// <summary>True if a MemTable holds some of a window that is closed: flushed, the window could be converted.</summary>
    public bool HoldsClosed(TimeRange memTable, long nowMs) => IsClosed(new TimeRange(memTable.MinMs, TimeWindow.EndOf(memTable.MinMs, WindowMs)), nowMs);

    /// <summary>True if a window is closed.</summary>
    public bool IsClosed(TimeRange window, long nowMs) => window.MaxMs < nowMs - BlockDelayMs;

    private bool IsQuiet(ImmutableArray<LevelTable> tables, long start, Func<long, long> sinceAddedMs) =>
        tables.All(table => sinceAddedMs(table.Entry.Id) >= LateDelayMs) || tables.Sum(table => table.BytesIn(start)) >= LateBytes;
}
