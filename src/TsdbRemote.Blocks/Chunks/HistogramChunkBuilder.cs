using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using Layout = TsdbRemote.Blocks.Chunks.HistogramChunkFormat;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Builds the histogram chunks of one series, sample by sample, cutting and rewriting them where Prometheus would.</summary>
/// <remarks>
/// Use: <c>if (!builder.TryAppend(t, h)) { keep Bytes, FirstTimeMs, LastTimeMs, Encoding; builder.StartNext(); builder.TryAppend(t, h); }</c>
/// <para>
/// Bytes are a valid chunk after each append. Unlike <see cref="XorChunkBuilder"/> it owns them and is an object: a sample has no longest form, a new bucket
/// rewrites the whole chunk, and each bucket has a state. <see cref="Reset()"/> makes it fit for another series; memory is kept. While the layout stays, an append
/// takes no memory but for longer chunks than before. Not thread-safe.
/// </para>
/// Source: prometheus, tsdb/chunkenc/{histogram,float_histogram}.go (appendable, appendableGauge, recode) and tsdb/head_append.go.
/// </remarks>
public sealed partial class HistogramChunkBuilder
{
    private const int FirstCapacity = 256;

    private int _maxSamples;
    private readonly List<BucketSpan> _positive = [];
    private readonly List<BucketSpan> _negative = [];
    private readonly List<double> _bounds = [];
    private byte[] _bytes = new byte[FirstCapacity];
    private int _bitLength;
    private HistogramLane[] _lanes = new HistogramLane[Layout.FirstBucket];
    private int _positiveCount;
    private int _negativeCount;
    private ulong _delta;
    private ushort _count;
    private bool _isFloat;
    private int _schema;
    private double _zeroThreshold;
    private HistogramChunkSize _size;
    private HistogramChunkFlags _nextFlags;
    private bool _nextIsCutByContent;
    private HistogramChunkRewriter? _rewriter;

    /// <summary>Starts with an empty chunk and nothing before it.</summary>
    /// <param name="windowMs">Width of the windows that no chunk crosses, ms; 0 for none.</param>
    /// <param name="maxSamples">Most samples of a chunk, 1 to 65,535; Prometheus has no limit of its own below that.</param>
    public HistogramChunkBuilder(long windowMs, int maxSamples = ushort.MaxValue) => TakeLimits(windowMs, maxSamples, isBounded: true);

    /// <summary>
    /// True if a header never says that there was no reset unless that was seen. Prometheus says so of a full chunk of floats whatever comes next, and of a
    /// counter behind a gauge.
    /// </summary>
    public bool IsExact { get; init; }

    /// <summary>Samples of the chunk so far.</summary>
    public int Count => _count;

    /// <summary>Bytes of the chunk so far; 0 while empty.</summary>
    public int ByteLength => (_bitLength + 7) >> 3;

    /// <summary>Bytes that there is room for.</summary>
    internal int Capacity => _bytes.Length;

    /// <summary>The chunk so far; until the next append.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, ByteLength);

    /// <summary>Encoding of the chunk; meaningless while empty.</summary>
    public ChunkEncoding Encoding => _isFloat ? ChunkEncoding.FloatHistogram : ChunkEncoding.Histogram;

    /// <summary>What the chunk's header says; meaningless while empty.</summary>
    public HistogramChunkFlags Flags => (HistogramChunkFlags)_bytes[Layout.FlagsAt];

    /// <summary>Time of the chunk's first sample in ms; undefined while empty.</summary>
    public long FirstTimeMs { get; private set; }

    /// <summary>Time of the chunk's last sample in ms; undefined while empty.</summary>
    public long LastTimeMs { get; private set; }

    private Span<HistogramLane> Lanes => _lanes.AsSpan(0, Layout.FirstBucket + _positiveCount + _negativeCount);

    private Span<HistogramLane> PositiveLanes => _lanes.AsSpan(Layout.FirstBucket, _positiveCount);

    private Span<HistogramLane> NegativeLanes => _lanes.AsSpan(Layout.FirstBucket + _positiveCount, _negativeCount);

