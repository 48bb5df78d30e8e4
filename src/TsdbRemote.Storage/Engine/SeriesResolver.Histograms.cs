using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <content>Series with histograms: what a histogram's own contents and time decide is decided here too, since it decides whether a new series is created.</content>
internal sealed partial class SeriesResolver
{
    /// <summary>Resolves a series that has histograms, and takes those into <see cref="WriteScratch.Histograms"/> that are whole and not too far ahead.</summary>
    /// <returns>The series, or <see cref="ResolvedSeries.Skip"/> if nothing of it is taken.</returns>
    private uint TakeHistograms(WriteScratch scratch, SeriesDictionary dictionary, in HistogramSeries series, long latestMs)
    {
        WriteBatch batch = scratch.Batch;
        SeriesEntry entry = batch.Series[series.Index];
        ReadOnlySpan<byte> run = batch.LabelsOf(entry);
        uint ordinal = series.Ordinal;
        if (!series.IsKnown)
        {
            ordinal = ResolvedSeries.Skip;
            if (AnyStays(batch, entry, series.FirstHistogram, latestMs))
            {
                ordinal = ResolveNew(scratch, dictionary, entry, run, series.Hash);
                if (ordinal == ResolvedSeries.Skip) return ordinal; // refused with all it has
            }
            else if (entry.SampleCount > 0)
            {
                RefuseLate(scratch, entry);
            }
        }

        for (int i = series.FirstHistogram; i < series.FirstHistogram + entry.HistogramCount; i++)
        {
            HistogramEntry histogram = batch.Histograms[i];
            if (!histogram.IsValid)
            {
                if (scratch.Rejections.Add(RejectionReason.Histogram, 1))
                    scratch.Rejections.Explain(SampleErrors.Histogram(run, batch.ExplainHistogram(i)), 1);
            }
            else if (histogram.TimeMs > latestMs)
            {
                if (scratch.Rejections.Add(RejectionReason.Future, 1)) scratch.Rejections.Explain(SampleErrors.Future(run), 1);
            }
            else
            {
                scratch.Histograms.Add(new ResolvedHistogram(ordinal, series.Index, i, histogram.TimeMs));
            }
        }

        return ordinal;
    }

    private static bool AnyStays(WriteBatch batch, in SeriesEntry entry, int firstHistogram, long latestMs)
    {
        foreach (HistogramEntry histogram in batch.Histograms.Slice(firstHistogram, entry.HistogramCount))
        {
            if (histogram.IsValid && histogram.TimeMs <= latestMs) return true;
        }

        return entry.SampleCount > 0 && !AllLater(batch, entry, latestMs);
    }

    /// <summary>A series of the request that has histograms.</summary>
    /// <param name="Index">Its index in the request.</param>
    /// <param name="FirstHistogram">Index of its first histogram in the request.</param>
    /// <param name="IsKnown">Whether the dictionary has it.</param>
    /// <param name="Ordinal">Its number there, if so.</param>
    /// <param name="Hash">Of its labels as sent.</param>
    private readonly record struct HistogramSeries(int Index, int FirstHistogram, bool IsKnown, uint Ordinal, ulong Hash);
}
