using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Storage.Reading;

/// <summary>Where a read looks: all MemTables and tables of one instant, held by whoever made it.</summary>
/// <param name="MemTables">MemTables, any order; their segments rank them.</param>
/// <param name="Tables">Tables, any order; their sequences rank them.</param>
/// <param name="Blocks">Blocks, any order; their set ranks them below all tables.</param>
public sealed record ReadSources(IReadOnlyList<MemTable> MemTables, IReadOnlyList<LevelTable> Tables, IReadOnlyList<StoredBlock> Blocks)
{
    /// <summary>What is deleted of them; null if nothing is.</summary>
    internal DeletionSet? Deletions { get; init; }
}

/// <summary>Ranks of sources: newest wins, and the sequence says what is newest (a record's sequence = segment shifted | index).</summary>
public static class SourceRank
{
    /// <summary>Bits of the record index in a sequence.</summary>
    public const int IndexBits = 40;

    /// <summary>Rank of the in-order chunks of the MemTable of a segment: above every table of that segment; its out-of-order ones are one higher.</summary>
    public static long OfMemTable(long segment) => (segment << IndexBits) | ((1L << IndexBits) - 2);
}
