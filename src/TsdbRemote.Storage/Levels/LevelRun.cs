using System.Collections.Immutable;

namespace TsdbRemote.Storage.Levels;

/// <summary>One sorted sequence of a window: tables of one level with the same range of sequences and disjoint ranges of ids, cut by size.</summary>
/// <remarks>
/// A table of level 0 is a run by itself for each of its windows. Above level 0 a run is complete for its sequences: it holds all of the window that
/// was logged from the first to the last of them.
/// </remarks>
/// <param name="Level">Its level.</param>
/// <param name="FirstSequence">First log sequence that it is complete for.</param>
/// <param name="LastSequence">Last log sequence that it is complete for.</param>
/// <param name="Tables">Its tables, by ascending ids.</param>
public sealed record LevelRun(int Level, ulong FirstSequence, ulong LastSequence, ImmutableArray<LevelTable> Tables)
{
    /// <summary>Bytes of it that a window takes: of tables that hold others besides, a share by samples.</summary>
    public long BytesIn(long windowStartMs) => Tables.Sum(table => table.BytesIn(windowStartMs));
}
