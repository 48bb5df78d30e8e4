using System.Collections.Immutable;
using System.Globalization;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Tables;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which tables a rebuilt manifest names, and for which windows; and which log segments are in tables and blocks already.</summary>
/// <remarks>
/// A part is what a table holds of one window. It is left out only where all of it is known to be elsewhere:
/// <list type="bullet">
/// <item>in a block that is named, for the segments of the part lie within those that the block holds of the window;</item>
/// <item>in a table made later of a range of segments that the part lies in, if that one was committed: the manifest before names it, or a table that it was made of is gone, which goes only after
/// the commit. Not where a damaged table stands in the window's directory: it may be a part of the same run;</item>
/// <item>in its parents, if those are all there and nothing shows that it was committed: it may be a part of a run;</item>
/// <item>where the manifest before says so: it names the table without the window, or knows that the segment had been flushed, or that a parent had given the window away.</item>
/// </list>
/// What is named without need is answered once, for newer parts outrank older ones wherever they are.
/// </remarks>
internal sealed class RebuildTables
{
    private readonly RebuildFindings _found;
    private readonly RebuildBlocks _blocks;
    private readonly ManifestState? _previous;
    private readonly long _windowMs;
    private readonly Dictionary<long, FoundTable> _byId;
    private readonly Dictionary<long, TableEntry> _known;
    private readonly HashSet<long> _liveSegments;
    private readonly Dictionary<(long Id, long WindowMs), bool> _givenAway = [];
    private readonly List<Part> _parts = [];
    private readonly HashSet<long> _damagedWindows;

    /// <summary>Decides; reads nothing.</summary>
    public RebuildTables(RebuildFindings found, RebuildBlocks blocks, long windowMs)
    {
        _found = found;
        _blocks = blocks;
        _previous = found.Previous;
        _windowMs = windowMs;
        _byId = found.Tables.ToDictionary(static table => table.Id);
        _known = _previous?.Tables.ToDictionary(static table => table.Id) ?? [];
        _liveSegments = [.. _previous?.Segments.Select(static segment => segment.Number) ?? []];
        _damagedWindows = [.. found.Tables.Where(static table => table.Info is null).Select(static table => table.WindowMs).OfType<long>()];
        foreach (FoundTable table in Whole)
        {
            foreach (long window in table.Info!.Properties.Windows.Select(static window => window.StartMs).Where(window => !IsGivenAway(table, window))) _parts.Add(new Part(table, window));
        }

        foreach (IGrouping<long, Part> window in _parts.GroupBy(static part => part.WindowMs)) Choose([.. window]);
        Entries = [.. _parts.Where(static part => part.IsTaken).GroupBy(static part => part.Table.Id).OrderBy(static table => table.Key).Select(EntryOf)];
        HashSet<long> named = [.. Entries.Select(static entry => entry.Id)];
        Aside = [.. Whole.Where(table => !named.Contains(table.Id))];
        Missing = [.. (_previous?.Tables ?? []).Where(table => !_byId.ContainsKey(table.Id) && !table.Windows.All(window => IsElsewhere(table, window)))];
    }

    /// <summary>All that are named.</summary>
    public ImmutableArray<TableEntry> Entries { get; }

    /// <summary>Tables that can be opened, and of which everything is elsewhere.</summary>
    public ImmutableArray<FoundTable> Aside { get; }

    /// <summary>Tables of the manifest before that are gone, and nothing that was made of them is there.</summary>
    public ImmutableArray<TableEntry> Missing { get; }

    /// <summary>Windows that tables hold and a block that does not say what of the log it holds: a table may have gone into it, and would now outrank what came later.</summary>
    public IEnumerable<long> Doubtful => _previous is not null ? [] : _parts.Where(part => part.IsTaken && _blocks.MayHold(new TimeRangeMs(part.WindowMs, part.WindowMs + _windowMs)))
        .Select(static part => part.WindowMs).Distinct().Order();

    private IEnumerable<FoundTable> Whole => _found.Tables.Where(static table => table.Info is not null);

