using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.BlockStorage;
using TsdbRemote.Tests.Levels;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Compaction;

public sealed class ConversionPickerTests
{
    private const long Window = TableModel.WindowMs;
    private const long Delay = 1000;
    private const long LateDelay = 500;

    private static readonly ConversionPicker Picker = new(Window, Delay, LateDelay);
    private readonly MemoryFileSystem _files = new();
    private readonly StoredBlocks _blocks = new();

    [Fact]
    public void A_window_is_closed_once_its_end_is_the_delay_behind_the_clock()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, 0));
        Assert.Null(Next(levels, nowMs: Window - 1 + Delay));
        ConversionJob job = Next(levels, nowMs: Window + Delay)!;
        Assert.Equal((new TimeRange(0, Window - 1), false), (job.Window, job.IsLate));
        Assert.Equal([1], job.Tables.Select(static table => table.Entry.Id));
    }

    [Fact]
    public void Without_tables_there_is_nothing_to_convert() => Assert.Null(Next(LevelSet.Empty, nowMs: long.MaxValue));

    [Fact]
    public void The_oldest_window_comes_first_with_all_tables_that_hold_some_of_it()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, Window, 3 * Window), Table(2, -Window, Window), Table(3, -Window, 2 * Window));
        ConversionJob job = Next(levels, nowMs: 10 * Window)!;
        Assert.Equal(new TimeRange(-Window, -1), job.Window);
        Assert.Equal([2, 3], job.Tables.Select(static table => table.Entry.Id).Order());
    }

    [Fact]
    public void A_window_that_a_memtable_holds_some_of_waits_and_the_next_one_goes_on()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, 0, Window));
        Assert.Equal(Window, Next(levels, nowMs: 10 * Window, memTables: [new TimeRange(-5, 0)])!.Window.MinMs);
        Assert.Equal(Window, Next(levels, nowMs: 10 * Window, memTables: [new TimeRange(Window - 1, Window - 1)])!.Window.MinMs);
        Assert.Equal(0, Next(levels, nowMs: 10 * Window, memTables: [new TimeRange(Window, Window)])!.Window.MinMs);
        Assert.Equal(0, Next(levels, nowMs: 10 * Window, memTables: [new TimeRange(-9, -1), new TimeRange(5 * Window, 6 * Window)])!.Window.MinMs);
        Assert.Null(Next(levels, nowMs: 10 * Window, memTables: [new TimeRange(-5, 2 * Window)]));
    }

    [Fact]
    public void Late_data_waits_until_it_was_quiet_and_does_not_hold_up_the_windows_behind_it()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, 0), Table(2, 0, Window));
        BlockSet blocks = BlockSet.Empty.With(_blocks.Own(1, rank: 1, 0, Window - 1));
        Assert.Equal(Window, Next(levels, 10 * Window, blocks, sinceAddedMs: static id => id == 1 ? LateDelay : LateDelay - 1)!.Window.MinMs);
        ConversionJob late = Next(levels, 10 * Window, blocks, sinceAddedMs: static _ => LateDelay)!;
        Assert.Equal((0, true), (late.Window.MinMs, late.IsLate));
        Assert.Equal(2, late.Tables.Length);
    }

    [Fact]
    public void Late_data_of_many_bytes_waits_no_longer_and_only_the_windows_part_of_a_table_counts()
    {
        BlockSet blocks = BlockSet.Empty.With(_blocks.Own(1, rank: 1, 0, 2 * Window - 1));
        LevelTable half = Table(1, 0, Window);
        long enough = 2 * ConversionPicker.LateBytes;
        LevelSet many = LevelSet.Empty.With(half with { Entry = half.Entry with { Size = enough } });
        Assert.Equal(0, Next(many, 10 * Window, blocks, sinceAddedMs: static _ => 0)!.Window.MinMs);
        LevelSet few = LevelSet.Empty.With(half with { Entry = half.Entry with { Size = enough - 10 } });
        Assert.Null(Next(few, 10 * Window, blocks, sinceAddedMs: static _ => 0));
        LevelTable other = Table(2, 0);
        Assert.Equal(0, Next(few.With(other with { Entry = other.Entry with { Size = 10 } }), 10 * Window, blocks, sinceAddedMs: static _ => 0)!.Window.MinMs);
    }

    [Fact]
    public void A_foreign_block_makes_no_data_late()
    {
        BlockSet blocks = BlockSet.Empty.With(_blocks.Foreign(1, 0, Window - 1));
        Assert.False(Next(LevelSet.Empty.With(Table(1, 0)), 10 * Window, blocks, sinceAddedMs: static _ => 0)!.IsLate);
    }

    [Fact]
    public void A_window_that_failed_is_passed_over()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, 0, Window));
        Assert.Equal(Window, Next(levels, 10 * Window, passedOver: [0])!.Window.MinMs);
        Assert.Null(Next(levels, 10 * Window, passedOver: [0, Window]));
    }

    [Fact]
    public void A_window_that_another_job_works_on_is_passed_over()
    {
        LevelSet levels = LevelSet.Empty.With(Table(1, 0, Window));
        Assert.Equal(Window, Next(levels, 10 * Window, isBusy: static window => window.Contains(Window - 1))!.Window.MinMs);
        Assert.Null(Next(levels, 10 * Window, isBusy: static _ => true));
    }

    [Fact]
    public void A_memtable_holds_closed_data_by_its_oldest_sample()
    {
        Assert.True(Picker.HoldsClosed(new TimeRange(0, 9 * Window), nowMs: Window + Delay));
        Assert.False(Picker.HoldsClosed(new TimeRange(0, 9 * Window), nowMs: Window + Delay - 1));
        Assert.True(Picker.HoldsClosed(new TimeRange(long.MinValue, 0), nowMs: 0));
    }

    private static ConversionJob? Next(
        LevelSet levels, long nowMs, BlockSet? blocks = null, TimeRange[]? memTables = null, Func<long, long>? sinceAddedMs = null, HashSet<long>? passedOver = null,
        Func<TimeRange, bool>? isBusy = null) =>
        Picker.Next(levels, blocks ?? BlockSet.Empty, memTables ?? [], nowMs, sinceAddedMs ?? (static _ => 0), passedOver ?? [], isBusy ?? (static _ => false));

    /// <summary>A table of one sample in each window.</summary>
    private LevelTable Table(long id, params long[] windows)
    {
        string path = new DataLayout("data").Table(id);
        ModelSeries[] series = [.. windows.Select(static window => new ModelSeries(window, 1, [new ModelChunk(window, window, TsdbRemote.Blocks.Chunks.ChunkEncoding.Xor, "0001AA")]))];
        SSTableInfo info = TableModel.Write(_files, series, new SSTableWriterOptions { TableId = id }, path);
        return new LevelTable(ManifestSamples.Table(id, 0, (ulong)id, windows), SSTableReader.Open(_files, path, id, info.Size, mmap: true, cacheMetadata: true));
    }
}
