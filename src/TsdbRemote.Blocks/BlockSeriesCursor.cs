using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks;

/// <summary>Walks the selected series of a block in label order, those without samples in the range left out.</summary>
/// <remarks>
/// Use:       <c>while (cursor.MoveNext())</c> read <see cref="Labels"/>, call <see cref="AddChunks"/> once or for one part of the range
///            after the other; <see cref="Dispose"/>. All under a reference to the block that the caller holds.
/// Deleted:   a chunk that tombstones cover is not there; one that they touch is decoded and encoded again without the deleted samples.
///            Where several tombstones together take all of a chunk, the series may appear with nothing to hand out.
/// Memory:    a bit for each 16 bytes of the index at most, one series' labels and chunk list, one chunk's samples. Not thread-safe.
/// </remarks>
public sealed class BlockSeriesCursor : IDisposable
{
    private const int CancelEvery = 1024;

    private readonly BlockReader _block;
    private readonly SelectedSeries _ids;
    private readonly TimeRange _range;
    private readonly CancellationToken _cancel;
    private readonly BlockSeries _series = new();
    private PooledBuffer? _scratch;
    private int _steps;

    internal BlockSeriesCursor(BlockReader block, SelectedSeries ids, TimeRange range, CancellationToken cancel)
    {
        _block = block;
        _ids = ids;
        _range = range;
        _cancel = cancel;
    }

    /// <summary>Series that the matchers selected; some may have no sample in the range.</summary>
    public int Selected => _ids.Count;

    /// <summary>Labels of the current series in canonical form; valid until the next step.</summary>
    public ReadOnlySpan<byte> Labels => _series.Labels;

    /// <summary>Time of the first sample of the current series in this block, ms, deleted or not.</summary>
    public long MinTimeMs => _series.Chunks[0].MinTimeMs;

    /// <summary>Time of the last sample of the current series in this block, ms, deleted or not.</summary>
    public long MaxTimeMs => _series.Chunks[^1].MaxTimeMs;

    /// <summary>Steps to the next series that has samples in the range.</summary>
    /// <exception cref="CorruptFileException">The entry of a series is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public bool MoveNext()
    {
        while (_ids.MoveNext())
        {
            if (_steps++ % CancelEvery == 0) _cancel.ThrowIfCancellationRequested();
            _block.Index.ReadSeries(_ids.Current, _series);
            if (HasChunk()) return true;
        }

        return false;
    }

    /// <summary>Hands out the chunks of the current series that hold some instant of a range, whole but for what is deleted.</summary>
    /// <param name="range">The time asked for.</param>
    /// <param name="rank">Goes into each chunk: how new this block is.</param>
    /// <param name="arena">Takes bytes that are not in a map.</param>
    /// <param name="output">Receives the chunks, ascending and without overlap, behind what it holds already.</param>
    /// <param name="alsoDeleted">Deleted besides what the block's own tombstones say: ascending and disjoint, with time between.</param>
    /// <param name="skipDamaged">Told of each damaged chunk, which is then left out; null to have it end the work.</param>
    /// <exception cref="CorruptFileException">A chunk that was asked for is damaged; names segment and offset.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void AddChunks(
        TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output, ReadOnlySpan<TimeRange> alsoDeleted = default,
        Action<CorruptFileException>? skipDamaged = null)
    {
        ArgumentNullException.ThrowIfNull(arena);
        ArgumentNullException.ThrowIfNull(output);
        ReadOnlySpan<TimeRange> deleted = _block.Tombstones.OfSeries(_series.Id);
        if (!alsoDeleted.IsEmpty) deleted = deleted.IsEmpty ? alsoDeleted : TimeRanges.Union(deleted, alsoDeleted);
        foreach (ref readonly ChunkMeta meta in Overlapping(range))
        {
            int first = TimeRanges.FirstTouching(deleted, RangeOf(meta));
            bool isTouched = first < deleted.Length && deleted[first].MinMs <= meta.MaxTimeMs;
            if (isTouched && deleted[first].Contains(RangeOf(meta))) continue;
            try
            {
                SeriesChunk chunk = _block.Chunks.Read(meta, rank, arena, ref _scratch);
                if (isTouched) AddRest(chunk, meta, deleted[first..], arena, output);
                else output.Add(chunk);
            }
            catch (CorruptFileException damage) when (skipDamaged is not null)
            {
                skipDamaged(damage);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _series.Dispose();
        _scratch?.Dispose();
        _scratch = null;
    }

    private static TimeRange RangeOf(in ChunkMeta meta) => new(meta.MinTimeMs, meta.MaxTimeMs);

    private bool HasChunk()
    {
        ReadOnlySpan<TimeRange> deleted = _block.Tombstones.OfSeries(_series.Id);
        foreach (ref readonly ChunkMeta meta in Overlapping(_range))
        {
            int first = TimeRanges.FirstTouching(deleted, RangeOf(meta));
            if (first == deleted.Length || !deleted[first].Contains(RangeOf(meta))) return true;
        }

        return false;
    }

    /// <summary>The chunks of the current series that overlap a range; they are ascending, so it is one run of them.</summary>
    private ReadOnlySpan<ChunkMeta> Overlapping(TimeRange range)
    {
        if (range.IsEmpty) return default;
        ReadOnlySpan<ChunkMeta> chunks = _series.Chunks;
        int start = 0;
        int high = chunks.Length;
        while (start < high)
        {
            int middle = (start + high) >>> 1;
            if (chunks[middle].MaxTimeMs < range.MinMs) start = middle + 1;
            else high = middle;
        }

        int end = start;
        while (end < chunks.Length && chunks[end].MinTimeMs <= range.MaxMs) end++;
        return chunks[start..end];
    }

    private void AddRest(
        in SeriesChunk chunk, in ChunkMeta meta, ReadOnlySpan<TimeRange> deleted, NativeArena arena, List<SeriesChunk> output)
    {
        try
        {
            ChunkDeletion.AddRest(chunk, deleted, arena, output);
        }
        catch (CorruptChunkException damage)
        {
            throw _block.Chunks.Corrupt(meta, damage.Message);
        }
    }
}
