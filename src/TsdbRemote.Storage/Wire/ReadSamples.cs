using System.Buffers;
using System.IO.Pipelines;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Builds one SAMPLES answer, compressed while it is encoded, so that only compressed bytes are ever held.</summary>
/// <remarks>
/// Use:       for each query of the request <see cref="BeginQuery"/>, <see cref="AddSeries"/> as often as there are series,
///            <see cref="EndQuery"/>; then <see cref="Length"/> and <see cref="CopyToAsync"/>. After an exception only <see cref="Dispose"/>.
/// Layout:    a snappy block of ReadResponse. Each part of at most 64 KiB is compressed alone; the lengths that are known only at the end,
///            those of the whole and of each query's result, are put in front as literal elements.
/// <code>
/// uvarint total │ for each query:  literal of { 0A len }  │  elements of { 0A len { labels │ samples and histograms } … }
/// </code>
/// Memory:    compressed bytes, held against the budget, plus one part and the slack of the last segment (about 1.2 MiB).
/// Not here:  order of series, merging and cutting of chunks (reader).
/// Not thread-safe. Source: prometheus storage/remote/codec.go (ToQueryResult); protocols §3.3; design §5.3.
/// </remarks>
public sealed class ReadSamples : IDisposable
{
    private const byte ResultTag = (1 << 3) | 2;
    private const byte SeriesTag = (1 << 3) | 2;
    private const int SegmentBytes = 1 << 20;
    private const int MaxPartElementBytes = 80 << 10;

    // Decoded samples kept of one series: half a MiB. A longer one is decoded twice, chunk by chunk.
    private const int MaxDecoded = 1 << 15;
    private const int FirstDecoded = 1 << 10;

    // A part with fewer marks is left to the library, which looks everywhere.
    private const int MostBytesPerMark = 64;

    // Labels of more bytes are not looked into for what the series before had too.
    private const int MaxMarkedLabels = 4096;

    private readonly long _maxCompressedBytes;
    private readonly long _sampleLimit;
    private readonly long _maxMessageBytes;
    private readonly PooledBuffer _part = PooledBuffer.Rent(SnappyBlock.MaxFragmentBytes);
    private readonly SnappyEncoder _encoder = new();
    private readonly List<QueryResult> _results = [];
    private HistogramAnswers? _histograms;

    // Samples of the current series from its first pass, so that the second need not decode them again: of all its chunks, or of the last one looked at.
    private Sample[] _decoded = ArrayPool<Sample>.Shared.Rent(FirstDecoded);
    private int _decodedCount;
    private bool _allDecoded;
    private long _compressedBytes;
    private long _samples;
    private bool _isInQuery;

    /// <summary>An empty answer.</summary>
    /// <param name="maxCompressedBytes">Most compressed bytes (<c>read.memory</c>).</param>
    /// <param name="sampleLimit">Most samples of one query (<c>read.max_samples</c>); 0 for no limit.</param>
    public ReadSamples(long maxCompressedBytes, long sampleLimit)
        : this(maxCompressedBytes, sampleLimit, int.MaxValue)
    {
    }

    /// <summary>An empty answer with a shorter longest message than protobuf's, for tests.</summary>
    internal ReadSamples(long maxCompressedBytes, long sampleLimit, long maxMessageBytes)
    {
        _maxMessageBytes = maxMessageBytes;
        _maxCompressedBytes = maxCompressedBytes;
        _sampleLimit = sampleLimit;
    }

    /// <summary>Bytes of the finished answer as sent.</summary>
    public long Length
    {
        get
        {
            PooledBuffer head = Head();
            WritePreamble(head);
            long length = head.Length + _compressedBytes;
            foreach (QueryResult result in _results)
            {
                head.SetLength(0);
                result.WriteHead(head);
                length += head.Length;
            }

            head.SetLength(0);
            return length;
        }
    }

    /// <summary>Starts the result of the next query.</summary>
    public void BeginQuery()
    {
        Invariant.Check(!_isInQuery, "a query ends before the next begins");
        _isInQuery = true;
        _samples = 0;
        _results.Add(new QueryResult());
    }

