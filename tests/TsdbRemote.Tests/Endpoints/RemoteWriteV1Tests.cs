using System.Net;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;
using static TsdbRemote.Tests.Endpoints.Requests;
using Labels = TsdbRemote.Blocks.Model.Labels;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Remote write 1.0 over HTTP; the trait is the row of the conformance checklist (protocols.md §8).</summary>
public sealed class RemoteWriteV1Tests
{
    private const double Good = 1.5;

    [Fact, Trait("Row", "1")]
    public async Task A_valid_body_is_a_204_without_body_and_without_Written_headers()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up,job=a", (1000, 1))));
        Assert.Equal((HttpStatusCode.NoContent, 0, null), (answer.Status, answer.Body.Length, answer.Written));
        Assert.Equal(["__name__=up,job=a 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "2")]
    public async Task A_body_without_any_header_is_taken_as_1_0()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] vector = [0x2a, 0xa4, .. Convert.FromHexString("0a280a0e0a085f5f6e616d655f5f120275700a080a036a6f62120161120c09000000000000f03f10e807")];
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", vector);
        Assert.Equal((HttpStatusCode.NoContent, (string?)null), (answer.Status, answer.Written));
        Assert.Equal(["__name__=up,job=a 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "3")]
    public async Task The_version_header_decides_nothing()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))), ("X-Prometheus-Remote-Write-Version", "2.0.0"));
        Assert.Equal((HttpStatusCode.NoContent, (string?)null), (answer.Status, answer.Written));
        Assert.Single(await server.EverythingAsync());
    }

    [Fact, Trait("Row", "4")]
    public async Task The_message_named_in_the_content_type_is_taken()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))), ("Content-Type", V1Type))).Status);
        Assert.Single(await server.EverythingAsync());
    }

    [Theory]
    [InlineData("/api/v1/write")]
    [InlineData("/api/v1/push")]
    [InlineData("/api/v1/receive")]
    public async Task All_paths_of_other_receivers_work(string path)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, path, Compress(V1(SeriesOf("__name__=up", (1, 1)))));
        Assert.Equal(HttpStatusCode.NoContent, answer.Status);
        Assert.Single(await server.EverythingAsync());
    }

    [Fact, Trait("Row", "5")]
    public async Task Unsorted_labels_come_back_sorted_and_are_the_same_series_as_sorted_ones()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("job=a,__name__=up,instance=b", (1, 1)), SeriesOf("__name__=up,instance=b,job=a", (2, 2))))).Status);
        Assert.Equal(["__name__=up,instance=b,job=a 1:1 2:2"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "6")]
    public async Task A_label_with_an_empty_value_is_no_label()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up,empty=,job=a", (1, 1)), SeriesOf("__name__=up,job=a", (2, 2))))).Status);
        Assert.Equal(["__name__=up,job=a 1:1 2:2"], (await server.EverythingAsync()).Select(Print));
    }

    [Theory, Trait("Row", "7")]
    [InlineData("job=a")]
    [InlineData("__name__=,job=a")]
    [InlineData("__name__=x,=a")]
    public async Task A_series_without_name_or_with_an_empty_label_name_is_refused_and_named_while_the_rest_is_stored(string labels)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf(labels, (1, 1)), SeriesOf("__name__=good", (1, Good))));
        Assert.Equal((HttpStatusCode.BadRequest, (string?)null), (answer.Status, answer.Written));
        Assert.Contains("invalid metric name or labels, got {", answer.Text, StringComparison.Ordinal);
        Assert.EndsWith("\n", answer.Text, StringComparison.Ordinal);
        Assert.Equal(("text/plain; charset=utf-8", "nosniff"), (answer["Content-Type"], answer["X-Content-Type-Options"]));
        Assert.Equal(["__name__=good 1:1.5"], (await server.EverythingAsync()).Select(Print));
    }

    [Theory, Trait("Row", "8")]
    [InlineData("__name__=x,job=a,job=a")]
    [InlineData("job=b,__name__=x,job=a")]
    public async Task A_series_with_a_label_twice_is_refused_and_named_while_the_rest_is_stored(string labels)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf(labels, (1, 1)), SeriesOf("__name__=good", (1, Good))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("duplicated label job", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=good 1:1.5"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "9")]
    public async Task A_sample_behind_its_series_is_refused_where_no_disorder_is_allowed()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:out_of_order_window", "0s"), ("storage:conflicts", "reject"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (2000, 2))))).Status);
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("out of order sample", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 2000:2"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task A_sample_behind_its_series_is_normal_by_default()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (2000, 2))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1), (-1000, -1))))).Status);
        Assert.Equal(["__name__=up -1000:-1 1000:1 2000:2"], (await server.EverythingAsync()).Select(Print));
    }

    [Theory, Trait("Row", "10")]
    [InlineData(long.MaxValue)]
    [InlineData(4_102_444_800_000)]
    public async Task A_sample_of_the_far_future_is_refused(long timeMs)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (timeMs, 1), (5, 5))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("out of bounds", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 5:5"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "11")]
    public async Task The_same_sample_again_is_success_and_stored_once()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        for (int i = 0; i < 2; i++) Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1))))).Status);
        Assert.Equal(["__name__=up 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "12")]
    public async Task Another_value_at_the_same_time_is_refused_where_conflicts_are()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:conflicts", "reject"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1))))).Status);
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 2))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("duplicate sample for timestamp", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task The_newest_value_at_a_time_stays_by_default()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1), (1000, 2))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 3))))).Status);
        Assert.Equal(["__name__=up 1000:3"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "13")]
    public async Task The_same_NaN_again_is_success_even_where_conflicts_are_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:conflicts", "reject"));
        for (int i = 0; i < 2; i++) Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, double.NaN))))).Status);
        Assert.Single((await server.EverythingAsync()).Single().Samples);
    }

    [Fact, Trait("Row", "17"), Trait("Row", "49")]
    public async Task Stale_markers_and_every_special_value_come_back_bit_for_bit()
    {
        ulong[] bits = [0x7ff0000000000002, 0x7ff8000000000001, 0xfff8000000000001, 0x7ff0000000000000, 0xfff0000000000000, 0x8000000000000000, 0, 1];
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();

        // By the hand encoder: the generated one leaves out -0.0.
        using PooledBuffer raw = PooledBuffer.Rent(1024);
        TsdbRemote.Blocks.Model.Sample[] samples = [.. bits.Select(static (value, i) => new TsdbRemote.Blocks.Model.Sample(i * 1000, value))];
        RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "up")), samples);
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(raw.Span));
        Assert.Equal(HttpStatusCode.NoContent, answer.Status);
        Assert.Equal(bits, (await server.EverythingAsync()).Single().Samples.Select(BitsOf));
    }

    [Fact, Trait("Row", "18")]
    public async Task Invalid_UTF_8_is_refused_and_never_replaced()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] raw = [.. V1(SeriesOf("__name__=bad,job=XX", (1, 1)), SeriesOf("__name__=good", (1, Good))).ToByteArray()];
        int at = raw.AsSpan().IndexOf("XX"u8);
        raw[at] = 0xC3;
        raw[at + 1] = 0x28;
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(raw));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.DoesNotContain('\uFFFD', answer.Text);
        Assert.Equal(["__name__=good 1:1.5"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "64")]
    public async Task Nine_minutes_ahead_is_taken_and_eleven_are_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs + 9 * 60_000, 1))))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs + 11 * 60_000, 1))))).Status);
        Assert.Single((await server.EverythingAsync()).Single().Samples);
    }

    [Fact, Trait("Row", "63")]
    public async Task Disorder_inside_the_window_is_taken_and_beyond_it_refused()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:out_of_order_window", "10m"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1_000_000, 1))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (500_000, 2))))).Status);
        Answer answer = await server.WriteAsync(V1(SeriesOf("__name__=up", (300_000, 3))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("too old sample", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["__name__=up 500000:2 1000000:1"], (await server.EverythingAsync()).Select(Print));
    }
}
