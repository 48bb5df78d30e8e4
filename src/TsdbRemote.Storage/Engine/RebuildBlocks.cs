using System.Collections.Immutable;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which blocks a rebuilt manifest names.</summary>
/// <remarks>
/// A block is whole from the moment it has its name, so nothing is missing where one takes the place of what it was made of, whether that was committed or not.
/// With a manifest before: the blocks that it names, but for those that went into a taken one; of others that this directory made since, those whose inputs are not all there any more.
/// The rest is of a step that was cut off.
/// Without:  all that this directory made, but for those of which another holds everything.
/// Others are foreign: they stay where they are, and are verified and adopted by the next start, unless a taken one holds everything of them already.
/// </remarks>
internal sealed class RebuildBlocks
{
    // 1 is what is made of foreign blocks alone, however many.
    private const long FirstRank = 2;

    private readonly RebuildFindings _found;
    private readonly ManifestState? _previous;
    private readonly Dictionary<string, FoundBlock> _whole;
    private readonly Dictionary<string, BlockEntry> _known;
    private readonly HashSet<string> _deleted;

    // Named, and not as foreign ones.
    private readonly HashSet<string> _serving;

    /// <summary>Decides; reads nothing.</summary>
    public RebuildBlocks(RebuildFindings found)
    {
        _found = found;
        _previous = found.Previous;
        _whole = found.Blocks.Where(static block => block.Meta is not null).ToDictionary(static block => block.Ulid);
        _known = _previous?.Blocks.ToDictionary(static block => block.Ulid) ?? [];
        _deleted = [.. _previous?.DeletedBlocks ?? []];
        Taken = _previous is null ? Largest() : [.. _whole.Values.Where(IsNeeded)];
        Entries = WithOwnRanks([.. Kept(), .. Taken.Select(EntryOf)]);
        _serving = [.. Entries.Where(static entry => !entry.Adopted).Select(static entry => entry.Ulid)];
        PutAside();
    }

    /// <summary>Blocks that are named, and that no manifest named that can be read.</summary>
    public List<FoundBlock> Taken { get; }

    /// <summary>All that are named.</summary>
    public ImmutableArray<BlockEntry> Entries { get; }

    /// <summary>What has to leave <c>blocks/</c>, lest it be adopted as if somebody had put it there, and why.</summary>
    public List<(FoundBlock Block, string Why)> Aside { get; } = [];

    /// <summary>Blocks of the manifest before that are gone, and nothing that was made of them is there.</summary>
    public List<BlockEntry> Missing { get; } = [];

    /// <summary>True if blocks that are named hold everything that these segments brought into a window.</summary>
    public bool Holds(long windowMs, long from, long to) => Windows(windowMs).Any(held => held.FromSegment <= from && to <= held.ToSegment);

    /// <summary>True if a block that is named, and does not say what of the log it holds, has samples of the window.</summary>
    public bool MayHold(TimeRangeMs window) => _whole.Values.Any(block => block is { IsOurs: true, Windows.Count: 0 } && _serving.Contains(block.Ulid)
        && block.Meta!.MinTimeMs < window.EndMs && window.StartMs < block.Meta.EndTimeMs);

    /// <summary>The last segment of which blocks that are there hold some; -1 for none.</summary>
    public long LastSegment => _found.Blocks.Where(static block => block.Meta is not null).SelectMany(static block => block.Windows).Select(static held => held.ToSegment).DefaultIfEmpty(-1).Max();

    private IEnumerable<BlockMarkWindow> Windows(long windowMs) =>
        _whole.Values.Where(block => _serving.Contains(block.Ulid)).SelectMany(static block => block.Windows).Where(held => held.StartMs == windowMs);

    private bool IsNeeded(FoundBlock block)
    {
        bool isUnknown = block.IsOurs && !_known.ContainsKey(block.Ulid) && !_deleted.Contains(block.Ulid);
        if (!isUnknown || block.Meta!.Mark!.Generation < _previous!.Generation) return false;
        if (block.Meta.Compaction.Parents.Count > 0) return !block.Meta.Compaction.Parents.All(parent => _whole.ContainsKey(parent.Ulid.ToString()));
        return block.Windows.Count > 0
            ? block.Windows.Any(MayBeAlone)
            : MayBeAlone(new BlockMarkWindow { StartMs = block.Meta.MinTimeMs, FromSegment = 0, ToSegment = long.MaxValue });
    }

    /// <summary>True if something of a window and of these segments may be nowhere but in the block that holds them: a table that the manifest before knows is gone or damaged, or it came later.</summary>
    private bool MayBeAlone(BlockMarkWindow held)
    {
        bool IsIn(long segment) => held.FromSegment <= segment && segment <= held.ToSegment;
        if (_previous!.Tables.Any(table => table.Windows.Contains(held.StartMs) && IsIn(WalFormat.SegmentOf(table.LastSequence)) && !IsWhole(table))) return true;

        // What was in the log by then, or came later, may be in tables that are gone, and in segments that are there and were flushed: the block is as whole as they are.
        if (held.ToSegment < long.MaxValue) return held.ToSegment >= _previous.NextSegment || _previous.Segments.Any(segment => IsIn(segment.Number));

        // An early build's does not say. Its segments are there, or in a table of theirs; or it is the only one that has them.
        return _previous.Segments.Any(segment => !_found.Segments.Contains(segment.Number) && !IsFlushed(segment.Number));
    }

