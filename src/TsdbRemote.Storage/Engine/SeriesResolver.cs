using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Finds the ordinal of each series of a request, and creates what is new. Decides everything that labels alone decide.</summary>
/// <remarks>
/// A known series costs one comparison of its raw label bytes if it follows whom it followed the last time, else a hash more; only an unknown run
/// is parsed, validated and sorted, and then remembered as an alias if the sender spells it its own way. Thread-safe.
/// </remarks>
internal sealed partial class SeriesResolver
{
    /// <summary>Series whose labels are brought near together.</summary>
    private const int Ahead = 16;

    private readonly LabelLimits _labelLimits;
    private readonly int _maxSeries;
    private readonly EngineCounters _counters;

    public SeriesResolver(LabelLimits labelLimits, int maxSeries, EngineCounters counters)
    {
        _counters = counters;
        _labelLimits = labelLimits;
        _maxSeries = maxSeries;
    }

    /// <summary>Resolves all series of the batch.</summary>
    /// <param name="scratch">Holds the decoded batch; refusals go into its log.</param>
    /// <param name="dictionary">That of the MemTable that takes the samples.</param>
    /// <param name="latestMs">Newest time allowed; a new series with only later samples is not created. ms.</param>
    public void Resolve(WriteScratch scratch, SeriesDictionary dictionary, long latestMs)
    {
        WriteBatch batch = scratch.Batch;
        ReadOnlySpan<SeriesEntry> entries = batch.Series;
        Span<ResolvedSeries> resolved = scratch.Resolved(entries.Length);
        SenderOrder order = dictionary.SenderOrder;
        uint previous = ResolvedSeries.Skip;
        var ahead = new HashesAhead(stackalloc ulong[Ahead]);
        bool believes = ReferenceEquals(scratch.KnownBy, dictionary);
        int fetched = 0;
        for (int i = 0; i < entries.Length; i++)
        {
            ref readonly SeriesEntry entry = ref entries[i];
            uint ordinal = entry.Known - 1;

            // Nearly all series of nearly all requests were expected while they were decoded. The rest is a method of its own, which leaves this one its registers.
            if (!believes || !entry.WasExpected)
            {
                if (previous != ResolvedSeries.Skip && i >= fetched)
                {
                    order.PrefetchBehind(previous, Ahead);
                    fetched = i + Ahead;
                }

                if (previous == ResolvedSeries.Skip || !entry.IsPlain || !order.TryFollow(previous, batch.LabelsOf(entry), out ordinal))
                {
                    bool isKnown = believes && entry.Known > 0 && entry.IsPlain;
                    ordinal = isKnown ? entry.Known - 1 : ResolveOther(scratch, dictionary, i, latestMs, ref ahead);
                    if (ordinal != ResolvedSeries.Skip && previous != ResolvedSeries.Skip) order.Note(previous, ordinal);
                }
            }

            if (ordinal != ResolvedSeries.Skip) previous = ordinal;
            resolved[i] = new ResolvedSeries { Ordinal = ordinal, FirstSample = entry.FirstSample, SampleCount = entry.SampleCount };
        }
    }

    /// <summary>Resolves a series that does not follow the one that it followed the last time, or is not plain.</summary>
    private uint ResolveOther(WriteScratch scratch, SeriesDictionary dictionary, int index, long latestMs, ref HashesAhead ahead)
    {
        WriteBatch batch = scratch.Batch;
        ref readonly SeriesEntry entry = ref batch.Series[index];
        int firstHistogram = ahead.Histograms;
        ahead.Histograms += entry.HistogramCount;
        if (entry.Problem != SeriesProblem.None || entry.BadExemplarCount > 0) Refuse(scratch, entry);
        if (entry.Problem != SeriesProblem.None || entry.SampleCount + entry.HistogramCount == 0) return ResolvedSeries.Skip;
        if (index >= ahead.End) ahead.End = HashAhead(batch, dictionary, batch.Series, index, ahead.Hashes);
        ulong hash = ahead.Hashes[index % Ahead];
        ReadOnlySpan<byte> run = batch.LabelsOf(entry);
        bool known = dictionary.TryFind(run, hash, out uint ordinal);
        if (entry.HistogramCount > 0) return TakeHistograms(scratch, dictionary, new HistogramSeries(index, firstHistogram, known, ordinal, hash), latestMs);
        if (known) return ordinal;
        return batch.MaxTimeMs > latestMs && AllLater(batch, entry, latestMs) ? RefuseLate(scratch, entry) : ResolveNew(scratch, dictionary, entry, run, hash);
    }

