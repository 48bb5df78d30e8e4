using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>T58: reads that begin before a flush, a conversion or a deletion and end after it.</summary>
public sealed class ReadAcrossConversionTests
{
    private const long WindowMs = 7_200_000;
    private const int SeriesCount = 600; // more than the first batch of a read
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly Matcher All = Matcher.Create(MatcherType.Equal, "__name__", "m");
    private static readonly byte[][] Series = [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i:D4}")))];
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = false } };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private EngineHarness _engine;

    public ReadAcrossConversionTests()
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs));
        _engine = EngineHarness.OpenStepwise(_disk, Options, _time);
    }

    [Fact]
    public void A_snapshot_held_over_flush_conversion_late_conversion_and_deletion_reads_the_same_to_the_end()
    {
        // One part in a table, one in memory; windows of both are converted.
        Write(-3, 0, 10);
        _engine.FlushByStep();
        Write(-2, 0, 10);
        var range = new TimeRange(At(-3, 0), At(-2, 9));
        using ReadSnapshot held = _engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> before = EngineHarness.Read(held, range, All);
        Assert.Equal(SeriesCount * 20, before.Values.Sum(static samples => samples.Count));

        _engine.FlushByStep();
        AssertSame(before, EngineHarness.Read(held, range, All));
        _engine.CompactByStep();
        Assert.Equal((2, 0), (_engine.Engine.Stats().Blocks.Length, _engine.Engine.Stats().Tables.Length));
        AssertSame(before, EngineHarness.Read(held, range, All));
        AssertSame(before, _engine.Read(range, All));
        Write(-3, 20, 25); // late, and outside of what is read
        _engine.CompactByStep();
        Assert.Equal(3, _engine.Engine.Stats().Blocks.Length);
        AssertSame(before, EngineHarness.Read(held, range, All));
    }

    [Fact]
    public void A_MemTable_that_is_flushed_while_a_window_is_converted_leaves_memory_at_once()
    {
        Write(-3, 0, 10);
        _engine.FlushByStep();
        Write(0, 0, 1);
        bool? isGone = null;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (isGone is not null || !operation.Path.EndsWith(BlockDirectory.CreationSuffix, StringComparison.Ordinal)) return;
            isGone = false;
            MemTable flushed = _engine.Engine.StateNow.MemTables.Active;
            _engine.FlushByStep();
            isGone = !flushed.TryAcquire();
        };
        _engine.BlocksByStep();
        Assert.True(isGone);
        Assert.Single(_engine.Engine.Stats().Blocks);
    }

    [Fact]
    public void A_read_that_is_half_done_when_its_tables_are_converted_goes_on_in_them_and_they_are_unlinked_when_it_lets_go()
    {
        Write(-3, 0, 10);
        _engine.FlushByStep();
        Write(-3, 5, 15); // overlaps, in another table
        _engine.FlushByStep();
        List<Sample> expected = _engine.ReadAll()[Labels.Print(Series[0])];
        Assert.Equal(15, expected.Count);
        ReadSnapshot held = _engine.Engine.AcquireSnapshot();
        ReadSnapshot other = _engine.Engine.AcquireSnapshot();
        using (SeriesMerge cursor = held.Select([All], TimeRange.All, CancellationToken.None))
        {
            for (int i = 0; i < SeriesCount; i++)
            {
                Assert.True(cursor.MoveNext());
                Assert.Equal(Labels.Print(Series[i]), Labels.Print(cursor.Labels));
                List<Sample> samples = [];
                foreach (SeriesChunk chunk in cursor.Chunks) ChunkMerge.Decode(chunk, samples);
                Assert.Equal(expected, samples);
                if (i == SeriesCount / 10) _engine.CompactByStep();
            }

            Assert.False(cursor.MoveNext());
        }

        Assert.Empty(_engine.Engine.Stats().Tables);
        Assert.Equal(2, _disk.List("/disk/data/tables").Count);
        held.Dispose();
        Assert.Equal(2, _disk.List("/disk/data/tables").Count); // somebody else reads them still
        other.Dispose();
        Assert.Empty(_disk.List("/disk/data/tables"));
        Assert.Equal(expected, _engine.ReadAll()[Labels.Print(Series[^1])]);
    }

    [Fact]
    public async Task A_block_that_retention_takes_out_of_service_is_read_to_the_end_and_removed_when_the_reader_has_let_go()
    {
        Write(-3, 0, 10);
        _engine.CompactByStep();
        string ulid = Assert.Single(_engine.Engine.Stats().Blocks).Ulid;
        await _engine.DisposeAsync();
        _engine = EngineHarness.OpenStepwise(_disk, Options with { Retention = new RetentionOptions { Time = Duration.Hours(1) } }, _time);
        Dictionary<string, List<Sample>> before = _engine.ReadAll();
        ReadSnapshot held = _engine.Engine.AcquireSnapshot();
        Write(0, 0, 1);
        _time.Advance(TimeSpan.FromMinutes(2));
        for (int i = 0; i < 3; i++) _engine.CompactByStep();
        Assert.Empty(_engine.Engine.Stats().Blocks);
        Assert.All(_engine.ReadAll().Values, static samples => Assert.Single(samples));
        AssertSame(before, EngineHarness.Read(held, new TimeRange(0, CurrentMs - 1), All));
        Assert.Equal([ulid], _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        held.Dispose();
        _engine.BlocksByStep();
        Assert.Empty(_disk.List(TestBlocks.Directory));

        // Its name is forgotten, too: put back by hand it would be a foreign one.
        Assert.Equal(-1, _disk.ReadAll("/disk/data/MANIFEST").AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(ulid)));
    }

    [Fact]
    public async Task A_block_still_read_when_the_engine_stops_is_removed_by_the_next_start()
    {
        Write(-3, 0, 1);
        _engine.CompactByStep();
        await _engine.DisposeAsync();
        StorageOptions shortLived = Options with { Retention = new RetentionOptions { Time = Duration.Hours(1) } };
        _engine = EngineHarness.OpenStepwise(_disk, shortLived, _time);
        using ReadSnapshot held = _engine.Engine.AcquireSnapshot();
        Write(0, 0, 1);
        _time.Advance(TimeSpan.FromMinutes(2));
        _engine.CompactByStep();
        Assert.Single(_disk.List(TestBlocks.Directory));
        CrashFileSystem killed = _disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        EngineHarness again = EngineHarness.OpenStepwise(killed, Options, _time);
        Assert.Empty(killed.List(TestBlocks.Directory));
        again.BlocksByStep();
        Assert.All(again.ReadAll().Values, static samples => Assert.Single(samples));
    }

    [Fact]
    public void A_sender_that_is_steadily_late_holds_up_its_own_window_and_none_between_it_and_now()
    {
        Write(-20, 0, 2);
        Write(-3, 0, 2);
        Write(-2, 0, 2);
        _engine.FlushByStep();
        Write(-20, 2, 3); // in memory, as some of it always is
        Write(0, 0, 1);
        _engine.BlocksByStep();
        Assert.Equal([At(-3, 0), At(-2, 0)], _engine.Engine.Stats().Blocks.Select(static block => block.MinTimeMs));
        Assert.Equal([At(-20, 0)], Assert.Single(_engine.Engine.Stats().Tables).Windows.AsEnumerable());
    }

    [Fact]
    public void Who_asks_for_a_compaction_in_the_middle_of_a_round_gets_what_was_written_before()
    {
        Task? second = null;
        var clock = new HookedTime(_time);
        EngineHarness engine = EngineHarness.OpenStepwise(new CrashFileSystem("/disk"), Options, clock);
        Task first = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        clock.OnRead = () =>
        {
            // The round has taken its state already, and finds nothing in it to convert.
            clock.OnRead = null;
            Assert.Equal(WriteStatus.Written, engine.WriteAsync((Series[0], [Sample.Of(At(-3, 0), 1)])).GetAwaiter().GetResult().Status);
            engine.FlushByStep();
            second = engine.Engine.CompactBlocksAsync(CancellationToken.None);
        };
        engine.Engine.StepBlocks();
        Assert.True(first.IsCompletedSuccessfully);
        Assert.Equal((false, 1), (second!.IsCompleted, engine.Engine.Stats().Tables.Length));
        while (!second.IsCompleted) engine.Engine.StepBlocks();
        Assert.Single(engine.Engine.Stats().Blocks);
    }

    private static long At(int window, int step) => CurrentMs + window * WindowMs + step * 15_000;

    private void Write(int window, int from, int to)
    {
        WriteReport report = _engine.WriteAsync(
            [.. Series.Select(labels => (labels, Enumerable.Range(from, to - from).Select(step => Sample.Of(At(window, step), step)).ToArray()))]).GetAwaiter().GetResult();
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
    }

    private static void AssertSame(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        foreach ((string labels, List<Sample> samples) in expected) Assert.Equal(samples, actual[labels]);
    }

    /// <summary>A clock that calls whoever is interested when its time of day is asked for in the choice of a window.</summary>
    private sealed class HookedTime(TimeProvider inner) : TimeProvider
    {
        public Action? OnRead { get; set; }

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override long GetTimestamp() => inner.GetTimestamp();

        public override DateTimeOffset GetUtcNow()
        {
            bool isPicking = Environment.StackTrace.Contains("ConversionWork", StringComparison.Ordinal);
            if (isPicking) OnRead?.Invoke();
            return inner.GetUtcNow();
        }
    }
}
