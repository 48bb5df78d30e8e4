using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Endpoints;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Native histograms: rows 51 to 62.</summary>
[Collection(ConformanceRows.Name)]
public sealed class HistogramRows(Pairs pairs) : RowTests(pairs)
{
    [PeerFact("prometheus"), Trait("Row", "51")]
    public Task Row_051_A_count_of_99_over_27_observations() => CompareAsync(static async peer =>
    {
        Histogram wrong = SentHistograms.Exponential(peer.At()).With(static histogram => histogram.CountInt = 99);
        TimeSeries series = SeriesOf("__name__=r51");
        series.Histograms.Add(wrong);
        return Then(await peer.WriteAsync(V1(series)), await SendAsync(peer, "r51", wrong));
    });

    [PeerFact("prometheus"), Trait("Row", "52")]
    public Task Row_052_A_sum_that_is_NaN_and_a_count_above_the_buckets() => CompareAsync(static peer => SendAndReadAsync(
        peer, "r52", SentHistograms.Exponential(peer.At()).With(static histogram => (histogram.Sum, histogram.CountInt) = (double.NaN, 99))));

    [PeerFact("prometheus"), Trait("Row", "53")]
    public Task Row_053_Custom_buckets_with_a_zero_bucket() => CompareAsync(static peer => SendAsync(
        peer, "r53", SentHistograms.Custom(peer.At()).With(static histogram => histogram.ZeroCountInt = 1)));

    [PeerFact("prometheus"), Trait("Row", "54")]
    public Task Row_054_Custom_bounds_that_cannot_be() => CompareAsync(static async peer => Then(
        await SendAsync(peer, "r54_1", SentHistograms.Custom(peer.At()).With(static histogram => histogram.CustomValues[1] = 0.1)),
        await SendAsync(peer, "r54_2", SentHistograms.Custom(peer.At()).With(static histogram => histogram.CustomValues[1] = double.NaN)),
        await SendAsync(peer, "r54_3", SentHistograms.Custom(peer.At()).With(static histogram => histogram.CustomValues[5] = double.PositiveInfinity)),
        await SendAsync(peer, "r54_4", SentHistograms.Custom(peer.At()).With(static histogram =>
        {
            histogram.CustomValues.Clear();
            histogram.CustomValues.Add(1);
        }))));

    [PeerFact("prometheus"), Trait("Row", "55")]
    public Task Row_055_An_exponential_one_with_custom_values() => CompareAsync(static peer => SendAsync(
        peer, "r55", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.CustomValues.Add(1))));

    [PeerFact("prometheus"), Trait("Row", "56")]
    public Task Row_056_Schema_10_of_integers_and_of_floats() => CompareAsync(static async peer => Then(
        await SendAndReadAsync(peer, "r56", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.Schema = 10)),
        await SendAndReadAsync(peer, "r56_float", SentHistograms.OfFloats(peer.At()).With(static histogram => histogram.Schema = 10))));

    [PeerFact("prometheus"), Trait("Row", "57")]
    public Task Row_057_Schemas_that_are_not() => CompareAsync(static async peer => Then(
        await SendAsync(peer, "r57", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.Schema = -5)),
        await SendAsync(peer, "r57_b", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.Schema = 53)),
        await SendAsync(peer, "r57_c", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.Schema = -52))));

    [PeerFact("prometheus"), Trait("Row", "58")]
    public Task Row_058_A_second_span_that_goes_back() => CompareAsync(static peer => SendAsync(
        peer, "r58", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.PositiveSpans[1].Offset = -1)));

    [PeerFact("prometheus"), Trait("Row", "59")]
    public Task Row_059_Spans_that_are_longer_than_the_buckets() => CompareAsync(static peer => SendAsync(
        peer, "r59", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.PositiveSpans[1].Length = 3)));

    [PeerFact("prometheus"), Trait("Row", "60")]
    public Task Row_060_A_delta_below_zero_observations() => CompareAsync(static peer => SendAsync(
        peer, "r60", SentHistograms.Exponential(peer.At()).With(static histogram => histogram.PositiveDeltas[1] = -2)));

    [PeerFact("prometheus"), Trait("Row", "61")]
    public Task Row_061_A_count_of_floats_other_than_the_buckets() => CompareAsync(static peer => SendAndReadAsync(
        peer, "r61", SentHistograms.OfFloats(peer.At()).With(static histogram => histogram.CountFloat = 99)));

    [PeerFact("prometheus"), Trait("Row", "62")]
    public Task Row_062_A_stale_marker_behind_a_histogram() => CompareAsync(static peer => SendAndReadAsync(
        peer, "r62", SentHistograms.Exponential(peer.At()), SentHistograms.Stale(peer.At(1000))));

    private static async Task<string> SendAndReadAsync(Peer peer, string metric, params Histogram[] histograms) =>
        Then(await SendAsync(peer, metric, histograms), await peer.ReadAsync(metric));

    private static Task<string> SendAsync(Peer peer, string metric, params Histogram[] histograms)
    {
        var request = V2Of();
        Add(request, $"__name__={metric}").Histograms.AddRange(histograms.Select(SentHistograms.AsV2));
        return peer.WriteAsync(request);
    }
}
