using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>One histogram on its way into a stripe.</summary>
internal ref struct HistogramRequest
{
    /// <summary>Where winners are logged again; null while replaying.</summary>
    public IWinnerLog? Winners;

    /// <summary>Sequence of the request's record.</summary>
    public ulong Sequence;

    /// <summary>The caller's counts.</summary>
    public ref AppendCounts Counts;
}

/// <summary>The histograms of a stripe's series: the lane beside the floats, by the same rules.</summary>
/// <remarks>
/// A histogram above the series' newest goes into the open chunk; any other is compared with the one at its time and, if it differs and may win, kept apart. The
/// winner rule is that of <see cref="MemTableStripe"/>, with a sequence of the lane's own.
/// One builder serves all series: it is loaded from the series' block, takes the histogram and is stored back, so that the garbage collector knows of no
/// series. What is handed out, sealed chunks and late ones, is never changed or freed before the MemTable is.
/// Not here: that a float at the same time wins (<see cref="MemTableStripe"/>). Everything under the stripe's lock.
/// </remarks>
internal sealed unsafe class StripeHistograms(ChunkSlab slab, long windowMs, bool rejectConflicts)
{
    private const int CacheLine = 64;

    // A chunk that is nearly full, with its lanes.
    private const int FetchedBytes = 2 << 10;

    private readonly SeriesSlots<HistogramState> _series = new(slab);
    private readonly HistogramChunkBuilder _builder = new(windowMs);
    private readonly HistogramReadBuffer _buffer = new();

    /// <summary>The histograms of a series, or null.</summary>
    public HistogramState* Find(uint local) => _series.Find(local);

    /// <summary>Names the local numbers of all series here, ascending.</summary>
    public void ForEach(Action<uint> visit) => _series.ForEach(visit);

    /// <summary>Has the processor fetch the state of a series. Without the lock: see <see cref="MemTableStripe.BringStatesNear"/>.</summary>
    public void BringStateNear(uint local) => Prefetch.Near(_series.Guess(local));

    /// <summary>Has the processor fetch the block of a series whose state is near; what stands there is a hint, never read.</summary>
    public void BringChunkNear(uint local)
    {
        HistogramState* state = _series.Guess(local);
        if (state == null) return;
        byte* block = state->Open;
        int bytes = Math.Min(state->StateBytes, FetchedBytes);
        for (int at = 0; at < bytes; at += CacheLine) Prefetch.Near(block + at);
    }

    /// <summary>Appends a histogram whose time no float holds.</summary>
    public AppendOutcome Append(uint local, in ResolvedHistogram given, NativeHistogram histogram, ref HistogramRequest request)
    {
        HistogramState* state = _series.Find(local);
        if (state == null)
        {
            AddSeries(local, given.TimeMs, histogram, request.Sequence);
            return AppendOutcome.Stored;
        }

        if (given.TimeMs <= state->LastTimeMs) return AppendLate(state, in given, histogram, ref request);
        AppendInOrder(state, given.TimeMs, histogram);
        state->Sequence = Math.Max(state->Sequence, request.Sequence);
        return AppendOutcome.Stored;
    }

    /// <summary>Finds the histogram at exactly a time.</summary>
    /// <param name="state">The series, or null.</param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="found">The histogram, valid until the next call of any method; null if there is none.</param>
    public bool TryFind(HistogramState* state, long timeMs, out NativeHistogram? found) => TryFind(state, timeMs, out found, out _);

    /// <summary>True if the series has a histogram within a window, whose bounds no chunk crosses.</summary>
    public static bool Any(HistogramState* state, TimeRange window)
    {
        if (state == null) return false;
        if (window.Overlaps(new TimeRange(state->FirstTimeMs, state->LastTimeMs))) return true;
        return (state->Late != null && LateSamples.Any(state->Late, window)) || SealedChunk.Any(state->NewestSealed, window);
    }

    /// <summary>Appends the chunks that grew in order and overlap a range, ascending; the open one as a copy.</summary>
    public static void Collect(HistogramState* state, TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output)
    {
        SealedChunk.Collect(state->NewestSealed, range, rank, output);
        if (!range.Overlaps(new TimeRange(state->FirstTimeMs, state->LastTimeMs))) return;
        NativeBytes copy = arena.Allocate(state->ChunkBytes);
        state->OpenChunk.CopyTo(copy.Span);
        output.Add(new SeriesChunk(state->FirstTimeMs, state->LastTimeMs, state->Encoding, copy, rank));
    }

    private void AddSeries(uint local, long timeMs, NativeHistogram histogram, ulong sequence)
    {
        HistogramState* state = _series.Prepare(local);
        _builder.Reset();
        TakeFirst(timeMs, histogram);
        Park(state);
        state->Sequence = sequence;
        _series.Publish(local);
    }

