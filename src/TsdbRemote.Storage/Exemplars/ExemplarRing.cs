using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Exemplars;

/// <summary>What became of an exemplar.</summary>
public enum ExemplarOutcome
{
    /// <summary>It is kept.</summary>
    Stored,

    /// <summary>It is here already.</summary>
    Duplicate,

    /// <summary>It comes before the newest of its series.</summary>
    OutOfOrder,
}

/// <summary>The exemplars of one series that lie in a range of time, oldest first.</summary>
/// <param name="Labels">The series' canonical label run.</param>
/// <param name="Exemplars">At least one.</param>
public sealed record SeriesExemplars(byte[] Labels, IReadOnlyList<Exemplar> Exemplars);

/// <summary>The newest exemplars of all series, as many as fit into a number of bytes: who comes first goes first.</summary>
/// <remarks>
/// Use:       <see cref="Offer"/> decides over one that comes now; <see cref="Restore"/> takes one that was accepted before, from a file or the log, wherever it belongs.
/// Order:     of a series, that of Prometheus 3.5 (tsdb/exemplar.go): by time, then value, then hash of labels. What comes before the newest is refused, but an exact
///            repetition of one that is here is a success, so that a request can be sent again.
/// Leaving:   by order of coming, over all series. What is restored carries the order that it had, so that neither the order in which segments are replayed nor
///            doing it twice makes a difference: those with the highest order that fit are what is left.
/// Series:    are known by their labels, not by the dictionary, which forgets series whose data is in blocks.
/// Memory:    a few objects an exemplar, and some hundred thousand exemplars at most; <see cref="ExemplarBytes"/> and <see cref="SeriesBytes"/> stand for them in the count.
/// Thread-safe. The lock guards everything; nothing is taken inside it.
/// </remarks>
public sealed class ExemplarRing
{
    /// <summary>Bytes of one exemplar beside its labels, roughly: itself, its array, its nodes in the set and the queue.</summary>
    public const int ExemplarBytes = 200;

    /// <summary>Bytes of one series beside its labels, roughly.</summary>
    public const int SeriesBytes = 240;

    // Above every sequence of a log record.
    private const ulong FirstLive = 1UL << 63;

    private static readonly Comparer<Kept> InOrder = Comparer<Kept>.Create(static (a, b) => a.Exemplar.CompareTo(b.Exemplar));

    private readonly long _maxBytes;
    private readonly Lock _changes = new();
    private readonly Dictionary<byte[], Held> _series = new(Utf8Comparer.Instance);
    private readonly Dictionary<byte[], Held>.AlternateLookup<ReadOnlySpan<byte>> _byLabels;
    // One whose order was raised is in it twice: under the lower order it is passed over.
    private readonly PriorityQueue<(Held Series, Kept Exemplar), ulong> _firstCome = new();
    private int _count;
    private ulong _next = FirstLive;
    private long _bytes;
    private long _evicted;
    private long _version;

