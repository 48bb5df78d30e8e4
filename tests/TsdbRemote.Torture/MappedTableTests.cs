using System.Text.Json.Nodes;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Torture;

/// <summary>What somebody does to a file under a server that has it mapped.</summary>
public sealed class MappedTableTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task T49_a_table_that_is_cut_while_it_is_mapped_costs_that_table_and_is_named_at_the_next_start_at_the_latest()
    {
        using var directory = new TempDirectory();
        var ledger = new TortureLedger(DateTimeOffset.UtcNow.AddDays(-50).ToUnixTimeMilliseconds());
        using var server = new TortureServer(directory["data"], ["--storage:integration:sstable_to_block_conversion=false", "--storage:lsm:sstable_levels=2", "--admin:enabled=true"]);
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        for (int table = 0; table < 2; table++)
        {
            using var stop = new CancellationTokenSource();
            long before = ledger.Acknowledged;
            Task writer = new TortureWriter(ledger, table).RunAsync(server.Client, stop.Token);
            Assert.True(await TortureServer.UntilAsync(() => Task.FromResult(ledger.Acknowledged >= before + 50 * TortureLedger.SeriesEach), Patience), server.Output);
            await stop.CancelAsync();
            await writer;
            Assert.True(await server.PostAsync("/api/v1/admin/flush"));
        }

        string cut = Directory.EnumerateFiles(Path.Combine(directory["data"], "tables"), "*.sst").Order(StringComparer.Ordinal).First();
        using (FileStream file = File.OpenWrite(cut)) file.SetLength(file.Length / 8);
        try
        {
            Recovered read = await new TortureReader(ledger).ReadAllAsync(server.Client, writer: 0, RequestFate.Acknowledged);
            Assert.NotNull(read.Refusal);
        }
        catch (HttpRequestException)
        {
            // The process is gone: a read behind the end of a mapped file is a signal that nobody can catch.
        }

        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        JsonNode status = await server.StatusAsync();
        Assert.Contains(Path.GetFileName(cut), status["damages"]!.ToJsonString(), StringComparison.Ordinal);
        Recovered lost = await new TortureReader(ledger).ReadAllAsync(server.Client, writer: 0, RequestFate.Acknowledged);
        Recovered kept = await new TortureReader(ledger).ReadAllAsync(server.Client, writer: 1, RequestFate.Acknowledged);
        Assert.True(lost is { Refusal: null, MissingSamples: > 0 }, $"{lost}");
        Assert.Equal((null, 0), (kept.Refusal, kept.MissingSamples));
    }
}
