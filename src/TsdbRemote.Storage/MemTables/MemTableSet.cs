using System.Collections.Immutable;

namespace TsdbRemote.Storage.MemTables;

/// <summary>Which MemTables exist: one that takes writes, some that wait for their flush. Immutable; each change is a new set.</summary>
/// <remarks>
/// Invariant: segments ascend in <see cref="Waiting"/> and the active one's is above them all. The set counts no references: who publishes it
/// (the engine's state) holds each MemTable in it.
/// </remarks>
public sealed class MemTableSet
{
    /// <summary>A set of these MemTables.</summary>
    /// <param name="active">Takes writes.</param>
    /// <param name="waiting">Full, or replayed from the log; no longer written to.</param>
    public MemTableSet(MemTable active, ImmutableArray<MemTable> waiting)
    {
        Active = active;
        Waiting = waiting;
        long below = long.MinValue;
        foreach (MemTable memTable in waiting)
        {
            Invariant.Check(memTable.Segment > below);
            below = memTable.Segment;
        }

        Invariant.Check(active.Segment > below);
    }

    /// <summary>Takes writes.</summary>
    public MemTable Active { get; }

    /// <summary>Waiting for their flush, oldest first.</summary>
    public ImmutableArray<MemTable> Waiting { get; }

    /// <summary>All, newest first.</summary>
    public IEnumerable<MemTable> NewestFirst => Waiting.Reverse().Prepend(Active);

    /// <summary>The active MemTable waits from now on, and another takes its place.</summary>
    public MemTableSet Rotate(MemTable next) => new(next, Waiting.Add(Active));

    /// <summary>A MemTable that was replayed from an old segment takes its place among the waiting.</summary>
    public MemTableSet WithReplayed(MemTable replayed) =>
        new(Active, [.. Waiting.Add(replayed).OrderBy(static memTable => memTable.Segment)]);

    /// <summary>Without a MemTable whose flush is committed.</summary>
    public MemTableSet Without(MemTable flushed) => new(Active, Waiting.Remove(flushed));
}
