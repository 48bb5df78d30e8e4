using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
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
        // The first that ends there knows only which records it had in work, for these are many at a time; the next knows the one.
        CrashFileSystem disk = EndedAt(EndedInWork(Killed(), turn: 1), record: 3);
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
    public void T46_of_two_such_records_both_can_be_put_aside()
    {
        CrashFileSystem disk = EndedAt(EndedInWork(Killed(), turn: 1), record: 3);
        ulong first = ulong.Parse(Told().Match(Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk)).Message).Groups[1].Value, CultureInfo.InvariantCulture);

        // The one that is given up is not noted: the fourth is the third that is.
        for (int start = 0; start < 2; start++) disk = EndedAt(disk, record: 3, With(first));
        string told = Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk, With(first))).Message;
        Assert.Contains($"Give --storage:wal:quarantine_record={first},{first + 1} ", told, StringComparison.Ordinal);

        EngineHarness engine = EngineHarness.OpenStepwise(disk, With(first, first + 1));
        Assert.Equal(Enumerable.Range(1, Records).Where(static record => record is not (3 or 4)).Select(static record => Sample.Of(record, record)), engine.ReadAll().Values.Single());
        Assert.Equal(2, engine.Engine.Stats().Damages.Length);
    }

    [Theory]
    [InlineData(3, false)]
    [InlineData(8, false)]
    [InlineData(9, true)]
    [InlineData(20, true)]
    [InlineData(24, true)]
    public void T46_a_record_that_the_first_start_did_not_have_in_work_is_not_blamed_by_the_third(int record, bool isBlamed)
    {
        // The third turn decodes the third eight while it appends the second.
        CrashFileSystem disk = EndedAt(EndedInWork(Killed(records: 24), turn: 3), record);
        if (isBlamed) Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk));
        else AssertReadsAll(disk, records: 24);
    }

    [Fact]
    public void A_record_to_be_given_up_that_the_log_does_not_hold_stops_no_start_and_is_warned_of()
    {
        CrashFileSystem disk = EndedAt(EndedInWork(Killed(), turn: 1), record: 3);
        ulong sequence = ulong.Parse(Told().Match(Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk)).Message).Groups[1].Value, CultureInfo.InvariantCulture);
        var needed = new Warnings();
        EngineHarness engine = EngineHarness.OpenStepwise(disk, With(sequence), loggers: needed);
        Assert.DoesNotContain(needed.Heard, static warning => warning.Contains("no effect", StringComparison.Ordinal));
        engine.FlushByStep();
        disk = disk.CrashClone(CrashPolicy.All, seed: 1);

        // Left in the options: the segment is gone. The same where there is no log at all, and where there is another.
        foreach (CrashFileSystem later in new[] { disk, new CrashFileSystem("/disk"), Killed() })
        {
            var stale = new Warnings();
            EngineHarness again = EngineHarness.OpenStepwise(later, With(later == disk ? sequence : ulong.MaxValue), loggers: stale);
            Assert.Single(stale.Heard, warning => warning.StartsWith("storage.wal.quarantine_record = ", StringComparison.Ordinal) && warning.Contains("has no effect", StringComparison.Ordinal));
            Assert.Equal(EnginePhase.Ready, again.Engine.Phase);
            Assert.Empty(again.Engine.Stats().Damages);
        }
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
        Assert.InRange(notes, 1, 8);
        Assert.Null(disk.FileSize(Note));
    }

    private static StorageOptions With(params ulong[] records) => EngineHarness.SmallOptions with { Wal = EngineHarness.SmallOptions.Wal with { QuarantineRecord = string.Join(',', records) } };

    /// <summary>A disk with some records in the log.</summary>
    private static CrashFileSystem Killed(int records = Records)
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk);
        for (int record = 1; record <= records; record++) Assert.Equal(WriteStatus.Written, engine.WriteOne("m", record, record).Status);
        return disk.CrashClone(CrashPolicy.All, seed: 1);
    }

    private static void AssertReadsAll(CrashFileSystem disk, int records = Records)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(disk);
        Assert.Equal(Enumerable.Range(1, records).Select(static record => Sample.Of(record, record)), engine.ReadAll().Values.Single());
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Null(disk.FileSize(Note));
    }

    /// <summary>The disk after a start whose process ended while it worked on records side by side, in that turn of decoding and appending them.</summary>
    private static CrashFileSystem EndedInWork(CrashFileSystem disk, int turn)
    {
        int writes = 0;

        // One write at the begin, and one before each turn.
        return Before(disk, operation => operation.Kind == FileOperationKind.Write && operation.Path == Note && ++writes == turn + 2);
    }

    /// <summary>The disk after a start whose process ended in the replay, side by side too, with none of them in work: all were in the MemTable, and nothing was flushed.</summary>
    private static CrashFileSystem EndedSomewhere(CrashFileSystem disk) => Before(disk, static operation => operation is { Kind: FileOperationKind.SyncAll, Path: "/disk/data/wal/00000001.log" });

    /// <summary>The disk after a start whose process ended at a record: the next one was not noted any more.</summary>
    private static CrashFileSystem EndedAt(CrashFileSystem disk, int record, StorageOptions? options = null)
    {
        int writes = 0;

        // One write at the begin, one before and one behind each record.
        return Before(disk, operation => operation.Kind == FileOperationKind.Write && operation.Path == Note && ++writes == 2 * record + 1, options);
    }

    private static CrashFileSystem Before(CrashFileSystem disk, Func<FileOperation, bool> isLast, StorageOptions? options = null)
    {
        CrashFileSystem? left = null;
        disk.BeforeOperation = (_, operation) =>
        {
            if (left is null && isLast(operation)) left = disk.CrashClone(CrashPolicy.All, seed: 1);
        };
        EngineHarness.OpenStepwise(disk, options);
        Assert.NotNull(left);
        return left;
    }

    [GeneratedRegex("^the last 2 starts ended while the log was replayed, the last 2 of them with record ([0-9]+) in work, of /disk/data/wal/00000001.log. Give --storage:wal:quarantine_record=\\1 ")]
    private static partial Regex Told();

    private sealed class Warnings : ILoggerFactory, ILogger
    {
        public List<string> Heard { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel)) Heard.Add(formatter(state, exception));
        }

        public void Dispose()
        {
        }
    }
}