    private bool IsWhole(TableEntry table) => _found.Tables.Exists(there => there.Id == table.Id && there.Info is not null);

    private bool IsFlushed(long segment) => _found.Tables.Exists(table => table is { Info: not null, IsFlush: true } && table.From == segment);

    private List<FoundBlock> Largest()
    {
        FoundBlock[] own = [.. _whole.Values.Where(static block => block.IsOurs)];
        return [.. own.Where(block => !Array.Exists(own, other => HoldsAll(other, block) && (!HoldsAll(block, other) || string.CompareOrdinal(other.Ulid, block.Ulid) > 0)))];
    }

    /// <summary>True if everything of a block went into another one.</summary>
    private bool HoldsAll(FoundBlock all, FoundBlock one)
    {
        if (all == one) return false;
        if (IsAncestor(all, one.Ulid, depth: 0)) return true;
        IReadOnlyList<Ulid> sources = one.Meta!.Compaction.Sources;
        if (sources.Count > 0 && all.Meta!.Compaction.Parents.Count > 0 && sources.All(all.Meta.Compaction.Sources.Contains)) return true;
        return one.Meta.Compaction.Parents.Count == 0 && one.Windows.Count > 0
            && one.Windows.All(part => all.Windows.Any(held => held.StartMs == part.StartMs && held.FromSegment <= part.FromSegment && part.ToSegment <= held.ToSegment));
    }

    private bool IsAncestor(FoundBlock block, string ulid, int depth) => block.Meta!.Compaction.Parents.Any(parent =>
        parent.Ulid.ToString() == ulid
        || (depth < 64 && _whole.TryGetValue(parent.Ulid.ToString(), out FoundBlock? between) && between != block && IsAncestor(between, ulid, depth + 1)));

    private IEnumerable<BlockEntry> Kept()
    {
        HashSet<string> there = [.. _found.Blocks.Select(static block => block.Ulid)];
        HashSet<string> parents = [.. Taken.SelectMany(static block => block.Meta!.Compaction.Parents).Select(static parent => parent.Ulid.ToString())];
        foreach (BlockEntry entry in _previous?.Blocks ?? [])
        {
            if (parents.Contains(entry.Ulid) || (_whole.TryGetValue(entry.Ulid, out FoundBlock? block) && Taken.Exists(taken => HoldsAll(taken, block)))) continue;
            if (there.Contains(entry.Ulid)) yield return entry;
            else Missing.Add(entry);
        }
    }

    private BlockEntry EntryOf(FoundBlock block)
    {
        BlockMark mark = block.Meta!.Mark!;

        // What an early build does not say: what one of its inputs knew was applied, as far as it was older; and what is newer than all of them may be applied again.
        IEnumerable<ulong> known = block.Meta.Compaction.Parents.Select(parent => _known.GetValueOrDefault(parent.Ulid.ToString())?.AppliedTo ?? 0);
        if (block.Windows.Count == 0 && block.Meta.Compaction.Parents.Count == 0)
            known = (_previous?.Tables ?? []).Where(table => table.Windows.Contains(block.Meta.MinTimeMs)).Select(static table => table.LastSequence);
        return BlockEntry.Of(block.Meta, Math.Max(1, mark.Rank), known.Append(TombstoneEntry.SequenceOf(mark.DeletesTo)).Max());
    }

    /// <summary>What was left of an attempt may have the rank that was given again: then the later one comes above it.</summary>
    private static ImmutableArray<BlockEntry> WithOwnRanks(List<BlockEntry> entries)
    {
        List<BlockEntry> own = [.. entries.Where(static entry => entry.Rank >= FirstRank).OrderBy(static entry => entry.Rank).ThenBy(static entry => entry.Ulid, StringComparer.Ordinal)];
        for (int i = 1; i < own.Count; i++)
        {
            if (own[i].Rank <= own[i - 1].Rank) own[i] = own[i] with { Rank = own[i - 1].Rank + 1 };
        }

        return [.. entries.Where(static entry => entry.Rank < FirstRank), .. own];
    }

    private void PutAside()
    {
        HashSet<string> named = [.. Entries.Select(static entry => entry.Ulid)];
        FoundBlock[] holders = [.. _whole.Values.Where(block => block.IsOurs && named.Contains(block.Ulid))];
        foreach (FoundBlock block in _found.Blocks.Where(block => !named.Contains(block.Ulid) && !_deleted.Contains(block.Ulid)))
        {
            if (block.Meta is null) Aside.Add((block, $"it cannot be opened: {block.Damage}"));
            else if (Array.Find(holders, holder => HoldsAll(holder, block)) is { } holder) Aside.Add((block, $"everything of it went into block {holder.Ulid}"));
            else if (_previous is not null && block.IsOurs && block.Meta.Mark!.Generation >= _previous.Generation) Aside.Add((block, "it is the rest of a step that was cut off: all that it was made of is there"));
        }
    }
}

/// <summary>A time: its end does not belong to it. Milliseconds.</summary>
/// <param name="StartMs">The first.</param>
/// <param name="EndMs">Behind the last.</param>
internal readonly record struct TimeRangeMs(long StartMs, long EndMs);
