using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What block compaction does when the disk says no once, at whichever operation: reliability.md §2.4, §2.5.</summary>
public sealed class BlockCompactionFailureTests
{
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * FailureHistory.WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };
    private readonly FailureHistory _history = new(CurrentMs, seriesCount: 3)
    {
        Options = Options,
        Ask = static engine => engine.Engine.CompactBlocksAsync(CancellationToken.None),
        Step = static engine => engine.Engine.StepBlocks(),
        ToRest = static engine => engine.CompactByStep(),
    };

    [Fact]
    public void Whichever_change_of_a_compaction_fails_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.InputOutput, every: 1, atLeast: 60, FailureHistory.Changes);

    [Fact]
    public void Whichever_read_of_a_compaction_fails_nothing_is_lost_and_it_comes_to_rest() =>
        Sweep(DiskException.InputOutput, every: 3, atLeast: 60, FailureHistory.Reads);

    [Fact]
    public void Whichever_change_of_a_compaction_finds_the_disk_full_nothing_is_lost_and_it_comes_to_rest_or_stops() =>
        Sweep(DiskException.NoSpace, every: 1, atLeast: 60, FailureHistory.Changes);

    private static void Sweep(int errno, int every, int atLeast, FileOperationKind[] kinds) => FailureHistory.Sweep(
        errno, every, atLeast, static (rule, problems) => new BlockCompactionFailureTests().RunWithFailure(rule, problems), kinds);

    /// <summary>Overlapping blocks of ours and a foreign one, then a range, become one block, with one operation of it failing once.</summary>
    /// <returns>False if there are not so many operations.</returns>
    private bool RunWithFailure(FaultRule rule, List<string> problems)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(
            _history.Files, Options with { Integration = Options.Integration with { BlockCompaction = false } }, _history.Time);
        foreach (int window in (int[])[-6, -5, -4]) _history.Write(engine, window, 0);
        engine.CompactByStep();
        _history.Write(engine, -5, 0, value: 5);
        engine.CompactByStep();
        TestBlocks.Put(_history.Disk, TestBlocks.Directory, TestBlocks.Name(1), [(_history.Series[0], [Sample.Of(_history.TimeOf(-4, 0), -1), Sample.Of(_history.TimeOf(-4, 3), -1)])]);
        _history.Expected[(Labels.Print(_history.Series[0]), _history.TimeOf(-4, 3))] = Sample.Of(0, -1).ValueBits;
        engine.CompactByStep();
        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        engine = _history.Open();
        Assert.Equal(5, engine.Engine.Stats().Blocks.Length);

        _history.Files.Add(rule);
        for (int i = 0; i < 4; i++)
        {
            _ = engine.Engine.CompactBlocksAsync(CancellationToken.None);
            _history.Later(engine);
        }

        _history.Files.Remove(rule);
        if (_history.FirstFailure(engine, problems) is not { } what) return false;
        _history.Compare(what, engine, problems);
        if (engine.Engine.Phase != EnginePhase.Failed) CheckAtRest(what, engine, _history.Disk, problems);
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.All])
        {
            CrashFileSystem image = _history.Disk.CrashClone(policy, seed: 1);
            EngineHarness again = _history.Open(image);
            _history.Compare($"{what}, {policy}", again, problems);
            again.CompactByStep();
            _history.Compare($"{what}, {policy}, at rest", again, problems);
            CheckAtRest($"{what}, {policy}", again, image, problems);
        }

        return true;
    }

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
}
