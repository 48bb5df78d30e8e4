using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Finds the ordinal of each series of a request, and creates what is new. Decides everything that labels alone decide.</summary>
/// <remarks>
/// A known series costs one hash and one comparison of its raw label bytes; only an unknown run is parsed, validated and sorted, and
/// then remembered as an alias if the sender spells it its own way. Thread-safe.
/// </remarks>
internal sealed class SeriesResolver
{
    private const int HashesAhead = 16;

    private readonly SeriesDictionary _dictionary;
    private readonly LabelLimits _labelLimits;
    private readonly int _maxSeries;
    private readonly EngineCounters _counters;

    public SeriesResolver(SeriesDictionary dictionary, LabelLimits labelLimits, int maxSeries, EngineCounters counters)
    {
        _counters = counters;
        _dictionary = dictionary;
        _labelLimits = labelLimits;
        _maxSeries = maxSeries;
    }

    /// <summary>Resolves all series of the batch.</summary>
    /// <param name="scratch">Holds the decoded batch; refusals go into its log.</param>
    /// <param name="latestMs">Newest time allowed; a new series with only later samples is not created. ms.</param>
    public void Resolve(WriteScratch scratch, long latestMs)
    {
        WriteBatch batch = scratch.Batch;
        ReadOnlySpan<SeriesEntry> entries = batch.Series;
        Span<ResolvedSeries> resolved = scratch.Resolved(entries.Length);
        bool anyLate = batch.SampleCount > 0 && batch.MaxTimeMs > latestMs;
        Span<ulong> hashes = stackalloc ulong[HashesAhead];
        for (int i = 0; i < entries.Length; i++)
        {
            if (i % HashesAhead == 0) HashAhead(batch, entries[i..], hashes);
            ref readonly SeriesEntry entry = ref entries[i];
            uint ordinal = ResolvedSeries.Skip;
            if (entry.Problem != SeriesProblem.None || entry.HistogramCount > 0 || entry.BadExemplarCount > 0) Refuse(scratch, entry);
            if (entry.Problem == SeriesProblem.None && entry.SampleCount > 0)
            {
                ReadOnlySpan<byte> run = batch.LabelsOf(entry);
                ulong hash = hashes[i % HashesAhead];
                if (!_dictionary.TryFind(run, hash, out ordinal))
                    ordinal = anyLate && AllLater(batch, entry, latestMs) ? RefuseLate(scratch, entry) : ResolveNew(scratch, entry, run, hash);
            }

            resolved[i] = new ResolvedSeries { Ordinal = ordinal, FirstSample = entry.FirstSample, SampleCount = entry.SampleCount };
        }
    }

    /// <summary>The ordinal of a run that was accepted once, whatever the limits are now: for replay.</summary>
    /// <returns><see cref="ResolvedSeries.Skip"/> if the run breaks a rule that no option moves.</returns>
    public uint ResolveAccepted(WriteScratch scratch, ReadOnlySpan<byte> run)
    {
        ulong hash = Labels.Hash(run);
        if (_dictionary.TryFind(run, hash, out uint ordinal)) return ordinal;
        var unlimited = new LabelLimits(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue);
        if (LabelNormalizer.Normalize(run, unlimited, scratch.Canonical, out _) != LabelProblem.None) return ResolvedSeries.Skip;
        return Add(scratch.Canonical.Span, run, hash, int.MaxValue, out ordinal) ? ordinal : ResolvedSeries.Skip;
    }

    /// <summary>Hashes the next runs and has the processor fetch their slots meanwhile: at 100,000 series each would be a cache miss of its own.</summary>
    private void HashAhead(WriteBatch batch, ReadOnlySpan<SeriesEntry> entries, Span<ulong> hashes)
    {
        int count = Math.Min(entries.Length, hashes.Length);
        for (int i = 0; i < count; i++)
        {
            if (entries[i].Problem != SeriesProblem.None || entries[i].SampleCount == 0) continue;
            hashes[i] = Labels.Hash(batch.LabelsOf(entries[i]));
            _dictionary.PrefetchFind(hashes[i]);
        }
    }

    private uint ResolveNew(WriteScratch scratch, in SeriesEntry entry, ReadOnlySpan<byte> run, ulong hash)
    {
        LabelProblem problem = LabelNormalizer.Normalize(run, _labelLimits, scratch.Canonical, out string? detail);
        if (problem != LabelProblem.None)
        {
            if (scratch.Rejections.Add(RejectionReason.Labels, entry.SampleCount))
                scratch.Rejections.Explain(LabelErrors.Text(problem, run, detail, _labelLimits), entry.SampleCount);
            return ResolvedSeries.Skip;
        }

        if (Add(scratch.Canonical.Span, run, hash, _maxSeries, out uint ordinal)) return ordinal;
        if (scratch.Rejections.Add(RejectionReason.SeriesLimit, entry.SampleCount))
            scratch.Rejections.Explain($"series limit reached (limits.series = {_maxSeries}) series={Labels.Print(run, 256)}", entry.SampleCount);
        return ResolvedSeries.Skip;
    }

    private bool Add(ReadOnlySpan<byte> canonical, ReadOnlySpan<byte> run, ulong hash, int maxSeries, out uint ordinal)
    {
        bool asSent = canonical.SequenceEqual(run);
        ulong canonicalHash = asSent ? hash : Labels.Hash(canonical);
        if (!_dictionary.TryAdd(canonical, canonicalHash, maxSeries, out ordinal, out bool added)) return false;
        if (added) EngineCounters.Add(ref _counters.SeriesCreated, 1);
        if (!asSent) _dictionary.AddAlias(run, hash, ordinal);
        return true;
    }

    private static bool AllLater(WriteBatch batch, in SeriesEntry entry, long latestMs)
    {
        foreach (Sample sample in batch.Samples.Slice(entry.FirstSample, entry.SampleCount))
        {
            if (sample.TimeMs <= latestMs) return false;
        }

        return true;
    }

    private static uint RefuseLate(WriteScratch scratch, in SeriesEntry entry)
    {
        if (scratch.Rejections.Add(RejectionReason.Future, entry.SampleCount))
            scratch.Rejections.Explain(SampleErrors.Future(scratch.Batch.LabelsOf(entry)), entry.SampleCount);
        return ResolvedSeries.Skip;
    }

    private static void Refuse(WriteScratch scratch, in SeriesEntry entry)
    {
        RejectionLog log = scratch.Rejections;
        if (entry.Problem != SeriesProblem.None)
        {
            if (log.Add(RejectionReason.Series, entry.SampleCount)) log.Explain(RemoteWriteV2.Explain(scratch.Batch, entry), entry.SampleCount);
            return;
        }

        if (entry.HistogramCount > 0 && log.Add(RejectionReason.Histogram, entry.HistogramCount))
            log.Explain(SampleErrors.Histogram(scratch.Batch.LabelsOf(entry)), entry.HistogramCount);
        if (entry.BadExemplarCount > 0 && log.Add(RejectionReason.Exemplar, entry.BadExemplarCount))
            log.Explain(RemoteWriteV2.ExplainExemplar(scratch.Batch, entry), entry.BadExemplarCount);
    }
}
