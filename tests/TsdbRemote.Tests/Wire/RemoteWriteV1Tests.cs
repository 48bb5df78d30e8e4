using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Wire;

public sealed class RemoteWriteV1Tests
{
    private const string Vector = "0a280a0e0a085f5f6e616d655f5f120275700a080a036a6f62120161120c09000000000000f03f10e807";

    [Fact]
    public void The_reference_request_decodes()
    {
        using WriteBatch batch = Decode(Convert.FromHexString(Vector));
        SeriesEntry entry = Assert.Single(batch.Series.ToArray());
        Assert.Equal("{__name__=\"up\", job=\"a\"}", Labels.Print(batch.LabelsOf(entry)));
        Assert.False(entry.LabelsInArena);
        Assert.Equal([Sample.Of(1000, 1.0)], batch.SamplesOf(entry).ToArray());
        Assert.Equal((1000, 1000), (batch.MinTimeMs, batch.MaxTimeMs));
    }

    [Fact]
    public void The_reference_block_decodes()
    {
        byte[] block = [0x2a, 0xa4, .. Convert.FromHexString(Vector)];
        Assert.Equal(CompressionStatus.Ok, SnappyBlock.TryDecompress(block, 1 << 20, out PooledBuffer? raw));
        using (raw) Assert.Equal(Vector, Convert.ToHexStringLower(raw!.Span));
    }

