using System.Collections.Concurrent;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Several merges at once, more of them than this machine may have processors.</summary>
public sealed class CompactionConcurrencyTests
{
    private const long WindowMs = 7_200_000;
    private const int Windows = 6;
    private const int Workers = 3;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 20).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly EngineHarness _engine;

    public CompactionConcurrencyTests()
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(100));
        StorageOptions options = EngineHarness.SmallOptions with
        {
            Compaction = new CompactionOptions { CompactionThreshold = 0.5 },
            Integration = new IntegrationOptions { SstableToBlockConversion = false },
        };
        _engine = EngineHarness.OpenStepwise(_disk, options, _time);
        for (int round = 0; round < 2; round++)
        {
            for (int window = 0; window < Windows; window++) Write(window, round);
            _engine.FlushByStep();
        }
    }

    [Fact]
    public async Task Several_merges_run_at_once_each_in_a_window_of_its_own_and_whoever_asks_waits_for_the_last()
    {
        // Nobody goes on with a table before so many have begun one.
        using var all = new Barrier(Workers);
        ConcurrentBag<int> running = [];
        int begun = 0;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind != FileOperationKind.CreateNew || !operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal) || Interlocked.Increment(ref begun) > Workers) return;
            Assert.True(all.SignalAndWait(TimeSpan.FromSeconds(60)), "the others never began");
            RunningCompaction[] merges = [.. _engine.Engine.Stats().CompactionsRunning];
            Assert.Equal(merges.Length, merges.Select(static merge => merge.WindowStartMs).Distinct().Count());
            running.Add(merges.Length);
            Assert.True(all.SignalAndWait(TimeSpan.FromSeconds(60)), "the others went on alone");
        };
        Task asked = _engine.Engine.CompactTablesAsync(CancellationToken.None);
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => Task.Run(() =>
        {
            while (!asked.IsCompleted)
            {
                if (!_engine.Engine.StepCompaction()) Thread.Yield();
            }
        })));
        await asked;
        Assert.Equal(Enumerable.Repeat(Workers, Workers), running);
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((Windows, 0, EnginePhase.Ready), ((int)stats.Compactions[0].Count, stats.CompactionsRunning.Length, stats.Phase));
        Assert.All(stats.Tables, static table => Assert.Equal(1, table.Level));
        AssertReads(_engine);
        AssertReads(EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), EngineHarness.SmallOptions, _time));
    }

    [Fact]
    public void A_flush_that_commits_between_a_merges_first_table_and_its_commit_takes_no_number_of_it()
    {
        bool flushed = false;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (flushed || operation.Kind != FileOperationKind.CreateNew || !operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal)) return;
            flushed = true;
            Write(0, 7);
            _engine.FlushByStep();

            // Its manifest allows for the number that the merge has taken: a power cut now leaves a table without a name, which is no damage.
            EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.All, seed: 1), EngineHarness.SmallOptions, _time);
            Assert.Empty(again.Engine.Stats().Damages);
            again.TablesByStep();
        };
        _engine.TablesByStep();
        Assert.True(flushed);
        long[] ids = [.. _engine.Engine.Stats().Tables.Select(static table => table.Id)];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        var paths = new DataLayout("/disk/data");
        Assert.Equal(_engine.Engine.Stats().Tables.Select(paths.Table).Order(StringComparer.Ordinal), TestTables.Files(_disk).Order(StringComparer.Ordinal));
    }

    private static long TimeOf(int window, int round) => CurrentMs - window * WindowMs + round * 1000;

    private void Write(int window, int round)
    {
        WriteReport report = _engine.WriteAsync([.. Series.Select((labels, i) => (labels, new[] { Sample.Of(TimeOf(window, round), i) }))]).GetAwaiter().GetResult();
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
    }

    private static void AssertReads(EngineHarness engine)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(Series.Length, read.Count);
        for (int i = 0; i < Series.Length; i++)
        {
            IEnumerable<Sample> expected = Enumerable.Range(0, Windows).Reverse().SelectMany(static window => (long[])[TimeOf(window, 0), TimeOf(window, 1)]).Select(time => Sample.Of(time, i));
            Assert.Equal(expected, read[Labels.Print(Series[i])]);
        }
    }
}
