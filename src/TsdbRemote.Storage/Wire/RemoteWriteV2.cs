using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Remote write 2.0: body → <see cref="WriteBatch"/>. Stateless, thread-safe.</summary>
/// <remarks>
/// Two passes, for symbols may stand anywhere: the first notes where symbols and series are, the second reads the series and expands their
/// labels into the batch's arena, as the run that 1.0 would have sent. What is wrong with one series is noted in its entry and spares the
/// others. Start times, of the series (field 6, up to rc.3), of samples and histograms (rc.4), are stepped over: no encoding has a place for them.
/// Source: Prometheus remote write 2.0-rc.4; prompb/io/prometheus/write/v2/types.proto (protocols §2.2, §2.3).
/// </remarks>
public static class RemoteWriteV2
{
    private const uint SymbolTag = (4 << 3) | 2;
    private const uint SeriesTag = (5 << 3) | 2;

    private const uint RefTag = (1 << 3) | 0;
    private const uint PackedRefsTag = (1 << 3) | 2;
    private const uint HistogramTag = (3 << 3) | 2;
    private const uint ExemplarTag = (4 << 3) | 2;
    private const uint MetadataTag = (5 << 3) | 2;

    private const uint MetadataTypeTag = (1 << 3) | 0;
    private const uint MetadataHelpTag = (3 << 3) | 0;
    private const uint MetadataUnitTag = (4 << 3) | 0;

    /// <summary>References printed of a series whose labels cannot be printed.</summary>
    private const int MaxPrintedRefs = 64;

    /// <summary>Decodes a Request.</summary>
    /// <param name="raw">The decompressed body; must stay unchanged while the batch is read.</param>
    /// <param name="batch">Filled; empty unless the answer is <see cref="DecodeStatus.Ok"/>.</param>
    /// <param name="limits">What one request may hold.</param>
    /// <param name="error">One line for the sender; null if decoded.</param>
    public static DecodeStatus Decode(ReadOnlyMemory<byte> raw, WriteBatch batch, in DecodeLimits limits, out string? error)
    {
        batch.Begin(raw, limits);
        ReadOnlySpan<byte> body = raw.Span;
        var request = new WireReader(body, 0);
        while (!request.AtEnd)
        {
            int start = request.Position;
            DecodeStatus status = NoteField(ref request, batch);
            if (status != DecodeStatus.Ok) return batch.Fail(status, start, out error);
        }

        foreach (ref SeriesEntry entry in batch.EditableSeries)
        {
            DecodeStatus status = DecodeSeries(body[..(entry.MessageOffset + entry.MessageLength)], ref entry, batch);
            if (status != DecodeStatus.Ok) return batch.Fail(status, entry.MessageOffset, out error);
        }

        error = null;
        return DecodeStatus.Ok;
    }

    /// <summary>Why a series was not taken, in Prometheus' words.</summary>
    /// <param name="batch">The batch that holds the series.</param>
    /// <param name="entry">A series with a <see cref="SeriesEntry.Problem"/>.</param>
    /// <param name="labels">The series' labels sorted, if the caller has them; otherwise they are printed as sent.</param>
    public static string Explain(WriteBatch batch, in SeriesEntry entry, ReadOnlySpan<byte> labels = default)
    {
        if (entry.Problem == SeriesProblem.NoData)
        {
            string printed = Labels.Print(labels.IsEmpty ? batch.LabelsOf(entry) : labels);
            return $"TimeSeries must contain at least one sample or histogram for series {printed}";
        }

        SeriesRefs refs = ReadRefs(batch, entry);
        int size = batch.SymbolCount;
        string what = entry.Problem switch
        {
            SeriesProblem.OddLabelRefs or SeriesProblem.LabelRefOutOfTable => refs.Labels.Explain(size),
            SeriesProblem.UnitRefOutOfTable => Text($"metadata unit_ref {refs.Metadata.Unit} outside of symbols table (size {size})"),
            SeriesProblem.HelpRefOutOfTable => Text($"metadata help_ref {refs.Metadata.Help} outside of symbols table (size {size})"),
            _ => throw new ArgumentException("the series has no problem", nameof(entry)),
        };
        bool isMetadata = entry.Problem is SeriesProblem.UnitRefOutOfTable or SeriesProblem.HelpRefOutOfTable;
        return $"parsing {(isMetadata ? "metadata" : "labels")} for series {refs.Labels.Print()}: {what}";
    }

