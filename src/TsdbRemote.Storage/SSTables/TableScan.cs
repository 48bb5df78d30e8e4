using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.SSTables;

/// <summary>One forward pass over the index of a table for ascending ids, window by window.</summary>
/// <remarks>
/// Per window both sides only move forward: gallop to the block that may hold the next id, walk it beside the ids up to the first id of the
/// next block, go on. Chunks that hold some instant of the range go to the fetcher in the order of the file.
/// </remarks>
internal ref struct TableScan : IDisposable
{
    // While neighbouring blocks are asked for one after the other, this much of the index is read at once.
    private const int ReadAheadBytes = 64 << 10;

    private readonly FileSource _source;
    private readonly SparseIndex _sparse;
    private readonly long _indexOffset;
    private readonly ReadOnlySpan<ulong> _ids;
    private readonly ReadOnlySpan<int> _map;
    private readonly int _firstIndex;
    private readonly TimeRange _range;
    private readonly ChunkFetcher _fetcher;
    private PooledBuffer? _scratch;
    private long _bufferedStart;
    private int _bufferedLength;

    /// <summary>Prepares a pass.</summary>
    /// <param name="source">The table.</param>
    /// <param name="sparse">Its sparse index.</param>
    /// <param name="indexOffset">Where its chunk area ends.</param>
    /// <param name="ids">The ids, ascending.</param>
    /// <param name="map">For each id its index among those the caller was asked for; empty if that is <paramref name="firstIndex"/> and
    /// up.</param>
    /// <param name="firstIndex">Index of the first id, if there is no map.</param>
    /// <param name="range">The time asked for.</param>
    /// <param name="fetcher">Takes what is found.</param>
    public TableScan(
        FileSource source,
        SparseIndex sparse,
        long indexOffset,
        ReadOnlySpan<ulong> ids,
        ReadOnlySpan<int> map,
        int firstIndex,
        TimeRange range,
        ChunkFetcher fetcher)
    {
        _source = source;
        _sparse = sparse;
        _indexOffset = indexOffset;
        _ids = ids;
        _map = map;
        _firstIndex = firstIndex;
        _range = range;
        _fetcher = fetcher;
    }

    /// <summary>Walks one window; windows come in ascending order.</summary>
    public void Window(SparseWindow window)
    {
        int block = window.FirstBlock;
        int next = Skip(0, _sparse.FirstIdOf(block));
        while (next < _ids.Length)
        {
            block = _sparse.Find(block, window.EndBlock, _ids[next]);
            next = Block(block, window.StartMs, next);
            if (++block == window.EndBlock) return;
            next = Skip(next, _sparse.FirstIdOf(block));
        }
    }

    /// <inheritdoc/>
    public readonly void Dispose() => _scratch?.Dispose();

    /// <summary>First index from <paramref name="from"/> on whose id is not below <paramref name="id"/>.</summary>
    private readonly int Skip(int from, ulong id)
    {
        int step = 1;
        int low = from;
        while (low < _ids.Length && _ids[low] < id)
        {
            from = low + 1;
            low = (int)Math.Min((long)low + step, int.MaxValue);
            step = Math.Min(step * 2, 1 << 20);
        }

        ReadOnlySpan<ulong> rest = _ids[from..Math.Min(low, _ids.Length)];
        int found = rest.BinarySearch(id);
        return from + (found >= 0 ? found : ~found);
    }

    /// <summary>Walks a block beside the ids.</summary>
    /// <returns>Index of the first id that is above those of the block.</returns>
    private int Block(int block, long windowStartMs, int next)
    {
        IndexBlockReader reader = new(Payload(block));
        if (reader.WindowStartMs != windowStartMs || reader.SeriesId != _sparse.FirstIdOf(block))
            throw Damaged(block, "is not the block named there");
        while (reader.MoveTo(_ids[next]))
        {
            while (_ids[next] < reader.SeriesId)
            {
                if (++next == _ids.Length) return next;
            }

            if (_ids[next] > reader.SeriesId) continue;
            Series(ref reader, _map.IsEmpty ? _firstIndex + next : _map[next]);
            if (++next == _ids.Length) break;
        }

        if (reader.IsCorrupt) throw Damaged(block, "cannot be decoded");
        return next;
    }

    private readonly void Series(ref IndexBlockReader reader, int idIndex)
    {
        while (reader.MoveNextChunk(out IndexedChunk chunk))
        {
            if (!chunk.Overlaps(_range)) continue;
            if (chunk.Offset < SSTableFormat.HeaderBytes || chunk.End > _indexOffset)
                throw _source.Corrupt(chunk.Offset, $"the index names a chunk of {chunk.Length} bytes outside the chunk area");
            _fetcher.Add(idIndex, chunk);
        }
    }

    private ReadOnlySpan<byte> Payload(int block)
    {
        ReadOnlySpan<byte> bytes = Bytes(block);
        if (!SSTableFormat.HasValidChecksum(bytes)) throw Damaged(block, "has another checksum");
        return bytes[..^SSTableFormat.ChecksumBytes];
    }

    private ReadOnlySpan<byte> Bytes(int block)
    {
        long offset = _sparse.OffsetOf(block);
        int length = _sparse.LengthOf(block);
        if (_source.Map is { } map) return map.Slice(offset, length).Span;
        long at = offset - _bufferedStart;
        if (_bufferedLength == 0 || at < 0 || at + length > _bufferedLength)
        {
            bool isNeighbour = _bufferedLength > 0 && at == _bufferedLength;
            long end = isNeighbour ? Math.Min(offset + ReadAheadBytes, _sparse.OffsetOf(_sparse.BlockCount)) : 0;
            _bufferedLength = (int)Math.Max(length, end - offset);
            _bufferedStart = offset;
            _source.Read(offset, _bufferedLength, ref _scratch);
            at = 0;
        }

        return _scratch!.Span.Slice((int)at, length);
    }

    private readonly CorruptFileException Damaged(int block, string what) =>
        _source.Corrupt(_sparse.OffsetOf(block), $"index block {block} {what}");
}
