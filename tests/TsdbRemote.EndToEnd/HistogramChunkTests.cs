using System.Globalization;
using System.Text.Json.Nodes;
using Google.Protobuf;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.TestSupport;
using BucketSpan = TsdbRemote.Protos.Prometheus.BucketSpan;
using Label = TsdbRemote.Protos.Prometheus.Label;

namespace TsdbRemote.EndToEnd;

/// <summary>Histogram chunks of a real Prometheus against those that are made here of the same samples.</summary>
public sealed class HistogramChunkTests : IDisposable
{
    private const long SliceMs = 20 * 60_000;

    private readonly WorkDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [PeerFact("prometheus")]
    public async Task Prometheus_makes_the_same_chunks_of_the_same_histograms_to_the_byte()
    {
        HistogramTraits[] traits = [.. HistogramHistory.Kept, .. HistogramHistory.Many(150)];
        using PrometheusProcess prometheus = await StartAsync();
        await SendAsync(prometheus.Client, traits);
        Dictionary<string, List<MadeChunk>> theirs = ReadSnapshot(await SnapshotAsync(prometheus));
        Assert.Equal(traits.Length, theirs.Count);
        foreach (HistogramTraits series in traits)
        {
            List<HistogramSample> samples = HistogramWalk.Series(series, HistogramHistory.StartMs);
            List<MadeChunk> chunks = theirs[NameOf(series)];
            Assert.True(HistogramChunks.Make(samples, HistogramHistory.WindowMs).SequenceEqual(chunks), $"{series}: {Difference(samples, chunks)}");
            AssertSame(samples, HistogramChunks.Read(chunks));
        }

        Keep(theirs);
    }

    private async Task<PrometheusProcess> StartAsync()
    {
        var prometheus = new PrometheusProcess(
            _directory.Path,
            "prometheus",
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
            "--enable-feature=native-histograms",
            "--storage.tsdb.retention.time=100y");
        await prometheus.StartAsync("global: {}\n");
        return prometheus;
    }

    private static string NameOf(HistogramTraits series) => $"h{series.Seed:000}";

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

    /// <summary>Sends all series twenty minutes at a time: a Prometheus takes nothing that is an hour behind its newest sample.</summary>
    private static async Task SendAsync(HttpClient client, HistogramTraits[] series)
    {
        (string Name, List<HistogramSample> Samples)[] all =
            [.. series.Select(static one => (NameOf(one), HistogramWalk.Series(one, HistogramHistory.StartMs)))];
        long endMs = all.Max(static one => one.Samples[^1].TimeMs);
        for (long fromMs = HistogramHistory.StartMs; fromMs <= endMs; fromMs += SliceMs)
        {
            (string Name, List<List<HistogramSample>> Runs)[] slices = [.. all.Select(one =>
                (one.Name, RunsOf(one.Samples.Where(sample => sample.TimeMs >= fromMs && sample.TimeMs < fromMs + SliceMs))))];
            for (int run = 0; run < slices.Max(static slice => slice.Runs.Count); run++)
            {
                var request = new WriteRequest();
                foreach ((string name, List<List<HistogramSample>> runs) in slices.Where(slice => run < slice.Runs.Count))
                {
                    var entry = new TimeSeries { Labels = { new Label { Name = "__name__", Value = name } } };
                    entry.Histograms.Add(runs[run].Select(ToWire));
                    request.Timeseries.Add(entry);
                }

                await Deliveries.PostAsync(client, IronSnappy.Snappy.Encode(request.ToByteArray()));
            }
        }

        // A snapshot encodes a series' open chunk anew, without its header. Behind a float sample no chunk of histograms is open.
        var ends = new WriteRequest();
        foreach ((string name, _) in all)
        {
            ends.Timeseries.Add(new TimeSeries
            {
                Labels = { new Label { Name = "__name__", Value = name } },
                Samples = { new Protos.Prometheus.Sample { Timestamp = endMs + 1000, Value = 1 } },
            });
        }

        await Deliveries.PostAsync(client, IronSnappy.Snappy.Encode(ends.ToByteArray()));
    }

    /// <summary>
    /// Samples of one kind in a row. Of a request with both kinds Prometheus stores all integer histograms first, and then drops the float ones before them.
    /// </summary>
    private static List<List<HistogramSample>> RunsOf(IEnumerable<HistogramSample> samples)
    {
        List<List<HistogramSample>> runs = [];
        foreach (HistogramSample sample in samples)
        {
            if (runs.Count == 0 || runs[^1][0].Histogram.IsFloat != sample.Histogram.IsFloat) runs.Add([]);
            runs[^1].Add(sample);
        }

        return runs;
    }

    private static Histogram ToWire(HistogramSample sample)
    {
        NativeHistogram from = sample.Histogram;
        var wire = new Histogram
        {
            Timestamp = sample.TimeMs,
            Schema = from.Schema,
            ZeroThreshold = from.ZeroThreshold,
            ResetHint = (Histogram.Types.ResetHint)from.Hint,
            Sum = BitConverter.UInt64BitsToDouble(from.SumBits),
        };
        wire.PositiveSpans.Add(from.PositiveSpans.Select(static span => new BucketSpan { Offset = span.Offset, Length = span.Length }));
        wire.NegativeSpans.Add(from.NegativeSpans.Select(static span => new BucketSpan { Offset = span.Offset, Length = span.Length }));
        wire.CustomValues.Add(from.CustomBounds);
        if (from.IsFloat)
        {
            wire.CountFloat = BitConverter.UInt64BitsToDouble(from.Count);
            wire.ZeroCountFloat = BitConverter.UInt64BitsToDouble(from.ZeroCount);
            wire.PositiveCounts.Add(from.PositiveBuckets.Select(BitConverter.Int64BitsToDouble));
            wire.NegativeCounts.Add(from.NegativeBuckets.Select(BitConverter.Int64BitsToDouble));
        }
        else
        {
            wire.CountInt = from.Count;
            wire.ZeroCountInt = from.ZeroCount;
            wire.PositiveDeltas.Add(from.PositiveBuckets);
            wire.NegativeDeltas.Add(from.NegativeBuckets);
        }

        return wire;
    }

    private static async Task<string> SnapshotAsync(PrometheusProcess prometheus)
    {
        using HttpResponseMessage answer = await prometheus.Client.PostAsync(new Uri("/api/v1/admin/tsdb/snapshot", UriKind.Relative), null);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return Path.Combine(prometheus.DataDir, "snapshots", JsonNode.Parse(text)!["data"]!["name"]!.GetValue<string>());
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
            Assert.True(labels.MoveNext());
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
        IEnumerable<string> lines = HistogramHistory.Kept.SelectMany(series => theirs[NameOf(series)]
            .Select(chunk => string.Create(CultureInfo.InvariantCulture, $"{series.Seed} {chunk.MinTimeMs} {chunk.MaxTimeMs} {(byte)chunk.Encoding} {chunk.Hex}")));
        File.WriteAllLines(HistogramChunks.KeptPath(), lines.Prepend("# series, first and last time, encoding and bytes of chunks that Prometheus 3.5.3 made of HistogramHistory.Kept"));
    }
}
