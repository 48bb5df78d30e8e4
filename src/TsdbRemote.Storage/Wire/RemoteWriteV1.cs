using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Remote write 1.0: body → <see cref="WriteBatch"/>, and accepted samples → body. Stateless, thread-safe.</summary>
/// <remarks>
/// Accepts every legal spelling: fields in any order, unknown ones skipped (also field 2, in which Cortex sends an enum). Labels stay
/// where they are; only if they are scattered or oddly spelled does the series get a run in the batch's arena.
/// The hot loops know the one spelling that all senders use and leave everything else to the readers of all spellings.
/// Source: Prometheus remote write 1.0; prompb/remote.proto and types.proto (protocols §1.3).
/// </remarks>
public static class RemoteWriteV1
{
    internal const uint SeriesTag = (1 << 3) | 2;
    private const uint MetadataTag = (3 << 3) | 2;

    private const uint LabelTag = (1 << 3) | 2;
    private const uint ExemplarTag = (3 << 3) | 2;
    private const uint HistogramTag = (4 << 3) | 2;

    private const uint MetadataTypeTag = (1 << 3) | 0;
    private const uint MetadataFamilyTag = (2 << 3) | 2;
    private const uint MetadataHelpTag = (4 << 3) | 2;
    private const uint MetadataUnitTag = (5 << 3) | 2;

    /// <summary>Decodes a WriteRequest.</summary>
    /// <param name="raw">The decompressed body; must stay unchanged while the batch is read.</param>
    /// <param name="batch">Filled; empty unless the answer is <see cref="DecodeStatus.Ok"/>.</param>
    /// <param name="limits">What one request may hold.</param>
    /// <param name="error">One line for the sender; null if decoded.</param>
    public static DecodeStatus Decode(ReadOnlyMemory<byte> raw, WriteBatch batch, in DecodeLimits limits, out string? error)
    {
        var nothing = default(NoKnownSeries);
        return Decode(raw, batch, limits, ref nothing, out error);
    }

    /// <summary>As the other, for a receiver that knows the labels of most series and in which order they come.</summary>
    /// <param name="raw">The decompressed body; must stay unchanged while the batch is read.</param>
    /// <param name="batch">Filled; empty unless the answer is <see cref="DecodeStatus.Ok"/>.</param>
    /// <param name="limits">What one request may hold.</param>
    /// <param name="known">Recognises series by their bytes: <see cref="SeriesEntry.Known"/> says which.</param>
    /// <param name="error">One line for the sender; null if decoded.</param>
    internal static DecodeStatus Decode<TKnown>(
        ReadOnlyMemory<byte> raw, WriteBatch batch, in DecodeLimits limits, ref TKnown known, out string? error)
        where TKnown : struct, IKnownSeries
    {
        batch.Begin(raw, limits);
        var request = new WireReader(raw.Span, 0);
        while (true)
        {
            if (known.IsWatching) request.Position = KnownRun.Take(request.Body, request.Position, batch, ref known);
            if (request.AtEnd) break;
            int start = request.Position;
            int series = batch.Series.Length;
            DecodeStatus status = DecodeField(ref request, batch);
            if (status != DecodeStatus.Ok) return batch.Fail(status, start, out error);
            if (known.IsWatching && batch.Series.Length > series) Recognise(batch, ref known);
        }

        error = null;
        return DecodeStatus.Ok;
    }

    /// <summary>Appends one series to an uncompressed WriteRequest.</summary>
    /// <param name="output">The request so far.</param>
    /// <param name="labelRun">The series' labels, as <see cref="Labels"/> describes them.</param>
    /// <param name="samples">Its samples, in the order to be written.</param>
    /// <param name="others">
    /// Its histograms and exemplars, as <see cref="EncodeHistogram"/> and <see cref="EncodeExemplar"/> write them one behind the other.
    /// </param>
    public static void EncodeSeries(
        PooledBuffer output, ReadOnlySpan<byte> labelRun, ReadOnlySpan<Sample> samples, ReadOnlySpan<byte> others = default)
    {
        int length = checked(labelRun.Length + others.Length);
        foreach (Sample sample in samples) length = checked(length + SampleWire.SizeOf(sample.TimeMs, sample.ValueBits));
        int size = checked(1 + Varint.SizeOf((uint)length) + length);
        Span<byte> space = output.Reserve(size);
        space[0] = (byte)SeriesTag;
        int at = 1 + Varint.Write(space[1..], (uint)length);
        labelRun.CopyTo(space[at..]);
        at += labelRun.Length;
        foreach (Sample sample in samples) at += SampleWire.Write(space[at..], sample.TimeMs, sample.ValueBits);
        others.CopyTo(space[at..]);
        at += others.Length;
        Invariant.Check(at == size, "a series takes the bytes that were counted for it");
        output.SetLength(output.Length + size);
    }

