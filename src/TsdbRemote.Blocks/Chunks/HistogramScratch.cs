namespace TsdbRemote.Blocks.Chunks;

/// <summary>What decoding and encoding of histograms works in. Kept with each thread, for it is much to make for each series.</summary>
/// <remarks>Use: <see cref="Rent"/>, then <see cref="Return"/> whatever happened. Bounded: what one odd series made large is let go.</remarks>
internal sealed class HistogramScratch
{
    private const int MaxCursorsKept = 32;
    private const int MaxLanesKept = 1 << 13;
    private const int MaxBytesKept = 1 << 20;

    [ThreadStatic]
    private static HistogramScratch? _idle;

    private readonly Stack<HistogramCursor> _free = [];
    private bool _isLarge;

    /// <summary>Makes chunks.</summary>
    public HistogramRunEncoder Encoder { get; } = new();

    /// <summary>Chunks that are being read, in no order.</summary>
    public List<HistogramCursor> Active { get; } = [];

    /// <summary>Takes one that nobody else uses until it is returned.</summary>
    public static HistogramScratch Rent()
    {
        HistogramScratch scratch = _idle ?? new HistogramScratch();
        _idle = null;
        return scratch;
    }

    /// <summary>Begins to read a chunk; the cursor is active until <see cref="Close"/>.</summary>
    /// <exception cref="CorruptChunkException">The bytes do not begin as a histogram chunk.</exception>
    public HistogramCursor Open(in SeriesChunk chunk)
    {
        HistogramCursor cursor = _free.TryPop(out HistogramCursor? free) ? free : new HistogramCursor();
        Active.Add(cursor);
        cursor.Open(chunk);
        return cursor;
    }

    /// <summary>Ends the reading of an active chunk; the last active one takes its place.</summary>
    public void Close(int index)
    {
        HistogramCursor cursor = Active[index];
        Active[index] = Active[^1];
        Active.RemoveAt(Active.Count - 1);
        if (cursor.Lanes > MaxLanesKept) _isLarge = true;
        else if (_free.Count < MaxCursorsKept) _free.Push(cursor);
    }

    /// <summary>Gives it back.</summary>
    public void Return()
    {
        while (Active.Count > 0) Close(Active.Count - 1);
        Encoder.Release();
        if (!_isLarge && Encoder.Capacity <= MaxBytesKept) _idle = this;
    }
}
