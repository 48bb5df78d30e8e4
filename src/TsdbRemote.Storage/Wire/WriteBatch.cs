using System.Buffers;
using System.Diagnostics;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Gives histograms one at a time.</summary>
public interface IHistogramSource
{
    /// <summary>A histogram that <see cref="HistogramValidation"/> has nothing against; valid until the next call.</summary>
    NativeHistogram HistogramAt(int index);
}

/// <summary>One decoded write request: arrays of structs that point into its body. Reused, so that decoding allocates nothing.</summary>
/// <remarks>
/// Use:       <see cref="RemoteWriteV1.Decode"/> or <see cref="RemoteWriteV2.Decode"/> fills it, after emptying it; read it while the
///            body's owner is held; <see cref="Reset"/> forgets the body; <see cref="Dispose"/> gives the arrays back.
/// Invariant: the samples of a series lie side by side in <see cref="Samples"/>, in the order of the wire. After any status but
///            <see cref="DecodeStatus.Ok"/> the batch is empty.
/// Memory:    grows to the largest request and shrinks at the next reset if that was far above the usual.
/// Not here:  UTF-8, sorting, duplicates (LabelNormalizer), limits of one series, acceptance of samples.
/// Not thread-safe.
/// </remarks>
public sealed class WriteBatch : IHistogramSource, IDisposable
{
    /// <summary>Arrays longer than this many bytes are given back at a reset: a normal request needs a tenth of it.</summary>
    private const int KeptArrayBytes = 4 << 20;

    /// <summary>Elements of a histogram's lists beyond which they are given up at a reset.</summary>
    private const int KeptHistogramNumbers = 4096;

    private readonly PooledList<SeriesEntry> _series = new();
    private readonly PooledList<Sample> _samples = new();
    private readonly PooledList<HistogramEntry> _histograms = new();
    private readonly PooledList<MetadataEntry> _metadata = new();
    private readonly PooledList<ExemplarEntry> _exemplars = new();
    private readonly PooledList<BodyRange> _symbols = new();
    private PooledBuffer _arena = PooledBuffer.Rent(4096);
    private ReadOnlyMemory<byte> _body;
    private DecodeLimits _limits;
    private NativeHistogram _histogram = new();

    /// <summary>The series, in the order of the wire; the same series may appear more than once.</summary>
    public ReadOnlySpan<SeriesEntry> Series => _series.Span;

    /// <summary>The float samples of all series.</summary>
    public ReadOnlySpan<Sample> Samples => _samples.Span;

    /// <summary>Float samples of all series.</summary>
    public int SampleCount => _samples.Count;

    /// <summary>The histograms of all series, in the order of the series and of the wire.</summary>
    public ReadOnlySpan<HistogramEntry> Histograms => _histograms.Span;

    /// <summary>Histograms of all series.</summary>
    public int HistogramCount => _histograms.Count;

    /// <summary>
    /// The exemplars of all series, in the order of the series and of the wire, at most <see cref="DecodeLimits.MaxExemplars"/>.
    /// </summary>
    public ReadOnlySpan<ExemplarEntry> Exemplars => _exemplars.Span;

    /// <summary>Exemplars beyond the limit.</summary>
    public int ExemplarsDropped { get; private set; }

    /// <summary>Earliest time of a sample or valid histogram in ms; <see cref="long.MaxValue"/> if there is none.</summary>
    public long MinTimeMs { get; private set; } = long.MaxValue;

    /// <summary>Latest time of a sample or valid histogram in ms; <see cref="long.MinValue"/> if there is none.</summary>
    public long MaxTimeMs { get; private set; } = long.MinValue;

    /// <summary>
    /// What the request says about metric families, at most <see cref="DecodeLimits.MaxMetadata"/>; repeats are possible.
    /// </summary>
    public ReadOnlySpan<MetadataEntry> Metadata => _metadata.Span;

    /// <summary>Metadata beyond the limit.</summary>
    public int MetadataDropped { get; private set; }

    /// <summary>Entries of the 2.0 symbol table.</summary>
    public int SymbolCount => _symbols.Count;

