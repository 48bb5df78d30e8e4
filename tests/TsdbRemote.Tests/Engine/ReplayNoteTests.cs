using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Starts that end in the replay are counted, and the record at which they end is named; other ends are not held against a record.</summary>
public sealed partial class ReplayNoteTests
{
    private const string Note = "/disk/data/REPLAY";
    private const int Records = 6;

    [Fact]
    public void T46_a_record_at_which_starts_end_again_and_again_is_named_and_put_aside_when_that_is_asked_for()
    {
        // The first that ends there does not know where it was, for it decodes many at a time; the next two do.
        CrashFileSystem disk = EndedAt(EndedAt(EndedSomewhere(Killed()), record: 3), record: 3);
        DataDirectoryException refused = Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk));
        Match told = Told().Match(refused.Message);
        Assert.True(told.Success, refused.Message);
        ulong sequence = ulong.Parse(told.Groups[1].Value, CultureInfo.InvariantCulture);
        Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk, With(sequence + 1)));

        EngineHarness engine = EngineHarness.OpenStepwise(disk, With(sequence));
        Assert.Equal(Enumerable.Range(1, Records).Where(static record => record != 3).Select(static record => Sample.Of(record, record)), engine.ReadAll().Values.Single());
        Assert.Contains($"record {sequence} is left out, as storage.wal.quarantine_record asks; kept in /disk/data/quarantine/", Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(disk.List("/disk/data/quarantine"));
        Assert.Null(disk.FileSize(Note));
    }

    [Fact]
    public void T46_ends_at_different_records_are_no_records_fault()
    {
        CrashFileSystem disk = EndedSomewhere(Killed());
        foreach (int record in (int[])[2, 4, 2, 4, 4]) disk = EndedAt(disk, record);

        // Two in a row at one record would be. A note that does not verify is none.
        Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.All, seed: 1)));
        using (IFile note = disk.OpenAppendable(Note)) note.Write(20, [1]);
        AssertReadsAll(disk);
    }

    [Fact]
    public void T46_starts_that_end_behind_the_last_record_are_no_records_fault()
    {
        CrashFileSystem disk = EndedSomewhere(Killed());
        for (int start = 0; start < 4; start++) disk = Before(disk, static operation => operation is { Kind: FileOperationKind.Unlink, Path: Note });
        AssertReadsAll(disk);
    }

    [Fact]
    public void T46_a_replay_that_says_why_it_ends_is_not_counted()
    {
        CrashFileSystem disk = EndedAt(EndedSomewhere(Killed()), record: 3);
        var files = new FaultInjector(disk);

        // The first look at a segment only tells whether it holds anything; the second one is the replay.
        files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.OpenRead) { Path = "wal/00000001.log", OnCall = 2 });
        Assert.ThrowsAny<IOException>(() => EngineHarness.OpenStepwise(files));
        Assert.Null(disk.FileSize(Note));
        AssertReadsAll(disk);
    }

    [Fact]
    public async Task A_start_without_a_log_writes_no_note_and_one_with_a_log_leaves_none()
    {
        var disk = new CrashFileSystem("/disk");
        int notes = 0;
        disk.BeforeOperation = (_, operation) => notes += operation.Path == Note ? 1 : 0;
        await EngineHarness.OpenStepwise(disk).DisposeAsync();
        Assert.Equal(0, notes);
        disk = Killed();
        disk.BeforeOperation = (_, operation) => notes += operation.Path == Note ? 1 : 0;
        EngineHarness.OpenStepwise(disk);
        Assert.InRange(notes, 1, 4);
        Assert.Null(disk.FileSize(Note));
    }

    private static StorageOptions With(ulong record) => EngineHarness.SmallOptions with { Wal = EngineHarness.SmallOptions.Wal with { QuarantineRecord = record } };

    /// <summary>A disk with some records in the log.</summary>
    private static CrashFileSystem Killed()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk);
        for (int record = 1; record <= Records; record++) Assert.Equal(WriteStatus.Written, engine.WriteOne("m", record, record).Status);
        return disk.CrashClone(CrashPolicy.All, seed: 1);
    }

    private static void AssertReadsAll(CrashFileSystem disk)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(disk);
        Assert.Equal(Enumerable.Range(1, Records).Select(static record => Sample.Of(record, record)), engine.ReadAll().Values.Single());
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Null(disk.FileSize(Note));
    }

    /// <summary>The disk after a start whose process ended in the replay, which it did side by side: nothing of it was flushed.</summary>
    private static CrashFileSystem EndedSomewhere(CrashFileSystem disk) => Before(disk, static operation => operation is { Kind: FileOperationKind.SyncAll, Path: "/disk/data/wal/00000001.log" });

    /// <summary>The disk after a start whose process ended at a record: the next one was not noted any more.</summary>
    private static CrashFileSystem EndedAt(CrashFileSystem disk, int record)
    {
        int writes = 0;

        // One write at the begin, one before and one behind each record.
        return Before(disk, operation => operation.Kind == FileOperationKind.Write && operation.Path == Note && ++writes == 2 * record + 1);
    }

    private static CrashFileSystem Before(CrashFileSystem disk, Func<FileOperation, bool> isLast)
    {
        CrashFileSystem? left = null;
        disk.BeforeOperation = (_, operation) =>
        {
            if (left is null && isLast(operation)) left = disk.CrashClone(CrashPolicy.All, seed: 1);
        };
        EngineHarness.OpenStepwise(disk);
        Assert.NotNull(left);
        return left;
    }

    [GeneratedRegex("^the last 3 starts ended while the log was replayed, the last 2 of them at record ([0-9]+) of /disk/data/wal/00000001.log. Give --storage:wal:quarantine_record=\\1 ")]
    private static partial Regex Told();
}
