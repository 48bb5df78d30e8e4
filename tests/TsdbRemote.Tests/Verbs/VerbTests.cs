using TsdbRemote.TestSupport;
using TsdbRemote.Verbs;

namespace TsdbRemote.Tests.Verbs;

public sealed class VerbTests
{
    [Theory]
    [InlineData("http://localhost:9201", "http://localhost:9201/-/healthy")]
    [InlineData("http://+:9201", "http://localhost:9201/-/healthy")]
    [InlineData("http://0.0.0.0:80", "http://localhost/-/healthy")]
    [InlineData("http://[::]:9201", "http://localhost:9201/-/healthy")]
    [InlineData("https://tsdb.example:9443", "https://tsdb.example:9443/-/healthy")]
    public void The_health_check_asks_where_the_server_listens(string url, string expected) =>
        Assert.Equal(expected, HealthcheckVerb.AddressOf(url).AbsoluteUri);

    [Fact]
    public void Nobody_listening_is_unhealthy() => Assert.Equal(1, Program.Main(["healthcheck", "--urls=http://127.0.0.1:1"]));

    [Theory]
    [InlineData("--storage:lsm:stripes=3")]
    [InlineData("--storage:compaction:max_concurrent=0")]
    [InlineData("--storage:nothing=1")]
    [InlineData("--config=/nowhere/at/all.yaml")]
    [InlineData("--web-config=/nowhere/at/all.yml")]
    [InlineData("--urls=https://127.0.0.1:0")]
    [InlineData("frobnicate")]
    public async Task Options_that_do_not_hold_end_the_program_with_2(string arg)
    {
        using var directory = new TempDirectory();

        // With options that do hold, the program would run until somebody stopped it.
        Task<int> run = Task.Run(() => Program.Main(["serve", "--urls=http://127.0.0.1:0", $"--storage:data_dir={directory["data"]}", arg]));
        Assert.Equal(2, await run.WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.False(Directory.Exists(directory["data"]), "nothing was created");
    }

    [Fact]
    public void Version_and_help_end_with_0()
    {
        Assert.Equal(0, Program.Main(["version"]));
        Assert.Equal(0, Program.Main(["--help"]));
    }
}