    /// <summary>Adds one series to the query's result.</summary>
    /// <param name="labelRun">Its labels, sorted.</param>
    /// <param name="chunks">Its chunks: ascending, not overlapping, cut to the query.</param>
    /// <exception cref="ReadLimitException">The answer would exceed the sample limit, the memory budget or the longest message.</exception>
    /// <exception cref="CorruptChunkException">The bytes of a chunk are none.</exception>
    public void AddSeries(ReadOnlySpan<byte> labelRun, ReadOnlySpan<SeriesChunk> chunks)
    {
        Invariant.Check(_isInQuery, "a series belongs to a query");
        long length = labelRun.Length + MeasureSamples(chunks);
        QueryResult result = _results[^1];
        long before = result.RawBytes;
        long size = 1 + Varint.SizeOf((ulong)length) + length;
        result.RawBytes += size;
        if (RawLength() > _maxMessageBytes) throw ReadLimitException.OfMessage(_maxMessageBytes);

        Span<byte> head = stackalloc byte[1 + Varint.MaxBytes];
        head[0] = SeriesTag;
        AppendBytes(head[..(1 + Varint.Write(head[1..], (ulong)length))]);
        AppendLabels(labelRun);
        int decoded = 0;
        foreach (ref readonly SeriesChunk chunk in chunks) AppendChunk(chunk, ref decoded);
        Invariant.Check(result.EncodedBytes + _part.Length == before + size, "a series takes the bytes that were counted for it");
    }

    /// <summary>Ends the query's result.</summary>
    public void EndQuery()
    {
        Invariant.Check(_isInQuery, "a query begins before it ends");
        FlushPart();
        _isInQuery = false;
    }

