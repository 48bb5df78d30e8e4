using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.WriteV2;
using TsdbRemote.Storage.Wire;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Wire;

public sealed class RemoteWriteV2Tests
{
    private const string Vector =
        "220022085f5f6e616d655f5f2202757022036a6f622201612a180a0401020304120c09000000000000f03f10e8072a020802";

    [Fact]
    public void The_reference_request_decodes()
    {
        using WriteBatch batch = Decode(Convert.FromHexString(Vector));
        SeriesEntry entry = Assert.Single(batch.Series.ToArray());
        Assert.Equal(SeriesProblem.None, entry.Problem);
        Assert.Equal(Labels.Encode(("__name__", "up"), ("job", "a")), batch.LabelsOf(entry).ToArray());
        Assert.Equal([Sample.Of(1000, 1.0)], batch.SamplesOf(entry).ToArray());
        MetadataEntry metadata = Assert.Single(batch.Metadata.ToArray());
        Assert.Equal(2u, metadata.Type);
        Assert.Equal("up"u8, batch.TextOf(metadata.Family));
        Assert.Equal(0, metadata.Help.Length + metadata.Unit.Length);
        Assert.False(batch.FirstSymbolIsNotEmpty);
    }

    [Fact]
    public void Symbols_may_come_after_the_series_and_metadata_in_two_pieces()
    {
        // series { refs 1,2; metadata { type 1 }; sample; metadata { help 3, unit 2 } }, then the symbols
        using WriteBatch batch = Decode(Convert.FromHexString(
            "2a12" + "0a020102" + "2a020801" + "12021005" + "2a0418032002" + "2200" + "22085f5f6e616d655f5f" + "22026161" + "22026262"));
        Assert.Equal("{__name__=\"aa\"}", Labels.Print(batch.LabelsOf(batch.Series[0])));
        MetadataEntry metadata = Assert.Single(batch.Metadata.ToArray());
        Assert.Equal(1u, metadata.Type);
        Assert.Equal("bb"u8, batch.TextOf(metadata.Help));
        Assert.Equal("aa"u8, batch.TextOf(metadata.Unit));
    }

