namespace TsdbRemote.Blocks.Model;

/// <summary>A closed interval in milliseconds since the epoch: both ends belong to it, as in a Prometheus query.</summary>
public readonly record struct TimeRange(long MinMs, long MaxMs)
{
    /// <summary>All of time.</summary>
    public static TimeRange All { get; } = new(long.MinValue, long.MaxValue);

    /// <summary>True if no instant lies inside.</summary>
    public bool IsEmpty => MinMs > MaxMs;

    /// <summary>True if some instant lies in both.</summary>
    public bool Overlaps(TimeRange other) => MinMs <= other.MaxMs && other.MinMs <= MaxMs;

    /// <summary>True if the instant lies inside.</summary>
    public bool Contains(long timeMs) => timeMs >= MinMs && timeMs <= MaxMs;

    /// <summary>True if all of the other lies inside.</summary>
    public bool Contains(TimeRange other) => other.MinMs >= MinMs && other.MaxMs <= MaxMs;
}
