using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Endpoints;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Remote read: rows 69 to 92.</summary>
[Collection(ConformanceRows.Name)]
public sealed class ReadRows(Pairs pairs) : RowTests(pairs)
{
    [PeerFact("prometheus"), Trait("Row", "69")]
    public Task Row_069_No_accepted_types() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r69"), await peer.ReadHeadersAsync(Read(QueryOf(peer, "r69"))), await peer.ReadAsync("r69")));

    [PeerFact("prometheus"), Trait("Row", "70")]
    public Task Row_070_The_order_of_accepted_types() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r70"), await AcceptingAsync(peer, 1, 0), await AcceptingAsync(peer, 0, 1), await AcceptingAsync(peer, 20), await AcceptingAsync(peer, 20, 1)));

    [PeerFact("prometheus"), Trait("Row", "71")]
    public Task Row_071_Three_queries_one_of_them_empty() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r71_a", "__name__=r71_b"), await peer.ReadAsync(Read(QueryOf(peer, "r71_b"), QueryOf(peer, "r71_none"), QueryOf(peer, "r71_a")))));

    [PeerFact("prometheus"), Trait("Row", "72")]
    public Task Row_072_Both_bounds_are_of_the_range() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r72", (peer.At(), 1), (peer.At(1000), 2), (peer.At(2000), 3)))),
        await peer.ReadAsync(Read(Query(peer.At(1000), peer.At(1000), Eq("__name__", "r72")))), await peer.ReadAsync(Read(Query(peer.At(1001), peer.At(1999), Eq("__name__", "r72"))))));

    [PeerFact("prometheus"), Trait("Row", "73")]
    public Task Row_073_Matchers_that_take_a_missing_label() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r73,foo=y", "__name__=r73"),
        await NamedAsync(peer, "r73", Eq("foo", "")), await NamedAsync(peer, "r73", Neq("foo", "x")), await NamedAsync(peer, "r73", Re("foo", ".*")), await NamedAsync(peer, "r73", Nre("foo", ".+"))));

    [PeerFact("prometheus"), Trait("Row", "74")]
    public Task Row_074_Matchers_that_ask_for_the_label() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r74,foo=y", "__name__=r74"), await NamedAsync(peer, "r74", Neq("foo", "")), await NamedAsync(peer, "r74", Re("foo", ".+"))));

    [PeerFact("prometheus"), Trait("Row", "75")]
    public Task Row_075_Regular_expressions_are_anchored() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r75,foo=ab"), await NamedAsync(peer, "r75", Re("foo", "a")), await NamedAsync(peer, "r75", Re("foo", "ab"))));

    [PeerFact("prometheus"), Trait("Row", "76")]
    public Task Row_076_Line_feeds_in_values() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r76,foo=a\nb", "__name__=r76,foo=a\n"), await NamedAsync(peer, "r76", Re("foo", "a.b")), await NamedAsync(peer, "r76", Re("foo", "a"))));

    [PeerFact("prometheus"), Trait("Row", "77")]
    public Task Row_077_Regular_expressions_that_cannot_be_taken() => CompareAsync(static async peer => Then(
        await NamedAsync(peer, "r77", Re("foo", "a(?=b)")), await NamedAsync(peer, "r77", Re("foo", "(a)\\1")), await NamedAsync(peer, "r77", Re("foo", "(unclosed"))));

    [PeerFact("prometheus"), Trait("Row", "78")]
    public Task Row_078_No_matchers() => CompareAsync(static async peer => Then(await WriteAsync(peer, "__name__=r78"), await peer.ReadAsync([])));

    [PeerFact("prometheus"), Trait("Row", "79")]
    public Task Row_079_Two_samples_where_one_may_be_read() => CompareAsync(
        static async peer => Then(
            await peer.WriteAsync(V1(SeriesOf("__name__=r79", (peer.At(), 1), (peer.At(1000), 2)))), await peer.ReadAsync("r79"), await peer.StreamAsync(Eq("__name__", "r79"))),
        Variant.OneSample);

    [PeerFact("prometheus"), Trait("Row", "80")]
    public Task Row_080_External_labels_of_the_store() => CompareAsync(
        static async peer => Then(await WriteAsync(peer, "__name__=r80,baz=qux", "__name__=r80,b=c,d=e"), await NamedAsync(peer, "r80", Eq("b", "c"))), Variant.ExternalLabels);

    [PeerFact("prometheus"), Trait("Row", "81")]
    public Task Row_081_Headers_of_a_streamed_answer() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r81"), await peer.ReadHeadersAsync(Read(QueryOf(peer, "r81")).Accepting(1))));

    [PeerFact("prometheus"), Trait("Row", "82")]
    public Task Row_082_Frames() => CompareAsync(static async peer => Then(await WriteAsync(peer, "__name__=r82"), await peer.StreamAsync(Eq("__name__", "r82"))));

    [PeerFact("prometheus"), Trait("Row", "83")]
    public Task Row_083_Many_chunks_in_frames_of_4_KiB() => CompareAsync(
        static async peer =>
        {
            // Chunks of several hundred bytes, and labels so long that a frame has room for one and a half of them.
            var random = new Random(83);
            TimeSeries series = SeriesOf($"__name__=r83,pad={new string('x', 3080)}", [.. Enumerable.Range(0, 600).Select(i => (peer.At(i * 500L), (double)random.Next()))]);
            string written = await peer.WriteAsync(V1(series));
            IReadOnlyList<ChunkedReadResponse> frames = await peer.FramesAsync(Read(Query(peer.At(), peer.At(3_600_000), Eq("__name__", "r83"))));
            return Then(written, $"{frames.SelectMany(static frame => frame.ChunkedSeries[0].Chunks).Sum(static chunk => Printed.TimesOf(chunk).Count)} samples", FrameRules(frames, 4096));
        },
        Variant.SmallFrames);

    [PeerFact("prometheus"), Trait("Row", "84")]
    public Task Row_084_Many_series_of_two_queries() => CompareAsync(static async peer =>
    {
        string written = await WriteAsync(peer, [.. Enumerable.Range(0, 200).Select(static i => $"__name__=r84_{i % 7},i={i:D3}")]);
        IReadOnlyList<ChunkedReadResponse> frames = await peer.FramesAsync(Read(
            Query(peer.At(), peer.At(1), Re("__name__", "r84_[0-3]")), Query(peer.At(), peer.At(1), Eq("__name__", "none")), Query(peer.At(), peer.At(1), Re("__name__", "r84_.*"))));
        IEnumerable<string> queries = frames.GroupBy(static frame => frame.QueryIndex).Select(static query =>
        {
            string[] labels = [.. query.Select(static frame => string.Join('\u0001', frame.ChunkedSeries[0].Labels.Select(static label => $"{label.Name}\u0002{label.Value}")))];
            return $"query {query.Key}: {labels.Length} series, {(labels.SequenceEqual(labels.Order(StringComparer.Ordinal).Distinct()) ? "sorted, each once" : "in disorder")}";
        });
        return Then([written, .. queries]);
    });

    [PeerFact("prometheus"), Trait("Row", "85")]
    public Task Row_085_A_range_that_cuts_chunks() => CompareAsync(static async peer =>
    {
        string written = await peer.WriteAsync(V1(SeriesOf("__name__=r85", [.. Enumerable.Range(0, 200).Select(i => (peer.At(i * 1000L), (double)i))])));
        IReadOnlyList<ChunkedReadResponse> frames = await peer.FramesAsync(Read(Query(peer.At(117_500), peer.At(122_000), Eq("__name__", "r85"))));


        // How a history is cut into chunks is up to its writer, too.
        return Then(written, string.Join(' ', frames.SelectMany(static frame => frame.ChunkedSeries[0].Chunks).SelectMany(Printed.TimesOf).Select(time => time - peer.At())));
    });

    [PeerFact("prometheus"), Trait("Row", "86")]
    public Task Row_086_Late_samples_between_others() => CompareAsync(
        static async peer => Then(
            await peer.WriteAsync(V1(SeriesOf("__name__=r86", (peer.At(1000), 1), (peer.At(3000), 3), (peer.At(5000), 5)))),
            await peer.WriteAsync(V1(SeriesOf("__name__=r86", (peer.At(2000), 2), (peer.At(5000), 5), (peer.At(6000), 6)))), await peer.StreamAsync(Eq("__name__", "r86"))),
        Variant.Window);

    [PeerFact("prometheus"), Trait("Row", "87")]
    public Task Row_087_Chunks_of_all_three_kinds() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r87_a"), await WriteHistogramsAsync(peer, "r87_b", SentHistograms.Exponential(peer.At())),
        await WriteHistogramsAsync(peer, "r87_c", SentHistograms.OfFloats(peer.At())), await peer.StreamAsync(Re("__name__", "r87_."))));

    [PeerFact("prometheus"), Trait("Row", "88")]
    public Task Row_088_Stale_markers_in_both_forms() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r88", (peer.At(), 1), (peer.At(1000), BitConverter.UInt64BitsToDouble(Blocks.Model.StaleMarker.Bits))))),
        await WriteHistogramsAsync(peer, "r88_h", SentHistograms.Exponential(peer.At()), SentHistograms.Stale(peer.At(1000))),
        await peer.ReadAsync(Re("__name__", "r88.*")), await peer.StreamAsync(Re("__name__", "r88.*"))));

    [PeerFact("prometheus"), Trait("Row", "91")]
    public Task Row_091_A_read_that_is_no_snappy_and_one_that_is_no_message() => CompareAsync(static async peer => Then(
        await peer.SendAsync(HttpMethod.Post, "/api/v1/read", [1, 2, 3, 4], ReadHeaders), await peer.SendAsync(HttpMethod.Post, "/api/v1/read", IronSnappy.Snappy.Encode([0x0a, 0x7f, 1]), ReadHeaders)));

    [PeerFact("prometheus"), Trait("Row", "92")]
    public Task Row_092_A_float_and_a_histogram_at_one_time() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r92"), await WriteHistogramsAsync(peer, "r92", SentHistograms.Exponential(peer.At())), await peer.ReadAsync("r92")));

    /// <summary>Where frames end is the rule that holds; how many samples a chunk has is up to its writer.</summary>
    private static string FrameRules(IReadOnlyList<ChunkedReadResponse> frames, int limit)
    {
        Assert.InRange(frames.Count, 2, 100);
        for (int i = 0; i < frames.Count; i++)
        {
            ChunkedSeries series = frames[i].ChunkedSeries[0];
            if (series.Labels.Count != 2) return "labels are missing in a frame";
            int left = limit - series.Labels.Sum(static label => label.CalculateSize());
            foreach (Chunk chunk in series.Chunks)
            {
                if (left <= 0) return "a chunk stands behind the one that filled its frame";
                left -= chunk.CalculateSize();
            }

            if (left > 0 && i < frames.Count - 1) return "a frame has ended before it was full";
        }

        return "labels in each frame, which ends with the chunk that fills it";
    }

    private static Query QueryOf(Peer peer, string metric) => Query(peer.At(-1000), peer.At(60_000), Eq("__name__", metric));

    private static Task<string> WriteAsync(Peer peer, params string[] series) => peer.WriteAsync(V1([.. series.Select(labels => SeriesOf(labels, (peer.At(), 1)))]));

    private static Task<string> WriteHistogramsAsync(Peer peer, string metric, params Histogram[] histograms)
    {
        TimeSeries series = SeriesOf($"__name__={metric}");
        series.Histograms.AddRange(histograms);
        return peer.WriteAsync(V1(series));
    }

    private static Task<string> NamedAsync(Peer peer, string metric, LabelMatcher matcher) => peer.ReadAsync(Eq("__name__", metric), matcher);

    private static Task<string> AcceptingAsync(Peer peer, params int[] types) => peer.ReadHeadersAsync(Read(QueryOf(peer, "r70")).Accepting(types));
}
