using System.Collections.Immutable;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.BlockStorage;

/// <summary>A block that the manifest names, and the reader that has it open.</summary>
/// <param name="Entry">What the manifest says.</param>
/// <param name="Reader">The open block.</param>
public sealed record StoredBlock(BlockEntry Entry, BlockReader Reader)
{
    /// <summary>Rank of its chunks, set by the <see cref="BlockSet"/>: above 0 for blocks made here, below it for foreign ones, all below every table.</summary>
    public long Rank { get; internal init; }

    /// <summary>Its samples' times: both ends belong to it.</summary>
    public TimeRange Range => new(Reader.MinTimeMs, Reader.MaxTimeMs);
}

/// <summary>The blocks in service at one instant.</summary>
/// <remarks>
/// Immutable, so thread-safe: a change makes a new set. It owns no reader: whoever publishes a set disposes the readers that fell out of it.
/// Ranks: blocks made here by the conversion counter at their making (compacted ones by that of their newest input), not by name, since clocks go back; foreign ones below them, by name among
/// themselves (design §5.1). Of those of one data directory, such as our own that came back, the one of the higher rank in its mark is the newer, whatever
/// their names: they take the places that their names have among the others, in the order of their marks.
/// </remarks>
public sealed class BlockSet
{
    private BlockSet(ImmutableArray<StoredBlock> blocks) => Blocks = blocks;

    /// <summary>No blocks.</summary>
    public static BlockSet Empty { get; } = new([]);

    /// <summary>All blocks, by rank, the newest last.</summary>
    public ImmutableArray<StoredBlock> Blocks { get; }

    /// <summary>Bytes of all blocks.</summary>
    public long Bytes => Blocks.Sum(static block => block.Reader.Bytes);

    /// <summary>Blocks that may hold samples of a range.</summary>
    public IEnumerable<StoredBlock> Overlapping(TimeRange range) => Blocks.Where(block => range.Overlaps(block.Range));

    /// <summary>True if a block made here holds some of a window: then data of that window is late.</summary>
    public bool IsConverted(TimeRange window) => Blocks.Any(block => !block.Entry.Adopted && window.Overlaps(block.Range));

    /// <summary>This set and more blocks.</summary>
    /// <exception cref="InvariantViolatedException">A name is there already.</exception>
    public BlockSet With(params IEnumerable<StoredBlock> added)
    {
        StoredBlock[] all = [.. Blocks.Concat(added)];
        Invariant.Check(all.Select(static block => block.Entry.Ulid).Distinct().Count() == all.Length);
        StoredBlock[] foreign = InOrder(all.Where(static block => block.Entry.Adopted));
        return new BlockSet(
        [
            .. foreign.Select((block, index) => block with { Rank = index - foreign.Length }),
            .. all.Where(static block => !block.Entry.Adopted).OrderBy(static block => block.Entry.Rank).Select(static block => block with { Rank = block.Entry.Rank }),
        ]);
    }

    /// <summary>This set without some blocks.</summary>
    /// <exception cref="InvariantViolatedException">A name is not there.</exception>
    public BlockSet Without(IReadOnlySet<string> ulids)
    {
        ImmutableArray<StoredBlock> rest = [.. Blocks.Where(block => !ulids.Contains(block.Entry.Ulid))];
        Invariant.Check(rest.Length + ulids.Count == Blocks.Length);
        return new BlockSet(rest);
    }

    /// <summary>This set after some blocks were found to hold nothing that tombstones up to a sequence delete.</summary>
    public BlockSet Applied(IReadOnlySet<string> ulids, ulong appliedTo) => new(
        [.. Blocks.Select(block => ulids.Contains(block.Entry.Ulid) ? block with { Entry = block.Entry with { AppliedTo = appliedTo } } : block)]);

    /// <summary>Counts one more reader on every block, or on none if one of them is closed already: then a newer set is published.</summary>
    public bool TryAcquire()
    {
        for (int i = 0; i < Blocks.Length; i++)
        {
            if (Blocks[i].Reader.TryAcquire()) continue;
            while (--i >= 0) Blocks[i].Reader.Release();
            return false;
        }

        return true;
    }

    /// <summary>Lets go of every block.</summary>
    public void Release()
    {
        foreach (StoredBlock block in Blocks) block.Reader.Release();
    }

    private static StoredBlock[] InOrder(IEnumerable<StoredBlock> adopted)
    {
        StoredBlock[] places = [.. adopted.OrderBy(static block => block.Entry.Ulid, StringComparer.Ordinal)];
        StoredBlock[] ordered = [.. places];
        IEnumerable<int> marked = Enumerable.Range(0, places.Length).Where(place => places[place].Reader.Meta.Mark is not null);
        foreach (IGrouping<Guid, int> directory in marked.GroupBy(place => places[place].Reader.Meta.Mark!.Directory))
        {
            IEnumerable<int> byRank = directory.OrderBy(place => places[place].Reader.Meta.Mark!.Rank).ThenBy(static place => place);
            foreach ((int place, int block) in directory.Zip(byRank)) ordered[place] = places[block];
        }

        return ordered;
    }
}
