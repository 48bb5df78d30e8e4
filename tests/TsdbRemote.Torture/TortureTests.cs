using TsdbRemote.TestSupport;
using TsdbRemote.Verbs;

namespace TsdbRemote.Torture;

/// <summary>The verb of the program, for as long as a run of all tests can spare. By hand: <c>TsdbRemote torture --data DIR --minutes 600</c>.</summary>
public sealed class TortureTests
{
    [Fact]
    public void T25_T93_servers_that_are_killed_at_random_moments_lose_nothing_and_damage_is_named()
    {
        using var directory = new TempDirectory();
        using var output = new StringWriter();
        using var progress = new StringWriter();
        int code = TortureVerb.Run(["--data", directory["torture"], "--minutes", "0.6"], output, progress);
        Assert.True(code == 0, $"{output}\n{progress}");
        Assert.Matches("^acknowledged ([1-9][0-9]+), recovered \\1; (9|[1-9][0-9]+) kills, ([3-9]|[1-9][0-9]+) of them during a replay; ([6-9]|[1-9][0-9]+) files damaged; [1-9][0-9]* reads", output.ToString());
        Assert.Empty(Directory.EnumerateFileSystemEntries(directory["torture"]));
    }

    [Theory]
    [InlineData("--minutes", "1")]
    [InlineData("--data", "D")]
    [InlineData("--data", "D", "--minutes", "none")]
    [InlineData("--data", "D", "--minutes", "1", "--durability", "always")]
    [InlineData("--data", "D", "--minutes")]
    [InlineData("--data", "D", "--minutes", "1", "--gently", "yes")]
    [InlineData("--data", "full", "--minutes", "1")]
    public void A_wrong_call_is_told_how_it_goes_and_touches_nothing(params string[] args)
    {
        using var directory = new TempDirectory();
        Directory.CreateDirectory(directory["full"]);
        File.WriteAllText(Path.Combine(directory["full"], "MANIFEST"), "somebody's");
        using var output = new StringWriter();
        using var progress = new StringWriter();
        Assert.Equal(2, TortureVerb.Run([.. args.Select(arg => arg is "D" or "full" ? directory[arg] : arg)], output, progress));
        Assert.Contains("TsdbRemote torture --data DIR --minutes N", progress.ToString(), StringComparison.Ordinal);
        Assert.Equal("", output.ToString());
        Assert.False(Directory.Exists(directory["D"]));
        Assert.Equal(["MANIFEST"], Directory.EnumerateFileSystemEntries(directory["full"]).Select(Path.GetFileName));
    }
}
