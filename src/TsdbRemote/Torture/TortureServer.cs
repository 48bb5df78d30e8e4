using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;

namespace TsdbRemote.Torture;

/// <summary>A server of this program as a process of its own, with one data directory: started, killed and started again.</summary>
internal sealed class TortureServer : IDisposable
{
    private const int KeptLines = 400;
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestLook = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AnswerPatience = TimeSpan.FromMinutes(5);

    private readonly string _directory;
    private readonly string[] _options;
    private readonly ConcurrentQueue<string> _output = new();
    private Process? _process;

    /// <param name="directory">Its data directory.</param>
    /// <param name="options">Options, as on the command line.</param>
    public TortureServer(string directory, IEnumerable<string> options)
    {
        _directory = directory;
        _options = [.. options];
    }

    /// <summary>Asks the server as it was started last.</summary>
    public HttpClient Client { get; private set; } = new();

    public bool HasEnded => _process is null or { HasExited: true };

    /// <summary>Of the process that runs.</summary>
    public int ProcessId => _process!.Id;

    /// <summary>Of a process that has ended.</summary>
    public int ExitCode => _process?.ExitCode ?? 0;

    /// <summary>The last of what it said, over all its lives.</summary>
    public string Output => string.Join('\n', _output);

    /// <summary>Starts it; it may still be far from answering.</summary>
    public void Start()
    {
        Kill();
        int port = FreePort();
        string assembly = typeof(Program).Assembly.Location;
        bool isOwnProgram = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == typeof(Program).Assembly.GetName().Name;
        string program = isOwnProgram ? Environment.ProcessPath! : "dotnet";
        var start = new ProcessStartInfo(program)
        {
            WorkingDirectory = Path.GetDirectoryName(Path.GetFullPath(_directory)),
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };

        if (!isOwnProgram) start.ArgumentList.Add(assembly);
        foreach (string argument in (string[])["serve", $"--urls=http://127.0.0.1:{port}", $"--storage:data_dir={_directory}", .. _options]) start.ArgumentList.Add(argument);
        Client.Dispose();
        Client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}"), Timeout = AnswerPatience };
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Waits until a page answers 200.</summary>
    /// <returns>False if the process ended, or the time is over.</returns>
    public async Task<bool> WaitForAsync(string page, TimeSpan patience)
    {
        bool isThere = false;
        await UntilAsync(async () => HasEnded || (isThere = await AnswersAsync(page)), patience);
        return isThere;
    }

    /// <summary>Asks again and again until something holds.</summary>
    /// <returns>False if the time is over. Time in which this process did not run itself, as on a laptop that was closed, does not count.</returns>
    public static async Task<bool> UntilAsync(Func<Task<bool>> condition, TimeSpan patience)
    {
        long last = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            if (patience < TimeSpan.Zero) return false;
            await Task.Delay(LookEvery);
            long now = TimeProvider.System.GetTimestamp();
            TimeSpan passed = TimeProvider.System.GetElapsedTime(last, now);
            patience -= passed < LongestLook ? passed : LongestLook;
            last = now;
        }

        return true;
    }

    /// <summary>Ends it as a power switch would end its process: no handler runs, nothing is flushed.</summary>
    public void Kill()
    {
        if (_process is not { } process) return;
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
        process.Dispose();
        _process = null;
    }

    /// <summary>Waits for an end that it comes to by itself, and for the last of what it says.</summary>
    public void WaitForEnd() => _process?.WaitForExit();

    /// <summary>What <c>/api/v1/status/lsm</c> says.</summary>
    public async Task<JsonNode> StatusAsync() => JsonNode.Parse(await Client.GetStringAsync(new Uri("/api/v1/status/lsm", UriKind.Relative)))!["data"]!;

    public async Task<bool> PostAsync(string page)
    {
        using HttpResponseMessage answer = await Client.PostAsync(new Uri(page, UriKind.Relative), null);
        return answer.IsSuccessStatusCode;
    }

    public void Dispose()
    {
        Kill();
        Client.Dispose();
    }

    private async Task<bool> AnswersAsync(string page)
    {
        try
        {
            using HttpResponseMessage answer = await Client.GetAsync(new Uri(page, UriKind.Relative));
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false; // nobody listens yet
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private void Keep(string? line)
    {
        if (line is null) return;
        _output.Enqueue(line);
        while (_output.Count > KeptLines) _output.TryDequeue(out string? _);
    }
}
