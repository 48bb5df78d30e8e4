using System.Diagnostics;
using System.Net;
using System.Text;
using Google.Protobuf;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>
/// Whatever a sender gets wrong: a clear status, a body that names the series or the limit, the rest of the request stored, and a server that goes on.
/// What the conformance rows ask for is in the other classes of this folder.
/// </summary>
public sealed class BadInputTests
{
    private const string Good = "__name__=good";

    /// <summary>Far more than any of these needs on a busy machine, far less than what runs away would take.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);

    private static readonly string Wide = string.Join(',', Enumerable.Range(0, 10_000).Select(static i => $"l{i:D5}=v"));

    public static TheoryData<string, string, string> BadLabels()
    {
        var data = new TheoryData<string, string, string>();
        foreach (string type in (string[])[V1Type, V2Type])
        {
            data.Add(type, "__name__=bad,job=a,job=b", "duplicated label job");
            data.Add(type, "__name__=bad,job=a,job=a", "duplicated label job");
            data.Add(type, "__name__=bad,=a", "bad");
            data.Add(type, "job=nameless", "nameless");
            data.Add(type, "__name__=,job=nameless", "nameless");
            data.Add(type, $"__name__=bad,{Wide}", "storage.limits.labels = 64");
            data.Add(type, $"__name__=bad,{new string('n', 1025)}=v", "storage.limits.label_name = 1024");
            data.Add(type, $"__name__=bad,job={new string('v', 4097)}", "storage.limits.label_value = 4096");
            data.Add(type, $"__name__=bad,{string.Join(',', Enumerable.Range(0, 5).Select(static i => $"l{i}={new string('v', 4000)}"))}", "storage.limits.labels_size = 16384");
        }

        return data;
    }

