using System.Globalization;
using System.Text;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;
using Xunit.Abstractions;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.EndToEnd;

/// <summary>Blocks cross the border both ways: real promtool and Prometheus read ours, and we serve theirs; all answers are equal.</summary>
public sealed class BlockTests(BlockPeers peers, ITestOutputHelper output) : IClassFixture<BlockPeers>
{
    // Blocks are read as they were written: nothing is merged, so nothing is encoded anew.
    private static readonly string[] AsTheyAre =
    [
        "--storage.tsdb.retention.time=10y", "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h",
        "--no-storage.tsdb.allow-overlapping-compaction",
    ];

    private static readonly BlockVerifyOptions AnyBlock = BlockVerifyOptions.Default;

    [PeerFact("prometheus", "promtool")]
    public async Task Promtool_lists_analyzes_and_dumps_our_blocks_and_the_dump_is_what_was_written()
    {
        await peers.ReadyAsync();
        string copy = peers.NewDirectory("dump");
        IReadOnlyList<string> blocks = BlockPeers.CopyBlocks(peers.Server.BlocksDir, copy);
        Assert.True(blocks.Count > 6, "six windows, and overlapping blocks of late data");

        List<string> list = await Promtool.RunAsync("tsdb", "list", copy);
        foreach (string block in blocks)
        {
            using BlockReader reader = Open(block);
            string line = Assert.Single(list, text => text.StartsWith(Path.GetFileName(block), StringComparison.Ordinal));
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            string[] figures = [$"{reader.Meta.Stats.Samples}", $"{reader.Meta.Stats.Chunks}", $"{reader.Meta.Stats.Series}"];
            Assert.True(figures.All(fields.Contains), $"{line}: not {string.Join(", ", figures)}");
            List<string> analysis = await Promtool.RunAsync("tsdb", "analyze", "--extended", copy, Path.GetFileName(block));
            Assert.Contains(analysis, text => text == $"Total Series: {reader.Meta.Stats.Series}");
        }

        Dictionary<string, List<Sample>> dump = await Promtool.DumpAsync(copy);
        AssertEqual(peers.History, dump, static sample => double.IsNaN(sample.Value) ? sample with { ValueBits = StaleMarker.NormalNaN } : sample);
    }

    [PeerFact("prometheus", "promtool")]
    public async Task A_Prometheus_on_our_blocks_answers_as_one_that_took_the_samples_itself()
    {
        await peers.ReadyAsync();
        using var onOurs = new PrometheusProcess(peers.NewDirectory("ours"), "prometheus", AsTheyAre);
        Directory.CreateDirectory(onOurs.DataDir);
        IReadOnlyList<string> blocks = BlockPeers.CopyBlocks(peers.Server.BlocksDir, onOurs.DataDir);
        await onOurs.StartAsync("global: {}\n");

        await AssertSameAnswersAsync(peers.Prometheus, onOurs);
        AssertEqual(peers.History, await ReadAllAsync(onOurs.Client), static sample => sample);

        // What it has read are these very blocks, and chunks among them that no Prometheus would have written.
        Assert.Equal(blocks, BlockPeers.BlocksOf(onOurs.DataDir));
        List<XorScan> chunks = [.. blocks.SelectMany(ScanChunks)];
        int long480 = chunks.Count(static chunk => chunk.Samples == 480);
        int wide = chunks.Sum(static chunk => chunk.Wide);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{blocks.Count} blocks, {chunks.Count} chunks, {long480} of 480 samples; {wide} of {chunks.Sum(static chunk => chunk.Opened)} windows wider than needed"));
        Assert.True(long480 > 200, $"{long480} chunks of 480 samples");
        Assert.True(chunks.TrueForAll(static chunk => chunk.Samples <= 480), "no chunk is longer");
        Assert.True(wide > 1000, $"{wide} windows wider than needed");
    }

