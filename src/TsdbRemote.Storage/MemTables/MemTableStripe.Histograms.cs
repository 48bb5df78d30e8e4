using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <content>The lane of histograms, and the rule between the lanes: at one time the float wins, whoever came first.</content>
/// <remarks>
/// So a histogram at a time that a float holds is accepted and not kept, and a float that comes upon a histogram hides it: what a reader sees does not depend
/// on the order of arrival, and a merge of any chunks gives the same. With rejected conflicts the second to come is refused.
/// </remarks>
internal sealed unsafe partial class MemTableStripe
{
    // Null until the first histogram: then floats pay a comparison for it, once for each series of a request.
    private StripeHistograms? _histograms;
    private int _onlyHistograms;
    private long _histogramSamples;

    /// <summary>Those of <see cref="SampleCount"/> that are histograms.</summary>
    public long HistogramCount => Volatile.Read(ref _histogramSamples);

    /// <summary>True once a histogram was here; cheap and without the lock.</summary>
    public bool MayHaveHistograms => Volatile.Read(ref _histograms) is not null;

    /// <summary>Appends a histogram.</summary>
    public AppendOutcome AppendHistogram(in ResolvedHistogram given, NativeHistogram histogram, ref HistogramRequest request)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            uint local = _layout.LocalOf(given.Ordinal);
            AppendOutcome outcome;
            if (_series.Find(local) is var floats && floats != null && TryFind(floats, given.TimeMs, out _, out _))
            {
                outcome = _rejectConflicts ? AppendOutcome.Conflict : AppendOutcome.Overruled;
            }
            else
            {
                StripeHistograms lane = _histograms ?? MakeLane();
                bool isNew = lane.Find(local) == null;
                outcome = lane.Append(local, in given, histogram, ref request);
                if (isNew && floats == null) _onlyHistograms++;
                NoteWindow(TimeWindow.EndOf(given.TimeMs, _windowMs));
            }

            Count(outcome, given.TimeMs, ref request.Counts);
            if (outcome == AppendOutcome.Stored) _histogramSamples++;
            return outcome;
        }
    }

    /// <summary>Has the processor fetch what the lane keeps of a series that is appended to soon. Takes no lock, as <see cref="BringStatesNear"/>.</summary>
    public void BringHistogramStateNear(uint ordinal)
    {
        if (!Volatile.Read(ref _freed)) Volatile.Read(ref _histograms)?.BringStateNear(_layout.LocalOf(ordinal));
    }

    /// <summary>Has the processor fetch the open chunk of a series whose state is near.</summary>
    public void BringHistogramChunkNear(uint ordinal)
    {
        if (!Volatile.Read(ref _freed)) Volatile.Read(ref _histograms)?.BringChunkNear(_layout.LocalOf(ordinal));
    }

    /// <summary>As <see cref="Collect"/>, of the histograms; of late ones the addresses come back.</summary>
    public PooledBuffer? CollectHistograms(uint ordinal, TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output, out bool ascending)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            ascending = true;
            HistogramState* state = HistogramsOf(_layout.LocalOf(ordinal));
            if (state == null || range.IsEmpty) return null;
            StripeHistograms.Collect(state, range, rank, arena, output);
            return state->Late == null ? null : CopyLate(state->Late, range, out ascending);
        }
    }

    /// <summary>Copies the histogram that a reader sees at exactly that time.</summary>
    public bool TryFindHistogram(uint ordinal, long timeMs, NativeHistogram into)
    {
        lock (_lock)
        {
            ThrowIfFreed();
            uint local = _layout.LocalOf(ordinal);
            SeriesState* floats = _series.Find(local);
            if (_histograms is null || (floats != null && TryFind(floats, timeMs, out _, out _))) return false;
            if (!_histograms.TryFind(_histograms.Find(local), timeMs, out NativeHistogram? found) || found is null) return false;
            into.CopyFrom(found);
            return true;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private HistogramState* HistogramsOf(uint local) => _histograms is null ? null : _histograms.Find(local);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private StripeHistograms MakeLane()
    {
        var lane = new StripeHistograms(_slab, _windowMs, _rejectConflicts);
        Volatile.Write(ref _histograms, lane);
        return lane;
    }

    /// <summary>Appends floats of a series that has histograms.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void AppendBesideHistograms(in ResolvedSeries series, uint local, ReadOnlySpan<Sample> samples, ref AppendRequest request)
    {
        StripeHistograms lane = _histograms!;
        SeriesState* state = _series.Find(local);
        for (int i = 0; i < samples.Length; i++)
        {
            Sample sample = samples[i];
            bool isFree = state == null || !TryFind(state, sample.TimeMs, out _, out _);
            bool hides = isFree && lane.TryFind(lane.Find(local), sample.TimeMs, out _);
            long outOfOrder = request.Counts.OutOfOrder;
            AppendOutcome outcome = hides && _rejectConflicts ? AppendOutcome.Conflict : AppendFloat(ref state, local, series.Ordinal, sample, ref request);
            if (hides && outcome == AppendOutcome.Stored)
            {
                // A reader saw a histogram at that time, and now sees the float: the instant is not a new one.
                outcome = AppendOutcome.Replaced;
                request.Counts.OutOfOrder = outOfOrder;
                _histogramSamples--;
            }

            if (!request.Outcomes.IsEmpty) request.Outcomes[series.FirstSample + i] = outcome;
            Count(outcome, sample.TimeMs, ref request.Counts);
        }
    }

    private AppendOutcome AppendFloat(ref SeriesState* state, uint local, uint ordinal, Sample sample, ref AppendRequest request)
    {
        if (state == null)
        {
            state = AddSeries(local, sample, request.Sequence);
            _onlyHistograms--;
            return AppendOutcome.Stored;
        }

        if (sample.TimeMs <= state->Builder.LastTimeMs) return AppendLate(state, ordinal, sample, ref request);
        AppendInOrder(state, sample, request.Sequence);
        return AppendOutcome.Stored;
    }

    private void ForEachWithoutFloats(Action<uint> visit) => _histograms?.ForEach(local =>
    {
        if (_series.Find(local) == null) visit(_layout.OrdinalOf(_index, local));
    });
}
