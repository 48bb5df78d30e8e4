using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>What is deleted of a block: for each series disjoint intervals, ascending, with time between them.</summary>
/// <remarks>
/// Intervals that overlap or touch (1 ms apart) become one, as in Prometheus; so whether a chunk is gone as a whole shows in one of them.
/// Memory: 16 bytes an interval, 8 a series. Immutable; thread-safe.
/// </remarks>
public sealed class Tombstones
{
    private readonly uint[] _series;
    private readonly int[] _starts;
    private readonly TimeRange[] _ranges;

    private Tombstones(uint[] series, int[] starts, TimeRange[] ranges)
    {
        _series = series;
        _starts = starts;
        _ranges = ranges;
    }

    /// <summary>Nothing is deleted.</summary>
    public static Tombstones None { get; } = new([], [0], []);

    /// <summary>Number of intervals, as <c>numTombstones</c> of <c>meta.json</c> counts them.</summary>
    public int Count => _ranges.Length;

    /// <summary>True if nothing is deleted.</summary>
    public bool IsEmpty => _ranges.Length == 0;

    /// <summary>Puts deletions in order.</summary>
    /// <param name="tombstones">Any order, any overlap.</param>
    /// <exception cref="ArgumentException">An interval ends before it begins.</exception>
    public static Tombstones Of(IEnumerable<Tombstone> tombstones)
    {
        List<Tombstone> sorted = [.. tombstones];
        if (sorted.Count == 0) return None;
        sorted.Sort(static (a, b) => a.SeriesId != b.SeriesId ? a.SeriesId.CompareTo(b.SeriesId) : a.Range.MinMs.CompareTo(b.Range.MinMs));
        List<uint> series = [];
        List<int> starts = [];
        List<TimeRange> ranges = [];
        foreach (Tombstone tombstone in sorted)
        {
            if (tombstone.Range.IsEmpty) throw new ArgumentException("a tombstone ends before it begins", nameof(tombstones));
            bool isNewSeries = series.Count == 0 || series[^1] != tombstone.SeriesId;
            if (isNewSeries)
            {
                series.Add(tombstone.SeriesId);
                starts.Add(ranges.Count);
            }

            if (isNewSeries || !TimeRanges.Touches(ranges[^1], tombstone.Range)) ranges.Add(tombstone.Range);
            else ranges[^1] = new TimeRange(ranges[^1].MinMs, Math.Max(ranges[^1].MaxMs, tombstone.Range.MaxMs));
        }

        starts.Add(ranges.Count);
        return new Tombstones([.. series], [.. starts], [.. ranges]);
    }

    /// <summary>What is deleted of a series, ascending and disjoint; mostly nothing.</summary>
    public ReadOnlySpan<TimeRange> OfSeries(uint seriesId)
    {
        int found = _series.AsSpan().BinarySearch(seriesId);
        return found < 0 ? default : _ranges.AsSpan(_starts[found].._starts[found + 1]);
    }

    /// <summary>All deletions, by series and time.</summary>
    public IEnumerable<Tombstone> All()
    {
        for (int i = 0; i < _series.Length; i++)
        {
            for (int j = _starts[i]; j < _starts[i + 1]; j++) yield return new Tombstone(_series[i], _ranges[j]);
        }
    }
}
