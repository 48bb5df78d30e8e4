using System.Globalization;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

public sealed class LargeReadTests
{
    [Fact]
    public async Task A_read_of_many_series_loads_no_bloom_filter_and_one_of_a_single_series_asks_each()
    {
        const int series = 400; // two batches, each of which alone would be few enough to ask the filters
        var files = new CrashFileSystem();
        files.MakeDir("/disk");
        await using EngineHarness engine = EngineHarness.OpenStepwise(files);
        for (int table = 0; table < 2; table++)
        {
            long time = 1000 + table;
            await engine.WriteAsync([.. Enumerable.Range(0, series).Select(i => (LabelsOf(i), new[] { Sample.Of(time, i) }))]);
            engine.FlushByStep();
        }

        Assert.Equal(series, engine.ReadAll().Count);
        EngineStats all = engine.Engine.Stats();
        Assert.Equal((0, 0), (all.BloomHits, all.BloomMisses));

        Assert.Single(engine.Read(TimeRange.All, Matcher.Create(MatcherType.Equal, "instance", "7")));
        EngineStats one = engine.Engine.Stats();
        Assert.Equal((0, 2), (one.BloomHits, one.BloomMisses));
    }

    private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "up"), ("instance", series.ToString(CultureInfo.InvariantCulture)));
}
