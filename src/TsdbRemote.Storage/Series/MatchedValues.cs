using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Which values of a name a matcher takes, as far as it was asked: so that an expression that comes again is tried only on values that came since.</summary>
/// <remarks>
/// Use:     <see cref="Find"/>; try the values that are newer than it knows; <see cref="Keep"/> both together.
/// Holds:   because a value that matched once always does, values are numbered in the order in which they came, and none ever goes. Series of a value are not kept:
///          its list is read anew each time, so new series of known values are seen.
/// Memory:  bounded in entries and bytes; what was used longest ago goes first. Thread-safe: one lock, held for a look-up or the change of a list.
/// </remarks>
internal sealed class MatchedValues
{
    // Fewer values are tried as fast as they are looked up.
    private const int FewestValues = 1024;

    // An array, the entry, its node and its place in a dictionary, roughly.
    private const int OverheadBytes = 300;

    private readonly Lock _lock = new();
    private readonly Dictionary<Key, LinkedListNode<Entry>> _nodes = [];
    private readonly LinkedList<Entry> _byUse = [];
    private readonly long _maxBytes;
    private readonly int _maxEntries;
    private long _bytes;

    /// <summary>Nothing known yet.</summary>
    /// <param name="maxBytes">Bytes of all entries; a single one takes an eighth at most.</param>
    /// <param name="maxEntries">Matchers.</param>
    public MatchedValues(long maxBytes = 8 << 20, int maxEntries = 1024)
    {
        _maxBytes = maxBytes;
        _maxEntries = maxEntries;
    }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes => Interlocked.Read(ref _bytes);

    /// <summary>What is known of a matcher.</summary>
    /// <param name="matcher">The matcher.</param>
    /// <param name="known">Values that it takes, of those below <paramref name="end"/>.</param>
    /// <param name="end">First number that it was not tried on; 0 if nothing is known.</param>
    public void Find(Matcher matcher, out ReadOnlySpan<uint> known, out uint end)
    {
        lock (_lock)
        {
            if (_nodes.TryGetValue(Key.Of(matcher), out LinkedListNode<Entry>? node))
            {
                _byUse.Remove(node);
                _byUse.AddFirst(node);
                known = node.Value.Values;
                end = node.Value.End;
                return;
            }
        }

        known = default;
        end = 0;
    }

    /// <summary>Keeps what was found out, if it is worth it.</summary>
    /// <param name="matcher">The matcher.</param>
    /// <param name="known">What was known.</param>
    /// <param name="found">Values that it takes besides.</param>
    /// <param name="end">First number that it was not tried on.</param>
    /// <param name="tried">Values that it was tried on just now.</param>
    public void Keep(Matcher matcher, ReadOnlySpan<uint> known, List<uint> found, uint end, int tried)
    {
        // A list is copied only once there is much to add: until then the few newest values are tried again.
        if (tried < Math.Max(FewestValues, known.Length / 8)) return;
        var entry = new Entry(Key.Of(matcher), [.. known, .. found], end);
        if (entry.Bytes > _maxBytes / 8) return;
        lock (_lock)
        {
            // Another thread may have found out more meanwhile.
            if (_nodes.TryGetValue(entry.Key, out LinkedListNode<Entry>? before))
            {
                if (before.Value.End >= end) return;
                Remove(before);
            }

            _nodes.Add(entry.Key, _byUse.AddFirst(entry));
            Interlocked.Add(ref _bytes, entry.Bytes);
            while (_bytes > _maxBytes || _nodes.Count > _maxEntries) Remove(_byUse.Last!);
        }
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _byUse.Remove(node);
        _nodes.Remove(node.Value.Key);
        Interlocked.Add(ref _bytes, -node.Value.Bytes);
    }

    private readonly record struct Key(MatcherType Type, string Name, string Value)
    {
        public static Key Of(Matcher matcher) => new(matcher.Type, matcher.Name, matcher.Value);
    }

    private sealed record Entry(Key Key, uint[] Values, uint End)
    {
        public long Bytes => OverheadBytes + Values.Length * (long)sizeof(uint) + (Key.Name.Length + Key.Value.Length) * (long)sizeof(char);
    }
}