    /// <summary>
    /// True if a 2.0 request breaks the rule that symbol 0 is the empty string; Prometheus accepts that, and so do we, counting.
    /// </summary>
    public bool FirstSymbolIsNotEmpty => _symbols.Count > 0 && _symbols.Span[0].Length > 0;

    /// <summary>The decoded body.</summary>
    internal ReadOnlyMemory<byte> Body => _body;

    /// <summary>Symbols of a 2.0 request as ranges of the body.</summary>
    internal ReadOnlySpan<BodyRange> Symbols => _symbols.Span;

    /// <summary>Series that the decoder may still change.</summary>
    internal Span<SeriesEntry> EditableSeries => _series.Span;

    /// <summary>A series' label run: legal label messages that <see cref="LabelRunReader"/> reads, otherwise as sent.</summary>
    public ReadOnlySpan<byte> LabelsOf(in SeriesEntry entry) =>
        (entry.LabelsInArena ? _arena.Span : _body.Span).Slice(entry.LabelsOffset, entry.LabelsLength);

    /// <summary>A series' samples.</summary>
    public ReadOnlySpan<Sample> SamplesOf(in SeriesEntry entry) => _samples.Span.Slice(entry.FirstSample, entry.SampleCount);

    /// <summary>Decodes a valid histogram.</summary>
    /// <param name="index">Of one in <see cref="Histograms"/>.</param>
    /// <returns>The batch's own: the next call overwrites it.</returns>
    public NativeHistogram HistogramAt(int index)
    {
        DecodeHistogram(index);
        HistogramResolution.ReduceToKnown(_histogram);
        return _histogram;
    }

    /// <summary>A histogram's message as it came.</summary>
    /// <param name="index">Of one in <see cref="Histograms"/>.</param>
    public ReadOnlySpan<byte> HistogramMessage(int index) => TextOf(_histograms.Span[index].Message);

    /// <summary>What is wrong with a histogram, in Prometheus' words.</summary>
    /// <param name="index">Of one in <see cref="Histograms"/> that is not valid.</param>
    public string ExplainHistogram(int index)
    {
        DecodeHistogram(index);
        return HistogramValidation.Admit(_histogram) ?? throw new ArgumentException("the histogram has no problem", nameof(index));
    }

    /// <summary>Reads an exemplar.</summary>
    /// <param name="exemplar">A good one of <see cref="Exemplars"/>.</param>
    /// <param name="labels">Receives its labels that have a value as a label run in the order of the wire; cleared first.</param>
    /// <param name="read">Its time, ms, and its value.</param>
    /// <returns>False if it has more labels than any exemplar may have: they are not all there then.</returns>
    public bool TryReadExemplar(in ExemplarEntry exemplar, PooledBuffer labels, out Sample read)
    {
        ArgumentNullException.ThrowIfNull(labels);
        labels.SetLength(0);
        BodyRange range = exemplar.Message;
        var message = new WireReader(_body.Span[..(range.Offset + range.Length)], range.Offset);
        bool isLegal = ExemplarWire.TryRead(ref message, _body.Span, _symbols.Span, labels, out read, out bool isTooLong);
        Invariant.Check(isLegal, "an exemplar that was decoded is legal protobuf");
        return !isTooLong;
    }

    /// <summary>Bytes of a metadata text.</summary>
    public ReadOnlySpan<byte> TextOf(BodyRange range) => _body.Span.Slice(range.Offset, range.Length);

    /// <summary>Forgets the request and keeps arrays of usual size.</summary>
    public void Reset()
    {
        _body = default;
        _series.Clear(KeptArrayBytes);
        _samples.Clear(KeptArrayBytes);
        _histograms.Clear(KeptArrayBytes);
        if (CapacityOf(_histogram) > KeptHistogramNumbers) _histogram = new NativeHistogram();
        _metadata.Clear(KeptArrayBytes);
        _exemplars.Clear(KeptArrayBytes);
        _symbols.Clear(KeptArrayBytes);
        if (_arena.Capacity > KeptArrayBytes)
        {
            _arena.Dispose();
            _arena = PooledBuffer.Rent(4096);
        }

        _arena.SetLength(0);
        ExemplarsDropped = MetadataDropped = 0;
        MinTimeMs = long.MaxValue;
        MaxTimeMs = long.MinValue;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _body = default;
        _series.Dispose();
        _samples.Dispose();
        _histograms.Dispose();
        _metadata.Dispose();
        _exemplars.Dispose();
        _symbols.Dispose();
        _arena.Dispose();
    }

