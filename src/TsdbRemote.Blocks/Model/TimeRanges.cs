namespace TsdbRemote.Blocks.Model;

/// <summary>Lists of intervals that are ascending and disjoint, with time between them. Stateless; thread-safe.</summary>
/// <remarks>Intervals that overlap or touch (1 ms apart) become one, as in Prometheus; so whether a chunk lies in them as a whole shows in one of them.</remarks>
public static class TimeRanges
{
    /// <summary>Puts intervals in order.</summary>
    /// <param name="ranges">Any order, any overlap, none empty; put in order in place.</param>
    public static void Join(List<TimeRange> ranges)
    {
        ArgumentNullException.ThrowIfNull(ranges);
        if (ranges.Count < 2) return;
        ranges.Sort(static (a, b) => a.MinMs.CompareTo(b.MinMs));
        int last = 0;
        for (int i = 1; i < ranges.Count; i++)
        {
            TimeRange next = ranges[i];
            if (!Touches(ranges[last], next)) ranges[++last] = next;
            else ranges[last] = ranges[last] with { MaxMs = Math.Max(ranges[last].MaxMs, next.MaxMs) };
        }

        ranges.RemoveRange(last + 1, ranges.Count - last - 1);
    }

    /// <summary>The intervals of two lists, in order.</summary>
    public static TimeRange[] Union(ReadOnlySpan<TimeRange> some, ReadOnlySpan<TimeRange> others)
    {
        List<TimeRange> all = new(some.Length + others.Length);
        all.AddRange(some);
        all.AddRange(others);
        Join(all);
        return [.. all];
    }

    /// <summary>Index of the first interval of a list that does not lie before a range; the list's length if all do.</summary>
    public static int FirstTouching(ReadOnlySpan<TimeRange> ranges, TimeRange range)
    {
        int low = 0;
        int high = ranges.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (ranges[middle].MaxMs < range.MinMs) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    /// <summary>True if a later interval begins inside an earlier one or right behind it.</summary>
    public static bool Touches(TimeRange earlier, TimeRange later) => earlier.MaxMs == long.MaxValue || later.MinMs <= earlier.MaxMs + 1;
}
