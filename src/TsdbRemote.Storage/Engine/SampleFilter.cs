using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Decides which samples of resolved series are taken, where times or existing values matter. The default options hardly ever need it.</summary>
/// <remarks>
/// A series' newest time is what the dictionary remembers of this process' life; unknown after a restart, or after a collection dropped the series, means
/// accept. Two requests that race on one
/// series may both pass: the bound is kept within a race's width, and never lets a sample through that a serial order would not.
/// </remarks>
internal sealed class SampleFilter
{
    private readonly long? _windowMs;
    private readonly bool _rejectConflicts;

    /// <param name="windowMs">Out-of-order window in ms; null for no bound.</param>
    /// <param name="rejectConflicts">Whether the first value at a time stays.</param>
    public SampleFilter(long? windowMs, bool rejectConflicts)
    {
        _windowMs = windowMs;
        _rejectConflicts = rejectConflicts;
    }

    /// <summary>True if every request has to pass, not only one with samples in the future.</summary>
    public bool LooksAtHistory => _windowMs is not null || _rejectConflicts;

    /// <summary>Copies the samples that pass into the scratch's <see cref="WriteScratch.Kept"/> and points the resolved series there.</summary>
    /// <param name="scratch">Resolved; refusals go into its log.</param>
    /// <param name="dictionary">By which it was resolved; remembers newest times.</param>
    /// <param name="latestMs">Newest time allowed, ms.</param>
    /// <param name="memTables">Where existing values are looked for, newest first.</param>
    /// <returns>The samples to store.</returns>
    public ReadOnlySpan<Sample> Filter(WriteScratch scratch, SeriesDictionary dictionary, long latestMs, IEnumerable<MemTable> memTables)
    {
        WriteBatch batch = scratch.Batch;
        Span<ResolvedSeries> resolved = scratch.Resolved(batch.Series.Length);
        for (int i = 0; i < resolved.Length; i++)
        {
            ref ResolvedSeries series = ref resolved[i];
            if (series.Ordinal == ResolvedSeries.Skip) continue;
            int first = scratch.Kept.Count;
            foreach (Sample sample in batch.Samples.Slice(series.FirstSample, series.SampleCount))
            {
                if (Passes(scratch, dictionary, series.Ordinal, sample, latestMs, memTables)) scratch.Kept.Add(sample);
            }

            series.FirstSample = first;
            series.SampleCount = scratch.Kept.Count - first;
            if (series.SampleCount == 0) series.Ordinal = ResolvedSeries.Skip;
        }

        return CollectionsMarshal.AsSpan(scratch.Kept);
    }

    /// <summary>Drops the histograms that do not pass; asked for only if <see cref="LooksAtHistory"/>.</summary>
    /// <remarks>After the floats: of one request they come first, as in Prometheus.</remarks>
    /// <param name="scratch">Resolved; refusals go into its log.</param>
    /// <param name="dictionary">By which it was resolved; remembers newest times.</param>
    /// <param name="memTables">Where existing values are looked for, newest first.</param>
    public void FilterHistograms(WriteScratch scratch, SeriesDictionary dictionary, IEnumerable<MemTable> memTables) =>
        scratch.Histograms.RemoveAll(histogram => !Passes(scratch, dictionary, histogram, memTables));

    /// <summary>Remembers the newest times of a request, once the log has it: one that was turned away must find its series as it was when it comes again.</summary>
    public static void Remember(WriteScratch scratch, SeriesDictionary dictionary)
    {
        foreach ((uint ordinal, long timeMs) in scratch.Newest) dictionary.ObserveTime(ordinal, timeMs);
    }