    /// <summary>Empties the batch for a new body.</summary>
    internal void Begin(ReadOnlyMemory<byte> body, in DecodeLimits limits)
    {
        Reset();
        _body = body;
        _limits = limits;
    }

    /// <summary>Ends a failed decode: the batch becomes empty.</summary>
    internal DecodeStatus Fail(DecodeStatus status, int at, out string? error)
    {
        error = status == DecodeStatus.Malformed
            ? $"malformed protobuf in the field at byte {at} of the decoded body"
            : _limits.Explain(status);
        Reset();
        return status;
    }

    /// <summary>Opens the next series; its fields are zero but for its place in the body and its first sample.</summary>
    internal bool TryAddSeries(int messageOffset, int messageLength)
    {
        if (_series.Count >= _limits.MaxSeries) return false;
        ref SeriesEntry entry = ref _series.Add();
        entry = default;
        entry.MessageOffset = messageOffset;
        entry.MessageLength = messageLength;
        entry.FirstSample = _samples.Count;
        return true;
    }

    /// <summary>Room for samples without growing and within the limit; may be empty. Confirm with <see cref="AdvanceSamples"/>.</summary>
    internal Span<Sample> FreeSamples()
    {
        Span<Sample> free = _samples.Free;
        int allowed = Math.Max(0, _limits.MaxSamples - HistogramCount - _samples.Count);
        return free.Length > allowed ? free[..allowed] : free;
    }

    /// <summary>Room for series without growing and within the limit; may be empty. Confirm with <see cref="AdvanceSeries"/>.</summary>
    internal Span<SeriesEntry> FreeSeries()
    {
        Span<SeriesEntry> free = _series.Free;
        int allowed = Math.Max(0, _limits.MaxSeries - _series.Count);
        return free.Length > allowed ? free[..allowed] : free;
    }

    /// <summary>Takes over the first <paramref name="count"/> series of <see cref="FreeSeries"/>.</summary>
    internal void AdvanceSeries(int count) => _series.Advance(count);

    /// <summary>Takes over the first <paramref name="count"/> samples of <see cref="FreeSamples"/>.</summary>
    internal void AdvanceSamples(int count, long minTimeMs, long maxTimeMs)
    {
        _samples.Advance(count);
        if (minTimeMs < MinTimeMs) MinTimeMs = minTimeMs;
        if (maxTimeMs > MaxTimeMs) MaxTimeMs = maxTimeMs;
    }

    /// <summary>Adds one sample, growing as needed.</summary>
    /// <returns>False if the limit is reached.</returns>
    internal bool TryAddSample(Sample sample)
    {
        if (_samples.Count + HistogramCount >= _limits.MaxSamples) return false;
        _samples.Add() = sample;
        if (sample.TimeMs < MinTimeMs) MinTimeMs = sample.TimeMs;
        if (sample.TimeMs > MaxTimeMs) MaxTimeMs = sample.TimeMs;
        return true;
    }

    /// <summary>Reads a histogram's message to its end and keeps where it is.</summary>
    internal DecodeStatus AddHistogram(scoped ref WireReader message)
    {
        int start = message.Position;
        if (!HistogramWire.TryRead(ref message, _histogram, out long timeMs)) return DecodeStatus.Malformed;
        if (_samples.Count + HistogramCount >= _limits.MaxSamples) return DecodeStatus.TooManySamples;
        bool isValid = HistogramValidation.Admit(_histogram) is null;
        _histograms.Add() = new HistogramEntry(new BodyRange(start, message.Body.Length - start), timeMs, isValid);
        if (!isValid) return DecodeStatus.Ok;
        MinTimeMs = Math.Min(MinTimeMs, timeMs);
        MaxTimeMs = Math.Max(MaxTimeMs, timeMs);
        return DecodeStatus.Ok;
    }

    /// <summary>Keeps where an exemplar is, if there is room for it.</summary>
    internal void AddExemplar(ref SeriesEntry series, BodyRange message, bool isGood)
    {
        if (_exemplars.Count >= _limits.MaxExemplars)
        {
            ExemplarsDropped++;
            return;
        }

        _exemplars.Add() = new ExemplarEntry(message, isGood);
        series.ExemplarCount++;
    }

