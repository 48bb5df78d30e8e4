using System.Globalization;
using TsdbRemote.Blocks.Model;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd;

/// <summary>What is deleted a Prometheus that reads through the server does not see, by chunks or by samples, nor one that is given the blocks of a snapshot.</summary>
public sealed class DeleteTests
{
    private const long StepMs = 15_000;
    private const int Steps = 240;

    [PeerFact("prometheus")]
    public async Task A_Prometheus_that_reads_through_the_server_or_its_snapshot_sees_no_deleted_sample()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        await server.StartAsync();
        await using var proxy = new SamplesOnlyProxy(server.Client);
        await proxy.StartAsync();
        using var byChunks = new PrometheusProcess(directory.Path, "chunks");
        using var bySamples = new PrometheusProcess(directory.Path, "samples");
        await byChunks.StartAsync(BlockTests.ReaderConfig(server.Url));
        await bySamples.StartAsync(BlockTests.ReaderConfig(proxy.Url));

        // Within one window that is closed.
        long windowMs = BlockPeers.WindowMs;
        long startMs = TimeWindow.StartOf(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 2 * windowMs, windowMs);
        var writer = new SampleWriter(server.Client, seriesCount: 3);
        for (int step = 0; step < Steps; step++) Assert.True(await writer.WriteAsync(0, startMs + step * StepMs, CancellationToken.None));
        await DeleteAsync(server, "match[]=ledger{id=\"s00000\"}", startMs + 10 * StepMs, startMs + 20 * StepMs);
        await DeleteAsync(server, "match[]={id=~\"s0000[1]\"}", startMs, startMs + Steps * StepMs);
        long[] left = [.. Enumerable.Range(0, Steps).Where(static step => step is < 10 or > 20).Select(step => startMs + step * StepMs)];
        double end = (startMs + Steps * StepMs) / 1000.0;
        async Task CheckAsync(string when, params PrometheusProcess[] readers)
        {
            foreach (PrometheusProcess reader in readers)
            {
                Assert.Equal((when, "s00000,s00002"), (when, await NamesAsync(reader, end)));
                Assert.Equal(left, await TimesAsync(reader, "s00000", end));
                Assert.Equal(Steps, (await TimesAsync(reader, "s00002", end)).Length);
            }
        }

        await CheckAsync("in memory", byChunks, bySamples);
        await server.FlushAsync();
        await CheckAsync("in a table", byChunks, bySamples);
        await server.CompactAsync();
        await CheckAsync("in a block", byChunks, bySamples);

        // The block is written anew, and shows nothing to who looks into it without the server.
        await DeleteAsync(server, "match[]=ledger{id=\"s00002\"}", startMs, startMs);
        await DeleteAsync(server, "match[]=ledger{id=\"s00002\"}", startMs + StepMs, startMs + StepMs);
        using HttpResponseMessage cleaned = await server.Client.PostAsync(new Uri("/api/v1/admin/tsdb/clean_tombstones", UriKind.Relative), null);
        Assert.True(cleaned.IsSuccessStatusCode, await cleaned.Content.ReadAsStringAsync());
        using HttpResponseMessage made = await server.Client.PostAsync(new Uri("/api/v1/admin/tsdb/snapshot", UriKind.Relative), null);
        string name = System.Text.Json.Nodes.JsonNode.Parse(await made.Content.ReadAsStringAsync())!["data"]!["name"]!.GetValue<string>();
        using var onBlocks = new PrometheusProcess(directory.Path, "snapshot", "--storage.tsdb.retention.time=10y");
        Directory.CreateDirectory(onBlocks.DataDir);
        Assert.Single(BlockPeers.CopyBlocks(Path.Combine(server.DataDir, "snapshots", name, "blocks"), onBlocks.DataDir));
        await onBlocks.StartAsync("global: {}");
        foreach (PrometheusProcess reader in (PrometheusProcess[])[byChunks, bySamples, onBlocks])
        {
            Assert.Equal(left, await TimesAsync(reader, "s00000", end));
            Assert.Equal(startMs + 2 * StepMs, (await TimesAsync(reader, "s00002", end))[0]);
            Assert.Equal("s00000,s00002", await NamesAsync(reader, end));
        }

        Assert.True(proxy.Answered > 0);
    }

    private static async Task DeleteAsync(ServerProcess server, string match, long fromMs, long toMs)
    {
        string query = string.Create(CultureInfo.InvariantCulture, $"{match}&start={fromMs / 1000.0:F3}&end={toMs / 1000.0:F3}");
        using HttpResponseMessage answer = await server.Client.PutAsync(new Uri($"/api/v1/admin/tsdb/delete_series?{query}", UriKind.Relative), null);
        Assert.True(answer.StatusCode == System.Net.HttpStatusCode.NoContent, await answer.Content.ReadAsStringAsync());
    }

    private static async Task<string> NamesAsync(PrometheusProcess reader, double end)
    {
        string[] lines = (await reader.QueryAsync("count by (id) (count_over_time(ledger[2h]))", end)).Split('\n');
        return string.Join(',', lines.Select(static line => line[(line.IndexOf("\"id\":\"", StringComparison.Ordinal) + 6)..][..6]));
    }

    private static async Task<long[]> TimesAsync(PrometheusProcess reader, string id, double end)
    {
        string answer = await reader.QueryAsync($"ledger{{id=\"{id}\"}}[2h]", end);
        string values = answer[(answer.IndexOf('}', StringComparison.Ordinal) + 1)..];
        return [.. System.Text.Json.Nodes.JsonNode.Parse(values)!.AsArray().Select(static pair => (long)Math.Round(pair![0]!.GetValue<double>() * 1000))];
    }
}