    /// <summary>Appends a sample whose time is above the last one's, unless it belongs into a chunk of its own.</summary>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="histogram">One that <see cref="HistogramValidation"/> has nothing against; not kept and not changed.</param>
    /// <returns>False if the chunk ends here; it is then as it was, and <see cref="StartNext"/> is to be called. An empty chunk takes any sample.</returns>
    /// <exception cref="ArgumentException">Spans and buckets do not agree, or the time is not above the last one's. Nothing has changed.</exception>
    public bool TryAppend(long timeMs, NativeHistogram histogram)
    {
        if (!histogram.IsStale && HistogramValidation.SizeProblem(histogram) is { } problem) ThrowNotWhole(problem);
        if (_count == 0)
        {
            Begin(timeMs, histogram);
            return true;
        }

        if (timeMs <= LastTimeMs) throw new ArgumentException($"time {timeMs} is not above {LastTimeMs}", nameof(timeMs));
        if (histogram.IsFloat != _isFloat) return Refuse(HistogramChunkFlags.Unknown, isCutByContent: false);
        bool isFull = _count >= _maxSamples || _size.IsFull(timeMs, _count, ByteLength, FirstTimeMs, LastTimeMs);
        bool goes = Examine(histogram, out HistogramChunkFlags flags, out BucketFit positive, out BucketFit negative);
        if (isFull || !goes) return Refuse(NextFlags(flags, isFull), isCutByContent: !isFull);
        if ((positive | negative) != BucketFit.Same) histogram = Fit(histogram, positive, negative);
        Write(timeMs, histogram);
        ForgetRefusal();
        return true;
    }

    /// <summary>Ends the chunk and begins an empty one behind it. Its bytes must have been kept elsewhere.</summary>
    /// <remarks>What the header of the next chunk says was decided by the sample that was refused; without one it is that nothing is known.</remarks>
    public void StartNext()
    {
        _count = 0;
        _bitLength = 0;
    }

    /// <summary>Begins an empty chunk with nothing before it: another series, or one whose last chunk was none of histograms.</summary>
    public void Reset()
    {
        StartNext();
        ForgetRefusal();
    }

    /// <summary>As <see cref="Reset()"/>, and from then on with other limits.</summary>
    internal void Reset(long windowMs, int maxSamples, bool isBounded)
    {
        TakeLimits(windowMs, maxSamples, isBounded);
        Reset();
    }

    /// <summary>Writes a sample of the chunk's own again, in other spans; the first one begins the chunk anew.</summary>
    internal void Replay(long timeMs, NativeHistogram histogram, HistogramChunkFlags flags, bool isFirst)
    {
        if (isFirst) BeginWith(timeMs, histogram, flags);
        else Write(timeMs, histogram);
    }