    /// <summary>Why a series' first bad exemplar was not taken, in Prometheus' words.</summary>
    /// <param name="batch">The batch that holds the series.</param>
    /// <param name="entry">A series with a <see cref="SeriesEntry.BadExemplarCount"/>.</param>
    /// <param name="labels">The series' labels sorted, if the caller has them; otherwise they are printed as sent.</param>
    public static string ExplainExemplar(WriteBatch batch, in SeriesEntry entry, ReadOnlySpan<byte> labels = default)
    {
        RefList refs = ReadRefs(batch, entry).BadExemplar ?? throw new ArgumentException("the series has no bad exemplar", nameof(entry));
        string printed = Labels.Print(labels.IsEmpty ? batch.LabelsOf(entry) : labels);
        return $"parsing exemplar for series {printed}: {refs.Explain(batch.SymbolCount)}";
    }

    private static DecodeStatus NoteField(ref WireReader request, WriteBatch batch)
    {
        if (!request.TryReadTag(out uint tag)) return DecodeStatus.Malformed;
        if (tag is not (SymbolTag or SeriesTag)) return request.TrySkip(tag) ? DecodeStatus.Ok : DecodeStatus.Malformed;
        if (!request.TryReadBytes(out int offset, out int length)) return DecodeStatus.Malformed;
        if (tag == SymbolTag) return batch.TryAddSymbol(new BodyRange(offset, length)) ? DecodeStatus.Ok : DecodeStatus.TooManySymbols;
        return batch.TryAddSeries(offset, length) ? DecodeStatus.Ok : DecodeStatus.TooManySeries;
    }

    private static DecodeStatus DecodeSeries(ReadOnlySpan<byte> series, ref SeriesEntry entry, WriteBatch batch)
    {
        var labels = new LabelExpander(batch);
        var metadata = new MetadataRefs();
        entry.FirstSample = batch.SampleCount;
        int dropped = batch.ExemplarsDropped;
        int at = entry.MessageOffset;
        while (at < series.Length)
        {
            if (SampleWire.TryReadPlainRun(series, ref at, batch)) continue;
            DecodeStatus status = DecodeSeriesField(series, ref at, ref entry, ref labels, ref metadata, batch);
            if (status != DecodeStatus.Ok) return status;
        }

        entry.SampleCount = batch.SampleCount - entry.FirstSample;
        entry.Problem = labels.Finish(ref entry);
        if (entry.Problem == SeriesProblem.None) entry.Problem = metadata.Check(batch.SymbolCount);
        bool hasData = entry.SampleCount + entry.HistogramCount + entry.ExemplarCount > 0 || batch.ExemplarsDropped > dropped;
        if (entry.Problem == SeriesProblem.None && !hasData) entry.Problem = SeriesProblem.NoData;
        if (entry.Problem == SeriesProblem.None && metadata.IsPresent) KeepMetadata(metadata, labels.MetricName, batch);
        return DecodeStatus.Ok;
    }

