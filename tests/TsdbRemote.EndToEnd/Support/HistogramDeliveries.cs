using System.Globalization;
using System.Text.Json.Nodes;
using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.TestSupport;
using BucketSpan = TsdbRemote.Protos.Prometheus.BucketSpan;
using Label = TsdbRemote.Protos.Prometheus.Label;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Series of native histograms on their way to a real Prometheus, and a Prometheus that takes them.</summary>
public static class HistogramDeliveries
{
    private const long SliceMs = 20 * 60_000;

    /// <summary>The metric that all of them are of; a label <c>series</c> tells them apart.</summary>
    public const string Metric = "h";

    /// <summary>A Prometheus that takes native histograms of any age by remote write.</summary>
    public static async Task<PrometheusProcess> StartAsync(string directory, string name = "prometheus")
    {
        var prometheus = new PrometheusProcess(
            directory,
            name,
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
            "--enable-feature=native-histograms",
            "--storage.tsdb.retention.time=100y");
        await prometheus.StartAsync("global: {}\n");
        return prometheus;
    }

    /// <summary>Value of the label that tells a series from the others.</summary>
    public static string NameOf(HistogramTraits series) => series.Seed.ToString("000", CultureInfo.InvariantCulture);

    /// <summary>When each series has one float, a second behind the last histogram of all.</summary>
    public static long EndMs(IEnumerable<HistogramTraits> series) =>
        series.Max(static one => HistogramWalk.Series(one, HistogramHistory.StartMs)[^1].TimeMs) + 1000;

    /// <summary>Sends all series twenty minutes at a time: a Prometheus takes nothing that is an hour behind its newest sample.</summary>
    /// <remarks>
    /// Then a float to each: a snapshot encodes a series' open chunk anew, without its header, and behind a float sample no chunk of histograms is open.
    /// </remarks>
    public static async Task SendAsync(HttpClient client, HistogramTraits[] series)
    {
        (string Name, List<HistogramSample> Samples)[] all =
            [.. series.Select(static one => (NameOf(one), HistogramWalk.Series(one, HistogramHistory.StartMs)))];
        long endMs = EndMs(series);
        for (long fromMs = HistogramHistory.StartMs; fromMs < endMs; fromMs += SliceMs)
        {
            (string Name, List<List<HistogramSample>> Runs)[] slices = [.. all.Select(one =>
                (one.Name, RunsOf(one.Samples.Where(sample => sample.TimeMs >= fromMs && sample.TimeMs < fromMs + SliceMs))))];
            for (int run = 0; run < slices.Max(static slice => slice.Runs.Count); run++)
            {
                var request = new WriteRequest();
                foreach ((string name, List<List<HistogramSample>> runs) in slices.Where(slice => run < slice.Runs.Count))
                {
                    TimeSeries entry = Entry(name);
                    entry.Histograms.Add(runs[run].Select(ToWire));
                    request.Timeseries.Add(entry);
                }

                await Deliveries.PostAsync(client, IronSnappy.Snappy.Encode(request.ToByteArray()));
            }
        }

        var ends = new WriteRequest();
        foreach ((string name, _) in all)
        {
            TimeSeries entry = Entry(name);
            entry.Samples.Add(new Protos.Prometheus.Sample { Timestamp = endMs, Value = 1 });
            ends.Timeseries.Add(entry);
        }

        await Deliveries.PostAsync(client, IronSnappy.Snappy.Encode(ends.ToByteArray()));
    }

    /// <summary>Copies of all that a Prometheus holds, its head too, as blocks.</summary>
    public static async Task<string> SnapshotAsync(PrometheusProcess prometheus)
    {
        using HttpResponseMessage answer = await prometheus.Client.PostAsync(new Uri("/api/v1/admin/tsdb/snapshot", UriKind.Relative), null);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return Path.Combine(prometheus.DataDir, "snapshots", JsonNode.Parse(text)!["data"]!["name"]!.GetValue<string>());
    }

    private static TimeSeries Entry(string name) => new()
    {
        Labels = { new Label { Name = "__name__", Value = Metric }, new Label { Name = "series", Value = name } },
    };

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
}