    private void AppendInOrder(HistogramState* state, long timeMs, NativeHistogram histogram)
    {
        _builder.LoadState(new ReadOnlySpan<byte>(state->Open, state->StateBytes));
        if (_builder.TryAppend(timeMs, histogram))
        {
            Park(state);
            return;
        }

        // Blocks before changes: if memory runs out, the series is as it was.
        SealedChunk* full = SealedChunk.Push(state->NewestSealed, state->OpenChunk, state->Encoding, state->FirstTimeMs, state->LastTimeMs, slab);
        _builder.StartNext();
        TakeFirst(timeMs, histogram);
        Park(state);
        state->NewestSealed = full;
    }

    private AppendOutcome AppendLate(HistogramState* state, in ResolvedHistogram given, NativeHistogram histogram, ref HistogramRequest request)
    {
        ulong sequence = request.Sequence;
        bool isKnown = TryFind(state, given.TimeMs, out NativeHistogram? existing, out Sample* late);
        if (isKnown && histogram.SaysTheSameAs(existing!))
        {
            state->Sequence = Math.Max(state->Sequence, sequence);
            return AppendOutcome.Duplicate;
        }

        if (isKnown)
        {
            if (rejectConflicts) return AppendOutcome.Conflict;
            if (sequence < state->Sequence && request.Winners is not null) sequence = request.Winners.LogWinner(given.Ordinal, given.Index);
        }

        var sample = new Sample(given.TimeMs, (ulong)MakeSingle(given.TimeMs, histogram));
        if (late != null) *late = sample;
        else state->Late = LateSamples.Add(state->Late, slab, sample);
        state->Sequence = Math.Max(state->Sequence, sequence);
        if (isKnown) return AppendOutcome.Replaced;
        request.Counts.OutOfOrder++;
        return AppendOutcome.Stored;
    }

    /// <summary>A chunk with this histogram only.</summary>
    private SealedChunk* MakeSingle(long timeMs, NativeHistogram histogram)
    {
        _builder.Reset();
        TakeFirst(timeMs, histogram);
        return SealedChunk.Push(null, _builder.Bytes, _builder.Encoding, timeMs, timeMs, slab);
    }

    private void TakeFirst(long timeMs, NativeHistogram histogram)
    {
        bool taken = _builder.TryAppend(timeMs, histogram);
        Invariant.Check(taken, "an empty chunk takes any histogram");
    }

    /// <summary>Stores the builder in the series' block, or in another if that is too small, or far too large since the last chunk was sealed.</summary>
    private void Park(HistogramState* state)
    {
        int bytes = _builder.StateBytes;
        int wanted = bytes + Math.Max(_builder.ByteLength / 2, ChunkSlab.Grain);
        if (state->BlockBytes < bytes || state->BlockBytes > 2 * wanted)
        {
            byte* block = slab.Allocate(wanted, out int blockBytes);
            if (state->Open != null) slab.Free(state->Open, state->BlockBytes);
            state->Open = block;
            state->BlockBytes = blockBytes;
        }

        _builder.SaveState(new Span<byte>(state->Open, state->BlockBytes));
        (state->StateBytes, state->ChunkBytes, state->Encoding) = (bytes, _builder.ByteLength, _builder.Encoding);
        (state->FirstTimeMs, state->LastTimeMs) = (_builder.FirstTimeMs, _builder.LastTimeMs);
    }

    private bool TryFind(HistogramState* state, long timeMs, out NativeHistogram? found, out Sample* late)
    {
        found = null;
        late = null;
        if (state == null || timeMs > state->LastTimeMs) return false;
        late = LateSamples.Find(state->Late, timeMs);
        if (late != null) return TryFindIn(SealedChunk.Offer((SealedChunk*)late->ValueBits, 0), timeMs, out found);
        if (timeMs >= state->FirstTimeMs) return TryFindIn(state->OpenChunk, state->Encoding, timeMs, out found);
        SealedChunk* chunk = SealedChunk.FindNewest(state->NewestSealed, timeMs);
        return chunk != null && chunk->MaxTimeMs >= timeMs && TryFindIn(SealedChunk.Offer(chunk, 0), timeMs, out found);
    }

    private bool TryFindIn(in SeriesChunk chunk, long timeMs, out NativeHistogram? found) =>
        TryFindIn(chunk.Data.Span, chunk.Encoding, timeMs, out found);

    private bool TryFindIn(ReadOnlySpan<byte> chunk, ChunkEncoding encoding, long timeMs, out NativeHistogram? found)
    {
        found = null;
        var reader = new HistogramChunkReader(chunk, encoding, _buffer);
        while (reader.MoveNext())
        {
            if (reader.TimeMs < timeMs) continue;
            if (reader.TimeMs > timeMs) return false;
            found = reader.Histogram;
            return true;
        }

        Invariant.Check(!reader.IsCorrupt, "a chunk of our own can be read");
        return false;
    }
}