    [PeerFact("prometheus", "promtool")]
    public async Task A_Prometheus_compacts_our_blocks_the_overlapping_ones_too_and_nothing_is_lost()
    {
        await peers.ReadyAsync();
        using var onOurs = new PrometheusProcess(
            peers.NewDirectory("compacting"), "prometheus", "--storage.tsdb.retention.time=10y", "--web.enable-remote-write-receiver");
        Directory.CreateDirectory(onOurs.DataDir);
        IReadOnlyList<string> before = BlockPeers.CopyBlocks(peers.Server.BlocksDir, onOurs.DataDir);
        int overlapping = before.Select(Open).GroupBy(static reader => { reader.Dispose(); return reader.MinTimeMs; }).Count(static window => window.Count() > 1);
        Assert.True(overlapping > 0);
        await onOurs.StartAsync("global: {}\n");

        // Two samples, three hours apart, make it cut its head and then compact all that it has.
        foreach (int minutes in new[] { 1, 185 }) await Deliveries.SendAsync(onOurs.Client, BlockPeers.Beyond, Sample.Of(peers.WindowsEndMs + minutes * 60_000, 1));
        await Until.TrueAsync(
            async () => await onOurs.OwnMetricAsync("prometheus_tsdb_vertical_compactions_total") >= overlapping
                && await onOurs.OwnMetricAsync("prometheus_tsdb_blocks_loaded") < before.Count,
            TimeSpan.FromSeconds(60),
            () => $"not all is compacted:\n{onOurs.Output}");
        Assert.Equal(0, await onOurs.OwnMetricAsync("prometheus_tsdb_compactions_failed_total"));
        AssertEqual(peers.History, await ReadAllAsync(onOurs.Client), static sample => sample);
    }

    [PeerFact("prometheus", "promtool")]
    public async Task Blocks_of_Prometheus_put_into_our_directory_are_adopted_and_answer_as_they_do_there()
    {
        await peers.ReadyAsync();
        string snapshot = await peers.SnapshotAsync();
        using var theirs = new PrometheusProcess(peers.NewDirectory("theirs"), "prometheus", [.. AsTheyAre, "--web.enable-admin-api"]);
        Directory.CreateDirectory(theirs.DataDir);
        BlockPeers.CopyBlocks(snapshot, theirs.DataDir);
        await theirs.StartAsync("global: {}\n");
        await DeleteSeriesAsync(theirs, "goroutines{instance=\"10.0.0.1:9100\"}", peers.History.StartMs + 3_600_000, peers.History.StartMs + 5 * 3_600_000);
        await DeleteSeriesAsync(theirs, "queue_length{instance=\"10.0.0.2:9100\"}", 0, peers.WindowsEndMs);

        await AssertAdoptedAsync(theirs, PromQueries.All);
    }

    [PeerFact("prometheus", "promtool")]
    public async Task Blocks_of_promtool_put_into_our_directory_are_adopted_and_answer_as_they_do_there()
    {
        await peers.ReadyAsync();
        using var theirs = new PrometheusProcess(peers.NewDirectory("theirs"), "prometheus", AsTheyAre);
        string text = Path.Combine(peers.NewDirectory("text"), "openmetrics.txt");
        KnownSeries[] chosen = [.. peers.History.Series.Where(static series => series.Text.Contains("temperature_celsius", StringComparison.Ordinal) || series.Text.Contains("cpu_seconds", StringComparison.Ordinal))];
        await File.WriteAllTextAsync(text, OpenMetrics(chosen));
        Directory.CreateDirectory(theirs.DataDir);
        await Promtool.RunAsync("tsdb", "create-blocks-from", "openmetrics", text, theirs.DataDir);
        Assert.NotEmpty(BlockPeers.BlocksOf(theirs.DataDir));
        await theirs.StartAsync("global: {}\n");

        await AssertAdoptedAsync(theirs,
        [
            ("all samples", "{__name__=~\".+\"}[10h]"), ("rate", "rate(cpu_seconds_total[10m])"), ("sum by", "sum by (job) (temperature_celsius)"),
            ("offset", "temperature_celsius offset 2h"), ("deviation", "stddev_over_time(temperature_celsius[3h])"),
        ]);
    }

    [PeerFact("prometheus", "promtool")]
    public async Task The_verifier_accepts_every_block_of_ours_and_of_Prometheus()
    {
        await peers.ReadyAsync();
        IReadOnlyList<string> blocks = [.. BlockPeers.BlocksOf(peers.Server.BlocksDir), .. BlockPeers.BlocksOf(await peers.SnapshotAsync())];
        Assert.All(blocks, AssertAcceptable);
    }