    private static DecodeStatus DecodeSeriesField(
        ReadOnlySpan<byte> series, ref int at, ref SeriesEntry entry, ref LabelExpander labels, ref MetadataRefs metadata, WriteBatch batch)
    {
        var reader = new WireReader(series, at);
        if (!reader.TryReadTag(out uint tag)) return DecodeStatus.Malformed;
        DecodeStatus status;
        switch (tag)
        {
            case PackedRefsTag:
                status = reader.TryReadMessage(out WireReader refs) ? ExpandRefs(ref refs, ref labels) : DecodeStatus.Malformed;
                break;
            case RefTag:
                if (!reader.TryReadVarint(out ulong reference)) return DecodeStatus.Malformed;
                status = labels.TryAdd((uint)reference) ? DecodeStatus.Ok : DecodeStatus.TooLarge;
                break;
            case SampleWire.Tag or HistogramTag or ExemplarTag or MetadataTag:
                if (!reader.TryReadMessage(out WireReader message)) return DecodeStatus.Malformed;
                status = DecodeMessage(tag, ref message, ref entry, ref metadata, batch);
                break;
            default:
                status = reader.TrySkip(tag) ? DecodeStatus.Ok : DecodeStatus.Malformed;
                break;
        }

        at = reader.Position;
        return status;
    }

    private static DecodeStatus DecodeMessage(
        uint tag, ref WireReader message, ref SeriesEntry entry, ref MetadataRefs metadata, WriteBatch batch)
    {
        switch (tag)
        {
            case SampleWire.Tag:
                if (!SampleWire.TryRead(ref message, out Sample sample)) return DecodeStatus.Malformed;
                return batch.TryAddSample(sample) ? DecodeStatus.Ok : DecodeStatus.TooManySamples;
            case HistogramTag:
                entry.HistogramCount++;
                return batch.AddHistogram(ref message);
            case ExemplarTag:
                var range = new BodyRange(message.Position, message.Body.Length - message.Position);
                if (!TryCheckExemplar(ref message, batch.SymbolCount, null, out bool isGood)) return DecodeStatus.Malformed;
                if (!isGood) entry.BadExemplarCount++;
                batch.AddExemplar(ref entry, range, isGood);
                return DecodeStatus.Ok;
            default:
                return metadata.TryMerge(ref message) ? DecodeStatus.Ok : DecodeStatus.Malformed;
        }
    }

    private static DecodeStatus ExpandRefs(ref WireReader refs, ref LabelExpander labels)
    {
        if (!labels.TryAddPairs(ref refs)) return DecodeStatus.TooLarge;
        while (!refs.AtEnd)
        {
            if (!refs.TryReadVarint(out ulong reference)) return DecodeStatus.Malformed;
            if (!labels.TryAdd((uint)reference)) return DecodeStatus.TooLarge;
        }

        return DecodeStatus.Ok;
    }

    /// <summary>Reads an exemplar to its end and checks its references; keeps them only if somebody wants to print them.</summary>
    private static bool TryCheckExemplar(scoped ref WireReader exemplar, int symbolCount, RefList? kept, out bool isGood)
    {
        bool isOdd = false;
        isGood = true;
        while (!exemplar.AtEnd)
        {
            if (!exemplar.TryReadTag(out uint tag)) return false;
            if (tag is not (RefTag or PackedRefsTag))
            {
                if (!exemplar.TrySkip(tag)) return false;
                continue;
            }

            if (!exemplar.TryReadNumbers(tag, out WireReader refs)) return false;
            while (!refs.AtEnd)
            {
                if (!refs.TryReadVarint(out ulong reference)) return false;
                isOdd = !isOdd;
                isGood &= (uint)reference < (uint)symbolCount;
                kept?.Add((uint)reference, symbolCount);
            }
        }

        isGood &= !isOdd;
        return true;
    }

    private static void KeepMetadata(in MetadataRefs refs, BodyRange family, WriteBatch batch)
    {
        BodyRange help = batch.Symbols[(int)refs.Help];
        BodyRange unit = batch.Symbols[(int)refs.Unit];
        if (family.Length == 0 || (refs.Type == 0 && help.Length == 0 && unit.Length == 0)) return;
        batch.AddMetadata(new MetadataEntry(refs.Type, family, help, unit));
    }

