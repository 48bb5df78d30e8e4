using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Why an exemplar was not taken.</summary>
public enum ExemplarDrop
{
    /// <summary>Symbol references of remote write 2.0 that are out of the table: named in a 400.</summary>
    References,

    /// <summary>It comes before the newest of its series: named in a 400 in 2.0.</summary>
    OutOfOrder,

    /// <summary>Labels of more than <see cref="Exemplar.MaxLabelCharacters"/> characters.</summary>
    TooLong,

    /// <summary>Labels that break a rule: a name twice or empty, a text that is not UTF-8.</summary>
    Labels,

    /// <summary>The time is too far in the future.</summary>
    Future,

    /// <summary>Its series does not exist, and nothing else came with it that makes it exist.</summary>
    UnknownSeries,

    /// <summary>More exemplars than one request may have.</summary>
    RequestLimit,
}

/// <summary>An exemplar of a request that is taken.</summary>
/// <param name="Series">Index of its series in the request.</param>
/// <param name="Index">Its index in the request.</param>
internal readonly record struct TakenExemplar(int Series, int Index);

/// <summary>Takes the exemplars of a request into the ring, in the order of remote write: after their samples. Thread-safe.</summary>
/// <remarks>
/// As Prometheus 3.5 (storage/remote/write_handler.go): in 2.0 one that is out of order, or whose references are bad, is an error of the sender and named in a 400, in 1.0 it is only
/// counted; all else that keeps one from being taken is only counted in both. Samples are never refused for an exemplar. An exemplar comes with samples of its series or, as
/// Prometheus sends it, in an entry of its own.
/// </remarks>
internal sealed class ExemplarIntake(ExemplarRing ring, LabelLimits seriesLimits, EngineCounters counters)
{
    // Their sum is bounded by the number of characters.
    private static readonly LabelLimits AnyLabels = new(2 * Exemplar.MaxLabelCharacters, int.MaxValue, int.MaxValue, int.MaxValue);

    /// <summary>Decides over the exemplars of a resolved request; what is taken is in <see cref="WriteScratch.Exemplars"/> then.</summary>
    /// <param name="scratch">Holds the batch; refusals go into its log.</param>
    /// <param name="protocol">Which message it was.</param>
    /// <param name="dictionary">By which it was resolved.</param>
    /// <param name="latestMs">Newest time allowed, ms.</param>
    public void Take(WriteScratch scratch, WriteProtocol protocol, SeriesDictionary dictionary, long latestMs)
    {
        if (!ring.IsOn) return;
        WriteBatch batch = scratch.Batch;
        Span<int> dropped = stackalloc int[counters.ExemplarsDropped.Length];
        dropped.Clear();
        dropped[(int)ExemplarDrop.RequestLimit] = batch.ExemplarsDropped;
        ReadOnlySpan<SeriesEntry> entries = batch.Series;
        ReadOnlySpan<ResolvedSeries> resolved = scratch.Resolved(entries.Length);
        int first = 0;
        for (int i = 0; i < entries.Length; i++)
        {
            int count = entries[i].ExemplarCount;
            if (count == 0) continue;

            // A series with a problem is refused with all that it has, which is named already.
            if (entries[i].Problem == SeriesProblem.None)
            {
                ReadOnlySpan<byte> series = SeriesOf(scratch, dictionary, entries[i], resolved[i].Ordinal);
                if (series.IsEmpty && protocol == WriteProtocol.V2) RefuseAlone(scratch, entries[i]);
                TakeOf(scratch, protocol, series, i, first, latestMs, dropped);
            }

            first += count;
        }

        for (int reason = 0; reason < dropped.Length; reason++)
        {
            scratch.LeavesOutExemplars |= dropped[reason] > 0;
            EngineCounters.Add(ref counters.ExemplarsDropped[reason], dropped[reason]);
        }
    }

    /// <summary>Restores the exemplars of a record of the log.</summary>
    /// <param name="scratch">Holds the batch.</param>
    /// <param name="sequence">The record's.</param>
    public void Replay(WriteScratch scratch, ulong sequence)
    {
        WriteBatch batch = scratch.Batch;
        int next = 0;
        foreach (ref readonly SeriesEntry entry in batch.Series)
        {
            int end = next + entry.ExemplarCount;
            bool isTaken = entry.ExemplarCount > 0 && entry.Problem == SeriesProblem.None
                && LabelNormalizer.Normalize(batch.LabelsOf(entry), Unlimited, scratch.SeriesLabels, out _) == LabelProblem.None;
            for (; next < end; next++)
            {
                if (isTaken && TryRead(scratch, batch.Exemplars[next], out Sample at, out _))
                    ring.Restore(scratch.SeriesLabels.Span, new Exemplar(scratch.Canonical.Span, at), sequence);
            }
        }
    }

