using System.Text.Json.Nodes;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.EndToEnd;

/// <summary>Blocks of block-only mode say that they end in the future, for their range is their window's: what a real Prometheus makes of them.</summary>
public sealed class OpenWindowTests : IDisposable
{
    private const string Hint = "from-out-of-order";
    private const string Refused = "prometheus_target_scrapes_sample_out_of_bounds_total";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly WorkDirectory _directory = new();
    private readonly KnownSeries _series = new("written_before", ("job", "block only"));

    public void Dispose() => _directory.Dispose();

    [PeerFact("prometheus")]
    public async Task A_Prometheus_on_blocks_of_an_open_window_answers_them_and_takes_and_keeps_what_it_scrapes()
    {
        using PrometheusProcess prometheus = await StartOnBlocksAsync(static _ => { });
        Assert.Equal(_series.Samples, await WrittenBeforeAsync(prometheus));
        await ScrapedAsync(prometheus, 3);
        Assert.Equal(0, await prometheus.OwnMetricAsync(Refused));

        // Its log is replayed with the same block beside it.
        double end = NowSeconds();
        string scraped = await prometheus.QueryAsync("up[5m]", end);
        Assert.NotEmpty(scraped);
        Assert.Equal(0, prometheus.Terminate(Patience));
        await prometheus.StartAsync(ScrapeItself(prometheus));
        Assert.Equal(scraped, await prometheus.QueryAsync("up[5m]", end));
        Assert.Equal(_series.Samples, await WrittenBeforeAsync(prometheus));
        string query = FormattableString.Invariant($"count_over_time(up[1m] @ {end:F3}) < bool count_over_time(up[2m])");
        await Until.TrueAsync(async () => (await prometheus.QueryAsync(query, NowSeconds())).EndsWith("\"1\"]", StringComparison.Ordinal), Patience, () => $"nothing more is scraped:\n{prometheus.Output}");
        Assert.Equal(0, await prometheus.OwnMetricAsync(Refused));
    }

    /// <summary>Why the hint is there.</summary>
    [PeerFact("prometheus")]
    public async Task Without_the_hint_it_refuses_what_it_scrapes_until_the_window_ends()
    {
        using PrometheusProcess prometheus = await StartOnBlocksAsync(static block =>
        {
            string path = Path.Combine(block, BlockMeta.FileName);
            JsonNode meta = JsonNode.Parse(File.ReadAllText(path))!;
            Assert.True(meta["compaction"]!.AsObject().Remove("hints"));
            File.WriteAllText(path, meta.ToJsonString());
        });
        Assert.Equal(_series.Samples, await WrittenBeforeAsync(prometheus));
        await Until.TrueAsync(
            async () => await prometheus.OwnMetricAsync(Refused) > 0, Patience, () => $"nothing is refused:\n{prometheus.Output}");
        Assert.Empty(await prometheus.QueryAsync("up[5m]", NowSeconds()));
    }

    /// <summary>Two flushes of an open window in block-only mode, whose blocks were compacted, and a Prometheus that scrapes itself beside a copy of them.</summary>
    private async Task<PrometheusProcess> StartOnBlocksAsync(Action<string> change)
    {
        using var server = new ServerProcess(_directory.Path, "--storage:integration:write_path=blocks");
        await server.StartAsync();
        long newest = NewestTime();
        foreach (int half in (int[])[0, 1])
        {
            Sample[] samples = [.. Enumerable.Range(0, 60).Select(i => Sample.Of(newest - (119 - half * 60 - i) * 1000, half * 60 + i))];
            _series.Samples.AddRange(samples);
            await Deliveries.SendAsync(server.Client, _series, samples);
            await server.ComeToRestAsync(Patience);
        }

        var prometheus = new PrometheusProcess(_directory.Path, "beside", "--storage.tsdb.retention.time=10y");
        Directory.CreateDirectory(prometheus.DataDir);
        IReadOnlyList<string> blocks = BlockPeers.CopyBlocks(server.BlocksDir, prometheus.DataDir);
        BlockMeta[] metas = [.. blocks.Select(static block => BlockMeta.Read(new LocalFileSystem(), Path.Combine(block, BlockMeta.FileName)))];
        Assert.All(metas, static meta => Assert.Equal([Hint], meta.Compaction.Hints));
        Assert.True(metas.Max(static meta => meta.EndTimeMs) > DateTimeOffset.UtcNow.AddMinutes(3).ToUnixTimeMilliseconds(), "the window ends in the future");
        foreach (string block in blocks) change(block);
        await prometheus.StartAsync(ScrapeItself(prometheus));
        return prometheus;
    }

    /// <summary>Now; or, where a window ends too soon for the test, a time in the next one that is not yet too far ahead to be taken.</summary>
    private static long NewestTime()
    {
        long now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        return BlockPeers.WindowMs - now % BlockPeers.WindowMs > 6 * 60_000 ? now : now + 9 * 60_000;
    }

    private static double NowSeconds() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    private static Task ScrapedAsync(PrometheusProcess prometheus, int samples) => Until.TrueAsync(
        async () => (await prometheus.QueryAsync($"count_over_time(up[1m]) >= {samples}", NowSeconds())).Length > 0,
        Patience,
        () => $"nothing is scraped:\n{prometheus.Output}");

    private async Task<List<Sample>> WrittenBeforeAsync(PrometheusProcess prometheus)
    {
        var named = new LabelMatcher { Type = LabelMatcher.Types.Type.Eq, Name = "__name__", Value = "written_before" };
        Dictionary<string, List<Sample>> read = await SampleReader.ReadStreamedAsync(prometheus.Client, named, 0, long.MaxValue / 2);
        return Assert.Contains(_series.Text, read);
    }

    private static string ScrapeItself(PrometheusProcess self) => $$"""
        global: {scrape_interval: 1s}
        scrape_configs:
          - job_name: itself
            static_configs: [{targets: ["127.0.0.1:{{self.Port}}"]}]
        """;
}
