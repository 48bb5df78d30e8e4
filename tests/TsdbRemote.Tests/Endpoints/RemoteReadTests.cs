using System.Net;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.SSTables;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Remote read over HTTP; the trait is the row of the conformance checklist (protocols.md §8).</summary>
public sealed class RemoteReadTests
{
    private const string SamplesType = "application/x-protobuf";
    private const string StreamType = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

    [Fact, Trait("Row", "69")]
    public async Task Without_accepted_types_the_answer_is_samples_in_snappy()
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", (1000, 1)));
        Answer answer = await server.ReadAsync(Read(Query(0, 2000, Eq("__name__", "up"))));
        Assert.Equal((HttpStatusCode.OK, SamplesType, "snappy"), (answer.Status, answer["Content-Type"], answer["Content-Encoding"]));
        Assert.Equal(["__name__=up 1000:1"], answer.AsSamples().Results.Single().Timeseries.Select(Print));
    }

    [Theory]
    [Trait("Row", "70"), Trait("Row", "81")]
    [InlineData(new[] { 1, 0 }, StreamType)]
    [InlineData(new[] { 0, 1 }, SamplesType)]
    [InlineData(new[] { 20, 1 }, StreamType)]
    [InlineData(new[] { 20 }, null)]
    public async Task The_first_accepted_type_that_is_known_wins(int[] types, string? contentType)
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", (1000, 1)));
        Answer answer = await server.ReadAsync(Read(Query(0, 2000, Eq("__name__", "up"))).Accepting(types));
        if (contentType is null)
        {
            Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
            Assert.Equal("server does not support any of the requested response types: [20]; supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]\n", answer.Text);
            return;
        }

        Assert.Equal((HttpStatusCode.OK, contentType), (answer.Status, answer["Content-Type"]));
        Assert.Equal(contentType == StreamType ? null : "snappy", answer["Content-Encoding"]);
    }

    [Fact, Trait("Row", "71")]
    public async Task Three_queries_have_three_results_in_order_the_empty_one_included()
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=a", (1000, 1)), SeriesOf("__name__=b", (1000, 2)));
        Answer answer = await server.ReadAsync(Read(
            Query(0, 2000, Eq("__name__", "b")), Query(0, 2000, Eq("__name__", "none")), Query(0, 2000, Eq("__name__", "a"))));
        Assert.Equal(
            ["__name__=b 1000:2", "", "__name__=a 1000:1"],
            answer.AsSamples().Results.Select(static result => string.Join('|', result.Timeseries.Select(Print))));
    }

    [Theory, Trait("Row", "72")]
    [InlineData(1000, 1000, "1000:1")]
    [InlineData(1000, 2000, "1000:1 2000:2")]
    [InlineData(1001, 1999, null)]
    [InlineData(2000, 1000, null)]
    [InlineData(long.MinValue, long.MaxValue, "1000:1 2000:2 3000:3")]
    [InlineData(long.MaxValue, long.MinValue, null)]
    public async Task Both_ends_of_a_range_belong_to_it_and_an_inverted_one_is_empty(long startMs, long endMs, string? samples)
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", (1000, 1), (2000, 2), (3000, 3)));
        foreach (int type in new[] { 0, 1 })
        {
            Answer answer = await server.ReadAsync(Read(Query(startMs, endMs, Eq("__name__", "up"))).Accepting(type));
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            IEnumerable<string> read = type == 0 ? answer.AsSamples().Results.Single().Timeseries.Select(Print) : Decode(answer).Select(Print);
            Assert.Equal(samples is null ? [] : [$"__name__=up {samples}"], read);
        }
    }

    [Theory]
    [Trait("Row", "73"), Trait("Row", "74")]
    [InlineData(0, "", "without")]
    [InlineData(1, "x", "with,without")]
    [InlineData(2, ".*", "with,without")]
    [InlineData(3, ".+", "without")]
    [InlineData(2, "|y", "with,without")]
    [InlineData(1, "", "with")]
    [InlineData(2, ".+", "with")]
    [InlineData(1, "y", "without")]
    public async Task An_absent_label_is_the_empty_string(int type, string value, string names)
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=with,foo=y", (1, 1)), SeriesOf("__name__=without", (1, 1)));
        IReadOnlyList<TimeSeries> read = await server.SamplesAsync(Matcher(type, "foo", value));
        Assert.Equal(names.Split(','), read.Select(static series => series.Labels[0].Value));
    }

    [Theory]
    [Trait("Row", "75"), Trait("Row", "76")]
    [InlineData("a", "ab", false)]
    [InlineData("ab", "ab", true)]
    [InlineData("a.b", "a\nb", true)]
    [InlineData("a", "a\n", false)]
    [InlineData("a|b", "b", true)]
    [InlineData("(?i)A", "a", true)]
    public async Task Regular_expressions_are_anchored_at_both_ends_and_dots_take_line_feeds(string regex, string value, bool matches)
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf($"__name__=up,foo={value}", (1, 1)));
        Assert.Equal(matches ? 1 : 0, (await server.SamplesAsync(Re("foo", regex))).Count);
        Assert.Equal(matches ? 0 : 1, (await server.SamplesAsync(Nre("foo", regex))).Count);
    }

    [Theory, Trait("Row", "77")]
    [InlineData("a(?=b)")]
    [InlineData("(a)\\1")]
    [InlineData("(unclosed")]
    [InlineData("[z-a]")]
    [InlineData("*")]
    public async Task A_regular_expression_that_cannot_be_taken_is_a_400_that_says_why(string regex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.ReadAsync(Read(Query(0, 1, Re("foo", regex))));
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.StartsWith("error parsing regexp: ", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_catastrophic_regular_expression_ends_in_time()
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf($"__name__=up,foo={new string('a', 4000)}", (1, 1)));
        Answer answer = await server.ReadAsync(Read(Query(0, 1, Re("foo", "(a*)*b"))));
        Assert.True(answer.Status is HttpStatusCode.OK or HttpStatusCode.BadRequest, answer.Text);
    }

    [Fact, Trait("Row", "78")]
    public async Task No_matchers_select_nothing()
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", (1, 1)));
        Assert.Empty(await server.SamplesAsync());
    }

    [Theory]
    [InlineData(4)]
    [InlineData(-1)]
    public async Task A_matcher_of_an_unknown_type_is_a_400(int type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.ReadAsync(Read(Query(0, 1, Matcher(type, "foo", "x"))));
        Assert.Equal((HttpStatusCode.BadRequest, $"invalid matcher type {type}\n"), (answer.Status, answer.Text));
    }

    [Fact, Trait("Row", "79")]
    public async Task The_sample_limit_holds_for_samples_and_not_for_streams()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:max_samples", "1"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1), (2, 2))))).Status);
        Query query = Query(0, 9, Eq("__name__", "up"));
        Answer refused = await server.ReadAsync(Read(query));
        Assert.Equal((HttpStatusCode.BadRequest, "exceeded sample limit (1), set by storage.read.max_samples\n"), (refused.Status, refused.Text));
        Assert.Equal(["__name__=up 1:1 2:2"], Decode(await server.ReadAsync(Read(query).Accepting(1))).Select(Print));
        Assert.Equal(HttpStatusCode.OK, (await server.ReadAsync(Read(Query(1, 1, Eq("__name__", "up"))))).Status);
    }

    [Fact]
    public async Task An_answer_above_the_memory_of_a_read_is_a_422_that_names_the_option()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:memory", "1MB"));
        var random = new Random(7);
        for (int part = 0; part < 4; part++)
        {
            TimeSeries[] series = [.. Enumerable.Range(0, 100).Select(i =>
                SeriesOf($"__name__=noise,i={i}", [.. Enumerable.Range(0, 500).Select(j => ((part * 500L + j) * 1000 + random.Next(900), random.NextDouble()))]))];
            Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);
        }

        Answer answer = await server.ReadAsync(Read(Query(long.MinValue, long.MaxValue, Eq("__name__", "noise"))));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.Status);
        Assert.Contains("storage.read.memory", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "82"), Trait("Row", "84")]
    public async Task Streams_are_frames_of_one_series_each_sorted_by_labels_within_their_query()
    {
        TimeSeries[] series = [.. Enumerable.Range(0, 300).Select(static i => SeriesOf($"__name__=m{i % 7},i={i:D3}", (1000, i), (2000, i)))];
        await using ServerUnderTest server = await WithAsync(series);
        Answer answer = await server.ReadAsync(Read(
            Query(0, 9000, Re("__name__", "m[0-3]")), Query(0, 9000, Eq("__name__", "none")), Query(0, 9000, Re("__name__", "m.*"))).Accepting(1));
        IReadOnlyList<ChunkedReadResponse> frames = answer.AsFrames();
        Assert.All(frames, static frame => Assert.Single(frame.ChunkedSeries));
        Assert.Equal([0L, 2L], frames.Select(static frame => frame.QueryIndex).Distinct());
        Assert.Equal(frames.Select(static frame => frame.QueryIndex).Order(), frames.Select(static frame => frame.QueryIndex));
        foreach (IGrouping<long, ChunkedReadResponse> query in frames.GroupBy(static frame => frame.QueryIndex))
        {
            string[] labels = [.. query.Select(static frame => string.Join(',', frame.ChunkedSeries[0].Labels.Select(static label => $"{label.Name}={label.Value}")))];
            Assert.Equal(labels.Order(StringComparer.Ordinal), labels);
            Assert.Equal(labels.Distinct(), labels);
        }

        Assert.Equal(300, frames.Count(static frame => frame.QueryIndex == 2));
    }

    [Fact, Trait("Row", "83")]
    public async Task A_series_of_several_chunks_repeats_its_labels_in_each_frame()
    {
        // Bodies larger than a frame's budget of 4 KiB: random values hardly compress.
        var random = new Random(3);
        TimeSeries series = SeriesOf("__name__=up,job=long", [.. Enumerable.Range(0, 2000).Select(i => (i * 1000L, random.NextDouble()))]);
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:read_buffer_size", "4KB"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);
        Answer answer = await server.ReadAsync(Read(Query(0, long.MaxValue, Eq("__name__", "up"))).Accepting(1));
        IReadOnlyList<ChunkedReadResponse> frames = answer.AsFrames();
        Assert.InRange(frames.Count, 2, 20);
        Assert.All(frames, static frame => Assert.Equal(2, frame.ChunkedSeries.Single().Labels.Count));
        Assert.All(frames.SelectMany(static frame => frame.ChunkedSeries[0].Chunks), static chunk => Assert.InRange(Decode(chunk).Count, 1, 120));
        Assert.Equal(series.Samples.Select(static sample => (sample.Timestamp, sample.Value)), Decode(answer).Single().Samples.Select(static sample => (sample.Timestamp, sample.Value)));
    }

    [Theory, Trait("Row", "85")]
    [InlineData(500, 60_500)]
    [InlineData(1000, 60_000)]
    [InlineData(119_000, 121_000)]
    public async Task A_range_that_cuts_a_chunk_lets_no_sample_outside_leave(long startMs, long endMs)
    {
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", [.. Enumerable.Range(0, 300).Select(static i => (i * 1000L, (double)i))]));
        Answer answer = await server.ReadAsync(Read(Query(startMs, endMs, Eq("__name__", "up"))).Accepting(1));
        long[] expected = [.. Enumerable.Range(0, 300).Select(static i => i * 1000L).Where(time => time >= startMs && time <= endMs)];
        var read = new List<long>();
        foreach (Chunk chunk in answer.AsFrames().SelectMany(static frame => frame.ChunkedSeries[0].Chunks))
        {
            long[] times = [.. Decode(chunk).Select(static sample => sample.Timestamp)];
            Assert.Equal((times[0], times[^1]), (chunk.MinTimeMs, chunk.MaxTimeMs));
            read.AddRange(times);
        }

        Assert.Equal(expected, read);
    }

    [Fact, Trait("Row", "86")]
    public async Task Tables_and_MemTables_that_overlap_are_read_as_one_newest_value_first()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1), (3000, 3), (5000, 5))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (2000, 2), (3000, 33), (5000, 5), (6000, 6))))).Status);
        const string expected = "__name__=up 1000:1 2000:2 3000:33 5000:5 6000:6";
        Assert.Equal([expected], (await server.EverythingAsync()).Select(Print));
        Answer answer = await server.ReadAsync(Read(Query(0, 9000, Eq("__name__", "up"))).Accepting(1));
        Assert.Equal([expected], Decode(answer).Select(Print));
        Chunk[] chunks = [.. answer.AsFrames().SelectMany(static frame => frame.ChunkedSeries[0].Chunks)];
        Assert.All(chunks.Zip(chunks.Skip(1)), static pair => Assert.True(pair.First.MaxTimeMs < pair.Second.MinTimeMs, "chunks do not overlap"));
    }

    [Fact]
    public async Task Damage_that_a_read_finds_fails_it_and_is_named_once_a_file()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"), ("storage:integration:sstable_to_block_conversion", "false"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1000, 1), (2000, 2))))).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        string table = Assert.Single(Directory.GetFiles(Path.Combine(server.Services.GetRequiredService<StorageOptions>().DataDir, "tables")));
        byte[] bytes = await File.ReadAllBytesAsync(table);
        await using (FileStream file = File.OpenWrite(table))
        {
            file.Position = SSTableFormat.HeaderBytes + 4;
            file.WriteByte((byte)(bytes[file.Position] ^ 1));
        }

        Assert.Empty(server.Engine.Stats().Damages);
        for (int i = 0; i < 3; i++)
        {
            Answer answer = await server.ReadAsync(Read(Query(0, 9000, Eq("__name__", "up"))));
            Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        }

        Assert.StartsWith(table, Assert.Single(server.Engine.Stats().Damages), StringComparison.Ordinal);
    }

    [Fact, Trait("Row", "88")]
    public async Task Stale_markers_are_read_both_ways_bit_for_bit()
    {
        double stale = BitConverter.UInt64BitsToDouble(0x7ff0000000000002);
        await using ServerUnderTest server = await WithAsync(SeriesOf("__name__=up", (1000, 1), (2000, stale)));
        Assert.Equal(0x7ff0000000000002UL, BitsOf((await server.EverythingAsync()).Single().Samples[1]));
        Answer streamed = await server.ReadAsync(Read(Query(0, 9000, Eq("__name__", "up"))).Accepting(1));
        Assert.Equal(0x7ff0000000000002UL, BitsOf(Decode(streamed).Single().Samples[1]));
    }

    public static TheoryData<string, string> BadBodies() => new()
    {
        { "nothing", "" },
        { "no snappy", "ffffff" },
        { "framed", "ff060000734e61507059" },
        { "claims 256 MiB", "8080808001" },
        { "protobuf cut off", "0304080a7f01" },
        { "protobuf of group type", "01000b" },
    };

    [Theory, MemberData(nameof(BadBodies)), Trait("Row", "91")]
    public async Task A_body_that_is_no_read_request_is_a_400(string what, string hex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/read", Convert.FromHexString(hex), ReadHeaders);
        Assert.True(answer.Status == HttpStatusCode.BadRequest, $"{what}: {answer.Status} {answer.Text}");
        Assert.True(answer.Text.Length > 1, what);
    }

    [Fact]
    public async Task A_request_of_more_than_1_MiB_is_a_413()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await server.SendAsync(HttpMethod.Post, "/api/v1/read", new byte[(1 << 20) + 1])).Status);
    }

    [Fact]
    public async Task Too_many_queries_or_matchers_are_a_400()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.BadRequest, (await server.ReadAsync(Read([.. Enumerable.Repeat(Query(0, 1), 33)]))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await server.ReadAsync(Read(Query(0, 1, [.. Enumerable.Repeat(Eq("a", "b"), 101)])))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await server.ReadAsync(Read(Query(0, 1, Eq("a", new string('x', 20_000)))))).Status);
    }

    [Fact, Trait("Row", "90")]
    public async Task More_reads_than_slots_wait_and_all_succeed()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("storage:read:max_concurrent", "2"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))))).Status);
        Answer[] answers = await Task.WhenAll(Enumerable.Range(0, 24).Select(_ => server.ReadAsync(Read(Query(0, 9, Eq("__name__", "up"))).Accepting(1))));
        Assert.All(answers, static answer => Assert.Equal(["__name__=up 1:1"], Decode(answer).Select(Print)));
    }

    private static async Task<ServerUnderTest> WithAsync(params TimeSeries[] series)
    {
        ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.WriteAsync(V1(series));
        Assert.True(answer.Status == HttpStatusCode.NoContent, answer.Text);
        return server;
    }

    /// <summary>A streamed answer as series: frames of one series and query joined.</summary>
    private static List<TimeSeries> Decode(Answer answer)
    {
        var result = new List<TimeSeries>();
        foreach (ChunkedReadResponse frame in answer.AsFrames())
        {
            ChunkedSeries part = frame.ChunkedSeries.Single();
            if (result.Count == 0 || !result[^1].Labels.Equals(part.Labels)) result.Add(new TimeSeries { Labels = { part.Labels } });
            foreach (Chunk chunk in part.Chunks) result[^1].Samples.AddRange(Decode(chunk));
        }

        return result;
    }

    private static List<Sample> Decode(Chunk chunk)
    {
        Assert.Equal(Chunk.Types.Encoding.Xor, chunk.Type);
        var samples = new List<Sample>();
        var reader = new XorChunkReader(chunk.Data.Span);
        while (reader.MoveNext()) samples.Add(new Sample { Timestamp = reader.TimeMs, Value = BitConverter.UInt64BitsToDouble(reader.ValueBits) });
        return samples;
    }
}
