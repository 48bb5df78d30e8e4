using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>Laws of the simulated crash over random histories, and that the harness finds the mistakes it is built for.</summary>
public sealed class CrashLawTests
{
    [Fact]
    public void A_prefix_crash_leaves_the_tree_as_it_was_at_some_earlier_time()
    {
        Gen.Select(FileScript.Unsynced, Gen.Int[0, 1 << 30]).Sample(
            (steps, seed) =>
            {
                var disk = new CrashFileSystem();
                HashSet<string> states = [Text(disk)];
                using var script = new FileScript(disk, "");
                foreach (FileStep step in steps)
                {
                    script.Do(step);
                    states.Add(Text(disk));
                }

                Assert.Contains(Text(disk.CrashClone(CrashPolicy.Prefix, seed)), states);
                Assert.Equal(Text(disk), Text(disk.CrashClone(CrashPolicy.All, seed)));
                Assert.Equal("", Text(disk.CrashClone(CrashPolicy.OnlySynced, seed)));
            },
            iter: 200,
            threads: 1);
    }

    [Fact]
    public void After_syncing_everything_no_crash_changes_anything()
    {
        Gen.Select(FileScript.Synced, Gen.Int[0, 1 << 30]).Sample(
            (steps, seed) =>
            {
                var disk = new CrashFileSystem();
                using var script = new FileScript(disk, "");
                foreach (FileStep step in steps) script.Do(step);
                SyncAll(disk, "/");
                foreach (CrashPolicy policy in CrashPolicy.Every) Assert.Equal(Text(disk), Text(disk.CrashClone(policy, seed)));
            },
            iter: 150,
            threads: 1);
    }

    [Fact]
    public void The_same_seed_gives_the_same_disk_and_a_crashed_disk_does_not_change_by_crashing_again()
    {
        Gen.Select(FileScript.Synced, Gen.Int[0, 1 << 30]).Sample(
            (steps, seed) =>
            {
                var disk = new CrashFileSystem();
                using var script = new FileScript(disk, "");
                foreach (FileStep step in steps) script.Do(step);
                foreach (CrashPolicy policy in CrashPolicy.Every)
                {
                    CrashFileSystem after = disk.CrashClone(policy, seed);
                    Assert.Equal(Text(after), Text(disk.CrashClone(policy, seed)));
                    if (policy.Kind != CrashKind.All) Assert.Equal(Text(after), Text(after.CrashClone(CrashPolicy.OnlySynced, seed)));
                }
            },
            iter: 100,
            threads: 1);
    }

    [Fact]
    public void What_was_synced_survives_any_crash_whatever_is_appended_behind_it()
    {
        Gen.Select(Gen.Int[1, 9000], Gen.Int[1, 3000].Array[1, 8], Gen.Int[0, 1 << 30]).Sample(
            (synced, appended, seed) =>
            {
                var disk = new CrashFileSystem();
                byte[] bytes = new byte[synced];
                new Random(seed).NextBytes(bytes);
                using IFile file = disk.CreateNew("a");
                file.Preallocate(12_000);
                file.Write(0, bytes);
                file.SyncAll();
                disk.SyncDir("/");
                long end = synced;
                foreach (int length in appended)
                {
                    file.Write(end, bytes.AsSpan(0, Math.Min(length, synced)));
                    end += Math.Min(length, synced);
                }

                foreach (CrashPolicy policy in CrashPolicy.Every)
                    Assert.Equal(bytes, disk.CrashClone(policy, seed).ReadAll("a")[..synced]);
            },
            iter: 200,
            threads: 1);
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData(FileOperationKind.SyncAll, false)]
    [InlineData(FileOperationKind.SyncDir, false)]
    public void Replacing_a_file_is_safe_at_every_call_and_leaving_out_any_sync_is_found(FileOperationKind? leftOut, bool safe)
    {
        var disk = new CrashFileSystem();
        disk.WriteNew("MANIFEST", "old table"u8, sync: true);
        disk.WriteNew("old table", [1], sync: true);
        disk.WriteNew("new table", [1], sync: true);
        disk.SyncDir("/");

        var files = new FaultInjector(disk);
        if (leftOut is { } kind) files.Add(new FaultRule(new Fault.Lost(), kind));
        List<string> broken = [];
        disk.BeforeOperation = (number, operation) =>
        {
            foreach (CrashPolicy policy in CrashPolicy.Every)
            {
                for (int seed = 0; seed < 5; seed++)
                {
                    CrashFileSystem after = disk.CrashClone(policy, seed);
                    string named = System.Text.Encoding.UTF8.GetString(after.ReadAll("MANIFEST"));
                    if (named.Length == 0 || after.FileSize(named) != 1) broken.Add($"{number} {operation} {policy} {seed}: '{named}'");
                }
            }
        };

        files.WriteNew("MANIFEST.tmp", "new table"u8, sync: true);
        files.Rename("MANIFEST.tmp", "MANIFEST");
        files.SyncDir("/");
        files.Unlink("old table");
        disk.SyncDir("/");
        Assert.True(safe == (broken.Count == 0), string.Join('\n', broken));
    }

    private static string Text(IFileSystem disk) => string.Join('\n', FileScript.Tree(disk, ""));

    private static void SyncAll(CrashFileSystem disk, string path)
    {
        disk.SyncDir(path);
        foreach (DirectoryEntry entry in disk.List(path))
        {
            string child = path + entry.Name;
            if (entry.IsDirectory)
            {
                SyncAll(disk, child + "/");
                continue;
            }

            using IFile file = disk.OpenAppendable(child);
            file.SyncAll();
        }
    }
}