    private bool Passes(WriteScratch scratch, SeriesDictionary dictionary, uint ordinal, Sample sample, long latestMs, IEnumerable<MemTable> memTables)
    {
        RejectionLog log = scratch.Rejections;
        if (sample.TimeMs > latestMs)
        {
            if (log.Add(RejectionReason.Future, 1)) log.Explain(SampleErrors.Future(dictionary.LabelsOf(ordinal)), 1);
            return false;
        }

        if (!LooksAtHistory || IsNewest(scratch, dictionary, ordinal, sample.TimeMs, out long newest)) return true;
        Sample? existing = Find(dictionary, ordinal, sample.TimeMs, memTables);
        if (existing == sample) return true;
        if (RefusesAge(log, dictionary, ordinal, sample.TimeMs, newest)) return false;
        if (!_rejectConflicts) return true;
        if (existing is null && !FindHistogram(scratch, dictionary, ordinal, sample.TimeMs, memTables)) return true;
        if (log.Add(RejectionReason.Conflict, 1))
            log.Explain(SampleErrors.Conflict(dictionary.LabelsOf(ordinal), sample.TimeMs, existing?.ValueBits, sample.ValueBits), 1);
        return false;
    }

    private bool Passes(WriteScratch scratch, SeriesDictionary dictionary, in ResolvedHistogram given, IEnumerable<MemTable> memTables)
    {
        if (IsNewest(scratch, dictionary, given.Ordinal, given.TimeMs, out long newest)) return true;
        bool isTaken = FindHistogram(scratch, dictionary, given.Ordinal, given.TimeMs, memTables);
        if (isTaken && scratch.Existing.SaysTheSameAs(scratch.Batch.HistogramAt(given.Index))) return true;
        if (RefusesAge(scratch.Rejections, dictionary, given.Ordinal, given.TimeMs, newest)) return false;
        if (!_rejectConflicts || (!isTaken && Find(dictionary, given.Ordinal, given.TimeMs, memTables) is null)) return true;
        if (scratch.Rejections.Add(RejectionReason.Conflict, 1))
            scratch.Rejections.Explain(SampleErrors.HistogramConflict(dictionary.LabelsOf(given.Ordinal)), 1);
        return false;
    }

    /// <summary>True if the series has nothing as new, of either kind; the time is then remembered as its newest.</summary>
    private static bool IsNewest(WriteScratch scratch, SeriesDictionary dictionary, uint ordinal, long timeMs, out long newest)
    {
        if (!scratch.Newest.TryGetValue(ordinal, out newest)) newest = dictionary.NewestTimeMs(ordinal);
        if (newest != long.MinValue && timeMs <= newest) return false;
        scratch.Newest[ordinal] = timeMs;
        return true;
    }

    private bool RefusesAge(RejectionLog log, SeriesDictionary dictionary, uint ordinal, long timeMs, long newest)
    {
        if (timeMs >= newest || !IsTooOld(timeMs, newest)) return false;
        if (log.Add(RejectionReason.OutOfOrder, 1))
        {
            ReadOnlySpan<byte> labels = dictionary.LabelsOf(ordinal);
            log.Explain(_windowMs == 0 ? SampleErrors.OutOfOrder(labels) : SampleErrors.TooOld(labels), 1);
        }

        return true;
    }

    // Int128 instead of a subtraction that could overflow at the ends of time.
    private bool IsTooOld(long timeMs, long newestMs) => _windowMs is { } window && (Int128)timeMs < (Int128)newestMs - window;

    private static Sample? Find(SeriesDictionary dictionary, uint ordinal, long timeMs, IEnumerable<MemTable> memTables)
    {
        foreach (MemTable memTable in memTables)
        {
            if (memTable.TryTranslate(dictionary, ordinal, out uint own) && memTable.Find(own, timeMs) is { } found) return found;
        }

        return null;
    }

    /// <summary>Copies the histogram that a reader of the MemTables sees at a time, if it is one.</summary>
    private static bool FindHistogram(WriteScratch scratch, SeriesDictionary dictionary, uint ordinal, long timeMs, IEnumerable<MemTable> memTables)
    {
        foreach (MemTable memTable in memTables)
        {
            if (memTable.TryTranslate(dictionary, ordinal, out uint own) && memTable.TryFindHistogram(own, timeMs, scratch.Existing)) return true;
        }

        return false;
    }
}
