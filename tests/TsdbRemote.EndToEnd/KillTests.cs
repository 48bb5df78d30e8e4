using TsdbRemote.EndToEnd.Support;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.EndToEnd;

/// <summary>A killed server loses nothing that it acknowledged, and invents nothing (promises P2 and P3).</summary>
public sealed class KillTests
{
    private const int Writers = 4;
    private const int SeriesEach = 50;
    private static readonly long Start = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 3_600_000;

    [Theory]
    [InlineData("fsync")]
    [InlineData("interval")]
    public async Task Every_acknowledged_sample_is_read_once_after_kills_in_the_middle_of_writing(string durability)
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path, $"--storage:wal:durability={durability}", "--storage:lsm:memtable_size=1MB");
        var ledger = new SampleWriter(server.Client, SeriesEach);
        long time = Start;
        for (int round = 0; round < 3; round++)
        {
            await server.StartAsync(waitReady: round == 1);
            using var stop = new CancellationTokenSource();
            Task[] writers = [.. Enumerable.Range(0, Writers).Select(worker => WriteAsync(ledger, worker, () => Interlocked.Add(ref time, 10), stop.Token))];
            int before = ledger.Acknowledged.Count;
            await Until.TrueAsync(
                () => Task.FromResult(ledger.Acknowledged.Count > before + 40_000 + round * 7_919), TimeSpan.FromSeconds(60), () => server.Output);
            server.Kill();
            await stop.CancelAsync();
            await Task.WhenAll(writers);
        }

        await server.StartAsync();
        await CheckAsync(server, ledger);
    }

    [Fact]
    public async Task A_server_told_to_stop_flushes_and_replays_nothing_at_the_next_start()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        var ledger = new SampleWriter(server.Client, SeriesEach);
        await server.StartAsync();
        for (int i = 0; i < 20; i++) Assert.True(await ledger.WriteAsync(0, Start + i * 1000, CancellationToken.None));
        Assert.Equal(0, server.Terminate(TimeSpan.FromSeconds(40)));
        await server.StartAsync();
        await AssertReplayedNothingAsync(server);
        await CheckAsync(server, ledger);
    }

    [Fact]
    public async Task T29_a_stop_under_load_loses_nothing_acknowledged_and_the_next_start_replays_nothing()
    {
        using var directory = new WorkDirectory();
        using var server = new ServerProcess(directory.Path);
        var ledger = new SampleWriter(server.Client, SeriesEach);
        long time = Start;
        await server.StartAsync();
        using var stop = new CancellationTokenSource();
        Task[] writers = [.. Enumerable.Range(0, Writers).Select(worker => WriteAsync(ledger, worker, () => Interlocked.Add(ref time, 10), stop.Token))];
        await Until.TrueAsync(() => Task.FromResult(ledger.Acknowledged.Count > 20_000), TimeSpan.FromSeconds(60), () => server.Output);
        Assert.Equal(0, server.Terminate(TimeSpan.FromSeconds(40)));
        await stop.CancelAsync();
        await Task.WhenAll(writers);
        await server.StartAsync();
        await AssertReplayedNothingAsync(server);
        await CheckAsync(server, ledger);
    }

    [Fact]
    public async Task A_second_server_on_the_same_directory_is_refused_and_the_first_goes_on()
    {
        using var directory = new WorkDirectory();
        using var first = new ServerProcess(directory.Path);
        using var second = new ServerProcess(directory.Path);
        await first.StartAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => second.StartAsync());
        Assert.NotEqual(0, second.ExitCode);
        Assert.Contains($"{first.ProcessId}", second.Output, StringComparison.Ordinal);
        var ledger = new SampleWriter(first.Client, SeriesEach);
        Assert.True(await ledger.WriteAsync(0, Start, CancellationToken.None));
        await CheckAsync(first, ledger);
    }

    private static async Task AssertReplayedNothingAsync(ServerProcess server) => Assert.Equal(0, (await server.StatusAsync())["replay"]!["recordsReplayed"]!.GetValue<long>());

    private static async Task WriteAsync(SampleWriter ledger, int worker, Func<long> nextTime, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            if (!await ledger.WriteAsync(worker, nextTime(), stop)) await Task.Delay(10, CancellationToken.None);
        }
    }

    private static async Task CheckAsync(ServerProcess server, SampleWriter ledger)
    {
        var read = new Dictionary<(int, long), double>();
        foreach (TimeSeries series in await SampleReader.ReadAsync(server.Client, "ledger", long.MinValue, long.MaxValue))
        {
            int id = int.Parse(series.Labels.Single(static label => label.Name == "id").Value.AsSpan(1), System.Globalization.CultureInfo.InvariantCulture);
            long last = long.MinValue;
            foreach (Sample sample in series.Samples)
            {
                Assert.True(sample.Timestamp > last, "times ascend, so no sample is there twice");
                last = sample.Timestamp;
                read.Add((id, sample.Timestamp), sample.Value);
            }
        }

        Assert.Empty(ledger.Acknowledged.Where(pair => !read.TryGetValue(pair.Key, out double value) || !value.Equals(pair.Value)).Take(5));
        Assert.Empty(read.Where(pair => !ledger.Sent.TryGetValue(pair.Key, out double value) || !value.Equals(pair.Value)).Take(5));
        Assert.NotEmpty(ledger.Acknowledged);
    }
}
