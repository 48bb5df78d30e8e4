using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A server under load: how it is started, and what the kernel says it used.</summary>
public abstract class Target : IDisposable
{
    private const double TicksPerSecond = 100;
    private static readonly Uri WritePath = new("/api/v1/write", UriKind.Relative);
    private const string TypeOf1 = "application/x-protobuf";
    private const string TypeOf2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    private const long Unlimited = 1L << 40;
    private const int CalmSeconds = 12;
    private const double CalmPart = 0.02;
    private static readonly TimeSpan CalmPatience = TimeSpan.FromMinutes(10);
    private static readonly TimeRange Everything = new(0, 1L << 42);
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

    /// <summary>The highest value of a field of /proc/self/status, looked at ten times a second until it is stopped, MiB.</summary>
    public async Task<double> PeakMiBAsync(string field, CancellationToken stop)
    {
        double peak = 0;
        while (!stop.IsCancellationRequested)
        {
            peak = Math.Max(peak, StatusMiB(field));
            await Task.Delay(100, CancellationToken.None);
        }

        return peak;
    }

    /// <summary>One of its own metrics, named as its page names it, labels included.</summary>
    public async Task<double> MetricAsync(string name)
    {
        string text = await Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        string line = text.Split('\n').First(line => line.StartsWith(name + " ", StringComparison.Ordinal));
        return double.Parse(line.AsSpan(name.Length + 1), CultureInfo.InvariantCulture);
    }

    /// <summary>The longest pause of its garbage collector that it knows of, seconds.</summary>
    public virtual Task<double> LongestPauseAsync() => MetricAsync("go_gc_duration_seconds{quantile=\"1\"}");

    /// <summary>Series and samples of the load that it answers with.</summary>
    /// <param name="parts">In how many reads, so that neither side has to hold all of them at one time.</param>
    public abstract Task<(long Series, long Samples)> CountAsync(int parts);

    /// <summary>Blocks that its data takes on disk, MiB.</summary>
    public double DiskMiB()
    {
        using Process du = Process.Start(new ProcessStartInfo("du", ["-s", "--block-size=1K", Directory]) { RedirectStandardOutput = true })!;
        string text = du.StandardOutput.ReadToEnd();
        return long.Parse(text.Split('\t')[0], CultureInfo.InvariantCulture) / 1024.0;
    }

    /// <summary>Sends a remote-write body until it is taken; 503 and the like are tried again.</summary>
    /// <exception cref="InvalidOperationException">It was refused for good.</exception>
    /// <param name="body">The body, in snappy.</param>
    /// <param name="version2">Whether it is one of remote write 2.0.</param>
    public async Task WriteAsync(byte[] body, bool version2 = false)
    {
        while (true)
        {
            using HttpResponseMessage answer = await PostAsync(body, version2);
            if (answer.IsSuccessStatusCode) return;
            if ((int)answer.StatusCode < 500) throw new InvalidOperationException($"{Name}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
            await Task.Delay(200);
        }
    }

    /// <summary>Sends a remote-write body once.</summary>
    public async Task<HttpResponseMessage> PostAsync(byte[] body, bool version2 = false)
    {
        using var message = new HttpRequestMessage(HttpMethod.Post, WritePath) { Content = new ByteArrayContent(body) };

        // As it stands: a parsed one is sent with a space behind the semicolon, at which Prometheus takes 2.0 for 1.0, finds nothing in it, and answers 204.
        message.Content.Headers.TryAddWithoutValidation("Content-Type", version2 ? TypeOf2 : TypeOf1);
        message.Content.Headers.ContentEncoding.Add("snappy");
        if (version2) message.Headers.Add("X-Prometheus-Remote-Write-Version", "2.0.0");
        return await Client.SendAsync(message);
    }

    /// <summary>Starts it and waits until it says that it is ready.</summary>
    public async Task StartAsync()
    {
        Start();
        await WhenReadyAsync();
    }

    /// <summary>Starts it, without waiting for anything.</summary>
    public void Start()
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
    }

    /// <summary>Waits until it says that it is ready; asks each 10 ms.</summary>
    public async Task WhenReadyAsync()
    {
        for (int i = 0; i < 30_000; i++)
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

            if (_process!.HasExited) throw new InvalidOperationException($"{Name} ended at once: {Command()}");
            await Task.Delay(10);
        }

        throw new TimeoutException($"{Name} does not answer {ReadyPath}");
    }

    /// <summary>Waits until the process has nothing more to do: flush, merges and conversion included.</summary>
    public async Task SettleAsync()
    {
        await FlushAsync();
        await CalmAsync();
    }

    /// <summary>As <see cref="SettleAsync"/>, behind a load that lies in closed windows only: all that will ever be done to it is done.</summary>
    /// <exception cref="InvalidOperationException">Something is left to do.</exception>
    public async Task SettleClosedAsync()
    {
        await FinishAsync();
        await CalmAsync();
        await CheckFinishedAsync();
    }

    /// <summary>Waits until the process has used next to no processor time for twelve seconds, which is longer than the timers that begin background work.</summary>
    /// <remarks>In all of them together: a timer that finds nothing to do may take a little.</remarks>
    /// <exception cref="TimeoutException">It works on and on.</exception>
    public async Task CalmAsync()
    {
        var seen = new Queue<double>();
        long began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < CalmPatience)
        {
            double now = CpuSeconds;
            seen.Enqueue(now);
            if (seen.Count > CalmSeconds && now - seen.Dequeue() <= CalmSeconds * CalmPart) return;
            await Task.Delay(1000);
        }

        throw new TimeoutException($"{Name} is not at rest after {CalmPatience}");
    }

    /// <summary>SIGTERM, and the wait for its end; it may be started again.</summary>
    public Task StopAsync() => EndAsync("-TERM");

    /// <summary>SIGKILL, in the midst of whatever it does; it may be started again.</summary>
    public Task KillAsync() => EndAsync("-KILL");

    private async Task EndAsync(string signal)
    {
        using (Process kill = Process.Start("kill", [signal, $"{_process!.Id}"])) await kill.WaitForExitAsync();
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

    /// <summary>Counts what a server with remote read has, by streamed reads.</summary>
    protected async Task<(long Series, long Samples)> CountStreamedAsync(int parts)
    {
        (long series, long samples) = (0, 0);
        foreach ((string, string)[] labels in ScrapeLoad.PartsOf(parts))
        {
            StreamedAnswer answer = await StreamedAnswer.ReadAsync(Client, Everything, Unlimited, labels);
            (series, samples) = (series + answer.Series, samples + answer.Samples);
        }

        return (series, samples);
    }

    protected abstract string ReadyPath { get; }

    protected abstract (string Program, string[] Arguments) Command();

    protected virtual Task FlushAsync() => Task.CompletedTask;

    /// <summary>Has everything done that can be done to data in closed windows, if the server can be asked for it.</summary>
    protected virtual Task FinishAsync() => FlushAsync();

    /// <summary>Throws if data in closed windows is not in its last form.</summary>
    protected virtual Task CheckFinishedAsync() => Task.CompletedTask;

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
