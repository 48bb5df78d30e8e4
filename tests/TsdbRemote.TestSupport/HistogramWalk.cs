using TsdbRemote.Blocks.Model;

namespace TsdbRemote.TestSupport;

/// <summary>What a series of histograms is like.</summary>
/// <param name="Seed">Decides everything that is left to chance; the same in every run.</param>
/// <param name="Samples">How many.</param>
/// <param name="StepMs">Time between two of them.</param>
public sealed record HistogramTraits(ulong Seed, int Samples, long StepMs)
{
    /// <summary>Counts are fractions.</summary>
    public bool IsFloat { get; init; }

    /// <summary>Bounds are listed.</summary>
    public bool IsCustom { get; init; }

    /// <summary>Begins as a gauge.</summary>
    public bool IsGauge { get; init; }

    /// <summary>Now and then integer histograms become float ones or the reverse.</summary>
    public bool IsMixed { get; init; }

    /// <summary>Buckets at the beginning; six at most of custom ones.</summary>
    public int Buckets { get; init; } = 8;

    /// <summary>Events in a thousand samples.</summary>
    public int Unrest { get; init; }

    /// <summary>True if nothing falls: events bring new and empty buckets only.</summary>
    public bool OnlyGrows { get; init; }

    /// <summary>
    /// True if a counter gains no bucket while it may lack an empty one of its chunk. Where it does both, Prometheus 3.5 gives the empty one a wrong place
    /// (expandFloatSpansAndBuckets and its twin forget its index), which later releases put right.
    /// </summary>
    public bool IsOneWay { get; init; }
}

/// <summary>One sample of a series of histograms.</summary>
public readonly record struct HistogramSample(long TimeMs, NativeHistogram Histogram);

/// <summary>Makes histograms such as real ones and odd ones: buckets come and go, counters start anew, spans are split, layouts change, series end.</summary>
/// <remarks>Each histogram is one that a receiver takes. Not of the product: no codec of it is used here.</remarks>
public sealed class HistogramWalk
{
    private static readonly double[] Bounds = [-1.5, 0.005, 0.01, 0.025, 0.1, 0.3333, 1, 2.5, 1000, 33554.43, 33554.431, 1e9];

    private readonly HistogramTraits _traits;
    private readonly SortedDictionary<int, long> _positive = [];
    private readonly SortedDictionary<int, long> _negative = [];
    private ulong _state;
    private bool _isFloat;
    private bool _isGauge;
    private bool _isReset;
    private bool _isStale;
    private bool _sumIsNaN;
    private bool _hasOddSpans;
    private bool _lacks;
    private long _zero;
    private long _sum;
    private int _schema = 3;
    private double _threshold = Math.ScaleB(1, -128);
    private int _boundCount = Bounds.Length - 2;

    private HistogramWalk(HistogramTraits traits)
    {
        _traits = traits;
        _state = traits.Seed * 0x9E3779B97F4A7C15 + 1;
        _isFloat = traits.IsFloat;
        _isGauge = traits.IsGauge;
        int start = traits.IsCustom ? 0 : -3;
        int buckets = traits.IsCustom ? Math.Min(traits.Buckets, 6) : traits.Buckets;
        for (int i = 0; i < buckets; i++) _positive[start + i + i / 3] = Below(40);
        if (!traits.IsCustom) _negative[1] = 3;
    }

    /// <summary>Makes a series.</summary>
    public static List<HistogramSample> Series(HistogramTraits traits, long startMs)
    {
        var walk = new HistogramWalk(traits);
        List<HistogramSample> samples = [];
        long timeMs = startMs;
        for (int i = 0; i < traits.Samples; i++)
        {
            walk.Step();
            samples.Add(new HistogramSample(timeMs, walk.Snap()));
            timeMs += traits.StepMs + walk.Below(5) - 2;
        }

        return samples;
    }

