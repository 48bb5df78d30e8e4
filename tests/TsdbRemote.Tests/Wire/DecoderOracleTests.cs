using CsCheck;
using Google.Protobuf;
using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Wire;

/// <summary>The hand decoders against Google.Protobuf's generated parsers: same verdict, same content, whatever the bytes.</summary>
public sealed class DecoderOracleTests
{
    private const int Rounds = 4000;

    [Fact]
    public void A_1_0_request_decodes_as_the_generated_parser_reads_it_in_every_spelling_and_after_every_damage() =>
        Check(static wire => wire.RequestV1(), CompareV1);

    [Fact]
    public void A_2_0_request_decodes_as_the_generated_parser_reads_it_in_every_spelling_and_after_every_damage() =>
        Check(static wire => wire.RequestV2(), CompareV2);

    [Fact]
    public void Each_version_reads_the_other_as_empty()
    {
        var wire = new OddWire(new Random(7), oddness: 0);
        using var batch = new WriteBatch();
        for (int i = 0; i < 50; i++)
        {
            Assert.Equal(DecodeStatus.Ok, RemoteWriteV2.Decode(wire.RequestV1(), batch, DecodeLimits.Default, out _));
            Assert.Equal(0, batch.Series.Length);
            Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(wire.RequestV2(), batch, DecodeLimits.Default, out _));
            Assert.Equal(0, batch.Series.Length);
        }
    }

    private static void Check(Func<OddWire, byte[]> request, Action<byte[], WriteBatch> compare)
    {
        using var batch = new WriteBatch();
        int accepted = 0;
        Gen.Int.Sample(
            seed =>
            {
                var wire = new OddWire(new Random(seed), oddness: seed % 3 == 0 ? 0 : 0.2);
                byte[] body = request(wire);
                if (seed % 2 == 0) body = wire.Damage(body);
                compare(body, batch);
                if (batch.Series.Length > 0) accepted++;
            },
            iter: Rounds,
            threads: 1);
        Assert.InRange(accepted, Rounds / 4, Rounds);   // the law was tried on requests with content
    }

    private static void CompareV1(byte[] body, WriteBatch batch)
    {
        OracleV1.WriteRequest? expected = Parse(OracleV1.WriteRequest.Parser, body, "v1");
        DecodeStatus status = RemoteWriteV1.Decode(body, batch, DecodeLimits.Default, out string? error);
        AssertVerdict(expected is not null, status, error, body);
        if (expected is null) return;

        Assert.Equal(expected.Timeseries.Count, batch.Series.Length);
        for (int i = 0; i < expected.Timeseries.Count; i++)
        {
            OracleV1.TimeSeries series = expected.Timeseries[i];
            SeriesEntry entry = batch.Series[i];
            Assert.Equal(SeriesProblem.None, entry.Problem);
            Assert.Equal(series.Labels.Select(static label => (Hex(label.Name), Hex(label.Value))), LabelsOf(batch, entry));
            Assert.Equal(series.Samples.Select(static sample => Sample.Of(sample.Timestamp, sample.Value)), batch.SamplesOf(entry).ToArray());
            Assert.Equal(series.Histograms.Count, entry.HistogramCount);
            Assert.Equal(series.Exemplars.Count, entry.ExemplarCount);
        }

        ExemplarOracle.Compare(expected, batch);

        AssertTotals(
            batch,
            [.. expected.Timeseries.SelectMany(static series => series.Samples).Select(static sample => sample.Timestamp)],
            [.. expected.Timeseries.SelectMany(static series => series.Histograms)],
            expected.Timeseries.Sum(static series => series.Exemplars.Count));
        Assert.Equal(
            Collapse(expected.Metadata.Select(static m => ((uint)m.Type, Hex(m.MetricFamilyName), Hex(m.Help), Hex(m.Unit)))),
            Collapse(MetadataOf(batch)));
    }

    private static void CompareV2(byte[] body, WriteBatch batch)
    {
        OracleV2.Request? expected = Parse(OracleV2.Request.Parser, body, "v2");
        DecodeStatus status = RemoteWriteV2.Decode(body, batch, DecodeLimits.Default, out string? error);
        AssertVerdict(expected is not null, status, error, body);
        if (expected is null) return;

        Assert.Equal(expected.Timeseries.Count, batch.Series.Length);
        Assert.Equal(expected.Symbols.Count, batch.SymbolCount);
        Assert.Equal(expected.Symbols.Count > 0 && expected.Symbols[0].Length > 0, batch.FirstSymbolIsNotEmpty);
        for (int i = 0; i < expected.Timeseries.Count; i++) CompareSeries(expected.Timeseries[i], expected.Symbols, batch, batch.Series[i]);
        AssertTotals(
            batch,
            [.. expected.Timeseries.SelectMany(static series => series.Samples).Select(static sample => sample.Timestamp)],
            [.. expected.Timeseries.SelectMany(static series => series.Histograms).Select(HistogramOracle.AsV1)],
            expected.Timeseries.Sum(static series => series.Exemplars.Count));
        Assert.Equal(Collapse(ExpectedMetadata(expected)), Collapse(MetadataOf(batch)));
        ExemplarOracle.Compare(expected, batch);
    }

    private static void CompareSeries(OracleV2.TimeSeries series, RepeatedField<ByteString> symbols, WriteBatch batch, SeriesEntry entry)
    {
        Assert.Equal(ExpectedProblem(series, symbols.Count), entry.Problem);
        Assert.Equal(series.Samples.Select(static sample => Sample.Of(sample.Timestamp, sample.Value)), batch.SamplesOf(entry).ToArray());
        Assert.Equal(series.Histograms.Count, entry.HistogramCount);
        Assert.Equal(series.Exemplars.Count, entry.ExemplarCount);
        Assert.Equal(series.Exemplars.Count(exemplar => RefProblem(exemplar.LabelsRefs, symbols.Count) != SeriesProblem.None), entry.BadExemplarCount);
        bool readable = RefProblem(series.LabelsRefs, symbols.Count) == SeriesProblem.None;
        IEnumerable<(string, string)> labels = readable ? Pairs(series.LabelsRefs, symbols) : [];
        Assert.Equal(labels, LabelsOf(batch, entry));
        if (entry.Problem != SeriesProblem.None) Assert.NotEmpty(RemoteWriteV2.Explain(batch, entry));
        if (entry.BadExemplarCount > 0) Assert.Contains("labelRefs", RemoteWriteV2.ExplainExemplar(batch, entry), StringComparison.Ordinal);
    }

    private static T? Parse<T>(MessageParser<T> parser, byte[] body, string schema)
        where T : class, IMessage<T>
    {
        try
        {
            T message = parser.ParseFrom(body);
            return StrictWire.DropsNoBits(body, schema) ? message : null;
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }

    private static void AssertVerdict(bool accepted, DecodeStatus status, string? error, byte[] body)
    {
        Assert.True((accepted ? DecodeStatus.Ok : DecodeStatus.Malformed) == status, $"{status} for {Convert.ToHexString(body)}");
        Assert.Equal(accepted, error is null);
    }

    private static void AssertTotals(WriteBatch batch, long[] times, OracleV1.Histogram[] histograms, int exemplars)
    {
        Assert.Equal(times.Length, batch.SampleCount);
        times = [.. times, .. HistogramOracle.Compare(histograms, batch)];
        Assert.Equal(times.Length == 0 ? long.MaxValue : times.Min(), batch.MinTimeMs);
        Assert.Equal(times.Length == 0 ? long.MinValue : times.Max(), batch.MaxTimeMs);
        Assert.Equal(exemplars, batch.Exemplars.Length);
    }

    private static SeriesProblem ExpectedProblem(OracleV2.TimeSeries series, int symbols)
    {
        SeriesProblem labels = RefProblem(series.LabelsRefs, symbols);
        if (labels != SeriesProblem.None) return labels;
        if ((series.Metadata?.UnitRef ?? 0) >= symbols) return SeriesProblem.UnitRefOutOfTable;
        if ((series.Metadata?.HelpRef ?? 0) >= symbols) return SeriesProblem.HelpRefOutOfTable;
        return series.Samples.Count + series.Histograms.Count + series.Exemplars.Count == 0 ? SeriesProblem.NoData : SeriesProblem.None;
    }

    private static SeriesProblem RefProblem(RepeatedField<uint> refs, int symbols)
    {
        if (refs.Count % 2 != 0) return SeriesProblem.OddLabelRefs;
        return refs.Any(reference => reference >= symbols) ? SeriesProblem.LabelRefOutOfTable : SeriesProblem.None;
    }

    private static IEnumerable<(string Name, string Value)> Pairs(RepeatedField<uint> refs, RepeatedField<ByteString> symbols)
    {
        for (int i = 0; i < refs.Count; i += 2) yield return (Hex(symbols[(int)refs[i]]), Hex(symbols[(int)refs[i + 1]]));
    }

    private static IEnumerable<(uint Type, string Family, string Help, string Unit)> ExpectedMetadata(OracleV2.Request request)
    {
        string nameLabel = Convert.ToHexString("__name__"u8);
        foreach (OracleV2.TimeSeries series in request.Timeseries)
        {
            if (series.Metadata is null || ExpectedProblem(series, request.Symbols.Count) != SeriesProblem.None) continue;
            string family = Pairs(series.LabelsRefs, request.Symbols).LastOrDefault(pair => pair.Name == nameLabel).Value ?? "";
            string help = Hex(request.Symbols[(int)series.Metadata.HelpRef]);
            string unit = Hex(request.Symbols[(int)series.Metadata.UnitRef]);
            bool saysSomething = series.Metadata.Type != 0 || help.Length + unit.Length > 0;
            if (family.Length > 0 && saysSomething) yield return ((uint)series.Metadata.Type, family, help, unit);
        }
    }

    private static List<(string Name, string Value)> LabelsOf(WriteBatch batch, in SeriesEntry entry)
    {
        var found = new List<(string, string)>();
        var labels = new LabelRunReader(batch.LabelsOf(entry));
        while (labels.MoveNext()) found.Add((Convert.ToHexString(labels.Name), Convert.ToHexString(labels.Value)));
        Assert.False(labels.IsMalformed);
        return found;
    }

    private static List<(uint Type, string Family, string Help, string Unit)> MetadataOf(WriteBatch batch)
    {
        var found = new List<(uint, string, string, string)>();
        foreach (MetadataEntry entry in batch.Metadata)
        {
            found.Add((
                entry.Type,
                Convert.ToHexString(batch.TextOf(entry.Family)),
                Convert.ToHexString(batch.TextOf(entry.Help)),
                Convert.ToHexString(batch.TextOf(entry.Unit))));
        }

        return found;
    }

    /// <summary>
    /// The batch leaves out an entry that repeats the one before, if both are the same bytes of the body; content decides here.
    /// </summary>
    private static List<T> Collapse<T>(IEnumerable<T> entries)
    {
        var distinct = new List<T>();
        foreach (T entry in entries)
        {
            if (distinct.Count == 0 || !EqualityComparer<T>.Default.Equals(distinct[^1], entry)) distinct.Add(entry);
        }

        return distinct;
    }

    private static string Hex(ByteString bytes) => Convert.ToHexString(bytes.Span);
}