    /// <summary>Sends the finished answer; stops without an error when nobody reads it any more.</summary>
    public async Task CopyToAsync(PipeWriter output, CancellationToken cancel)
    {
        PooledBuffer head = Head();
        WritePreamble(head);
        FlushResult sent = await output.WriteAsync(head.Memory, cancel);
        foreach (QueryResult result in _results)
        {
            head.SetLength(0);
            result.WriteHead(head);
            if (!sent.IsCompleted) sent = await output.WriteAsync(head.Memory, cancel);
            foreach (PooledBuffer segment in result.Segments)
            {
                if (!sent.IsCompleted) sent = await output.WriteAsync(segment.Memory, cancel);
            }
        }

        head.SetLength(0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _part.Dispose();
        ArrayPool<Sample>.Shared.Return(_decoded);
        _decoded = [];
        _histograms?.Dispose();
        foreach (QueryResult result in _results) result.Dispose();
        _results.Clear();
    }

    /// <summary>
    /// First pass over a series' chunks: the sizes that must stand in front of them, and the limits, before a byte is encoded.
    /// </summary>
    private long MeasureSamples(ReadOnlySpan<SeriesChunk> chunks)
    {
        _decodedCount = 0;
        _allDecoded = true;
        long bytes = 0;
        foreach (ref readonly SeriesChunk chunk in chunks)
            bytes += chunk.Encoding == ChunkEncoding.Xor ? MeasureFloats(chunk) : MeasureHistograms(chunk);
        return bytes;
    }

    private long MeasureFloats(in SeriesChunk chunk)
    {
        int count = CountOf(chunk);
        Count(count);
        if (_decodedCount + count > MaxDecoded)
        {
            _allDecoded = false;
            _decodedCount = 0;
        }

        Span<Sample> samples = Decode(chunk, _decodedCount, count);
        _decodedCount += samples.Length;
        return SampleWire.SizeOf(samples);
    }

    /// <summary>What the chunk says of itself: two bytes, so that a lie costs a megabyte of scratch at most.</summary>
    private static int CountOf(in SeriesChunk chunk) => new XorChunkReader(chunk.Data.Span).Count;

    /// <summary>Decodes a chunk into the scratch, behind what is kept there.</summary>
    private Span<Sample> Decode(in SeriesChunk chunk, int kept, int count)
    {
        if (_decoded.Length < kept + count) GrowDecoded(kept, kept + count);
        Span<Sample> samples = _decoded.AsSpan(kept, count);
        var reader = new XorChunkReader(chunk.Data.Span);
        int read = reader.ReadInto(samples);
        if (reader.IsCorrupt) throw new CorruptChunkException(chunk, "XOR samples end early or do not ascend");
        return samples[..read];
    }

    private void GrowDecoded(int kept, int needed)
    {
        Sample[] larger = ArrayPool<Sample>.Shared.Rent(Math.Max(needed, 2 * _decoded.Length));
        _decoded.AsSpan(0, kept).CopyTo(larger);
        ArrayPool<Sample>.Shared.Return(_decoded);
        _decoded = larger;
    }

    private long MeasureHistograms(in SeriesChunk chunk)
    {
        _histograms ??= new HistogramAnswers();
        long bytes = 0;
        HistogramChunkReader reader = _histograms.Read(chunk);
        Count(reader.Count);
        while (reader.MoveNext()) bytes += HistogramAnswer.SizeOf(reader.TimeMs, _histograms.Known(reader.Histogram));
        reader.ThrowIfCorrupt(chunk);
        return bytes;
    }

    private void Count(int samples)
    {
        _samples += samples;
        if (_sampleLimit > 0 && _samples > _sampleLimit) throw ReadLimitException.OfSamples(_sampleLimit);
    }

    private void AppendChunk(in SeriesChunk chunk, ref int decoded)
    {
        if (chunk.Encoding != ChunkEncoding.Xor)
        {
            AppendHistograms(chunk);
            return;
        }

        int count = CountOf(chunk);
        AppendFloats(_allDecoded ? _decoded.AsSpan(decoded, count) : Decode(chunk, 0, count));
        decoded += count;
    }

    private void AppendHistograms(in SeriesChunk chunk)
    {
        HistogramChunkReader reader = _histograms!.Read(chunk);
        while (reader.MoveNext()) AppendBytes(_histograms.Encode(reader.TimeMs, reader.Histogram));
    }

    private void AppendFloats(ReadOnlySpan<Sample> samples)
    {
        while (!samples.IsEmpty)
        {
            Span<byte> room = RoomInPart(SampleWire.MaxBytes);
            int at = 0;
            int count = 0;
            for (; count < samples.Length && room.Length - at >= SampleWire.MaxBytes; count++)
            {
                ref readonly Sample sample = ref samples[count];
                _encoder.Mark(_part.Length + at + SampleWire.TimeOffset(sample.ValueBits));
                at += SampleWire.Write(room[at..], sample.TimeMs, sample.ValueBits);
            }

            _part.SetLength(_part.Length + at);
            samples = samples[count..];
        }
    }

    /// <summary>Labels in one part if they are short; each name is a place to find again what series have in common.</summary>
    private void AppendLabels(ReadOnlySpan<byte> labelRun)
    {
        if (labelRun.Length <= MaxMarkedLabels)
        {
            RoomInPart(labelRun.Length);
            int start = _part.Length;
            var labels = new LabelRunReader(labelRun);
            int label = 0;
            while (labels.MoveNext())
            {
                _encoder.Mark(start + label + 2);
                label = labels.BytesRead;
            }
        }

        AppendBytes(labelRun);
    }

    private void AppendBytes(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            Span<byte> room = RoomInPart(1);
            int count = Math.Min(bytes.Length, room.Length);
            bytes[..count].CopyTo(room);
            _part.SetLength(_part.Length + count);
            bytes = bytes[count..];
        }
    }

    private Span<byte> RoomInPart(int needed)
    {
        if (SnappyBlock.MaxFragmentBytes - _part.Length < needed) FlushPart();
        return _part.Reserve(needed)[..(SnappyBlock.MaxFragmentBytes - _part.Length)];
    }

