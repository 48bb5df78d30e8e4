using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

public sealed class HistogramBuilderStateTests
{
    [Fact]
    public void A_builder_that_serves_many_series_in_turn_makes_the_chunks_that_one_for_each_makes() =>
        HistogramGen.Series.Array[1, 4].Sample(static series =>
        {
            var shared = new HistogramChunkBuilder(HistogramHistory.WindowMs);
            var parked = new byte[series.Length][];
            var made = series.Select(static _ => new List<MadeChunk>()).ToArray();
            for (int i = 0; i < series.Max(static samples => samples.Count); i++)
            {
                for (int s = 0; s < series.Length; s++)
                {
                    if (i >= series[s].Count) continue;
                    if (i == 0) shared.Reset();
                    else shared.LoadState(parked[s]);
                    Append(shared, series[s][i], made[s]);
                    parked[s] = new byte[shared.StateBytes + 7];
                    shared.SaveState(parked[s]);
                    Assert.Equal(shared.Bytes, parked[s].AsSpan(shared.StateBytes - shared.ByteLength, shared.ByteLength));
                }
            }

            for (int s = 0; s < series.Length; s++)
            {
                shared.LoadState(parked[s]);
                made[s].Add(Take(shared));
                Assert.Equal(HistogramChunks.Make(series[s], HistogramHistory.WindowMs), made[s]);
            }
        });

    [Fact]
    public void A_place_that_is_too_small_is_refused()
    {
        var builder = new HistogramChunkBuilder(0);
        builder.TryAppend(1, HistogramGen.Integer(1, 1, 2));
        byte[] state = new byte[builder.StateBytes];
        builder.SaveState(state);
        Assert.Throws<ArgumentException>(() => builder.SaveState(new byte[state.Length - 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => builder.LoadState(state.AsSpan(0, state.Length - 1)));
    }

    private static void Append(HistogramChunkBuilder builder, HistogramSample sample, List<MadeChunk> made)
    {
        if (builder.TryAppend(sample.TimeMs, sample.Histogram)) return;
        made.Add(Take(builder));
        builder.StartNext();
        Assert.True(builder.TryAppend(sample.TimeMs, sample.Histogram));
    }

    private static MadeChunk Take(HistogramChunkBuilder builder) =>
        new(builder.FirstTimeMs, builder.LastTimeMs, builder.Encoding, Convert.ToHexStringLower(builder.Bytes));
}
