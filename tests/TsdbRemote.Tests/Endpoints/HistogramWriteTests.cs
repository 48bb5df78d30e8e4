using System.Net;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;
using static TsdbRemote.Tests.Endpoints.SentHistograms;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Native histograms over HTTP, in both versions; the trait is the row of the conformance checklist (protocols.md §8).</summary>
public sealed class HistogramWriteTests
{
    [Fact, Trait("Row", "29")]
    public async Task Samples_and_histograms_of_two_series_are_counted_exactly()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=a", [(1, 1), (2, 2)]), ("__name__=b", []));
        request.Timeseries[0].Histograms.Add([AsV2(Exponential(3)), AsV2(OfFloats(4))]);
        request.Timeseries[1].Histograms.Add(AsV2(Custom(5)));
        request.Timeseries[1].Exemplars.Add(new V2.Exemplar { LabelsRefs = { Symbol(request, "trace_id"), Symbol(request, "abc") }, Timestamp = 5, Value = 1 });
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "2/3/1"), (answer.Status, answer.Written));
        await AssertReadsAsync(server, "a", Exponential(3), OfFloats(4));
        await AssertReadsAsync(server, "b", Custom(5));
        Assert.Equal(["__name__=a 1:1 2:2", "__name__=b "], (await server.EverythingAsync()).Select(Print));
    }

    [Theory, Trait("Row", "51")]
    [InlineData(false)]
    [InlineData(true)]
    public Task A_count_that_is_not_that_of_the_buckets_is_refused(bool isV2) => AssertRefusedAsync(
        isV2, Exponential().With(static h => h.CountInt = 99),
        "27 observations found in buckets, but the Count field is 99: histogram's observation count should equal the number of observations found in "
        + "the buckets (in absence of NaN)");

    [Theory, Trait("Row", "52")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Beside_a_sum_of_NaN_the_count_may_be_above_that_of_the_buckets_and_not_below(bool isV2)
    {
        await AssertTakenAsync(isV2, Exponential().With(static h => (h.CountInt, h.Sum) = (99, double.NaN)));
        await AssertRefusedAsync(
            isV2, Exponential().With(static h => (h.CountInt, h.Sum) = (26, double.NaN)),
            "27 observations found in buckets, but the Count field is 26: histogram's observation count should be at least the number of observations "
            + "found in the buckets");
    }

    [Theory, Trait("Row", "53")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Custom_buckets_have_no_zero_bucket_and_no_negative_side(bool isV2)
    {
        await AssertRefusedAsync(isV2, Custom().With(static h => (h.ZeroCountInt, h.CountInt) = (1, 31)), "custom buckets: must have zero count of 0");
        await AssertRefusedAsync(isV2, Custom().With(static h => h.ZeroThreshold = 1), "custom buckets: must have zero threshold of 0");
        await AssertRefusedAsync(
            isV2, Custom().With(static h => h.NegativeSpans.Add(new Protos.Prometheus.BucketSpan())), "custom buckets: must not have negative spans");
        await AssertRefusedAsync(isV2, Custom().With(static h => h.NegativeDeltas.Add(1)), "custom buckets: must not have negative buckets");
    }

    [Theory, Trait("Row", "54")]
    [InlineData(false, 1, 0.1, "previous bound is 0.100000 and current is 0.100000: histogram custom bounds must be in strictly increasing order")]
    [InlineData(true, 2, double.NaN, "histogram custom bounds must not be NaN")]
    [InlineData(false, 5, double.PositiveInfinity, "last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    [InlineData(true, -1, 0, "only 2 custom bounds defined which is insufficient to cover total span length of 6: histogram custom bounds are too few")]
    public Task Each_fault_of_custom_bounds_is_refused_in_its_own_words(bool isV2, int at, double bound, string text) => AssertRefusedAsync(
        isV2,
        Custom().With(histogram =>
        {
            if (at >= 0) histogram.CustomValues[at] = bound;
            else while (histogram.CustomValues.Count > 2) histogram.CustomValues.RemoveAt(2);
        }),
        "custom buckets: " + text);

    [Theory, Trait("Row", "55")]
    [InlineData(false)]
    [InlineData(true)]
    public Task An_exponential_histogram_with_bounds_is_refused(bool isV2) =>
        AssertRefusedAsync(isV2, Exponential().With(static h => h.CustomValues.Add(1)), "histogram with exponential schema must not have custom bounds");

    [Theory, Trait("Row", "56")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_schema_that_is_too_fine_is_reduced_to_8_with_its_counts_merged(bool isV2)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Histogram fine = Exponential(1).With(static h => h.Schema = 10);
        Histogram fineFloats = OfFloats(2).With(static h => h.Schema = 10);
        Answer answer = await server.WriteAsync(Request(isV2, "h", fine, fineFloats));
        Assert.Equal((HttpStatusCode.NoContent, isV2 ? "0/2/0" : null), (answer.Status, answer.Written));

        // Indexes 0 | 1, 2 | 5, 6 go into 0 | 1 | 2, and on the negative side 0 | 1 into 0 | 1.
        Histogram coarse = Exponential(1).With(static h =>
        {
            h.Schema = 8;
            h.PositiveSpans.Clear();
            h.PositiveSpans.Add(new Protos.Prometheus.BucketSpan { Length = 3 });
            h.PositiveDeltas.Clear();
            h.PositiveDeltas.Add([1, 6, 8]);
        });
        Histogram coarseFloats = OfFloats(2).With(static h =>
        {
            h.Schema = 8;
            h.PositiveSpans.Clear();
            h.PositiveSpans.Add(new Protos.Prometheus.BucketSpan { Length = 3 });
            h.PositiveCounts.Clear();
            h.PositiveCounts.Add([1, 7, 15]);
        });
        await AssertReadsAsync(server, "h", coarse, coarseFloats);
    }

    [Theory, Trait("Row", "57")]
    [InlineData(false, -5)]
    [InlineData(true, 53)]
    [InlineData(false, -52)]
    [InlineData(true, -54)]
    [InlineData(false, -9)]
    public Task A_schema_that_means_nothing_is_refused(bool isV2, int schema) => AssertRefusedAsync(
        isV2, Exponential().With(h => h.Schema = schema),
        $"histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {schema}");

    [Theory, Trait("Row", "58")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_span_that_steps_back_is_refused(bool isV2)
    {
        await AssertRefusedAsync(
            isV2, Exponential().With(static h => h.PositiveSpans[1].Offset = -1),
            "positive side: span number 2 with offset -1: histogram has a span whose offset is negative");
        await AssertTakenAsync(isV2, Exponential().With(static h => h.PositiveSpans[0].Offset = -7));
    }

    [Theory, Trait("Row", "59")]
    [InlineData(false)]
    [InlineData(true)]
    public Task Spans_that_name_another_number_of_buckets_are_refused(bool isV2) => AssertRefusedAsync(
        isV2, OfFloats().With(static h => h.PositiveSpans[1].Length = 3),
        "positive side: spans need 6 buckets, have 5 buckets: histogram spans specify different number of buckets than provided");

    [Theory, Trait("Row", "60")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_bucket_below_zero_is_refused(bool isV2)
    {
        await AssertRefusedAsync(
            isV2, Exponential().With(static h => h.PositiveDeltas[1] = -2),
            "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation count is negative");
        await AssertRefusedAsync(
            isV2, OfFloats().With(static h => h.NegativeCounts[0] = -0.5),
            "negative side: bucket number 1 has observation count of -0.5: histogram has a bucket whose observation count is negative");
    }

    [Theory, Trait("Row", "61")]
    [InlineData(false)]
    [InlineData(true)]
    public Task A_float_histogram_may_count_otherwise_than_its_buckets(bool isV2) => AssertTakenAsync(isV2, OfFloats().With(static h => h.CountFloat = 99.5));

    [Theory, Trait("Row", "62")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_stale_marker_is_kept_to_the_bit(bool isV2)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        double stale = BitConverter.UInt64BitsToDouble(StaleMarker.Bits);
        Histogram[] given = [Exponential(1), new() { CountInt = 0, Sum = stale, Timestamp = 2 }, OfFloats(3), new() { CountFloat = 0, Sum = stale, Timestamp = 4 }];
        Answer answer = await server.WriteAsync(Request(isV2, "h", given));
        Assert.Equal((HttpStatusCode.NoContent, isV2 ? "0/4/0" : null), (answer.Status, answer.Written));
        await AssertReadsAsync(server, "h", given);
        TimeSeries series = Assert.Single(await server.EverythingAsync());
        Assert.Equal(StaleMarker.Bits, BitConverter.DoubleToUInt64Bits(series.Histograms[1].Sum));
        Assert.Equal(StaleMarker.Bits, BitConverter.DoubleToUInt64Bits(series.Histograms[3].Sum));
    }

    [Theory, Trait("Row", "67")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Lists_may_be_unpacked(bool isV2)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] integers =
        [
            .. Exponential(1).With(static h => Clear(h.PositiveDeltas, h.NegativeDeltas)).ToByteArray(),
            .. Unpacked(12, 1, 2, 1, 3, 1), .. Unpacked(9, 1, 1),
        ];
        byte[] floats =
        [
            .. OfFloats(2).With(static h => Clear(h.PositiveCounts, h.NegativeCounts)).ToByteArray(),
            .. UnpackedDoubles(13, 1, 3, 4, 7, 8), .. UnpackedDoubles(10, 1, 2),
        ];
        byte[] custom = [.. Custom(3).With(static h => Clear(h.CustomValues)).ToByteArray(), .. UnpackedDoubles(16, 0.1, 0.5, 1, 2.5, 5, 10)];
        Answer answer = await server.SendAsync(
            HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(WithRaw(isV2, integers, floats, custom)), ("Content-Type", isV2 ? V2Type : V1Type));
        Assert.Equal((HttpStatusCode.NoContent, isV2 ? "0/3/0" : null), (answer.Status, answer.Written));
        await AssertReadsAsync(server, "h", Exponential(1), OfFloats(2), Custom(3));
    }

    [Theory, Trait("Row", "68")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Unknown_fields_are_ignored_wherever_they_are(bool isV2)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] unknown = [0xa2, 0x06, 0x02, 0x01, 0x02, 0xa8, 0x06, 0x05, 0xb1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xb5, 0x06, 1, 2, 3, 4];
        byte[] span = [0x08, 0x00, .. unknown, 0x10, 0x03];
        byte[] known = Exponential(1).With(static h => h.PositiveSpans.RemoveAt(0)).ToByteArray();
        byte[] histogram = [.. Field(11, span), .. unknown, .. known, .. unknown];
        Answer answer = await server.SendAsync(
            HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode([.. unknown, .. WithRaw(isV2, histogram), .. unknown]),
            ("Content-Type", isV2 ? V2Type : V1Type));
        Assert.Equal((HttpStatusCode.NoContent, isV2 ? "0/1/0" : null), (answer.Status, answer.Written));
        await AssertReadsAsync(server, "h", Exponential(1));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_several_series_and_histograms_only_the_bad_ones_are_refused(bool isV2)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Histogram bad = Exponential(2).With(static h => h.CountInt = 99);
        IMessage request = Request(isV2, ("a", [Exponential(1), bad, Exponential(3)]), ("b", [bad]), ("c", [Custom(1)]));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, isV2 ? "0/3/0" : null), (answer.Status, answer.Written));
        Assert.Contains("for series {__name__=\"a\"}\n", answer.Text, StringComparison.Ordinal);
        Assert.Contains("for series {__name__=\"b\"}\n3 of 5 samples stored", answer.Text, StringComparison.Ordinal);
        await AssertReadsAsync(server, "a", Exponential(1), Exponential(3));
        await AssertReadsAsync(server, "c", Custom(1));
        Assert.Equal(2, (await server.EverythingAsync()).Count);
    }

    [Fact]
    public async Task The_metrics_count_histograms_apart()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        await server.WriteAsync(Request(isV2: true, "h", Exponential(1), Exponential(2), Exponential(3).With(static h => h.CountInt = 99)));
        await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))));
        string text = (await server.SendAsync(HttpMethod.Get, "/metrics")).Text;
        Assert.Contains("\ntsdb_remote_samples_written_total 3\n", text, StringComparison.Ordinal);
        Assert.Contains("\ntsdb_remote_histograms_written_total 2\n", text, StringComparison.Ordinal);
        Assert.Contains("\ntsdb_remote_memtable_histograms 2\n", text, StringComparison.Ordinal);
        Assert.Contains("\ntsdb_remote_samples_rejected_total{reason=\"histogram\"} 1\n", text, StringComparison.Ordinal);
    }

    private static async Task AssertTakenAsync(bool isV2, Histogram histogram)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(Request(isV2, "h", histogram));
        Assert.Equal((HttpStatusCode.NoContent, isV2 ? "0/1/0" : null), (answer.Status, answer.Written));
        await AssertReadsAsync(server, "h", histogram);
    }

    /// <summary>It is refused in these words, and a good one beside it is stored.</summary>
    private static async Task AssertRefusedAsync(bool isV2, Histogram histogram, string text)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(Request(isV2, ("bad", [histogram]), ("good", [OfFloats()])));
        Assert.Equal((HttpStatusCode.BadRequest, isV2 ? "0/1/0" : null), (answer.Status, answer.Written));
        Assert.StartsWith(text, answer.Text, StringComparison.Ordinal);
        Assert.Contains(" for series {__name__=\"bad\"}\n", answer.Text, StringComparison.Ordinal);
        await AssertReadsAsync(server, "good", OfFloats());
        Assert.Single(await server.EverythingAsync());
    }

    private static void Clear<T>(params Google.Protobuf.Collections.RepeatedField<T>[] lists)
    {
        foreach (Google.Protobuf.Collections.RepeatedField<T> list in lists) list.Clear();
    }

    /// <summary>A request of one series, whose histograms are these bytes.</summary>
    private static byte[] WithRaw(bool isV2, params byte[][] histograms)
    {
        int field = isV2 ? 3 : 4;
        byte[] fields = [.. histograms.SelectMany(histogram => Field(field, histogram))];
        if (!isV2) return Field(1, [.. SeriesOf("__name__=h").ToByteArray(), .. fields]);
        V2.Request request = V2Of(("__name__=h", []));
        byte[] series = [.. request.Timeseries[0].ToByteArray(), .. fields];
        request.Timeseries.Clear();
        return [.. request.ToByteArray(), .. Field(5, series)];
    }

    private static byte[] Field(int number, byte[] content) => [.. Number(((ulong)number << 3) | 2), .. Number((ulong)content.Length), .. content];

    private static byte[] Unpacked(int number, params long[] values) =>
        [.. values.SelectMany(value => (byte[])[.. Number((ulong)number << 3), .. Number(Varint.ZigZag(value))])];

    private static byte[] UnpackedDoubles(int number, params double[] values) =>
        [.. values.SelectMany(value => (byte[])[.. Number(((ulong)number << 3) | 1), .. BitConverter.GetBytes(value)])];

    private static byte[] Number(ulong value)
    {
        byte[] bytes = new byte[Varint.MaxBytes];
        return bytes[..Varint.Write(bytes, value)];
    }
}