    [Fact]
    public void An_encoded_series_is_the_reference_request()
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        RemoteWriteV1.EncodeSeries(output, Labels.Encode(("__name__", "up"), ("job", "a")), [Sample.Of(1000, 1.0)]);
        Assert.Equal(Vector, Convert.ToHexStringLower(output.Span));
    }

    [Fact]
    public void Every_value_and_time_survives_encoding_and_decoding_bit_by_bit()
    {
        ulong[] values = [0, 1UL << 63, StaleMarker.Bits, StaleMarker.NormalNaN, ulong.MaxValue, 1];
        long[] times = [0, 1, 127, 128, -1, long.MinValue, long.MaxValue, 1_700_000_000_000, (1L << 56) - 1, 1L << 56];
        Sample[] samples = [.. from value in values from time in times select new Sample(time, value)];
        using PooledBuffer output = PooledBuffer.Rent(16);
        byte[] run = Labels.Encode(("__name__", "x"));
        RemoteWriteV1.EncodeSeries(output, run, samples);
        RemoteWriteV1.EncodeSeries(output, run, samples);

        using WriteBatch batch = Decode(output.Span.ToArray());
        Assert.Equal(2, batch.Series.Length);
        foreach (SeriesEntry entry in batch.Series) Assert.Equal(samples, batch.SamplesOf(entry).ToArray());
        Assert.Equal((long.MinValue, long.MaxValue), (batch.MinTimeMs, batch.MaxTimeMs));
        TimeSeries parsed = WriteRequest.Parser.ParseFrom(output.Span).Timeseries[0];
        Assert.Equal(samples, parsed.Samples.Select(static sample => Sample.Of(sample.Timestamp, sample.Value)));
    }

    [Fact]
    public void Plus_zero_and_time_zero_are_left_out_and_minus_zero_is_not()
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        RemoteWriteV1.EncodeSeries(output, default, [Sample.Of(0, 0.0), Sample.Of(0, -0.0), Sample.Of(5, 0.0)]);
        Assert.Equal("0a11" + "1200" + "1209090000000000000080" + "12021005", Convert.ToHexStringLower(output.Span));
    }

    [Fact]
    public void An_empty_request_is_no_error()
    {
        using WriteBatch batch = Decode([]);
        Assert.Equal(0, batch.Series.Length);
        Assert.Equal((long.MaxValue, long.MinValue), (batch.MinTimeMs, batch.MaxTimeMs));
    }

    [Fact]
    public void Labels_between_samples_are_gathered()
    {
        // label a=1, sample, label b=2, sample: one series of two labels and two samples
        using WriteBatch batch = Decode(Convert.FromHexString("0a18" + "0a060a0161120131" + "12021001" + "0a060a0162120132" + "12021002"));
        SeriesEntry entry = batch.Series[0];
        Assert.True(entry.LabelsInArena);
        Assert.Equal(Labels.Encode(("a", "1"), ("b", "2")), batch.LabelsOf(entry).ToArray());
        Assert.Equal([Sample.Of(1, 0), Sample.Of(2, 0)], batch.SamplesOf(entry).ToArray());
    }

    [Fact]
    public void A_long_label_stays_in_the_body()
    {
        byte[] run = Labels.Encode(("__name__", "x"), ("id", new string('v', 300)), ("job", "a"));
        using PooledBuffer output = PooledBuffer.Rent(16);
        RemoteWriteV1.EncodeSeries(output, run, [Sample.Of(1, 1)]);
        using WriteBatch batch = Decode(output.Span.ToArray());
        Assert.False(batch.Series[0].LabelsInArena);
        Assert.Equal(run, batch.LabelsOf(batch.Series[0]).ToArray());
    }

    [Fact]
    public void A_label_with_a_group_inside_is_respelled_for_the_label_reader()
    {
        // label { group 3, name "a", value "1" }
        using WriteBatch batch = Decode(Convert.FromHexString("0a0a" + "0a08" + "1b1c" + "0a0161" + "120131"));
        Assert.Equal(Labels.Encode(("a", "1")), batch.LabelsOf(batch.Series[0]).ToArray());
    }

    [Fact]
    public void Metadata_is_surfaced_and_bounded()
    {
        var request = new WriteRequest();
        for (int i = 0; i < 5; i++)
        {
            request.Metadata.Add(new MetricMetadata
            {
                Type = MetricMetadata.Types.MetricType.Counter,
                MetricFamilyName = $"family_{i}",
                Help = "what it is",
                Unit = "seconds",
            });
        }

        using var batch = new WriteBatch();
        DecodeLimits limits = DecodeLimits.Default with { MaxMetadata = 3 };
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(request.ToByteArray(), batch, limits, out _));
        Assert.Equal(3, batch.Metadata.Length);
        Assert.Equal(2, batch.MetadataDropped);
        MetadataEntry last = batch.Metadata[2];
        Assert.Equal(1u, last.Type);
        Assert.Equal("family_2"u8, batch.TextOf(last.Family));
        Assert.Equal("what it is"u8, batch.TextOf(last.Help));
        Assert.Equal("seconds"u8, batch.TextOf(last.Unit));
    }

    [Fact]
    public void The_series_limit_counts_every_appearance_and_names_its_option()
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        for (int i = 0; i < 4; i++) RemoteWriteV1.EncodeSeries(output, Labels.Encode(("__name__", "x")), [Sample.Of(i, i)]);
        using var batch = new WriteBatch();
        DecodeLimits limits = DecodeLimits.Default with { MaxSeries = 4 };
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(output.Memory, batch, limits, out _));
        limits = limits with { MaxSeries = 3 };
        Assert.Equal(DecodeStatus.TooManySeries, RemoteWriteV1.Decode(output.Memory, batch, limits, out string? error));
        Assert.Equal("too many series in one request (storage.limits.series_per_request = 3)", error);
        Assert.Equal(0, batch.Series.Length);
        Assert.Equal(0, batch.SampleCount);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_sample_limit_counts_samples_and_histograms(bool plain)
    {
        var series = new TimeSeries();
        for (int i = 1; i <= 6; i++) series.Samples.Add(new Protos.Prometheus.Sample { Timestamp = plain ? i : -i, Value = i });
        series.Histograms.Add(new Histogram { CountInt = 1 });
        byte[] body = new WriteRequest { Timeseries = { series, series } }.ToByteArray();
        using var batch = new WriteBatch();
        DecodeLimits limits = DecodeLimits.Default with { MaxSamples = 14 };
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(body, batch, limits, out _));
        Assert.Equal((12, 2), (batch.SampleCount, batch.HistogramCount));
        foreach (int tooFew in new[] { 13, 7, 6, 5, 0 })
        {
            limits = limits with { MaxSamples = tooFew };
            Assert.Equal(DecodeStatus.TooManySamples, RemoteWriteV1.Decode(body, batch, limits, out string? error));
            Assert.Equal($"too many samples in one request (storage.limits.samples_per_request = {tooFew})", error);
        }
    }

    [Fact]
    public void Copied_labels_are_bounded()
    {
        var body = new List<byte>();
        for (int i = 0; i < 100; i++) body.AddRange(Convert.FromHexString("0a0e" + "1200" + "0a040a020a0a" + "1200" + "0a020a00"));
        using var batch = new WriteBatch();
        DecodeLimits limits = DecodeLimits.Default with { MaxLabelBytes = 500 };
        Assert.Equal(DecodeStatus.TooLarge, RemoteWriteV1.Decode(body.ToArray(), batch, limits, out string? error));
        Assert.Contains("storage.limits.write_decoded", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0a28", "length past the end")]
    [InlineData("00", "tag 0")]
    [InlineData("0600", "field number 0")]
    [InlineData("0e00", "wire type 6")]
    [InlineData("0f00", "wire type 7")]
    [InlineData("0c", "a group's end without its start")]
    [InlineData("2324", "a group inside that ends the outer one", true)]
    [InlineData("2334", "a group's end of another number")]
    [InlineData("23", "a group without an end")]
    [InlineData("808080808001 00", "field number beyond 2^29-1")]
    [InlineData("8a8080808010 00", "tag beyond 32 bits")]
    [InlineData("28ffffffffffffffffff01", "a varint of ten bytes", true)]
    [InlineData("28ffffffffffffffffffff01", "a varint of eleven bytes")]
    [InlineData("0a 858080808010 0000000000", "a length beyond 32 bits")]
    [InlineData("0a04 0a050a0161", "a label past its series")]
    [InlineData("0a03 120109", "a sample that ends before its value")]
    [InlineData("0a04 22024201", "a span list past its histogram")]
    [InlineData("0a05 22036a01ff", "a list of doubles of one byte")]
    [InlineData("0a05 22034a01ff", "a list of varints that ends early")]
    public void Malformed_bytes_are_refused(string hex, string what, bool accepted = false)
    {
        using var batch = new WriteBatch();
        byte[] body = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        DecodeStatus status = RemoteWriteV1.Decode(body, batch, DecodeLimits.Default, out string? error);
        Assert.True((accepted ? DecodeStatus.Ok : DecodeStatus.Malformed) == status, what);
        if (!accepted) Assert.Equal("malformed protobuf in the field at byte 0 of the decoded body", error);
    }

    [Theory]
    [InlineData(WireReader.MaxGroupDepth, DecodeStatus.Ok)]
    [InlineData(WireReader.MaxGroupDepth + 1, DecodeStatus.Malformed)]
    [InlineData(1_000_000, DecodeStatus.Malformed)]
    public void Unknown_groups_are_skipped_to_a_fixed_depth(int depth, DecodeStatus expected)
    {
        byte[] body = [.. Enumerable.Repeat((byte)0x2B, depth), .. Enumerable.Repeat((byte)0x2C, depth)];
        using var batch = new WriteBatch();
        Assert.Equal(expected, RemoteWriteV1.Decode(body, batch, DecodeLimits.Default, out _));
    }

    [Fact]
    public void Every_prefix_of_a_request_is_an_answer()
    {
        byte[] body = new OddWire(new Random(3), 0.2).RequestV1();
        using var batch = new WriteBatch();
        for (int length = 0; length < body.Length; length++)
        {
            DecodeStatus status = RemoteWriteV1.Decode(body.AsMemory(0, length), batch, DecodeLimits.Default, out string? error);
            Assert.Equal(status == DecodeStatus.Ok, error is null);
        }
    }

    [Fact]
    public void A_batch_that_has_seen_a_request_decodes_the_next_one_without_allocating()
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        for (int i = 0; i < 2000; i++)
            RemoteWriteV1.EncodeSeries(output, Labels.Encode(("__name__", "x"), ("instance", $"host-{i}")), [Sample.Of(1_700_000_000_000, i)]);
        using var batch = new WriteBatch();
        RemoteWriteV1.Decode(output.Memory, batch, DecodeLimits.Default, out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        DecodeStatus status = RemoteWriteV1.Decode(output.Memory, batch, DecodeLimits.Default, out _);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(DecodeStatus.Ok, status);
        Assert.Equal(2000, batch.Series.Length);
    }

    private static WriteBatch Decode(byte[] body)
    {
        var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(body, batch, DecodeLimits.Default, out string? error));
        Assert.Null(error);
        return batch;
    }
}
