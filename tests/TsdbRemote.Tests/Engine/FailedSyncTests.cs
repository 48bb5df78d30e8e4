using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A directory's sync fails under a flush while another job is under way (reliability §2.4): the directory is not synced again, nothing more is named, nothing is deleted.
/// The disk is that of Rebello et al.: after the failed sync later ones say that they succeeded, and write nothing.
/// </summary>
public sealed class FailedSyncTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * WindowMs);
    private static readonly byte[] Name = Labels.Encode(("__name__", "m"));

    private static readonly StorageOptions BlockOnly = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly FaultInjector _files;
    private readonly ManualTime _time = new();

    public FailedSyncTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
    }

    [Fact]
    public void A_compaction_of_blocks_under_way_commits_nothing_after_the_sync_of_their_directory_has_failed()
    {
        EngineHarness engine = OpenWithTwoBlocks();
        (FaultRule failed, FaultRule lying) = FailDuring(".tmp-for-creation/tombstones", "data/blocks", engine, () => StepBlocks(engine));
        Check(engine, BlockOnly, failed, lying, after: static _ => { });
    }

    /// <summary>No lie of the disk, no power cut: the process is killed after the failure, and the next open removes the names that were given in vain.</summary>
    [Fact]
    public void Names_that_were_given_in_vain_are_not_adopted_though_another_job_was_under_way()
    {
        EngineHarness engine = OpenWithTwoBlocks();
        (_, FaultRule lying) = FailDuring(".tmp-for-creation/tombstones", "data/blocks", engine, () => StepBlocks(engine), lies: false);
        Assert.Equal(0, lying.Injections);
        EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.All, seed: 1), BlockOnly, _time);
        again.FlushAndConvertByStep();
        Assert.Equal(0, again.Engine.Stats().BlocksAdopted);
    }

    [Fact]
    public void A_merge_of_tables_under_way_commits_nothing_after_the_sync_of_the_data_directory_has_failed()
    {
        StorageOptions options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { SstableToBlockConversion = false } };
        EngineHarness engine = EngineHarness.OpenStepwise(_files, options, _time);
        for (int flush = 0; flush < 4; flush++)
        {
            Write(engine, flush);
            engine.FlushByStep();
        }

        (FaultRule failed, FaultRule lying) = FailDuring(".sst.tmp", "/disk/data", engine, () => engine.Engine.StepCompaction());

        // The kernel writes other directories back whenever it likes.
        Check(engine, options, failed, lying, after: static disk => disk.SyncDir("/disk/data/tables"));
    }

    private EngineHarness OpenWithTwoBlocks()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_files, BlockOnly, _time);
        for (int flush = 0; flush < 2; flush++)
        {
            Write(engine, flush);
            engine.FlushByStep();
        }

        return engine;
    }

    private static void StepBlocks(EngineHarness engine)
    {
        while (engine.Engine.StepBlocks())
        {
        }
    }

    /// <summary>While a job makes its file, a flush begins, and the sync of a directory that it needs fails; later ones of it say that they succeeded.</summary>
    private (FaultRule Failed, FaultRule Lying) FailDuring(string creating, string directory, EngineHarness engine, Action job, bool lies = true)
    {
        var failed = new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncDir) { Path = directory };
        var lying = new FaultRule(new Fault.Lost(), FileOperationKind.SyncDir) { Path = directory, Sticky = true };
        bool begun = false;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (begun || operation.Kind != FileOperationKind.CreateNew || !operation.Path.EndsWith(creating, StringComparison.Ordinal)) return;
            begun = true;
            Write(engine, 5);
            engine.Engine.FlushAsync(CancellationToken.None).ContinueWith(static done => done.Exception, TaskScheduler.Default);
            _files.Add(failed);
            engine.Engine.Step();
            Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
            if (lies) _files.Add(lying);
        };
        job();
        Assert.True(begun);
        Assert.Equal(1, failed.Injections);
        return (failed, lying);
    }

    private void Check(EngineHarness engine, StorageOptions options, FaultRule failed, FaultRule lying, Action<CrashFileSystem> after)
    {
        List<Sample> live = engine.ReadAll().Values.Single();
        after(_disk);
        CrashFileSystem image = _disk.CrashClone(new CrashPolicy(CrashKind.OnlySynced), seed: 1);
        string found;
        try
        {
            EngineHarness again = EngineHarness.OpenStepwise(image, options, _time);
            found = $"{again.ReadAll().Values.Sum(static samples => samples.Count)} samples; {string.Join("; ", again.Engine.Stats().Damages)}";
            Assert.True(again.ReadAll().Values.Sum(static samples => samples.Count) == live.Count, $"{live.Count} samples were acknowledged, after a power cut there are {found}");
        }
        catch (DataDirectoryException refused)
        {
            Assert.Fail($"{live.Count} samples were acknowledged, after a power cut the start is refused: {refused.Message}");
        }

        Assert.True(lying.Injections == 0, $"the directory whose sync had failed was synced {lying.Injections} more times, and that was believed");
    }

    private static void Write(EngineHarness engine, int number) => Assert.Equal(
        WriteStatus.Written, engine.WriteAsync((Name, [Sample.Of(CurrentMs + number, number)])).GetAwaiter().GetResult().Status);
}
