using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>One call of <see cref="MemTable.Append"/> on its way through the stripes.</summary>
internal ref struct AppendRequest
{
    /// <summary>All samples of the request.</summary>
    public ReadOnlySpan<Sample> Samples;

    /// <summary>For each sample what became of it; empty if nobody asks.</summary>
    public Span<AppendOutcome> Outcomes;

    /// <summary>Where winners are logged again; null while replaying.</summary>
    public IWinnerLog? Winners;

    /// <summary>Sequence of the request's record.</summary>
    public ulong Sequence;

    /// <summary>The caller's counts.</summary>
    public ref AppendCounts Counts;
}

/// <summary>A part of a MemTable's series behind one lock: where a sample is found to be new, known, late or in conflict.</summary>
/// <remarks>
/// A sample above the series' newest in-order time goes into the open chunk. Any other is compared with the value that a reader
/// would see at its time (the late sample there, else the one in the chunks) and, if it differs and may win, kept as a late sample.
///
/// The winner rule (design §5.1). Law: of all logged samples of a series at one time, the one with the highest sequence has the
/// value that is visible. Then a replay in sequence order ends with the live answer. The state keeps the highest sequence that
/// touched the series, duplicates included. A replacement by a lower sequence would break the law, so it is logged again first and
/// its new sequence is the highest. A lower sequence that finds its time free, or its own value there, keeps the law as it is.
///
/// Lock: <c>_lock</c> guards everything here. <see cref="IWinnerLog"/> is called inside it, and nothing else that locks.
/// The three totals are written inside it and read without. What is handed out is immutable: sealed chunks, or copies.
/// </remarks>
internal sealed unsafe partial class MemTableStripe : IDisposable
{
    private readonly Lock _lock = new();
    private readonly StripeLayout _layout;
    private readonly uint _index;
    // Beyond so many windows nobody asks any more which ones: 40 KB a stripe at most.
    private const int MaxWindows = 1024;

    private readonly long _windowMs;
    private readonly HashSet<long> _windowEnds = [];
    private readonly bool _rejectConflicts;
    private readonly ChunkSlab _slab;
    private readonly SeriesSlots<SeriesState> _series;
    private bool _freed;
    private long _samples;
    private long _lastWindowEndMs = long.MinValue;
    private long _lastWindowStartMs = long.MaxValue;
    private long _minTimeMs = long.MaxValue;
    private long _maxTimeMs = long.MinValue;

    public MemTableStripe(uint index, StripeLayout layout, in MemTableOptions options, ByteCounter reserved)
    {
        _index = index;
        _layout = layout;
        _windowMs = options.WindowMs;
        _rejectConflicts = options.RejectConflicts;
        _slab = new ChunkSlab(reserved);
        _series = new SeriesSlots<SeriesState>(_slab);
    }

    /// <summary>Instants at which some series has a value, summed over the series.</summary>
    public long SampleCount => Volatile.Read(ref _samples);

    /// <summary>Series with a sample.</summary>
    public int SeriesCount => _series.Count + Volatile.Read(ref _onlyHistograms);

    /// <summary>Oldest sample, ms; <see cref="long.MaxValue"/> while empty.</summary>
    public long MinTimeMs => Volatile.Read(ref _minTimeMs);

    /// <summary>Newest sample, ms; <see cref="long.MinValue"/> while empty.</summary>
    public long MaxTimeMs => Volatile.Read(ref _maxTimeMs);

    /// <summary>Adds the ends of the windows that some sample is in, ms.</summary>
    /// <returns>False if they are too many to be kept.</returns>
    public bool TryAddWindowEnds(HashSet<long> output)
    {
        lock (_lock)
        {
            output.UnionWith(_windowEnds);
            return _windowEnds.Count <= MaxWindows;
        }
    }

