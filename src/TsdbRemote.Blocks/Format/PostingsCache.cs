namespace TsdbRemote.Blocks.Format;

/// <summary>API sketch.</summary>
public sealed class PostingsCacheBudget
{
    /// <summary>Bounds all caches that share it.</summary>
    public PostingsCacheBudget(long maxBytes, int maxEntries) => throw new NotSupportedException();

    /// <summary>Bytes held.</summary>
    public long Bytes { get; }

    /// <summary>Entries held.</summary>
    public int Entries { get; }
}

/// <summary>API sketch.</summary>
public sealed class PostingsCache : IDisposable
{
    /// <summary>Cache of one file.</summary>
    public PostingsCache(PostingsCacheBudget budget) => throw new NotSupportedException();

    /// <summary>Hits.</summary>
    public long Hits { get; }

    /// <summary>Misses.</summary>
    public long Misses { get; }

    /// <inheritdoc/>
    public void Dispose() => throw new NotSupportedException();
}
