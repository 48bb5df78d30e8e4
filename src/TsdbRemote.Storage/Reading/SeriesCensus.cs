using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>Counts what series have in common, each series once however many sources hold it.</summary>
/// <remarks>Memory: each distinct label pair, bounded. One use; not thread-safe.</remarks>
internal sealed class SeriesCensus(long maxBytes)
{
    // Array, entry and spare room of the table of one pair, roughly.
    private const int OverheadBytes = 96;

    private readonly Dictionary<byte[], NameCounts> _names = new(Utf8Comparer.Instance);
    private long _pairs;
    private long _bytes;

    /// <summary>Counts.</summary>
    /// <param name="series">Before its first series; only labels are asked for.</param>
    /// <param name="limit">Longest list wanted, 1 or more.</param>
    /// <exception cref="ReadLimitException">The pairs take more than allowed.</exception>
    public PostingsStatistics Take(SeriesMerge series, int limit)
    {
        Dictionary<byte[], NameCounts>.AlternateLookup<ReadOnlySpan<byte>> names = _names.GetAlternateLookup<ReadOnlySpan<byte>>();
        long count = 0;
        for (; series.MoveNext(); count++)
        {
            var labels = new LabelRunReader(series.Labels);
            while (labels.MoveNext())
            {
                if (!names.TryGetValue(labels.Name, out NameCounts? name)) names[labels.Name] = name = new NameCounts();
                Count(name, labels.Value);
            }
        }

        return Result(count, limit);
    }

    private void Count(NameCounts name, ReadOnlySpan<byte> value)
    {
        ref long seen = ref CollectionsMarshal.GetValueRefOrAddDefault(name.ByValue, value, out bool exists);
        seen++;
        name.Bytes += value.Length;
        if (exists) return;
        _pairs++;
        _bytes += value.Length + OverheadBytes;
        if (_bytes > maxBytes) throw ReadLimitException.OfMemory(maxBytes);
    }

    private PostingsStatistics Result(long count, int limit)
    {
        var metrics = new Largest(limit);
        var values = new Largest(limit);
        var bytes = new Largest(limit);
        var pairs = new Largest(limit);
        foreach ((byte[] name, NameCounts counts) in _names)
        {
            bool isMetricName = name.AsSpan().SequenceEqual("__name__"u8);
            foreach ((byte[] value, long series) in counts.Values)
            {
                if (isMetricName) metrics.Offer(series, default, value);
                pairs.Offer(series, name, value);
            }

            values.Offer(counts.Values.Count, default, name);
            bytes.Offer(counts.Bytes, default, name);
        }

        return new PostingsStatistics(count, _pairs, metrics.Descending(), values.Descending(), bytes.Descending(), pairs.Descending());
    }

    private sealed class NameCounts
    {
        public NameCounts() => ByValue = Values.GetAlternateLookup<ReadOnlySpan<byte>>();

        /// <summary>Series of each value.</summary>
        public Dictionary<byte[], long> Values { get; } = new(Utf8Comparer.Instance);

        public Dictionary<byte[], long>.AlternateLookup<ReadOnlySpan<byte>> ByValue { get; }

        public long Bytes { get; set; }
    }
}
