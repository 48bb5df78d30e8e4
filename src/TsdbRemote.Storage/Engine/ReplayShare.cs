using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Storage.Engine;

/// <summary>Picks those series of a record that belong to a share. Not thread-safe: each share has its own.</summary>
internal sealed class ReplayShare
{
    private ResolvedSeries[] _series = [];
    private ResolvedHistogram[] _histograms = [];

    /// <summary>Series of the share, in their order; valid until the next call.</summary>
    public ReadOnlySpan<ResolvedSeries> Take(ReadOnlySpan<ResolvedSeries> series, MemTable memTable, SeriesShare share)
    {
        if (_series.Length < series.Length) _series = new ResolvedSeries[Math.Max(series.Length, 2048)];
        int taken = 0;
        foreach (ref readonly ResolvedSeries one in series)
        {
            if (one.Ordinal != ResolvedSeries.Skip && memTable.IsIn(share, one.Ordinal)) _series[taken++] = one;
        }

        return _series.AsSpan(0, taken);
    }

    /// <summary>Histograms of the share, in their order; valid until the next call.</summary>
    public ReadOnlySpan<ResolvedHistogram> Take(ReadOnlySpan<ResolvedHistogram> histograms, MemTable memTable, SeriesShare share)
    {
        if (_histograms.Length < histograms.Length) _histograms = new ResolvedHistogram[Math.Max(histograms.Length, 2048)];
        int taken = 0;
        foreach (ref readonly ResolvedHistogram one in histograms)
        {
            if (memTable.IsIn(share, one.Ordinal)) _histograms[taken++] = one;
        }

        return _histograms.AsSpan(0, taken);
    }
}