    private bool HasDamaged => _found.Tables.Exists(static table => table.Info is null) || _found.Blocks.Exists(static block => block.Meta is null);

    /// <summary>True if everything of a log segment that is there is in tables and blocks that are there, too.</summary>
    /// <remarks>Flushes are committed in the order of segments, and nothing is made of a table before its flush is committed. Where a table or a block is damaged it may be that of this segment.</remarks>
    public bool IsFlushed(long segment)
    {
        if (_previous is not null && segment < _previous.NextSegment && !_liveSegments.Contains(segment)) return true;
        if (Whole.Any(table => table.IsFlush && table.From == segment && table.To == segment)) return true;
        if (HasDamaged) return false;
        long last = Math.Max(_blocks.LastSegment, Whole.Select(static table => table.To).DefaultIfEmpty(-1).Max());
        return segment < last || Whole.Any(table => !table.IsFlush && table.From <= segment && segment <= table.To);
    }

    /// <summary>True if something that is there shows that a log segment, which is not, was flushed.</summary>
    public bool WasFlushed(long segment) => segment < Math.Max(_blocks.LastSegment, Whole.Select(static table => table.To).DefaultIfEmpty(-1).Max())
        || _blocks.LastSegment == segment || Whole.Any(table => table.From <= segment && segment <= table.To);

    /// <summary>True if the manifest before shows that the window of a table was somewhere else by then.</summary>
    private bool IsGivenAway(FoundTable table, long windowMs)
    {
        if (_previous is null) return false;
        if (_known.TryGetValue(table.Id, out TableEntry? entry)) return !entry.Windows.Contains(windowMs);
        if (_givenAway.TryGetValue((table.Id, windowMs), out bool known)) return known;
        _givenAway[(table.Id, windowMs)] = false; // parents have lower numbers; what says otherwise does not send us round in circles
        return _givenAway[(table.Id, windowMs)] = table.IsFlush ? WasFlushedBefore(table.From) : WasMergedBefore(table, windowMs);
    }

    private bool WasFlushedBefore(long segment)
    {
        if (segment >= _previous!.NextSegment || _liveSegments.Contains(segment)) return false;

        // Without a log no segment is named: then the order of flushes tells.
        return _liveSegments.Count > 0 || segment <= _previous.Tables.Select(static table => WalFormat.SegmentOf(table.LastSequence)).DefaultIfEmpty(-1).Max();
    }

    private bool WasMergedBefore(FoundTable table, long windowMs)
    {
        foreach (long parent in table.Info!.Properties.Parents)
        {
            if (_known.TryGetValue(parent, out TableEntry? entry) && !entry.Windows.Contains(windowMs)) return true;
            if (entry is null && _byId.TryGetValue(parent, out FoundTable? there) && there.Info is not null && IsGivenAway(there, windowMs)) return true;
        }

        // Nothing that was in tables or in the log by then can have gone into it.
        bool meetsTable = _previous!.Tables.Any(known => known.Windows.Contains(windowMs) && WalFormat.SegmentOf(known.FirstSequence) <= table.To && table.From <= WalFormat.SegmentOf(known.LastSequence));
        return !meetsTable && table.To < _previous.NextSegment && !_liveSegments.Any(segment => table.From <= segment && segment <= table.To);
    }

    private void Choose(Part[] parts)
    {
        foreach (Part part in parts)
        {
            if (_blocks.Holds(part.WindowMs, part.From, part.To)) part.IsTaken = false;
            else if (!part.Table.IsFlush && !IsCommitted(part) && ParentsAreWhole(part)) part.IsTaken = false;
        }

        foreach (Part later in parts.Where(part => part.IsTaken && !part.Table.IsFlush && Replaces(part, parts)))
        {
            foreach (Part part in parts.Where(part => part.Table.Id < later.Table.Id && later.Contains(part) && !later.IsOfOneRunWith(part))) part.IsReplaced = true;
        }

        foreach (Part part in parts.Where(static part => part.IsReplaced)) part.IsTaken = false;
        CutLegacy(parts);
    }

