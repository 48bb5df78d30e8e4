using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What block compaction does when the disk says no once, at whichever operation: reliability.md §2.4, §2.5.</summary>
public sealed class BlockCompactionFailureTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 3).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly FaultInjector _files;
    private readonly Dictionary<(string Series, long TimeMs), ulong> _expected = [];

    public BlockCompactionFailureTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
    }

    private static readonly FileOperationKind[] Changes =
    [
        FileOperationKind.CreateNew, FileOperationKind.Write, FileOperationKind.WriteGather, FileOperationKind.MakeDir, FileOperationKind.Link, FileOperationKind.Rename,
        FileOperationKind.SyncAll, FileOperationKind.SyncDir, FileOperationKind.Unlink, FileOperationKind.RemoveDir,
    ];

    [Fact]
    public void Whichever_change_of_a_compaction_fails_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.InputOutput, every: 1, atLeast: 60, Changes);

    [Fact]
    public void Whichever_read_of_a_compaction_fails_nothing_is_lost_and_it_comes_to_rest() =>
        Sweep(DiskException.InputOutput, every: 3, atLeast: 60, FileOperationKind.OpenRead, FileOperationKind.Read, FileOperationKind.List, FileOperationKind.FileSize);

    [Fact]
    public void Whichever_change_of_a_compaction_finds_the_disk_full_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.NoSpace, every: 1, atLeast: 60, Changes);

    private static void Sweep(int errno, int every, int atLeast, params FileOperationKind[] kinds)
    {
        List<string> problems = [];
        int n = 1;
        while (new BlockCompactionFailureTests().RunWithFailure(new FaultRule(new Fault.Error(errno), kinds) { OnCall = n }, problems)) n += every;
        Assert.True(problems.Count == 0, string.Join("\n", problems));
        Assert.True(n > atLeast, $"only {n} operations");
    }

    /// <summary>Overlapping blocks of ours and a foreign one, then a range, become one block, with one operation of it failing once.</summary>
    /// <returns>False if there are not so many operations.</returns>
    private bool RunWithFailure(FaultRule rule, List<string> problems)
    {
        EngineHarness engine = Open(_files, compacts: false);
        foreach (int window in (int[])[-6, -5, -4]) Write(engine, window, 0);
        engine.CompactByStep();
        Write(engine, -5, 0, value: 5);
        engine.CompactByStep();
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Series[0], [Sample.Of(TimeOf(-4, 0), -1), Sample.Of(TimeOf(-4, 3), -1)])]);
        _expected[(Labels.Print(Series[0]), TimeOf(-4, 3))] = Sample.Of(0, -1).ValueBits;
        engine.CompactByStep();
        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        engine = Open(_files, compacts: true);
        Assert.Equal(5, engine.Engine.Stats().Blocks.Length);

        _files.Add(rule);
        for (int i = 0; i < 4; i++)
        {
            _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
            _time.Advance(TimeSpan.FromMinutes(6));
            while (engine.Engine.StepBlocks())
            {
            }
        }

        _files.Remove(rule);
        if (_files.Injected.Count == 0) return false;
        string what = _files.Injected[0];
        bool isSync = what.StartsWith("SyncDir ", StringComparison.Ordinal) || what.StartsWith("SyncAll /disk/data/MANIFEST", StringComparison.Ordinal);
        bool mayFail = isSync || what.Contains("/MANIFEST", StringComparison.Ordinal); // nobody knows which one stands
        bool hasFailed = engine.Engine.Phase == EnginePhase.Failed;
        if (hasFailed && !mayFail) problems.Add($"{what}: the storage is read-only: {engine.Engine.Stats().Failure}");
        if (!hasFailed && isSync) problems.Add($"{what}: the storage is not read-only");
        Compare(what, engine, problems);
        if (!hasFailed) CheckAtRest(what, engine, _disk, problems);
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            CrashFileSystem image = _disk.CrashClone(policy, seed: 1);
            EngineHarness again = Open(image, compacts: true);
            Compare($"{what}, {policy}", again, problems);
            again.CompactByStep();
            Compare($"{what}, {policy}, at rest", again, problems);
            CheckAtRest($"{what}, {policy}", again, image, problems);
        }

        return true;
    }

    private EngineHarness Open(IFileSystem files, bool compacts) =>
        EngineHarness.OpenStepwise(files, Options with { Integration = Options.Integration with { BlockCompaction = compacts } }, _time);

    private static void CheckAtRest(string what, EngineHarness engine, CrashFileSystem disk, List<string> problems)
    {
        EngineStats stats = engine.Engine.Stats();
        if (stats.Tables.Length != 0 || stats.Blocks.Length != 1) problems.Add($"{what}: {stats.Tables.Length} tables and {stats.Blocks.Length} blocks");
        problems.AddRange(TestBlocks.Problems(disk).Select(problem => $"{what}: {problem}"));

        // A block that could not be removed at first is named although it is gone by now.
        problems.AddRange(stats.Damages.Where(static damage => !damage.EndsWith(" again", StringComparison.Ordinal)).Select(damage => $"{what}: {damage}"));
        string[] there = [.. disk.List(TestBlocks.Directory).Select(static entry => entry.Name)];
        if (!there.SequenceEqual(stats.Blocks.Select(static block => block.Ulid))) problems.Add($"{what}: {string.Join(' ', there)} are there");
    }

    private void Compare(string when, EngineHarness engine, List<string> problems)
    {
        var found = engine.ReadAll().SelectMany(static pair => pair.Value.Select(sample => (Key: (pair.Key, sample.TimeMs), sample.ValueBits)))
            .ToDictionary(static sample => sample.Key, static sample => sample.ValueBits);
        if (found.Count != _expected.Count || _expected.Any(pair => !found.TryGetValue(pair.Key, out ulong bits) || bits != pair.Value))
            problems.Add($"{when}: {found.Count} samples are read, {_expected.Count} are expected, or others");
    }

    private void Write(EngineHarness engine, int window, int step, double value = 0)
    {
        Assert.Equal(WriteStatus.Written, engine.WriteAsync([.. Series.Select((labels, i) => (labels, new[] { Sample.Of(TimeOf(window, step), value + i) }))]).GetAwaiter().GetResult().Status);
        for (int i = 0; i < Series.Length; i++) _expected[(Labels.Print(Series[i]), TimeOf(window, step))] = Sample.Of(0, value + i).ValueBits;
    }

    private static long TimeOf(int window, int step) => CurrentMs + window * WindowMs + step * 60_000;
}
