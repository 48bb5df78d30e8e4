using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;
using Labels = TsdbRemote.Blocks.Model.Labels;

namespace TsdbRemote.Tests.Wire;

public sealed class HistogramWireTests
{
    [Fact]
    public void Lists_longer_than_a_histogram_may_have_are_seen_to_be_and_not_kept()
    {
        Histogram large = SentHistograms.Exponential();
        large.PositiveSpans.Clear();
        large.PositiveSpans.Add(new Protos.Prometheus.BucketSpan { Length = 1_000_000 });
        large.PositiveDeltas.Add(Enumerable.Repeat(0L, 999_995));
        TimeSeries series = Requests.SeriesOf("__name__=h", (1, 1));
        series.Histograms.Add([large, SentHistograms.Exponential(7)]);
        using var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(Requests.V1(series).ToByteArray(), batch, DecodeLimits.Default, out _));
        Assert.Equal([false, true], batch.Histograms.ToArray().Select(static entry => entry.IsValid));
        Assert.Contains("spans need 1000000 buckets, have 65537 buckets", batch.ExplainHistogram(0), StringComparison.Ordinal);
        Assert.Equal(7, batch.HistogramAt(1).PositiveBuckets.Count + batch.HistogramAt(1).NegativeBuckets.Count);
        Assert.Equal((1, 7), (batch.MinTimeMs, batch.MaxTimeMs));
    }

    [Fact]
    public void What_is_logged_of_a_request_has_the_histograms_as_they_came()
    {
        byte[][] messages = [SentHistograms.AsV2(SentHistograms.Custom(5)).ToByteArray(), SentHistograms.OfFloats(6).ToByteArray()];
        using PooledBuffer run = PooledBuffer.Rent(16);
        foreach (byte[] message in messages) RemoteWriteV1.EncodeHistogram(run, message);
        using PooledBuffer output = PooledBuffer.Rent(16);
        RemoteWriteV1.EncodeSeries(output, Labels.Encode(("__name__", "h")), [TsdbRemote.Blocks.Model.Sample.Of(1, 2)], run.Span);
        TimeSeries parsed = Assert.Single(WriteRequest.Parser.ParseFrom(output.Span).Timeseries);
        Assert.Equal([SentHistograms.Custom(5), SentHistograms.OfFloats(6)], parsed.Histograms);
        Assert.Equal((1, 2), (parsed.Samples.Single().Timestamp, parsed.Samples.Single().Value));
        using var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(output.Span.ToArray(), batch, DecodeLimits.Default, out _));
        Assert.Equal(messages, [batch.HistogramMessage(0).ToArray(), batch.HistogramMessage(1).ToArray()]);
    }
}
