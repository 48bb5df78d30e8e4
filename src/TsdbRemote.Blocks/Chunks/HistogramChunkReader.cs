using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using Layout = TsdbRemote.Blocks.Chunks.HistogramChunkFormat;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>What a <see cref="HistogramChunkReader"/> works with. Kept from chunk to chunk, it takes memory only for more buckets than before.</summary>
public sealed class HistogramReadBuffer
{
    internal NativeHistogram Current { get; } = new();

    internal HistogramLane[] Lanes { get; private set; } = [];

    internal Span<HistogramLane> LanesFor(int count)
    {
        if (Lanes.Length < count) Lanes = new HistogramLane[Math.Max(count, 2 * Lanes.Length)];
        Span<HistogramLane> lanes = Lanes.AsSpan(0, count);
        lanes.Clear();
        return lanes;
    }
}

/// <summary>Where a <see cref="HistogramChunkReader"/> stands, so that another can go on; the numbers are in the buffer of both.</summary>
internal struct HistogramReadState
{
    /// <summary>Bits read.</summary>
    public long Position;

    /// <summary>Samples read.</summary>
    public int Read;

    /// <summary>Numbers that a sample has.</summary>
    public int Lanes;

    /// <summary>The last step between two times.</summary>
    public ulong Delta;

    /// <summary>Time of the first sample, ms.</summary>
    public long FirstTimeMs;

    /// <summary>Time of the current sample, ms.</summary>
    public long TimeMs;
}