    /// <summary>An empty ring.</summary>
    /// <param name="maxBytes">Most bytes; 0 if no exemplars are kept.</param>
    public ExemplarRing(long maxBytes)
    {
        _maxBytes = maxBytes;
        _byLabels = _series.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <summary>False if no exemplars are kept.</summary>
    public bool IsOn => _maxBytes > 0;

    /// <summary>Counts changes: what has the same version holds the same.</summary>
    public long Version => Interlocked.Read(ref _version);

    /// <summary>What it holds now.</summary>
    public ExemplarStats Stats
    {
        get
        {
            lock (_changes) return new ExemplarStats(_count, _series.Count, _bytes, _evicted);
        }
    }

    /// <summary>Decides over an exemplar that comes now, and keeps it if it may be.</summary>
    /// <param name="series">The canonical label run of a series that exists.</param>
    /// <param name="exemplar">With labels that an exemplar may have.</param>
    public ExemplarOutcome Offer(ReadOnlySpan<byte> series, Exemplar exemplar)
    {
        ArgumentNullException.ThrowIfNull(exemplar);
        lock (_changes)
        {
            bool isKnown = _byLabels.TryGetValue(series, out Held? held);
            var offered = new Kept(exemplar, _next);
            if (isKnown && held!.Exemplars.Contains(offered)) return ExemplarOutcome.Duplicate;
            if (isKnown && exemplar.ComesBefore(held!.Exemplars.Max!.Exemplar)) return ExemplarOutcome.OutOfOrder;
            _next++;
            Keep(held ?? Add(series), offered);
            return ExemplarOutcome.Stored;
        }
    }

    /// <summary>Keeps an exemplar that was accepted before; of one that is here already, the higher order counts.</summary>
    /// <param name="series">The series' canonical label run.</param>
    /// <param name="exemplar">With labels that an exemplar may have.</param>
    /// <param name="order">When it came, against others that are restored: below any sequence of the log for those of a file.</param>
    public void Restore(ReadOnlySpan<byte> series, Exemplar exemplar, ulong order)
    {
        ArgumentNullException.ThrowIfNull(exemplar);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(order, FirstLive);
        if (!IsOn) return;
        lock (_changes)
        {
            bool isKnown = _byLabels.TryGetValue(series, out Held? held);
            var restored = new Kept(exemplar, order);
            if (isKnown && held!.Exemplars.TryGetValue(restored, out Kept? known))
            {
                if (known.Order >= order) return;
                known.Order = order;
                _firstCome.Enqueue((held, known), order);
                return;
            }

            Keep(held ?? Add(series), restored);
        }
    }

    /// <summary>Finds exemplars.</summary>
    /// <param name="isWanted">Whether a series, given by its canonical label run, is asked for.</param>
    /// <param name="range">Closed, ms.</param>
    /// <returns>The series that have some, in label order.</returns>
    public IReadOnlyList<SeriesExemplars> Find(Func<byte[], bool> isWanted, TimeRange range)
    {
        ArgumentNullException.ThrowIfNull(isWanted);
        var found = new List<SeriesExemplars>();
        foreach (Held series in AllSeries())
        {
            // Expressions are not evaluated under the lock, which writers wait for.
            if (!isWanted(series.Labels)) continue;
            List<Exemplar> exemplars;
            lock (_changes) exemplars = [.. series.Exemplars.Select(static kept => kept.Exemplar).Where(exemplar => range.Contains(exemplar.At.TimeMs))];
            if (exemplars.Count > 0) found.Add(new SeriesExemplars(series.Labels, exemplars));
        }

        found.Sort(static (a, b) => Labels.Compare(a.Labels, b.Labels));
        return found;
    }

    /// <summary>Everything, in the order in which it came.</summary>
    /// <param name="version">The version that this is.</param>
    public IReadOnlyList<(byte[] Series, Exemplar Exemplar)> All(out long version)
    {
        (byte[] Series, Exemplar Exemplar, ulong Order)[] all;
        lock (_changes)
        {
            version = _version;
            all = [.. _series.Values.SelectMany(static series => series.Exemplars.Select(kept => (series.Labels, kept.Exemplar, kept.Order)))];
        }

        Array.Sort(all, static (a, b) => a.Order != b.Order ? a.Order.CompareTo(b.Order) : a.Exemplar.CompareTo(b.Exemplar));
        return Array.ConvertAll(all, static item => (item.Series, item.Exemplar));
    }

    private Held[] AllSeries()
    {
        lock (_changes) return [.. _series.Values];
    }

    private Held Add(ReadOnlySpan<byte> series)
    {
        var held = new Held(series.ToArray());
        _series.Add(held.Labels, held);
        _bytes += SeriesBytes + held.Labels.Length;
        return held;
    }

    private void Keep(Held series, Kept exemplar)
    {
        series.Exemplars.Add(exemplar);
        _firstCome.Enqueue((series, exemplar), exemplar.Order);
        _count++;
        _bytes += ExemplarBytes + exemplar.Exemplar.LabelBytes;
        Interlocked.Increment(ref _version);
        while (_bytes > _maxBytes) Evict();
    }

    private void Evict()
    {
        Invariant.Check(_firstCome.TryDequeue(out (Held Series, Kept Exemplar) first, out ulong order));
        if (first.Exemplar.Order != order) return;
        first.Series.Exemplars.Remove(first.Exemplar);
        _count--;
        _bytes -= ExemplarBytes + first.Exemplar.Exemplar.LabelBytes;
        _evicted++;
        if (first.Series.Exemplars.Count > 0) return;
        _series.Remove(first.Series.Labels);
        _bytes -= SeriesBytes + first.Series.Labels.Length;
    }

    /// <summary>An exemplar that is here, and when it came.</summary>
    private sealed class Kept(Exemplar exemplar, ulong order)
    {
        public Exemplar Exemplar { get; } = exemplar;

        public ulong Order { get; set; } = order;
    }

    private sealed class Held(byte[] labels)
    {
        public byte[] Labels { get; } = labels;

        public SortedSet<Kept> Exemplars { get; } = new(InOrder);
    }
}

/// <summary>What a ring holds.</summary>
/// <param name="Count">Exemplars.</param>
/// <param name="Series">Series that have some.</param>
/// <param name="Bytes">Bytes, as counted against the bound.</param>
/// <param name="Evicted">Exemplars that had to go since the start.</param>
public readonly record struct ExemplarStats(long Count, long Series, long Bytes, long Evicted);
