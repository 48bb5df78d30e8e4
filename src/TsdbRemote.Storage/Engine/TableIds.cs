namespace TsdbRemote.Storage.Engine;

/// <summary>Gives numbers to new tables: flushes and merges never take the same one, and none comes twice. Thread-safe.</summary>
/// <param name="first">First number that no table ever had.</param>
internal sealed class TableIds(long first)
{
    private long _next = first;

    /// <summary>Above every number given; a manifest says at least this.</summary>
    public long Next => Volatile.Read(ref _next);

    /// <summary>A number never given before.</summary>
    public long Take() => Interlocked.Increment(ref _next) - 1;
}
