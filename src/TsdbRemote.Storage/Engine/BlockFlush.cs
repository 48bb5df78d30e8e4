using System.Collections.Immutable;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Engine;

/// <summary>Decides whether a MemTable may become blocks without a table between, and writes them: block-only mode.</summary>
/// <remarks>
/// Rank:     a block ranks below all tables, and the newest block above all others. So a MemTable, whose samples are newer than all that is on disk, may become
///           blocks where no table holds some of its windows (one that is out of service neither: put right, it would outrank them).
/// Claims:   none. It takes nothing out of the state that another job may be at work on: conversions and merges need tables of the window, and a compaction ranks
///           by when it read its inputs, so below these.
/// Not:      while the log is replayed; when other MemTables wait behind this one, since a table takes less work and a flush holds the log; when
///           the MemTable holds more than <see cref="MaxWindows"/> windows, for each costs some ten syncs; after an attempt of it failed. Then it becomes
///           a table, and that becomes blocks beside everything else.
/// Not thread-safe: one thread flushes.
/// </remarks>
internal sealed class BlockFlush
{
    /// <summary>Most windows of a MemTable that becomes blocks at once: a day and a half of those of 2 h.</summary>
    public const int MaxWindows = 16;

    private readonly BlockConverter _converter;
    private readonly ConversionPicker _picker;
    private readonly EngineModes _modes;
    private readonly Func<bool> _mayBegin;
    private readonly TimeProvider _time;
    private long? _leftToTables;

    /// <summary>A way from MemTables into blocks.</summary>
    /// <param name="converter">Writes each block, as of tables.</param>
    /// <param name="picker">Says which windows are closed.</param>
    /// <param name="modes">Say when.</param>
    /// <param name="mayBegin">False while the log is replayed, and once the storage is read-only.</param>
    /// <param name="time">The clock.</param>
    public BlockFlush(BlockConverter converter, ConversionPicker picker, EngineModes modes, Func<bool> mayBegin, TimeProvider time)
    {
        _converter = converter;
        _picker = picker;
        _modes = modes;
        _mayBegin = mayBegin;
        _time = time;
    }

    /// <summary>The blocks that a MemTable becomes.</summary>
    /// <param name="memTable">The oldest that waits.</param>
    /// <param name="state">What stands now.</param>
    /// <returns>A job for each of its windows; none if it has to become a table.</returns>
    public ImmutableArray<ConversionJob> Plan(MemTable memTable, EngineState state)
    {
        if (!_modes.IsBlockOnly || !_mayBegin() || memTable.Segment == _leftToTables) return [];
        if (state.MemTables.Waiting.Length > 1 || memTable.SampleCount == 0) return [];
        List<TimeRange> windows = WindowsOf(memTable);

        // Only flushes bring a window into tables, and they are on this thread: what is not there now does not come.
        HashSet<long> inTables = [.. state.Manifest.Tables.SelectMany(static table => table.Windows)];
        if (windows.Count > MaxWindows || windows.Any(window => inTables.Contains(window.MinMs))) return [];
        long nowMs = _time.GetUtcNow().ToUnixTimeMilliseconds();

        // Nothing is taken out here: deletes that came after the MemTable reach its blocks as they reach it, and those before do not.
        ulong appliedTo = TombstoneEntry.SequenceOf(memTable.Segment);
        return [.. windows.Select(window => new ConversionJob(window, [], state.Blocks.IsConverted(window), !_picker.IsClosed(window, nowMs), memTable) { AppliedTo = appliedTo })];
    }

    /// <summary>In block-only mode: has the dictionary know how recent the series of a MemTable are, since soon nothing else in memory does.</summary>
    /// <remarks>Before the flush is published, so that a collection that meets the MemTable no more meets the times.</remarks>
    /// <param name="memTable">Takes no more writes. May belong to a dictionary before.</param>
    /// <param name="dictionary">The one that stands.</param>
    public void RememberTimes(MemTable memTable, SeriesDictionary dictionary)
    {
        if (!_modes.IsBlockOnly) return;
        dictionary.Flushed.Begin(memTable.Segment, dictionary.Count, _time.GetUtcNow().ToUnixTimeMilliseconds());
        foreach (uint ordinal in memTable.OrdinalsSorted())
        {
            uint current = ordinal;
            if (!ReferenceEquals(memTable.Dictionary, dictionary))
                Invariant.Check(dictionary.TryOrdinalOf(memTable.Dictionary.IdOf(ordinal), out current), "a collection keeps what a MemTable holds");
            dictionary.ObserveTime(current, memTable.NewestTimeMs(ordinal));
            dictionary.Flushed.Note(current);
        }
    }

    /// <summary>Has the next attempt to flush this MemTable make a table of it: that needs the least of memory and disk.</summary>
    public void LeaveToTables(MemTable memTable) => _leftToTables = memTable.Segment;

    /// <summary>Writes all blocks of a MemTable but their names.</summary>
    /// <param name="memTable">The MemTable.</param>
    /// <param name="jobs">Its windows.</param>
    /// <param name="output">Takes the blocks over.</param>
    /// <returns>What they hold.</returns>
    /// <exception cref="Wire.ReadLimitException">One series alone takes too much memory.</exception>
    /// <exception cref="InvariantViolatedException">Some sample is in none of them, or in two: a bug.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left behind that the next open does not sweep.</exception>
    public FlushedData Write(MemTable memTable, ImmutableArray<ConversionJob> jobs, NewBlocks output)
    {
        long samples = 0;
        long series = 0;
        long bytes = 0;
        MergeCounts merged = default;
        foreach (ConversionJob window in jobs)
        {
            Ulid ulid = Ulid.Create(_time.GetUtcNow().ToUnixTimeMilliseconds());
            if (_converter.Write(window, memTable.Dictionary, ulid, static _ => { }, CancellationToken.None, out _) is not { } block) continue;
            output.Add(block.Writer, mark => BlockConverter.MetaOf(block, window, mark), window.AppliedTo);
            samples += block.Writer.Stats.Samples;
            series = Math.Max(series, block.Writer.Stats.Series);
            bytes += block.Writer.Stats.ChunkBytes + block.Writer.Stats.IndexBytes;
            merged += block.Merged;
        }

        // A MemTable counts each instant of a series once, whatever came late for it, and so do the blocks.
        Invariant.Check(samples == memTable.SampleCount, "what no block holds must not leave the log");
        return new FlushedData(samples, series, bytes, merged);
    }

    /// <summary>The windows, ascending; where they are more than <see cref="MaxWindows"/>, one more than that.</summary>
    private List<TimeRange> WindowsOf(MemTable memTable)
    {
        List<TimeRange> windows = [];
        foreach (TimeRange joined in memTable.Windows())
        {
            for (long startMs = joined.MinMs; windows.Count <= MaxWindows; startMs = windows[^1].MaxMs + 1)
            {
                windows.Add(new TimeRange(startMs, TimeWindow.EndOf(startMs, _picker.WindowMs)));
                if (windows[^1].MaxMs >= joined.MaxMs) break;
            }
        }

        return windows;
    }
}

/// <summary>What a flush has written.</summary>
/// <param name="Samples">Samples.</param>
/// <param name="Series">Series; of several blocks those of the largest.</param>
/// <param name="Bytes">Bytes of the table, or of chunks and indexes of the blocks.</param>
/// <param name="Merged">Samples left out because the same instant came again.</param>
internal readonly record struct FlushedData(long Samples, long Series, long Bytes, MergeCounts Merged);
