using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>The series of a <see cref="ScrapeLoad"/> by remote write 2.0: symbols and references are made once, what a scrape adds is written behind them.</summary>
internal abstract class Version2Load : ILoad
{
    private const byte SeriesTag = (5 << 3) | 2;

    private readonly byte[][] _symbols;
    private readonly byte[][] _references;
    private readonly int _batchSize;
    private readonly long _startMs;
    private readonly long _intervalMs;

    protected Version2Load(int seriesCount, int batchSize, long startMs, long intervalMs)
    {
        (_batchSize, _startMs, _intervalMs) = (batchSize, startMs, intervalMs);
        _references = new byte[seriesCount][];
        _symbols = [.. Enumerable.Range(0, seriesCount).Chunk(batchSize).Select(SymbolsOf)];
    }

    public int BatchesPerScrape => _symbols.Length;

    public bool IsVersion2 => true;

    public byte[] Body(int scrape, int batch)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 19);
        raw.Append(_symbols[batch]);
        long time = _startMs + scrape * _intervalMs;
        int end = Math.Min((batch + 1) * _batchSize, _references.Length);
        for (int series = batch * _batchSize; series < end; series++)
        {
            // A series of 2.0 has its samples where one of 1.0 has them, and its references where that has its labels; only its own tag differs.
            int at = raw.Length;
            Append(raw, _references[series], series, scrape, time + series % 37);
            raw.Span[at] = SeriesTag;
        }

        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }

    /// <summary>Appends a series as <see cref="RemoteWriteV1.EncodeSeries"/> does.</summary>
    protected abstract void Append(PooledBuffer raw, ReadOnlySpan<byte> references, int series, int scrape, long timeMs);

    private byte[] SymbolsOf(int[] batch)
    {
        var request = new V2.Request { Symbols = { "" } };
        var symbols = new Dictionary<string, uint> { [""] = 0 };
        foreach (int series in batch)
        {
            var entry = new V2.TimeSeries();
            var labels = new LabelRunReader(ScrapeLoad.LabelsOf(series));
            while (labels.MoveNext())
            {
                entry.LabelsRefs.Add(Inputs.Reference(request, symbols, labels.Name));
                entry.LabelsRefs.Add(Inputs.Reference(request, symbols, labels.Value));
            }

            _references[series] = entry.ToByteArray();
        }

        return request.ToByteArray();
    }
}

/// <summary>The samples of a <see cref="ScrapeLoad"/> by remote write 2.0.</summary>
internal sealed class ScrapeLoad2(int seriesCount, int batchSize, long startMs, long intervalMs) : Version2Load(seriesCount, batchSize, startMs, intervalMs)
{
    protected override void Append(PooledBuffer raw, ReadOnlySpan<byte> references, int series, int scrape, long timeMs) =>
        RemoteWriteV1.EncodeSeries(raw, references, [Sample.Of(timeMs, ScrapeLoad.ValueOf(series, scrape))]);
}

/// <summary>Native histograms of 20 buckets that fill at varying pace, one a series and scrape, by remote write 2.0.</summary>
internal sealed class HistogramLoad(int seriesCount, int batchSize, long startMs, long intervalMs) : Version2Load(seriesCount, batchSize, startMs, intervalMs)
{
    private const int Buckets = 20;
    private const int Schema = 3;
    private const double ZeroThreshold = 1e-128;
    private const byte HistogramTag = (3 << 3) | 2;

    protected override void Append(PooledBuffer raw, ReadOnlySpan<byte> references, int series, int scrape, long timeMs)
    {
        var histogram = new V2.Histogram { Schema = Schema, ZeroThreshold = ZeroThreshold, ZeroCountInt = 0, Timestamp = timeMs };
        histogram.PositiveSpans.Add(new V2.BucketSpan { Offset = -10, Length = Buckets });
        long before = 0;
        long count = 0;
        for (int bucket = 0; bucket < Buckets; bucket++)
        {
            long now = CountOf(series, bucket, scrape);
            histogram.PositiveDeltas.Add(now - before);
            before = now;
            count += now;
        }

        histogram.CountInt = (ulong)count;
        histogram.Sum = count * 0.375 + scrape;
        byte[] message = histogram.ToByteArray();
        Span<byte> field = stackalloc byte[1 + Varint.MaxBytes + message.Length];
        field[0] = HistogramTag;
        int head = 1 + Varint.Write(field[1..], (uint)message.Length);
        message.CopyTo(field[head..]);
        RemoteWriteV1.EncodeSeries(raw, references, [], field[..(head + message.Length)]);
    }

    /// <summary>Never less than at the scrape before: the last term is at most what a scrape adds.</summary>
    private static long CountOf(int series, int bucket, int scrape)
    {
        uint pace = 1 + (uint)(series * 7 + bucket * 3) % 13;
        uint mix = (uint)(series * 2_654_435_761) ^ (uint)(scrape * 40_503 + bucket * 97);
        mix = (mix ^ (mix >> 15)) * 2_246_822_519;
        return scrape * (long)pace + (mix >> 8) % (pace + 1);
    }
}