    private int Below(int bound)
    {
        _state += 0x9E3779B97F4A7C15;
        ulong mix = (_state ^ (_state >> 30)) * 0xBF58476D1CE4E5B9;
        mix = (mix ^ (mix >> 27)) * 0x94D049BB133111EB;
        return (int)((mix ^ (mix >> 31)) % (ulong)bound);
    }

    private void Step()
    {
        _isReset = _isStale = _sumIsNaN = false;
        foreach (SortedDictionary<int, long> side in (SortedDictionary<int, long>[])[_positive, _negative])
        {
            foreach (int index in side.Keys.ToArray())
            {
                if (side[index] > 0 && Below(3) == 0) side[index] += Below(20);
                if (_isGauge && Below(4) == 0) side[index] = Math.Max(0, side[index] - Below(15));
            }
        }

        _sum += Below(1000);
        if (!_traits.IsCustom && Below(5) == 0) _zero += Below(4);
        if (Below(1000) < _traits.Unrest) Event(Below(_traits.OnlyGrows ? 5 : 17));
    }

    private void Event(int kind)
    {
        SortedDictionary<int, long> side = !_traits.IsCustom && Below(3) == 0 ? _negative : _positive;
        int[] keys = [.. side.Keys];
        int key = keys.Length == 0 ? 0 : keys[Below(keys.Length)];
        if (kind <= 2 && _traits.IsOneWay && _lacks && !_isGauge) return;
        if (kind is 3 or 5 or 8 or >= 15) _lacks = true;
        if (kind is 10 or 11 or 12) _lacks = false;
        switch (kind)
        {
            case 0 or 1: side.TryAdd(NewIndex(key), 1 + Below(9)); break;
            case 2: side.TryAdd(NewIndex(key), 0); break;
            case 3: foreach (int index in keys.Where(index => side[index] == 0)) side.Remove(index); break;
            case 4: _hasOddSpans = !_hasOddSpans; break;
            case 5: side.Remove(key); break;
            case 6: if (keys.Length > 0) side[key] /= 2; break;
            case 7: _zero /= 2; break;
            case 8: ChangeLayout(); break;
            case 9: foreach (int index in keys) side[index] = Below(3); break;
            case 10: _isReset = true; break;
            case 11 or 12: _isStale = true; break;
            case 13: _sumIsNaN = true; break;
            case 14: _isGauge = !_isGauge; break;
            case 15: _isFloat ^= _traits.IsMixed; break;
            default: side.Clear(); break;
        }
    }

    private int NewIndex(int near) => _traits.IsCustom ? Below(_boundCount + 1) : near - 6 + Below(13);

    private void ChangeLayout()
    {
        if (_traits.IsCustom)
        {
            _boundCount = Bounds.Length - 2 + Below(3);
            foreach (int index in _positive.Keys.Where(index => index > _boundCount).ToArray()) _positive.Remove(index);
        }
        else if (Below(2) == 0)
        {
            _schema = _schema == 3 ? -2 : 3;
        }
        else
        {
            _threshold = _threshold == 0.001 ? 0 : _threshold == 0 ? Math.ScaleB(1, -128) : 0.001;
        }
    }

    private NativeHistogram Snap()
    {
        var histogram = new NativeHistogram { IsFloat = _isFloat, Hint = _isGauge ? CounterResetHint.Gauge : CounterResetHint.Unknown };
        if (_isReset) histogram.Hint = CounterResetHint.Reset;
        if (_isStale)
        {
            if (Below(2) == 0) histogram.Hint = CounterResetHint.Unknown;
            histogram.SumBits = StaleMarker.Bits;
            return histogram;
        }

        histogram.Schema = _traits.IsCustom ? HistogramSchema.Custom : _schema;
        histogram.ZeroThreshold = _traits.IsCustom ? 0 : _threshold;
        histogram.SumBits = BitConverter.DoubleToUInt64Bits(_sumIsNaN ? double.NaN : _sum / 8.0);
        histogram.ZeroCount = Word(_zero);
        histogram.Count = Word(_zero + _positive.Values.Sum() + _negative.Values.Sum());
        Fill(_positive, histogram.PositiveSpans, histogram.PositiveBuckets);
        Fill(_negative, histogram.NegativeSpans, histogram.NegativeBuckets);
        if (_traits.IsCustom) histogram.CustomBounds.AddRange(Bounds.AsSpan(0, _boundCount));
        return histogram;
    }

