using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>Walks the series of several sources in label order, each with its chunks merged over all of them and cut to the range.</summary>
/// <remarks>
/// <code>
///   dictionary  a b   d     a heap of sources by the labels they stand at: all that stand at the least one are taken
///   block 1     a   c d     together, give their chunks, and step once the series is done with
///   block 2       b c       →  a (dictionary, 1)   b (dictionary, 2)   c (1, 2)   d (dictionary, 1)
/// </code>
/// Use:       <c>while (merge.MoveNext())</c> read <see cref="Labels"/> and <see cref="Chunks"/>, valid until the next step.
/// Serves queries and conversion alike: what is converted is, by construction, what a query would have been answered.
/// Deleted:   is what deletes take out of each source before they are merged, so that a newer sample of the same instant stays.
/// Bounded:   copies of chunk bytes are let go between series; one series alone must fit the limit.
/// Not here:  encoding of answers, choice of series. Not thread-safe; the sources are held by the snapshot that made it.
/// </remarks>
public sealed class SeriesMerge : IDisposable
{
    // Freed between series once it holds this much, so that small merges do not pay for a new arena each.
    private const long ArenaBytesKept = 4 << 20;

    private readonly IReadOnlyList<ISeriesSource> _sources;
    private readonly TimeRange _range;
    private readonly long _memoryBytes;
    private readonly CancellationToken _cancel;
    private readonly bool _labelsOnly;
    private readonly SeriesDeletions? _deletions;
    private readonly List<SeriesChunk> _found = [];
    private readonly List<SeriesChunk> _merged = [];

    // Indexes of sources: _heap[.._heapCount] stand at a series that is still to come, _current[.._currentCount] at the current one.
    private readonly int[] _heap;
    private readonly int[] _current;
    private NativeArena _arena = new();
    private int _heapCount;
    private int _currentCount;

    // Something of the current series is deleted.
    private bool _isTouched;

    /// <summary>A merge of these sources, which it owns.</summary>
    /// <param name="sources">Each in label order.</param>
    /// <param name="range">Closed range in ms; no sample outside it comes out.</param>
    /// <param name="memoryBytes">What the chunks of one series may take in copies, in bytes.</param>
    /// <param name="cancel">Stops the work: checked for each series.</param>
    /// <param name="labelsOnly">
    /// True: the sources' word that a series has a chunk in the range is enough; none comes out, and none is read but of series of which something is deleted.
    /// </param>
    /// <param name="deletions">What is deleted of the sources; null if nothing is.</param>
    internal SeriesMerge(
        IReadOnlyList<ISeriesSource> sources, TimeRange range, long memoryBytes, CancellationToken cancel, bool labelsOnly = false, DeletionSet? deletions = null)
    {
        _deletions = deletions is null ? null : new SeriesDeletions(deletions);
        _labelsOnly = labelsOnly;
        _sources = sources;
        _range = range;
        _memoryBytes = memoryBytes;
        _cancel = cancel;
        _heap = new int[sources.Count];
        _current = new int[sources.Count];

        // None has stepped yet: to have all of them step first, they count as the current ones.
        for (int i = 0; i < _current.Length; i++) _current[_currentCount++] = i;
    }

    /// <summary>Labels of the current series as a run.</summary>
    public ReadOnlySpan<byte> Labels => _sources[_current[0]].Labels;

    /// <summary>Chunks of the current series: in time order, without overlap, no sample outside the range; at least one, unless labels are all that was asked for.</summary>
    public ReadOnlySpan<SeriesChunk> Chunks => CollectionsMarshal.AsSpan(_merged);

    /// <summary>What the merges so far left out because a newer version of the same instant exists.</summary>
    public MergeCounts Dropped { get; private set; }

    /// <summary>Steps to the next series that has a sample in the range.</summary>
    /// <exception cref="CorruptFileException">A chunk or an index entry is damaged.</exception>
    /// <exception cref="ReadLimitException">One series, or one batch of them, needs more than the limit.</exception>
    public bool MoveNext()
    {
        while (NextSeries())
        {
            _cancel.ThrowIfCancellationRequested();
            if (_labelsOnly && (!_isTouched || HasChunkInRange())) return true;
            if (_labelsOnly) continue;
            Dropped += ChunkMerge.Merge(CollectionsMarshal.AsSpan(_found), _range, windowMs: 0, _arena, _merged);
            if (_arena.AllocatedBytes > _memoryBytes) throw ReadLimitException.OfMemory(_memoryBytes);
            if (_merged.Count > 0) return true;
        }

        return false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        foreach (ISeriesSource source in _sources) source.Dispose();
    }

    /// <summary>Has the sources of the last series step, then takes the next series from all that have it.</summary>
    private bool NextSeries()
    {
        _found.Clear();
        _merged.Clear();
        if (_arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena.Dispose();
            _arena = new NativeArena();
        }

        for (int i = 0; i < _currentCount; i++)
        {
            if (_sources[_current[i]].MoveNext()) Push(_current[i]);
        }

        _currentCount = 0;
        while (_heapCount > 0 && (_currentCount == 0 || Labels.SequenceEqual(_sources[_heap[0]].Labels)))
        {
            int source = Pop();
            _current[_currentCount++] = source;
            if (_currentCount == 1) _isTouched = _deletions?.Begin(Labels, _arena) == true;
            if (!_labelsOnly || _isTouched) _sources[source].AddChunks(_found, _isTouched ? _deletions : null);
        }

        return _currentCount > 0;
    }

    /// <summary>True if of the current series, of which something is deleted, something is left.</summary>
    private bool HasChunkInRange() => _found.Exists(chunk => _range.Overlaps(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs)));

    private void Push(int source)
    {
        int at = _heapCount++;
        while (at > 0 && IsBefore(source, _heap[(at - 1) / 2]))
        {
            _heap[at] = _heap[(at - 1) / 2];
            at = (at - 1) / 2;
        }

        _heap[at] = source;
    }

    private int Pop()
    {
        int top = _heap[0];
        int last = _heap[--_heapCount];
        int at = 0;
        while (2 * at + 1 < _heapCount)
        {
            int child = 2 * at + 1;
            if (child + 1 < _heapCount && IsBefore(_heap[child + 1], _heap[child])) child++;
            if (!IsBefore(_heap[child], last)) break;
            _heap[at] = _heap[child];
            at = child;
        }

        _heap[at] = last;
        return top;
    }

    private bool IsBefore(int left, int right) => Blocks.Model.Labels.Compare(_sources[left].Labels, _sources[right].Labels) < 0;
}
