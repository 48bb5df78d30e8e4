using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Wire;

namespace TsdbRemote.Tests.Endpoints;

/// <content>And what a server in this process has kept of them.</content>
internal static partial class SentHistograms
{
    /// <summary>What is stored of a histogram, when it is read as SAMPLES; the series must have it only.</summary>
    public static async Task AssertReadsAsync(ServerUnderTest server, string name, params Histogram[] expected)
    {
        TimeSeries series = Assert.Single(await server.SamplesAsync(Requests.Eq("__name__", name)));
        Assert.Equal(expected.Select(static histogram => histogram.Timestamp), series.Histograms.Select(static histogram => histogram.Timestamp));
        for (int i = 0; i < expected.Length; i++)
        {
            NativeHistogram wanted = HistogramMessages.From(expected[i]);
            Assert.True(wanted.SaysTheSameAs(HistogramMessages.From(series.Histograms[i])), $"wanted {expected[i]}, read {series.Histograms[i]}");
        }
    }
}
