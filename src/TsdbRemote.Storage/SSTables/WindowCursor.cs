using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Walks one window of a table front to back: each series once, by ascending id, with all its chunks.</summary>
/// <remarks>
/// Use:       <c>while (cursor.MoveNext())</c> read <see cref="SeriesId"/> and <see cref="Chunks"/>, valid until the next step.
/// How:       index and chunks of a window lie in the file in this order, so the pass is sequential. One index block is decoded at a time and its
///            chunks, about 75 KB, are fetched together and checked; a series whose chunks are all left out comes without any.
/// Memory:    one index block and, where the file is not mapped, its chunks. A series is never divided.
/// Not here:  choice of series or time (<see cref="TableScan"/>), merging. Not thread-safe; the table is held by the caller.
/// </remarks>
internal sealed class WindowCursor : ISeriesChunkSink, IDisposable
{
    private readonly FileSource _source;
    private readonly SparseIndex _sparse;
    private readonly SparseWindow _window;
    private readonly long _indexOffset;
    private readonly long _rank;
    private readonly int _readBufferBytes;
    private readonly Action<CorruptFileException> _skipDamaged;

    // Series i of the current block: _ids[i], with chunks from _starts[i] to before _starts[i + 1].
    private readonly List<ulong> _ids = [];
    private readonly List<int> _starts = [];
    private readonly List<SeriesChunk> _chunks = [];
    private NativeArena _arena = new();
    private PooledBuffer? _scratch;
    private int _nextBlock;
    private int _series = -1;
    private ulong _lastId;
    private bool _hasLastId;

    /// <summary>A cursor before the window's first series.</summary>
    /// <param name="source">The table.</param>
    /// <param name="sparse">Its sparse index.</param>
    /// <param name="window">The window's blocks; none if it does not hold it.</param>
    /// <param name="indexOffset">Where its chunk area ends.</param>
    /// <param name="rank">Goes into each chunk: how new the table is.</param>
    /// <param name="readBufferBytes">Most bytes read at once, if the file is not mapped.</param>
    /// <param name="skipDamaged">Told of each chunk that is left out because its bytes are damaged.</param>
    public WindowCursor(
        FileSource source, SparseIndex sparse, SparseWindow window, long indexOffset, long rank, int readBufferBytes, Action<CorruptFileException> skipDamaged)
    {
        _source = source;
        _sparse = sparse;
        _window = window;
        _indexOffset = indexOffset;
        _rank = rank;
        _readBufferBytes = readBufferBytes;
        _skipDamaged = skipDamaged;
        _nextBlock = window.FirstBlock;
    }

    /// <summary>Id of the current series.</summary>
    public ulong SeriesId => _ids[_series];

    /// <summary>Its chunks in time order; none if all of them are damaged.</summary>
    public ReadOnlySpan<SeriesChunk> Chunks => CollectionsMarshal.AsSpan(_chunks)[_starts[_series].._starts[_series + 1]];

    /// <summary>Bytes of index and chunks read so far.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Steps to the next series.</summary>
    /// <exception cref="CorruptFileException">An index block is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public bool MoveNext()
    {
        while (_series + 1 >= _ids.Count)
        {
            if (_nextBlock >= _window.EndBlock) return false;
            LoadBlock(_nextBlock++);
        }

        _series++;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        _scratch?.Dispose();
    }

    void ISeriesChunkSink.Add(int idIndex, in SeriesChunk chunk)
    {
        BeginSeriesUpTo(idIndex);
        _chunks.Add(chunk);
    }

    bool ISeriesChunkSink.SkipDamaged(int idIndex, CorruptFileException damage)
    {
        _skipDamaged(damage);
        return true;
    }

    private void LoadBlock(int block)
    {
        _ids.Clear();
        _starts.Clear();
        _chunks.Clear();
        _series = -1;
        if (_arena.AllocatedBytes > 0)
        {
            _arena.Dispose();
            _arena = new NativeArena();
        }

        ReadOnlySpan<byte> bytes = _source.Get(_sparse.OffsetOf(block), _sparse.LengthOf(block), ref _scratch);
        if (!SSTableFormat.HasValidChecksum(bytes)) throw Damaged(block, "has another checksum");
        BytesRead += bytes.Length;
        IndexBlockReader reader = new(bytes[..^SSTableFormat.ChecksumBytes]);
        if (reader.WindowStartMs != _window.StartMs || reader.SeriesId != _sparse.FirstIdOf(block)) throw Damaged(block, "is not the block named there");
        using ChunkFetcher fetcher = new(_source, _rank, _arena, this, _readBufferBytes);
        while (reader.MoveNextSeries())
        {
            if (_hasLastId && reader.SeriesId <= _lastId) throw Damaged(block, "reaches into the one before");
            _lastId = reader.SeriesId;
            _hasLastId = true;
            _ids.Add(reader.SeriesId);
            while (reader.MoveNextChunk(out IndexedChunk chunk))
            {
                if (chunk.Offset < SSTableFormat.HeaderBytes || chunk.End > _indexOffset)
                    throw _source.Corrupt(chunk.Offset, $"the index names a chunk of {chunk.Length} bytes outside the chunk area");
                BytesRead += chunk.RecordBytes;
                fetcher.Add(_ids.Count - 1, chunk);
            }
        }

        if (reader.IsCorrupt) throw Damaged(block, "cannot be decoded");
        fetcher.Flush();
        BeginSeriesUpTo(_ids.Count);
    }

    private void BeginSeriesUpTo(int series)
    {
        while (_starts.Count <= series) _starts.Add(_chunks.Count);
    }

    private CorruptFileException Damaged(int block, string what) => _source.Corrupt(_sparse.OffsetOf(block), $"index block {block} {what}");
}
