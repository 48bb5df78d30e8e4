using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Levels;

public class ManifestCrashTests
{
    private const string Data = "data";
    private const int Seeds = 12;

    [Fact]
    public void A_crash_at_any_step_of_a_first_start_leaves_no_manifest_or_the_first() =>
        CrashAtEachStep(
            prepare: fs => ManifestSamples.MakeDirectories(fs, Data),
            act: fs => Manifest.Commit(fs, Data, ManifestSamples.State(1, 0)),
            check: (disk, committed) =>
            {
                long? generation = Manifest.TryLoad(disk, Data, out string? usedPrev)?.Generation;
                Assert.Null(usedPrev);
                Assert.True(generation == 1 || (generation is null && !committed), $"generation {generation}, committed {committed}");
            });

    [Fact]
    public void A_crash_at_any_step_of_a_commit_leaves_the_old_state_or_the_new_one() =>
        CrashAtEachStep(
            prepare: fs =>
            {
                ManifestSamples.MakeDirectories(fs, Data);
                Manifest.Commit(fs, Data, ManifestSamples.State(1, 0));
                Manifest.Commit(fs, Data, ManifestSamples.State(2, 0));
            },
            act: fs => Manifest.Commit(fs, Data, ManifestSamples.State(3, 0)),
            check: (disk, committed) =>
            {
                long? generation = Manifest.TryLoad(disk, Data, out string? usedPrev)?.Generation;
                Assert.Null(usedPrev);
                Assert.True(generation == 3 || (generation == 2 && !committed), $"generation {generation}, committed {committed}");
                Manifest.Commit(disk, Data, ManifestSamples.State(4, 0));
                Assert.Equal(4, Manifest.TryLoad(disk, Data, out _)!.Generation);
            });

    [Fact]
    public void After_a_crash_at_any_step_every_table_that_the_manifest_names_is_whole() =>
        CrashAtEachStep(
            prepare: fs =>
            {
                ManifestSamples.MakeDirectories(fs, Data);
                Manifest.Commit(fs, Data, ManifestSamples.State(1, 0));
            },
            act: WriteAndCommitTable,
            check: (disk, committed) =>
            {
                ManifestState state = Manifest.TryLoad(disk, Data, out _)!;
                Assert.True(!committed || state.Tables.Length == 1);
                foreach (TableEntry table in state.Tables)
                    SSTableVerifier.Verify(disk, new DataLayout(Data).Table(table), table.Id, table.Size, table.Crc, CancellationToken.None);
            });

    private static void WriteAndCommitTable(IFileSystem fs)
    {
        string path = new DataLayout(Data).Table(0, 1, 0);
        string directory = new DataLayout(Data).TableDirectory(1, 0);
        SSTableInfo info = SSTableFiles.Write(fs, path, new SSTableWriterOptions { TableId = 0, Level = 1 }, writer =>
        {
            using NativeArena arena = new();
            for (ulong id = 1; id < 90; id++) writer.Add(0, id, [TableModel.ToNative(TableModel.Chunks(0, 1, (int)id)[0], arena)]);
            return writer.Finish(1, 2, []);
        });
        Assert.Equal("data/tables/0", directory);
        Manifest.Commit(fs, Data, ManifestSamples.State(2, 0) with { NextTableId = 1, Tables = [TableEntry.Of(info)] });
    }

    /// <summary>
    /// Runs <paramref name="act"/> once, and looks at every disk that a crash before each of its operations, or after the last, could
    /// leave.
    /// </summary>
    private static void CrashAtEachStep(Action<IFileSystem> prepare, Action<IFileSystem> act, Action<CrashFileSystem, bool> check)
    {
        CrashFileSystem fs = new();
        prepare(fs);
        List<(CrashFileSystem Disk, string At)> disks = [];
        fs.BeforeOperation = (number, operation) => Crash($"before {number}: {operation}");
        act(fs);
        fs.BeforeOperation = null;
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
                    disks.Add((fs.CrashClone(policy, seed), $"{at}, {policy}, seed {seed}"));
            }
        }
    }
}
