using System.Text.Json.Nodes;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>The server under test, as users run it: <c>dotnet TsdbRemote.dll</c> with its own data directory.</summary>
public sealed class ServerProcess : ChildProcess
{
    private readonly string _directory;
    private readonly string[] _arguments;

    public ServerProcess(string directory, params string[] arguments)
        : this(directory, (HttpMessageHandler?)null, arguments)
    {
    }

    public ServerProcess(string directory, HttpMessageHandler? tls, params string[] arguments)
        : base("TsdbRemote", FreePort(), tls)
    {
        _directory = directory;
        _arguments = arguments;
    }

    public string DataDir => Path.Combine(_directory, "data");

    public string BlocksDir => Path.Combine(DataDir, "blocks");

    public async Task StartAsync(bool waitReady = true)
    {
        string assembly = typeof(Program).Assembly.Location;
        Start("dotnet", [assembly, "--urls", Url, $"--storage:data_dir={DataDir}", "--admin:enabled=true", .. _arguments], _directory);
        await WaitForAsync("/-/healthy", TimeSpan.FromSeconds(60));
        if (waitReady) await WaitReadyAsync();
    }

    public Task WaitReadyAsync() => WaitForAsync("/-/ready", TimeSpan.FromSeconds(120));

    public Task FlushAsync() => AdminAsync("flush");

    /// <summary>Completes when everything that can be done now is done: flushed, adopted, converted.</summary>
    public Task CompactAsync() => AdminAsync("compact");

    /// <summary>The page that shows tables, blocks and conversions.</summary>
    public async Task<JsonNode> StatusAsync() =>
        JsonNode.Parse(await Client.GetStringAsync(new Uri("/api/v1/status/lsm", UriKind.Relative)))!["data"]!;

    /// <summary>Compacts until no table is left: late data has to be quiet first.</summary>
    public async Task ComeToRestAsync(TimeSpan patience) => await Until.TrueAsync(
        async () =>
        {
            await CompactAsync();
            return (await StatusAsync())["tables"]!.AsArray().Count == 0;
        },
        patience,
        () => $"tables stay:\n{Output}");

    private async Task AdminAsync(string what)
    {
        using HttpResponseMessage answer = await Client.PostAsync(new Uri($"/api/v1/admin/{what}", UriKind.Relative), null);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }
}