    /// <summary>Reads a series a second time, for what an error text names.</summary>
    private static SeriesRefs ReadRefs(WriteBatch batch, in SeriesEntry entry)
    {
        var found = new SeriesRefs();
        var series = new WireReader(batch.Body.Span[..(entry.MessageOffset + entry.MessageLength)], entry.MessageOffset);
        bool isLegal = true;
        while (isLegal && !series.AtEnd)
            isLegal = series.TryReadTag(out uint tag) && TryNoteRefs(ref series, tag, found, batch.SymbolCount);
        Invariant.Check(isLegal, "a series that was decoded is legal protobuf");
        return found;
    }

    private static bool TryNoteRefs(ref WireReader series, uint tag, SeriesRefs found, int symbolCount)
    {
        switch (tag)
        {
            case RefTag or PackedRefsTag:
                if (!series.TryReadNumbers(tag, out WireReader refs)) return false;
                while (!refs.AtEnd && refs.TryReadVarint(out ulong reference)) found.Labels.Add((uint)reference, symbolCount);
                return refs.AtEnd;
            case MetadataTag:
                return series.TryReadMessage(out WireReader metadata) && found.Metadata.TryMerge(ref metadata);
            case ExemplarTag:
                var exemplarRefs = new RefList();
                if (!series.TryReadMessage(out WireReader exemplar)) return false;
                if (!TryCheckExemplar(ref exemplar, symbolCount, exemplarRefs, out bool isGood)) return false;
                if (!isGood) found.BadExemplar ??= exemplarRefs;
                return true;
            default:
                return series.TrySkip(tag);
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>The singular Metadata message of a series; may arrive in several pieces, whose last values count.</summary>
    private struct MetadataRefs
    {
        public bool IsPresent;
        public uint Type;
        public uint Help;
        public uint Unit;

        public bool TryMerge(scoped ref WireReader piece)
        {
            IsPresent = true;
            while (!piece.AtEnd)
            {
                if (!piece.TryReadTag(out uint tag)) return false;
                if (tag is not (MetadataTypeTag or MetadataHelpTag or MetadataUnitTag))
                {
                    if (!piece.TrySkip(tag)) return false;
                    continue;
                }

                if (!piece.TryReadVarint(out ulong value)) return false;
                if (tag == MetadataTypeTag) Type = (uint)value;
                else if (tag == MetadataHelpTag) Help = (uint)value;
                else Unit = (uint)value;
            }

            return true;
        }

        /// <summary>As Prometheus: the unit first, and references that were left out are 0, which an empty table does not have.</summary>
        public readonly SeriesProblem Check(int symbolCount)
        {
            if (Unit >= (uint)symbolCount) return SeriesProblem.UnitRefOutOfTable;
            return Help >= (uint)symbolCount ? SeriesProblem.HelpRefOutOfTable : SeriesProblem.None;
        }
    }

    private sealed class SeriesRefs
    {
        public RefList Labels { get; } = new();

        public RefList? BadExemplar { get; set; }

        public MetadataRefs Metadata;
    }

    /// <summary>References for an error text: the first few, how many there were, and the first pair outside the table.</summary>
    private sealed class RefList
    {
        private readonly List<uint> _first = [];
        private int _count;
        private uint _name;
        private (uint Name, uint Value)? _badPair;

        public void Add(uint reference, int symbolCount)
        {
            if (_first.Count < MaxPrintedRefs) _first.Add(reference);
            if (_count++ % 2 == 0) _name = reference;
            else if (_name >= (uint)symbolCount || reference >= (uint)symbolCount) _badPair ??= (_name, reference);
        }

        public string Explain(int symbolCount)
        {
            if (_count % 2 != 0 || _badPair is not var (name, value)) return Text($"invalid labelRefs length {_count}");
            return Text($"labelRefs {name} (name) = {value} (value) outside of symbols table (size {symbolCount})");
        }

        public string Print()
        {
            var text = new StringBuilder("[").AppendJoin(' ', _first);
            return text.Append(_count > _first.Count ? " ...]" : "]").ToString();
        }
    }
}
