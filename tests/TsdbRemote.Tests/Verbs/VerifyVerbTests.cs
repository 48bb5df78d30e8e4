using System.Text.Json;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;
using TsdbRemote.Tests.Verification;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;
using TsdbRemote.Verbs;

namespace TsdbRemote.Tests.Verbs;

/// <summary>The verb on a real disk: exit codes, both forms of the report, progress, and that nothing is changed.</summary>
public sealed class VerifyVerbTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _progress = new();

    private string Root => _directory["data"];

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_sound_directory_gives_0_and_a_report_for_people()
    {
        await FillAsync();
        Assert.Equal(0, Run(Root));
        Assert.StartsWith($"{Root}: sound", _output.ToString(), StringComparison.Ordinal);
        Assert.Matches(@"(?m)^tables +\d+, [\d,]+ chunks, [\d,]+ samples$", _output.ToString());
        Assert.Matches(@"(?m)^100 ?% of [\d.]+ [KM]?B, \d+ s$", _progress.ToString());
    }

    [Fact]
    public async Task Findings_give_1_and_both_reports_name_file_place_and_meaning()
    {
        await FillAsync();
        string table = Directory.EnumerateFiles(Path.Combine(Root, "tables"), "*.sst").First();
        byte[] bytes = await File.ReadAllBytesAsync(table);
        bytes[40] ^= 4;
        await File.WriteAllBytesAsync(table, bytes);
        string name = Path.GetRelativePath(Root, table);
        Assert.Equal(1, Run(Root + "/"));
        Assert.Contains($"error        {name} at 16: ", _output.ToString(), StringComparison.Ordinal);
        Assert.Contains("everything else is served", _output.ToString(), StringComparison.Ordinal);
        Assert.Contains($"{Root}: 1 error, 0 warnings", _output.ToString(), StringComparison.Ordinal);

        _output.GetStringBuilder().Clear();
        Assert.Equal(1, Run(Root, "--json"));
        using JsonDocument report = JsonDocument.Parse(_output.ToString());
        JsonElement root = report.RootElement;
        Assert.Equal(("findings", 1, 0), (root.GetProperty("verdict").GetString(), root.GetProperty("errors").GetInt32(), root.GetProperty("warnings").GetInt32()));
        JsonElement finding = root.GetProperty("findings").EnumerateArray().First(static one => one.GetProperty("severity").GetString() == "error");
        Assert.Equal((name, 16), (finding.GetProperty("file").GetString(), finding.GetProperty("offset").GetInt64()));
        Assert.NotEqual("", finding.GetProperty("what").GetString());
        Assert.NotEqual("", finding.GetProperty("meaning").GetString());
        Assert.True(root.GetProperty("counts").GetProperty("tableSamples").GetInt64() > 0);
        Assert.Equal(JsonValueKind.Array, root.GetProperty("quarantine").ValueKind);
    }

    [Fact]
    public async Task Nothing_is_changed_not_even_a_time()
    {
        await FillAsync();
        string[] all = [Root, .. Directory.EnumerateFileSystemEntries(Root, "*", SearchOption.AllDirectories)];

        // As of long ago, so that a disk that notes accesses only now and then would note this one.
        var old = new DateTime(2020, 1, 2, 3, 4, 5, DateTimeKind.Utc);
        foreach (string path in all)
        {
            Directory.SetLastWriteTimeUtc(path, old);
            Directory.SetLastAccessTimeUtc(path, old);
        }

        Dictionary<string, string> before = Contents();
        foreach (string path in all) Directory.SetLastAccessTimeUtc(path, old);
        Assert.Equal(0, Run(Root));
        Assert.All(all, path => Assert.Equal((old, old), (Directory.GetLastWriteTimeUtc(path), Directory.GetLastAccessTimeUtc(path))));
        Assert.Equal(before, Contents());
    }

    [Fact]
    public async Task A_directory_in_use_gives_2_and_names_who_has_it()
    {
        await FillAsync();
        await using (EngineHarness.Open(new LocalFileSystem(), OptionsOf(Root)))
        {
            Assert.Equal(2, Run(Root));
            Assert.Contains($"pid {Environment.ProcessId}", _progress.ToString(), StringComparison.Ordinal);
        }

        Assert.Equal("", _output.ToString());
        Assert.Equal(0, Run(Root));
    }

    [Theory]
    [InlineData]
    [InlineData("")]
    [InlineData("--json")]
    [InlineData("--frob", ".")]
    [InlineData("a", "b")]
    [InlineData("/nowhere/at/all")]
    [InlineData("/proc")]
    public void What_cannot_be_verified_gives_2(params string[] args)
    {
        Assert.Equal(2, Run(args));
        Assert.NotEqual("", _progress.ToString());
        Assert.Equal("", _output.ToString());
    }

    [Fact]
    public void An_empty_directory_gives_2()
    {
        Directory.CreateDirectory(Root);
        Assert.Equal(2, Run(Root));
        Assert.Equal("", _output.ToString());
    }

    [Theory]
    [InlineData(80, "...")]
    [InlineData(60, "...")]
    [InlineData(0, "...")]
    [InlineData(40, "[###")]
    [InlineData(10, "[###")]
    [InlineData(200, "blocks/01M87K85AJTSJCZBCX46AVGB98")]
    public void No_line_reaches_the_end_of_the_window(int columns, string shown)
    {
        var time = new ManualTime();
        int wide = 200;
        var bar = new ProgressBar(_progress, isTerminal: true, time, () => wide);
        var progress = new VerifyProgress(1023L << 30, 1024L << 30, "blocks/01M87K85AJTSJCZBCX46AVGB98/chunks");
        bar.Show(progress);
        wide = columns; // somebody draws the window smaller
        _progress.GetStringBuilder().Clear();
        time.Advance(TimeSpan.FromSeconds(1));
        bar.Show(progress);
        bar.Clear();
        int room = (columns > 0 ? columns : 80) - 1;
        Assert.All(_progress.ToString().Split('\r'), line => Assert.True(line.Length <= room, $"{line.Length} columns: {line}"));
        Assert.Contains(shown, _progress.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task On_a_terminal_a_bar_is_drawn_over_itself_and_taken_away()
    {
        await FillAsync();
        Assert.Equal(0, VerifyVerb.Run([Root], _output, _progress, isTerminal: true));
        string drawn = _progress.ToString();
        Assert.DoesNotContain('\n', drawn);
        Assert.Matches(@"^\r\[[#.]{30}\] ", drawn);
        Assert.Matches(@"\r +\r$", drawn);
    }

    [Fact]
    public void Help_tells_of_it()
    {
        TextWriter console = Console.Out;
        try
        {
            Console.SetOut(_output);
            HelpVerb.Run();
        }
        finally
        {
            Console.SetOut(console);
        }

        Assert.Contains("verify DIR [--json]", _output.ToString(), StringComparison.Ordinal);
    }

    private int Run(params string[] args) => VerifyVerb.Run(args, _output, _progress, isTerminal: false);

    private static StorageOptions OptionsOf(string root) =>
        EngineHarness.SmallOptions with { DataDir = root, Integration = new IntegrationOptions { BlockCompaction = false } };

    private async Task FillAsync()
    {
        EngineHarness engine = VerifiedDirectory.Fill(new LocalFileSystem(mmap: false), OptionsOf(Root), VerifiedDirectory.Clock());
        await engine.StopWithoutFlushAsync();
    }

    private Dictionary<string, string> Contents() => Directory.EnumerateFiles(Root, "*", SearchOption.AllDirectories)
        .ToDictionary(static path => path, static path => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path))));
}