    private static LabelLimits Unlimited => new(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue);

    private void TakeOf(
        WriteScratch scratch, WriteProtocol protocol, ReadOnlySpan<byte> series, int seriesIndex, int first, long latestMs, Span<int> dropped)
    {
        WriteBatch batch = scratch.Batch;
        for (int i = first; i < first + batch.Series[seriesIndex].ExemplarCount; i++)
        {
            ExemplarDrop? drop = Offer(scratch, series, batch.Exemplars[i], latestMs);
            if (drop is null)
            {
                scratch.Exemplars.Add(new TakenExemplar(seriesIndex, i));
                continue;
            }

            dropped[(int)drop]++;
            if (drop != ExemplarDrop.OutOfOrder || protocol == WriteProtocol.V1) continue;
            if (scratch.Rejections.Add(RejectionReason.Exemplar, 1)) scratch.Rejections.Explain(SampleErrors.ExemplarOutOfOrder(series), 1);
        }
    }

    /// <summary>Names a series of 2.0 that does not exist and has nothing but exemplars, by which it cannot begin to.</summary>
    private static void RefuseAlone(WriteScratch scratch, SeriesEntry entry)
    {
        if (entry.SampleCount + entry.HistogramCount > 0) return; // refused, and named, with its samples
        entry.Problem = SeriesProblem.NoData;
        if (scratch.Rejections.Add(RejectionReason.Series, 1)) scratch.Rejections.Explain(RemoteWriteV2.Explain(scratch.Batch, entry), 1);
    }

    private ExemplarDrop? Offer(WriteScratch scratch, ReadOnlySpan<byte> series, in ExemplarEntry exemplar, long latestMs)
    {
        if (!exemplar.IsGood) return ExemplarDrop.References; // named where its series was resolved
        if (series.IsEmpty) return ExemplarDrop.UnknownSeries;
        if (!TryRead(scratch, exemplar, out Sample at, out ExemplarDrop problem)) return problem;
        if (at.TimeMs > latestMs) return ExemplarDrop.Future;
        ExemplarOutcome outcome = ring.Offer(series, new Exemplar(scratch.Canonical.Span, at));
        if (outcome == ExemplarOutcome.OutOfOrder) return ExemplarDrop.OutOfOrder;
        EngineCounters.Add(ref outcome == ExemplarOutcome.Stored ? ref counters.ExemplarsStored : ref counters.ExemplarsDuplicate, 1);
        return null;
    }

    /// <summary>Reads an exemplar; its labels are in <see cref="WriteScratch.Canonical"/> then.</summary>
    private static bool TryRead(WriteScratch scratch, in ExemplarEntry exemplar, out Sample at, out ExemplarDrop problem)
    {
        problem = ExemplarDrop.TooLong;
        if (!exemplar.IsGood || !scratch.Batch.TryReadExemplar(exemplar, scratch.ExemplarLabels, out at))
        {
            at = default;
            return false;
        }

        if (LabelNormalizer.NormalizeUnnamed(scratch.ExemplarLabels.Span, AnyLabels, scratch.Canonical) == LabelProblem.None)
            return !Exemplar.IsTooLong(scratch.Canonical.Span);
        problem = ExemplarDrop.Labels;
        return false;
    }

    /// <summary>The canonical labels of a series that exists, with samples of this request or without; empty if there is none.</summary>
    private ReadOnlySpan<byte> SeriesOf(WriteScratch scratch, SeriesDictionary dictionary, in SeriesEntry entry, uint ordinal)
    {
        if (ordinal != ResolvedSeries.Skip) return dictionary.LabelsOf(ordinal);
        ReadOnlySpan<byte> run = scratch.Batch.LabelsOf(entry);
        if (dictionary.TryFind(run, Labels.Hash(run), out ordinal)) return dictionary.LabelsOf(ordinal);
        if (LabelNormalizer.Normalize(run, seriesLimits, scratch.SeriesLabels, out _) != LabelProblem.None) return default;
        run = scratch.SeriesLabels.Span;
        return dictionary.TryFind(run, Labels.Hash(run), out ordinal) ? dictionary.LabelsOf(ordinal) : default;
    }
}
