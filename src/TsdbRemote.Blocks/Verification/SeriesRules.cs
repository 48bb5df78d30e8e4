using System.Buffers.Binary;
using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Walks the series of an index and, beside them, the chunks that they name: rules 5 and 32 to 38.</summary>
/// <remarks>
/// <code>
/// zeros to a multiple of 16 │ body length uvarint │ body │ crc32c of body, be32
/// body   label count uvarint │ (name, value) uvarint each │ chunk count uvarint │ chunks
/// chunk  first: min varint, max - min uvarint, reference uvarint · next: min - last max uvarint, max - min uvarint, reference step varint
/// </code>
/// Memory: the longest entry, one bit for every 16 bytes of the section, and what <see cref="PairFingerprints"/> needs. Not thread-safe.
/// </remarks>
internal sealed class SeriesRules : IDisposable
{
    // Thanos and Mimir budget 64 KiB for an entry; this is only where memory ends.
    private const ulong MaxBodyBytes = 64 << 20;
    private const int MinLabelBytes = 2;
    private const int MinChunkBytes = 3;
    private const int PrintedChars = 200;

    private readonly VerifyContext _context;
    private readonly FileSource _index;
    private readonly IndexShape _shape;
    private readonly SymbolTable _symbols;
    private readonly SegmentWalk _chunks;
    private readonly MetaFacts? _meta;
    private readonly ValueChecksumBuilder? _values;
    private readonly Func<string> _describe;
    private readonly PooledBuffer _run = PooledBuffer.Rent(1024);
    private LabelPair[] _labels = new LabelPair[32];
    private LabelPair[] _lastLabels = new LabelPair[32];
    private int _labelCount; // 0 before the first series and behind one that cannot be read: every set of labels is above none
    private int _lastLabelCount;
    private long _entry;
    private bool _labelsKnown;
    private long _chunkCount;
    private long _floats;
    private long _histograms;
    private long _minTimeMs = long.MaxValue;
    private long _maxTimeMs = long.MinValue;

    /// <summary>Prepares the walk.</summary>
    /// <param name="context">The verification.</param>
    /// <param name="index">The index.</param>
    /// <param name="shape">Its parts.</param>
    /// <param name="symbols">Its symbols.</param>
    /// <param name="chunks">The segments.</param>
    /// <param name="meta">For the block's range; null if it could not be read.</param>
    /// <param name="pairs">Most label pairs that the postings claim.</param>
    /// <param name="values">Receives labels and samples; null if nobody wants them.</param>
    public SeriesRules(
        VerifyContext context,
        FileSource index,
        IndexShape shape,
        SymbolTable symbols,
        SegmentWalk chunks,
        MetaFacts? meta,
        uint pairs,
        ValueChecksumBuilder? values)
    {
        _context = context;
        _index = index;
        _shape = shape;
        _symbols = symbols;
        _chunks = chunks;
        _meta = meta;
        _values = values;
        _describe = Describe;
        Ids = new BitSet(shape.LabelIndices / IndexShape.SeriesAlignment + 1);
        Pairs = new PairFingerprints(pairs);
    }

    /// <summary>Ids of all series.</summary>
    public BitSet Ids { get; }

    /// <summary>Ids of all series in their order, as the all-postings list must have them.</summary>
    public Fingerprint AllIds { get; private set; }

    /// <summary>Series by label pair.</summary>
    public PairFingerprints Pairs { get; }

    /// <summary>Whether every entry was read, so that what is missing elsewhere is missing.</summary>
    public bool IsComplete { get; private set; } = true;

    /// <summary>Whether every chunk was decoded.</summary>
    public bool AllDecoded { get; private set; } = true;

    /// <summary>Series so far.</summary>
    public long SeriesCount => AllIds.Count;

    /// <summary>What was counted.</summary>
    public BlockCounts Counts => new(SeriesCount, _chunkCount, _floats, _histograms, Tombstones: 0, _minTimeMs, _maxTimeMs);

    private Findings Findings => _context.Findings;

    /// <summary>Walks the section.</summary>
    public void Walk()
    {
        using SequentialFile file = new(_index, _shape.Series, _shape.LabelIndices, _context.Cancel);
        while (file.Remaining > 0 && TryEntry(file))
        {
        }

        if (file.Remaining > 0) IsComplete = false;
        if (!IsComplete) AllDecoded = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Ids.Dispose();
        Pairs.Dispose();
        _run.Dispose();
    }

