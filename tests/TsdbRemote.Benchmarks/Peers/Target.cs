using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

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
        for (int i = 0; i < 600; i++)
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

            await Task.Delay(100);
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
    protected override string ReadyPath => "/-/ready";

    protected override (string Program, string[] Arguments) Command() =>
        ("dotnet", [assembly, "--urls", $"http://127.0.0.1:{Port}", $"--storage:data_dir={Path.Combine(Directory, "data")}", "--admin:enabled=true"]);

    protected override async Task FlushAsync()
    {
        using HttpResponseMessage answer = await Client.PostAsync(new Uri("/api/v1/admin/flush", UriKind.Relative), null);
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
public sealed class PrometheusTarget(string root) : Target("Prometheus", root)
{
    protected override string ReadyPath => "/-/ready";

    protected override (string Program, string[] Arguments) Command()
    {
        string config = Path.Combine(Directory, "prometheus.yml");
        File.WriteAllText(config, "global: {}\n");
        return ("prometheus",
        [
            $"--config.file={config}", $"--storage.tsdb.path={Path.Combine(Directory, "data")}", $"--web.listen-address=127.0.0.1:{Port}",
            "--web.enable-remote-write-receiver", "--log.level=error",
        ]);
    }
}
