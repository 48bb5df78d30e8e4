using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;
using TsdbRemote.TestSupport;
using TsdbRemote.Verbs;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Engine;

/// <summary>A manifest that is damaged or gone is rebuilt of what is there, wherever that is cut off; what cannot be rebuilt is refused, and what is damaged put aside.</summary>
public sealed class ManifestRebuildTests
{
    private const string Current = $"{Root}/MANIFEST";
    private const string Previous = $"{Root}/MANIFEST.prev";
    private const long WindowMs = 7_200_000;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void T41_a_damaged_manifest_is_rebuilt_of_tables_dictionary_blocks_and_log_and_the_same_is_read(bool previousIsWhole)
    {
        CrashFileSystem disk = Killed();
        if (!previousIsWhole) DoDeletes(disk);
        string expected = GoldenDirectory.Read(GoldenDirectory.Open(disk.CrashClone(CrashPolicy.All, seed: 1)));
        ManifestState before = Manifest.TryLoad(disk, Root, out _)!;
        Wreck(disk, previousIsWhole);
        byte[] damaged = disk.ReadAll(Current);
        RebuiltManifest rebuilt = ManifestRebuild.Run(disk, Root);
        Assert.Equal(before.DirectoryId, rebuilt.Manifest.DirectoryId);
        Assert.Equal(before.Tables.Select(static table => table.Id), rebuilt.Manifest.Tables.Select(static table => table.Id));
        Assert.Equal(before.Blocks.Select(static block => (block.Ulid, block.Rank, block.AppliedTo)).Order(), rebuilt.Manifest.Blocks.Select(static block => (block.Ulid, block.Rank, block.AppliedTo)).Order());
        Assert.Equal(before.Dictionaries.Single(), rebuilt.Manifest.Dictionaries.Single());
        Assert.Equal(damaged, disk.ReadAll($"{Root}/quarantine/MANIFEST"));
        Assert.Equal(previousIsWhole, rebuilt.Doubts.Count == 0);
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));

        // It is there after a power cut, too; what stands in for it is the same; and what is written from then on is nobody else's number.
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            CrashFileSystem image = disk.CrashClone(policy, seed: 1);
            Assert.Equal(expected, GoldenDirectory.Read(GoldenDirectory.Open(image.CrashClone(CrashPolicy.All, seed: 1))));
            Flip(image, "MANIFEST", 100, 3);
            EngineHarness engine = GoldenDirectory.Open(image);
            Assert.Equal(expected, GoldenDirectory.Read(engine));
            Write(engine, window: 0, from: 350);
            engine.CompactByStep();
            Dictionary<string, List<LaneSample>> all = engine.ReadMixed();
            Assert.Equal(all.Sum(static series => series.Value.Count), GoldenDirectory.Open(image.CrashClone(CrashPolicy.All, seed: 1)).ReadMixed().Sum(static series => series.Value.Count));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void T41_a_rebuild_that_a_power_cut_ends_before_any_operation_is_done_again_and_comes_to_the_same(bool previousIsWhole)
    {
        CrashFileSystem disk = WithRests(out string expected);
        Wreck(disk, previousIsWhole);
        List<(CrashFileSystem Image, string When)> images = [];
        CrashFileSystem cut = disk.CrashClone(CrashPolicy.All, seed: 1);
        CrashPolicy[] policies = [CrashPolicy.OnlySynced, CrashPolicy.All, CrashPolicy.RandomPages(0.5), CrashPolicy.Reordered];
        cut.BeforeOperation = (number, operation) =>
        {
            if (operation.Kind is FileOperationKind.Read or FileOperationKind.Length or FileOperationKind.Close or FileOperationKind.OpenRead or FileOperationKind.FileSize or FileOperationKind.List) return;
            foreach (CrashPolicy policy in policies) images.Add((cut.CrashClone(policy, (int)number), $"before operation {number} ({operation}), {policy}"));
        };
        RebuiltManifest rebuilt = ManifestRebuild.Run(cut, Root);
        cut.BeforeOperation = null;
        Assert.True(rebuilt.Aside.Count > 5, string.Join('\n', rebuilt.Aside));
        Assert.True(images.Count > 40, $"{images.Count} images");
        foreach ((CrashFileSystem image, string when) in images.Append((cut, "at the end")))
        {
            if (image.FileSize(Current) is null || Manifest.Read(image, Current, out _) is not null) ManifestRebuild.Run(image, Root);
            string read = GoldenDirectory.Read(GoldenDirectory.Open(image));
            Assert.True(expected == read, $"{when}: something else is read");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void T41_a_disk_that_refuses_any_operation_of_a_rebuild_loses_nothing(bool previousIsWhole)
    {
        CrashFileSystem wrecked = WithRests(out string expected);
        Wreck(wrecked, previousIsWhole);
        int refused = 0;
        for (int call = 1; ; call++)
        {
            CrashFileSystem disk = wrecked.CrashClone(CrashPolicy.All, seed: 1);
            var rule = new FaultRule(new Fault.Error(DiskException.InputOutput), FailureHistory.Changes) { OnCall = call };
            var files = new FaultInjector(disk);
            files.Add(rule);
            try
            {
                ManifestRebuild.Run(files, Root);
            }
            catch (Exception failure) when (failure is DiskException or ManifestUncertainException)
            {
                refused++;
            }

            if (rule.Injections == 0) break;
            if (disk.FileSize(Current) is null || Manifest.Read(disk, Current, out _) is not null) ManifestRebuild.Run(disk, Root);
            string read = GoldenDirectory.Read(GoldenDirectory.Open(disk));
            Assert.True(expected == read, $"call {call} refused: something else is read");
        }

        Assert.True(refused > 10, $"{refused} refused");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void T41_damaged_tables_and_blocks_are_put_aside_and_named_and_the_rest_is_served(bool previousIsWhole)
    {
        CrashFileSystem disk = Killed();
        Dictionary<string, List<LaneSample>> expected = GoldenDirectory.Open(disk.CrashClone(CrashPolicy.All, seed: 1)).ReadMixed();
        string table = FilesOf(disk, "tables/").Order(StringComparer.Ordinal).First(static file => file.EndsWith(".sst", StringComparison.Ordinal));
        Flip(disk, table, disk.ReadAll($"{Root}/{table}").Length - 1, 1);
        byte[] damaged = disk.ReadAll($"{Root}/{table}");
        string index = FilesOf(disk, "blocks/").First(static file => file.EndsWith("/index", StringComparison.Ordinal));
        Flip(disk, index, 0, 1);
        string ulid = index.Split('/')[1];
        Wreck(disk, previousIsWhole);
        RebuiltManifest rebuilt = ManifestRebuild.Run(disk, Root);
        Assert.Contains(rebuilt.Aside, aside => aside.Contains(table, StringComparison.Ordinal));
        Assert.Contains(rebuilt.Doubts, doubt => doubt.Contains(table, StringComparison.Ordinal));
        Assert.Equal(damaged, disk.ReadAll($"{Root}/quarantine/table-{Path.GetFileName(table)}"));
        if (previousIsWhole) Assert.Contains(rebuilt.Manifest.Blocks, block => block.Ulid == ulid); // named, and out of service until it can be opened
        else Assert.Contains(rebuilt.Aside, aside => aside.Contains(ulid, StringComparison.Ordinal));
        Dictionary<string, List<LaneSample>> read = GoldenDirectory.Open(disk).ReadMixed();
        Assert.NotEmpty(read);
        Assert.All(read, series => Assert.Contains(series.Key, expected.Keys));
    }

    [Fact]
    public void T41_what_is_whole_of_a_later_version_in_use_of_somebody_else_or_of_other_windows_is_not_rebuilt_and_nothing_is_changed()
    {
        CrashFileSystem disk = Killed();
        Refuses(disk, "is whole");
        string text = Encoding.UTF8.GetString(disk.ReadAll(Current));
        Flip(disk, "MANIFEST", 100, 3);
        Refuses(disk, "7200000", windowMs: 3_600_000);
        using (disk.Lock($"{Root}/LOCK", "a server")) Assert.Throws<DirectoryLockedException>(() => ManifestRebuild.Run(disk, Root));

        CrashFileSystem later = disk.CrashClone(CrashPolicy.All, seed: 1);
        string json = text[..(text.LastIndexOf("crc32c", StringComparison.Ordinal))].Replace("\"format_version\": 1", "\"format_version\": 2", StringComparison.Ordinal);
        Replace(later, Previous, Encoding.UTF8.GetBytes($"{json}crc32c: {Crc32C.Of(Encoding.UTF8.GetBytes(json)):x8}\n"));
        Refuses(later, "format version 2");

        CrashFileSystem mixed = disk.CrashClone(CrashPolicy.All, seed: 1);
        string log = FilesOf(disk, "wal/").Order(StringComparer.Ordinal).First();
        CrashFileSystem foreign = new("/disk");
        Write(EngineHarness.OpenStepwise(foreign, EngineHarness.SmallOptions, Clock()), window: 0, from: 0);
        Replace(mixed, $"{Root}/{log}", foreign.ReadAll($"{Root}/wal/00000001.log"));
        Refuses(mixed, "is of data directory");

        CrashFileSystem nameless = disk.CrashClone(CrashPolicy.All, seed: 1);
        foreach (string file in FilesOf(nameless, "series/").ToArray()) nameless.Unlink($"{Root}/{file}");
        Refuses(nameless, "without labels");

        CrashFileSystem empty = new("/disk", Root);
        Refuses(empty, "nothing to rebuild");
    }

    [Fact]
    public async Task T41_the_verb_rebuilds_on_a_real_disk_says_so_and_refuses_by_its_exit_code()
    {
        using var directory = new TempDirectory();
        string root = directory["data"];
        foreach (string file in GoldenDirectory.FilesIn("directory-v1"))
        {
            string path = Path.Combine(root, file);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Copy(Repository.TestData($"golden/directory-v1/{file}"), path);
        }

        using var output = new StringWriter();
        using var errors = new StringWriter();
        foreach (string[] wrong in (string[][])[[], [root], ["--rebuild-manifest"], ["--rebuild-manifest", root, "--block-duration=long"], ["--rebuild-manifest", root, root], ["--rebuild-manifest", directory["none"]]])
            Assert.Equal(2, RepairVerb.Run(wrong, output, errors));
        Assert.Equal(1, RepairVerb.Run(["--rebuild-manifest", root], output, errors));
        Assert.Contains("is whole", errors.ToString(), StringComparison.Ordinal);
        string manifest = Path.Combine(root, "MANIFEST");
        byte[] bytes = await File.ReadAllBytesAsync(manifest);
        bytes[50] ^= 4;
        await File.WriteAllBytesAsync(manifest, bytes);
        Assert.Equal(0, RepairVerb.Run(["--rebuild-manifest", root, "--block-duration=2h"], output, errors));
        Assert.Contains("3 tables, 2 blocks and 2 log segments are named", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("MANIFEST is rebuilt", output.ToString(), StringComparison.Ordinal);
        Assert.Equal(bytes, await File.ReadAllBytesAsync(Path.Combine(root, "quarantine", "MANIFEST")));
        Assert.Equal(1, RepairVerb.Run(["--rebuild-manifest", root], output, errors));
        await using EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(mmap: false), EngineHarness.SmallOptions with { DataDir = root }, Clock());
        Assert.Equal(GoldenDirectory.ExpectedOf("directory-v1"), GoldenDirectory.Read(engine));
    }

    /// <summary>A directory in which hardly anything could be removed: tables, blocks, segments and a dictionary that nobody needs any more.</summary>
    private static CrashFileSystem WithRests(out string expected)
    {
        var disk = new CrashFileSystem("/disk");
        var files = new FaultInjector(disk);
        EngineHarness engine = EngineHarness.OpenStepwise(files, EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } }, Clock(), collectFrom: 1);
        Write(engine, window: -3, from: 0);
        engine.FlushByStep();
        files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Unlink) { Sticky = true });
        Write(engine, window: -2, from: 0);
        engine.CompactByStep();
        for (int flush = 0; flush < 5; flush++)
        {
            Write(engine, window: 0, from: flush * 10);
            Write(engine, window: -3, from: flush * 10);
            engine.FlushByStep();
        }

        engine.TablesByStep();
        engine.CompactByStep();
        Write(engine, window: 0, from: 100);
        CrashFileSystem killed = disk.CrashClone(CrashPolicy.All, seed: 1);
        expected = GoldenDirectory.Read(GoldenDirectory.Open(killed.CrashClone(CrashPolicy.All, seed: 1)));
        return killed;
    }

    private static void DoDeletes(CrashFileSystem disk)
    {
        EngineHarness engine = GoldenDirectory.Open(disk);
        engine.CleanByStep();
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Write(engine, window: 0, from: 400);
        engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
    }

    private static void Wreck(CrashFileSystem disk, bool previousIsWhole)
    {
        Flip(disk, "MANIFEST", 100, 3);
        if (!previousIsWhole) Flip(disk, "MANIFEST.prev", 100, 3);
    }

    private static void Refuses(CrashFileSystem disk, string why, long? windowMs = null)
    {
        string before = ContentsOf(disk);
        CannotRebuildException refused = Assert.Throws<CannotRebuildException>(() => ManifestRebuild.Run(disk, Root, windowMs));
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, ContentsOf(disk));
    }

    private static string ContentsOf(CrashFileSystem disk) => string.Join(
        '\n', FilesOf(disk).Where(static file => file != "LOCK").Select(file => $"{file} {Convert.ToHexString(disk.ReadAll($"{Root}/{file}"))}"));

    private static void Replace(CrashFileSystem disk, string path, byte[] bytes)
    {
        disk.Unlink(path);
        disk.WriteNew(path, bytes, sync: true);
    }
}
