using System.Text;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Otlp;

/// <summary>One series of a translated export.</summary>
internal sealed class OtlpSeries
{
    public List<Sample> Samples { get; } = [];

    public List<Histogram> Histograms { get; } = [];

    public List<Exemplar> Exemplars { get; } = [];
}

/// <summary>The series of a translated export, in the order in which they were met, and the body of remote write 1.0 that says the same.</summary>
/// <remarks>
/// A histogram's buckets share all labels but one: a set of labels is kept once, and a series is that set, a name and one label more. Names, and who sent them, are numbers
/// too: what is long and stands in an export once is read once, however many data points are below it. One thread's.
/// </remarks>
internal sealed class OtlpSeriesSet
{
    private const int SeriesTag = (1 << 3) | 2;
    private const int ExemplarField = 3;
    private const int MetadataField = 3;

    private readonly List<SortedDictionary<string, string>> _labels = [];
    private readonly Dictionary<string, int> _labelIds = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];
    private readonly Dictionary<string, int> _nameIds = new(StringComparer.Ordinal);
    private readonly Dictionary<OtlpTarget, int> _targetIds = [];
    private readonly Dictionary<Key, OtlpSeries> _series = [];
    private readonly List<MetricMetadata> _metadata = [];
    private OtlpTarget _target;
    private int _targetId;

    /// <summary>Samples and histograms so far.</summary>
    public long Samples { get; private set; }

    /// <summary>Keeps the name of a series.</summary>
    /// <returns>Its number.</returns>
    public int InternName(string name)
    {
        if (_nameIds.TryGetValue(name, out int id)) return id;
        _names.Add(name);
        _nameIds.Add(name, _names.Count - 1);
        return _names.Count - 1;
    }

    /// <summary>Says who sends the labels that come next.</summary>
    public void Begin(OtlpTarget target)
    {
        if (!_targetIds.TryGetValue(target, out int id)) _targetIds.Add(target, id = _targetIds.Count);
        (_target, _targetId) = (target, id);
    }

    /// <summary>Keeps a set of labels, of the target that was begun.</summary>
    /// <param name="labels">All labels but the name.</param>
    /// <returns>Its number.</returns>
    public int Intern(SortedDictionary<string, string> labels)
    {
        // Lengths before texts: no text can look like the border of two. Of who sends there is the number already.
        var text = new StringBuilder().Append(_targetId).Append('|');
        foreach ((string name, string value) in labels)
        {
            if (!_target.Sets(name)) text.Append(name.Length).Append(':').Append(name).Append(value.Length).Append(':').Append(value);
        }

        string key = text.ToString();
        if (_labelIds.TryGetValue(key, out int id)) return id;
        _labels.Add(labels);
        _labelIds.Add(key, _labels.Count - 1);
        return _labels.Count - 1;
    }

    /// <summary>Adds a float.</summary>
    /// <returns>Its series.</returns>
    public OtlpSeries Add(Key key, Sample sample)
    {
        OtlpSeries series = Of(key);
        series.Samples.Add(sample);
        Samples++;
        return series;
    }

    /// <summary>Adds a native histogram.</summary>
    /// <returns>Its series.</returns>
    public OtlpSeries Add(Key key, Histogram histogram)
    {
        OtlpSeries series = Of(key);
        series.Histograms.Add(histogram);
        Samples++;
        return series;
    }

    /// <summary>Notes what a metric is.</summary>
    public void Add(MetricMetadata metadata) => _metadata.Add(metadata);

    /// <summary>Writes the request.</summary>
    /// <param name="output">Empty.</param>
    /// <param name="maxBytes">Most bytes of it.</param>
    /// <returns>False if there are more.</returns>
    public bool TryEncode(PooledBuffer output, long maxBytes)
    {
        using PooledBuffer run = PooledBuffer.Rent(1024);
        using PooledBuffer fields = PooledBuffer.Rent(1024);
        foreach ((Key key, OtlpSeries series) in _series)
        {
            run.SetLength(0);
            WriteLabels(run, key);
            fields.SetLength(0);
            foreach (Exemplar exemplar in series.Exemplars) Append(fields, ExemplarField, exemplar);
            foreach (Histogram histogram in series.Histograms) RemoteWriteV1.EncodeHistogram(fields, histogram.ToByteArray());
            RemoteWriteV1.EncodeSeries(output, run.Span, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(series.Samples), fields.Span);
            if (output.Length > maxBytes) return false;
        }

        foreach (MetricMetadata metadata in _metadata)
        {
            Append(output, MetadataField, metadata);
            if (output.Length > maxBytes) return false;
        }

        return true;
    }

    private OtlpSeries Of(Key key)
    {
        if (_series.TryGetValue(key, out OtlpSeries? series)) return series;
        _series.Add(key, series = new OtlpSeries());
        return series;
    }

    /// <summary>A label that the metric's kind adds may be an attribute too: then it is there twice, and the series is refused by name.</summary>
    private void WriteLabels(PooledBuffer run, Key key)
    {
        List<(string Name, string Value)> labels = [.. _labels[key.Labels].Select(static pair => (pair.Key, pair.Value)), ("__name__", _names[key.Metric])];
        if (key.Name is not null) labels.Add((key.Name, key.Value!));
        foreach ((string name, string value) in labels.OrderBy(static label => label.Name, StringComparer.Ordinal))
        {
            byte[] nameBytes = Encoding.UTF8.GetBytes(name);
            byte[] valueBytes = Encoding.UTF8.GetBytes(value);
            int size = Labels.SizeOf(nameBytes.Length, valueBytes.Length);
            Labels.Write(run.Reserve(size), nameBytes, valueBytes);
            run.SetLength(run.Length + size);
        }
    }

    private static void Append(PooledBuffer output, int field, IMessage message)
    {
        byte[] bytes = message.ToByteArray();
        int size = 1 + Varint.SizeOf((uint)bytes.Length) + bytes.Length;
        Span<byte> space = output.Reserve(size);
        space[0] = (byte)((field << 3) | (SeriesTag & 7));
        bytes.CopyTo(space[(1 + Varint.Write(space[1..], (uint)bytes.Length))..]);
        output.SetLength(output.Length + size);
    }

    /// <summary>What a series is.</summary>
    /// <param name="Labels">Number of its set of labels.</param>
    /// <param name="Metric">Number of its name.</param>
    /// <param name="Name">Name of the label that tells it from others of its data point; null if there is none.</param>
    /// <param name="Value">Value of that label.</param>
    internal readonly record struct Key(int Labels, int Metric, string? Name = null, string? Value = null);
}
