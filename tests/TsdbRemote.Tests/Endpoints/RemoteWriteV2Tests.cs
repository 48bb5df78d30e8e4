using System.Net;
using Google.Protobuf;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Remote write 2.0 over HTTP; the trait is the row of the conformance checklist (protocols.md §8).</summary>
public sealed class RemoteWriteV2Tests
{
    private static readonly (long, double)[] One = [(1, 1)];

    [Theory, Trait("Row", "27")]
    [InlineData(V1Type, null)]
    [InlineData(V2Type, "0/0/0")]
    public async Task An_empty_message_is_a_204(string type, string? written)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", [0], ("Content-Type", type));
        Assert.Equal((HttpStatusCode.NoContent, written), (answer.Status, answer.Written));
    }

    [Theory, Trait("Row", "28")]
    [InlineData(V1Type, null)]
    [InlineData(V2Type, "0/0/0")]
    public async Task Truncated_protobuf_in_good_snappy_is_a_400_with_zeros(string type, string? written)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] raw = type == V2Type ? V2Of(("__name__=up", One)).ToByteArray() : V1(SeriesOf("__name__=up", (1, 1))).ToByteArray();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(raw.AsSpan(0, raw.Length - 3)), ("Content-Type", type));
        Assert.Equal((HttpStatusCode.BadRequest, written), (answer.Status, answer.Written));
        Assert.NotEqual("\n", answer.Text);
        Assert.Empty(await server.EverythingAsync());
    }

    [Fact, Trait("Row", "29")]
    public async Task Samples_and_exemplars_are_counted_exactly()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=a", [(1, 1), (2, 2)]), ("__name__=b", One));
        V2.TimeSeries series = request.Timeseries[0];
        series.Exemplars.Add(new V2.Exemplar { LabelsRefs = { Symbol(request, "trace_id"), Symbol(request, "abc") }, Timestamp = 1, Value = 1 });
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "3/0/1"), (answer.Status, answer.Written));
        Assert.Equal(["__name__=a 1:1 2:2", "__name__=b 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "30")]
    public async Task The_version_header_is_not_needed()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", One)), ("Content-Type", V2Type));
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
    }

    [Theory, Trait("Row", "23")]
    [InlineData("application/x-protobuf; proto=io.prometheus.write.v2.Request")]
    [InlineData("Application/X-Protobuf ;\tProto=\"io.prometheus.write.v2.Request\"")]
    [InlineData("application/x-protobuf;charset=utf-8; proto=io.prometheus.write.v2.Request;")]
    public async Task White_space_case_and_quotes_in_the_content_type_do_not_matter(string type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", One)), ("Content-Type", type), ("Content-Encoding", "Snappy"));
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.Single(await server.EverythingAsync());
    }

    [Fact, Trait("Row", "31")]
    public async Task A_1_0_body_called_2_0_is_empty()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))), ("Content-Type", V2Type));
        Assert.Equal((HttpStatusCode.NoContent, "0/0/0"), (answer.Status, answer.Written));
        Assert.Empty(await server.EverythingAsync());
    }

    [Theory]
    [Trait("Row", "32"), Trait("Row", "33"), Trait("Row", "34")]
    [InlineData(new uint[] { 1, 2, 3 }, 0u, 0u, "parsing labels for series [1 2 3]: invalid labelRefs length 3")]
    [InlineData(new uint[] { 1, 999 }, 0u, 0u, "parsing labels for series [1 999]: labelRefs 1 (name) = 999 (value) outside of symbols table (size 3)")]
    [InlineData(new uint[] { 1, 2 }, 999u, 0u, "parsing metadata for series [1 2]: metadata unit_ref 999 outside of symbols table (size 3)")]
    [InlineData(new uint[] { 1, 2 }, 0u, 999u, "parsing metadata for series [1 2]: metadata help_ref 999 outside of symbols table (size 3)")]
    public async Task A_series_with_a_bad_reference_is_refused_by_its_references_and_the_rest_is_stored(uint[] refs, uint unit, uint help, string text)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=good", One));
        var bad = new V2.TimeSeries { Metadata = new V2.Metadata { UnitRef = unit, HelpRef = help } };
        bad.LabelsRefs.AddRange(refs);
        bad.Samples.Add(new V2.Sample { Timestamp = 1, Value = 1 });
        request.Timeseries.Insert(0, bad);
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/0"), (answer.Status, answer.Written));
        Assert.Contains(text, answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=good 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "35")]
    public async Task A_series_without_any_symbols_is_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new V2.Request();
        request.Timeseries.Add(new V2.TimeSeries { LabelsRefs = { 0, 0 }, Samples = { new V2.Sample { Timestamp = 1, Value = 1 } } });
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "0/0/0"), (answer.Status, answer.Written));
    }

    [Fact, Trait("Row", "36")]
    public async Task A_symbol_table_that_does_not_begin_with_the_empty_string_is_taken()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new V2.Request { Symbols = { "__name__", "up" } };
        request.Timeseries.Add(new V2.TimeSeries { LabelsRefs = { 0, 1 }, Samples = { new V2.Sample { Timestamp = 1, Value = 1 } } });
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.Equal(["__name__=up 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "38")]
    public async Task A_series_with_neither_samples_nor_histograms_is_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V2Of(("__name__=x", []), ("__name__=good", One)));
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/0"), (answer.Status, answer.Written));
        Assert.Contains("TimeSeries must contain at least one sample or histogram for series {__name__=\"x\"}", answer.Text, StringComparison.Ordinal);
    }

    [Fact, Trait("Row", "39")]
    public async Task One_nameless_series_of_four_is_refused_and_three_are_counted()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V2Of(("foo=bar", One), ("__name__=a", One), ("__name__=b", One), ("__name__=c", One)));
        Assert.Equal((HttpStatusCode.BadRequest, "3/0/0"), (answer.Status, answer.Written));
        Assert.Contains("invalid metric name or labels, got {foo=\"bar\"}", answer.Text, StringComparison.Ordinal);
        Assert.Equal(3, (await server.EverythingAsync()).Count);
    }

    [Fact, Trait("Row", "40")]
    public async Task One_sample_out_of_order_is_refused_and_the_others_of_its_series_stored()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:out_of_order_window", "0s"), ("storage:conflicts", "reject"));
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", [(1000, 1), (3000, 3), (2000, 2), (4000, 4)])));
        Assert.Equal((HttpStatusCode.BadRequest, "3/0/0"), (answer.Status, answer.Written));
        Assert.Contains("out of order sample for series {__name__=\"up\"}", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 1000:1 3000:3 4000:4"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "41")]
    public async Task Two_values_at_one_time_in_one_request_keep_the_first_where_conflicts_are_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:conflicts", "reject"));
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", [(1000, 1), (1000, 2)])));
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/0"), (answer.Status, answer.Written));
        Assert.Contains("duplicate sample for timestamp 1000; overrides not allowed: existing 1, new value 2", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "50")]
    public async Task Names_with_dots_spaces_and_emoji_come_back_intact()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V2Of(("__name__=resource.cpu usage,label with space=line\nbreak,🚀.π=日本", One)));
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.Equal(["__name__=resource.cpu usage,label with space=line\nbreak,🚀.π=日本 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "67"), Trait("Row", "68")]
    public async Task Unpacked_references_and_unknown_fields_are_read_as_packed_ones_without()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] series =
        [
            0x08, 1, 0x08, 2,                                                             // labels_refs one by one
            0xF8, 0x07, 5, 0xFD, 0x07, 1, 2, 3, 4,                                        // fields 127: varint, fixed32
            0x12, 0x0D, 0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0x10, 7, 0x78, 1,             // a sample with an unknown field
        ];
        byte[] raw = [0x22, 0, 0x22, 8, .. "__name__"u8, 0x22, 2, .. "up"u8, 0x2A, (byte)series.Length, .. series, 0xFA, 0x07, 2, 9, 9];
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(raw), ("Content-Type", V2Type));
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.Equal(["__name__=up 7:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "108")]
    public async Task The_same_request_again_counts_as_written_and_stores_nothing_twice()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", [(1000, 1), (2000, 2)]));
        for (int i = 0; i < 2; i++)
        {
            Answer answer = await server.WriteAsync(request);
            Assert.Equal((HttpStatusCode.NoContent, "2/0/0"), (answer.Status, answer.Written));
        }

        Assert.Equal(["__name__=up 1000:1 2000:2"], (await server.EverythingAsync()).Select(Print));
    }
}
