using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Remote write 1.0, rows 1 to 18, and what holds for both versions before the body is looked into, rows 19 to 27.</summary>
[Collection(ConformanceRows.Name)]
public sealed class WriteRows(Pairs pairs) : RowTests(pairs)
{
    private const ulong Quiet = 0x7ff8000000000001;
    private static readonly (string, string) Snappy = ("Content-Encoding", "snappy");

    [PeerFact("prometheus"), Trait("Row", "1")]
    public Task Row_001_A_request_of_1_0() => CompareAsync(static async peer => Then(await peer.WriteAsync(One(peer, "r1")), await peer.ReadAsync("r1")));

    [PeerFact("prometheus"), Trait("Row", "2")]
    public Task Row_002_No_header_at_all() => CompareAsync(static async peer => Then(await peer.WriteAsync(One(peer, "r2"), []), await peer.ReadAsync("r2")));

    [PeerFact("prometheus"), Trait("Row", "3")]
    public Task Row_003_The_version_header_of_2_0() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(One(peer, "r3"), ("Content-Type", "application/x-protobuf"), Snappy, ("X-Prometheus-Remote-Write-Version", "2.0.0")), await peer.ReadAsync("r3")));

    [PeerFact("prometheus"), Trait("Row", "4")]
    public Task Row_004_The_message_named() => CompareAsync(static async peer => Then(await peer.WriteAsync(One(peer, "r4"), ("Content-Type", V1Type), Snappy), await peer.ReadAsync("r4")));

    [PeerFact("prometheus"), Trait("Row", "5")]
    public Task Row_005_Labels_that_are_not_sorted() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("zone=z,__name__=r5,job=a", (peer.At(), 1)))), await peer.ReadAsync("r5")));

    [PeerFact("prometheus"), Trait("Row", "6")]
    public Task Row_006_A_label_with_an_empty_value() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r6,job=,zone=z", (peer.At(), 1)))), await peer.WriteAsync(V1(SeriesOf("__name__=r6,zone=z", (peer.At(1), 2)))), await peer.ReadAsync("r6")));

    [PeerFact("prometheus"), Trait("Row", "7")]
    public Task Row_007_A_series_without_a_name_beside_a_good_one() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("row=r7", (peer.At(), 1)), SeriesOf("__name__=r7", (peer.At(), 1)))), await peer.ReadAsync("r7"), await peer.ReadAsync(Eq("row", "r7"))));

    [PeerFact("prometheus"), Trait("Row", "8")]
    public Task Row_008_A_label_name_twice() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r8,a=1,a=2", (peer.At(), 1)), SeriesOf("__name__=r8", (peer.At(), 1)))), await peer.ReadAsync("r8")));

    [PeerFact("prometheus"), Trait("Row", "9")]
    public Task Row_009_A_sample_older_than_its_series() => CompareAsync(
        static async peer => Then(await peer.WriteAsync(One(peer, "r9", 1000)), await peer.WriteAsync(One(peer, "r9")), await peer.ReadAsync("r9")), Variant.Strict);

    [PeerFact("prometheus"), Trait("Row", "10")]
    public Task Row_010_The_end_of_time() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r10", (long.MaxValue, 1)))), await peer.ReadAsync("r10")));

    [PeerFact("prometheus"), Trait("Row", "11")]
    public Task Row_011_The_same_sample_twice() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(One(peer, "r11")), await peer.WriteAsync(One(peer, "r11")), await peer.ReadAsync("r11")));

    [PeerFact("prometheus"), Trait("Row", "12")]
    public Task Row_012_Another_value_at_one_time() => CompareAsync(
        static async peer => Then(await peer.WriteAsync(One(peer, "r12")), await peer.WriteAsync(V1(SeriesOf("__name__=r12", (peer.At(), 2)))), await peer.ReadAsync("r12")),
        Variant.Strict);

    [PeerFact("prometheus"), Trait("Row", "13")]
    public Task Row_013_NaN_twice() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r13", (peer.At(), Bits(Quiet))))), await peer.WriteAsync(V1(SeriesOf("__name__=r13", (peer.At(), Bits(Quiet))))), await peer.ReadAsync("r13")));

    [PeerFact("prometheus"), Trait("Row", "14")]
    public Task Row_014_An_exemplar_older_than_the_newest() => CompareAsync(static async peer =>
    {
        string[] answers = [await peer.WriteAsync(WithExemplar(peer, "r14", 1000)), await peer.WriteAsync(WithExemplar(peer, "r14", 500))];
        return Then([.. answers, await peer.ExemplarsAsync("r14")]);
    });

    [PeerFact("prometheus"), Trait("Row", "15")]
    public Task Row_015_A_series_with_exemplars_only() => CompareAsync(static async peer =>
    {
        WriteRequest request = WithExemplar(peer, "r15", 0);
        request.Timeseries[0].Samples.Clear();
        return Then(await peer.WriteAsync(request), await peer.ReadAsync("r15"));
    });

    [PeerFact("prometheus"), Trait("Row", "16")]
    public Task Row_016_Only_metadata() => CompareAsync(static async peer =>
    {
        var request = new WriteRequest();
        request.Metadata.Add(new MetricMetadata { MetricFamilyName = "r16", Type = MetricMetadata.Types.MetricType.Counter, Help = "h", Unit = "u" });
        return Then(await peer.WriteAsync(request), await peer.JsonAsync("/api/v1/metadata?metric=r16"));
    });

    [PeerFact("prometheus"), Trait("Row", "17")]
    public Task Row_017_A_stale_marker() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(One(peer, "r17")), await peer.WriteAsync(V1(SeriesOf("__name__=r17", (peer.At(1000), Bits(Blocks.Model.StaleMarker.Bits))))), await peer.ReadAsync("r17")));

    [PeerFact("prometheus"), Trait("Row", "18")]
    public Task Row_018_A_label_value_that_is_no_UTF_8() => CompareAsync(static async peer =>
    {
        byte[] raw = Google.Protobuf.MessageExtensions.ToByteArray(V1(SeriesOf("__name__=r18,a=#", (peer.At(), 1))));
        raw[raw.AsSpan().LastIndexOf((byte)'#')] = 0xff;
        return Then(await peer.WriteBytesAsync(IronSnappy.Snappy.Encode(raw), Snappy), await peer.ReadAsync("r18"));
    });

    [PeerFact("prometheus"), Trait("Row", "19")]
    public Task Row_019_Other_methods() => CompareAsync(static async peer => Then(
        await peer.HeaderAsync(HttpMethod.Get, "/api/v1/write", "Content-Encoding"), await peer.HeaderAsync(HttpMethod.Put, "/api/v1/write", "Content-Encoding")));

    [PeerFact("prometheus"), Trait("Row", "20")]
    public Task Row_020_Another_content_type_and_a_corrupt_body() => CompareAsync(static async peer => Then(
        await peer.WriteBytesAsync([1, 2, 3], ("Content-Type", "application/json"), Snappy), await peer.WriteBytesAsync([1, 2, 3], ("Content-Type", "image/png"), Snappy)));

    [PeerFact("prometheus"), Trait("Row", "21")]
    public Task Row_021_Other_compressions() => CompareAsync(static async peer => Then(
        await peer.WriteBytesAsync([1, 2, 3], ("Content-Encoding", "gzip")), await peer.WriteBytesAsync([1, 2, 3], ("Content-Encoding", "deflate"))));

    [PeerFact("prometheus"), Trait("Row", "22")]
    public Task Row_022_A_message_that_nobody_knows() => CompareAsync(static peer =>
        peer.WriteAsync(One(peer, "r22"), ("Content-Type", "application/x-protobuf;proto=yolo"), Snappy));

    [PeerFact("prometheus"), Trait("Row", "23")]
    public Task Row_023_A_blank_behind_the_semicolon() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V2Of(("__name__=r23", [(peer.At(), 1)])), ("Content-Type", "application/x-protobuf; proto=io.prometheus.write.v2.Request"), Snappy), await peer.ReadAsync("r23")));

    [PeerFact("prometheus"), Trait("Row", "24")]
    public Task Row_024_The_stream_format_of_snappy() => CompareAsync(static peer =>
        peer.WriteBytesAsync([0xff, 0x06, 0, 0, .. "sNaPpY"u8, 0, 0, 0, 0], Snappy));

    [PeerFact("prometheus"), Trait("Row", "25")]
    public Task Row_025_A_body_that_claims_256_MiB() => CompareAsync(static peer => peer.WriteBytesAsync([0x80, 0x80, 0x80, 0x80, 0x01], Snappy));

    [PeerFact("prometheus"), Trait("Row", "26")]
    public Task Row_026_No_body() => CompareAsync(static peer => peer.WriteBytesAsync([], Snappy));

    [PeerFact("prometheus"), Trait("Row", "27")]
    public Task Row_027_An_empty_message_of_either_version() => CompareAsync(static async peer => Then(
        await peer.WriteBytesAsync([0], ("Content-Type", V1Type), Snappy), await peer.WriteBytesAsync([0], ("Content-Type", V2Type), Snappy)));

    private static WriteRequest One(Peer peer, string metric, long ms = 0) => V1(SeriesOf($"__name__={metric}", (peer.At(ms), 1)));

    private static WriteRequest WithExemplar(Peer peer, string metric, long ms)
    {
        WriteRequest request = One(peer, metric, 1000);
        request.Timeseries[0].Exemplars.Add(new Exemplar { Labels = { new Label { Name = "trace_id", Value = $"at{ms}" } }, Timestamp = peer.At(ms), Value = 1 });
        return request;
    }

    private static double Bits(ulong bits) => BitConverter.UInt64BitsToDouble(bits);
}
