using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Verification;
using TsdbRemote.TestSupport;
using TsdbRemote.Verbs;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Engine;

/// <summary>A manifest that is damaged or gone is rebuilt of what is there, and the same is read as before.</summary>
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
        Flip(disk, "MANIFEST", 100, 3);
        if (!previousIsWhole) Flip(disk, "MANIFEST.prev", 100, 3);
        byte[] damaged = disk.ReadAll(Current);
        RebuiltManifest rebuilt = ManifestRebuild.Run(disk, Root, WindowMs);
        Assert.Equal(before.DirectoryId, rebuilt.Manifest.DirectoryId);
        Assert.Equal(before.Tables.Select(static table => table.Id), rebuilt.Manifest.Tables.Select(static table => table.Id));
        Assert.Equal(before.Blocks.Select(static block => (block.Ulid, block.Rank)).Order(), rebuilt.Manifest.Blocks.Select(static block => (block.Ulid, block.Rank)).Order());
        Assert.Equal(before.Dictionaries.Single(), rebuilt.Manifest.Dictionaries.Single());
        Assert.Equal(damaged, disk.ReadAll($"{Root}/quarantine/MANIFEST"));
        VerifyReport report = Verify(disk);
        Assert.True(report.IsSound, Text(report));

        // It is there after a power cut, too; and what is written from then on is nobody else's number.
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            CrashFileSystem image = disk.CrashClone(policy, seed: 1);
            EngineHarness engine = GoldenDirectory.Open(image);
            Assert.Equal(expected, GoldenDirectory.Read(engine));
            Assert.Contains("was damaged, and rebuilt of what was there", Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
            Write(engine, window: 0, from: 350);
            engine.CompactByStep();
            Dictionary<string, List<LaneSample>> all = engine.ReadMixed();
            Assert.Equal(all.Sum(static series => series.Value.Count), GoldenDirectory.Open(image.CrashClone(CrashPolicy.All, seed: 1)).ReadMixed().Sum(static series => series.Value.Count));
        }
    }

    [Fact]
    public void T41_a_manifest_that_is_gone_is_rebuilt_at_every_end_of_a_history_and_the_same_is_read()
    {
        var disk = new CrashFileSystem("/disk");
        List<(CrashFileSystem Disk, string What)> images = [];
        int changes = 0;

        // A kill at each change of a name: in the midst of flushes, merges and conversions, with rests and with what is no longer named.
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind is FileOperationKind.Rename or FileOperationKind.Unlink or FileOperationKind.SyncDir && ++changes % 3 == 0) images.Add((disk.CrashClone(CrashPolicy.All, seed: 1), $"{operation}"));
        };
        EngineHarness history = EngineHarness.OpenStepwise(disk, EngineHarness.SmallOptions, Clock());
        for (int round = 0; round < 6; round++)
        {
            Write(history, window: -(round % 3), from: 20 * round);
            history.FlushByStep();
            if (round % 2 == 1) history.CompactByStep();
        }

        int rebuilt = 0;
        foreach ((CrashFileSystem image, string what) in images.Where(static image => image.Disk.FileSize(Current) is not null))
        {
            string expected = GoldenDirectory.Read(GoldenDirectory.Open(image.CrashClone(CrashPolicy.All, seed: 1)));
            image.Unlink(Current);
            if (image.FileSize(Previous) is not null) image.Unlink(Previous);
            if (Manifest.FindData(image, Root) is null) continue;
            ManifestRebuild.Run(image, Root, WindowMs);
            string read = GoldenDirectory.Read(GoldenDirectory.Open(image));
            Assert.True(expected == read, $"before {what} something else was read");
            rebuilt++;
        }

        Assert.True(rebuilt > 15, $"{rebuilt} of {images.Count}");
    }

    [Fact]
    public void A_damaged_table_goes_to_quarantine_and_the_rest_is_named()
    {
        CrashFileSystem disk = Killed();
        string table = FilesOf(disk, "tables/").Order(StringComparer.Ordinal).First(static file => file.EndsWith(".sst", StringComparison.Ordinal));
        byte[] bytes = disk.ReadAll($"{Root}/{table}");
        Flip(disk, table, bytes.Length - 1, 1);
        byte[] damaged = disk.ReadAll($"{Root}/{table}");
        Flip(disk, "MANIFEST", 100, 3);
        RebuiltManifest rebuilt = ManifestRebuild.Run(disk, Root, WindowMs);
        Assert.Contains(rebuilt.Told, told => told.Contains(table, StringComparison.Ordinal));
        Assert.Equal(damaged, disk.ReadAll($"{Root}/quarantine/table-{Path.GetFileName(table)}"));
        Assert.NotEmpty(GoldenDirectory.Open(disk).ReadMixed());
    }

    [Fact]
    public void What_is_whole_of_a_later_version_of_somebody_else_or_of_other_windows_is_not_rebuilt_and_nothing_is_changed()
    {
        CrashFileSystem disk = Killed();
        Refuses(disk, "is whole");
        byte[] whole = disk.ReadAll(Current);
        string text = Encoding.UTF8.GetString(whole);

        Replace(disk, Current, Encoding.UTF8.GetBytes(text.Replace("\"format_version\": 1", "\"format_version\": 1 ", StringComparison.Ordinal)));
        disk.Unlink(Previous);
        string durationDamaged = text.Replace("7200000", "7200001", StringComparison.Ordinal);
        CrashFileSystem other = disk.CrashClone(CrashPolicy.All, seed: 1);
        Replace(other, Current, Encoding.UTF8.GetBytes(durationDamaged));
        Refuses(other, "block_duration");

        string log = FilesOf(disk, "wal/").Order(StringComparer.Ordinal).First();
        CrashFileSystem foreign = new("/disk");
        EngineHarness somebody = EngineHarness.OpenStepwise(foreign, EngineHarness.SmallOptions, Clock());
        Write(somebody, window: 0, from: 0);
        Replace(disk, $"{Root}/{log}", foreign.ReadAll($"{Root}/wal/00000001.log"));
        Refuses(disk, "is of data directory");
    }

    [Fact]
    public async Task The_verb_rebuilds_on_a_real_disk_and_says_so()
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
        Assert.Equal(2, RepairVerb.Run([], output, errors));
        Assert.Equal(2, RepairVerb.Run([root, "--block-duration=long"], output, errors));
        Assert.Equal(1, RepairVerb.Run([root], output, errors));
        Assert.Contains("is whole", errors.ToString(), StringComparison.Ordinal);
        string manifest = Path.Combine(root, "MANIFEST");
        byte[] bytes = await File.ReadAllBytesAsync(manifest);
        bytes[50] ^= 4;
        await File.WriteAllBytesAsync(manifest, bytes);
        Assert.Equal(0, RepairVerb.Run([root, "--block-duration=2h"], output, errors));
        Assert.Contains("MANIFEST is rebuilt: 3 tables, 2 blocks, 2 log segments", output.ToString(), StringComparison.Ordinal);
        await using EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(mmap: false), EngineHarness.SmallOptions with { DataDir = root }, Clock());
        Assert.Equal(GoldenDirectory.ExpectedOf("directory-v1"), GoldenDirectory.Read(engine));
    }

    private static void DoDeletes(CrashFileSystem disk)
    {
        EngineHarness engine = GoldenDirectory.Open(disk);
        engine.CleanByStep();
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Write(engine, window: 0, from: 400);
        engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
    }

    private static void Refuses(CrashFileSystem disk, string why)
    {
        string before = ContentsOf(disk);
        CannotRebuildException refused = Assert.Throws<CannotRebuildException>(() => ManifestRebuild.Run(disk, Root, WindowMs));
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
