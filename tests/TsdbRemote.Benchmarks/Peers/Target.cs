using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text.Json.Nodes;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A server under load: how it is started, and what the kernel says it used.</summary>
public abstract class Target : IDisposable
{
    private const double TicksPerSecond = 100;
    private Process? _process;

    protected Target(string name, string root)
    {
        Name = name;
        Directory = Path.Combine(root, name);
        System.IO.Directory.CreateDirectory(Directory);
        Port = FreePort();
        Client = new HttpClient(new SocketsHttpHandler { PooledConnectionIdleTimeout = TimeSpan.FromMinutes(10) })
        {
            BaseAddress = new Uri($"http://127.0.0.1:{Port}"),
            Timeout = TimeSpan.FromMinutes(2),
        };
    }

    public string Name { get; }

    public HttpClient Client { get; }

    public int Port { get; }

    protected string Directory { get; }

    /// <summary>Processor time so far, user and system, seconds.</summary>
    public double CpuSeconds
    {
        get
        {
            string[] fields = File.ReadAllText($"/proc/{_process!.Id}/stat").Split(')')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
        }
    }

    /// <summary>A field of /proc/self/status, MiB.</summary>
    public double StatusMiB(string field)
    {
        string line = File.ReadLines($"/proc/{_process!.Id}/status").First(line => line.StartsWith(field + ":", StringComparison.Ordinal));
        return long.Parse(line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024.0;
    }

    /// <summary>Blocks that its data takes on disk, MiB.</summary>
    public double DiskMiB()
    {
        using Process du = Process.Start(new ProcessStartInfo("du", ["-s", "--block-size=1K", Directory]) { RedirectStandardOutput = true })!;
        string text = du.StandardOutput.ReadToEnd();
        return long.Parse(text.Split('\t')[0], CultureInfo.InvariantCulture) / 1024.0;
    }

    /// <summary>Sends a remote-write body until it is taken; 503 and the like are tried again.</summary>
    /// <exception cref="InvalidOperationException">It was refused for good.</exception>
    public async Task WriteAsync(byte[] body)
    {
        while (true)
        {
            using var content = new ByteArrayContent(body);
            content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
            content.Headers.ContentEncoding.Add("snappy");
            using HttpResponseMessage answer = await Client.PostAsync(new Uri("/api/v1/write", UriKind.Relative), content);
            if (answer.IsSuccessStatusCode) return;
            if ((int)answer.StatusCode < 500) throw new InvalidOperationException($"{Name}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
            await Task.Delay(200);
        }
    }

    public async Task StartAsync()
    {
        (string program, string[] arguments) = Command();
        _process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = Directory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        _process.OutputDataReceived += static (_, _) => { };
        _process.ErrorDataReceived += static (_, _) => { };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        for (int i = 0; i < 6000; i++)
        {
            try
            {
                using HttpResponseMessage answer = await Client.GetAsync(new Uri(ReadyPath, UriKind.Relative));
                if (answer.IsSuccessStatusCode) return;
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            if (_process.HasExited) throw new InvalidOperationException($"{Name} ended at once: {program} {string.Join(' ', arguments)}");
            await Task.Delay(10);
        }

        throw new TimeoutException($"{Name} does not answer {ReadyPath}");
    }

    /// <summary>Waits until the process has nothing more to do: flush, merges and conversion included.</summary>
    public async Task SettleAsync()
    {
        await FlushAsync();
        int calm = 0;
        for (int second = 0; second < 120 && calm < 6; second++)
        {
            double before = CpuSeconds;
            await Task.Delay(1000);
            calm = CpuSeconds - before <= 0.02 ? calm + 1 : 0;
        }
    }

    /// <summary>SIGTERM, and the wait for its end; it may be started again.</summary>
    public async Task StopAsync()
    {
        using (Process kill = Process.Start("kill", ["-TERM", $"{_process!.Id}"])) await kill.WaitForExitAsync();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    public void Dispose()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process?.Dispose();
        Client.Dispose();
        GC.SuppressFinalize(this);
    }

    protected abstract string ReadyPath { get; }

    protected abstract (string Program, string[] Arguments) Command();

    protected virtual Task FlushAsync() => Task.CompletedTask;

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}

/// <summary>This project's server with default options: every batch on disk before its answer.</summary>
public sealed class TsdbRemoteTarget(string root, string assembly) : Target("TsdbRemote", root)
{
    /// <summary>Options beside the defaults, for the next start.</summary>
    public IReadOnlyList<string> Options { get; set; } = [];

    public string DataDir => Path.Combine(Directory, "data");

    public string BlocksDir => Path.Combine(DataDir, "blocks");

    protected override string ReadyPath => "/-/ready";

    /// <summary>Flushes, converts and adopts what can be; completes when it is done.</summary>
    public Task CompactAsync() => AdminAsync("compact");

    /// <summary>Everything acknowledged into tables.</summary>
    public Task FlushNowAsync() => AdminAsync("flush");

    /// <summary>The page that shows tables, blocks and conversions.</summary>
    public async Task<JsonNode> StatusAsync() =>
        JsonNode.Parse(await Client.GetStringAsync(new Uri("/api/v1/status/lsm", UriKind.Relative)))!["data"]!;

    protected override (string Program, string[] Arguments) Command() =>
        ("dotnet", [assembly, "--urls", $"http://127.0.0.1:{Port}", $"--storage:data_dir={DataDir}", "--admin:enabled=true", .. Options]);

    protected override Task FlushAsync() => AdminAsync("flush");

    private async Task AdminAsync(string what)
    {
        using var patient = new HttpClient { BaseAddress = Client.BaseAddress, Timeout = Timeout.InfiniteTimeSpan };
        using HttpResponseMessage answer = await patient.PostAsync(new Uri($"/api/v1/admin/{what}", UriKind.Relative), null);
        answer.EnsureSuccessStatusCode();
    }
}

/// <summary>VictoriaMetrics, single node, defaults.</summary>
public sealed class VictoriaMetricsTarget(string root) : Target("VictoriaMetrics", root)
{
    protected override string ReadyPath => "/health";

    protected override (string Program, string[] Arguments) Command() =>
        ("victoria-metrics", [$"-httpListenAddr=127.0.0.1:{Port}", $"-storageDataPath={Path.Combine(Directory, "data")}", "-retentionPeriod=10y"]);
}

/// <summary>Prometheus as a remote-write receiver, defaults.</summary>
public sealed class PrometheusTarget(string root, params string[] options) : Target("Prometheus", root)
{
    public string DataDir => Path.Combine(Directory, "data");

    /// <summary>One of its own metrics, without labels.</summary>
    public async Task<double> MetricAsync(string name)
    {
        string text = await Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        string line = text.Split('\n').First(line => line.StartsWith(name + " ", StringComparison.Ordinal));
        return double.Parse(line.AsSpan(name.Length + 1), CultureInfo.InvariantCulture);
    }

    protected override string ReadyPath => "/-/ready";

    protected override (string Program, string[] Arguments) Command()
    {
        string config = Path.Combine(Directory, "prometheus.yml");
        File.WriteAllText(config, "global: {}\n");
        return ("prometheus",
        [
            $"--config.file={config}", $"--storage.tsdb.path={DataDir}", $"--web.listen-address=127.0.0.1:{Port}",
            "--web.enable-remote-write-receiver", "--log.level=error", .. options,
        ]);
    }
}
