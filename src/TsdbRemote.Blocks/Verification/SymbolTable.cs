using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Symbols by ordinal and ordinals by symbol, read from the file as needed.</summary>
/// <remarks>
/// Every 32nd offset is kept (8 bytes: 250 KB a million symbols), one bit a symbol for "used" (125 KB), and up to 1,024 groups of 32
/// symbols as read. Its table has been walked once, so lengths can be believed as long as the file does not change. Spans are valid until
/// the next call. Not thread-safe.
/// </remarks>
internal sealed class SymbolTable : IDisposable
{
    /// <summary>Symbols from one kept offset to the next.</summary>
    public const int GroupSize = 32;

    private const int CachedGroups = 1024;
    private const int MaxCachedBytes = 64 << 10;

    private readonly FileSource _index;
    private readonly List<long> _groups;
    private readonly (int Group, PooledBuffer? Bytes)[] _cache = new (int, PooledBuffer?)[CachedGroups];
    private PooledBuffer? _large;
    private readonly BitSet _used;

    /// <summary>Takes what the walk of the table found.</summary>
    /// <param name="index">The index.</param>
    /// <param name="groups">Offset of every 32nd symbol, and the end of the last one.</param>
    /// <param name="count">Number of symbols.</param>
    public SymbolTable(FileSource index, List<long> groups, uint count)
    {
        _index = index;
        _groups = groups;
        Count = count;
        _used = new BitSet(count);
        Array.Fill(_cache, (-1, null));
    }

    /// <summary>Number of symbols.</summary>
    public uint Count { get; }

    /// <summary>Whether the symbols ascend, so that ordinals compare as their symbols do.</summary>
    public required bool IsSorted { get; init; }

    /// <summary>Ordinal of <c>__name__</c>; -1 if there is none.</summary>
    public required long MetricName { get; init; }

    /// <summary>Ordinal of the empty symbol; -1 if there is none.</summary>
    public required long Empty { get; init; }

    /// <summary>Bytes of the longest symbol.</summary>
    public required int LongestBytes { get; init; }

    /// <summary>Notes that a series uses a symbol.</summary>
    public void MarkUsed(uint ordinal) => _used.Set(ordinal);

    /// <summary>
    /// Reports symbols that no series used: the rest of rule 31. Only odd: Prometheus writes all symbols of its head into a block, those
    /// of series too that have no sample in the block's range.
    /// </summary>
    public void ReportUnused(Findings findings)
    {
        for (uint i = 0; i < Count; i++)
        {
            if (_used.Has(i) || i == Empty) continue;
            long near = _groups[(int)(i / GroupSize)];
            findings.Warning(31, IndexShape.File, near, $"symbol {i}, \"{LabelText.Escape(Get(i), 64)}\", is used by no series");
        }
    }

    /// <summary>The symbol of an ordinal below <see cref="Count"/>.</summary>
    public ReadOnlySpan<byte> Get(uint ordinal)
    {
        ReadOnlySpan<byte> group = Group((int)(ordinal / GroupSize));
        int at = 0;
        for (uint i = ordinal % GroupSize; i > 0; i--) Next(group, ref at);
        return Next(group, ref at);
    }

    /// <summary>Finds a symbol by binary search; the table must be sorted.</summary>
    /// <param name="symbol">What is looked for.</param>
    /// <param name="from">Ordinal below which it is known not to be: the search begins near it and widens.</param>
    /// <returns>Its ordinal, or -1.</returns>
    public long Find(ReadOnlySpan<byte> symbol, uint from = 0)
    {
        if (Count == 0) return -1;
        int low = (int)Math.Min(from, Count - 1) / GroupSize;
        int step = 1;
        int high = low + 1;
        int last = _groups.Count - 1;
        while (high < last && First(high).SequenceCompareTo(symbol) <= 0)
        {
            low = high;
            high = Math.Min(high + step, last);
            step *= 2;
        }

        while (high - low > 1)
        {
            int middle = (low + high) / 2;
            if (First(middle).SequenceCompareTo(symbol) <= 0) low = middle;
            else high = middle;
        }

        return FindIn(low, symbol);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, PooledBuffer? bytes) in _cache) bytes?.Dispose();
        _large?.Dispose();
        _used.Dispose();
    }

    private long FindIn(int group, ReadOnlySpan<byte> symbol)
    {
        ReadOnlySpan<byte> bytes = Group(group);
        int at = 0;
        for (uint ordinal = (uint)group * GroupSize; at < bytes.Length; ordinal++)
        {
            if (Next(bytes, ref at).SequenceEqual(symbol)) return ordinal;
        }

        return -1;
    }

    private ReadOnlySpan<byte> First(int group)
    {
        int at = 0;
        return Next(Group(group), ref at);
    }

    private ReadOnlySpan<byte> Next(ReadOnlySpan<byte> group, scoped ref int at)
    {
        if (!Varint.TryRead(group, ref at, out ulong length) || length > (ulong)(group.Length - at))
            throw _index.Corrupt(_groups[0], "the symbol table changed while it was read");
        at += (int)length;
        return group.Slice(at - (int)length, (int)length);
    }

    private ReadOnlySpan<byte> Group(int group)
    {
        int length = (int)(_groups[group + 1] - _groups[group]);
        if (length > MaxCachedBytes) return _index.Read(_groups[group], length, ref _large);
        ref (int Group, PooledBuffer? Bytes) slot = ref _cache[group % CachedGroups];
        if (slot.Group != group)
        {
            slot.Group = -1;
            _index.Read(_groups[group], length, ref slot.Bytes);
            slot.Group = group;
        }

        return slot.Bytes!.Span;
    }
}
