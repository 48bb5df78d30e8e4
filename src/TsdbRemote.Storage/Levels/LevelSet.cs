using System.Collections.Frozen;
using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Levels;

/// <summary>A table that the manifest names, and the reader that has it open.</summary>
/// <param name="Entry">What the manifest says: of its windows only those that are not converted to a block yet.</param>
/// <param name="Reader">The open file.</param>
public sealed record LevelTable(TableEntry Entry, SSTableReader Reader)
{
    /// <summary>Rank of its chunks: newest wins.</summary>
    public long Rank => (long)Entry.LastSequence;

    /// <summary>Bytes of it that a window takes: all, or of a table with several windows a share by samples.</summary>
    public long BytesIn(long windowStartMs)
    {
        if (Reader.Properties.Windows is [{ } only]) return only.StartMs == windowStartMs ? Entry.Size : 0;
        double samples = Reader.FindWindow(windowStartMs)?.Samples ?? 0;
        return (long)(Entry.Size * samples / Math.Max(1, Reader.Properties.Samples));
    }

    /// <summary>Collects as <see cref="SSTableReader.Collect"/> does, from the windows that the manifest still names.</summary>
    public void Collect(ReadOnlySpan<ulong> ascendingIds, TimeRange range, NativeArena arena, ISeriesChunkSink sink, bool asksBloom = true) =>
        Reader.Collect(
            ascendingIds, range, Rank, arena, sink, Entry.Windows.Length == Reader.Properties.Windows.Count ? default : Entry.Windows.AsSpan(), asksBloom);
}

/// <summary>Which tables stand at which level of which window, at one instant.</summary>
/// <remarks>
/// Immutable, so thread-safe: a change makes a new set. It owns no reader: whoever publishes a set disposes the readers that fell out of
/// it. A reader of the set takes all its tables with <see cref="TryAcquire"/>, or none.
/// </remarks>
public sealed class LevelSet
{
    private readonly Lazy<FrozenDictionary<long, ImmutableArray<LevelTable>>> _byWindow;
    private readonly Lazy<FrozenDictionary<int, ImmutableArray<LevelTable>>> _byLevel;

    private LevelSet(ImmutableArray<LevelTable> newestFirst)
    {
        Tables = newestFirst;
        _byWindow = new(() => Group(newestFirst.SelectMany(table => table.Entry.Windows, (table, window) => (window, table))));
        _byLevel = new(() => Group(newestFirst.Select(table => (table.Entry.Level, table))));
    }

    /// <summary>No tables.</summary>
    public static LevelSet Empty { get; } = new([]);

    /// <summary>All tables, newest first: by last sequence, then by number.</summary>
    public ImmutableArray<LevelTable> Tables { get; }

    /// <summary>Starts of all windows that some table holds, in ms, ascending.</summary>
    public ImmutableArray<long> Windows => [.. _byWindow.Value.Keys.Order()];

    /// <summary>Levels at which some table stands, ascending.</summary>
    public ImmutableArray<int> Levels => [.. _byLevel.Value.Keys.Order()];

    /// <summary>Bytes of all tables.</summary>
    public long Bytes => Tables.Sum(table => table.Entry.Size);

    /// <summary>Tables that hold a window, newest first; of level 0 also those that hold others besides.</summary>
    public ImmutableArray<LevelTable> InWindow(long windowStartMs) => _byWindow.Value.GetValueOrDefault(windowStartMs, []);

    /// <summary>The window's tables as runs, the oldest first: the order in which newer versions win.</summary>
    public ImmutableArray<LevelRun> Runs(long windowStartMs) =>
    [
        .. InWindow(windowStartMs)
            .GroupBy(static table => (table.Entry.Level, table.Entry.FirstSequence, table.Entry.LastSequence, Alone: table.Entry.Level == 0 ? table.Entry.Id : 0))
            .Select(static run => new LevelRun(
                run.Key.Level, run.Key.FirstSequence, run.Key.LastSequence, [.. run.OrderBy(static table => table.Entry.MinSeriesId)]))
            .OrderBy(static run => run.LastSequence)
            .ThenByDescending(static run => run.Level),
    ];

    /// <summary>True if all these tables still hold the window: nothing took them out since they were read from an older set.</summary>
    public bool Holds(long windowStartMs, ImmutableArray<LevelTable> tables)
    {
        ImmutableArray<LevelTable> there = InWindow(windowStartMs);
        return tables.All(table => there.Any(other => other.Entry.Id == table.Entry.Id));
    }

