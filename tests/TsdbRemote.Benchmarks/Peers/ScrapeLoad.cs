using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A load like that of scrapes: the same series again and again, one sample each, in batches of a sender's size.</summary>
/// <remarks>
/// Labels are about 170 bytes a series, as node and container metrics have; values are a mixture as in real scrapes: counters that step by
/// varying amounts, counters that rest, gauges with two decimals, and constants. Deterministic by series and scrape.
/// </remarks>
public sealed class ScrapeLoad : ILoad
{
    /// <summary>Label <c>job</c> of all series.</summary>
    public const string Job = "kubernetes-nodes";

    private const int Namespaces = 20;

    private readonly byte[][] _labels;
    private readonly int _batchSize;
    private readonly long _startMs;
    private readonly long _intervalMs;

    /// <param name="seriesCount">How many series.</param>
    /// <param name="batchSize">Series of a request.</param>
    /// <param name="startMs">Time of the first scrape.</param>
    /// <param name="intervalMs">Time between two.</param>
    /// <param name="labelsOf">Labels of a series as a canonical run; <see cref="LabelsOf"/> if not given.</param>
    public ScrapeLoad(int seriesCount, int batchSize, long startMs, long intervalMs, Func<int, byte[]>? labelsOf = null)
    {
        _batchSize = batchSize;
        _startMs = startMs;
        _intervalMs = intervalMs;
        _labels = [.. Enumerable.Range(0, seriesCount).AsParallel().AsOrdered().Select(labelsOf ?? LabelsOf)];
    }

    /// <summary>How much earlier the first scrape is than its place, ms.</summary>
    public long LeadMs { get; init; }

    public int BatchesPerScrape => (_labels.Length + _batchSize - 1) / _batchSize;

    public bool IsVersion2 => false;

    /// <summary>The snappy body of one batch of one scrape, remote write 1.0.</summary>
    public byte[] Body(int scrape, int batch)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1 << 19);
        long time = _startMs + scrape * _intervalMs - (scrape == 0 ? LeadMs : 0);
        Span<Sample> sample = stackalloc Sample[1];
        int end = Math.Min((batch + 1) * _batchSize, _labels.Length);
        for (int series = batch * _batchSize; series < end; series++)
        {
            sample[0] = Sample.Of(time + series % 37, ValueOf(series, scrape));
            RemoteWriteV1.EncodeSeries(raw, _labels[series], sample);
        }

        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }

    /// <summary>Selectors that together find each series once.</summary>
    /// <param name="parts">How many; 1 or 20.</param>
    public static IEnumerable<(string Name, string Value)[]> PartsOf(int parts) => parts == 1
        ? [[("job", Job)]]
        : Enumerable.Range(0, Namespaces).Select(static part => new[] { ("job", Job), ("namespace", $"team-{part:D2}") });

    /// <summary>Labels of a series as a canonical run.</summary>
    public static byte[] LabelsOf(int series) => Labels.Encode(
        ("__name__", $"node_network_receive_bytes_total_{series % 200:D3}"),
        ("cluster", "prod-eu-west-1"),
        ("container", $"app-{series % 50:D2}"),
        ("device", $"eth{series % 4}"),
        ("instance", $"10.0.{series / 200 % 256}.{series / 51_200}:9100"),
        ("job", Job),
        ("namespace", NamespaceOf(series)),
        ("pod", $"app-{series % 50:D2}-6d4cf56db6-{series / 200:x5}"));

    /// <summary>Label <c>namespace</c> of a series: one of 20.</summary>
    public static string NamespaceOf(int series) => $"team-{series % Namespaces:D2}";

    /// <summary>Value of a series at a scrape.</summary>
    public static double ValueOf(int series, int scrape)
    {
        uint mix = (uint)(series * 2_654_435_761) ^ (uint)(scrape * 40_503);
        mix = (mix ^ (mix >> 15)) * 2_246_822_519;
        return (series % 4) switch
        {
            0 => series * 1000.0 + scrape * 1500L + mix % 700,
            1 => series * 10.0 + scrape / 20,
            2 => Math.Round(50 + 40 * Math.Sin((scrape + series) / 30.0) + mix % 100 / 100.0, 2),
            _ => series % 7,
        };
    }
}
