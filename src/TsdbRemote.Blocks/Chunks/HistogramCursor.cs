using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>A <see cref="HistogramChunkReader"/> that can stand still, so that many chunks are read side by side. Not thread-safe.</summary>
/// <remarks>Use: <see cref="Open"/>, then <c>while (cursor.MoveNext())</c>. Serves one chunk after the other; memory is kept.</remarks>
internal sealed class HistogramCursor
{
    private readonly HistogramReadBuffer _buffer = new();
    private SeriesChunk _chunk;
    private HistogramReadState _state;

    /// <summary>The chunk.</summary>
    public ref readonly SeriesChunk Chunk => ref _chunk;

    /// <summary>Time of the current sample, ms.</summary>
    public long TimeMs => _state.TimeMs;

    /// <summary>The current sample; the next step overwrites it.</summary>
    public NativeHistogram Histogram => _buffer.Current;

    /// <summary>What the chunk's header says.</summary>
    public HistogramChunkFlags Flags { get; private set; }

    /// <summary>True at the chunk's first sample.</summary>
    public bool IsAtFirst => _state.Read == 1;

    /// <summary>Numbers that there is room for.</summary>
    public int Lanes => _buffer.Lanes.Length;

    /// <summary>Starts before the first sample.</summary>
    /// <exception cref="CorruptChunkException">The bytes do not begin as a histogram chunk.</exception>
    public void Open(in SeriesChunk chunk)
    {
        _chunk = chunk;
        var reader = new HistogramChunkReader(chunk.Data.Span, chunk.Encoding, _buffer);
        reader.ThrowIfCorrupt(chunk);
        Flags = reader.Flags;
        _state = reader.State;
    }

    /// <summary>Steps to the next sample.</summary>
    /// <exception cref="CorruptChunkException">The bytes are no chunk, or do not span the times that their source says.</exception>
    public bool MoveNext()
    {
        var reader = new HistogramChunkReader(_chunk.Data.Span, _chunk.Encoding, _buffer, _state);
        bool moved = reader.MoveNext();
        if (!moved) reader.ThrowIfCorrupt(_chunk);
        else if (reader.TimeMs > _chunk.MaxTimeMs || reader.State.FirstTimeMs != _chunk.MinTimeMs)
            CorruptChunkException.Throw(_chunk, $"it holds a sample of {reader.TimeMs} ms");
        _state = reader.State;
        return moved;
    }
}