    /// <summary>Reads one entry with the padding before it.</summary>
    /// <returns>False if the next entry cannot be found.</returns>
    private bool TryEntry(SequentialFile file)
    {
        int padding = (int)(-file.Position & (IndexShape.SeriesAlignment - 1));
        if (file.Peek(padding).ContainsAnyExcept((byte)0))
            Findings.Error(32, IndexShape.File, file.Position, $"the padding before the next series is not zero");
        file.Skip(padding);
        _entry = file.Position;
        _labelsKnown = false;
        if (!file.TryReadUvarint(out ulong length) || length > MaxBodyBytes || (long)length + sizeof(uint) > file.Remaining)
        {
            Findings.Error(32, IndexShape.File, _entry, $"no series entry begins here; series end at {_shape.LabelIndices}");
            return false;
        }

        ReadOnlySpan<byte> entry = file.Peek((int)length + sizeof(uint));
        file.Skip(entry.Length);
        ReadOnlySpan<byte> body = entry[..(int)length];
        long id = _entry / IndexShape.SeriesAlignment;
        Ids.Set(id);
        Fingerprint all = AllIds;
        all.Add((uint)id);
        AllIds = all;
        if (Crc32C.Of(body) == BinaryPrimitives.ReadUInt32BigEndian(entry[body.Length..])) return ReadBody(body);
        Findings.Error(32, IndexShape.File, _entry, $"checksum of series {id} differs");
        IsComplete = false;
        return true;
    }

    /// <summary>Reads labels and chunks; the next entry is found whatever they are.</summary>
    private bool ReadBody(ReadOnlySpan<byte> body)
    {
        int at = 0;
        bool isWhole = TryLabels(body, ref at) && TryChunks(body, ref at);
        if (!isWhole)
        {
            Findings.Error(32, IndexShape.File, _entry, $"the entry of {Describe()} ends within its labels or chunks");
            IsComplete = false;
        }
        else if (at != body.Length)
        {
            Findings.Error(32, IndexShape.File, _entry, $"{body.Length - at} bytes follow the last chunk of {Describe()}");
        }

        return true;
    }

    private bool TryLabels(ReadOnlySpan<byte> body, ref int at)
    {
        if (!Varint.TryRead(body, ref at, out ulong count) || count > (ulong)(body.Length - at) / MinLabelBytes) return false;
        (_labels, _lastLabels) = (_lastLabels, _labels);
        _lastLabelCount = _labelCount;
        _labelCount = (int)count;
        if (_labels.Length < _labelCount) _labels = new LabelPair[Math.Max(_labelCount, _labels.Length * 2)];
        bool inRange = true;
        for (int i = 0; i < _labelCount; i++)
        {
            if (!Varint.TryRead(body, ref at, out ulong name) || !Varint.TryRead(body, ref at, out ulong value)) return false;
            inRange &= name < _symbols.Count && value < _symbols.Count;
            _labels[i] = new LabelPair((uint)name, (uint)value);
        }

        if (inRange)
        {
            TakeLabels();
            return true;
        }

        Findings.Error(34, IndexShape.File, _entry, $"{Describe()} names a symbol beyond the {_symbols.Count} that there are");
        _labelCount = 0;
        IsComplete = false;
        return true;
    }

    private void TakeLabels()
    {
        _labelsKnown = true;
        ReadOnlySpan<LabelPair> labels = _labels.AsSpan(0, _labelCount);
        uint id = (uint)(_entry / IndexShape.SeriesAlignment);
        bool hasName = false;
        for (int i = 0; i < labels.Length; i++)
        {
            _symbols.MarkUsed(labels[i].Name);
            _symbols.MarkUsed(labels[i].Value);
            Pairs.Add(labels[i].Name, labels[i].Value, id);
            hasName |= labels[i].Name == _symbols.MetricName;
            if (labels[i].Name == _symbols.Empty || labels[i].Value == _symbols.Empty)
                Findings.Error(34, IndexShape.File, _entry, $"label {i} of {Describe()} has an empty name or value");
            if (i > 0 && _symbols.IsSorted && labels[i].Name <= labels[i - 1].Name)
                Findings.Error(34, IndexShape.File, _entry, $"label {i} of {Describe()} is not above the one before");
        }

        if (labels.IsEmpty) Findings.Error(33, IndexShape.File, _entry, $"{Describe()} has no label");
        else if (!hasName && _context.Options.RequireMetricName)
            Findings.Warning(34, IndexShape.File, _entry, $"{Describe()} has no metric name");
        if (_symbols.IsSorted && !labels.IsEmpty && labels.SequenceCompareTo(_lastLabels.AsSpan(0, _lastLabelCount)) <= 0)
            Findings.Error(33, IndexShape.File, _entry, $"{Describe()} is not above the series before");
        CheckSize(labels.Length);
        if (_values is not null) _values.BeginSeries(BuildRun());
    }