    /// <summary>Appends a histogram, as a field of its series.</summary>
    /// <param name="output">The series' histograms so far.</param>
    /// <param name="message">The message as it came, of either version: the fields that both have mean the same.</param>
    public static void EncodeHistogram(PooledBuffer output, ReadOnlySpan<byte> message)
    {
        int size = checked(1 + Varint.SizeOf((uint)message.Length) + message.Length);
        Span<byte> space = output.Reserve(size);
        space[0] = (byte)HistogramTag;
        message.CopyTo(space[(1 + Varint.Write(space[1..], (uint)message.Length))..]);
        output.SetLength(output.Length + size);
    }

    /// <summary>Appends an exemplar, as a field of its series.</summary>
    /// <param name="output">The series' histograms and exemplars so far.</param>
    /// <param name="labelRun">The exemplar's labels.</param>
    /// <param name="exemplar">Its time and value.</param>
    public static void EncodeExemplar(PooledBuffer output, ReadOnlySpan<byte> labelRun, Sample exemplar)
    {
        int length = ExemplarWire.SizeOf(labelRun.Length, exemplar);
        int size = checked(1 + Varint.SizeOf((uint)length) + length);
        Span<byte> space = output.Reserve(size);
        space[0] = (byte)ExemplarTag;
        int at = 1 + Varint.Write(space[1..], (uint)length);
        at += ExemplarWire.Write(space[at..], labelRun, exemplar);
        Invariant.Check(at == size, "an exemplar takes the bytes that were counted for it");
        output.SetLength(output.Length + size);
    }

    /// <summary>Appends what is known of a metric family, as a field of the request.</summary>
    /// <param name="output">The request so far.</param>
    /// <param name="type">Number of its type.</param>
    /// <param name="family">Its name.</param>
    /// <param name="help">Help text.</param>
    /// <param name="unit">Unit.</param>
    public static void EncodeMetadata(PooledBuffer output, uint type, ReadOnlySpan<byte> family, ReadOnlySpan<byte> help, ReadOnlySpan<byte> unit)
    {
        int length = 1 + Varint.SizeOf(type) + TextSize(family) + TextSize(help) + TextSize(unit);
        int size = 1 + Varint.SizeOf((uint)length) + length;
        Span<byte> space = output.Reserve(size);
        space[0] = (byte)MetadataTag;
        int at = 1 + Varint.Write(space[1..], (uint)length);
        space[at++] = (byte)MetadataTypeTag;
        at += Varint.Write(space[at..], type);
        at += WriteText(space[at..], MetadataFamilyTag, family);
        at += WriteText(space[at..], MetadataHelpTag, help);
        at += WriteText(space[at..], MetadataUnitTag, unit);
        Invariant.Check(at == size, "metadata takes the bytes that were counted for it");
        output.SetLength(output.Length + size);
    }

    private static int TextSize(ReadOnlySpan<byte> text) => 1 + Varint.SizeOf((uint)text.Length) + text.Length;

    private static int WriteText(Span<byte> space, uint tag, ReadOnlySpan<byte> text)
    {
        space[0] = (byte)tag;
        int at = 1 + Varint.Write(space[1..], (uint)text.Length);
        text.CopyTo(space[at..]);
        return at + text.Length;
    }

    private static void Recognise<TKnown>(WriteBatch batch, ref TKnown known)
        where TKnown : struct, IKnownSeries
    {
        ref SeriesEntry entry = ref batch.EditableSeries[^1];
        entry.Known = known.GoOnBehind(batch.LabelsOf(entry));
    }

    private static DecodeStatus DecodeField(ref WireReader request, WriteBatch batch)
    {
        if (!request.TryReadTag(out uint tag)) return DecodeStatus.Malformed;
        switch (tag)
        {
            case SeriesTag:
                if (!request.TryReadMessage(out WireReader series)) return DecodeStatus.Malformed;
                return DecodeSeries(series.Body, series.Position, batch);
            case MetadataTag:
                if (!request.TryReadMessage(out WireReader metadata)) return DecodeStatus.Malformed;
                return DecodeMetadata(ref metadata, batch);
            default:
                return request.TrySkip(tag) ? DecodeStatus.Ok : DecodeStatus.Malformed;
        }
    }

    private static DecodeStatus DecodeSeries(ReadOnlySpan<byte> series, int start, WriteBatch batch)
    {
        if (!batch.TryAddSeries(start, series.Length - start)) return DecodeStatus.TooManySeries;
        int at = LabelWire.SkipPlainRun(series, start);
        ref SeriesEntry entry = ref batch.EditableSeries[^1];
        entry.LabelsOffset = start;
        entry.LabelsLength = at - start;
        while (at < series.Length)
        {
            if (SampleWire.TryReadPlainRun(series, ref at, batch)) continue;
            DecodeStatus status = DecodeSeriesField(series, ref at, ref entry, batch);
            if (status != DecodeStatus.Ok) return status;
        }

        entry.SampleCount = batch.SampleCount - entry.FirstSample;
        return DecodeStatus.Ok;
    }