    private ulong Word(long count) => _isFloat ? BitConverter.DoubleToUInt64Bits(count / 10.0) : (ulong)count;

    private void Fill(SortedDictionary<int, long> side, List<BucketSpan> spans, List<long> buckets)
    {
        int next = 0;
        long last = 0;
        foreach ((int index, long count) in side)
        {
            int gap = index - next;
            bool splits = _hasOddSpans && Below(4) == 0;
            if (splits && spans.Count > 0 && gap > 0)
            {
                // An empty span takes a part of the gap.
                int part = Below(gap + 1);
                spans.Add(new BucketSpan(part, 0));
                gap -= part;
            }

            if (spans.Count > 0 && gap == 0 && !splits && spans[^1].Length > 0) spans[^1] = spans[^1] with { Length = spans[^1].Length + 1 };
            else spans.Add(new BucketSpan(gap, 1));
            next = index + 1;
            buckets.Add(_isFloat ? (long)Word(count) : count - last);
            last = count;
        }
    }
}

/// <summary>The series that a real Prometheus was given, and what it made of them is kept as test data.</summary>
public static class HistogramHistory
{
    /// <summary>Forty minutes into a window, so that all series end in the next one.</summary>
    public const long StartMs = 1_700_006_400_000 + 40 * 60_000;

    /// <summary>Window of a Prometheus at its defaults.</summary>
    public const long WindowMs = 2 * 3_600_000;

    /// <summary>Series whose chunks are kept with the tests.</summary>
    public static IReadOnlyList<HistogramTraits> Kept { get; } = [.. ((HistogramTraits[])
    [
        new(1, 640, 15_000),
        new(2, 640, 15_000) { IsFloat = true },
        new(3, 160, 60_000) { OnlyGrows = true, Unrest = 200 },
        new(4, 160, 60_000) { OnlyGrows = true, Unrest = 200, IsFloat = true },
        new(5, 160, 60_000) { Unrest = 150 },
        new(6, 160, 60_000) { Unrest = 150, IsFloat = true },
        new(7, 160, 60_000) { Unrest = 150, IsGauge = true },
        new(8, 160, 60_000) { Unrest = 150, IsGauge = true, IsFloat = true },
        new(9, 160, 60_000) { Unrest = 150, IsCustom = true },
        new(10, 160, 60_000) { Unrest = 150, IsCustom = true, IsFloat = true },
        new(11, 160, 60_000) { Unrest = 300, IsMixed = true },
        new(12, 100, 90_000) { Unrest = 20, Buckets = 150 },
        new(13, 60, 150_000) { Unrest = 20, Buckets = 150, IsFloat = true },
    ]).Select(static traits => traits with { IsOneWay = true })];

    /// <summary>Many more, each of another mixture.</summary>
    public static IEnumerable<HistogramTraits> Many(int count) => Enumerable.Range(0, count).Select(static i => new HistogramTraits((ulong)i + 100, 80 + i % 5 * 40, 45_000)
    {
        IsFloat = i % 2 == 1,
        IsCustom = i % 5 == 2,
        IsGauge = i % 7 == 3,
        IsMixed = i % 11 == 4,
        OnlyGrows = i % 13 == 5,
        Buckets = i % 17 == 6 ? 60 : 3 + i % 6,
        Unrest = 30 + i % 9 * 60,
        IsOneWay = true,
    });
}
