using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// What a store with blocks must answer, as plain maps in layers: foreign blocks by name, above them the blocks made here in the order of their
/// making, above them what is in memory and in tables. The layer above wins.
/// </summary>
internal sealed class StoreModel(long windowMs, long blockDelayMs)
{
    private readonly List<Layer> _blocks = [];
    private readonly List<Layer> _waiting = [];
    private Dictionary<(int Series, long TimeMs), ulong> _tables = [];
    private long _conversions;

    /// <summary>What is there: foreign blocks by name, ours by rank.</summary>
    public IEnumerable<string> Blocks => _blocks.Select(static block => block.Name).Order(StringComparer.Ordinal);

    public void Write(int series, Sample sample) => _tables[(series, sample.TimeMs)] = sample.ValueBits;

    /// <summary>A foreign block is put into the directory; nobody has looked yet.</summary>
    public void Put(string ulid, IEnumerable<(int Series, Sample[] Samples)> series)
    {
        Dictionary<(int, long), ulong> samples = series.SelectMany(static one => one.Samples.Select(sample => ((one.Series, sample.TimeMs), sample.ValueBits)))
            .ToDictionary(static pair => pair.Item1, static pair => pair.ValueBits);
        _waiting.Add(new Layer(ulid, 0, samples.Keys.Max(static key => key.Item2), samples));
    }

    /// <summary>One compaction: adoption, then retention, then conversion of each closed window, the oldest first.</summary>
    /// <param name="nowMs">The clock.</param>
    /// <param name="retentionMs">Age at which a block goes; null if none does, or if the clock is in doubt.</param>
    /// <param name="there">Under retention by size: what is there now, foreign blocks by name and ours by rank. Null: nothing went by size.</param>
    public void Compact(long nowMs, long? retentionMs, IReadOnlySet<string>? there)
    {
        _blocks.AddRange(_waiting);
        _waiting.Clear();
        if (retentionMs is { } age && Newest() is { } newest) _blocks.RemoveAll(block => block.EndMs < Math.Min(newest, nowMs) - age);
        if (there is not null) RetainBySize(there);
        var byWindow = _tables.GroupBy(pair => TimeWindow.StartOf(pair.Key.TimeMs, windowMs)).OrderBy(static window => window.Key);
        foreach (var window in byWindow.ToArray())
        {
            long endMs = TimeWindow.EndOf(window.Key, windowMs);
            if (endMs >= nowMs - blockDelayMs) continue;
            _blocks.Add(new Layer(null, ++_conversions, endMs, window.ToDictionary(static pair => pair.Key, static pair => pair.Value)));
            _tables = _tables.Where(pair => TimeWindow.StartOf(pair.Key.TimeMs, windowMs) != window.Key).ToDictionary();
        }
    }

    /// <summary>Those that end first went, and of these the lowest ranks; how many is for the sizes to say, which are not known here.</summary>
    private void RetainBySize(IReadOnlySet<string> there)
    {
        Layer[] oldestFirst = [.. _blocks.OrderBy(static block => block.EndMs).ThenBy(static block => block.Rank).ThenBy(static block => block.Foreign, StringComparer.Ordinal)];
        Layer[] gone = [.. oldestFirst.TakeWhile(block => !there.Contains(block.Name))];
        Assert.All(oldestFirst[gone.Length..], block => Assert.Contains(block.Name, there));
        foreach (Layer block in gone) _blocks.Remove(block);
    }

    /// <summary>What a read of everything answers.</summary>
    public Dictionary<int, List<Sample>> Expected()
    {
        var merged = new Dictionary<(int Series, long TimeMs), ulong>();
        IEnumerable<Dictionary<(int, long), ulong>> layers =
            _blocks.OrderBy(static block => block.Rank).ThenBy(static block => block.Foreign, StringComparer.Ordinal).Select(static block => block.Samples).Append(_tables);
        foreach (Dictionary<(int, long), ulong> layer in layers)
        {
            foreach (((int, long) key, ulong bits) in layer) merged[key] = bits;
        }

        return merged.GroupBy(static pair => pair.Key.Series)
            .ToDictionary(static series => series.Key, static series => series.Select(static pair => new Sample(pair.Key.TimeMs, pair.Value)).OrderBy(static sample => sample.TimeMs).ToList());
    }

    private long? Newest()
    {
        IEnumerable<long> ends = _blocks.Select(static block => block.EndMs).Concat(_tables.Keys.Select(static key => key.TimeMs));
        return ends.Any() ? ends.Max() : null;
    }

    /// <summary>A block.</summary>
    /// <param name="Foreign">Its name, if it is a foreign one: the name of one of ours is nobody's business.</param>
    /// <param name="Rank">0 for foreign ones.</param>
    /// <param name="EndMs">Last instant that it may hold.</param>
    /// <param name="Samples">What it holds.</param>
    private sealed record Layer(string? Foreign, long Rank, long EndMs, Dictionary<(int Series, long TimeMs), ulong> Samples)
    {
        public string Name => Foreign ?? $"{Rank}";
    }
}
