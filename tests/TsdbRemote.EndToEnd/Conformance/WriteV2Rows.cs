using Google.Protobuf;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Tests.Endpoints;
using static TsdbRemote.Tests.Endpoints.Requests;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Remote write 2.0: rows 28 to 50, and 63 to 68.</summary>
[Collection(ConformanceRows.Name)]
public sealed partial class WriteV2Rows(Pairs pairs) : RowTests(pairs)
{
    private static readonly (string, string)[] Headers = [("Content-Type", V2Type), ("Content-Encoding", "snappy")];

    [PeerFact("prometheus"), Trait("Row", "28")]
    public Task Row_028_A_message_cut_short() => CompareAsync(static peer =>
    {
        byte[] raw = One(peer, "r28").ToByteArray();
        return peer.WriteBytesAsync(IronSnappy.Snappy.Encode(raw.AsSpan(0, raw.Length - 3)), Headers);
    });

    [PeerFact("prometheus"), Trait("Row", "29")]
    public Task Row_029_Samples_histograms_and_exemplars() => CompareAsync(static async peer =>
    {
        V2.Request request = V2Of(("__name__=r29", [(peer.At(), 1), (peer.At(1000), 2)]), ("__name__=r29_h", []));
        AddExemplar(request, 0, peer.At(1000), "trace_id", "abc");
        request.Timeseries[1].Histograms.Add(SentHistograms.AsV2(SentHistograms.Exponential(peer.At())));
        return Then(await peer.WriteAsync(request), await peer.ReadAsync("r29"), await peer.ReadAsync("r29_h"), await peer.ExemplarsAsync("r29"));
    });

    [PeerFact("prometheus"), Trait("Row", "30")]
    public Task Row_030_No_version_header() => CompareAsync(static peer => peer.WriteAsync(One(peer, "r30"), Headers));