    /// <summary>The ordinal of a run that was accepted once, whatever the limits are now: for replay.</summary>
    /// <returns><see cref="ResolvedSeries.Skip"/> if the run breaks a rule that no option moves.</returns>
    public uint ResolveAccepted(WriteScratch scratch, SeriesDictionary dictionary, ReadOnlySpan<byte> run)
    {
        ulong hash = Labels.Hash(run);
        if (dictionary.TryFind(run, hash, out uint ordinal)) return ordinal;
        var unlimited = new LabelLimits(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue);
        if (Normalize(scratch, run, unlimited, out ReadOnlySpan<byte> canonical, out _) != LabelProblem.None) return ResolvedSeries.Skip;
        return Add(dictionary, canonical, run, hash, int.MaxValue, out ordinal) ? ordinal : ResolvedSeries.Skip;
    }

    /// <summary>Hashes the next runs and has the processor fetch their slots meanwhile: at 100,000 series each would be a cache miss of its own.</summary>
    /// <returns>Index of the first entry that is not hashed.</returns>
    private static int HashAhead(WriteBatch batch, SeriesDictionary dictionary, ReadOnlySpan<SeriesEntry> entries, int first, Span<ulong> hashes)
    {
        int end = Math.Min(entries.Length, first - first % Ahead + Ahead);
        for (int i = first; i < end; i++)
        {
            if (entries[i].Problem != SeriesProblem.None || entries[i].SampleCount + entries[i].HistogramCount == 0) continue;
            ulong hash = Labels.Hash(batch.LabelsOf(entries[i]));
            hashes[i % Ahead] = hash;
            dictionary.PrefetchFind(hash);
        }

        return end;
    }

    private uint ResolveNew(WriteScratch scratch, SeriesDictionary dictionary, in SeriesEntry entry, ReadOnlySpan<byte> run, ulong hash)
    {
        int samples = entry.SampleCount + entry.HistogramCount;
        LabelProblem problem = Normalize(scratch, run, _labelLimits, out ReadOnlySpan<byte> canonical, out string? detail);
        if (problem != LabelProblem.None)
        {
            if (LabelErrors.LimitOf(problem) is { } limit) _counters.Count(limit);
            if (scratch.Rejections.Add(RejectionReason.Labels, samples))
                scratch.Rejections.Explain(LabelErrors.Text(problem, run, detail, _labelLimits), samples);
            return ResolvedSeries.Skip;
        }

        if (Add(dictionary, canonical, run, hash, _maxSeries, out uint ordinal)) return ordinal;
        _counters.Count(Limit.Series);
        if (scratch.Rejections.Add(RejectionReason.SeriesLimit, samples))
            scratch.Rejections.Explain($"series limit reached (storage.limits.series = {_maxSeries}) series={Labels.Print(run, 256)}", samples);
        return ResolvedSeries.Skip;
    }

    /// <summary>Nearly all runs are canonical already, which costs less to see than to write.</summary>
    private static LabelProblem Normalize(WriteScratch scratch, ReadOnlySpan<byte> run, in LabelLimits limits, out ReadOnlySpan<byte> canonical, out string? detail)
    {
        canonical = run;
        detail = null;
        if (LabelNormalizer.IsCanonicalSeries(run, limits)) return LabelProblem.None;
        LabelProblem problem = LabelNormalizer.Normalize(run, limits, scratch.Canonical, out detail);
        canonical = scratch.Canonical.Span;
        return problem;
    }

    private bool Add(SeriesDictionary dictionary, ReadOnlySpan<byte> canonical, ReadOnlySpan<byte> run, ulong hash, int maxSeries, out uint ordinal)
    {
        bool asSent = canonical.SequenceEqual(run);
        ulong canonicalHash = asSent ? hash : Labels.Hash(canonical);
        if (!dictionary.TryAdd(canonical, canonicalHash, maxSeries, out ordinal, out bool added)) return false;
        if (added) EngineCounters.Add(ref _counters.SeriesCreated, 1);
        if (!asSent) dictionary.AddAlias(run, hash, ordinal);
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
            int samples = entry.SampleCount + entry.HistogramCount;
            if (log.Add(RejectionReason.Series, samples)) log.Explain(RemoteWriteV2.Explain(scratch.Batch, entry), samples);
            return;
        }

        if (entry.BadExemplarCount > 0 && log.Add(RejectionReason.Exemplar, entry.BadExemplarCount))
            log.Explain(RemoteWriteV2.ExplainExemplar(scratch.Batch, entry), entry.BadExemplarCount);
    }

    /// <summary>Hashes of the label runs of series that come next, and how many histograms came before.</summary>
    private ref struct HashesAhead(Span<ulong> hashes)
    {
        public readonly Span<ulong> Hashes = hashes;

        /// <summary>Behind the last series that has been hashed.</summary>
        public int End;

        /// <summary>Histograms of the series so far.</summary>
        public int Histograms;
    }
}
