using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Scrapes of which every so many a tenth of the series ends, and as many others take their place, by remote write 1.0.</summary>
/// <param name="places">Series of a scrape.</param>
/// <param name="batchSize">Series of a request.</param>
/// <param name="every">Scrapes after which a tenth is replaced.</param>
/// <param name="startMs">Time of the first scrape.</param>
/// <param name="intervalMs">Time between two.</param>
/// <param name="labelsOf">Labels of a series as a canonical run; those of <see cref="ScrapeLoad"/> if not given.</param>
internal sealed class ChurnLoad(int places, int batchSize, int every, long startMs, long intervalMs, Func<int, byte[]>? labelsOf = null) : ILoad
{
    private const int Parts = 10;

    private readonly Func<int, byte[]> _labelsOf = labelsOf ?? ScrapeLoad.LabelsOf;

    /// <summary>Which series is at a place, and its labels; of each batch only one sender at a time.</summary>
    private readonly (int Series, byte[]? Labels)[] _current = new (int, byte[]?)[places];

    public int BatchesPerScrape => (places + batchSize - 1) / batchSize;

    public bool IsVersion2 => false;

    /// <summary>Series that so many scrapes have.</summary>
    public long SeriesIn(int scrapes) => Enumerable.Range(0, places).Sum(place => 1L + ReplacementsOf(place, scrapes - 1));

    public byte[] Body(int scrape, int batch)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 19);
        int end = Math.Min((batch + 1) * batchSize, places);
        for (int place = batch * batchSize; place < end; place++)
        {
            int series = place + places * ReplacementsOf(place, scrape);
            ref (int Series, byte[]? Labels) current = ref _current[place];
            if (current.Labels is null || current.Series != series) current = (series, _labelsOf(series));
            RemoteWriteV1.EncodeSeries(raw, current.Labels!, [Sample.Of(startMs + scrape * intervalMs + place % 37, ScrapeLoad.ValueOf(series, scrape))]);
        }

        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }

    /// <summary>How often a place has got another series: each in turn, at every so many scrapes a tenth of all.</summary>
    private int ReplacementsOf(int place, int scrape)
    {
        int turns = scrape / every;
        int part = place % Parts;
        return turns > part ? (turns - 1 - part) / Parts + 1 : 0;
    }
}
