using System.Net;
using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Exemplars;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Exemplars, metadata and start timestamps over HTTP; the trait is the row of the conformance checklist (protocols.md §8).</summary>
public sealed class ExemplarWriteTests
{
    private static readonly (long, double)[] One = [(1, 1)];

    [Fact, Trait("Row", "14")]
    public async Task Row_14_an_exemplar_older_than_the_newest_is_left_out_of_1_0_without_a_word()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        TimeSeries series = SeriesOf("__name__=up", (1000, 1));
        series.Exemplars.Add(ExemplarV1(2000, 1, ("trace_id", "new")));
        series.Exemplars.Add(ExemplarV1(1000, 1, ("trace_id", "old")));
        Answer answer = await server.WriteAsync(V1(series));
        Assert.Equal((HttpStatusCode.NoContent, (string?)null), (answer.Status, answer.Written));
        Assert.Equal(["{__name__=\"up\"} {trace_id=\"new\"} 1 @2000"], server.Engine.Exemplars.Print());
        Assert.Equal(1, server.Engine.Stats().ExemplarsDropped[ExemplarDrop.OutOfOrder]);
        Assert.Equal(["__name__=up 1000:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact, Trait("Row", "15")]
    public async Task Row_15_a_series_with_nothing_but_exemplars_is_a_204_and_they_are_kept_if_it_exists()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        TimeSeries series = SeriesOf("__name__=up,job=a");
        series.Exemplars.Add(ExemplarV1(1000, 1));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);
        Assert.Empty(await server.EverythingAsync());
        Assert.Empty(server.Engine.Exemplars.Print());
        Assert.Equal(1, server.Engine.Stats().ExemplarsDropped[ExemplarDrop.UnknownSeries]);

        await server.WriteAsync(V1(SeriesOf("__name__=up,job=a", (1000, 1))));
        TimeSeries unsorted = SeriesOf("job=a,__name__=up,empty=");
        unsorted.Exemplars.Add(ExemplarV1(2000, 2));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series, unsorted))).Status);
        Assert.Equal(["{__name__=\"up\", job=\"a\"} {} 1 @1000", "{__name__=\"up\", job=\"a\"} {} 2 @2000"], server.Engine.Exemplars.Print());
    }

    [Fact, Trait("Row", "16")]
    public async Task Row_16_metadata_alone_is_a_204_and_shown()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new WriteRequest();
        request.Metadata.Add(new MetricMetadata { MetricFamilyName = "up", Help = "Whether a target answered.", Type = MetricMetadata.Types.MetricType.Gauge });
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(request)).Status);
        Answer shown = await server.SendAsync(HttpMethod.Get, "/api/v1/metadata");
        Assert.Equal("""{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"Whether a target answered."}]}}""", shown.Text);
    }

    [Fact, Trait("Row", "37")]
    public async Task Row_37_an_exemplar_with_a_reference_out_of_the_table_is_named_and_the_sample_kept()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        request.Timeseries[0].Exemplars.Add(new V2.Exemplar { LabelsRefs = { 1, 999 }, Timestamp = 1, Value = 1 });
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 1, 1, ("trace_id", "good")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/1"), (answer.Status, answer.Written));
        Assert.Contains(
            "parsing exemplar for series {__name__=\"up\"}: labelRefs 1 (name) = 999 (value) outside of symbols table (size 5)", answer.Text, StringComparison.Ordinal);
        Assert.Single(await server.EverythingAsync());
        Assert.Equal(["{__name__=\"up\"} {trace_id=\"good\"} 1 @1"], server.Engine.Exemplars.Print());
    }

    [Fact, Trait("Row", "44")]
    public async Task Row_44_where_no_exemplars_are_kept_a_204_counts_none()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:exemplars:memory", "0"));
        V2.Request request = V2Of(("__name__=up", One));
        foreach (long time in new[] { 5, 3 }) request.Timeseries[0].Exemplars.Add(ExemplarV2(request, time, 1, ("trace_id", "x")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.Empty(server.Engine.Exemplars.Print());
    }

    [Fact, Trait("Row", "45")]
    public async Task Row_45_an_exemplar_out_of_order_is_a_400_of_2_0_that_names_its_series_and_the_sample_is_kept()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        foreach (long time in new[] { 5, 3, 6 }) request.Timeseries[0].Exemplars.Add(ExemplarV2(request, time, 1, ("trace_id", "x")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/2"), (answer.Status, answer.Written));
        Assert.Equal("out of order exemplar for series {__name__=\"up\"}\n1 of 1 samples stored\n", answer.Text);
        Assert.Equal(["{__name__=\"up\"} {trace_id=\"x\"} 1 @5", "{__name__=\"up\"} {trace_id=\"x\"} 1 @6"], server.Engine.Exemplars.Print());
        Assert.Single(await server.EverythingAsync());
    }

    [Theory, Trait("Row", "46")]
    [InlineData(129, 0L, ExemplarDrop.TooLong)]
    [InlineData(100_000, 0L, ExemplarDrop.TooLong)]
    [InlineData(1, 660_000L, ExemplarDrop.Future)]
    public async Task Row_46_an_exemplar_too_long_or_too_far_ahead_is_a_204_and_not_counted(int characters, long aheadMs, ExemplarDrop expected)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, NowMs, 1, ("t", new string('é', 127))));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, NowMs + aheadMs, 2, ("t", new string('é', characters - 1))));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/1"), (answer.Status, answer.Written));
        Assert.Single(server.Engine.Exemplars.Print());
        Assert.Equal(1, server.Engine.Stats().ExemplarsDropped[expected]);
    }

    [Fact]
    public async Task Labels_of_an_exemplar_are_sorted_and_rid_of_empty_ones_and_broken_ones_keep_it_out()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 1, 1, ("b", "2"), ("gone", ""), ("a", "1")));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 2, 1, ("a", "1"), ("a", "2")));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 3, 1, ("", "x")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/1"), (answer.Status, answer.Written));
        Assert.Equal(["{__name__=\"up\"} {a=\"1\", b=\"2\"} 1 @1"], server.Engine.Exemplars.Print());
        Assert.Equal(2, server.Engine.Stats().ExemplarsDropped[ExemplarDrop.Labels]);
    }

    /// <summary>As Prometheus sends them by 2.0.</summary>
    [Theory]
    [InlineData("32MB", "1/0/1", "0/0/1")]
    [InlineData("0", "1/0/0", "0/0/0")]
    public async Task Exemplars_of_2_0_come_in_entries_of_their_own(string memory, string first, string second)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:exemplars:memory", memory));
        V2.Request request = V2Of(("__name__=up", []), ("__name__=up", One));      // before the sample that makes the series
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 1, 1, ("trace_id", "x")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, first), (answer.Status, answer.Written));
        request = V2Of(("__name__=up", []));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 2, 1, ("trace_id", "y")));
        answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, second), (answer.Status, answer.Written));
        Assert.Equal(memory == "0" ? 0 : 2, server.Engine.Exemplars.Stats.Count);
    }

    [Fact]
    public async Task Exemplars_alone_do_not_make_a_series_of_2_0()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=nosuch", []), ("__name__=good", One));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 1, 1, ("trace_id", "x")));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "1/0/0"), (answer.Status, answer.Written));
        Assert.StartsWith("TimeSeries must contain at least one sample or histogram for series {__name__=\"nosuch\"}\n", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_same_request_again_counts_its_exemplars_and_keeps_none_twice()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        foreach (long time in new[] { 3, 5 }) request.Timeseries[0].Exemplars.Add(ExemplarV2(request, time, 1, ("trace_id", "x")));
        for (int i = 0; i < 2; i++)
        {
            Answer answer = await server.WriteAsync(request);
            Assert.Equal((HttpStatusCode.NoContent, "1/0/2"), (answer.Status, answer.Written));
        }

        Assert.Equal(2, server.Engine.Exemplars.Stats.Count);
    }

    [Fact]
    public async Task More_exemplars_than_a_request_may_have_are_left_out_and_counted()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        for (int i = 0; i < 100_002; i++) request.Timeseries[0].Exemplars.Add(new V2.Exemplar { Timestamp = i });
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/100000"), (answer.Status, answer.Written));
        Assert.Equal(2, server.Engine.Stats().ExemplarsDropped[ExemplarDrop.RequestLimit]);
    }

    [Fact]
    public async Task Labels_of_few_references_that_would_be_gigabytes_are_not_built()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        uint huge = Symbol(request, new string('x', 1 << 20));
        for (int i = 0; i < 1000; i++) request.Timeseries[0].Exemplars.Add(new V2.Exemplar { LabelsRefs = { Enumerable.Repeat(huge, 100) }, Timestamp = i });
        long before = GC.GetTotalAllocatedBytes();
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/0/0"), (answer.Status, answer.Written));
        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 64 << 20);
    }

    [Fact, Trait("Row", "47")]
    public async Task Row_47_metadata_of_all_types_is_shown_in_lower_case()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new V2.Request { Symbols = { "" } };
        for (int type = 0; type < 8; type++)
            Add(request, $"__name__=metric_{type}", One).Metadata = new V2.Metadata { Type = (V2.Metadata.Types.MetricType)type, HelpRef = Symbol(request, $"help {type}") };
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "8/0/0"), (answer.Status, answer.Written));
        Answer shown = await server.SendAsync(HttpMethod.Get, "/api/v1/metadata");
        string[] names = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
        IEnumerable<string> families = names.Select(static (name, type) => $$"""
            "metric_{{type}}":[{"type":"{{name}}","unit":"","help":"help {{type}}"}]
            """.Trim());
        Assert.Equal("""{"status":"success","data":{""" + string.Join(',', families) + "}}", shown.Text);
    }

    /// <summary>Field 6 of a series, up to rc.3; field 3 of a sample and 17 of a histogram, since rc.4.</summary>
    [Theory, Trait("Row", "48")]
    [InlineData(0L)]
    [InlineData(1L)]
    [InlineData(-1L)]
    [InlineData(5_000L)]
    [InlineData(long.MaxValue)]
    [InlineData(long.MinValue)]
    public async Task Row_48_start_timestamps_of_either_layout_are_no_error_and_add_no_sample(long start)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        V2.Request request = V2Of(("__name__=up", One));
        request.Timeseries[0].Samples[0].StartTimestamp = start;
        V2.Histogram histogram = SentHistograms.AsV2(SentHistograms.Exponential(2));
        histogram.StartTimestamp = start;
        request.Timeseries[0].Histograms.Add(histogram);
        request.Timeseries[0] = V2.TimeSeries.Parser.ParseFrom([.. request.Timeseries[0].ToByteArray(), .. Field(6, start)]);
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.NoContent, "1/1/0"), (answer.Status, answer.Written));
        TimeSeries stored = Assert.Single(await server.EverythingAsync());
        Assert.Equal("__name__=up 1:1", Print(stored));
        Assert.Equal(2, Assert.Single(stored.Histograms).Timestamp);
    }

    [Fact]
    public async Task Exemplars_and_metadata_are_there_after_a_restart_that_flushes_and_after_one_that_replays()
    {
        var disk = new CrashFileSystem("/disk");
        (string, string)[] onDisk = [("storage:data_dir", "/disk/data"), ("storage:read:mmap", "false")];
        V2.Request request = V2Of(("__name__=up", One));
        request.Timeseries[0].Exemplars.Add(ExemplarV2(request, 1, 1, ("trace_id", "x")));
        request.Timeseries[0].Metadata = new V2.Metadata { Type = V2.Metadata.Types.MetricType.Gauge, HelpRef = Symbol(request, "Help.") };
        CrashFileSystem killed;
        await using (ServerUnderTest server = await ServerUnderTest.OnAsync(disk, onDisk))
        {
            Assert.Equal("1/0/1", (await server.WriteAsync(request)).Written);
            killed = disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        }

        foreach (CrashFileSystem left in new[] { disk, killed })
        {
            await using ServerUnderTest again = await ServerUnderTest.OnAsync(left, onDisk);
            Assert.Equal(["{__name__=\"up\"} {trace_id=\"x\"} 1 @1"], again.Engine.Exemplars.Print());
            Answer shown = await again.SendAsync(HttpMethod.Get, "/api/v1/metadata");
            Assert.Equal("""{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"Help."}]}}""", shown.Text);
        }
    }

    private static Exemplar ExemplarV1(long timeMs, double value, params (string Name, string Value)[] labels)
    {
        var exemplar = new Exemplar { Timestamp = timeMs, Value = value };
        foreach ((string name, string text) in labels) exemplar.Labels.Add(new Label { Name = name, Value = text });
        return exemplar;
    }

    private static V2.Exemplar ExemplarV2(V2.Request request, long timeMs, double value, params (string Name, string Value)[] labels)
    {
        var exemplar = new V2.Exemplar { Timestamp = timeMs, Value = value };
        foreach ((string name, string text) in labels) exemplar.LabelsRefs.AddRange([Symbol(request, name), Symbol(request, text)]);
        return exemplar;
    }

    private static byte[] Field(int number, long value)
    {
        using var bytes = new MemoryStream();
        var output = new CodedOutputStream(bytes);
        output.WriteTag(number, WireFormat.WireType.Varint);
        output.WriteInt64(value);
        output.Flush();
        return bytes.ToArray();
    }
}
