using System.Text;

namespace TsdbRemote.Storage.Series;

/// <summary>Keeps the largest of what it is offered; makes a string only of what may stay.</summary>
internal sealed class Largest(int limit)
{
    // Smallest first: the lowest count and, among equals, the name that sorts last.
    private readonly PriorityQueue<NamedCount, NamedCount> _kept = new(Comparer<NamedCount>.Create(Ascending));

    /// <summary>Offers a count of a value, of a pair if there is a name, or of a name alone.</summary>
    public void Offer(long count, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (_kept.Count == limit && count < _kept.Peek().Value) return;
        string text = name.IsEmpty ? Encoding.UTF8.GetString(value) : $"{Encoding.UTF8.GetString(name)}={Encoding.UTF8.GetString(value)}";
        var offered = new NamedCount(text, count);
        if (_kept.Count < limit) _kept.Enqueue(offered, offered);
        else _kept.EnqueueDequeue(offered, offered);
    }

    /// <summary>What was kept, the largest first, equal ones by name.</summary>
    public NamedCount[] Descending()
    {
        NamedCount[] sorted = [.. _kept.UnorderedItems.Select(static item => item.Element)];
        Array.Sort(sorted, static (a, b) => Ascending(b, a));
        return sorted;
    }

    private static int Ascending(NamedCount a, NamedCount b) =>
        a.Value != b.Value ? a.Value.CompareTo(b.Value) : string.CompareOrdinal(b.Name, a.Name);
}
