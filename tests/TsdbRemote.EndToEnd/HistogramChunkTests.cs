using System.Globalization;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.TestSupport;

namespace TsdbRemote.EndToEnd;

/// <summary>Histogram chunks of a real Prometheus against those that are made here of the same samples.</summary>
public sealed class HistogramChunkTests : IDisposable
{
    private readonly WorkDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [PeerFact("prometheus")]
    public async Task Prometheus_makes_the_same_chunks_of_the_same_histograms_to_the_byte()
    {
        HistogramTraits[] traits = [.. HistogramHistory.Kept, .. HistogramHistory.Many(150)];
        using PrometheusProcess prometheus = await HistogramDeliveries.StartAsync(_directory.Path);
        await HistogramDeliveries.SendAsync(prometheus.Client, traits);
        Dictionary<string, List<MadeChunk>> theirs = ReadSnapshot(await HistogramDeliveries.SnapshotAsync(prometheus));
        Assert.Equal(traits.Length, theirs.Count);
        foreach (HistogramTraits series in traits)
        {
            List<HistogramSample> samples = HistogramWalk.Series(series, HistogramHistory.StartMs);
            List<MadeChunk> chunks = theirs[HistogramDeliveries.NameOf(series)];
            Assert.True(HistogramChunks.Make(samples, HistogramHistory.WindowMs).SequenceEqual(chunks), $"{series}: {Difference(samples, chunks)}");
            AssertSame(samples, HistogramChunks.Read(chunks));
        }

        Keep(theirs);
    }

    private static string Difference(List<HistogramSample> samples, List<MadeChunk> theirs)
    {
        List<MadeChunk> ours = HistogramChunks.Make(samples, HistogramHistory.WindowMs);
        int at = 0;
        while (at < ours.Count && at < theirs.Count && ours[at].Equals(theirs[at])) at++;
        return $"{ours.Count} chunks for {theirs.Count}; number {at} is\n{ours.ElementAtOrDefault(at)} instead of\n{theirs.ElementAtOrDefault(at)}";
    }

    private static void AssertSame(List<HistogramSample> sent, List<HistogramSample> read)
    {
        Assert.Equal(sent.Select(static sample => sample.TimeMs), read.Select(static sample => sample.TimeMs));
        for (int i = 0; i < sent.Count; i++) Assert.True(sent[i].Histogram.SaysTheSameAs(read[i].Histogram), $"sample {i}");
    }

    private static Dictionary<string, List<MadeChunk>> ReadSnapshot(string directory)
    {
        Dictionary<string, List<MadeChunk>> all = [];
        using var arena = new NativeArena();
        using BlockReader block = BlockReader.Open(new LocalFileSystem(), Assert.Single(BlockPeers.BlocksOf(directory)), mmap: true);
        using BlockSeriesCursor cursor = block.SelectAll(TimeRange.All, CancellationToken.None);
        while (cursor.MoveNext())
        {
            List<SeriesChunk> chunks = [];
            cursor.AddChunks(TimeRange.All, 0, arena, chunks);
            var labels = new LabelRunReader(cursor.Labels);
            Assert.True(labels.MoveNext() && labels.MoveNext());
            all[System.Text.Encoding.UTF8.GetString(labels.Value)] =
            [
                .. chunks.Where(static chunk => chunk.Encoding != ChunkEncoding.Xor)
                    .Select(static chunk => new MadeChunk(chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Encoding, Convert.ToHexStringLower(chunk.Data.Span))),
            ];
        }

        return all;
    }

    /// <summary>Writes the test data of the codec anew where that is asked for.</summary>
    private static void Keep(Dictionary<string, List<MadeChunk>> theirs)
    {
        if (Environment.GetEnvironmentVariable("TSDB_REMOTE_REWRITE_GOLDEN") != "1") return;
        IEnumerable<string> lines = HistogramHistory.Kept.SelectMany(series => theirs[HistogramDeliveries.NameOf(series)]
            .Select(chunk => string.Create(CultureInfo.InvariantCulture, $"{series.Seed} {chunk.MinTimeMs} {chunk.MaxTimeMs} {(byte)chunk.Encoding} {chunk.Hex}")));
        File.WriteAllLines(HistogramChunks.KeptPath(), lines.Prepend("# series, first and last time, encoding and bytes of chunks that Prometheus 3.5.3 made of HistogramHistory.Kept"));
    }
}
