namespace TsdbRemote.EndToEnd.Support;

/// <summary>The server under test, as users run it: <c>dotnet TsdbRemote.dll</c> with its own data directory.</summary>
public sealed class ServerProcess : ChildProcess
{
    private readonly string _directory;
    private readonly string[] _arguments;

    public ServerProcess(string directory, params string[] arguments)
        : base("TsdbRemote", FreePort())
    {
        _directory = directory;
        _arguments = arguments;
    }

    public string DataDir => Path.Combine(_directory, "data");

    public async Task StartAsync(bool waitReady = true)
    {
        string assembly = typeof(Program).Assembly.Location;
        Start("dotnet", [assembly, "--urls", Url, $"--storage:data_dir={DataDir}", "--admin:enabled=true", .. _arguments], _directory);
        await WaitForAsync("/-/healthy", TimeSpan.FromSeconds(60));
        if (waitReady) await WaitReadyAsync();
    }

    public Task WaitReadyAsync() => WaitForAsync("/-/ready", TimeSpan.FromSeconds(120));

    public async Task FlushAsync()
    {
        using HttpResponseMessage answer = await Client.PostAsync(new Uri("/api/v1/admin/flush", UriKind.Relative), null);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }
}