    /// <summary>What no reader here takes. Few series need a look at their symbols.</summary>
    private void CheckSize(int labels)
    {
        if (2L * labels * (_symbols.LongestBytes + Varint.MaxBytes) <= IndexFormat.MaxLabelBytes || BuildRun().Length <= IndexFormat.MaxLabelBytes) return;
        Findings.Error(34, IndexShape.File, _entry, $"labels of {Describe()} take more than {IndexFormat.MaxLabelBytes} bytes");
    }

    private bool TryChunks(ReadOnlySpan<byte> body, ref int at)
    {
        if (!Varint.TryRead(body, ref at, out ulong count) || count > (ulong)(body.Length - at) / MinChunkBytes) return false;
        if (count == 0) Findings.Error(35, IndexShape.File, _entry, $"{Describe()} has no chunk");
        long lastMaxMs = 0;
        ulong reference = 0;
        for (ulong i = 0; i < count; i++)
        {
            long minMs;
            if (i == 0)
            {
                if (!Varint.TryReadZigZag(body, ref at, out minMs)) return false;
            }
            else
            {
                if (!Varint.TryRead(body, ref at, out ulong gap)) return false;
                minMs = (long)((ulong)lastMaxMs + gap);
                if (minMs <= lastMaxMs) Findings.Error(37, IndexShape.File, _entry, $"chunk {i} of {Describe()} begins before the last one ends");
            }

            if (!Varint.TryRead(body, ref at, out ulong duration)) return false;
            long maxMs = (long)((ulong)minMs + duration);
            if (maxMs < minMs) Findings.Error(37, IndexShape.File, _entry, $"chunk {i} of {Describe()} ends before it begins");
            if (i == 0)
            {
                if (!Varint.TryRead(body, ref at, out reference)) return false;
            }
            else
            {
                if (!Varint.TryReadZigZag(body, ref at, out long step)) return false;
                reference += (ulong)step;
            }

            Chunk(reference, minMs, maxMs);
            lastMaxMs = maxMs;
        }

        return true;
    }

    private void Chunk(ulong reference, long minMs, long maxMs)
    {
        ChunkFacts? found = _chunks.Visit(reference, _entry, _describe, _values);
        _chunkCount++;
        if (found is not { } facts)
        {
            AllDecoded = false;
            return;
        }

        if (facts.FirstMs != minMs || facts.LastMs != maxMs)
        {
            Findings.Error(
                38, IndexShape.File, _entry,
                $"the index says {minMs} to {maxMs} ms of a chunk of {Describe()}, its samples span {facts.FirstMs} to {facts.LastMs}");
        }

        if (_meta is { MinTimeMs: { } start, MaxTimeMs: { } end } && (facts.FirstMs < start || facts.LastMs >= end))
        {
            Findings.Error(
                5, IndexShape.File, _entry,
                $"samples of {Describe()} at {facts.FirstMs} to {facts.LastMs} ms lie outside the block's {start} to {end}");
        }

        Count(facts);
    }

    private void Count(in ChunkFacts facts)
    {
        if (facts.IsHistogram) _histograms += facts.Samples;
        else _floats += facts.Samples;
        _minTimeMs = Math.Min(_minTimeMs, facts.FirstMs);
        _maxTimeMs = Math.Max(_maxTimeMs, facts.LastMs);
    }

    private string Describe()
    {
        string id = (_entry / IndexShape.SeriesAlignment).ToString(CultureInfo.InvariantCulture);
        return _labelsKnown ? $"series {id} {Labels.Print(BuildRun(), PrintedChars)}" : $"series {id}";
    }

    private ReadOnlySpan<byte> BuildRun()
    {
        _run.SetLength(0);
        foreach (LabelPair label in _labels.AsSpan(0, _labelCount))
        {
            // Two symbols at once: the first is copied, for the second look-up may replace what it stands in.
            using PooledBuffer name = PooledBuffer.Rent(256);
            name.Append(_symbols.Get(label.Name));
            ReadOnlySpan<byte> value = _symbols.Get(label.Value);
            int size = Labels.SizeOf(name.Length, value.Length);
            Labels.Write(_run.Reserve(size), name.Span, value);
            _run.SetLength(_run.Length + size);
        }

        return _run.Span;
    }

    /// <summary>Ordinals of a label's symbols; as symbols ascend, pairs compare as their strings do.</summary>
    private readonly record struct LabelPair(uint Name, uint Value) : IComparable<LabelPair>
    {
        public int CompareTo(LabelPair other) => Name != other.Name ? Name.CompareTo(other.Name) : Value.CompareTo(other.Value);
    }
}