    /// <summary>Keeps what the request says about a family, unless it repeats the entry before or the limit is reached.</summary>
    internal void AddMetadata(in MetadataEntry entry)
    {
        if (_metadata.Count > 0 && _metadata.Span[^1] == entry) return;
        if (_metadata.Count < _limits.MaxMetadata) _metadata.Add() = entry;
        else MetadataDropped++;
    }

    /// <summary>Adds a symbol.</summary>
    internal bool TryAddSymbol(BodyRange symbol)
    {
        if (_symbols.Count >= _limits.MaxSymbols) return false;
        _symbols.Add() = symbol;
        return true;
    }

    /// <summary>Bytes in the arena: where the next label run would start.</summary>
    internal int ArenaLength => _arena.Length;

    /// <summary>Appends <paramref name="count"/> bytes to the arena, for the caller to fill.</summary>
    /// <returns>False if labels would take more than they may.</returns>
    internal bool TryGrowArena(long count, out Span<byte> space)
    {
        if (!TryReserveArena(count, out space)) return false;
        space = space[..(int)count];
        AdvanceArena((int)count);
        return true;
    }

    /// <summary>Room of at least <paramref name="count"/> bytes behind the arena's last. Confirm with <see cref="AdvanceArena"/>.</summary>
    /// <returns>False if labels would take more than they may.</returns>
    internal bool TryReserveArena(long count, out Span<byte> free)
    {
        free = default;
        if (_arena.Length + count > Math.Min(_limits.MaxLabelBytes, Array.MaxLength)) return false;
        free = _arena.Reserve((int)count);
        return true;
    }

    /// <summary>Takes over the first <paramref name="count"/> bytes of <see cref="TryReserveArena"/>.</summary>
    internal void AdvanceArena(int count) => _arena.SetLength(_arena.Length + count);

    /// <summary>Gives back what was appended since the arena was <paramref name="length"/> bytes long.</summary>
    internal void TruncateArena(int length) => _arena.SetLength(length);

    private static int CapacityOf(NativeHistogram histogram) =>
        histogram.PositiveSpans.Capacity + histogram.PositiveBuckets.Capacity
        + histogram.NegativeSpans.Capacity + histogram.NegativeBuckets.Capacity + histogram.CustomBounds.Capacity;

    private void DecodeHistogram(int index)
    {
        BodyRange range = _histograms.Span[index].Message;
        var message = new WireReader(_body.Span[..(range.Offset + range.Length)], range.Offset);
        bool isLegal = HistogramWire.TryRead(ref message, _histogram, out _);
        Invariant.Check(isLegal, "a histogram that was decoded is legal protobuf");
    }

    /// <summary>
    /// A growing list in a rented array, whose elements are reached by reference. Not thread-safe; an element reference dies at the next
    /// add.
    /// </summary>
    internal sealed class PooledList<T> : IDisposable
        where T : unmanaged
    {
        private const int FirstCapacity = 256;
        private T[] _items = [];

        public int Count { get; private set; }

        public Span<T> Span => _items.AsSpan(0, Count);

        public Span<T> Free => _items.AsSpan(Count);

        public ref T Add()
        {
            if (Count == _items.Length) Grow();
            return ref _items[Count++];
        }

        public void Advance(int count)
        {
            Debug.Assert(count <= _items.Length - Count, "more than there was room for");
            Count += count;
        }

        public unsafe void Clear(int keptBytes)
        {
            Count = 0;
            if ((long)_items.Length * sizeof(T) > keptBytes) Dispose();
        }

        public void Dispose()
        {
            T[] items = _items;
            _items = [];
            Count = 0;
            if (items.Length > 0) ArrayPool<T>.Shared.Return(items);
        }

        private void Grow()
        {
            T[] larger = ArrayPool<T>.Shared.Rent(Math.Max(FirstCapacity, checked(_items.Length * 2)));
            Span.CopyTo(larger);
            if (_items.Length > 0) ArrayPool<T>.Shared.Return(_items);
            _items = larger;
        }
    }
}