    [Fact]
    public void Bad_series_are_named_in_Prometheus_words_and_spare_the_others()
    {
        var request = new Request { Symbols = { "", "__name__", "x", "b", "c" } };
        request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2, 3 }, Samples = { One() } });
        request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 999 }, Samples = { One() } });
        request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2 }, Samples = { One() }, Metadata = new Metadata { UnitRef = 999, HelpRef = 998 } });
        request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2 }, Samples = { One() }, Metadata = new Metadata { HelpRef = 999 } });
        request.Timeseries.Add(new TimeSeries { LabelsRefs = { 3, 4, 1, 2 } });
        request.Timeseries.Add(new TimeSeries
        {
            LabelsRefs = { 1, 2 },
            Samples = { One() },
            Exemplars = { new Exemplar { LabelsRefs = { 3, 4 } }, new Exemplar { LabelsRefs = { 3, 77 } }, new Exemplar { LabelsRefs = { 3 } } },
        });
        using WriteBatch batch = Decode(request.ToByteArray());

        string[] texts =
        [
            "parsing labels for series [1 2 3]: invalid labelRefs length 3",
            "parsing labels for series [1 999]: labelRefs 1 (name) = 999 (value) outside of symbols table (size 5)",
            "parsing metadata for series [1 2]: metadata unit_ref 999 outside of symbols table (size 5)",
            "parsing metadata for series [1 2]: metadata help_ref 999 outside of symbols table (size 5)",
            "TimeSeries must contain at least one sample or histogram for series {b=\"c\", __name__=\"x\"}",
        ];
        for (int i = 0; i < texts.Length; i++) Assert.Equal(texts[i], RemoteWriteV2.Explain(batch, batch.Series[i]));
        byte[] sorted = Labels.Encode(("__name__", "x"), ("b", "c"));
        Assert.EndsWith("for series {__name__=\"x\", b=\"c\"}", RemoteWriteV2.Explain(batch, batch.Series[4], sorted), StringComparison.Ordinal);

        SeriesEntry good = batch.Series[5];
        Assert.Equal((SeriesProblem.None, 1, 3, 2), (good.Problem, good.SampleCount, good.ExemplarCount, good.BadExemplarCount));
        Assert.Equal(
            "parsing exemplar for series {__name__=\"x\"}: labelRefs 3 (name) = 77 (value) outside of symbols table (size 5)",
            RemoteWriteV2.ExplainExemplar(batch, good));
        Assert.Equal(0, batch.Series[0].LabelsLength);
    }

    [Fact]
    public void Without_a_symbol_table_even_reference_0_is_outside()
    {
        using WriteBatch batch = Decode(new Request { Timeseries = { new TimeSeries { Samples = { One() } } } }.ToByteArray());
        Assert.Equal(
            "parsing metadata for series []: metadata unit_ref 0 outside of symbols table (size 0)",
            RemoteWriteV2.Explain(batch, batch.Series[0]));
    }

    [Fact]
    public void A_long_list_of_references_is_printed_in_part()
    {
        var series = new TimeSeries { Samples = { One() } };
        for (uint i = 0; i < 1001; i++) series.LabelsRefs.Add(0);
        using WriteBatch batch = Decode(new Request { Symbols = { "" }, Timeseries = { series } }.ToByteArray());
        string text = RemoteWriteV2.Explain(batch, batch.Series[0]);
        Assert.EndsWith(" 0 ...]: invalid labelRefs length 1001", text, StringComparison.Ordinal);
        Assert.InRange(text.Length, 100, 300);
    }

    [Fact]
    public void Few_symbols_and_many_references_are_bounded()
    {
        var request = new Request { Symbols = { "", "n", new string('v', 10_000) } };
        for (int i = 0; i < 200; i++) request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2, 1, 2 }, Samples = { One() } });
        byte[] body = request.ToByteArray();
        using var batch = new WriteBatch();
        DecodeLimits limits = DecodeLimits.Default with { MaxLabelBytes = 200 * 2 * 10_020 };
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV2.Decode(body, batch, limits, out _));
        limits = limits with { MaxLabelBytes = 4 * body.Length };
        Assert.Equal(DecodeStatus.TooLarge, RemoteWriteV2.Decode(body, batch, limits, out string? error));
        Assert.Contains("storage.limits.write_decoded", error, StringComparison.Ordinal);
        Assert.Equal(0, batch.Series.Length);
    }

    [Fact]
    public void Labels_of_a_small_body_are_bounded_by_its_size()
    {
        // One symbol named a thousand times: 60 MB of labels out of 60 KB.
        var request = new Request { Symbols = { "", new string('v', 60_000) }, Timeseries = { new TimeSeries { Samples = { One() } } } };
        for (int i = 0; i < 2_000; i++) request.Timeseries[0].LabelsRefs.Add(1);
        byte[] body = request.ToByteArray();
        using var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.TooLarge, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default.For(body.Length), out string? error));
        Assert.Contains($"{(16 << 20) + 32 * body.Length} bytes allowed", error, StringComparison.Ordinal);

        // Two thousand series with 8 KiB of labels each that all share.
        request = new Request { Symbols = { "", "n", new string('v', 4_000) } };
        for (int i = 0; i < 2_000; i++) request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2, 1, 2 }, Samples = { One() } });
        body = request.ToByteArray();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default.For(body.Length), out _));
    }

    [Fact]
    public void Symbols_series_and_samples_are_limited()
    {
        byte[] body = Convert.FromHexString(Vector);
        using var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.TooManySymbols, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default with { MaxSymbols = 4 }, out _));
        Assert.Equal(DecodeStatus.TooManySeries, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default with { MaxSeries = 0 }, out _));
        Assert.Equal(DecodeStatus.TooManySamples, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default with { MaxSamples = 0 }, out _));
    }

    [Fact]
    public void A_table_that_does_not_start_with_the_empty_string_is_accepted_and_noticed()
    {
        using WriteBatch batch = Decode(new Request
        {
            Symbols = { "__name__", "x" },
            Timeseries = { new TimeSeries { LabelsRefs = { 0, 1 }, Samples = { One() } } },
        }.ToByteArray());
        Assert.True(batch.FirstSymbolIsNotEmpty);
        Assert.Equal("{__name__=\"x\"}", Labels.Print(batch.LabelsOf(batch.Series[0])));
        Assert.Equal(0, batch.Metadata.Length);
    }

    [Fact]
    public void Metadata_that_repeats_the_entry_before_is_kept_once()
    {
        var request = new Request { Symbols = { "", "__name__", "x", "job", "a", "b" } };
        foreach (uint job in new uint[] { 4, 5 })
        {
            request.Timeseries.Add(new TimeSeries
            {
                LabelsRefs = { 1, 2, 3, job },
                Samples = { One() },
                Metadata = new Metadata { Type = Metadata.Types.MetricType.Counter },
            });
        }

        using WriteBatch batch = Decode(request.ToByteArray());
        Assert.Equal(1, batch.Metadata.Length);
    }

    [Fact]
    public void Texts_of_every_length_and_references_of_every_width_expand_to_the_run_that_1_0_sends()
    {
        var request = new Request { Symbols = { "" } };
        var expected = new List<byte[]>();
        for (int length = 1; length <= 150; length++)
        {
            (string Name, string Value) label = (new string('n', length), new string('v', 151 - length));
            (string Name, string Value) name = ("__name__", $"metric_{length}");
            for (int i = 0; i < 120; i++) request.Symbols.Add("unused");   // 18,000 symbols: references of one, two and three bytes
            uint first = (uint)request.Symbols.Count;
            request.Symbols.AddRange([name.Name, name.Value, label.Name, label.Value]);
            request.Timeseries.Add(new TimeSeries { LabelsRefs = { first, first + 1, first + 2, first + 3 }, Samples = { One() } });
            expected.Add(Labels.Encode(name, label));
        }

        using WriteBatch batch = Decode(request.ToByteArray());
        for (int i = 0; i < expected.Count; i++) Assert.Equal(expected[i], batch.LabelsOf(batch.Series[i]).ToArray());
    }

    [Fact]
    public void Empty_label_names_and_values_reach_the_normaliser()
    {
        using WriteBatch batch = Decode(new Request
        {
            Symbols = { "", "__name__", "x" },
            Timeseries = { new TimeSeries { LabelsRefs = { 1, 2, 0, 0 }, Samples = { One() } } },
        }.ToByteArray());
        var labels = new LabelRunReader(batch.LabelsOf(batch.Series[0]));
        Assert.True(labels.MoveNext() && labels.MoveNext());
        Assert.True(labels.Name.IsEmpty && labels.Value.IsEmpty);
        Assert.False(labels.MoveNext() || labels.IsMalformed);
    }

    [Fact]
    public void A_batch_that_has_seen_a_request_decodes_the_next_one_without_allocating()
    {
        var request = new Request { Symbols = { "", "__name__", "x" } };
        for (uint i = 0; i < 1000; i++) request.Timeseries.Add(new TimeSeries { LabelsRefs = { 1, 2 }, Samples = { One() }, Metadata = new() });
        byte[] body = request.ToByteArray();
        using var batch = new WriteBatch();
        RemoteWriteV2.Decode(body, batch, DecodeLimits.Default, out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        DecodeStatus status = RemoteWriteV2.Decode(body, batch, DecodeLimits.Default, out _);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(DecodeStatus.Ok, status);
    }

    private static Protos.WriteV2.Sample One() => new() { Value = 1, Timestamp = 1 };

    private static WriteBatch Decode(byte[] body)
    {
        var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV2.Decode(body, batch, DecodeLimits.Default, out string? error));
        Assert.Null(error);
        return batch;
    }
}
