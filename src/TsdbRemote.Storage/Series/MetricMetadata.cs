using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace TsdbRemote.Storage.Series;

/// <summary>Type of a metric family, numbered as on the wire of remote write 1.0 and 2.0.</summary>
public enum MetricType : byte
{
    /// <summary>Not told.</summary>
    Unknown = 0,

    /// <summary>A number that only rises.</summary>
    Counter = 1,

    /// <summary>A number that rises and falls.</summary>
    Gauge = 2,

    /// <summary>Counts by bucket.</summary>
    Histogram = 3,

    /// <summary>Counts by bucket that may fall.</summary>
    GaugeHistogram = 4,

    /// <summary>Quantiles.</summary>
    Summary = 5,

    /// <summary>Text in labels.</summary>
    Info = 6,

    /// <summary>One of several states.</summary>
    StateSet = 7,
}

/// <summary>What is known of a metric family.</summary>
/// <param name="Type">Its type.</param>
/// <param name="Help">What it means, in words.</param>
/// <param name="Unit">Unit of its values; mostly empty.</param>
public sealed record MetricDescription(MetricType Type, string Help, string Unit);

/// <summary>The same in bytes, as it is kept.</summary>
/// <param name="Name">The family's name.</param>
/// <param name="Type">Its type.</param>
/// <param name="Help">What it means.</param>
/// <param name="Unit">Unit of its values.</param>
public readonly record struct MetadataTexts(byte[] Name, MetricType Type, byte[] Help, byte[] Unit);

/// <summary>What a word about a metric family is to who knows others.</summary>
public enum MetadataNovelty
{
    /// <summary>It cannot be kept.</summary>
    LeftOut,

    /// <summary>It was told before, in a record of the log that this process wrote.</summary>
    Known,

    /// <summary>It has to be logged.</summary>
    News,
}

/// <summary>Metric family → type, help and unit, bounded; what does not fit is left out and counted.</summary>
/// <remarks>
/// Remote write 2.0 repeats the metadata with every series, so being told what is known already takes no lock and allocates nothing.
/// Order:    of two words about a family that with the higher order stays: the sequence of the log record that told it, below all of them what a file says. So it makes no
///           difference in which order segments are replayed, nor whether live writes come between.
/// Durable:  <see cref="Judge"/> says what the log has to hold before a request is acknowledged; it believes only words that this process logged
///           (<see cref="TrustFrom"/>), for of what it read, a segment that is still being replayed may hold a later one.
/// Thread-safe. The lock guards changes and the byte count; nothing is taken inside it.
/// </remarks>
public sealed class MetricMetadata
{
    /// <summary>Most bytes of help and unit together; the help is cut, then the unit.</summary>
    public const int MaxTextBytes = 4096;

    /// <summary>Longest name of a family, in bytes; longer ones are left out.</summary>
    public const int MaxNameBytes = 1024;

    // Objects, arrays and the table's node of one family, roughly.
    private const int OverheadBytes = 200;

    private readonly int _maxFamilies;
    private readonly long _maxBytes;
    private readonly Lock _changes = new();
    private readonly ConcurrentDictionary<byte[], Entry> _families = new(Utf8Comparer.Instance);
    private readonly ConcurrentDictionary<byte[], Entry>.AlternateLookup<ReadOnlySpan<byte>> _byName;
    private int _count;
    private long _bytes;
    private long _leftOut;
    private long _version;
    private ulong _trustedFrom;

