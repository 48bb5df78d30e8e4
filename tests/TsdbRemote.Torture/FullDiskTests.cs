using System.Net;

namespace TsdbRemote.Torture;

/// <summary>A real disk that fills up under a server at work, and has room again.</summary>
public sealed class FullDiskTests
{
    private const int DiskMegabytes = 64;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [SmallDisk.MountFact]
    public async Task T21_a_disk_that_fills_up_costs_no_acknowledged_sample_and_writes_go_on_when_there_is_room()
    {
        using SmallDisk disk = SmallDisk.Mount(DiskMegabytes);
        string somebodys = Path.Combine(disk.Root, "somebody's");
        await File.WriteAllBytesAsync(somebodys, new byte[(DiskMegabytes - 24) << 20]);
        var ledger = new TortureLedger(DateTimeOffset.UtcNow.AddDays(-50).ToUnixTimeMilliseconds());
        using var server = new TortureServer(
            Path.Combine(disk.Root, "data"), ["--storage:lsm:memtable_size=1MB", "--storage:integration:sstable_to_block_conversion=false", "--admin:enabled=true"]);
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);

        using (var stop = new CancellationTokenSource())
        {
            Task[] writers = Write(server, ledger, stop.Token);
            await UntilAsync(async () => await DiskFullAsync(server), () => $"the disk never fills up:\n{server.Output}");
            long before = ledger.Acknowledged;
            Assert.True(before > 0);

            // Full: what was acknowledged is read, and pages are answered.
            await CheckAsync(server, ledger);
            Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync(new Uri("/-/healthy", UriKind.Relative))).StatusCode);
            Assert.Null((await server.StatusAsync())["failure"]?.GetValue<string>());

            File.Delete(somebodys);
            await UntilAsync(() => Task.FromResult(ledger.Acknowledged > before + 20 * TortureLedger.SeriesEach), () => $"writes do not go on:\n{server.Output}");
            await stop.CancelAsync();
            await Task.WhenAll(writers);
        }

        await CheckAsync(server, ledger);
        server.Kill();
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        await CheckAsync(server, ledger);
    }

    private static Task[] Write(TortureServer server, TortureLedger ledger, CancellationToken stop) =>
        [.. Enumerable.Range(0, TortureLedger.Writers).Select(number => Task.Run(() => new TortureWriter(ledger, number).RunAsync(server.Client, stop), CancellationToken.None))];

    private static async Task<bool> DiskFullAsync(TortureServer server)
    {
        string metrics = await server.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        return metrics.Split('\n').Contains("tsdb_remote_disk_full 1");
    }

    private static async Task CheckAsync(TortureServer server, TortureLedger ledger)
    {
        for (int writer = 0; writer < TortureLedger.Writers; writer++)
        {
            Recovered recovered = await new TortureReader(ledger).ReadAllAsync(server.Client, writer, RequestFate.Acknowledged);
            Assert.Equal((null, 0), (recovered.Refusal, recovered.MissingSamples));
        }
    }

    private static async Task UntilAsync(Func<Task<bool>> condition, Func<string> explain) => Assert.True(await TortureServer.UntilAsync(condition, Patience), explain());
}