/// <summary>Walks the samples of a histogram chunk. Any bytes are safe: what is not a chunk ends with <see cref="Problem"/>.</summary>
/// <remarks>
/// Use: <c>while (reader.MoveNext())</c> read <see cref="TimeMs"/> and <see cref="Histogram"/>; then <see cref="ThrowIfCorrupt"/>.
/// Memory is taken for what the bytes can hold, and for no more than <see cref="Layout.MaxBuckets"/> buckets. Values are not judged: counts may fall or be
/// below 0. A schema of 9 to 52 is passed on; who answers a query reduces it (<see cref="HistogramResolution"/>).
/// </remarks>
public ref struct HistogramChunkReader
{
    private readonly int _count;
    private readonly bool _isFloat;
    private readonly Span<HistogramLane> _lanes;
    private readonly NativeHistogram _histogram;
    private BitReader _bits;
    private int _read;
    private ulong _delta;
    private long _firstTimeMs;

    /// <summary>Starts before the first sample.</summary>
    /// <param name="chunk">The chunk's bytes.</param>
    /// <param name="encoding"><see cref="ChunkEncoding.Histogram"/> or <see cref="ChunkEncoding.FloatHistogram"/>.</param>
    /// <param name="buffer">Serves one reader at a time.</param>
    public HistogramChunkReader(ReadOnlySpan<byte> chunk, ChunkEncoding encoding, HistogramReadBuffer buffer)
    {
        _isFloat = encoding == ChunkEncoding.FloatHistogram;
        _histogram = buffer.Current;
        _histogram.Clear();
        _histogram.IsFloat = _isFloat;
        if (!_isFloat && encoding != ChunkEncoding.Histogram) Problem = "its encoding is not one of histograms";
        else if (chunk.Length < Layout.HeaderBytes) Problem = "it has no header";
        if (IsCorrupt) return;
        _count = BinaryPrimitives.ReadUInt16BigEndian(chunk);
        Flags = (HistogramChunkFlags)(chunk[Layout.FlagsAt] & Layout.FlagsMask);
        _bits = new BitReader(chunk[Layout.HeaderBytes..]);
        Problem = _count == 0 ? "it holds no sample" : Layout.ReadLayout(ref _bits, _isFloat ? 64 : 1, _histogram);
        if (!IsCorrupt) _lanes = buffer.LanesFor(Layout.FirstBucket + _histogram.PositiveBuckets.Count + _histogram.NegativeBuckets.Count);
    }

    /// <summary>Goes on with a chunk that another reader has begun, with the same buffer, and found nothing wrong with so far.</summary>
    internal HistogramChunkReader(ReadOnlySpan<byte> chunk, ChunkEncoding encoding, HistogramReadBuffer buffer, in HistogramReadState state)
    {
        _isFloat = encoding == ChunkEncoding.FloatHistogram;
        _histogram = buffer.Current;
        _lanes = buffer.Lanes.AsSpan(0, state.Lanes);
        _count = BinaryPrimitives.ReadUInt16BigEndian(chunk);
        Flags = (HistogramChunkFlags)(chunk[Layout.FlagsAt] & Layout.FlagsMask);
        _bits = new BitReader(chunk[Layout.HeaderBytes..], state.Position);
        (_read, _delta, _firstTimeMs, TimeMs) = (state.Read, state.Delta, state.FirstTimeMs, state.TimeMs);
    }

    /// <summary>Samples that the chunk says it holds.</summary>
    public readonly int Count => _count;

    /// <summary>Where it stands; of no use once <see cref="IsCorrupt"/>.</summary>
    internal readonly HistogramReadState State => new()
    {
        Position = _bits.Position,
        Read = _read,
        Lanes = _lanes.Length,
        Delta = _delta,
        FirstTimeMs = _firstTimeMs,
        TimeMs = TimeMs,
    };

    /// <summary>What the header says of the counters before the chunk.</summary>
    public HistogramChunkFlags Flags { get; }

    /// <summary>Time of the current sample in ms.</summary>
    public long TimeMs { readonly get; private set; }

    /// <summary>
    /// The current sample; the next step overwrites it. Its hint is what is sure without the chunk before: unknown for the first, no reset for the
    /// others, gauge for gauges. A stale sample has neither buckets nor counts.
    /// </summary>
    public readonly NativeHistogram Histogram => _histogram;

    /// <summary>What the bytes turned out to be instead of a chunk, or null.</summary>
    public string? Problem { readonly get; private set; }

    /// <summary>True once the bytes turned out not to be a histogram chunk.</summary>
    public readonly bool IsCorrupt => Problem is not null;

    /// <summary>Steps to the next sample.</summary>
    /// <returns>False behind the last one, and for bytes that are no chunk; time and histogram are then meaningless.</returns>
    public bool MoveNext()
    {
        if (IsCorrupt || _read >= _count) return false;
        string? problem = _read == 0 ? ReadFirst() : ReadNext();
        if (_bits.IsOverrun) problem = $"it ends within sample {_read} of {_count}";
        Problem = problem;
        if (IsCorrupt) return false;
        _read++;
        return true;
    }

    /// <summary>Reports what was found to the owner of the bytes.</summary>
    /// <param name="chunk">The chunk that was read, to its end.</param>
    /// <exception cref="CorruptChunkException">The bytes are no chunk, or do not span the times that their source says.</exception>
    public readonly void ThrowIfCorrupt(in SeriesChunk chunk)
    {
        if (Problem is not null) CorruptChunkException.Throw(chunk, Problem);
        if (_read == _count && (_firstTimeMs != chunk.MinTimeMs || TimeMs != chunk.MaxTimeMs))
            CorruptChunkException.Throw(chunk, $"its samples span {_firstTimeMs} to {TimeMs} ms");
    }

    private string? ReadFirst()
    {
        TimeMs = _firstTimeMs = Varbit.ReadInt(ref _bits);
        Span<HistogramLane> lanes = _lanes;
        if (_isFloat)
        {
            for (int i = 0; i < lanes.Length; i++) lanes[i].Word = _bits.Read(64);
        }
        else
        {
            lanes[Layout.Count].Word = Varbit.ReadUint(ref _bits);
            lanes[Layout.Zero].Word = Varbit.ReadUint(ref _bits);
            lanes[Layout.Sum].Word = _bits.Read(64);
            for (int i = Layout.FirstBucket; i < lanes.Length; i++) lanes[i].Word = (ulong)Varbit.ReadInt(ref _bits);
        }

        _histogram.Hint = Flags == HistogramChunkFlags.Gauge ? CounterResetHint.Gauge : CounterResetHint.Unknown;
        if (lanes[Layout.Sum].Word == StaleMarker.Bits) _histogram.MakeStale();
        else Show();
        return null;
    }

    private string? ReadNext()
    {
        _delta += (ulong)Varbit.ReadInt(ref _bits);
        long next = (long)((ulong)TimeMs + _delta);
        if (next <= TimeMs) return $"the time of sample {_read} is not above the last";
        TimeMs = next;
        Span<HistogramLane> lanes = _lanes;
        bool wasStale = _histogram.IsStale;
        bool isWhole = ReadSteps(ref _bits, lanes[..Layout.Sum])
            && XorCode.TryRead(ref _bits, ref lanes[Layout.Sum].Word, ref lanes[Layout.Sum].Window);
        bool isStale = lanes[Layout.Sum].Word == StaleMarker.Bits;
        if (isWhole && !isStale) isWhole = ReadSteps(ref _bits, lanes[Layout.FirstBucket..]);
        if (!isWhole) return $"sample {_read} opens a window of more than 64 bits";
        if (isStale)
        {
            _histogram.MakeStale();
            return null;
        }

        if (wasStale) return $"sample {_read} follows a stale one";
        if (Flags != HistogramChunkFlags.Gauge) _histogram.Hint = CounterResetHint.NotReset;
        Show();
        return null;
    }

    private readonly bool ReadSteps(ref BitReader bits, Span<HistogramLane> lanes)
    {
        if (_isFloat)
        {
            foreach (ref HistogramLane lane in lanes)
            {
                if (!XorCode.TryRead(ref bits, ref lane.Word, ref lane.Window)) return false;
            }

            return true;
        }

        foreach (ref HistogramLane lane in lanes)
        {
            lane.Delta += Varbit.ReadInt(ref bits);
            lane.Word += (ulong)lane.Delta;
        }

        return true;
    }

    private readonly void Show()
    {
        ReadOnlySpan<HistogramLane> lanes = _lanes;
        _histogram.Count = lanes[Layout.Count].Word;
        _histogram.ZeroCount = lanes[Layout.Zero].Word;
        _histogram.SumBits = lanes[Layout.Sum].Word;
        Span<long> positive = CollectionsMarshal.AsSpan(_histogram.PositiveBuckets);
        Span<long> negative = CollectionsMarshal.AsSpan(_histogram.NegativeBuckets);
        lanes = lanes[Layout.FirstBucket..];
        for (int i = 0; i < positive.Length; i++) positive[i] = (long)lanes[i].Word;
        lanes = lanes[positive.Length..];
        for (int i = 0; i < negative.Length; i++) negative[i] = (long)lanes[i].Word;
    }
}