    [PeerFact("prometheus", "promtool")]
    public async Task Blocks_that_were_compacted_here_are_read_by_promtool_and_by_a_Prometheus_as_if_nothing_had_happened()
    {
        await peers.ReadyAsync();
        using var server = new ServerProcess(peers.NewDirectory("compacting"));
        await server.StartAsync();
        IReadOnlyList<string> before = BlockPeers.CopyBlocks(peers.Server.BlocksDir, server.BlocksDir);
        await server.CompactAsync();
        IReadOnlyList<string> after = BlockPeers.BlocksOf(server.BlocksDir);
        var status = await server.StatusAsync();
        Assert.True(status["blockCompactions"]!["count"]!.GetValue<int>() > 0 && after.Count <= before.Count / 2, $"{before.Count} blocks became {after.Count}: {status["blockCompactions"]}");
        Assert.Empty(status["damages"]!.AsArray());
        Assert.All(after, AssertAcceptable);
        AssertEqual(peers.History, await ReadAllAsync(server.Client), static sample => sample);

        string copy = peers.NewDirectory("dump");
        IReadOnlyList<string> blocks = BlockPeers.CopyBlocks(server.BlocksDir, copy);
        List<string> list = await Promtool.RunAsync("tsdb", "list", copy);
        foreach (string block in blocks)
        {
            using BlockReader reader = Open(block);
            string line = Assert.Single(list, text => text.StartsWith(Path.GetFileName(block), StringComparison.Ordinal));
            Assert.Contains($"{reader.Meta.Stats.Samples}", line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
            List<string> analysis = await Promtool.RunAsync("tsdb", "analyze", copy, Path.GetFileName(block));
            Assert.Contains($"Total Series: {reader.Meta.Stats.Series}", analysis);
        }

        Dictionary<string, List<Sample>> dump = await Promtool.DumpAsync(copy);
        AssertEqual(peers.History, dump, static sample => double.IsNaN(sample.Value) ? sample with { ValueBits = StaleMarker.NormalNaN } : sample);

        using var onCopy = new PrometheusProcess(peers.NewDirectory("on-compacted"), "prometheus", AsTheyAre);
        Directory.CreateDirectory(onCopy.DataDir);
        BlockPeers.CopyBlocks(server.BlocksDir, onCopy.DataDir);
        await onCopy.StartAsync("global: {}\n");
        await AssertSameAnswersAsync(peers.Prometheus, onCopy);
        AssertEqual(peers.History, await ReadAllAsync(onCopy.Client), static sample => sample);
    }

    /// <summary>Puts the blocks of a running Prometheus into a running server; a third one, that reads through the server, must answer as the first.</summary>
    private async Task AssertAdoptedAsync(PrometheusProcess theirs, IReadOnlyList<(string, string)> queries)
    {
        string directory = peers.NewDirectory("adopting");
        using var server = new ServerProcess(directory, "--storage:integration:block_compaction=false");
        await server.StartAsync();
        IReadOnlyList<string> blocks = BlockPeers.CopyBlocks(theirs.DataDir, server.BlocksDir);
        Assert.All(blocks, AssertAcceptable);
        await server.CompactAsync();

        var status = await server.StatusAsync();
        Assert.Equal(blocks.Select(Path.GetFileName), status["blocks"]!.AsArray().Select(static block => block!["ulid"]!.GetValue<string>()).Order(StringComparer.Ordinal));
        Assert.Equal(blocks.Count, status["conversions"]!["blocksAdopted"]!.GetValue<int>());
        Assert.Empty(status["damages"]!.AsArray());
        using var reader = new PrometheusProcess(directory, "reader");
        await reader.StartAsync(ReaderConfig(server.Url));
        await AssertSameAnswersAsync(theirs, reader, queries);
        Dictionary<string, List<Sample>> all = await ReadAllAsync(theirs.Client);
        AssertEqual(all, await ReadAllAsync(server.Client));
        Assert.Equal(0, server.Terminate(TimeSpan.FromSeconds(40)));

        // Compacted, what somebody deleted there is gone for good.
        using var compacting = new ServerProcess(directory);
        await compacting.StartAsync();
        await compacting.CompactAsync();
        Assert.True(BlockPeers.BlocksOf(compacting.BlocksDir).Count < blocks.Count);
        Assert.All(BlockPeers.BlocksOf(compacting.BlocksDir), AssertAcceptable);
        AssertEqual(all, await ReadAllAsync(compacting.Client));
    }

    public static string ReaderConfig(string url) => $$"""
        global: {}
        remote_read:
          - url: {{url}}/api/v1/read
            read_recent: true
        """;

    private async Task AssertSameAnswersAsync(PrometheusProcess expected, PrometheusProcess actual, IReadOnlyList<(string, string)>? queries = null)
    {
        IReadOnlyList<string> differences = await PromQueries.DifferencesAsync(
            expected, actual, peers.History.StartMs, peers.History.EndMs, queries ?? PromQueries.All);
        Assert.True(differences.Count == 0, $"{differences.Count} differences\n{string.Join("\n\n", differences.Take(10))}");
    }

    private static void AssertAcceptable(string block)
    {
        BlockReport report = BlockVerifier.Verify(new LocalFileSystem(), block, AnyBlock, CancellationToken.None);
        Assert.True(report.IsAcceptable, $"{report}\n{string.Join('\n', report.Findings)}");
        using BlockReader reader = Open(block);
        Assert.Equal(reader.Meta.Stats.Samples, report.Counts.Samples);
    }

    private static BlockReader Open(string block) => BlockReader.Open(new LocalFileSystem(), block, mmap: true);

    private static IEnumerable<XorScan> ScanChunks(string block)
    {
        using BlockReader reader = Open(block);
        using BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, CancellationToken.None);
        using var arena = new NativeArena();
        List<SeriesChunk> chunks = [];
        while (cursor.MoveNext()) cursor.AddChunks(TimeRange.All, 0, arena, chunks);
        return [.. chunks.Select(static chunk => XorScan.Of(chunk.Data.Span))];
    }

