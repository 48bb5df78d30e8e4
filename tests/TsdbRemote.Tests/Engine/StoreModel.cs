using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Engine;

/// <summary>A block that is served, as a model is told of it.</summary>
/// <param name="Foreign">Its name, if it is a foreign one: the name of one of ours is nobody's business.</param>
/// <param name="Range">What it says it holds.</param>
internal sealed record ServedBlock(string? Foreign, TimeRange Range);

/// <summary>
/// What a store with blocks must answer, as plain maps in layers: foreign blocks by name, above them the foreign ones that went into blocks made here, what
/// went in earlier above what did later; above these the windows converted here in the order of their conversion, and on top what is in memory and in
/// tables. The layer above wins.
/// </summary>
internal sealed class StoreModel(long windowMs, long blockDelayMs, bool compacts, bool hasRanges)
{
    private const long HourMs = 3_600_000;

    private List<Block> _blocks = [];
    private readonly List<Layer> _waiting = [];
    private Dictionary<(int Series, long TimeMs), ulong> _tables = [];
    private long _conversions;
    private long _rounds;

    public void Write(int series, Sample sample) => _tables[(series, sample.TimeMs)] = sample.ValueBits;

    /// <summary>Samples are deleted from all that there is; not from a foreign block that nobody has looked at.</summary>
    public void Delete(Func<int, bool> selects, TimeRange range)
    {
        foreach (Dictionary<(int Series, long TimeMs), ulong> samples in _blocks.SelectMany(static block => block.Layers).Select(static layer => layer.Samples).Append(_tables))
        {
            foreach ((int Series, long TimeMs) key in samples.Keys.Where(key => selects(key.Series) && range.Contains(key.TimeMs)).ToArray()) samples.Remove(key);
        }
    }

    /// <summary>A foreign block is put into the directory; nobody has looked yet.</summary>
    public void Put(string ulid, IEnumerable<(int Series, Sample[] Samples)> series)
    {
        Dictionary<(int, long), ulong> samples = series.SelectMany(static one => one.Samples.Select(sample => ((one.Series, sample.TimeMs), sample.ValueBits)))
            .ToDictionary(static pair => pair.Item1, static pair => pair.ValueBits);
        _waiting.Add(new Layer(ulid, 0, samples));
    }

    /// <summary>One compaction: adoption, retention, conversion of each closed window, the oldest first, and compaction of blocks until nothing is left to do.</summary>
    /// <param name="nowMs">The clock.</param>
    /// <param name="retentionMs">Age at which a block goes; null if none does, or if the clock is in doubt.</param>
    /// <param name="bySize">True if blocks go by size: how many is for the sizes to say, which are not known here.</param>
    /// <param name="deleted">Blocks that the store says it deleted.</param>
    /// <param name="served">What is served now.</param>
    public void Compact(long nowMs, long? retentionMs, bool bySize, long deleted, IReadOnlyList<ServedBlock> served)
    {
        _rounds++;
        foreach (Layer layer in _waiting) _blocks.Add(new Block([layer], new TimeRange(layer.Samples.Keys.Min(static key => key.Item2), layer.Samples.Keys.Max(static key => key.Item2))));
        _waiting.Clear();
        Retain(nowMs, retentionMs, bySize, deleted);
        Convert(nowMs);
        List<Block> now = [.. served.Select(Take)];
        Assert.All(_blocks, static block => Assert.All(block.Layers, static layer => Assert.Empty(layer.Samples))); // each went into one, or all of it is deleted
        _blocks = now;
        if (compacts) RequireRest(nowMs);
    }

    /// <summary>What a read of everything answers.</summary>
    public Dictionary<int, List<Sample>> Expected()
    {
        var merged = new Dictionary<(int Series, long TimeMs), ulong>();
        IEnumerable<Dictionary<(int, long), ulong>> layers = _blocks.SelectMany(static block => block.Layers).Order().Select(static layer => layer.Samples).Append(_tables);
        foreach (Dictionary<(int, long), ulong> layer in layers)
        {
            foreach (((int, long) key, ulong bits) in layer) merged[key] = bits;
        }

        return merged.GroupBy(static pair => pair.Key.Series)
            .ToDictionary(static series => series.Key, static series => series.Select(static pair => new Sample(pair.Key.TimeMs, pair.Value)).OrderBy(static sample => sample.TimeMs).ToList());
    }

