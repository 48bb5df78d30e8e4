using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>
/// What the caches of evaluated matchers of all blocks may hold together; whoever needs room takes it from what was used longest ago.
/// </summary>
/// <remarks>Thread-safe: one lock for all caches, held for a look-up or the change of a list, never while a matcher is evaluated.</remarks>
public sealed class PostingsCacheBudget
{
    // An array of ids, the entry, its node and its place in a dictionary, roughly.
    private const int EntryOverheadBytes = 300;

    private readonly Lock _lock = new();
    private readonly LinkedList<Entry> _byUse = [];
    private readonly long _maxBytes;
    private readonly int _maxEntries;
    private long _bytes;

    /// <summary>An empty budget.</summary>
    /// <param name="maxBytes">Bytes of all entries; a single one takes an eighth at most. 0 = nothing is kept.</param>
    /// <param name="maxEntries">Matchers of all blocks.</param>
    public PostingsCacheBudget(long maxBytes, int maxEntries = 100_000)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(maxEntries);
        _maxBytes = maxBytes;
        _maxEntries = maxEntries;
    }

    /// <summary>Bytes held.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Matchers held, each for one block.</summary>
    public int Entries
    {
        get
        {
            lock (_lock) return _byUse.Count;
        }
    }

    internal uint[]? Find(PostingsCache cache, PostingsCache.Key key)
    {
        lock (_lock)
        {
            if (!cache.Nodes.TryGetValue(key, out LinkedListNode<Entry>? node)) return null;
            _byUse.Remove(node);
            _byUse.AddFirst(node);
            return node.Value.Ids;
        }
    }

    internal void Add(PostingsCache cache, PostingsCache.Key key, uint[] ids)
    {
        long bytes = EntryOverheadBytes + ids.Length * (long)sizeof(uint) + key.Characters * (long)sizeof(char);
        if (bytes > _maxBytes / 8 || _maxEntries == 0) return;
        lock (_lock)
        {
            // Another thread may have evaluated the same matcher meanwhile; the answers are equal.
            if (cache.IsDisposed || cache.Nodes.ContainsKey(key)) return;
            while (_byUse.Count >= _maxEntries || _bytes + bytes > _maxBytes) Remove(_byUse.Last!);
            cache.Nodes.Add(key, _byUse.AddFirst(new Entry(cache, key, ids, bytes)));
            Interlocked.Add(ref _bytes, bytes);
        }
    }

    internal void Remove(PostingsCache cache)
    {
        lock (_lock)
        {
            cache.IsDisposed = true;
            foreach (LinkedListNode<Entry> node in cache.Nodes.Values.ToArray()) Remove(node);
        }
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _byUse.Remove(node);
        node.Value.Cache.Nodes.Remove(node.Value.Key);
        Interlocked.Add(ref _bytes, -node.Value.Bytes);
    }

    internal sealed record Entry(PostingsCache Cache, PostingsCache.Key Key, uint[] Ids, long Bytes);
}

/// <summary>The evaluated matchers of one immutable index: which series a matcher keeps or, if it accepts "", removes.</summary>
/// <remarks>
/// Use:  one for each open index, all on one <see cref="PostingsCacheBudget"/>; pass it to <see cref="IndexReader.SelectSeries"/>; dispose it with
///       the index. Only what costs more than reading one list is kept: matchers that ask each value, and sets of values.
/// Thread-safe. Arrays handed out are shared: nobody changes them.
/// </remarks>
public sealed class PostingsCache : IDisposable
{
    private readonly PostingsCacheBudget _budget;
    private long _hits;
    private long _misses;

    /// <summary>An empty cache.</summary>
    public PostingsCache(PostingsCacheBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        _budget = budget;
    }

    /// <summary>Matchers that were found here.</summary>
    public long Hits => Interlocked.Read(ref _hits);

    /// <summary>Matchers that were not.</summary>
    public long Misses => Interlocked.Read(ref _misses);

    /// <summary>Guarded by the budget's lock.</summary>
    internal Dictionary<Key, LinkedListNode<PostingsCacheBudget.Entry>> Nodes { get; } = [];

    /// <summary>Guarded by the budget's lock: a query that ends after the block is gone adds nothing.</summary>
    internal bool IsDisposed { get; set; }

    /// <summary>Lets all entries go.</summary>
    public void Dispose() => _budget.Remove(this);

    internal uint[]? Find(Matcher matcher)
    {
        uint[]? ids = _budget.Find(this, Key.Of(matcher));
        if (ids is null) Interlocked.Increment(ref _misses);
        else Interlocked.Increment(ref _hits);
        return ids;
    }

    internal void Add(Matcher matcher, uint[] ids) => _budget.Add(this, Key.Of(matcher), ids);

    internal readonly record struct Key(MatcherType Type, string Name, string Value)
    {
        public int Characters => Name.Length + Value.Length;

        public static Key Of(Matcher matcher) => new(matcher.Type, matcher.Name, matcher.Value);
    }
}