    private static DecodeStatus DecodeSeriesField(ReadOnlySpan<byte> series, ref int at, ref SeriesEntry entry, WriteBatch batch)
    {
        var reader = new WireReader(series, at);
        if (!reader.TryReadTag(out uint tag)) return DecodeStatus.Malformed;
        if (tag is not (LabelTag or SampleWire.Tag or ExemplarTag or HistogramTag))
        {
            if (!reader.TrySkip(tag)) return DecodeStatus.Malformed;
            at = reader.Position;
            return DecodeStatus.Ok;
        }

        int start = at;
        if (!reader.TryReadMessage(out WireReader message)) return DecodeStatus.Malformed;
        at = reader.Position;
        switch (tag)
        {
            case LabelTag:
                return DecodeLabel(ref message, start, at, ref entry, batch);
            case SampleWire.Tag:
                if (!SampleWire.TryRead(ref message, out Sample sample)) return DecodeStatus.Malformed;
                return batch.TryAddSample(sample) ? DecodeStatus.Ok : DecodeStatus.TooManySamples;
            case HistogramTag:
                entry.HistogramCount++;
                return batch.AddHistogram(ref message);
            default:
                var range = new BodyRange(message.Position, at - message.Position);
                if (!ExemplarWire.IsLegalV1(ref message)) return DecodeStatus.Malformed;
                batch.AddExemplar(ref entry, range, isGood: true);
                return DecodeStatus.Ok;
        }
    }

    /// <summary>
    /// Extends the run in the body if the label follows it and is one that LabelRunReader reads alike, else goes on in the arena.
    /// </summary>
    private static DecodeStatus DecodeLabel(ref WireReader message, int start, int end, ref SeriesEntry entry, WriteBatch batch)
    {
        ReadOnlySpan<byte> body = message.Body;
        if (!LabelWire.TryRead(ref message, out BodyRange name, out BodyRange value, out bool isPlain)) return DecodeStatus.Malformed;
        if (entry.LabelsLength == 0 && !entry.LabelsInArena) entry.LabelsOffset = start;
        bool follows = start == entry.LabelsOffset + entry.LabelsLength;
        if (!entry.LabelsInArena && follows && isPlain && body[start] == LabelTag)
        {
            entry.LabelsLength = end - entry.LabelsOffset;
            return DecodeStatus.Ok;
        }

        if (!entry.LabelsInArena && !MoveToArena(body, ref entry, batch)) return DecodeStatus.TooLarge;
        if (!batch.TryGrowArena(Labels.SizeOf(name.Length, value.Length), out Span<byte> space)) return DecodeStatus.TooLarge;
        entry.LabelsLength += Labels.Write(space, body.Slice(name.Offset, name.Length), body.Slice(value.Offset, value.Length));
        return DecodeStatus.Ok;
    }

    private static bool MoveToArena(ReadOnlySpan<byte> body, ref SeriesEntry entry, WriteBatch batch)
    {
        int offset = batch.ArenaLength;
        if (!batch.TryGrowArena(entry.LabelsLength, out Span<byte> space)) return false;
        body.Slice(entry.LabelsOffset, entry.LabelsLength).CopyTo(space);
        entry.LabelsOffset = offset;
        entry.LabelsInArena = true;
        return true;
    }

    private static DecodeStatus DecodeMetadata(ref WireReader message, WriteBatch batch)
    {
        ulong type = 0;
        BodyRange family = default;
        BodyRange help = default;
        BodyRange unit = default;
        while (!message.AtEnd)
        {
            if (!message.TryReadTag(out uint tag)) return DecodeStatus.Malformed;
            bool read = tag switch
            {
                MetadataTypeTag => message.TryReadVarint(out type),
                MetadataFamilyTag => TryReadRange(ref message, out family),
                MetadataHelpTag => TryReadRange(ref message, out help),
                MetadataUnitTag => TryReadRange(ref message, out unit),
                _ => message.TrySkip(tag),
            };
            if (!read) return DecodeStatus.Malformed;
        }

        batch.AddMetadata(new MetadataEntry((uint)type, family, help, unit));
        return DecodeStatus.Ok;
    }

    private static bool TryReadRange(ref WireReader message, out BodyRange range)
    {
        bool read = message.TryReadBytes(out int offset, out int length);
        range = new BodyRange(offset, length);
        return read;
    }
}