    [PeerFact("prometheus"), Trait("Row", "31")]
    public Task Row_031_A_body_of_1_0_called_2_0() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V1(SeriesOf("__name__=r31", (peer.At(), 1))), Headers), await peer.ReadAsync("r31")));

    [PeerFact("prometheus"), Trait("Row", "32")]
    public Task Row_032_An_odd_number_of_references() => CompareAsync(static peer => BesideGoodAsync(peer, "r32", static bad => bad.LabelsRefs.Add([1, 2, 1])));

    [PeerFact("prometheus"), Trait("Row", "33")]
    public Task Row_033_A_reference_out_of_the_table() => CompareAsync(static peer => BesideGoodAsync(peer, "r33", static bad => bad.LabelsRefs.Add([1, 999])));

    [PeerFact("prometheus"), Trait("Row", "34")]
    public Task Row_034_A_unit_or_a_help_out_of_the_table() => CompareAsync(static async peer => Then(
        await BesideGoodAsync(peer, "r34", static bad => Describe(bad, new V2.Metadata { UnitRef = 999 })),
        await BesideGoodAsync(peer, "r34_help", static bad => Describe(bad, new V2.Metadata { HelpRef = 999 }))));

    [PeerFact("prometheus"), Trait("Row", "35")]
    public Task Row_035_No_symbols() => CompareAsync(static peer =>
    {
        var request = new V2.Request();
        request.Timeseries.Add(new V2.TimeSeries { LabelsRefs = { 0, 0 }, Samples = { new V2.Sample { Timestamp = peer.At(), Value = 1 } } });
        return peer.WriteAsync(request);
    });

    [PeerFact("prometheus"), Trait("Row", "36")]
    public Task Row_036_A_first_symbol_that_is_not_empty() => CompareAsync(static async peer =>
    {
        var request = new V2.Request { Symbols = { "__name__", "r36" } };
        request.Timeseries.Add(new V2.TimeSeries { LabelsRefs = { 0, 1 }, Samples = { new V2.Sample { Timestamp = peer.At(), Value = 1 } } });
        return Then(await peer.WriteAsync(request), await peer.ReadAsync("r36"));
    });

    [PeerFact("prometheus"), Trait("Row", "37")]
    public Task Row_037_A_reference_of_an_exemplar_out_of_the_table() => CompareAsync(static async peer =>
    {
        V2.Request request = One(peer, "r37");
        request.Timeseries[0].Exemplars.Add(new V2.Exemplar { LabelsRefs = { 1, 999 }, Timestamp = peer.At(), Value = 1 });
        return Then(await peer.WriteAsync(request), await peer.ReadAsync("r37"));
    });

    [PeerFact("prometheus"), Trait("Row", "38")]
    public Task Row_038_A_series_without_data() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V2Of(("__name__=r38", []), ("__name__=r38_good", [(peer.At(), 1)]))), await peer.ReadAsync("r38_good")));

    [PeerFact("prometheus"), Trait("Row", "39")]
    public Task Row_039_One_without_a_name_and_three_good_ones() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V2Of(
            ("foo=bar", [(peer.At(), 1)]), ("__name__=r39,a=1", [(peer.At(), 1)]), ("__name__=r39,a=2", [(peer.At(), 1)]), ("__name__=r39,a=3", [(peer.At(), 1)]))),
        await peer.ReadAsync("r39")));

    [PeerFact("prometheus"), Trait("Row", "40")]
    public Task Row_040_One_sample_out_of_order_among_good_ones() => CompareAsync(
        static async peer => Then(
            await peer.WriteAsync(V2Of(("__name__=r40", [(peer.At(1000), 1), (peer.At(3000), 3), (peer.At(2000), 2), (peer.At(4000), 4)]))), await peer.ReadAsync("r40")),
        Variant.Strict);

    [PeerFact("prometheus"), Trait("Row", "41")]
    public Task Row_041_Two_values_at_one_time_in_one_request() => CompareAsync(
        static async peer => Then(await peer.WriteAsync(V2Of(("__name__=r41", [(peer.At(), 1), (peer.At(), 2)]))), await peer.ReadAsync("r41")), Variant.Strict);

    [PeerFact("prometheus"), Trait("Row", "44")]
    public Task Row_044_An_exemplar_where_none_are_kept() => CompareAsync(
        static async peer => Then(await peer.WriteAsync(WithExemplars(peer, "r44", (0, "trace_id", "a"))), await peer.ReadAsync("r44")), Variant.Bare);

    [PeerFact("prometheus"), Trait("Row", "45")]
    public Task Row_045_An_exemplar_out_of_order() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(WithExemplars(peer, "r45", (1000, "trace_id", "new"))), await peer.WriteAsync(WithExemplars(peer, "r45", (500, "trace_id", "old"))),
        await peer.ReadAsync("r45"), await peer.ExemplarsAsync("r45")));

    [PeerFact("prometheus"), Trait("Row", "46")]
    public Task Row_046_An_exemplar_with_129_characters() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(WithExemplars(peer, "r46", (0, "id", new string('x', 127)))), await peer.ExemplarsAsync("r46"),
        await peer.WriteAsync(WithExemplars(peer, "r46_fits", (0, "id", "ü" + new string('x', 125))))));

    [PeerFact("prometheus"), Trait("Row", "47")]
    public Task Row_047_Metadata_of_all_types() => CompareAsync(static async peer =>
    {
        V2.Request request = V2Of();
        for (int type = 0; type < 8; type++)
        {
            V2.TimeSeries series = Add(request, $"__name__=r47_{type}", (peer.At(), 1));
            series.Metadata = new V2.Metadata { Type = (V2.Metadata.Types.MetricType)type, HelpRef = Symbol(request, $"help {type}") };
        }

        string written = await peer.WriteAsync(request);
        List<string> types = [];
        for (int type = 0; type < 8; type++)
        {
            string answer = await peer.JsonAsync($"/api/v1/metadata?metric=r47_{type}");
            types.Add(TypePattern().Match(answer) is { Success: true } found ? found.Groups[1].Value : answer);
        }

        return Then([written, string.Join(' ', types)]);
    });

    [PeerFact("prometheus"), Trait("Row", "48")]
    public Task Row_048_Start_timestamps_of_both_spellings() => CompareAsync(static async peer =>
    {
        V2.Request request = One(peer, "r48");
        request.Timeseries[0].Samples[0].StartTimestamp = peer.At(-1000);
        byte[] old = One(peer, "r48_old").ToByteArray();
        int series = old.AsSpan().LastIndexOf((byte)0x2a);
        old = [.. old[..(series + 1)], (byte)(old[series + 1] + 2), .. old[(series + 2)..], 0x30, 0x05];
        return Then(
            await peer.WriteAsync(request), await peer.WriteBytesAsync(IronSnappy.Snappy.Encode(old), Headers), await peer.ReadAsync("r48"), await peer.ReadAsync("r48_old"));
    });

    [PeerFact("prometheus"), Trait("Row", "49")]
    public Task Row_049_Values_that_are_no_ordinary_numbers() => CompareAsync(static async peer => Then(
        await peer.WriteBytesAsync(
            WithNegativeZero(V2Of(("__name__=r49", [
            (peer.At(), BitConverter.UInt64BitsToDouble(0x7ff8000000000001)), (peer.At(1), double.PositiveInfinity), (peer.At(2), double.NegativeInfinity), (peer.At(3), 17.25),
            (peer.At(4), BitConverter.UInt64BitsToDouble(Blocks.Model.StaleMarker.Bits)), (peer.At(5), BitConverter.UInt64BitsToDouble(0x7ff8000000000123))])), 17.25),
            Headers),
        await peer.ReadAsync("r49"), await peer.StreamAsync(Eq("__name__", "r49"))));

    [PeerFact("prometheus"), Trait("Row", "50")]
    public Task Row_050_Names_with_dots_blanks_and_emoji() => CompareAsync(static async peer => Then(
        await peer.WriteAsync(V2Of(("__name__=r50.cpu usage,label with space=line,🚀.π=日本", [(peer.At(), 1)]))), await peer.ReadAsync("r50.cpu usage")));

    [PeerFact("prometheus"), Trait("Row", "63")]
    public Task Row_063_Nine_and_eleven_minutes_late_with_a_window_of_ten() => CompareAsync(
        static async peer => Then(
            await peer.WriteAsync(One(peer, "r63")), await peer.WriteAsync(One(peer, "r63", -9 * 60_000)), await peer.WriteAsync(One(peer, "r63", -11 * 60_000)), await peer.ReadAsync("r63")),
        Variant.Window);

    [PeerFact("prometheus"), Trait("Row", "64")]
    public Task Row_064_Nine_and_eleven_minutes_ahead_of_the_clock() => CompareAsync(
        static async peer =>
        {
            long now = NowMs;
            return Then(
                await peer.WriteAsync(V2Of(("__name__=r64", [(now + 9 * 60_000, 1)]))), Told(await peer.WriteAsync(V2Of(("__name__=r64", [(now + 11 * 60_000, 1)]))), now));
        },
        Variant.Killed);

    [PeerFact("prometheus"), Trait("Row", "67")]
    public Task Row_067_References_that_are_not_packed() => CompareAsync(static async peer =>
    {
        byte[] series = [0x08, 1, 0x08, 2, 0x12, 0x10, 0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0x10, .. Varint(peer.At())];
        byte[] raw = [0x22, 0, 0x22, 8, .. "__name__"u8, 0x22, 3, .. "r67"u8, 0x2A, (byte)series.Length, .. series];
        return Then(await peer.WriteBytesAsync(IronSnappy.Snappy.Encode(raw), Headers), await peer.ReadAsync("r67"));
    });

    [PeerFact("prometheus"), Trait("Row", "68")]
    public Task Row_068_Fields_that_nobody_knows() => CompareAsync(static async peer =>
    {
        byte[] sample = [0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0x10, .. Varint(peer.At()), 0x78, 1];
        byte[] series = [0x0A, 2, 1, 2, 0xF8, 0x07, 5, 0xFD, 0x07, 1, 2, 3, 4, 0x12, (byte)sample.Length, .. sample];
        byte[] raw = [0x22, 0, 0x22, 8, .. "__name__"u8, 0x22, 3, .. "r68"u8, 0x2A, (byte)series.Length, .. series, 0xFA, 0x07, 2, 9, 9];
        return Then(await peer.WriteBytesAsync(IronSnappy.Snappy.Encode(raw), Headers), await peer.ReadAsync("r68"));
    });

    private static V2.Request One(Peer peer, string metric, long ms = 0) => V2Of(($"__name__={metric}", [(peer.At(ms), 1)]));

    private static async Task<string> BesideGoodAsync(Peer peer, string metric, Action<V2.TimeSeries> spoil)
    {
        V2.Request request = One(peer, metric);
        var bad = new V2.TimeSeries { Samples = { new V2.Sample { Timestamp = peer.At(), Value = 1 } } };
        spoil(bad);
        request.Timeseries.Insert(0, bad);
        return Then(await peer.WriteAsync(request), await peer.ReadAsync(metric));
    }

    private static void Describe(V2.TimeSeries series, V2.Metadata metadata)
    {
        series.LabelsRefs.Add([1, 2]);
        series.Metadata = metadata;
    }

    private static V2.Request WithExemplars(Peer peer, string metric, params (long Ms, string Name, string Value)[] exemplars)
    {
        V2.Request request = One(peer, metric, 1000);
        foreach ((long ms, string name, string value) in exemplars) AddExemplar(request, 0, peer.At(ms), name, value);
        return request;
    }

    private static void AddExemplar(V2.Request request, int series, long timeMs, string name, string value) =>
        request.Timeseries[series].Exemplars.Add(new V2.Exemplar { LabelsRefs = { Symbol(request, name), Symbol(request, value) }, Timestamp = timeMs, Value = 1 });

    private static byte[] Varint(long value)
    {
        List<byte> bytes = [];
        for (ulong rest = (ulong)value; ; rest >>= 7)
        {
            if (rest < 128) return [.. bytes, (byte)rest];
            bytes.Add((byte)(rest | 128));
        }
    }

    /// <summary>A value that the generated messages would leave out, for they compare it with zero.</summary>
    private static byte[] WithNegativeZero(V2.Request request, double placeholder)
    {
        byte[] raw = request.ToByteArray();
        int at = raw.AsSpan().IndexOf(BitConverter.GetBytes(placeholder));
        BitConverter.GetBytes(-0.0).CopyTo(raw, at);
        return IronSnappy.Snappy.Encode(raw);
    }

    [System.Text.RegularExpressions.GeneratedRegex("\"type\":\"([a-z]+)\"")]
    private static partial System.Text.RegularExpressions.Regex TypePattern();

    /// <summary>An answer without the times that are told from the clock.</summary>
    private static string Told(string answer, long nowMs) => answer.Replace(nowMs.ToString(System.Globalization.CultureInfo.InvariantCulture), "now", StringComparison.Ordinal);
}
