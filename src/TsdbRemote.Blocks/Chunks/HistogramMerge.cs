using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>
/// The part of <see cref="ChunkMerge"/> that a group with histograms takes: chunks of histograms side by side, and between them the floats.
/// </summary>
/// <remarks>
/// <code>
///   floats (merged)      f   f         f        →  XOR (f f)   Histogram (h h)   XOR (f)   FloatHistogram (g)
///   chunk 1, rank 1            h   h                a chunk ends where the kind of samples changes
///   chunk 2, rank 2                h'  h (gave way to f)   g
/// </code>
/// Memory:  the chunks that overlap at one instant are open, each with one sample; nothing else is decoded ahead.
/// Headers: of a run that is encoded anew nothing is said of what came before it; inside it the builder compares. A chunk whose header told
/// of a reset is not joined to what is before it, for a reset that its sender named need not show in the counts.
/// </remarks>
internal ref struct HistogramMerge
{
    private readonly HistogramScratch _scratch;
    private readonly MergeTarget _target;
    private ReadOnlySpan<Sample> _floats;
    private ReadOnlySpan<SeriesChunk> _waiting;
    private MergeCounts _counts;

    private HistogramMerge(HistogramScratch scratch, ReadOnlySpan<SeriesChunk> chunks, ReadOnlySpan<Sample> floats, in MergeTarget target)
    {
        _scratch = scratch;
        _waiting = chunks;
        _floats = floats;
        _target = target;
    }

    /// <summary>Merges.</summary>
    /// <param name="chunks">Chunks of histograms by their start; one at least.</param>
    /// <param name="floats">The floats among them, merged and cut to the range.</param>
    /// <param name="target">Where the result goes, with the rank of the floats.</param>
    /// <returns>How many histograms inside the range gave way to another version, or to a float.</returns>
    /// <exception cref="CorruptChunkException">A chunk is none, or does not span the times that its source says.</exception>
    public static MergeCounts Merge(ReadOnlySpan<SeriesChunk> chunks, ReadOnlySpan<Sample> floats, MergeTarget target)
    {
        foreach (ref readonly SeriesChunk chunk in chunks) target = target with { Rank = Math.Max(target.Rank, chunk.Rank) };
        HistogramScratch scratch = HistogramScratch.Rent();
        try
        {
            scratch.Encoder.Begin(target, isPart: chunks.Length == 1);
            var merge = new HistogramMerge(scratch, chunks, floats, target);
            while (merge.TryNextTime(out long timeMs)) merge.MergeAt(timeMs);
            scratch.Encoder.End();
            merge.EncodeFloats(merge._floats.Length);
            return merge._counts;
        }
        finally
        {
            scratch.Return();
        }
    }

    /// <summary>The earliest instant at which a histogram is left; all chunks that hold it are active then, and stand at it.</summary>
    private bool TryNextTime(out long timeMs)
    {
        timeMs = long.MaxValue;
        foreach (HistogramCursor cursor in _scratch.Active) timeMs = Math.Min(timeMs, cursor.TimeMs);
        while (!_waiting.IsEmpty && (_scratch.Active.Count == 0 || _waiting[0].MinTimeMs <= timeMs))
        {
            HistogramCursor cursor = _scratch.Open(_waiting[0]);
            cursor.MoveNext();
            timeMs = Math.Min(timeMs, cursor.TimeMs);
            _waiting = _waiting[1..];
        }

        return _scratch.Active.Count > 0;
    }

    private void MergeAt(long timeMs)
    {
        if (_target.Range.Contains(timeMs)) Emit(timeMs);
        for (int i = _scratch.Active.Count - 1; i >= 0; i--)
        {
            HistogramCursor cursor = _scratch.Active[i];
            if (cursor.TimeMs == timeMs && !cursor.MoveNext()) _scratch.Close(i);
        }
    }

    private void Emit(long timeMs)
    {
        int floats = 0;
        while (floats < _floats.Length && _floats[floats].TimeMs < timeMs) floats++;
        if (floats > 0) EncodeFloats(floats);
        bool isFloat = !_floats.IsEmpty && _floats[0].TimeMs == timeMs;
        HistogramCursor? winner = isFloat ? null : WinnerAt(timeMs);
        foreach (HistogramCursor cursor in _scratch.Active)
        {
            if (cursor.TimeMs != timeMs || cursor == winner) continue;
            bool isSame = winner is not null && winner.Histogram.SaysTheSameAs(cursor.Histogram);
            _counts += isSame ? new MergeCounts(1, 0) : new MergeCounts(0, 1);
        }

        if (winner is null) return;
        if (winner is { IsAtFirst: true, Flags: HistogramChunkFlags.Reset }) _scratch.Encoder.End();
        _scratch.Encoder.Append(timeMs, winner.Histogram);
    }

    private readonly HistogramCursor? WinnerAt(long timeMs)
    {
        HistogramCursor? winner = null;
        foreach (HistogramCursor cursor in _scratch.Active)
        {
            if (cursor.TimeMs == timeMs && (winner is null || ChunkMerge.CompareVersions(cursor.Chunk, winner.Chunk) > 0)) winner = cursor;
        }

        return winner;
    }

    /// <summary>Encodes the next floats as chunks of their own.</summary>
    private void EncodeFloats(int count)
    {
        if (count == 0) return;
        _scratch.Encoder.End();
        ChunkMerge.Encode(_floats[..count], _target.WindowMs, _target.Rank, _target.Arena, _target.Output, _target.MaxSamples);
        _floats = _floats[count..];
    }
}
