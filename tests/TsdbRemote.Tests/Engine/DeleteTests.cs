using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A delete reaches what is older, wherever it is stored, at once and for good; what is newer it never touches, whatever is made of both.</summary>
public sealed class DeleteTests() : OneSeriesTests(TimeSpan.FromMinutes(40))
{
    private static readonly StorageOptions Tables = EngineHarness.SmallOptions with
    {
        Integration = new IntegrationOptions { SstableToBlockConversion = false },
        Compaction = new CompactionOptions { CompactionThreshold = 0.01 },
    };

    private static readonly StorageOptions Blocks = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    [Fact]
    public void Bounds_belong_to_what_is_deleted_and_a_later_sample_of_the_same_time_stays()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, [.. Enumerable.Range(0, 10).Select(static i => Sample.Of(At(0) + i, i))]);
        engine.DeleteByStep("m", new TimeRange(At(0) + 2, At(0) + 7));
        Assert.Equal([0L, 1, 8, 9], Times(engine));
        Write(engine, At(0) + 4, 400);
        Assert.Equal([0L, 1, 4, 8, 9], Times(engine));
        engine.FlushByStep();
        engine.TablesByStep();
        Assert.Equal([0L, 1, 4, 8, 9], Times(engine));
    }

    [Fact]
    public void It_reaches_MemTables_tables_of_each_level_and_blocks_at_once_and_stays_after_a_kill()
    {
        EngineHarness engine = Open(Blocks with { Integration = Blocks.Integration with { BlockCompaction = false }, Compaction = Tables.Compaction });
        Write(engine, At(-3), -3);
        Write(engine, At(-2), -2);
        engine.CompactByStep(); // blocks
        for (int i = 0; i < 3; i++)
        {
            Write(engine, At(0) + i, i);
            engine.FlushByStep();
        }

        engine.TablesByStep(); // deeper
        Write(engine, At(0) + 3, 3);
        engine.FlushByStep(); // level 0
        Write(engine, At(0) + 4, 4); // waits, then
        EngineState before = engine.Engine.StateNow;
        Assert.Equal(2, before.Blocks.Blocks.Length);
        Assert.Equal([0, 1], before.Levels.Levels.AsEnumerable());
        engine.DeleteByStep("m");
        Assert.Equal(before.Levels.Tables, engine.Engine.StateNow.Levels.Tables);
        Assert.Empty(engine.ReadAll());
        Assert.Empty(engine.ReadNames(TimeRange.All));
        engine = EngineHarness.OpenStepwise(Disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Blocks, Time);
        Assert.Empty(engine.ReadAll());
        Write(engine, At(-3), 7);
        Assert.Equal([At(-3) - At(0)], Times(engine));
    }

    [Fact]
    public async Task Only_what_all_matchers_of_a_selector_select_is_deleted()
    {
        EngineHarness engine = Open(Tables);
        byte[][] series = [.. Enumerable.Range(0, 4).Select(static i => Labels.Encode(("__name__", i < 2 ? "a" : "b"), ("i", $"{i % 2}"), ("line", "x\ny\"\\é")))];
        await engine.WriteAsync([.. series.Select(static labels => (labels, new[] { Sample.Of(At(0), 1) }))]);
        engine.DeleteByStep("""a{i=~"1|2",line="x\ny\"\\é",none="",i!=""}""");
        Assert.Equal([Labels.Print(series[0]), Labels.Print(series[2]), Labels.Print(series[3])], engine.ReadAll().Keys);
        engine = EngineHarness.OpenStepwise(Disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Tables, Time);
        Assert.Equal([Labels.Print(series[0]), Labels.Print(series[2]), Labels.Print(series[3])], engine.ReadNames(TimeRange.All));
    }

    [Fact]
    public void A_series_is_named_as_long_as_something_of_it_is_left_in_the_range()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, Sample.Of(At(0), 0), Sample.Of(At(0) + 10, 10));
        engine.DeleteByStep("m", new TimeRange(At(0), At(0)));
        Assert.Single(engine.ReadNames(TimeRange.All));
        Assert.Empty(engine.ReadNames(new TimeRange(At(0), At(0) + 5)));
        engine.DeleteByStep("m", new TimeRange(At(0) + 10, At(0) + 10)); // no single delete holds the chunk
        Assert.Empty(engine.ReadNames(TimeRange.All));
        Assert.Empty(engine.ReadAll());
    }

    /// <summary>Older and newer records of an instant go into one table: the older is taken out before it could stand for the newer.</summary>
    [Fact]
    public void A_merge_takes_it_out_of_the_older_tables_and_out_of_no_newer_one()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, Sample.Of(At(0), 1), Sample.Of(At(0) + 1, 1));
        engine.FlushByStep();
        engine.DeleteByStep("m");
        Write(engine, At(0) + 1, 2);
        engine.FlushByStep();
        engine.TablesByStep();
        Assert.Single(engine.Engine.StateNow.Levels.Tables);
        Assert.Empty(engine.Engine.StateNow.Manifest.Tombstones); // nothing is left that it reaches
        Assert.Equal([Sample.Of(At(0) + 1, 2)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public void A_merge_of_which_nothing_is_left_makes_no_table_and_its_inputs_go()
    {
        EngineHarness engine = Open(Tables);
        for (int i = 0; i < 3; i++)
        {
            Write(engine, At(0) + i, i);
            engine.FlushByStep();
        }

        engine.DeleteByStep("m");
        engine.CleanByStep();
        Assert.Empty(engine.Engine.StateNow.Manifest.Tables);
        Assert.Empty(TestTables.Files(Disk));
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Empty(engine.Engine.Stats().Damages);
    }

    [Fact]
    public void A_conversion_of_which_nothing_is_left_makes_no_block_and_its_tables_go()
    {
        EngineHarness engine = Open(Blocks);
        Write(engine, At(-2), 1);
        engine.FlushByStep();
        engine.DeleteByStep("m");
        engine.CompactByStep();
        Assert.Empty(engine.Engine.StateNow.Manifest.Tables);
        Assert.Empty(engine.Engine.StateNow.Manifest.Blocks);
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Empty(engine.Engine.Stats().Damages);
    }

    /// <summary>Before the first write of the new file of each kind of job a delete comes; the job ends after it.</summary>
    [Theory]
    [InlineData("merge")]
    [InlineData("conversion")]
    [InlineData("block compaction")]
    [InlineData("cleaning")]
    public void A_job_that_began_before_it_and_ends_after_it_brings_nothing_back(string job)
    {
        bool merges = job == "merge";
        StorageOptions options = merges ? Tables : Blocks;
        EngineHarness engine = Open(options);
        int window = merges ? 0 : -2;
        for (int i = 0; i < 3; i++)
        {
            Write(engine, Sample.Of(At(window) + i, i), Sample.Of(At(window) + 100 + i, i));
            engine.FlushByStep();
        }

        if (job is "block compaction" or "cleaning") engine.CompactByStep();
        if (job == "cleaning") engine.DeleteByStep("m", new TimeRange(At(window), At(window)));
        if (job == "block compaction")
        {
            Write(engine, At(window) + 50, 50);
            Write(engine, At(window - 1), 1);
            engine.FlushByStep();
        }

        int deletes = 0;
        string part = merges ? ".sst.tmp" : ".tmp-for-creation/index";
        int at = job == "block compaction" ? 3 : 1; // two conversions, then the compaction of what they made
        Disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind != FileOperationKind.CreateNew || !operation.Path.Contains(part, StringComparison.Ordinal) || ++deletes != at) return;
            Disk.BeforeOperation = null;
            engine.DeleteByStep("m", new TimeRange(At(window) + 2, At(window) + 101));
        };
        if (merges) engine.TablesByStep();
        else if (job == "cleaning") engine.CleanByStep(engine.BlocksByStep);
        else engine.BlocksByStep();
        Assert.Equal(at, deletes);
        long[] expected = job == "cleaning" ? [1, 102] : [0, 1, 102];
        Assert.Equal(expected.Select(time => time + At(window)), AllTimes(engine).Where(time => time >= At(window)));
        engine = Open(options);
        Write(engine, At(window) + 2, 222); // newer
        engine.CleanByStep();
        Assert.Equal(expected.Append(2).Order().Select(time => time + At(window)), AllTimes(engine).Where(time => time >= At(window)));
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
    }

    [Fact]
    public void A_flush_into_blocks_brings_nothing_back_and_what_is_newer_stays()
    {
        EngineHarness engine = Open(new IntegrationOptions { WritePath = WritePathChoice.Blocks });
        Write(engine, Sample.Of(At(0), 0), Sample.Of(At(0) + 1, 1));
        engine.DeleteByStep("m", new TimeRange(At(0), At(0))); // the MemTable waits
        engine.FlushByStep();
        Write(engine, At(0) + 2, 2);
        engine.FlushByStep();
        engine.DeleteByStep("m", new TimeRange(At(0) + 2, At(0) + 2));
        engine.FlushByStep();
        Write(engine, At(0), 7);
        engine.FlushByStep();
        Assert.Equal(3, engine.Engine.Stats().FlushesToBlocks);
        Assert.Equal([0L, 1], Times(engine));
    }

    [Fact]
    public void A_block_that_is_put_there_after_it_is_served_and_one_from_before_is_not()
    {
        EngineHarness engine = Open(Blocks);
        TestBlocks.Put(Disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-4), 1)])]);
        engine.CompactByStep();
        engine.DeleteByStep("m");
        Assert.Empty(engine.ReadAll());
        TestBlocks.Put(Disk, TestBlocks.Directory, TestBlocks.Name(2), [(Name, [Sample.Of(At(-3), 1)])]);
        engine.BlocksByStep();
        Assert.Equal([At(-3)], AllTimes(engine));
        engine.CleanByStep();
        Assert.Equal([At(-3)], AllTimes(engine));
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Equal([At(-3)], AllTimes(Open(Blocks)));
    }

    [Fact]
    public async Task Cleaning_writes_only_blocks_anew_that_hold_some_of_what_is_deleted()
    {
        EngineHarness engine = Open(Blocks with { Integration = Blocks.Integration with { BlockCompaction = false } });
        byte[] other = Labels.Encode(("__name__", "other"));
        await engine.WriteAsync((Name, [Sample.Of(At(-3), 1), Sample.Of(At(-3) + 1, 2)]), (other, [Sample.Of(At(-2), 1)]));
        engine.CompactByStep();
        string[] before = [.. Names(engine)];
        engine.DeleteByStep("m", new TimeRange(At(-9), At(-3)));
        engine.CleanByStep();
        string[] after = [.. Names(engine)];
        Assert.NotEqual(before[0], after[0]);
        Assert.Equal(before[1], after[1]);
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Equal(2, engine.Engine.StateNow.Blocks.Blocks.Sum(static block => block.Reader.Meta.Stats.Samples));
        Assert.Equal([At(-3) + 1, At(-2)], AllTimes(engine));
        Assert.Equal([], TestBlocks.Problems(Disk));
    }

    [Fact]
    public void A_block_marked_no_compact_keeps_its_tombstone_until_the_mark_is_gone()
    {
        EngineHarness engine = Open(Blocks);
        Write(engine, At(-3), 1);
        engine.CompactByStep();
        string mark = $"{TestBlocks.Directory}/{Names(engine).Single()}/{BlockCompactionWork.NoCompactFileName}";
        Disk.CreateNew(mark).Dispose();
        engine.DeleteByStep("m");
        engine.CleanByStep();
        Assert.Equal(1, engine.Engine.Stats().Tombstones);
        Assert.Single(Names(engine));
        Assert.Empty(engine.ReadAll());
        Disk.Unlink(mark);
        engine.CleanByStep();
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Empty(Names(engine));
    }

    [Fact]
    public void A_delete_that_deletes_all_that_an_older_one_does_takes_its_place()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, At(0), 1);
        for (int i = 0; i < 5; i++) engine.DeleteByStep("m", new TimeRange(At(0) - i, At(0)));
        engine.DeleteByStep("m", new TimeRange(At(0), At(0)));
        engine.DeleteByStep("n", new TimeRange(At(0), At(0)));
        Assert.Equal(3, engine.Engine.Stats().Tombstones);
        Assert.Equal(7, engine.Engine.Stats().Deletes);
    }

    [Fact]
    public async Task Too_many_or_too_long_ones_are_refused_with_what_helps_and_there_is_room_once_it_was_done()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, At(0), 1);
        Matcher[][] many = [.. Enumerable.Range(0, DeleteWork.MaxPending).Select(static i => new[] { Matcher.Create(MatcherType.Equal, "i", $"{i}") })];
        Task first = engine.Engine.DeleteAsync(many, TimeRange.All, CancellationToken.None);
        engine.Engine.Step(flush: false);
        await first;
        Task more = engine.Engine.DeleteAsync([[Matcher.Create(MatcherType.Equal, "i", "one more")]], TimeRange.All, CancellationToken.None);
        engine.Engine.Step(flush: false);
        Assert.Contains("clean_tombstones", (await Assert.ThrowsAsync<DeleteRefusedException>(() => more)).Message, StringComparison.Ordinal);
        engine.CleanByStep();
        string literals = string.Join('|', Enumerable.Range(0, 140_000).Select(static i => $"{i:D6}"));
        Task tooLong = engine.Engine.DeleteAsync([[Matcher.Create(MatcherType.Regex, "i", literals)], [Matcher.Create(MatcherType.Regex, "j", literals)]], TimeRange.All, CancellationToken.None);
        engine.Engine.Step(flush: false);
        Assert.Contains($"{DeleteWork.MaxPendingBytes}", (await Assert.ThrowsAsync<DeleteRefusedException>(() => tooLong)).Message, StringComparison.Ordinal);
        Assert.Single(engine.ReadAll());
        engine.DeleteByStep("m");
        Assert.Empty(engine.ReadAll());
    }

    [Fact]
    public void A_tombstone_leaves_the_manifest_when_nothing_older_of_its_time_is_left()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, At(0), 1);
        engine.DeleteByStep("m", new TimeRange(At(-5), At(-4)));
        Assert.Equal(1, engine.Engine.Stats().Tombstones); // the MemTable from before it
        engine.FlushByStep();
        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        engine.DeleteByStep("m", new TimeRange(At(-5), At(0)));
        engine.FlushByStep();
        Assert.Equal(1, engine.Engine.Stats().Tombstones);
        Assert.Equal(1, Open(Tables).Engine.Stats().Tombstones);
    }

    [Fact]
    public async Task Before_the_log_is_replayed_nothing_can_be_deleted()
    {
        EngineHarness engine = Open(Tables);
        Write(engine, At(0), 1);
        await engine.StopWithoutFlushAsync();
        using var gate = new ManualResetEventSlim();
        var files = new FaultInjector(Disk.CrashClone(CrashPolicy.All, seed: 1));
        files.Add(new FaultRule(new Fault.Held(gate), FileOperationKind.OpenRead) { Path = "wal/00000001.log", OnCall = 2 });
        await using EngineHarness opened = EngineHarness.Open(files, Tables);
        EngineUnavailableException refused = await Assert.ThrowsAsync<EngineUnavailableException>(() => opened.Engine.DeleteAsync([[Matcher.Create(MatcherType.Equal, "__name__", "m")]], TimeRange.All, CancellationToken.None));
        Assert.Contains("replayed", refused.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<EngineUnavailableException>(() => opened.Engine.CleanTombstonesAsync(CancellationToken.None));
        gate.Set();
        await opened.Engine.WhenReady.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Single(opened.ReadAll());
    }

    [Fact]
    public async Task With_threads_deletes_and_cleaning_beside_writers_lose_nothing_that_is_newer()
    {
        await using EngineHarness engine = await EngineHarness.OpenAsync(Disk, Blocks with { Lsm = Blocks.Lsm with { MemTableSize = null }, Wal = new WalOptions() }, Time);
        Matcher[] all = [Matcher.Create(MatcherType.Equal, "__name__", "m")];
        for (int round = 1; round <= 8; round++)
        {
            await Task.WhenAll(Enumerable.Range(-6, 6).Select(window => engine.WriteAsync((Name, [Sample.Of(At(window) + round, round)]))));
            if (round % 2 == 0) await engine.Engine.DeleteAsync([all], TimeRange.All, CancellationToken.None);
            Task cleaned = engine.Engine.CleanTombstonesAsync(CancellationToken.None);
            await engine.WriteAsync((Name, [Sample.Of(At(-3) + 1000 + round, round)]));
            long[] expected = round % 2 == 0
                ? [At(-3) + 1000 + round]
                : [.. Enumerable.Range(-6, 6).Select(window => At(window) + round), .. round > 1 ? [At(-3) + 1000 + round - 1] : Array.Empty<long>(), At(-3) + 1000 + round];
            Assert.Equal(expected.Order(), AllTimes(engine));
            await cleaned;
            Assert.Equal(expected.Order(), AllTimes(engine));
        }

        Assert.Equal(0, engine.Engine.Stats().Tombstones);
        Assert.Null(engine.Engine.Stats().Failure);
    }

    private static IEnumerable<string> Names(EngineHarness engine) =>
        engine.Engine.StateNow.Blocks.Blocks.OrderBy(static block => block.Range.MinMs).Select(static block => block.Entry.Ulid);

    private static IEnumerable<long> AllTimes(EngineHarness engine) => engine.ReadAll().Values.SelectMany(static samples => samples).Select(static sample => sample.TimeMs).Order();

    private static IEnumerable<long> Times(EngineHarness engine) => AllTimes(engine).Select(static time => time - At(0));
}
