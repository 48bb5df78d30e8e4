namespace TsdbRemote.Storage.Series;

/// <summary>A name and a number, as a line of the status page.</summary>
/// <param name="Name">A metric name, a label name, or a pair as <c>job=node</c>.</param>
/// <param name="Value">Series, values or bytes.</param>
public readonly record struct NamedCount(string Name, long Value);

/// <summary>What <c>/api/v1/status/tsdb</c> tells of the index: each list holds the largest, descending, equal ones by name.</summary>
/// <param name="SeriesCount">Series.</param>
/// <param name="LabelPairCount">Distinct label pairs.</param>
/// <param name="SeriesCountByMetricName">Series of a metric name.</param>
/// <param name="LabelValueCountByLabelName">Distinct values of a label name.</param>
/// <param name="MemoryInBytesByLabelName">Bytes that a name's values take in all label sets, counted for each series (as Prometheus counts them).</param>
/// <param name="SeriesCountByLabelValuePair">Series of a label pair.</param>
public sealed record PostingsStatistics(
    long SeriesCount,
    long LabelPairCount,
    IReadOnlyList<NamedCount> SeriesCountByMetricName,
    IReadOnlyList<NamedCount> LabelValueCountByLabelName,
    IReadOnlyList<NamedCount> MemoryInBytesByLabelName,
    IReadOnlyList<NamedCount> SeriesCountByLabelValuePair)
{
    /// <summary>Counts. One pass over all distinct label pairs, on the caller's thread.</summary>
    /// <param name="postings">The postings; may grow meanwhile.</param>
    /// <param name="limit">Longest list wanted, 1 or more.</param>
    /// <param name="cancel">Checked at each name and each thousand values.</param>
    public static PostingsStatistics Of(Postings postings, int limit, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var metrics = new Largest(limit);
        var values = new Largest(limit);
        var bytes = new Largest(limit);
        var pairs = new Largest(limit);
        for (int name = 0; name < postings.NameCount; name++)
        {
            ReadOnlySpan<byte> nameUtf8 = postings.NameAt(name);
            bool isMetricName = nameUtf8.SequenceEqual("__name__"u8);
            long valueBytes = 0;
            int read = 0;
            Postings.ValueReader reader = postings.ValuesOf(name);
            while (reader.MoveNext())
            {
                if (read++ % 1024 == 0) cancel.ThrowIfCancellationRequested();
                int count = reader.Series.Count;
                valueBytes += (long)reader.Value.Length * count;
                if (isMetricName) metrics.Offer(count, default, reader.Value);
                pairs.Offer(count, nameUtf8, reader.Value);
            }

            values.Offer(postings.ValueCount(name), default, nameUtf8);
            bytes.Offer(valueBytes, default, nameUtf8);
        }

        return new PostingsStatistics(
            postings.IndexedCount, postings.PairCount, metrics.Descending(), values.Descending(), bytes.Descending(), pairs.Descending());
    }
}
