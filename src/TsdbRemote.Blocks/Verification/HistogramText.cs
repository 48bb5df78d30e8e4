namespace TsdbRemote.Blocks.Verification;

/// <summary>Feeds histograms to a <see cref="ValueChecksumBuilder"/> in a form that does not depend on how chunks were laid out.</summary>
/// <remarks>
/// <code>
/// kind 2 or 3 │ sum bits                                                                     stale
/// kind 2 or 3 │ sum bits │ count │ zero count │ schema │ threshold bits │ bounds n, bits… │ (side, index, count) of each bucket above 0
/// </code>
/// Empty buckets are left out, because a chunk that is written anew may have more of them.
/// </remarks>
internal sealed class HistogramText
{
    private long[] _indexes = [];

    /// <summary>Adds one sample.</summary>
    public void Write(
        ValueChecksumBuilder values,
        long timeMs,
        bool isStale,
        bool isFloat,
        HistogramLayout layout,
        ulong sumBits,
        ReadOnlySpan<HistogramNumber> numbers)
    {
        values.BeginOther(timeMs);
        values.AddWord(isFloat ? 3UL : 2UL);
        values.AddWord(sumBits);
        if (isStale) return;
        values.AddWord(numbers[0].Bits);
        values.AddWord(numbers[1].Bits);
        values.AddWord((ulong)layout.Schema);
        values.AddWord(layout.ThresholdBits);
        values.AddWord((ulong)layout.Bounds.Count);
        foreach (double bound in layout.Bounds) values.AddWord(BitConverter.DoubleToUInt64Bits(bound));
        if (_indexes.Length < layout.BucketCount) _indexes = new long[layout.BucketCount];
        layout.WriteIndexes(_indexes);
        for (int i = 0; i < layout.BucketCount; i++)
        {
            ref readonly HistogramNumber bucket = ref numbers[2 + i];
            ulong count = isFloat ? bucket.Bits : (ulong)bucket.Absolute;
            if (count == 0) continue;
            values.AddWord(i < layout.PositiveCount ? 0UL : 1UL);
            values.AddWord((ulong)_indexes[i]);
            values.AddWord(count);
        }
    }
}
