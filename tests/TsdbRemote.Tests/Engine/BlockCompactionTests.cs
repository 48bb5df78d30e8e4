using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Compaction of blocks by an engine: when it gets its turn, who still reads what it took, and what holds it up.</summary>
public sealed class BlockCompactionTests
{
    private const long WindowMs = 7_200_000;
    private const long StepMs = 300_000;

    // Six windows behind it fill a range of 6 h each: -6..-4 and -3..-1 of the window that begins here.
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, 9 * WindowMs);
    private static readonly byte[] Name = Labels.Encode(("__name__", "m"));
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly FaultInjector _files;
    private readonly ManualTime _time = new();
    private EngineHarness _engine;
    private int _late;

    public BlockCompactionTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
        _engine = Open();
    }

    [Theory]
    [InlineData("oldest first")]
    [InlineData("shuffled")]
    public async Task The_backfill_of_a_year_ends_with_few_blocks_and_no_tables_and_never_has_many(string order)
    {
        const int days = 365;
        const int seriesCount = 2;
        const int timesPerDay = (int)(86_400_000 / StepMs);
        byte[][] series = [.. Enumerable.Range(0, seriesCount).Select(static i => Labels.Encode(("__name__", "backfill"), ("i", $"{i}")))];
        long start = CurrentMs - days * 86_400_000L;
        int[] requests = [.. Enumerable.Range(0, days)];
        if (order == "shuffled") new Random(7).Shuffle(requests);
        int most = 0;
        foreach (int[] part in requests.Chunk(20))
        {
            foreach (int day in part)
            {
                long from = start + day * 86_400_000L;
                Sample[] samples = [.. Enumerable.Range(0, timesPerDay).Select(i => Sample.Of(from + i * StepMs, (from / StepMs + i) % 1009))];
                Assert.Equal(WriteStatus.Written, (await _engine.WriteAsync([.. series.Select(labels => (labels, samples))])).Status);
            }

            _engine.FlushByStep();
            if (order == "oldest first") Rest();
        }

        Rest();
        EngineStats stats = _engine.Engine.Stats();
        Assert.Empty(stats.Tables);
        Assert.InRange(stats.Blocks.Length, 18, 30);
        Assert.InRange(most, 60, 320);
        Assert.Equal((days * 12, 0), (stats.Conversions, stats.ConversionErrors + stats.BlockCompactionErrors));
        Assert.InRange(stats.BlocksMerged, days * 12, days * 12 * 1.2); // hardly anything is written more than twice
        Assert.Equal(stats.Blocks.Length, _disk.List(TestBlocks.Directory).Count);
        Assert.Equal([], TestBlocks.Problems(_disk));
        Sample[] expected = [.. Enumerable.Range(0, days * timesPerDay).Select(i => Sample.Of(start + i * StepMs, (start / StepMs + i) % 1009))];
        Assert.All(_engine.ReadAll(), one => Assert.True(one.Value.SequenceEqual(expected), one.Key));

        void Rest()
        {
            Task done = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
            while (!done.IsCompleted)
            {
                _engine.Engine.StepBlocks();
                most = Math.Max(most, _engine.Engine.Stats().Blocks.Length);
            }
        }
    }

    [Fact]
    public async Task A_request_covers_what_there_was_and_is_answered_though_writers_are_late_without_a_pause()
    {
        ConvertWithoutCompaction(-6, -5);
        WriteLate();
        await AssertAnsweredAsync(WriteLate);
        Assert.True(_engine.Engine.Stats() is { LateConversions: > 0, BlockCompactions: > 0, ConversionErrors: 0 }, $"{_engine.Engine.Stats()}");
    }

    [Fact]
    public async Task A_request_is_answered_though_older_windows_keep_coming()
    {
        ConvertWithoutCompaction(-6, -5);
        WriteLate();
        int back = -400;
        Backfill();
        await AssertAnsweredAsync(Backfill);

        void Backfill()
        {
            Write(++back, 5);
            _engine.FlushByStep();
        }
    }

    [Fact]
    public async Task Requests_that_follow_each_other_do_not_hold_up_the_first()
    {
        ConvertWithoutCompaction(-6, -5);
        WriteLate();
        await AssertAnsweredAsync(() =>
        {
            WriteLate();
            _ = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
        });
    }

    [Fact]
    public void A_snapshot_held_over_a_compaction_reads_the_same_to_the_end_and_the_blocks_go_when_it_lets_go()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        string[] before = [.. Served()];
        ReadSnapshot held = _engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> read = EngineHarness.Read(held, TimeRange.All, Matcher.Create(MatcherType.Equal, "__name__", "m"));
        _engine.CompactByStep();
        Assert.Single(Served());
        Assert.Equal(4, _disk.List(TestBlocks.Directory).Count);
        Assert.Equal(read.Values.Single(), EngineHarness.Read(held, TimeRange.All, Matcher.Create(MatcherType.Equal, "__name__", "m")).Values.Single());
        Assert.Equal(read.Values.Single(), _engine.ReadAll().Values.Single());
        held.Dispose();
        _engine.CompactByStep();
        Assert.Equal(Served(), _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        Assert.DoesNotContain(before, Served().Contains);
    }

    [Fact]
    public void The_result_says_what_went_into_it_and_ranks_above_all_that_was_and_a_reopened_store_serves_it()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        (string Ulid, long Rank)[] before = [.. _engine.Engine.Stats().Blocks.Select(static block => (block.Ulid, block.Rank))];
        _engine.CompactByStep();
        StoredBlockStats made = Assert.Single(_engine.Engine.Stats().Blocks);
        BlockMeta meta = BlockMeta.Read(_disk, $"{TestBlocks.Directory}/{made.Ulid}/meta.json");
        Assert.Equal((2, At(-6), At(-3)), (made.Level, made.MinTimeMs, made.EndTimeMs));
        Assert.Equal(before.Max(static block => block.Rank), made.Rank);
        Assert.Equal(made.Rank, meta.Mark!.Rank);
        Assert.Equal(BlockEntry.Of(meta, made.Rank), Assert.Single(_engine.Engine.StateNow.Manifest.Blocks)); // by its times it ends by age even if it cannot be opened
        Assert.Equal(before.Select(static block => block.Ulid).Order(StringComparer.Ordinal), meta.Compaction.Sources.Select(static source => source.ToString()));
        Assert.Equal(before.Select(static block => block.Ulid).Order(StringComparer.Ordinal), meta.Compaction.Parents.Select(static parent => parent.Ulid.ToString()).Order(StringComparer.Ordinal));
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((1, 3, 0), (stats.BlockCompactions, stats.BlocksMerged, stats.BlockCompactionErrors));
        Assert.True(stats.BlockCompactionBytesRead > stats.BlockCompactionBytesWritten && stats.BlockCompactionBytesWritten > 0);
        Reopen();
        Assert.Equal([made.Ulid], Served());
        Assert.Equal([-6, -5, -4], _engine.ReadAll().Values.Single().Select(static sample => (int)sample.Value));
    }

    [Fact]
    public void Nothing_is_read_of_the_new_block_while_other_commits_wait()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        Assert.Equal(0, TestBlocks.ReadsInCommit(_disk, _files, _engine.CompactByStep));
        Assert.Single(Served());
    }

    [Fact]
    public void Parents_that_a_foreign_block_names_are_not_deleted_by_it()
    {
        Write(-2, 1);
        _engine.CompactByStep();
        string ours = Assert.Single(Served());
        Ulid foreign = TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-20), 5)])]);
        string path = $"{TestBlocks.Directory}/{foreign}/meta.json";
        BlockMeta meta = BlockMeta.Read(_disk, path);
        BlockMetaParent parent = new() { Ulid = Ulid.Parse(ours), MinTimeMs = At(-2), EndTimeMs = At(-1) };
        (meta with { Compaction = new BlockMetaCompaction { Level = 2, Sources = [Ulid.Parse(ours)], Parents = [parent] } }).WriteTo(_disk, path);
        _engine.CompactByStep();
        Assert.Equal([$"{foreign}", ours], Served());
        Reopen();
        Assert.Equal(2, _engine.ReadAll().Values.Single().Count);
    }

    [Fact]
    public void A_first_conversion_goes_before_compaction_so_that_a_range_is_written_once()
    {
        ConvertWithoutCompaction(-6, -5);
        Write(-4, 1);
        _engine.FlushByStep();
        while (_engine.Engine.StepBlocks())
        {
        }

        Assert.Equal(At(-6), Assert.Single(_engine.Engine.Stats().Blocks).MinTimeMs);
        Assert.Equal((1, 3, 1), (_engine.Engine.Stats().BlockCompactions, _engine.Engine.Stats().BlocksMerged, _engine.Engine.Stats().Conversions));
        Write(-5, 9); // only in memory: it lies above what blocks say
        Write(-3, 1);
        Write(-2, 1);
        Write(-1, 1);
        Assert.Equal([-6, 9, 1, 1, 1, 1], _engine.ReadAll().Values.Single().Select(static sample => (int)sample.Value));
    }

    [Fact]
    public void Overlapping_blocks_of_which_all_is_deleted_go_without_a_successor()
    {
        for (int number = 1; number <= 2; number++) PutDeleted(number, At(-9), At(-8));
        ConvertWithoutCompaction(-6);
        string ours = _engine.Engine.Stats().Blocks.Single(static block => !block.Adopted).Ulid;
        _engine.CompactByStep();
        Assert.Equal([ours], Served());
        Assert.Equal((1, 2), (_engine.Engine.Stats().BlockCompactions, _engine.Engine.Stats().BlocksMerged));
        Assert.Equal([ours], _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        Reopen();
        Assert.Equal([-6], _engine.ReadAll().Values.Single().Select(static sample => (int)sample.Value));
    }

    [Fact]
    public void A_block_with_a_mark_against_compaction_and_its_range_are_left_alone()
    {
        ConvertWithoutCompaction(-6, -5, -4, -3, -2, -1);
        string marked = _engine.Engine.Stats().Blocks.Single(block => block.MinTimeMs == At(-5)).Ulid;
        _disk.WriteNew($"{TestBlocks.Directory}/{marked}/no-compact-mark.json", "{}"u8.ToArray(), sync: true);
        _engine.CompactByStep();
        Assert.Equal([At(-6), At(-5), At(-4), At(-3)], _engine.Engine.Stats().Blocks.Select(static block => block.MinTimeMs).Order());
        Assert.Empty(_engine.Engine.Stats().Damages);
        _disk.Unlink($"{TestBlocks.Directory}/{marked}/no-compact-mark.json");
        _engine.CompactByStep();
        Assert.Single(Served()); // 18 h are complete
    }

    [Theory]
    [InlineData("chunks/000001", -3)]
    [InlineData("index", 0)]
    public void A_damaged_block_is_named_and_left_alone_until_the_next_start_and_stops_nothing_else(string file, int at)
    {
        ConvertWithoutCompaction(-6, -5, -4, -3, -2, -1);
        string damaged = _engine.Engine.Stats().Blocks.Single(block => block.MinTimeMs == At(-5)).Ulid;
        string path = $"{TestBlocks.Directory}/{damaged}/{file}";
        if (file == "index") at = SeriesOffset(path);
        Flip(path, at);
        for (int i = 0; i < 4; i++)
        {
            _engine.CompactByStep();
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal([At(-6), At(-5), At(-4), At(-3)], stats.Blocks.Select(static block => block.MinTimeMs).Order());
        Assert.Contains($"block {damaged} is not compacted", Assert.Single(stats.Damages), StringComparison.Ordinal);
        Assert.Equal((EnginePhase.Ready, 1, 1, 0), (stats.Phase, stats.BlockCompactions, stats.BlockCompactionErrors, stats.ConversionErrors));
        Assert.DoesNotContain(_disk.List(TestBlocks.Directory), static entry => BlockDirectory.IsTemporary(entry.Name));
        Write(-7, 1);
        _engine.CompactByStep();
        Assert.Equal(1, _engine.Engine.Stats().Conversions);

        Flip(path, at); // put right, and tried again by the next start
        Reopen();
        _engine.CompactByStep();
        Assert.Equal([1, -6, -5, -4, -3, -2, -1], _engine.ReadAll().Values.Single().Select(static sample => (int)sample.Value));
        Assert.Single(Served());
    }

    [Fact]
    public void A_block_that_the_disk_refuses_to_read_is_left_alone_after_three_attempts_and_stops_nothing_else()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        string refused = _engine.Engine.Stats().Blocks.Single(block => block.MinTimeMs == At(-5)).Ulid;
        FaultRule unreadable = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Read) { Path = $"{refused}*", Sticky = true });
        Task compaction = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
        for (int i = 0; i < 3; i++)
        {
            Assert.False(compaction.IsCompleted);
            Write(-20 - i, 1);
            _engine.FlushByStep();
            StepsLater();
        }

        Assert.True(unreadable.Injections >= 3 && compaction.IsCompletedSuccessfully);
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((EnginePhase.Ready, 3), (stats.Phase, stats.Conversions));
        Assert.Contains(refused, Assert.Single(stats.Damages), StringComparison.Ordinal);
        Assert.Contains(stats.Blocks, block => block.Ulid == refused);
    }

    [Fact]
    public void A_block_whose_directory_cannot_be_looked_at_is_left_alone_as_long_as_that_lasts()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        FaultRule blind = _files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.FileSize) { Path = "no-compact-mark.json", Sticky = true });
        for (int i = 0; i < 5; i++) StepsLater();
        Assert.True(blind.Injections >= 5);
        Assert.Equal((EnginePhase.Ready, 0, 3), (_engine.Engine.Phase, _engine.Engine.Stats().BlockCompactions, Served().Length));
        _files.Remove(blind);
        StepsLater();
        Assert.Single(Served());
    }

    [Fact]
    public void A_block_that_could_not_be_opened_keeps_its_range_from_being_compacted_around_it()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        string damaged = _engine.Engine.Stats().Blocks.Single(block => block.MinTimeMs == At(-5)).Ulid;
        string index = $"{TestBlocks.Directory}/{damaged}/index";
        Flip(index, -1);
        Reopen();
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-5), 77)])]);
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(2), [(Name, [Sample.Of(At(-5), 78), Sample.Of(At(-5) + 1, 78)])]);
        _engine.CompactByStep();
        Assert.Equal((4, 0), (_engine.Engine.Stats().Blocks.Length, _engine.Engine.Stats().BlockCompactions));
        Flip(index, -1);
        Reopen();
        _engine.CompactByStep();
        Assert.Single(Served());
        Assert.Equal([-6, -5, 78, -4], _engine.ReadAll().Values.Single().Select(static sample => (int)sample.Value)); // ours, not the foreign ones'
    }

    [Fact]
    public void A_compaction_that_finds_the_disk_full_waits_for_itself_and_conversions_go_on()
    {
        ConvertWithoutCompaction(-6, -5, -4);
        string[] before = Served();
        int made = 0;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.MakeDir && operation.Path.EndsWith(BlockDirectory.CreationSuffix, StringComparison.Ordinal)) made++;
        };
        FaultRule full = _files.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Path = "index", Sticky = true });
        Task compaction = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
        while (_engine.Engine.StepBlocks())
        {
        }

        Assert.Equal((1, 1), (made, full.Injections));
        _time.Advance(TimeSpan.FromSeconds(59));
        _engine.Engine.StepBlocks();
        Assert.Equal(1, made); // not every second
        _files.Remove(full);
        Write(-9, 1);
        _engine.FlushByStep();
        while (_engine.Engine.StepBlocks())
        {
        }

        Assert.Equal((1, 1, 0), (_engine.Engine.Stats().Conversions, _engine.Engine.Stats().BlockCompactionErrors, _engine.Engine.Stats().BlockCompactions));
        Assert.Equal((EnginePhase.Ready, false), (_engine.Engine.Phase, compaction.IsCompleted));
        Assert.All(before, ulid => Assert.Contains(ulid, Served()));
        _time.Advance(TimeSpan.FromSeconds(2));
        while (_engine.Engine.StepBlocks())
        {
        }

        Assert.True(compaction.IsCompletedSuccessfully);
        Assert.Equal(1, _engine.Engine.Stats().BlockCompactions);
    }

    private static long At(int window) => CurrentMs + window * WindowMs;

    private string[] Served() => [.. _engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal)];

    private EngineHarness Open(bool compacts = true) =>
        EngineHarness.OpenStepwise(_files, Options with { Integration = Options.Integration with { BlockCompaction = compacts } }, _time);

    private void Reopen(bool compacts = true)
    {
        _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _engine = Open(compacts);
    }

    /// <summary>A block for each of these windows, and whatever was put there, as they are.</summary>
    private void ConvertWithoutCompaction(params int[] windows)
    {
        Reopen(compacts: false);
        foreach (int window in windows) Write(window, window);
        _engine.CompactByStep();
        Reopen();
    }

    /// <summary>A request is answered within twenty steps although something else happens after each.</summary>
    private async Task AssertAnsweredAsync(Action meanwhile)
    {
        Task asked = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
        for (int steps = 0; steps < 20 && !asked.IsCompleted; steps++)
        {
            _engine.Engine.StepBlocks();
            meanwhile();
        }

        Assert.True(asked.IsCompleted, $"not answered, {_engine.Engine.Stats()}");
        await asked;
    }

    /// <summary>One more sample of a window that is a block already, in a table.</summary>
    private void WriteLate()
    {
        Assert.Equal(WriteStatus.Written, _engine.WriteAsync((Name, [Sample.Of(At(-6) + ++_late, 5)])).GetAwaiter().GetResult().Status);
        _engine.FlushByStep();
    }

    private void StepsLater()
    {
        _time.Advance(TimeSpan.FromMinutes(6));
        while (_engine.Engine.StepBlocks())
        {
        }
    }

    private void PutDeleted(int number, long minMs, long maxMs)
    {
        string path = $"{TestBlocks.Directory}/{TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(number), [(Name, [Sample.Of(minMs, 1), Sample.Of(maxMs, 1)])])}";
        uint id;
        using (BlockReader reader = BlockReader.Open(_disk, path, mmap: false)) id = reader.Index.AllSeries(CancellationToken.None).Single();
        _disk.Unlink($"{path}/tombstones");
        TombstonesFormat.Write(_disk, $"{path}/tombstones", Tombstones.Of([new Tombstone(id, new TimeRange(minMs, minMs)), new Tombstone(id, new TimeRange(maxMs, maxMs))]));
        BlockMeta meta = BlockMeta.Read(_disk, $"{path}/meta.json");
        (meta with { Stats = meta.Stats with { Tombstones = 2 } }).WriteTo(_disk, $"{path}/meta.json");
    }

    /// <summary>A byte of the first series entry; entries begin at multiples of 16 behind the symbols.</summary>
    private int SeriesOffset(string path)
    {
        byte[] index = _disk.ReadAll(path);
        return (5 + 4 + (int)System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(index.AsSpan(5)) + 4 + 15) / 16 * 16 + 3;
    }

    private void Flip(string path, int at)
    {
        byte[] bytes = _disk.ReadAll(path);
        int place = at < 0 ? bytes.Length + at : at;
        using IFile file = _disk.OpenAppendable(path);
        file.Write(place, [(byte)(bytes[place] ^ 0x10)]);
        file.SyncAll();
    }

    private void Write(int window, double value) =>
        Assert.Equal(WriteStatus.Written, _engine.WriteAsync((Name, [Sample.Of(At(window), value)])).GetAwaiter().GetResult().Status);
}