    /// <summary>Appends a run of series that are all of this stripe, or to be skipped.</summary>
    /// <param name="run">The series.</param>
    /// <param name="states">What <see cref="BringStatesNear"/> found.</param>
    /// <param name="request">The request.</param>
    public void Append(ReadOnlySpan<ResolvedSeries> run, scoped ReadOnlySpan<nint> states, ref AppendRequest request)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            for (int i = 0; i < run.Length; i++)
            {
                if (run[i].Ordinal != ResolvedSeries.Skip) AppendSeries(in run[i], (SeriesState*)states[i], ref request);
            }
        }
    }

    /// <summary>Finds the states of a run that will be appended soon and has the processor fetch them. Takes no lock; the caller holds a reference.</summary>
    /// <remarks>
    /// With <see cref="BringChunksNear"/> one stage behind it, and the append another, the cache misses of a run are waited for while the runs before
    /// it are worked on. What is found without the lock stays right, for a state neither moves nor goes before the slab does; what is not found may be there all
    /// the same. What stands in a state is a hint that may be stale, and never outside memory of this stripe: an address that was a chunk's is only
    /// prefetched, not read.
    /// </remarks>
    /// <param name="run">The series.</param>
    /// <param name="states">For each the address of its state, or 0.</param>
    public void BringStatesNear(ReadOnlySpan<ResolvedSeries> run, Span<nint> states)
    {
        if (Volatile.Read(ref _freed))
        {
            states.Clear();
            return;
        }

        for (int i = 0; i < run.Length; i++)
        {
            SeriesState* state = run[i].Ordinal == ResolvedSeries.Skip ? null : _series.Guess(_layout.LocalOf(run[i].Ordinal));
            states[i] = (nint)state;
            Prefetch.Near(state);
            Prefetch.Near((byte*)state + sizeof(SeriesState) / 2);
        }
    }

    /// <summary>Has the processor fetch the open chunks of a run whose states are near, where a sample is appended.</summary>
    /// <param name="states">What <see cref="BringStatesNear"/> found.</param>
    public void BringChunksNear(ReadOnlySpan<nint> states)
    {
        if (Volatile.Read(ref _freed)) return;
        foreach (nint found in states)
        {
            var state = (SeriesState*)found;
            if (state != null) OpenChunk.PrefetchEnd(state);
        }
    }

    /// <summary>As <see cref="MemTable.Collect"/>, except that late samples come back as they are.</summary>
    /// <returns>Late samples inside the range, to be encoded outside the lock and disposed; null if there are none.</returns>
    public PooledBuffer? Collect(uint ordinal, TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output, out bool ascending)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            ascending = true;
            SeriesState* state = _series.Find(_layout.LocalOf(ordinal));
            if (state == null || range.IsEmpty) return null;
            SealedChunk.Collect(state->NewestSealed, range, rank, output);
            CollectOpen(state, range, rank, arena, output);
            return state->Late == null ? null : CopyLate(state->Late, range, out ascending);
        }
    }

    /// <summary>The value that a reader sees at exactly that time.</summary>
    public bool TryFind(uint ordinal, long timeMs, out ulong valueBits)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            SeriesState* state = _series.Find(_layout.LocalOf(ordinal));
            valueBits = 0;
            return state != null && TryFind(state, timeMs, out valueBits, out _);
        }
    }

    /// <summary>True if the series has a sample.</summary>
    public bool Contains(uint ordinal)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            uint local = _layout.LocalOf(ordinal);
            return _series.Find(local) != null || HistogramsOf(local) != null;
        }
    }

    /// <summary>True if the series has a sample within a window.</summary>
    public bool Contains(uint ordinal, TimeRange window)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            uint local = _layout.LocalOf(ordinal);
            if (window.IsEmpty) return false;
            if (StripeHistograms.Any(HistogramsOf(local), window)) return true;
            SeriesState* state = _series.Find(local);
            if (state == null) return false;
            var open = new TimeRange(OpenChunk.FirstTimeOf(state), state->Builder.LastTimeMs);
            if (window.Overlaps(open) || (state->Late != null && LateSamples.Any(state->Late, window))) return true;
            return SealedChunk.Any(state->NewestSealed, window);
        }
    }

    /// <summary>Time of a series' newest sample, ms; <see cref="long.MinValue"/> if it has none.</summary>
    public long NewestTimeMs(uint ordinal)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            uint local = _layout.LocalOf(ordinal);
            SeriesState* state = _series.Find(local);
            HistogramState* histograms = HistogramsOf(local);
            return Math.Max( // what came late is older
                state == null ? long.MinValue : state->Builder.LastTimeMs,
                histograms == null ? long.MinValue : histograms->LastTimeMs);
        }
    }

    /// <summary>Names all series with a sample, in no useful order; under the lock.</summary>
    public void ForEachSeries(Action<uint> visit)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            _series.ForEach(local => visit(_layout.OrdinalOf(_index, local)));
            ForEachWithoutFloats(visit);
        }
    }

    /// <summary>Gives all memory back. Every later call throws.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _freed = true;
            _slab.Dispose();
        }
    }

    private void AppendSeries(in ResolvedSeries series, SeriesState* state, ref AppendRequest request)
    {
        ReadOnlySpan<Sample> samples = request.Samples.Slice(series.FirstSample, series.SampleCount);
        uint local = _layout.LocalOf(series.Ordinal);
        if (HistogramsOf(local) != null)
        {
            AppendBesideHistograms(in series, local, samples, ref request);
            return;
        }

        if (state == null) state = _series.Find(local);
        for (int i = 0; i < samples.Length; i++)
        {
            Sample sample = samples[i];
            AppendOutcome outcome;
            if (state == null)
            {
                state = AddSeries(local, sample, request.Sequence);
                outcome = AppendOutcome.Stored;
            }
            else if (sample.TimeMs > state->Builder.LastTimeMs)
            {
                AppendInOrder(state, sample, request.Sequence);
                outcome = AppendOutcome.Stored;
            }
            else
            {
                outcome = AppendLate(state, series.Ordinal, sample, ref request);
            }

            if (!request.Outcomes.IsEmpty) request.Outcomes[series.FirstSample + i] = outcome;
            Count(outcome, sample.TimeMs, ref request.Counts);
        }
    }

    private SeriesState* AddSeries(uint local, Sample sample, ulong sequence)
    {
        SeriesState* state = _series.Prepare(local);
        NoteWindow(TimeWindow.EndOf(sample.TimeMs, _windowMs));
        OpenChunk.Append(state, _slab, sample.TimeMs, sample.ValueBits);
        state->Sequence = sequence;
        _series.Publish(local);
        return state;
    }

    private void AppendInOrder(SeriesState* state, Sample sample, ulong sequence)
    {
        if (state->Builder.Count >= MemTable.SamplesPerChunk || LeavesWindow(state->Builder.LastTimeMs, sample.TimeMs)) Seal(state, sample.TimeMs);
        OpenChunk.Append(state, _slab, sample.TimeMs, sample.ValueBits);
        state->Sequence = Math.Max(state->Sequence, sequence);
    }

    /// <summary>Ends the open chunk and begins one for a sample at <paramref name="nextTimeMs"/>, which the caller appends.</summary>
    private void Seal(SeriesState* state, long nextTimeMs)
    {
        // The copy first: if memory runs out, the series is as it was.
        Span<byte> data = stackalloc byte[state->Builder.ByteLength];
        OpenChunk.CopyTo(state, data);
        state->NewestSealed = SealedChunk.Push(
            state->NewestSealed, data, ChunkEncoding.Xor, OpenChunk.FirstTimeOf(state), state->Builder.LastTimeMs, _slab);
        OpenChunk.Begin(state, _slab);
        NoteWindow(TimeWindow.EndOf(nextTimeMs, _windowMs));
    }

    /// <summary>True if a sample is not in the window of the one before it. Only where neither is in the window that was noted last does it take a division.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool LeavesWindow(long lastTimeMs, long timeMs) =>
        (timeMs > _lastWindowEndMs || lastTimeMs < _lastWindowStartMs) && timeMs > TimeWindow.EndOf(lastTimeMs, _windowMs);

    /// <summary>Once for each chunk and each late sample: what is appended to a chunk is in its window.</summary>
    private void NoteWindow(long endMs)
    {
        if (endMs == _lastWindowEndMs && _windowEnds.Count > 0) return;
        _lastWindowEndMs = endMs;
        _lastWindowStartMs = endMs - _windowMs + 1; // the first window of all time begins before it: its start wraps, and is then never believed; the last one is centuries beyond max_future
        if (_windowEnds.Count <= MaxWindows) _windowEnds.Add(endMs);
    }

    private AppendOutcome AppendLate(SeriesState* state, uint ordinal, Sample sample, ref AppendRequest request)
    {
        ulong sequence = request.Sequence;
        bool known = TryFind(state, sample.TimeMs, out ulong existingBits, out Sample* late);
        if (known && existingBits == sample.ValueBits)
        {
            state->Sequence = Math.Max(state->Sequence, sequence);
            return AppendOutcome.Duplicate;
        }

        if (known)
        {
            if (_rejectConflicts) return AppendOutcome.Conflict;
            if (sequence < state->Sequence && request.Winners is not null) sequence = request.Winners.LogWinner(ordinal, sample);
        }

        if (late != null) *late = sample;
        else
        {
            state->Late = LateSamples.Add(state->Late, _slab, sample);
            NoteWindow(TimeWindow.EndOf(sample.TimeMs, _windowMs));
        }

        state->Sequence = Math.Max(state->Sequence, sequence);
        if (known) return AppendOutcome.Replaced;
        request.Counts.OutOfOrder++;
        return AppendOutcome.Stored;
    }

    /// <summary>The value visible at a time, and the late sample that gives it, if it is one.</summary>
    private static bool TryFind(SeriesState* state, long timeMs, out ulong valueBits, out Sample* late)
    {
        late = LateSamples.Find(state->Late, timeMs);
        if (late != null)
        {
            valueBits = late->ValueBits;
            return true;
        }

        valueBits = state->Builder.LastValueBits;
        if (timeMs == state->Builder.LastTimeMs) return true;
        if (timeMs > state->Builder.LastTimeMs) return false;
        if (timeMs >= OpenChunk.FirstTimeOf(state))
        {
            Span<byte> data = stackalloc byte[state->Builder.ByteLength];
            OpenChunk.CopyTo(state, data);
            return SealedChunk.TryFindValue(data, timeMs, out valueBits);
        }

        SealedChunk* chunk = SealedChunk.FindNewest(state->NewestSealed, timeMs);
        if (chunk == null || chunk->MaxTimeMs < timeMs) return false;
        return SealedChunk.TryFindValue(SealedChunk.DataOf(chunk).Span, timeMs, out valueBits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Count(AppendOutcome outcome, long timeMs, ref AppendCounts counts)
    {
        switch (outcome)
        {
            case AppendOutcome.Stored:
                counts.Stored++;
                _samples++;
                if (timeMs < _minTimeMs) _minTimeMs = timeMs;
                if (timeMs > _maxTimeMs) _maxTimeMs = timeMs;
                break;
            case AppendOutcome.Duplicate:
                counts.Duplicates++;
                break;
            case AppendOutcome.Replaced or AppendOutcome.Overruled:
                counts.Replaced++;
                break;
            default:
                counts.Conflicts++;
                break;
        }
    }

    private static void CollectOpen(SeriesState* state, TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output)
    {
        long minTimeMs = OpenChunk.FirstTimeOf(state);
        long maxTimeMs = state->Builder.LastTimeMs;
        if (!range.Overlaps(new TimeRange(minTimeMs, maxTimeMs))) return;
        NativeBytes copy = arena.Allocate(state->Builder.ByteLength);
        OpenChunk.CopyTo(state, copy.Span);
        output.Add(new SeriesChunk(minTimeMs, maxTimeMs, ChunkEncoding.Xor, copy, rank));
    }

    private static PooledBuffer? CopyLate(LateSamples* late, TimeRange range, out bool ascending)
    {
        ascending = true;
        int most = LateSamples.CountUpTo(late, range);
        if (most == 0) return null;
        int bytes = most * sizeof(Sample);
        PooledBuffer buffer = PooledBuffer.Rent(bytes, bytes);
        int copied = LateSamples.CopyTo(late, range, MemoryMarshal.Cast<byte, Sample>(buffer.Span), out ascending);
        buffer.SetLength(copied * sizeof(Sample));
        return buffer;
    }

    private void ThrowIfFreed() => ObjectDisposedException.ThrowIf(_freed, typeof(MemTable));
}