    /// <summary>Those that end first go, and of these the lowest ranks.</summary>
    private void Retain(long nowMs, long? retentionMs, bool bySize, long deleted)
    {
        Block[] oldestFirst = [.. _blocks.OrderBy(static block => block.Range.MaxMs).ThenBy(static block => block.Layers.Max())];
        long? measuredFrom = Newest() is { } newest ? Math.Min(newest, nowMs) : null;
        int tooOld = oldestFirst.Count(block => block.Range.MaxMs < measuredFrom - retentionMs);
        if (!bySize) Assert.Equal(tooOld, deleted);
        foreach (Block block in oldestFirst[..(int)deleted]) _blocks.Remove(block);
    }

    private void Convert(long nowMs)
    {
        foreach (var window in _tables.GroupBy(pair => TimeWindow.StartOf(pair.Key.TimeMs, windowMs)).OrderBy(static window => window.Key).ToArray())
        {
            var range = new TimeRange(window.Key, TimeWindow.EndOf(window.Key, windowMs));
            if (range.MaxMs >= nowMs - blockDelayMs) continue;
            _blocks.Add(new Block([new Layer(null, ++_conversions, window.ToDictionary(static pair => pair.Key, static pair => pair.Value))], range));
            _tables = _tables.Where(pair => !range.Contains(pair.Key.TimeMs)).ToDictionary();
        }
    }

    /// <summary>Finds what went into a block that is served: a block of the same times, or all that lie in its times.</summary>
    private Block Take(ServedBlock served)
    {
        if (served.Foreign is not null || !compacts)
        {
            Block same = _blocks.First(block => block.Layers[0].Foreign == served.Foreign && block.Range == served.Range);
            _blocks.Remove(same);
            return same;
        }

        Block[] parts = [.. _blocks.Where(block => served.Range.Contains(block.Range))];
        Assert.Equal(served.Range, new TimeRange(parts.Min(static block => block.Range.MinMs), parts.Max(static block => block.Range.MaxMs)));
        foreach (Block part in parts) _blocks.Remove(part);
        if (parts is [{ Layers: not [{ Foreign: not null, Order: 0 }] }]) return parts[0]; // a foreign one that was written anew is one of ours
        return new Block([.. parts.SelectMany(static part => part.Layers).Select(layer => layer.Foreign is null || layer.Order != 0 ? layer : layer with { Order = -_rounds })], served.Range);
    }

    /// <summary>Nothing overlaps, and a range that is complete has one block at most.</summary>
    private void RequireRest(long nowMs)
    {
        Block[] sorted = [.. _blocks.OrderBy(static block => block.Range.MinMs)];
        for (int i = 1; i < sorted.Length; i++)
        {
            TimeRange both = new(sorted[i - 1].Range.MinMs, sorted[i].Range.MaxMs);
            Assert.False(sorted[i].Range.Overlaps(sorted[i - 1].Range), $"{sorted[i].Range} overlaps {sorted[i - 1].Range}");
            if (!hasRanges) continue;
            for (long range = windowMs; range <= 18 * HourMs; range *= 3)
            {
                bool areInOne = both.MaxMs <= TimeWindow.EndOf(both.MinMs, range) && TimeWindow.EndOf(both.MinMs, range) < nowMs - blockDelayMs;
                Assert.False(areInOne, $"{sorted[i - 1].Range} and {sorted[i].Range} lie in one range of {range} ms that is complete");
            }
        }
    }

    private long? Newest()
    {
        IEnumerable<long> ends = _blocks.Select(static block => block.Range.MaxMs).Concat(_tables.Keys.Select(static key => key.TimeMs));
        return ends.Any() ? ends.Max() : null;
    }

    private sealed record Block(Layer[] Layers, TimeRange Range);

    /// <summary>What one conversion or one foreign block brought.</summary>
    /// <param name="Foreign">Its name, if it is a foreign one.</param>
    /// <param name="Order">Of a conversion, its number; of a foreign block 0, and once it is part of one made here the round of that, negative.</param>
    /// <param name="Samples">What it holds.</param>
    private sealed record Layer(string? Foreign, long Order, Dictionary<(int Series, long TimeMs), ulong> Samples) : IComparable<Layer>
    {
        // Foreign, foreign that went into ours, ours.
        private int Floor => Foreign is null ? 2 : Order == 0 ? 0 : 1;

        public int CompareTo(Layer? other)
        {
            int order = Floor.CompareTo(other!.Floor);
            if (order == 0) order = Order.CompareTo(other.Order);
            return order != 0 ? order : string.CompareOrdinal(Foreign, other.Foreign);
        }
    }
}