    /// <summary>Everything that a server holds, by remote read: value bits and all.</summary>
    private static Task<Dictionary<string, List<Sample>>> ReadAllAsync(HttpClient client)
    {
        var all = new LabelMatcher { Type = LabelMatcher.Types.Type.Neq, Name = "__name__", Value = "beyond_the_history" };
        return SampleReader.ReadStreamedAsync(client, all, 0, long.MaxValue / 2);
    }

    private static void AssertEqual(ScrapeHistory history, Dictionary<string, List<Sample>> actual, Func<Sample, Sample> comparable) => AssertEqual(
        history.Series.ToDictionary(static series => series.Text, series => series.Samples.ConvertAll(sample => comparable(sample))),
        actual.ToDictionary(static series => series.Key, series => series.Value.ConvertAll(sample => comparable(sample))));

    private static void AssertEqual(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual)
    {
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
        foreach ((string labels, List<Sample> samples) in expected)
        {
            List<Sample> found = actual[labels];
            int same = samples.Zip(found).TakeWhile(static pair => pair.First == pair.Second).Count();
            Assert.True(
                same == samples.Count && same == found.Count,
                $"{labels}: {samples.Count} samples expected, {found.Count} found, the first {same} equal; then {At(samples, same)} and {At(found, same)}");
        }
    }

    private static string At(List<Sample> samples, int index) => index < samples.Count ? $"{samples[index]}" : "the end";

    private static async Task DeleteSeriesAsync(PrometheusProcess prometheus, string selector, long startMs, long endMs)
    {
        string uri = string.Create(
            CultureInfo.InvariantCulture, $"/api/v1/admin/tsdb/delete_series?match[]={Uri.EscapeDataString(selector)}&start={startMs / 1000.0:F3}&end={endMs / 1000.0:F3}");
        using HttpResponseMessage answer = await prometheus.Client.PostAsync(new Uri(uri, UriKind.Relative), null);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }

    private static string OpenMetrics(IEnumerable<KnownSeries> chosen)
    {
        var text = new StringBuilder();
        foreach (KnownSeries series in chosen)
        {
            string name = series.Labels.Single(static label => label.Name == "__name__").Value;
            string labels = KnownSeries.Print(series.Labels.Where(static label => label.Name != "__name__")).Replace(", ", ",", StringComparison.Ordinal);
            foreach (Sample sample in series.Samples.Where(static sample => sample.ValueBits != StaleMarker.Bits))
                text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {sample.Value} {sample.TimeMs / 1000}.{sample.TimeMs % 1000:D3}\n");
        }

        return text.Append("# EOF\n").ToString();
    }
}
