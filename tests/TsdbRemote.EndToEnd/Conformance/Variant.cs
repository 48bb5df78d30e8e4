using System.Net.Http.Headers;
using TsdbRemote.EndToEnd.Support;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>How the two servers that a row asks are set up.</summary>
public enum Variant
{
    /// <summary>Ours as it comes; Prometheus with its receivers and its admin calls on.</summary>
    Default,

    /// <summary>Ours with Prometheus' own rules: <c>out_of_order_window: 0s</c>, <c>conflicts: reject</c>.</summary>
    Strict,

    /// <summary>Both take samples that come up to ten minutes late.</summary>
    Window,

    /// <summary>Both answer a plain read with one sample at most.</summary>
    OneSample,

    /// <summary>Both send frames of 4 KiB.</summary>
    SmallFrames,

    /// <summary>Prometheus has external labels of its own.</summary>
    ExternalLabels,

    /// <summary>Admin calls are off in both, and neither keeps exemplars.</summary>
    Bare,

    /// <summary>A pair of its own, which the row kills.</summary>
    Killed,

    /// <summary>One web-config file with a user for both.</summary>
    Guarded,
}

/// <summary>The two servers of a variant.</summary>
/// <param name="Prometheus">A real Prometheus.</param>
/// <param name="Ours">Ours.</param>
public sealed record Pair(Peer Prometheus, Peer Ours);

/// <summary>Starts the servers that the rows ask, each when the first row wants it, and keeps them for all rows.</summary>
public sealed class Pairs : IDisposable
{
    private readonly long _epochMs = EpochMs(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
    private readonly WorkDirectory _directory = new();
    private readonly Dictionary<Variant, Lazy<Task<Pair>>> _pairs;
    private readonly List<ChildProcess> _processes = [];
    private readonly Lazy<Task<Peer>> _plain;

    public Pairs()
    {
        _plain = new Lazy<Task<Peer>>(() => StartPrometheusAsync("plain", ReceiverFlags, ""));
        _pairs = Enum.GetValues<Variant>().ToDictionary(static variant => variant, variant => new Lazy<Task<Pair>>(() => MakeAsync(variant)));
    }

    private static string[] ReceiverFlags =>
        ["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--enable-feature=exemplar-storage,native-histograms"];

    /// <summary>Who asks, unless a row says otherwise; most servers ask for nobody.</summary>
    private static AuthenticationHeaderValue TestUser => new("Basic", Convert.ToBase64String("row:password of the row"u8));

    private string WebConfig
    {
        get
        {
            string path = Path.Combine(_directory.Path, "web.yml");
            if (!File.Exists(path)) File.WriteAllText(path, $"basic_auth_users: {{ row: {BCrypt.Net.BCrypt.HashPassword("password of the row", 5)} }}\n");
            return path;
        }
    }

    public Task<Pair> Of(Variant variant) => _pairs[variant].Value;

    public void Dispose()
    {
        foreach (ChildProcess process in _processes) process.Dispose();
        _directory.Dispose();
    }

    /// <summary>A quarter of an hour ago or a little more: a Prometheus takes what is an hour behind, and no row's few minutes are to lie across the end of a block.</summary>
    private static long EpochMs(long nowMs)
    {
        const long BlockMs = 2 * 3_600_000;
        const long RowMs = 10 * 60_000;
        long epochMs = nowMs - 15 * 60_000;
        long blockEndMs = (epochMs / BlockMs + 1) * BlockMs;
        return Math.Min(epochMs, blockEndMs - RowMs);
    }

    private async Task<Pair> MakeAsync(Variant variant)
    {
        (string[] ours, Task<Peer> prometheus) = variant switch
        {
            Variant.Strict => (["--storage:out_of_order_window=0s", "--storage:conflicts=reject"], _plain.Value),
            Variant.Window => (["--storage:out_of_order_window=10m"], StartPrometheusAsync("window", ReceiverFlags, "storage: {tsdb: {out_of_order_time_window: 10m}}\n")),
            Variant.OneSample => (["--storage:read:max_samples=1"], StartPrometheusAsync("one-sample", [.. ReceiverFlags, "--storage.remote.read-sample-limit=1"], "")),
            Variant.SmallFrames =>
                (["--storage:read:read_buffer_size=4KB"], StartPrometheusAsync("frames", [.. ReceiverFlags, "--storage.remote.read-max-bytes-in-frame=4096"], "")),
            Variant.ExternalLabels => ([], StartPrometheusAsync("external", ReceiverFlags, "", "{external_labels: {b: c, baz: a}}")),
            Variant.Bare =>
                (["--admin:enabled=false", "--storage:exemplars:memory=0"], StartPrometheusAsync("bare", ["--web.enable-remote-write-receiver"], "")),
            Variant.Guarded => ([$"--web-config={WebConfig}"], StartPrometheusAsync("guarded", [.. ReceiverFlags, $"--web.config.file={WebConfig}"], "")),
            Variant.Killed => ([], StartPrometheusAsync("killed", ReceiverFlags, "")),
            _ => (Array.Empty<string>(), _plain.Value),
        };
        ServerProcess server;
        lock (_processes) _processes.Add(server = new ServerProcess(Path.Combine(_directory.Path, variant.ToString()), ours));
        Directory.CreateDirectory(Path.Combine(_directory.Path, variant.ToString()));
        server.Client.DefaultRequestHeaders.Authorization = TestUser;
        await server.StartAsync();
        return new Pair(await prometheus, new Peer(server, () => server.StartAsync(), _epochMs));
    }

    private async Task<Peer> StartPrometheusAsync(string name, string[] flags, string storage, string global = "{}")
    {
        PrometheusProcess process;
        lock (_processes) _processes.Add(process = new PrometheusProcess(_directory.Path, name, flags));
        process.Client.DefaultRequestHeaders.Authorization = TestUser;
        var peer = new Peer(process, () => process.StartAsync($"global: {global}\n{storage}"), _epochMs);
        await process.StartAsync($"global: {global}\n{storage}");
        return peer;
    }
}

/// <summary>All rows share their servers.</summary>
[CollectionDefinition(Name)]
public sealed class ConformanceRows : ICollectionFixture<Pairs>
{
    public const string Name = "conformance";
}
