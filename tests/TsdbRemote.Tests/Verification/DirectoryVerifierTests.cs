using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Verification;

/// <summary>What is sound is told to be sound, whatever mode and whatever moment; a stray is not, nor is what somebody else holds.</summary>
public sealed class DirectoryVerifierTests
{
    private static readonly StorageOptions Small = EngineHarness.SmallOptions;

    public static TheoryData<string> Modes => [.. OptionsOf.Keys];

    private static readonly Dictionary<string, StorageOptions> OptionsOf = new()
    {
        ["default"] = Small,
        ["no block compaction"] = Small with { Integration = new IntegrationOptions { BlockCompaction = false } },
        ["block-only"] = Small with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } },
        ["tables only"] = Small with { Integration = new IntegrationOptions { HybridMode = false } },
        ["reject"] = Small with { Conflicts = ConflictPolicy.Reject },
        ["interval"] = Small with { Wal = Small.Wal with { Durability = WalDurability.Interval } },
        ["no log"] = Small with { Wal = Small.Wal with { Durability = WalDurability.None } },
        ["leveled"] = Small with { Lsm = Small.Lsm with { CompactionStrategy = CompactionStrategy.Leveled } },
        ["no exemplars"] = Small with { Exemplars = new ExemplarOptions { Memory = ByteSize.Parse("0") } },
    };

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task A_directory_of_any_mode_is_sound_after_a_kill_a_start_and_a_stop(string mode)
    {
        var disk = new CrashFileSystem("/disk");
        ManualTime time = Clock();
        EngineHarness engine = Fill(disk, OptionsOf[mode], time);
        CrashFileSystem killed = disk.CrashClone(CrashPolicy.All, seed: 1);
        VerifyReport report = Verify(killed);
        Assert.True(report.IsSound, Text(report));
        Assert.True(report.Counts.TableSamples + report.Counts.BlockSamples > 0);
        await engine.StopWithoutFlushAsync();
        AssertSound(disk);
        engine = EngineHarness.OpenStepwise(disk, OptionsOf[mode], time);
        AssertSound(disk.CrashClone(CrashPolicy.All, seed: 1));
        time.Advance(TimeSpan.FromHours(3));
        engine.CompactByStep();
        AssertSound(disk.CrashClone(CrashPolicy.All, seed: 1));
        await engine.DisposeAsync();
        AssertSound(disk);
    }

    [Fact]
    public void The_counts_are_those_of_the_files()
    {
        CrashFileSystem disk = Killed();
        VerifyReport report = Verify(disk);
        VerifyCounts counts = report.Counts;
        Assert.Equal(1, counts.Dictionaries);
        Assert.Equal(FilesOf(disk, "tables/").Count(), counts.Tables);
        Assert.Contains(FilesOf(disk, "tables/"), static file => file.Count(static letter => letter == '/') == 2); // above level 0
        Assert.Equal(disk.List($"{Root}/blocks").Count, counts.Blocks);
        Assert.Equal((2, 2, 1600), (counts.Segments, counts.Records, counts.RecordSamples));
        Assert.Equal(42, counts.DictionarySeries); // 40, the one that is told of, the histogram
        Assert.Equal(40 * 6 * 20 + 40 * 20 + 40 * 3, counts.TableSamples);
        Assert.Equal(2 + 2 * 40 * 20, counts.BlockSamples);
        Assert.False(report.IsOnline);
    }

    [Fact]
    public void The_progress_goes_to_its_end_and_never_back()
    {
        List<VerifyProgress> told = [];
        DirectoryVerifier.Verify(Killed(), Root, told.Add, CancellationToken.None);
        Assert.True(told.Count > 10);
        Assert.True(told[0].BytesDone * 10 < told[0].BytesTotal, $"it begins with {told[0]}");
        for (int i = 1; i < told.Count; i++) Assert.True(told[i].BytesDone >= told[i - 1].BytesDone, $"{told[i - 1]}, then {told[i]}");
        Assert.Equal(told[^1].BytesTotal, told[^1].BytesDone);
        Assert.Contains(told, static one => one.File.StartsWith("tables/", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Whatever_a_power_cut_leaves_is_sound(bool blockOnly)
    {
        var disk = new CrashFileSystem("/disk");
        List<CrashFileSystem> images = [];
        disk.BeforeOperation = (number, operation) =>
        {
            if (number % 9 == 0 && disk.FileSize($"{Root}/MANIFEST") is not null)
                images.Add(disk.CrashClone(CrashPolicy.Every[(int)(number / 9) % CrashPolicy.Every.Count], (int)number));
        };
        Fill(disk, OptionsOf[blockOnly ? "block-only" : "default"], Clock());
        Assert.True(images.Count > 30);
        long notes = 0;
        foreach (CrashFileSystem image in images)
        {
            VerifyReport report = Verify(image);
            Assert.True(report.IsSound, $"{Text(report)}\n{image.Dump()}");
            notes += report.Notes;
        }

        Assert.True(notes > 0, "no rest of a step was seen");
    }

    [Fact]
    public void An_empty_directory_is_no_data_directory()
    {
        var disk = new CrashFileSystem("/disk", Root);
        CannotVerifyException refused = Assert.Throws<CannotVerifyException>(() => Verify(disk));
        Assert.Contains("is its volume mounted?", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_directory_whose_first_start_was_cut_off_is_sound()
    {
        var disk = new CrashFileSystem("/disk", Root);
        new DataLayout(Root).MakeDirectories(disk);
        disk.WriteNew($"{Root}/MANIFEST.tmp", [1]);
        VerifyReport report = Verify(disk);
        Assert.True(report is { IsSound: true, Generation: null, Notes: 1 }, Text(report));
    }

    [Fact]
    public void What_is_left_of_a_store_without_its_manifest_is_told()
    {
        var disk = new CrashFileSystem("/disk", Root);
        new DataLayout(Root).MakeDirectories(disk);
        foreach (string file in (string[])["METADATA", "EXEMPLARS", "quarantine/table-7.sst", "letter.txt"]) disk.WriteNew($"{Root}/{file}", [1]);
        disk.MakeDir($"{Root}/snapshots/20231114T221320Z-1");
        VerifyReport report = Verify(disk);
        Assert.All(report.Findings, static finding => Assert.Equal(VerifySeverity.Warning, finding.Severity));
        Assert.Equal(["EXEMPLARS", "METADATA", "letter.txt", "quarantine", "snapshots"], report.Findings.Select(static finding => finding.File).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_directory_that_was_only_opened_is_sound()
    {
        var disk = new CrashFileSystem("/disk", Root);
        await EngineHarness.OpenStepwise(disk, Small).DisposeAsync();
        AssertSound(disk);
    }

    [Fact]
    public async Task A_snapshot_is_listed_and_sound_by_itself()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = Fill(disk, Small, Clock());
        engine.FlushByStep();
        string name = await engine.Engine.SnapshotAsync(skipHead: true, CancellationToken.None);
        CrashFileSystem killed = disk.CrashClone(CrashPolicy.All, seed: 1);
        Assert.Equal([name], Verify(killed).Snapshots);
        VerifyReport report = Verify(killed, $"{Root}/snapshots/{name}");
        Assert.True(report.IsSound && report.Notes == 0, Text(report));
        Assert.Equal(0, report.Counts.Segments);
        Assert.True(report.Counts.Tables > 0 && report.Counts.Blocks > 0);
    }

    [Fact]
    public void Who_holds_the_directory_is_named()
    {
        var disk = new CrashFileSystem("/disk");
        Fill(disk, Small, Clock());
        CannotVerifyException held = Assert.Throws<CannotVerifyException>(() => Verify(disk));
        Assert.Contains($"pid {Environment.ProcessId}", held.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_server_can_start_meanwhile_and_one_can_afterwards()
    {
        CrashFileSystem disk = Killed();
        bool wasRefused = false;
        DirectoryVerifier.Verify(disk, Root, _ => wasRefused |= Record.Exception(() => EngineHarness.OpenStepwise(disk)) is DirectoryLockedException, CancellationToken.None);
        Assert.True(wasRefused);
        EngineHarness.OpenStepwise(disk, time: Clock());
    }

    [Fact]
    public void Something_else_is_no_data_directory()
    {
        var disk = new CrashFileSystem("/disk/other/music");
        disk.WriteNew("/disk/other/letter.txt", [1]);
        Assert.Throws<CannotVerifyException>(() => Verify(disk, "/disk/other"));
    }

    [Fact]
    public void What_is_in_quarantine_is_listed_and_no_finding()
    {
        CrashFileSystem disk = Killed();
        disk.WriteNew($"{Root}/quarantine/table-7.sst", new byte[70]);
        disk.MakeDir($"{Root}/quarantine/block-x");
        disk.WriteNew($"{Root}/quarantine/block-x/index", new byte[30]);
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));
        Assert.Equal([new KeptFile("block-x", 30), new KeptFile("table-7.sst", 70)], report.Quarantine);
    }

    [Fact]
    public void A_block_of_somebody_else_is_a_note_if_it_is_whole_and_a_finding_if_not()
    {
        CrashFileSystem disk = Killed();
        string whole = TestBlocks.Put(disk, $"{Root}/blocks", TestBlocks.Name(1), [(Labels.Encode(("__name__", "a")), [Sample.Of(At(-9), 1)])]).ToString();
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));
        Assert.Contains(report.Findings, finding => finding.File == $"blocks/{whole}" && finding.Meaning.Contains("adopts", StringComparison.Ordinal));
        Flip(disk, $"blocks/{whole}/chunks/000001", 12, 3);
        VerifyFinding finding = Assert.Single(Verify(disk).Findings, static finding => finding.Severity != VerifySeverity.Note);
        Assert.Equal((VerifySeverity.Warning, $"blocks/{whole}"), (finding.Severity, finding.File));
    }

    [Fact]
    public void Rests_that_the_next_start_removes_are_notes_and_are_gone_then()
    {
        CrashFileSystem disk = Killed();
        string[] rests = ["MANIFEST.tmp", "METADATA.tmp", "tables/900.sst.tmp", "wal/00000001.log", "series/00000077.dict", "snapshots/x.tmp/MANIFEST"];
        disk.MakeDir($"{Root}/snapshots/x.tmp");
        disk.MakeDir($"{Root}/blocks/{TestBlocks.Name(3)}.tmp-for-creation");
        foreach (string rest in rests) disk.WriteNew($"{Root}/{rest}", [1, 2, 3]);
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));
        Assert.True(report.Notes >= rests.Length + 1, Text(report));
        EngineHarness.OpenStepwise(disk, time: Clock());
        Assert.DoesNotContain(rests, rest => disk.FileSize($"{Root}/{rest}") is not null);
        Assert.Equal(0, Verify(disk.CrashClone(CrashPolicy.All, 1)).Notes);
    }

    [Fact]
    public void Damage_of_a_window_that_went_into_a_block_is_a_warning()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Small, Clock());
        Write(engine, window: -1, from: 0);
        Write(engine, window: 0, from: 0);
        engine.FlushByStep();
        disk = disk.CrashClone(CrashPolicy.All, seed: 1);
        ManifestState state = Manifest.TryLoad(disk, Root, out _)!;
        TableEntry table = Assert.Single(state.Tables, static table => table.Windows.Length == 2);
        string file = $"tables/{table.Id}.sst";
        Flip(disk, file, 40, 2);
        Assert.Contains(Verify(disk).Findings, finding => (finding.File, finding.Severity) == (file, VerifySeverity.Error));
        disk.Unlink($"{Root}/MANIFEST");
        disk.WriteNew($"{Root}/MANIFEST", ManifestText.Write(state with { Tables = state.Tables.Replace(table, table with { Windows = [table.Windows[1]] }) }));
        VerifyReport report = Verify(disk);
        Assert.Equal(0, report.Errors);
        VerifyFinding finding = Assert.Single(report.Findings, static finding => finding.Severity == VerifySeverity.Warning);
        Assert.Equal((file, 16L), (finding.File, finding.Offset));
        Assert.Contains("nothing is lost", finding.Meaning, StringComparison.Ordinal);
    }

    private static void AssertSound(CrashFileSystem disk)
    {
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));
    }
}