    /// <summary>Tables at a level, newest first.</summary>
    public ImmutableArray<LevelTable> AtLevel(int level) => _byLevel.Value.GetValueOrDefault(level, []);

    /// <summary>Tables at a level of a window, newest first.</summary>
    public IEnumerable<LevelTable> At(int level, long windowStartMs) => InWindow(windowStartMs).Where(table => table.Entry.Level == level);

    /// <summary>Tables that may hold samples of a range, newest first.</summary>
    public IEnumerable<LevelTable> Overlapping(TimeRange range) =>
        Tables.Where(table => range.Overlaps(new TimeRange(table.Entry.MinTimeMs, table.Entry.MaxTimeMs)));

    /// <summary>This set and more tables.</summary>
    /// <exception cref="InvariantViolatedException">A number is there already.</exception>
    public LevelSet With(params IEnumerable<LevelTable> added)
    {
        ImmutableArray<LevelTable> all =
        [
            .. Tables.Concat(added).OrderByDescending(table => table.Entry.LastSequence).ThenByDescending(table => table.Entry.Id),
        ];
        Invariant.Check(all.Select(table => table.Entry.Id).Distinct().Count() == all.Length);
        return new LevelSet(all);
    }

    /// <summary>This set without some tables.</summary>
    /// <exception cref="InvariantViolatedException">A number is not there.</exception>
    public LevelSet Without(params IEnumerable<long> tableIds)
    {
        HashSet<long> gone = [.. tableIds];
        ImmutableArray<LevelTable> rest = [.. Tables.Where(table => !gone.Contains(table.Entry.Id))];
        Invariant.Check(rest.Length + gone.Count == Tables.Length);
        return new LevelSet(rest);
    }

    /// <summary>This set after a window went into a block: without it in each table's entry, and without the tables that held nothing else.</summary>
    /// <param name="windowStartMs">The window.</param>
    /// <param name="tableIds">The tables that went into the block; others that hold the window came later and keep it.</param>
    /// <param name="gone">The tables left out; whoever publishes the set disposes their readers.</param>
    public LevelSet WithoutWindow(long windowStartMs, IReadOnlySet<long> tableIds, out ImmutableArray<LevelTable> gone)
    {
        var rest = ImmutableArray.CreateBuilder<LevelTable>(Tables.Length);
        var dropped = ImmutableArray.CreateBuilder<LevelTable>();
        foreach (LevelTable table in Tables)
        {
            ImmutableArray<long> left = tableIds.Contains(table.Entry.Id) ? table.Entry.Windows.Remove(windowStartMs) : table.Entry.Windows;
            if (left.IsEmpty) dropped.Add(table);
            else rest.Add(left.Length == table.Entry.Windows.Length ? table : table with { Entry = table.Entry with { Windows = left } });
        }

        gone = dropped.ToImmutable();
        return new LevelSet(rest.ToImmutable());
    }

    /// <summary>This set after tables of a window were merged: the new ones in, the window out of the inputs, and without those that held nothing else.</summary>
    /// <param name="windowStartMs">The window.</param>
    /// <param name="inputs">Numbers of the tables that were merged.</param>
    /// <param name="outputs">The tables they were merged into.</param>
    /// <param name="gone">The tables left out; whoever publishes the set disposes their readers.</param>
    /// <exception cref="InvariantViolatedException">The number of an output is there already.</exception>
    public LevelSet Replace(long windowStartMs, IReadOnlySet<long> inputs, IEnumerable<LevelTable> outputs, out ImmutableArray<LevelTable> gone) =>
        WithoutWindow(windowStartMs, inputs, out gone).With(outputs);

    /// <summary>
    /// Counts one more reader on every table, or on none if one of them is closed already: then a newer set is published.
    /// </summary>
    public bool TryAcquire()
    {
        for (int i = 0; i < Tables.Length; i++)
        {
            if (Tables[i].Reader.TryAcquire()) continue;
            while (--i >= 0) Tables[i].Reader.Release();
            return false;
        }

        return true;
    }

    /// <summary>Lets go of every table.</summary>
    public void Release()
    {
        foreach (LevelTable table in Tables) table.Reader.Release();
    }

    private static FrozenDictionary<TKey, ImmutableArray<LevelTable>> Group<TKey>(IEnumerable<(TKey Key, LevelTable Table)> pairs)
        where TKey : notnull =>
        pairs.GroupBy(pair => pair.Key, pair => pair.Table).ToFrozenDictionary(group => group.Key, group => group.ToImmutableArray());
}