    [Theory, MemberData(nameof(BadLabels))]
    public async Task A_series_with_bad_labels_is_refused_by_name_and_the_rest_of_the_request_is_stored(string type, string labels, string text)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        IMessage request = type == V1Type
            ? V1(SeriesOf(labels, (1, 1), (2, 2)), SeriesOf(Good, (1, 1), (2, 2)))
            : V2Of((labels, [(1, 1), (2, 2)]), (Good, [(1, 1), (2, 2)]));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, type == V1Type ? null : "2/0/0"), (answer.Status, answer.Written));
        Assert.Contains(text, answer.Text, StringComparison.Ordinal);
        Assert.Contains("2 of 4 samples stored", answer.Text, StringComparison.Ordinal);
        Assert.True(answer.Body.Length <= 1100, "senders keep 1,024 bytes of a text");
        await AssertOnlyGoodAsync(server);
    }

    [Theory]
    [InlineData("name", "C328")]
    [InlineData("value", "C328")]
    [InlineData("value", "EDA080")]
    [InlineData("value", "C080")]
    [InlineData("value", "F8888080")]
    public async Task Invalid_UTF_8_in_a_symbol_refuses_its_series_only(string where, string hex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        byte[] bytes = Convert.FromHexString(hex);
        string mark = new('\u0001', bytes.Length);
        byte[] raw = V2Of((where == "name" ? $"__name__=bad,{mark}=v" : $"__name__=bad,job={mark}", [(1, 1), (2, 2)]), (Good, [(1, 1), (2, 2)])).ToByteArray();
        bytes.CopyTo(raw.AsSpan(raw.AsSpan().IndexOf(Encoding.ASCII.GetBytes(mark))));
        Answer answer = await PostAsync(server, raw, V2Type);
        Assert.Equal((HttpStatusCode.BadRequest, "2/0/0"), (answer.Status, answer.Written));
        Assert.DoesNotContain('\uFFFD', answer.Text);
        await AssertOnlyGoodAsync(server);
    }

    public static TheoryData<string, string> LyingSnappy() => new()
    {
        { "an offset of 0", "0800610d00" },
        { "a copy from before the start", "0800610d05" },
        { "a literal longer than the rest", "0ef0ff6161" },
        { "more than it says", "020861626364" },
        { "less than it says", "0808616263" },
        { "an element behind its end", "0100610061" },
        { "an overlong length", "ffffffffffff7f00" },
        { "a length that has no end", "8080808080" },
        { "32 MiB out of ten bytes", "8080801000fe0100fe0100" },
        { "4 GiB out of nothing", "ffffffff0f" },
    };

    [Theory, MemberData(nameof(LyingSnappy))]
    public async Task T62_snappy_that_lies_is_a_400_for_write_and_read_and_stores_nothing(string what, string hex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        foreach (string path in (string[])["/api/v1/write", "/api/v1/read"])
        {
            Answer answer = await server.SendAsync(
                HttpMethod.Post, path, Convert.FromHexString(hex), ("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy"));
            Assert.True(answer.Status == HttpStatusCode.BadRequest, $"{what}: {path} {answer.Status} {answer.Text}");
            Assert.True(answer.Text.Contains("snappy", StringComparison.Ordinal) || answer.Text.Contains("limit", StringComparison.Ordinal), answer.Text);
        }

        await AssertServesAsync(server);
    }

    [Fact]
    public async Task T61_a_thousand_claims_of_256_MiB_at_a_time_are_a_thousand_400s()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer[] answers = await Task.WhenAll(Enumerable.Range(0, 1000).Select(_ => server.SendAsync(HttpMethod.Post, "/api/v1/write", [0x80, 0x80, 0x80, 0x80, 0x01])));
        Assert.All(answers, static answer => Assert.Equal(HttpStatusCode.BadRequest, answer.Status));
        Assert.Contains("storage.limits.write_decoded", answers[0].Text, StringComparison.Ordinal);
        Assert.Equal(0, server.Engine.InFlight.Used);
        await AssertServesAsync(server);
    }

    [Theory]
    [InlineData(V1Type)]
    [InlineData(V2Type)]
    public async Task A_body_cut_off_anywhere_is_a_400_or_what_its_whole_part_says(string type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        IMessage request = type == V1Type
            ? V1(SeriesOf("__name__=cut,job=a", (1, 1), (2, 2)), SeriesOf("__name__=cut,job=b", (1, 1)))
            : V2Of(("__name__=cut,job=a", [(1, 1), (2, 2)]), ("__name__=cut,job=b", [(1, 1)]));
        byte[] raw = request.ToByteArray();
        for (int length = 0; length < raw.Length; length++)
        {
            Answer answer = await PostAsync(server, raw[..length], type);
            bool parses = Parses(raw.AsSpan(0, length), type);
            Assert.True(answer.Status == (parses ? HttpStatusCode.NoContent : HttpStatusCode.BadRequest), $"{length} of {raw.Length}: {answer.Status} {answer.Text}");
        }

        IReadOnlyList<TimeSeries> stored = await server.EverythingAsync();
        Assert.All(stored, static series => Assert.Contains(Print(series), (string[])["__name__=cut,job=a 1:1 2:2", "__name__=cut,job=b 1:1"]));
        await AssertServesAsync(server);
    }

    [Theory]
    [InlineData(V1Type)]
    [InlineData(V2Type)]
    public async Task Garbage_in_good_snappy_is_never_a_5xx_and_never_in_the_way_of_others(string type)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var random = new Random(5);
        IMessage valid = type == V1Type ? V1(SeriesOf(Good, (1, 1), (2, 2))) : V2Of((Good, [(1, 1), (2, 2)]));
        for (int i = 0; i < 300; i++)
        {
            byte[] raw = valid.ToByteArray();
            if (i % 2 == 0) random.NextBytes(raw);
            else for (int flips = 0; flips < 3; flips++) raw[random.Next(raw.Length)] ^= (byte)(1 << random.Next(8));
            Answer answer = await PostAsync(server, raw, type);
            Assert.True(answer.Status is HttpStatusCode.NoContent or HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge, $"{i}: {answer.Status} {answer.Text}");
        }

        await AssertServesAsync(server);
    }

    public static TheoryData<string, byte[]> OddProtobuf() => new()
    {
        { "a sample that is a string of bytes without end", [0x0a, 0x02, 0x12, 0x05] },
        { "a time of eleven bytes", [0x0a, 0x0e, 0x12, 0x0c, 0x10, .. Enumerable.Repeat((byte)0x80, 10), 0x01] },
        { "field number 0", [0x00, 0x00] },
        { "wire type 6", [0x0e] },
        { "wire type 7", [0x0f] },
        { "an end of a group that never began", [0x0c] },
        { "a group without end", [0x7b] },
        { "a length of 2^31 - 1", [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07] },
        { "a length of 2^64 - 1", [0x0a, .. Enumerable.Repeat((byte)0xff, 9), 0x01] },
        { "a length of 2^32, cut to 32 bits", [0x0a, 0x80, 0x80, 0x80, 0x80, 0x10] },
        { "a hundred thousand groups in each other", [.. Enumerable.Repeat((byte)0x7b, 100_000), .. Enumerable.Repeat((byte)0x7c, 100_000)] },
    };

    [Theory, MemberData(nameof(OddProtobuf))]
    public async Task T63_protobuf_of_wrong_types_and_lengths_is_a_400_at_once(string what, byte[] raw)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        foreach (string type in (string[])[V1Type, V2Type])
        {
            var watch = Stopwatch.StartNew();

            // A message that is fine up to there stores nothing either.
            byte[] before = type == V1Type ? V1(SeriesOf("__name__=before", (1, 1))).ToByteArray() : V2Of(("__name__=before", [(1, 1)])).ToByteArray();
            Answer answer = await PostAsync(server, [.. before, .. Renumbered(raw, type)], type);
            Assert.True(answer.Status == HttpStatusCode.BadRequest, $"{what} in {type}: {answer.Status} {answer.Text}");
            Assert.True(answer.Text.Length > 1, what);
            Assert.True(watch.Elapsed < Bound, $"{what}: {watch.Elapsed}");
        }

        await AssertServesAsync(server);
    }

    /// <summary>As the generated parser does: a known number with another wire type is a field of a schema that is not ours.</summary>
    [Theory]
    [InlineData("a series that is a number", "0801", HttpStatusCode.NoContent)]
    [InlineData("a label that is a number", "0a020801", HttpStatusCode.NoContent)]
    [InlineData("a value that is a number", "0a0412020801", HttpStatusCode.BadRequest)]
    public async Task T63_a_field_of_another_type_is_passed_over_and_its_series_stands_for_itself(string what, string hex, HttpStatusCode status)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        Answer answer = await PostAsync(server, [.. Convert.FromHexString(hex), .. V1(SeriesOf(Good, (1, 1), (2, 2))).ToByteArray()], V1Type);
        Assert.True(answer.Status == status, $"{what}: {answer.Status} {answer.Text}");
        if (status == HttpStatusCode.BadRequest) Assert.Contains("invalid metric name or labels, got {}", answer.Text, StringComparison.Ordinal);
        await AssertOnlyGoodAsync(server);
    }

    [Fact]
    public async Task T63_a_million_unknown_fields_are_passed_over()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] raw = [.. Enumerable.Repeat<byte[]>([0x98, 0x06, 0x01], 1_000_000).SelectMany(static field => field), .. V1(SeriesOf(Good, (1, 1))).ToByteArray()];
        Assert.Equal(HttpStatusCode.NoContent, (await PostAsync(server, raw, V1Type)).Status);
        Assert.Equal([$"{Good} 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task T64_few_symbols_and_very_many_references_are_refused_before_they_are_spelled_out()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        var request = new V2.Request { Symbols = { "", "__name__", "bomb", new string('x', 4000) } };
        for (int i = 0; i < 20_000; i++)
            request.Timeseries.Add(new V2.TimeSeries { LabelsRefs = { Enumerable.Repeat(3u, 120) }, Samples = { new V2.Sample { Timestamp = 1, Value = 1 } } });
        var watch = Stopwatch.StartNew();
        Answer answer = await server.WriteAsync(request);
        Assert.True(answer.Status is HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge, $"{answer.Status} {answer.Text}");
        Assert.True(watch.Elapsed < Bound, $"{watch.Elapsed}");
        await AssertServesAsync(server);
    }

    [Fact]
    public async Task A_small_body_that_unpacks_to_33_MiB_is_a_400_that_names_the_option()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        byte[] body = IronSnappy.Snappy.Encode(new byte[33 << 20]);
        Assert.True(body.Length < 4 << 20);
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/write", body);
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("storage.limits.write_decoded", answer.Text, StringComparison.Ordinal);
        await AssertServesAsync(server);
    }

    [Theory]
    [InlineData("unlimited")]
    [InlineData("10m")]
    public async Task Times_at_the_ends_of_int64_are_refused_in_the_future_and_exact_in_the_past(string window)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"), ("storage:out_of_order_window", window));
        long[] times = [long.MinValue, long.MinValue + 1, -7_200_001, -1, 0, 1];
        V2.Request request = V2Of((Good, [.. times.Select(static time => (time, (double)time)), (long.MaxValue, 1), (long.MaxValue - 1, 1)]));
        Answer answer = await server.WriteAsync(request);
        Assert.Equal((HttpStatusCode.BadRequest, "6/0/0"), (answer.Status, answer.Written));
        Assert.Contains("out of bounds", answer.Text, StringComparison.Ordinal);
        Assert.Contains("good", answer.Text, StringComparison.Ordinal);
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(times, (await server.EverythingAsync()).Single().Samples.Select(static sample => sample.Timestamp));
            Answer oldest = await server.ReadAsync(Read(Query(long.MinValue, long.MinValue, Eq("__name__", "good"))));
            Assert.Equal([long.MinValue], oldest.AsSamples().Results.Single().Timeseries.Single().Samples.Select(static sample => sample.Timestamp));
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        }

        // Behind all of it, from one end of time to the other: no difference of times may overflow.
        Answer late = await server.WriteAsync(V2Of((Good, [(long.MinValue + 2, 1)])));
        Assert.Equal(window == "unlimited" ? HttpStatusCode.NoContent : HttpStatusCode.BadRequest, late.Status);
    }

    [Fact]
    public async Task One_request_over_two_thousand_windows_is_readable_before_and_after_its_flush()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        (long, double)[] samples = [.. Enumerable.Range(0, 2000).Select(static i => (i * 7_200_000L + i, (double)i))];
        (long, double)[] shuffled = [.. samples];
        new Random(1).Shuffle(shuffled);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=ordered", samples), SeriesOf("__name__=shuffled", shuffled)))).Status);
        for (int i = 0; i < 2; i++)
        {
            IReadOnlyList<TimeSeries> read = await server.EverythingAsync();
            Assert.Equal(["ordered", "shuffled"], read.Select(static series => series.Labels[0].Value));
            Assert.All(read, series => Assert.Equal(samples, series.Samples.Select(static sample => (sample.Timestamp, sample.Value))));
            Answer middle = await server.ReadAsync(Read(Query(samples[1000].Item1, samples[1001].Item1, Eq("__name__", "shuffled"))));
            Assert.Equal([1000.0, 1001.0], middle.AsSamples().Results.Single().Timeseries.Single().Samples.Select(static sample => sample.Value));
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        }
    }

    [Theory]
    [InlineData("(a+)+$")]
    [InlineData("(a|aa)+b")]
    [InlineData("(a*)*b")]
    [InlineData("(.*)*(.*)*(.*)*b")]
    [InlineData("(.*){1000}b")]
    [InlineData("((a{0,100}){0,100}){0,100}b")]
    [InlineData("(x+x+)+y")]
    [InlineData("\\p{L}{1000}b")]
    [InlineData(".*a.{500}b")]
    [InlineData("(.*a.{900}b)|(.*c.{900}d)")]
    public async Task T68_a_catastrophic_regular_expression_is_answered_or_refused_in_time_and_holds_up_nobody(string regex)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        TimeSeries[] series = [.. Enumerable.Range(0, 50).Select(static i => SeriesOf($"__name__=evil,i={i},v={new string('a', 2000)}{i}", (1, 1)))];
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1([.. series, SeriesOf(Good, (1, 1))]))).Status);
        var watch = Stopwatch.StartNew();
        Task<Answer> evil = server.ReadAsync(Read(Query(0, 9, Re("v", regex)), Query(0, 9, Nre("v", regex))));
        Assert.Equal([$"{Good} 1:1"], (await server.SamplesAsync(Eq("__name__", "good"))).Select(Print));
        Answer answer = await evil;
        Assert.True(watch.Elapsed < Bound, $"{watch.Elapsed}");
        Assert.True(answer.Status is HttpStatusCode.OK or HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity, $"{answer.Status} {answer.Text}");
        if (answer.Status != HttpStatusCode.OK) Assert.Contains("regexp", answer.Text, StringComparison.Ordinal);
        else Assert.Equal(51, answer.AsSamples().Results.Sum(static result => result.Timeseries.Count)); // each series matches or does not
    }

    [Fact]
    public async Task A_regular_expression_of_16_KiB_of_alternatives_is_answered_or_refused_in_time()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1([.. Enumerable.Range(0, 500).Select(static i => SeriesOf($"__name__=m{i:D4}", (1, 1)))]))).Status);
        string regex = string.Join('|', Enumerable.Range(0, 2700).Select(static i => $"m{i:D4}"));
        Assert.InRange(regex.Length, 16_000, 16_384);
        var watch = Stopwatch.StartNew();
        Assert.Equal(500, (await server.SamplesAsync(Re("__name__", regex))).Count);
        Assert.True(watch.Elapsed < Bound, $"{watch.Elapsed}");
    }

    /// <summary>For 2.0 the series are field 5 and not 1.</summary>
    private static byte[] Renumbered(byte[] raw, string type) => type == V2Type && raw[0] >> 3 == 1 ? [(byte)(raw[0] + (4 << 3)), .. raw[1..]] : raw;

    private static Task<Answer> PostAsync(ServerUnderTest server, byte[] raw, string type) =>
        server.SendAsync(HttpMethod.Post, "/api/v1/write", IronSnappy.Snappy.Encode(raw), ("Content-Type", type), ("Content-Encoding", "snappy"));

    private static bool Parses(ReadOnlySpan<byte> raw, string type)
    {
        try
        {
            // A series without its samples, or with references that have no symbol yet, is refused by itself.
            if (type == V1Type) return WriteRequest.Parser.ParseFrom(raw).Timeseries.All(static series => series.Labels.Count > 0);
            V2.Request request = V2.Request.Parser.ParseFrom(raw);
            return request.Timeseries.All(series => series.Samples.Count > 0 && series.LabelsRefs.All(reference => reference < request.Symbols.Count));
        }
        catch (InvalidProtocolBufferException)
        {
            return false;
        }
    }

    private static async Task AssertServesAsync(ServerUnderTest server)
    {
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=afterwards", (1, 1))))).Status);
        Assert.Equal(["__name__=afterwards 1:1"], (await server.SamplesAsync(Eq("__name__", "afterwards"))).Select(Print));
        Assert.Empty(await server.SamplesAsync(Eq("__name__", "before")));
    }

    /// <summary>Before and after a flush; what was refused has left nothing in the dictionary either.</summary>
    private static async Task AssertOnlyGoodAsync(ServerUnderTest server)
    {
        Assert.Equal(1, server.Engine.Stats().Series);
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal([$"{Good} 1:1 2:2"], (await server.SamplesAsync(Nre("__name__", "nothing"))).Select(Print));
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        }
    }
}
