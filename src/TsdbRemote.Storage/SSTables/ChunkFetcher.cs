using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Brings the bytes of chunks named in the order of the file, checks them, and hands them to a sink in the same order.</summary>
/// <remarks>
/// Out of a map each chunk is handed on at once, where it lies. Otherwise chunks that lie close together are read with one call, and those
/// asked for are copied into the arena: what lies between them would else stay in memory as long as they do.
/// Use: <see cref="Add"/> by ascending offset, then <see cref="Flush"/>. Not thread-safe.
/// </remarks>
internal sealed class ChunkFetcher : IDisposable
{
    // Reading on over a gap of this length costs less than another call to the disk.
    private const int MaxGapBytes = 16 << 10;

    private readonly FileSource _source;
    private readonly long _rank;
    private readonly NativeArena _arena;
    private readonly ISeriesChunkSink _sink;
    private readonly int _readBufferBytes;
    private readonly List<(int IdIndex, IndexedChunk Chunk)> _pending = [];
    private PooledBuffer? _scratch;
    private long _lastEnd;

    /// <summary>Prepares to fetch.</summary>
    public ChunkFetcher(FileSource source, long rank, NativeArena arena, ISeriesChunkSink sink, int readBufferBytes)
    {
        _source = source;
        _rank = rank;
        _arena = arena;
        _sink = sink;
        _readBufferBytes = readBufferBytes;
    }

    /// <summary>Asks for a chunk that lies inside the file.</summary>
    /// <exception cref="CorruptFileException">It lies before the end of the last one: index blocks that verify may still name any offsets.</exception>
    public void Add(int idIndex, in IndexedChunk chunk)
    {
        if (chunk.Offset < _lastEnd) throw _source.Corrupt(chunk.Offset, $"the index names a chunk here and one before it that ends at {_lastEnd}");
        _lastEnd = chunk.End;
        if (chunk.RecordBytes > Array.MaxLength) throw _source.Corrupt(chunk.Offset, $"a chunk of {chunk.Length} bytes is too long");
        if (_source.Map is { } map)
        {
            NativeBytes record = map.Slice(chunk.Offset, (int)chunk.RecordBytes);
            if (Check(idIndex, chunk, record.Span, out ChunkEncoding encoding))
                Deliver(idIndex, chunk, encoding, record.Slice(ChunkRecord.PrefixOf(chunk.Length), chunk.Length));
            return;
        }

        if (_pending.Count > 0)
        {
            bool isClose = chunk.Offset - _pending[^1].Chunk.End <= MaxGapBytes;
            if (!isClose || chunk.End - _pending[0].Chunk.Offset > _readBufferBytes) Flush();
        }

        _pending.Add((idIndex, chunk));
    }

    /// <summary>Reads and hands on what is still pending.</summary>
    public void Flush()
    {
        if (_pending.Count == 0) return;
        long start = _pending[0].Chunk.Offset;
        ReadOnlySpan<byte> run = _source.Read(start, (int)(_pending[^1].Chunk.End - start), ref _scratch);
        foreach ((int idIndex, IndexedChunk chunk) in _pending)
        {
            ReadOnlySpan<byte> record = run.Slice((int)(chunk.Offset - start), (int)chunk.RecordBytes);
            if (!Check(idIndex, chunk, record, out ChunkEncoding encoding)) continue;
            NativeBytes data = _arena.Allocate(chunk.Length);
            record.Slice(ChunkRecord.PrefixOf(chunk.Length), chunk.Length).CopyTo(data.Span);
            Deliver(idIndex, chunk, encoding, data);
        }

        _pending.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => _scratch?.Dispose();

    private bool Check(int idIndex, in IndexedChunk chunk, ReadOnlySpan<byte> record, out ChunkEncoding encoding)
    {
        string? problem = ChunkRecord.TryRead(record, chunk.Length, out encoding);
        if (problem is null) return true;
        CorruptFileException damage = _source.Corrupt(chunk.Offset, problem);
        return _sink.SkipDamaged(idIndex, damage) ? false : throw damage;
    }

    private void Deliver(int idIndex, in IndexedChunk chunk, ChunkEncoding encoding, NativeBytes data) =>
        _sink.Add(idIndex, new SeriesChunk(chunk.MinTimeMs, chunk.MaxTimeMs, encoding, data, _rank));
}
