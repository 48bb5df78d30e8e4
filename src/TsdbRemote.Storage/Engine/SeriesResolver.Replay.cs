using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <content>Replay: what the log holds was accepted once, so nothing is refused again. Known series are found as in live requests, each behind the one before.</content>
internal sealed partial class SeriesResolver
{
    /// <summary>Resolves all series of a record of the log, whatever the limits are now.</summary>
    /// <param name="scratch">Holds the decoded batch.</param>
    /// <param name="dictionary">That of the MemTable that takes the samples.</param>
    /// <returns>One for each series of the batch; <see cref="ResolvedSeries.Skip"/> for those of which nothing was stored.</returns>
    public Span<ResolvedSeries> ResolveAccepted(WriteScratch scratch, SeriesDictionary dictionary)
    {
        WriteBatch batch = scratch.Batch;
        ReadOnlySpan<SeriesEntry> entries = batch.Series;
        Span<ResolvedSeries> resolved = scratch.Resolved(entries.Length);
        SenderOrder order = dictionary.SenderOrder;
        uint previous = ResolvedSeries.Skip;
        bool believes = ReferenceEquals(scratch.KnownBy, dictionary);
        for (int i = 0; i < entries.Length; i++)
        {
            ref readonly SeriesEntry entry = ref entries[i];
            uint ordinal = ResolvedSeries.Skip;
            if (entry.Problem == SeriesProblem.None && entry.SampleCount + entry.HistogramCount > 0)
            {
                ReadOnlySpan<byte> run = batch.LabelsOf(entry);
                if (believes && entry.WasExpected) ordinal = entry.Known - 1;
                else if (previous == ResolvedSeries.Skip || !order.TryFollow(previous, run, out ordinal))
                {
                    ordinal = believes && entry.Known > 0 ? entry.Known - 1 : ResolveAccepted(scratch, dictionary, run);
                    if (ordinal != ResolvedSeries.Skip && previous != ResolvedSeries.Skip) order.Note(previous, ordinal);
                }
            }

            if (ordinal != ResolvedSeries.Skip) previous = ordinal;
            resolved[i] = new ResolvedSeries { Ordinal = ordinal, FirstSample = entry.FirstSample, SampleCount = entry.SampleCount };
        }

        return resolved;
    }
}