    private void TakeLimits(long windowMs, int maxSamples, bool isBounded)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(windowMs);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSamples, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxSamples, ushort.MaxValue);
        _size = new HistogramChunkSize(windowMs, isBounded);
        _maxSamples = maxSamples;
    }

    private void Begin(long timeMs, NativeHistogram histogram)
    {
        _size.Begin(timeMs, _nextIsCutByContent);
        // What ended the last chunk comes before the sender's hint, even a gauge before a reset: so it is in Prometheus.
        HistogramChunkFlags flags = histogram.Hint switch
        {
            CounterResetHint.Gauge => HistogramChunkFlags.Gauge,
            CounterResetHint.Reset when !_nextIsCutByContent => HistogramChunkFlags.Reset,
            _ => _nextFlags,
        };
        BeginWith(timeMs, histogram, flags);
        ForgetRefusal();
    }

    private void ForgetRefusal()
    {
        _nextFlags = HistogramChunkFlags.Unknown;
        _nextIsCutByContent = false;
    }

    private bool Refuse(HistogramChunkFlags nextFlags, bool isCutByContent)
    {
        _nextFlags = nextFlags;
        _nextIsCutByContent = isCutByContent;
        return false;
    }

    /// <summary>What is found of the counters goes into the next chunk's header; of floats Prometheus keeps less.</summary>
    private HistogramChunkFlags NextFlags(HistogramChunkFlags found, bool isFull)
    {
        if (!_isFloat || IsExact || found == HistogramChunkFlags.Reset) return found;
        return isFull ? HistogramChunkFlags.NotReset : HistogramChunkFlags.Unknown;
    }

    /// <summary>Whether a histogram goes with the chunk, its size aside.</summary>
    private bool Examine(NativeHistogram histogram, out HistogramChunkFlags found, out BucketFit positive, out BucketFit negative)
    {
        positive = negative = BucketFit.Same;
        bool isGauge = histogram.Hint == CounterResetHint.Gauge;
        found = isGauge ? HistogramChunkFlags.Gauge : HistogramChunkFlags.NotReset;
        if (isGauge != (Flags == HistogramChunkFlags.Gauge)) return !isGauge && IsExact && Found(HistogramChunkFlags.Unknown, out found);
        if (histogram.Hint == CounterResetHint.Reset) return Found(HistogramChunkFlags.Reset, out found);
        if (histogram.IsStale) return true;
        if (_lanes[Layout.Sum].Word == StaleMarker.Bits) return isGauge ? false : Found(HistogramChunkFlags.Unknown, out found);
        if (!isGauge && HistogramFit.IsLower(histogram.Count, _lanes[Layout.Count].Word, _isFloat)) return Found(HistogramChunkFlags.Reset, out found);
        if (histogram.Schema != _schema || histogram.ZeroThreshold != _zeroThreshold) return Found(HistogramChunkFlags.Unknown, out found);
        if (_schema == HistogramSchema.Custom && !SameBounds(histogram)) return Found(HistogramChunkFlags.Reset, out found);
        if (!isGauge && HistogramFit.IsLower(histogram.ZeroCount, _lanes[Layout.Zero].Word, _isFloat)) return Found(HistogramChunkFlags.Reset, out found);
        positive = Compare(_positive, PositiveLanes, histogram.PositiveSpans, histogram.PositiveBuckets, isGauge);
        negative = Compare(_negative, NegativeLanes, histogram.NegativeSpans, histogram.NegativeBuckets, isGauge);
        if (((positive | negative) & BucketFit.Reset) != 0) return Found(HistogramChunkFlags.Reset, out found);
        return HasRoomFor(histogram, positive | negative) || Found(HistogramChunkFlags.Unknown, out found);
    }

    private static bool Found(HistogramChunkFlags flags, out HistogramChunkFlags found)
    {
        found = flags;
        return false;
    }

    private bool SameBounds(NativeHistogram histogram)
    {
        if (histogram.CustomBounds.Count != _bounds.Count) return false;
        for (int i = 0; i < _bounds.Count; i++)
        {
            if (histogram.CustomBounds[i] != _bounds[i]) return false;
        }

        return true;
    }

    private BucketFit Compare(List<BucketSpan> own, ReadOnlySpan<HistogramLane> lanes, List<BucketSpan> spans, List<long> buckets, bool isGauge) =>
        HistogramFit.Compare(
            CollectionsMarshal.AsSpan(own), lanes, CollectionsMarshal.AsSpan(spans), CollectionsMarshal.AsSpan(buckets), _isFloat, isGauge);

    /// <summary>Whether readers will take a chunk that has the buckets of both.</summary>
    private bool HasRoomFor(NativeHistogram histogram, BucketFit fit) =>
        (fit & BucketFit.ChunkLacks) == 0
        || _positiveCount + _negativeCount + histogram.PositiveBuckets.Count + histogram.NegativeBuckets.Count <= Layout.MaxBuckets;

    /// <summary>Gives the histogram the buckets that it lacks, in a copy, and the chunk those that it lacks.</summary>
    private NativeHistogram Fit(NativeHistogram histogram, BucketFit positive, BucketFit negative)
    {
        _rewriter ??= new HistogramChunkRewriter();
        _rewriter.Choose(histogram, _positive, positive, _negative, negative);
        NativeHistogram wider = _rewriter.Widen(histogram);
        if (((positive | negative) & BucketFit.ChunkLacks) != 0) _rewriter.Rewrite(this);
        return wider;
    }

    private void BeginWith(long timeMs, NativeHistogram histogram, HistogramChunkFlags flags)
    {
        TakeLayout(histogram);
        _bitLength = 8 * Layout.HeaderBytes;
        _count = 0;
        _delta = 0;
        FirstTimeMs = LastTimeMs = timeMs;
        Span<HistogramLane> lanes = Lanes;
        ref byte start = ref Room(Layout.HeaderBytes + Layout.MaxLayoutBytes(_positive.Count + _negative.Count, _bounds.Count) + Layout.MaxSampleBytes(lanes.Length));
        _bytes[Layout.FlagsAt] = (byte)flags;
        Layout.WriteLayout(
            ref start,
            ref _bitLength,
            _zeroThreshold,
            _schema,
            CollectionsMarshal.AsSpan(_positive),
            CollectionsMarshal.AsSpan(_negative),
            CollectionsMarshal.AsSpan(_bounds));
        Varbit.PutInt(ref start, ref _bitLength, timeMs);
        FillLanes(lanes, histogram);
        if (_isFloat)
        {
            foreach (ref HistogramLane lane in lanes) BitWriter.PutWide(ref start, ref _bitLength, lane.Word, 64);
        }
        else
        {
            Varbit.PutUint(ref start, ref _bitLength, lanes[Layout.Count].Word);
            Varbit.PutUint(ref start, ref _bitLength, lanes[Layout.Zero].Word);
            BitWriter.PutWide(ref start, ref _bitLength, lanes[Layout.Sum].Word, 64);
            foreach (ref HistogramLane lane in lanes[Layout.FirstBucket..]) Varbit.PutInt(ref start, ref _bitLength, (long)lane.Word);
        }

        Layout.WriteCount(_bytes, ++_count);
    }

    private void TakeLayout(NativeHistogram histogram)
    {
        _positive.Clear();
        _negative.Clear();
        _bounds.Clear();
        _isFloat = histogram.IsFloat;
        (_schema, _zeroThreshold, _positiveCount, _negativeCount) = (0, 0, 0, 0);
        if (histogram.IsStale) return;
        (_schema, _zeroThreshold) = (histogram.Schema, histogram.ZeroThreshold);
        (_positiveCount, _negativeCount) = (histogram.PositiveBuckets.Count, histogram.NegativeBuckets.Count);
        _positive.AddRange(CollectionsMarshal.AsSpan(histogram.PositiveSpans));
        _negative.AddRange(CollectionsMarshal.AsSpan(histogram.NegativeSpans));
        if (_schema == HistogramSchema.Custom) _bounds.AddRange(CollectionsMarshal.AsSpan(histogram.CustomBounds));
        int lanes = Layout.FirstBucket + _positiveCount + _negativeCount;
        if (_lanes.Length < lanes) _lanes = new HistogramLane[lanes];
    }

    private static void FillLanes(Span<HistogramLane> lanes, NativeHistogram histogram)
    {
        lanes.Fill(new HistogramLane { Window = XorWindow.None });
        lanes[Layout.Sum].Word = histogram.SumBits;
        if (histogram.IsStale) return;
        lanes[Layout.Count].Word = histogram.Count;
        lanes[Layout.Zero].Word = histogram.ZeroCount;
        lanes = lanes[Layout.FirstBucket..];
        for (int i = 0; i < histogram.PositiveBuckets.Count; i++) lanes[i].Word = (ulong)histogram.PositiveBuckets[i];
        lanes = lanes[histogram.PositiveBuckets.Count..];
        for (int i = 0; i < histogram.NegativeBuckets.Count; i++) lanes[i].Word = (ulong)histogram.NegativeBuckets[i];
    }

    private void Write(long timeMs, NativeHistogram histogram)
    {
        Span<HistogramLane> lanes = Lanes;
        ref byte start = ref Room(Layout.MaxSampleBytes(lanes.Length));
        ulong delta = (ulong)timeMs - (ulong)LastTimeMs;
        Varbit.PutInt(ref start, ref _bitLength, (long)(delta - _delta));
        (LastTimeMs, _delta) = (timeMs, delta);
        bool isStale = histogram.IsStale;
        if (isStale && !_isFloat)
        {
            // Two steps of which nobody reads the result.
            BitWriter.Put(ref start, ref _bitLength, 0, 2);
        }
        else
        {
            WriteNumber(ref start, ref lanes[Layout.Count], isStale ? 0 : histogram.Count);
            WriteNumber(ref start, ref lanes[Layout.Zero], isStale ? 0 : histogram.ZeroCount);
        }

        ref HistogramLane sum = ref lanes[Layout.Sum];
        XorCode.Put(ref start, ref _bitLength, histogram.SumBits ^ sum.Word, ref sum.Window);
        sum.Word = histogram.SumBits;
        if (!isStale)
        {
            WriteNumbers(ref start, PositiveLanes, CollectionsMarshal.AsSpan(histogram.PositiveBuckets));
            WriteNumbers(ref start, NegativeLanes, CollectionsMarshal.AsSpan(histogram.NegativeBuckets));
        }

        Layout.WriteCount(_bytes, ++_count);
    }

    private void WriteNumbers(ref byte start, Span<HistogramLane> lanes, ReadOnlySpan<long> words)
    {
        for (int i = 0; i < words.Length; i++) WriteNumber(ref start, ref lanes[i], (ulong)words[i]);
    }

    private void WriteNumber(ref byte start, ref HistogramLane lane, ulong word)
    {
        if (_isFloat)
        {
            XorCode.Put(ref start, ref _bitLength, word ^ lane.Word, ref lane.Window);
        }
        else
        {
            long delta = (long)(word - lane.Word);
            Varbit.PutInt(ref start, ref _bitLength, delta - lane.Delta);
            lane.Delta = delta;
        }

        lane.Word = word;
    }

    /// <summary>Sees to it that so many bytes can be written behind the chunk, and gives its first.</summary>
    private ref byte Room(int bytes)
    {
        int needed = ByteLength + bytes + BitWriter.SlackBytes;
        if (_bytes.Length < needed) Array.Resize(ref _bytes, Math.Max(needed, 2 * _bytes.Length));
        return ref MemoryMarshal.GetArrayDataReference(_bytes);
    }

    [DoesNotReturn]
    private static void ThrowNotWhole(string problem) => throw new ArgumentException($"not a histogram that fits a chunk: {problem}");
}
