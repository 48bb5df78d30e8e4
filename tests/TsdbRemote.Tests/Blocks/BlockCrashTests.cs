using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

/// <summary>The power goes before each operation of a block's making and removal, and the disk before its calls fail.</summary>
public class BlockCrashTests
{
    private const int Seeds = 8;

    private static readonly List<string> Whole = BlockModel.Expected(BlockModel.Small, TimeRange.All);

    [Fact]
    public void A_crash_at_any_step_leaves_no_block_or_the_whole_one() =>
        CrashAtEachStep(
            new CrashFileSystem(BlockModel.Blocks),
            files => BlockModel.Write(files, BlockModel.Small, maxSegmentBytes: 250),
            (disk, isDone) => Assert.True(AfterRestart(disk) || !isDone, "a committed block is gone"));

    [Fact]
    public void A_crash_at_any_step_of_a_removal_leaves_the_whole_block_or_none()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        BlockModel.Write(files, BlockModel.Small, maxSegmentBytes: 250);
        CrashAtEachStep(
            files,
            fs => BlockDirectory.Remove(fs, BlockModel.Blocks, BlockModel.Ulid),
            (disk, isDone) => Assert.True(!AfterRestart(disk) || !isDone, "a removed block is back"));
    }

    [Fact]
    public void A_second_crash_while_the_first_ones_rest_is_swept_leaves_the_whole_block_or_none()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        BlockModel.Write(files, BlockModel.Small);
        List<CrashFileSystem> killed = [];
        // The process dies, the kernel lives on: what was renamed is seen under its new name, which the disk may not have yet.
        files.BeforeOperation = (_, _) => killed.Add(files.CrashClone(CrashPolicy.All, 0));
        BlockDirectory.Remove(files, BlockModel.Blocks, BlockModel.Ulid);
        files.BeforeOperation = null;
        foreach (CrashFileSystem disk in killed)
        {
            CrashAtEachStep(
                disk,
                fs => BlockDirectory.SweepTemporaries(fs, BlockModel.Blocks),
                static (again, _) => AfterRestart(again));
            if (BlockDirectory.List(disk, BlockModel.Blocks).Count > 0) Assert.True(AfterRestart(disk));
        }
    }

    [Fact]
    public void A_disk_that_refuses_any_call_leaves_no_block_or_the_whole_one_and_no_open_file()
    {
        for (int call = 1; ; call++)
        {
            CrashFileSystem disk = new(BlockModel.Blocks);
            FaultInjector files = new(disk);
            FaultRule rule = files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput)) { OnCall = call });
            bool isDone = false;
            try
            {
                BlockModel.Write(files, BlockModel.Small, maxSegmentBytes: 250);
                isDone = true;
            }
            catch (DiskException)
            {
                Assert.True(rule.Injections > 0);
            }

            Assert.Equal(0, files.OpenFiles);
            Assert.True(AfterRestart(disk) || !isDone);
            if (rule.Injections == 0) return;
        }
    }

    [Fact]
    public void A_block_that_failed_before_its_rename_leaves_nothing_behind_on_a_disk_that_works_again()
    {
        CrashFileSystem disk = new(BlockModel.Blocks);
        FaultInjector files = new(disk);
        files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Write) { Path = "meta.json.tmp" });
        Assert.Throws<DiskException>(() => BlockModel.Write(files, BlockModel.Small));
        Assert.Empty(disk.List(BlockModel.Blocks));
    }

    [Fact]
    public void After_a_rename_that_failed_nothing_is_removed()
    {
        CrashFileSystem disk = new(BlockModel.Blocks);
        FaultInjector files = new(disk);
        files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Rename) { Path = BlockModel.Ulid.ToString() });
        Assert.Throws<DiskException>(() => BlockModel.Write(files, BlockModel.Small));
        string temporary = BlockModel.Path + ".tmp-for-creation";
        Assert.Equal(["chunks", "index", "meta.json", "tombstones"], disk.List(temporary).Select(entry => entry.Name));
    }

    /// <summary>Sweeps as a start does, and requires that a block which is there is whole.</summary>
    /// <returns>Whether it is there.</returns>
    private static bool AfterRestart(CrashFileSystem disk)
    {
        BlockDirectory.SweepTemporaries(disk, BlockModel.Blocks);
        IReadOnlyList<DirectoryEntry> left = disk.List(BlockModel.Blocks);
        if (left.Count == 0) return false;
        Assert.Equal(BlockModel.Ulid.ToString(), Assert.Single(left).Name);
        Assert.Equal(Whole, BlockModel.ReadAll(disk, BlockModel.Path));
        return true;
    }

    /// <summary>
    /// Runs <paramref name="act"/> once, and looks at every disk that a crash before each of its operations, or after the last, could
    /// leave.
    /// </summary>
    private static void CrashAtEachStep(CrashFileSystem files, Action<IFileSystem> act, Action<CrashFileSystem, bool> check)
    {
        List<(CrashFileSystem Disk, string At)> disks = [];
        files.BeforeOperation = (number, operation) => Crash($"before {number}: {operation}");
        act(files);
        files.BeforeOperation = null;
        int before = disks.Count;
        Crash("after the last");
        for (int i = 0; i < disks.Count; i++)
        {
            try
            {
                check(disks[i].Disk, i >= before);
            }
            catch (Exception failure)
            {
                Assert.Fail($"{disks[i].At}: {failure}\n{disks[i].Disk.Dump()}");
            }
        }

        void Crash(string at)
        {
            foreach (CrashPolicy policy in CrashPolicy.Every)
            {
                for (int seed = 0; seed < (policy.Kind is CrashKind.OnlySynced or CrashKind.All ? 1 : Seeds); seed++)
                    disks.Add((files.CrashClone(policy, seed), $"{at}, {policy}, seed {seed}"));
            }
        }
    }
}
