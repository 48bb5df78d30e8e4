namespace TsdbRemote.Blocks.Model;

/// <summary>Time cut in windows of equal length, aligned to the epoch; floor division, so that negative times work alike.</summary>
public static class TimeWindow
{
    /// <summary>Start of the window that holds <paramref name="timeMs"/>, in ms.</summary>
    /// <remarks>Near <see cref="long.MinValue"/> the start would not fit; it is then <see cref="long.MinValue"/> itself.</remarks>
    public static long StartOf(long timeMs, long windowMs)
    {
        long remainder = timeMs % windowMs;
        if (remainder < 0) remainder += windowMs;
        return timeMs < long.MinValue + remainder ? long.MinValue : timeMs - remainder;
    }

    /// <summary>Last instant of the window that holds <paramref name="timeMs"/>, in ms; both ends belong to it.</summary>
    public static long EndOf(long timeMs, long windowMs)
    {
        long remainder = timeMs % windowMs;
        if (remainder < 0) remainder += windowMs;
        long rest = windowMs - 1 - remainder;
        return timeMs > long.MaxValue - rest ? long.MaxValue : timeMs + rest;
    }

    /// <summary>How many windows hold some of a range; 1 or more.</summary>
    public static long CountOf(TimeRange range, long windowMs) => StartOf(range.MaxMs, windowMs) / windowMs - StartOf(range.MinMs, windowMs) / windowMs + 1;
}