    private void FlushPart()
    {
        if (_part.Length == 0) return;
        QueryResult result = _results[^1];
        PooledBuffer segment = result.SegmentFor(MaxPartElementBytes);
        int before = segment.Length;

        // Histograms repeat themselves in other ways than at marks.
        if (_encoder.Marks < _part.Length / MostBytesPerMark) SnappyBlock.CompressFragment(_part.Span, segment);
        else _encoder.Encode(_part.Span, segment);
        _encoder.Forget();
        result.EncodedBytes += _part.Length;
        _compressedBytes += segment.Length - before;
        _part.SetLength(0);
        if (_compressedBytes > _maxCompressedBytes) throw ReadLimitException.OfMemory(_maxCompressedBytes);
    }

    private long RawLength()
    {
        long length = 0;
        foreach (QueryResult result in _results) length += result.FieldBytes;
        return length;
    }

    /// <summary>Room for what stands before the results: that of a part, which is empty between queries, so that nothing is rented any more once an answer is made.</summary>
    private PooledBuffer Head()
    {
        Invariant.Check(!_isInQuery && _part.Length == 0, "all queries have ended");
        return _part;
    }

    private void WritePreamble(PooledBuffer output)
    {
        Span<byte> space = output.Reserve(Varint.MaxBytes);
        output.SetLength(output.Length + Varint.Write(space, (ulong)RawLength()));
    }

    /// <summary>What histograms are read and encoded with. A message may be longer than a part of the answer: it is made apart.</summary>
    private sealed class HistogramAnswers : IDisposable
    {
        private readonly HistogramReadBuffer _buffer = new();
        private readonly PooledBuffer _message = PooledBuffer.Rent(1 << 10);
        private readonly NativeHistogram _reduced = new();

        public HistogramChunkReader Read(in SeriesChunk chunk) => new(chunk.Data.Span, chunk.Encoding, _buffer);

        /// <summary>The histogram, in a schema that every reader knows: foreign blocks may have finer ones.</summary>
        public NativeHistogram Known(NativeHistogram histogram)
        {
            if (histogram.Schema <= HistogramSchema.Max) return histogram;
            _reduced.CopyFrom(histogram);
            HistogramResolution.ReduceToKnown(_reduced);
            return _reduced;
        }

        public ReadOnlySpan<byte> Encode(long timeMs, NativeHistogram histogram)
        {
            histogram = Known(histogram);
            _message.SetLength(0);
            Span<byte> room = _message.Reserve(HistogramAnswer.SizeOf(timeMs, histogram));
            return room[..HistogramAnswer.Write(room, timeMs, histogram)];
        }

        public void Dispose() => _message.Dispose();
    }

    /// <summary>One query's result: how long its message is, and the compressed elements of its contents.</summary>
    private sealed class QueryResult : IDisposable
    {
        private const int FirstSegmentBytes = 4096;

        /// <summary>Bytes of the message that its series take, encoded or about to be.</summary>
        public long RawBytes { get; set; }

        /// <summary>Bytes of the message that are in the segments.</summary>
        public long EncodedBytes { get; set; }

        /// <summary>Bytes that the result takes in the answer's message, with its tag and length.</summary>
        public long FieldBytes => 1 + Varint.SizeOf((ulong)RawBytes) + RawBytes;

        public List<PooledBuffer> Segments { get; } = [];

        /// <summary>Where the next elements go; segments grow up to their size and are never copied beyond it.</summary>
        public PooledBuffer SegmentFor(int elementBytes)
        {
            if (Segments.Count > 0 && Segments[^1].Length + elementBytes <= SegmentBytes) return Segments[^1];
            Segments.Add(PooledBuffer.Rent(Segments.Count == 0 ? FirstSegmentBytes : SegmentBytes));
            return Segments[^1];
        }

        public void WriteHead(PooledBuffer output)
        {
            Span<byte> head = stackalloc byte[1 + Varint.MaxBytes];
            head[0] = ResultTag;
            SnappyBlock.AppendLiteral(head[..(1 + Varint.Write(head[1..], (ulong)RawBytes))], output);
        }

        public void Dispose()
        {
            foreach (PooledBuffer segment in Segments) segment.Dispose();
            Segments.Clear();
        }
    }
}
