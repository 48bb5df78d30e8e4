using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>A real process under test: its output is kept, its ports are free ones, and it never outlives the test.</summary>
public abstract partial class ChildProcess : IDisposable
{
    private const int SigTerm = 15;
    private readonly ConcurrentQueue<string> _output = new();
    private Process? _process;

    /// <param name="name">What to call it.</param>
    /// <param name="port">Where it listens.</param>
    /// <param name="tls">How its client does TLS; null where it does none.</param>
    protected ChildProcess(string name, int port, HttpMessageHandler? tls = null)
    {
        Name = name;
        Port = port;
        Url = $"{(tls is null ? "http" : "https")}://127.0.0.1:{port}";
        Client = new HttpClient(tls ?? new HttpClientHandler()) { BaseAddress = new Uri(Url), Timeout = TimeSpan.FromSeconds(60) };
    }

    public string Name { get; }

    public int Port { get; }

    public HttpClient Client { get; }

    public string Url { get; }

    public string Output => string.Join('\n', _output.TakeLast(60));

    public bool HasExited => _process is null || _process.HasExited;

    public int ExitCode => _process!.ExitCode;

    public int ProcessId => _process!.Id;

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public void Kill()
    {
        if (_process is null) return;
        if (!_process.HasExited) _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
        _process = null;
    }

    public int Terminate(TimeSpan patience)
    {
        Process process = _process ?? throw new InvalidOperationException($"{Name} does not run");
        _ = SendSignal(process.Id, SigTerm);
        if (!process.WaitForExit(patience)) throw new TimeoutException($"{Name} did not end after SIGTERM:\n{Output}");
        int code = process.ExitCode;
        process.Dispose();
        _process = null;
        return code;
    }

    public void Dispose()
    {
        Kill();
        Client.Dispose();
        GC.SuppressFinalize(this);
    }

    protected void Start(string program, IEnumerable<string> arguments, string workingDirectory)
    {
        var start = new ProcessStartInfo(program)
        {
            WorkingDirectory = workingDirectory,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    protected async Task WaitForAsync(string path, TimeSpan patience) =>
        await Until.TrueAsync(
            async () =>
            {
                if (HasExited) throw new InvalidOperationException($"{Name} ended early:\n{Output}");
                try
                {
                    using HttpResponseMessage answer = await Client.GetAsync(new Uri(path, UriKind.Relative));
                    return answer.IsSuccessStatusCode;
                }
                catch (HttpRequestException)
                {
                    return false;
                }
            },
            patience,
            () => $"{Name} does not answer {path}:\n{Output}");

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int pid, int signal);

    private void Keep(string? line)
    {
        if (line is null) return;
        _output.Enqueue(line);
        while (_output.Count > 2000) _output.TryDequeue(out string? _);
    }
}

/// <summary>Waits for a condition with a deadline: real processes give no event to wait on.</summary>
public static class Until
{
    public static async Task TrueAsync(Func<Task<bool>> condition, TimeSpan patience, Func<string> explain)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > patience) throw new TimeoutException(explain());
            await Task.Delay(50);
        }
    }
}
