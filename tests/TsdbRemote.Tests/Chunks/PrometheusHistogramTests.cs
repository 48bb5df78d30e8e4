using System.Globalization;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>The codec against chunks that a real Prometheus 3.5.3 made of the same histograms (Data/prometheus-histograms.txt).</summary>
public class PrometheusHistogramTests
{
    [Fact]
    public void The_same_histograms_become_the_same_chunks_to_the_byte()
    {
        ILookup<ulong, MadeChunk> kept = ReadKept();
        Assert.Equal(HistogramHistory.Kept.Count, kept.Count);
        foreach (HistogramTraits series in HistogramHistory.Kept)
            Assert.Equal(kept[series.Seed], HistogramChunks.Make(HistogramWalk.Series(series, HistogramHistory.StartMs), HistogramHistory.WindowMs));
    }

    [Fact]
    public void Every_chunk_says_what_was_sent()
    {
        ILookup<ulong, MadeChunk> kept = ReadKept();
        foreach (HistogramTraits series in HistogramHistory.Kept)
        {
            List<HistogramSample> read = HistogramChunks.Read(kept[series.Seed]);
            List<HistogramSample> sent = HistogramWalk.Series(series, HistogramHistory.StartMs);
            Assert.Equal(sent.Select(static sample => sample.TimeMs), read.Select(static sample => sample.TimeMs));
            Assert.All(sent.Zip(read), static pair => Assert.True(pair.First.Histogram.SaysTheSameAs(pair.Second.Histogram)));
        }
    }

    [Fact]
    public void What_was_read_of_a_chunk_becomes_the_same_chunk()
    {
        var builder = new HistogramChunkBuilder(0);
        var buffer = new HistogramReadBuffer();
        foreach (MadeChunk chunk in ReadKept().SelectMany(static series => series))
        {
            var reader = new HistogramChunkReader(Convert.FromHexString(chunk.Hex), chunk.Encoding, buffer);
            for (bool isFirst = true; reader.MoveNext(); isFirst = false) builder.Replay(reader.TimeMs, reader.Histogram, reader.Flags, isFirst);
            Assert.Equal(chunk, new MadeChunk(builder.FirstTimeMs, builder.LastTimeMs, builder.Encoding, Convert.ToHexStringLower(builder.Bytes)));
        }
    }

    private static ILookup<ulong, MadeChunk> ReadKept() => File.ReadLines(HistogramChunks.KeptPath())
        .Where(static line => !line.StartsWith('#'))
        .Select(static line => line.Split(' '))
        .ToLookup(
            static fields => ulong.Parse(fields[0], CultureInfo.InvariantCulture),
            static fields => new MadeChunk(
                long.Parse(fields[1], CultureInfo.InvariantCulture),
                long.Parse(fields[2], CultureInfo.InvariantCulture),
                (ChunkEncoding)byte.Parse(fields[3], CultureInfo.InvariantCulture),
                fields[4]));
}
