using TsdbRemote.EndToEnd.Support;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>What is asked by GET, what administers, what other protocols bring, and what is left after a kill: rows 93 to 108.</summary>
[Collection(ConformanceRows.Name)]
public sealed class ApiRows(Pairs pairs) : RowTests(pairs)
{
    [PeerFact("prometheus"), Trait("Row", "93")]
    public Task Row_093_Ready() => CompareAsync(static peer => peer.SendAsync(HttpMethod.Get, "/-/ready", null));

    [PeerFact("prometheus"), Trait("Row", "94")]
    public Task Row_094_Healthy() => CompareAsync(static async peer => Then(
        await peer.SendAsync(HttpMethod.Get, "/-/healthy", null), await peer.SendAsync(HttpMethod.Head, "/-/healthy", null)));

    [PeerFact("prometheus"), Trait("Row", "95")]
    public Task Row_095_Series_without_a_selector() => CompareAsync(static peer => peer.JsonAsync("/api/v1/series"));

    [PeerFact("prometheus"), Trait("Row", "96")]
    public Task Row_096_A_selector_that_matches_everything() => CompareAsync(static async peer => Then(
        await peer.JsonAsync("/api/v1/labels?match[]={foo=~\".*\"}"), await peer.JsonAsync("/api/v1/series?match[]={foo=~\".*\"}")));

    [PeerFact("prometheus"), Trait("Row", "97")]
    public Task Row_097_A_limit_of_one() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r97,a=1", "__name__=r97,a=2"), await peer.JsonAsync("/api/v1/labels?match[]=r97&limit=1"),
        await CountAsync(peer, "/api/v1/label/a/values?match[]=r97&limit=1"), await CountAsync(peer, "/api/v1/series?match[]=r97&limit=1")));

    [PeerFact("prometheus"), Trait("Row", "98")]
    public Task Row_098_Values_of_a_label_that_nobody_has() => CompareAsync(static peer => peer.JsonAsync("/api/v1/label/nosuch/values"));

    [PeerFact("prometheus"), Trait("Row", "99")]
    public Task Row_099_An_escaped_label_name() => CompareAsync(static async peer => Then(
        await WriteAsync(peer, "__name__=r99,r99.name=x"), await peer.JsonAsync("/api/v1/label/U__r99_2e_name/values"), await peer.JsonAsync("/api/v1/label/r99.name/values")));

    [PeerFact("prometheus"), Trait("Row", "100")]
    public Task Row_100_A_range_of_a_series_is_deleted() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r100", [.. Enumerable.Range(0, 6).Select(i => (peer.At(i * 1000L), (double)i))]))),
        await peer.SendAsync(HttpMethod.Post, FormattableString.Invariant($"/api/v1/admin/tsdb/delete_series?match[]=r100&start={Seconds(peer, 1000)}&end={Seconds(peer, 3000)}"), []),
        await peer.ReadAsync("r100"), await peer.StreamAsync(Eq("__name__", "r100"))));

    [PeerFact("prometheus"), Trait("Row", "101")]
    public Task Row_101_Admin_calls_that_are_switched_off() => CompareAsync(
        static peer => peer.JsonAsync("/api/v1/admin/tsdb/delete_series?match[]=r101", HttpMethod.Post), Variant.Bare);

    [PeerFact("prometheus"), Trait("Row", "103")]
    public Task Row_103_A_wrong_password() => CompareAsync(
        static async peer =>
        {
            var request = V1(SeriesOf("__name__=r103", (peer.At(), 1)));
            Task<string> RefusedAsync(string credential) => peer.HeaderAsync(
                HttpMethod.Post, "/api/v1/write", "WWW-Authenticate", Compress(request), [.. HeadersOf(request), ("Authorization", credential)]);
            return Then(
                await RefusedAsync(Basic("row:wrong")), await RefusedAsync(Basic("nobody:password of the row")), await RefusedAsync("Basic"),
                await peer.WriteAsync(request, [.. HeadersOf(request), ("Authorization", Basic("row:wrong"))]), await peer.ReadAsync("r103"),
                await peer.WriteAsync(request), await peer.ReadAsync("r103"));
        },
        Variant.Guarded);

    [PeerFact("prometheus"), Trait("Row", "104")]
    public Task Row_104_A_kill_after_the_answer() => CompareAsync(
        static async peer =>
        {
            string written = await WriteAsync(peer, "__name__=r104,a=1", "__name__=r104,a=2");
            await peer.RestartAsync();
            return Then(written, "killed", await peer.ReadAsync("r104"));
        },
        Variant.Killed);

    [PeerFact("prometheus"), Trait("Row", "107")]
    public Task Row_107_A_body_in_zstd() => CompareAsync(static async peer =>
    {
        using var packer = new ZstdSharp.Compressor();
        byte[] body = packer.Wrap(Google.Protobuf.MessageExtensions.ToByteArray(V1(SeriesOf("__name__=r107", (peer.At(), 1))))).ToArray();
        return Then(await peer.WriteBytesAsync(body, ("Content-Encoding", "zstd"), ("Content-Type", "application/x-protobuf")), await peer.ReadAsync("r107"));
    });

    [PeerFact("prometheus"), Trait("Row", "108")]
    public Task Row_108_The_same_request_again() => CompareAsync(static async peer =>
    {
        var request = V2Of(("__name__=r108", [(peer.At(), 1), (peer.At(1000), 2)]));
        return Then(await peer.WriteAsync(request), await peer.WriteAsync(request), await peer.ReadAsync("r108"));
    });

    private static Task<string> WriteAsync(Peer peer, params string[] series) => peer.WriteAsync(V1([.. series.Select(labels => SeriesOf(labels, (peer.At(), 1)))]));

    private static string Basic(string pair) => "Basic " + Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(pair));

    /// <summary>Which of several a limit leaves is nobody's promise.</summary>
    private static async Task<string> CountAsync(Peer peer, string path)
    {
        string answer = await peer.JsonAsync(path);
        int end = answer.LastIndexOf(']', answer.LastIndexOf('[') - 1);
        Assert.StartsWith("200 [", answer, StringComparison.Ordinal);
        int count = System.Text.Json.Nodes.JsonNode.Parse(answer[4..(end + 1)])!.AsArray().Count;
        return $"200, {count} of them{answer[(end + 1)..]}";
    }

    private static string Seconds(Peer peer, long ms) => FormattableString.Invariant($"{peer.At(ms) / 1000.0:F3}");
}