    /// <summary>Blocks of early builds do not say what they hold: where a table of the window has gone, and not into a table, all that are not newer went with it.</summary>
    private void CutLegacy(Part[] parts)
    {
        long windowMs = parts[0].WindowMs;
        if (_previous is null || !_blocks.Taken.Exists(block => block.Windows.Count == 0 && block.Meta!.MinTimeMs <= windowMs && windowMs < block.Meta.EndTimeMs)) return;
        TableEntry[] gone = [.. _previous.Tables.Where(table => table.Windows.Contains(windowMs) && !_byId.ContainsKey(table.Id) && !IsElsewhere(table, windowMs))];
        if (gone.Length == 0) return;
        long last = gone.Max(static table => WalFormat.SegmentOf(table.LastSequence));
        foreach (Part part in parts.Where(part => part.To <= last)) part.IsTaken = false;
    }

    private bool IsElsewhere(TableEntry table, long windowMs)
    {
        long from = WalFormat.SegmentOf(table.FirstSequence);
        long to = WalFormat.SegmentOf(table.LastSequence);
        return _blocks.Holds(windowMs, from, to) || _parts.Exists(part => part.IsTaken && part.WindowMs == windowMs && part.From <= from && to <= part.To);
    }

    /// <summary>True if older parts may go for it.</summary>
    private bool Replaces(Part later, Part[] parts)
    {
        if (_damagedWindows.Contains(later.WindowMs) || !IsCommitted(later)) return false;

        // Two that were made of one part: one of them was never committed, and nobody knows which.
        return _known.ContainsKey(later.Table.Id)
            || !Array.Exists(parts, other => other.Table.Id > later.Table.Id && other.Meets(later) && !other.Contains(later) && !other.IsOfOneRunWith(later));
    }

    private bool IsCommitted(Part part) => _known.ContainsKey(part.Table.Id) || part.Table.Info!.Properties.Parents.Any(parent => !_byId.ContainsKey(parent));

    private bool ParentsAreWhole(Part part) => part.Table.Info!.Properties.Parents.All(parent => _byId.TryGetValue(parent, out FoundTable? there) && there.Info is not null
        && there.Info.Properties.Windows.Any(window => window.StartMs == part.WindowMs));

    private TableEntry EntryOf(IGrouping<long, Part> parts)
    {
        SSTableInfo info = parts.First().Table.Info!;
        foreach (SSTableWindow window in info.Properties.Windows)
        {
            if (TimeWindow.StartOf(window.StartMs, _windowMs) == window.StartMs && window.MaxTimeMs <= TimeWindow.EndOf(window.StartMs, _windowMs)) continue;
            throw new CannotRebuildException(string.Create(
                CultureInfo.InvariantCulture,
                $"{parts.First().Table.Path} has a window at {window.StartMs} ms with samples up to {window.MaxTimeMs} ms, which windows of {_windowMs} ms have not: give the storage.block_duration that it was written with"));
        }

        // Of a table that no manifest is known to name nobody knows which deletes were applied: all of them may be applied again to what is older.
        return (_known.GetValueOrDefault(info.Properties.TableId) ?? TableEntry.Of(info)) with { Windows = [.. parts.Select(static part => part.WindowMs).Order()] };
    }

    /// <summary>What a table holds of a window.</summary>
    private sealed class Part(FoundTable table, long windowMs)
    {
        public FoundTable Table { get; } = table;

        public long WindowMs { get; } = windowMs;

        public long From { get; } = table.From;

        public long To { get; } = table.To;

        public bool IsTaken { get; set; } = true;

        public bool IsReplaced { get; set; }

        public bool Contains(Part other) => From <= other.From && other.To <= To;

        public bool Meets(Part other) => From <= other.To && other.From <= To;

        /// <summary>Tables of one merge, cut by size.</summary>
        public bool IsOfOneRunWith(Part other) =>
            From == other.From && To == other.To && Table.Info!.Properties.Parents.Count > 0 && Table.Info.Properties.Parents.SequenceEqual(other.Table.Info!.Properties.Parents);
    }
}
