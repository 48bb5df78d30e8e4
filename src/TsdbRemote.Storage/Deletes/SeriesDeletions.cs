using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Deletes;

/// <summary>What is deleted of one series after the other, as a merge walks them.</summary>
/// <remarks>
/// Use: <see cref="Begin"/> for each series; where it says that something is deleted, take the chunks of each source through <see cref="Apply"/>, or ask
/// <see cref="Since"/> what to leave out of a source. Before they are merged: a newer sample of the same instant must not be lost with an older one.
/// Not thread-safe: one merge, one of these.
/// </remarks>
internal sealed class SeriesDeletions(DeletionSet set)
{
    private readonly List<Deletion> _found = [];
    private readonly List<TimeRange> _ranges = [];
    private readonly List<SeriesChunk> _kept = [];
    private NativeArena? _arena;
    private ulong _rangesSince;
    private bool _hasRanges;

    /// <summary>Steps to a series.</summary>
    /// <param name="labels">Its labels as a run.</param>
    /// <param name="arena">Holds what is left of chunks.</param>
    /// <returns>False if nothing of it is deleted.</returns>
    public bool Begin(ReadOnlySpan<byte> labels, NativeArena arena)
    {
        _arena = arena;
        _found.Clear();
        _hasRanges = false;
        set.Find(labels, _found);
        return _found.Count > 0;
    }

    /// <summary>What is deleted of a source of the series that holds nothing newer than a sequence.</summary>
    /// <returns>Ascending and disjoint, with time between; valid until the next call.</returns>
    public ReadOnlySpan<TimeRange> Since(ulong sequence)
    {
        if (_hasRanges && _rangesSince == sequence) return CollectionsMarshal.AsSpan(_ranges);
        _ranges.Clear();
        foreach (Deletion deletion in _found)
        {
            if (deletion.Entry.Sequence > sequence) _ranges.Add(deletion.Entry.Range());
        }

        TimeRanges.Join(_ranges);
        _hasRanges = true;
        _rangesSince = sequence;
        return CollectionsMarshal.AsSpan(_ranges);
    }

    /// <summary>Takes what is deleted out of chunks of MemTables and tables, whose ranks are their sequences.</summary>
    /// <param name="chunks">The chunks.</param>
    /// <param name="from">Index of the first that is meant.</param>
    /// <exception cref="CorruptChunkException">A chunk of which something is deleted is none.</exception>
    public void Apply(List<SeriesChunk> chunks, int from)
    {
        _kept.Clear();
        for (int i = from; i < chunks.Count; i++)
        {
            SeriesChunk chunk = chunks[i];
            ReadOnlySpan<TimeRange> deleted = Since((ulong)chunk.Rank);
            var range = new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs);
            int first = TimeRanges.FirstTouching(deleted, range);
            if (first == deleted.Length || !deleted[first].Overlaps(range)) _kept.Add(chunk);
            else if (!deleted[first].Contains(range)) ChunkDeletion.AddRest(chunk, deleted[first..], _arena!, _kept);
        }

        chunks.RemoveRange(from, chunks.Count - from);
        chunks.AddRange(_kept);
    }
}
