using System.Net;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.Wire;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;
using static TsdbRemote.Tests.Endpoints.SentHistograms;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What was sent is read back in both forms, from memory, from tables and from blocks.</summary>
public sealed class HistogramReadTests
{
    private static readonly double Stale = BitConverter.UInt64BitsToDouble(StaleMarker.Bits);

    /// <summary>Each kind alone, and one series of all of them in which a float and a histogram have one time.</summary>
    private static readonly (string Name, (long, double)[] Floats, Histogram[] Histograms, LaneSample[] Read)[] Sent =
    [
        ("floats", [(1, 1), (2, Stale)], [], [Float(1, 1), Float(2, Stale)]),
        ("integers", [], [Exponential(1), Marker(2)], [Of(Exponential(1)), Of(Marker(2))]),
        ("floaths", [], [OfFloats(1), OfFloats(2)], [Of(OfFloats(1)), Of(OfFloats(2))]),
        ("custom", [], [Custom(1)], [Of(Custom(1))]),
        ("mixed", [(2, 2), (5, 5)], [Exponential(1), Exponential(2), OfFloats(3), Custom(4), Exponential(6)],
            [Of(Exponential(1)), Float(2, 2), Of(OfFloats(3)), Of(Custom(4)), Float(5, 5), Of(Exponential(6))]),
    ];

    [Theory, Trait("Row", "87"), Trait("Row", "88"), Trait("Row", "92")]
    [InlineData("memory")]
    [InlineData("tables")]
    [InlineData("blocks")]
    public async Task Each_kind_comes_back_in_both_forms(string from)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        foreach ((string name, (long, double)[] floats, Histogram[] histograms, _) in Sent)
        {
            TimeSeries series = SeriesOf($"__name__={name}", floats);
            series.Histograms.AddRange(histograms);
            Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(series))).Status);
        }

        if (from != "memory") await server.Engine.FlushAsync(CancellationToken.None);
        if (from == "blocks") await server.Engine.CompactBlocksAsync(CancellationToken.None);
        Assert.Equal(from == "blocks", server.Engine.Stats().Blocks.Length > 0);

        IReadOnlyList<TimeSeries> samples = await server.EverythingAsync();
        Assert.Equal(Sent.Select(static sent => sent.Name).Order(), samples.Select(static series => series.Labels[0].Value));
        Query everything = Query(long.MinValue, long.MaxValue, Re("__name__", ".+"));
        Answer streamed = await server.ReadAsync(Read(everything).Accepting(1));
        foreach ((string name, _, _, LaneSample[] read) in Sent)
        {
            AssertSame(read, SamplesOf(samples.Single(series => series.Labels[0].Value == name)));
            IEnumerable<ChunkedSeries> frames = streamed.AsFrames().SelectMany(static frame => frame.ChunkedSeries);
            AssertSame(read, [.. frames.Where(series => series.Labels[0].Value == name).SelectMany(SamplesOf)]);
        }
    }

    private static void AssertSame(LaneSample[] expected, List<LaneSample> found)
    {
        Assert.Equal(expected.Select(static sample => sample.TimeMs), found.Select(static sample => sample.TimeMs));
        foreach ((LaneSample wanted, LaneSample given) in expected.Zip(found)) Assert.True(wanted.IsSame(given), $"wanted {wanted}, read {given}");
    }

    private static List<LaneSample> SamplesOf(TimeSeries series) =>
    [
        .. series.Samples.Select(static sample => Float(sample.Timestamp, sample.Value)).Concat(series.Histograms.Select(Of))
            .OrderBy(static sample => sample.TimeMs),
    ];

    private static IEnumerable<LaneSample> SamplesOf(ChunkedSeries series) => series.Chunks.SelectMany(static chunk => chunk.Type switch
    {
        Chunk.Types.Encoding.Xor => Floats(chunk.Data.Span),
        _ => HistogramGen.Decode(chunk.Data.Span, (ChunkEncoding)chunk.Type).Select(static sample => new LaneSample(sample.TimeMs, sample.Histogram)),
    });

    private static List<LaneSample> Floats(ReadOnlySpan<byte> chunk)
    {
        List<LaneSample> samples = [];
        var reader = new XorChunkReader(chunk);
        while (reader.MoveNext()) samples.Add(new LaneSample(reader.TimeMs, reader.ValueBits, null));
        return samples;
    }

    private static Histogram Marker(long timeMs) => new() { CountInt = 0, Sum = Stale, Timestamp = timeMs };

    private static LaneSample Float(long timeMs, double value) => new(timeMs, BitConverter.DoubleToUInt64Bits(value), null);

    private static LaneSample Of(Histogram histogram) => new(histogram.Timestamp, HistogramMessages.From(histogram));
}
