using System.Collections.Immutable;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Walks the series that tables hold in one window by ascending id, each with its chunks merged over all of them and joined to full ones.</summary>
/// <remarks>
/// <code>
///   run 1  1 2   5     a queue of runs by the id they stand at: all that stand at the least one give their chunks,
///   run 2  1   3 5     and step once the series is done with   →  1 (run 1, 2)   2 (1)   3 (2)   5 (1, 2)
/// </code>
/// Use:     <c>while (merge.MoveNext())</c> read <see cref="SeriesId"/> and <see cref="Chunks"/>, valid until the next step.
/// Memory:  an index block and its chunks for each run, and one series. Tables of one run are opened one after the other.
/// Deleted: what deletes take out of the older tables before they are merged; a series whose labels nobody knows stays as it is.
/// Which version of a sample stays is the decision of <see cref="ChunkMerge"/>, which answers queries too. Not thread-safe.
/// </remarks>
internal sealed class WindowMerge : IDisposable
{
    // Freed between series once it holds this much, so that small series do not pay for a new arena each.
    private const long ArenaBytesKept = 4 << 20;

    private readonly TimeRange _window;
    private readonly SeriesDictionary? _dictionary;
    private readonly SeriesDeletions? _deletions;
    private readonly List<RunCursor> _all = [];
    private readonly List<RunCursor> _current = [];
    private readonly PriorityQueue<RunCursor, ulong> _queue = new();
    private readonly ChunkJoiner _joiner = new();
    private readonly List<SeriesChunk> _found = [];
    private readonly List<SeriesChunk> _merged = [];
    private readonly List<SeriesChunk> _joined = [];
    private NativeArena _arena = new();

    /// <summary>A merge before its first series.</summary>
    /// <param name="job">The window; no sample outside it comes out. Its tables, those of one run by ids; the caller holds them.</param>
    /// <param name="skipDamaged">Told of each chunk that is left out because its bytes are damaged.</param>
    public WindowMerge(CompactionJob job, Action<CorruptFileException> skipDamaged)
    {
        _window = job.Window;
        _dictionary = job.Dictionary;
        if (job.Deletions is not null && job.Dictionary is not null) _deletions = new SeriesDeletions(job.Deletions);
        foreach (IGrouping<object, LevelTable> run in job.Inputs.GroupBy(RunOf)) _all.Add(new RunCursor([.. run], job.Window.MinMs, skipDamaged));

        // None has stepped yet: to have all of them step first, they count as the current ones.
        _current.AddRange(_all);
    }

    /// <summary>Id of the current series.</summary>
    public ulong SeriesId { get; private set; }

    /// <summary>Its chunks: in time order, without overlap, inside the window; at least one.</summary>
    public ReadOnlySpan<SeriesChunk> Chunks => CollectionsMarshal.AsSpan(_joined);

    /// <summary>True while a series is the current one.</summary>
    public bool HasSeries { get; private set; }

    /// <summary>What was left out so far because a newer version of the same instant exists.</summary>
    public MergeCounts Dropped { get; private set; }

    /// <summary>Bytes of the inputs read so far.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Steps to the next series.</summary>
    /// <exception cref="CorruptFileException">An index block is damaged.</exception>
    /// <exception cref="CorruptChunkException">A chunk is none although its checksum holds.</exception>
    public bool MoveNext()
    {
        do
        {
            HasSeries = NextSeries();
        }
        while (HasSeries && _joined.Count == 0);
        return HasSeries;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        foreach (RunCursor run in _all) run.Dispose();
    }

    private static object RunOf(LevelTable table) =>
        table.Entry.Level == 0 ? table.Entry.Id : (table.Entry.Level, table.Entry.FirstSequence, table.Entry.LastSequence);

    private bool NextSeries()
    {
        _found.Clear();
        _merged.Clear();
        _joined.Clear();
        if (_arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena.Dispose();
            _arena = new NativeArena();
        }

        foreach (RunCursor run in _current)
        {
            BytesRead -= run.BytesRead;
            if (run.MoveNext()) _queue.Enqueue(run, run.SeriesId);
            BytesRead += run.BytesRead;
        }

        _current.Clear();
        if (_queue.Count == 0) return false;
        SeriesId = _queue.Peek().SeriesId;
        while (_queue.TryPeek(out RunCursor? run, out ulong id) && id == SeriesId)
        {
            _queue.Dequeue();
            _current.Add(run);
            _found.AddRange(run.Chunks);
        }

        if (_deletions is not null && _dictionary!.TryOrdinalOf(SeriesId, out uint ordinal) && _deletions.Begin(_dictionary.LabelsOf(ordinal), _arena))
            _deletions.Apply(_found, 0);
        Dropped += ChunkMerge.Merge(CollectionsMarshal.AsSpan(_found), _window, windowMs: 0, _arena, _merged);
        _joiner.Join(CollectionsMarshal.AsSpan(_merged), _arena, _joined);
        return true;
    }

    /// <summary>The tables of one run, one after the other.</summary>
    private sealed class RunCursor(ImmutableArray<LevelTable> tables, long windowStartMs, Action<CorruptFileException> skipDamaged) : IDisposable
    {
        private WindowCursor? _cursor;
        private int _next;
        private long _bytesBefore;

        public ulong SeriesId { get; private set; }

        public ReadOnlySpan<SeriesChunk> Chunks => _cursor!.Chunks;

        public long BytesRead => _bytesBefore + (_cursor?.BytesRead ?? 0);

        public bool MoveNext()
        {
            while (_cursor is null || !_cursor.MoveNext())
            {
                if (_next == tables.Length) return false;
                _bytesBefore += _cursor?.BytesRead ?? 0;
                _cursor?.Dispose();
                bool isFirst = _cursor is null;
                LevelTable table = tables[_next++];
                Invariant.Check(isFirst || table.Entry.MinSeriesId > SeriesId);
                _cursor = table.Reader.Walk(windowStartMs, table.Rank, skipDamaged);
            }

            SeriesId = _cursor.SeriesId;
            return true;
        }

        public void Dispose() => _cursor?.Dispose();
    }
}