    /// <summary>Knows nothing yet.</summary>
    /// <param name="maxFamilies">Most families.</param>
    /// <param name="maxBytes">Most bytes of names and texts, with an allowance for objects.</param>
    public MetricMetadata(int maxFamilies = 50_000, long maxBytes = 32L << 20)
    {
        _maxFamilies = maxFamilies;
        _maxBytes = maxBytes;
        _byName = _families.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <summary>Families known.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Bytes held, as counted against the bound.</summary>
    public long MemoryBytes => Interlocked.Read(ref _bytes);

    /// <summary>Descriptions left out because they did not fit.</summary>
    public long LeftOut => Interlocked.Read(ref _leftOut);

    /// <summary>Counts changes: what has the same version says the same.</summary>
    public long Version => Interlocked.Read(ref _version);

    /// <summary>Words of a lower order are news when they are told again.</summary>
    public void TrustFrom(ulong order)
    {
        lock (_changes) Volatile.Write(ref _trustedFrom, Math.Max(_trustedFrom, order));
    }

    /// <summary>What a word about a family is; what cannot be kept is counted in <see cref="LeftOut"/>.</summary>
    /// <param name="familyUtf8">The family's name; an empty one is left out.</param>
    /// <param name="type">Number of its type on the wire.</param>
    /// <param name="helpUtf8">Help text.</param>
    /// <param name="unitUtf8">Unit.</param>
    public MetadataNovelty Judge(ReadOnlySpan<byte> familyUtf8, int type, ReadOnlySpan<byte> helpUtf8, ReadOnlySpan<byte> unitUtf8)
    {
        if (familyUtf8.IsEmpty) return MetadataNovelty.LeftOut;
        ReadOnlySpan<byte> unit = Cut(unitUtf8, MaxTextBytes);
        ReadOnlySpan<byte> help = Cut(helpUtf8, MaxTextBytes - unit.Length);
        bool isKnown = _byName.TryGetValue(familyUtf8, out Entry? entry);
        if (isKnown && entry!.Equals(TypeOf(type), help, unit)) return entry.Order < Volatile.Read(ref _trustedFrom) ? MetadataNovelty.News : MetadataNovelty.Known;
        if (familyUtf8.Length <= MaxNameBytes && Fits(isKnown, Growth(familyUtf8, entry, help.Length + unit.Length))) return MetadataNovelty.News;
        Interlocked.Increment(ref _leftOut);
        return MetadataNovelty.LeftOut;
    }

    /// <summary>Notes what a sender tells of a family; of two words that of the higher order counts, of equals the last.</summary>
    /// <param name="familyUtf8">The family's name; an empty one is ignored.</param>
    /// <param name="type">Number of its type on the wire; unknown ones count as <see cref="MetricType.Unknown"/>.</param>
    /// <param name="helpUtf8">Help text.</param>
    /// <param name="unitUtf8">Unit.</param>
    /// <param name="order">Sequence of the log record that says so; 0 for a file.</param>
    /// <returns>False if it was left out.</returns>
    public bool Set(
        ReadOnlySpan<byte> familyUtf8, int type, ReadOnlySpan<byte> helpUtf8, ReadOnlySpan<byte> unitUtf8, ulong order = ulong.MaxValue)
    {
        if (familyUtf8.IsEmpty) return true;
        MetricType known = TypeOf(type);
        ReadOnlySpan<byte> unit = Cut(unitUtf8, MaxTextBytes);
        ReadOnlySpan<byte> help = Cut(helpUtf8, MaxTextBytes - unit.Length);
        if (_byName.TryGetValue(familyUtf8, out Entry? entry) && entry.Equals(known, help, unit))
        {
            // A replayed record repeats most of what another said: that takes no lock either. Who replaces the entry meanwhile looks at its order once more.
            entry.RaiseTo(order);
            if (_byName.TryGetValue(familyUtf8, out Entry? current) && ReferenceEquals(current, entry)) return true;
        }

        if (familyUtf8.Length <= MaxNameBytes && TryChange(familyUtf8, new Entry(known, help.ToArray(), unit.ToArray(), order))) return true;
        Interlocked.Increment(ref _leftOut);
        return false;
    }

    /// <summary>What is known of a family.</summary>
    public bool TryGet(string family, [NotNullWhen(true)] out MetricDescription? description)
    {
        description = _families.TryGetValue(Encoding.UTF8.GetBytes(family), out Entry? entry) ? entry.Describe() : null;
        return description is not null;
    }

    /// <summary>All families, by name in ordinal order; made for the caller.</summary>
    public IReadOnlyList<KeyValuePair<string, MetricDescription>> List()
    {
        var list = new List<KeyValuePair<string, MetricDescription>>(Count);
        foreach (KeyValuePair<byte[], Entry> family in _families)
            list.Add(new KeyValuePair<string, MetricDescription>(Encoding.UTF8.GetString(family.Key), family.Value.Describe()));
        list.Sort(static (a, b) => string.CompareOrdinal(a.Key, b.Key));
        return list;
    }

    /// <summary>All families, in no order; a change meanwhile may be in it or not.</summary>
    public IEnumerable<MetadataTexts> Texts()
    {
        foreach (KeyValuePair<byte[], Entry> family in _families)
            yield return new MetadataTexts(family.Key, family.Value.Type, family.Value.Help, family.Value.Unit);
    }

    private static MetricType TypeOf(int type) => type is >= 0 and <= (int)MetricType.StateSet ? (MetricType)type : MetricType.Unknown;

    private static long Growth(ReadOnlySpan<byte> family, Entry? before, int textBytes) =>
        before is null ? OverheadBytes + family.Length + textBytes : textBytes - before.TextBytes;

    private bool Fits(bool isKnown, long growth) =>
        (isKnown || Volatile.Read(ref _count) < _maxFamilies) && (growth <= 0 || Interlocked.Read(ref _bytes) + growth <= _maxBytes);

    private bool TryChange(ReadOnlySpan<byte> family, Entry entry)
    {
        lock (_changes)
        {
            bool isKnown = _byName.TryGetValue(family, out Entry? before);
            if (isKnown && before!.Order > entry.Order) return true; // a later word is known
            long added = Growth(family, before, entry.TextBytes);
            if (!Fits(isKnown, added)) return false;
            byte[] name = family.ToArray();
            _families[name] = entry;
            if (isKnown && before!.Order > entry.Order)
            {
                // Told again just now, and later than this.
                _families[name] = before;
                return true;
            }

            Interlocked.Increment(ref _version);
            Interlocked.Add(ref _bytes, added);
            if (!isKnown) Volatile.Write(ref _count, _count + 1);
            return true;
        }
    }

    /// <summary>The text up to a number of bytes, not cut inside of a character.</summary>
    internal static ReadOnlySpan<byte> Cut(ReadOnlySpan<byte> text, int maxBytes)
    {
        if (text.Length <= maxBytes) return text;
        int end = maxBytes;

        // Continuation bytes are 10xxxxxx.
        while (end > 0 && (text[end] & 0xC0) == 0x80) end--;
        return text[..end];
    }

    private sealed class Entry(MetricType type, byte[] help, byte[] unit, ulong order)
    {
        private ulong _order = order;

        public MetricType Type => type;

        public byte[] Help => help;

        public byte[] Unit => unit;

        public ulong Order => Volatile.Read(ref _order);

        public int TextBytes => help.Length + unit.Length;

        public void RaiseTo(ulong later)
        {
            ulong known = Order;
            while (known < later)
            {
                ulong before = Interlocked.CompareExchange(ref _order, later, known);
                if (before == known) return;
                known = before;
            }
        }

        public bool Equals(MetricType otherType, ReadOnlySpan<byte> otherHelp, ReadOnlySpan<byte> otherUnit) =>
            type == otherType && otherHelp.SequenceEqual(help) && otherUnit.SequenceEqual(unit);

        public MetricDescription Describe() => new(type, Encoding.UTF8.GetString(help), Encoding.UTF8.GetString(unit));
    }
}
