using TsdbRemote.Blocks.Format;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>Ten hours of one history, twice: in blocks of the server, and in blocks of a Prometheus that took the same samples in order.</summary>
/// <remarks>
/// Made once for all tests of a class, when the first one asks. The server was told out of order, twice, and wrongly at first; a part came only after
/// the conversion, so that there are overlapping blocks too. All windows are closed, and both are at rest. The server's blocks are left as they were made.
/// </remarks>
public sealed class BlockPeers : IDisposable
{
    public const long WindowMs = 2 * 3_600_000;
    private const int Scrapes = 2400;
    private readonly WorkDirectory _directory = new();
    private readonly Lazy<Task> _made;
    private ServerProcess? _server;

    public BlockPeers()
    {
        // Room behind the last window for what makes a Prometheus cut its head and compact: three hours.
        long windowsEnd = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 200 * 60_000) / WindowMs * WindowMs;
        History = new ScrapeHistory(windowsEnd - 6 * WindowMs + 37 * 60_000, Scrapes);
        WindowsEndMs = windowsEnd;
        Prometheus = new PrometheusProcess(
            _directory.Path, "reference", "--web.enable-remote-write-receiver", "--web.enable-admin-api", "--storage.tsdb.retention.time=10y");
        _made = new Lazy<Task>(MakeAsync);
    }

    /// <summary>A series that is no part of the history, for samples behind it.</summary>
    public static KnownSeries Beyond { get; } = new("beyond_the_history");

    public ScrapeHistory History { get; }

    /// <summary>No sample is at or after it; the end of the last window.</summary>
    public long WindowsEndMs { get; }

    public ServerProcess Server => _server!;

    /// <summary>Holds the same samples.</summary>
    public PrometheusProcess Prometheus { get; }

    public Task ReadyAsync() => _made.Value;

    /// <summary>A fresh directory below the one that all of this is in.</summary>
    public string NewDirectory(string name) => Directory.CreateDirectory(Path.Combine(_directory.Path, $"{name}-{Guid.NewGuid():N}")).FullName;

    /// <summary>Copies the blocks of a directory into another one; nothing else of it.</summary>
    /// <returns>Where the copies are.</returns>
    public static IReadOnlyList<string> CopyBlocks(string from, string to)
    {
        List<string> copies = [];
        foreach (string block in BlocksOf(from))
        {
            // Under a temporary name first: both Prometheus and the server take a directory for a block by its name.
            string copy = Path.Combine(to, Path.GetFileName(block));
            string temporary = copy + ".tmp-for-creation";
            Directory.CreateDirectory(Path.Combine(temporary, "chunks"));
            foreach (string file in Directory.EnumerateFiles(block, "*", SearchOption.AllDirectories))
                File.Copy(file, Path.Combine(temporary, Path.GetRelativePath(block, file)));
            Directory.Move(temporary, copy);
            copies.Add(copy);
        }

        return copies;
    }

    /// <summary>The blocks of a directory, by name.</summary>
    public static IReadOnlyList<string> BlocksOf(string directory) =>
        [.. Directory.EnumerateDirectories(directory).Where(static path => Ulid.TryParse(Path.GetFileName(path), out _)).Order(StringComparer.Ordinal)];

    /// <summary>True for one sample in fifty of the windows in the middle, and for an hour of every fortieth series.</summary>
    public bool IsLate(Delivery delivery)
    {
        long hour = (delivery.Sample.TimeMs - History.StartMs) / 3_600_000;
        return (hour is >= 2 and < 6 && Deliveries.Lot(delivery) is >= 900 and < 920) || (hour == 3 && delivery.Series % 40 == 7);
    }

    /// <summary>Copies of Prometheus' own blocks, taken by its snapshot call.</summary>
    public async Task<string> SnapshotAsync()
    {
        using HttpResponseMessage answer = await Prometheus.Client.PostAsync(new Uri("/api/v1/admin/tsdb/snapshot?skip_head=true", UriKind.Relative), null);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return Path.Combine(Prometheus.DataDir, "snapshots", System.Text.Json.Nodes.JsonNode.Parse(text)!["data"]!["name"]!.GetValue<string>());
    }

    public void Dispose()
    {
        _server?.Dispose();
        Prometheus.Dispose();
        _directory.Dispose();
    }

    private async Task MakeAsync()
    {
        await Task.WhenAll(MakeServerAsync(), MakePrometheusAsync());
    }

    private async Task MakeServerAsync()
    {
        string directory = NewDirectory("server");
        using (var open = new ServerProcess(directory, "--storage:integration:block_delay=31d"))
        {
            // No window is closed yet, so what came wrongly at first is put right in the tables and not across blocks.
            await open.StartAsync();
            Delivery[] deliveries = [.. Deliveries.Disordered(History, IsLate)];
            foreach (Delivery[] part in deliveries.Chunk(deliveries.Length / 3 + 1))
            {
                await Deliveries.SendAsync(open.Client, History, part);
                await open.FlushAsync();
            }

            Assert.Equal(0, open.Terminate(TimeSpan.FromSeconds(40)));
        }

        _server = new ServerProcess(directory, "--storage:integration:late_delay=1s", "--storage:integration:block_compaction=false");
        await _server.StartAsync();
        await _server.CompactAsync();
        await Deliveries.SendAsync(_server.Client, History, Deliveries.Late(History, IsLate));
        await _server.ComeToRestAsync(TimeSpan.FromSeconds(120));
    }

    private async Task MakePrometheusAsync()
    {
        await Prometheus.StartAsync("global: {}\n");
        await Deliveries.SendAsync(Prometheus.Client, History, Deliveries.InOrder(History));

        // One sample well behind the last window lets the head go to blocks, all but that sample.
        await Deliveries.SendAsync(Prometheus.Client, Beyond, Blocks.Model.Sample.Of(WindowsEndMs + 70 * 60_000, 1));
        await Until.TrueAsync(
            async () => await Prometheus.OwnMetricAsync("prometheus_tsdb_head_min_time") >= WindowsEndMs,
            TimeSpan.FromSeconds(120),
            () => $"the head stays:\n{Prometheus.Output}");
    }
}
