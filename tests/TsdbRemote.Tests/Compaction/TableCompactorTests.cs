using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Compaction;

public sealed class TableCompactorTests
{
    private const long Window = CompactionTables.WindowMs;
    private static readonly TimeRange FirstWindow = new(0, Window - 1);

    private readonly MemoryFileSystem _files = new(canMap: false);
    private readonly CompactionTables _tables;
    private readonly TableCompactor _compactor;

    public TableCompactorTests()
    {
        _tables = new CompactionTables(_files);
        _compactor = new TableCompactor(_files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, BloomBitsPerKey: 10, TargetFileBytes: 1 << 20, MaxFileBytes: 4 << 20));
    }

    [Fact]
    public void A_damaged_chunk_is_left_out_and_named_and_the_rest_goes_over()
    {
        LevelTable good = _tables.Write(0, 1, 1, 120, [(1, Scrapes(0, 120)), (2, Scrapes(0, 120))]);
        LevelTable bad = _tables.Write(0, 2, 2, 120, [(1, Scrapes(120, 120)), (2, Scrapes(120, 120)), (3, Scrapes(0, 5))], DamageFirstChunk);
        LevelSet levels = _tables.Compact(LevelSet.Empty.With(good, bad), JobOf(good, bad), _compactor, out CompactionResult result);
        Assert.Equal([bad.Entry.Id], result.DamagedTables);
        string damage = Assert.Single(result.Damages);
        Assert.Contains($"{CompactionTables.Paths.Table(bad.Entry)} at {SSTableFormat.HeaderBytes}", damage, StringComparison.Ordinal);
        Assert.EndsWith("left out of the merged table, the table is kept", damage, StringComparison.Ordinal);
        SortedDictionary<ulong, List<Sample>> left = CompactionTables.Read(levels);
        Assert.Equal(Scrapes(0, 120), left[1]);
        Assert.Equal(Scrapes(0, 240), left[2]);
        Assert.Equal(Scrapes(0, 5), left[3]);
    }

    [Fact]
    public void Where_nothing_can_be_read_no_table_is_written()
    {
        LevelTable bad = _tables.Write(0, 2, 2, 120, [(1, Scrapes(0, 120))], DamageFirstChunk);
        CompactionResult result = _compactor.Write(JobOf(bad), () => _tables.NextId++, static _ => { }, CancellationToken.None);
        Assert.Empty(result.Tables);
        Assert.Equal([bad.Entry.Id], result.DamagedTables);
    }

    [Fact]
    public void A_damaged_index_ends_the_merge_and_leaves_nothing()
    {
        LevelTable good = _tables.Write(0, 1, 1, 120, ManySeries(100, 120));
        LevelTable bad = _tables.Write(0, 2, 2, 120, [(1, Scrapes(120, 120))], static bytes => bytes[IndexOffsetOf(bytes) + 3] ^= 1);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => Write(SmallFiles(), JobOf(good, bad)));
        Assert.Equal(CompactionTables.Paths.Table(bad.Entry), damage.Path);
        AssertOnly(good, bad);

        // Nor does it where nothing was finished yet.
        Assert.Throws<OperationCanceledException>(() => _compactor.Write(JobOf(good), () => _tables.NextId++, static _ => { }, new CancellationToken(canceled: true)));
        _files.FailOn = $"sync {DirectoryOf(0)}/50.sst.tmp";
        _tables.NextId = 50;
        Assert.Throws<DiskException>(() => Write(_compactor, JobOf(good)));
        _files.FailOn = $"rename {DirectoryOf(0)}/51.sst.tmp {DirectoryOf(0)}/51.sst";
        Assert.Throws<DiskException>(() => Write(_compactor, JobOf(good)));
        AssertOnly(good, bad);
    }

    [Fact]
    public void A_merge_that_is_given_up_between_two_pieces_unlinks_what_it_wrote()
    {
        LevelTable one = _tables.Write(0, 1, 1, 120, ManySeries(3000, 120));
        LevelTable two = _tables.Write(0, 2, 2, 120, ManySeries(3000, 60));
        int calls = 0;
        long lastRead = 0;
        TableCompactor small = SmallFiles();
        Assert.Throws<TimeoutException>(() => small.Write(JobOf(one, two), () => _tables.NextId++, read =>
        {
            Assert.True(read > lastRead);
            lastRead = read;
            Assert.Contains(_files.List(DirectoryOf(0)), static entry => entry.Name.EndsWith(".sst", StringComparison.Ordinal)); // several are finished by now
            if (++calls == 2) throw new TimeoutException();
        }, CancellationToken.None));
        Assert.Equal(2, calls);
        AssertOnly(one, two);

        using var cancel = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => small.Write(JobOf(one, two), () => _tables.NextId++, _ => cancel.Cancel(), cancel.Token));
        AssertOnly(one, two);
        Assert.Equal(2, _files.OpenFiles);
    }

    [Fact]
    public void A_disk_that_refuses_a_later_table_has_the_earlier_ones_unlinked_as_far_as_it_lets_us()
    {
        LevelTable one = _tables.Write(0, 1, 1, 120, ManySeries(200, 120));
        _files.FailOn = $"rename {DirectoryOf(0)}/12.sst.tmp {DirectoryOf(0)}/12.sst";
        _tables.NextId = 10;
        Assert.Throws<DiskException>(() => Write(SmallFiles(), JobOf(one)));
        AssertOnly(one);

        _files.FailOn = $"unlink {DirectoryOf(0)}/20.sst";
        _tables.NextId = 20;
        Assert.Throws<TimeoutException>(() => SmallFiles().Write(
            JobOf(one), () => _tables.NextId < 22 ? _tables.NextId++ : throw new TimeoutException(), static _ => { }, CancellationToken.None));
        Assert.Equal(["20.sst"], _files.List(DirectoryOf(0)).Select(static entry => entry.Name)); // the failure that led here is the one to report
    }

    [Fact]
    public void After_a_failed_sync_what_was_finished_is_left_alone()
    {
        LevelTable one = _tables.Write(0, 1, 1, 120, ManySeries(200, 120));
        _tables.NextId = 10;
        var files = new FaultInjector(_files);
        files.Add(new FaultRule(new Fault.FailedSync(LostPages.None), FileOperationKind.SyncAll) { Path = "12.sst.tmp" });
        var compactor = new TableCompactor(files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, 10, TargetFileBytes: 4000, MaxFileBytes: 8000));
        Assert.True(Assert.Throws<DiskException>(() => Write(compactor, JobOf(one))).IsSync);
        Assert.Equal(["10.sst", "11.sst"], _files.List(DirectoryOf(0)).Select(static entry => entry.Name));
    }

    [Fact]
    public void A_series_larger_than_a_table_may_be_gets_one_of_its_own()
    {
        LevelTable one = _tables.Write(0, 1, 1, 120, [(1, Scrapes(0, 10)), (2, Noise(7000)), (3, Scrapes(0, 10))]);
        var compactor = new TableCompactor(_files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, 10, TargetFileBytes: 2000, MaxFileBytes: 2000));
        CompactionResult result = Write(compactor, JobOf(one));
        Assert.Equal([(1UL, 1UL), (2UL, 2UL), (3UL, 3UL)], result.Tables.Select(static table => (table.MinSeriesId, table.MaxSeriesId)));
        Assert.True(result.Tables[1].Size > 20_000);
        Assert.All((TableEntry[])[result.Tables[0], result.Tables[2]], static table => Assert.True(table.Size <= 2000));
    }

    [Fact]
    public void Only_the_window_of_the_job_is_merged_and_the_others_stay_in_the_inputs()
    {
        LevelTable one = _tables.Write(0, 1, 1, 120, [(1, [Sample.Of(-5, 1), Sample.Of(5, 1), Sample.Of(Window, 1)])]);
        LevelTable two = _tables.Write(0, 2, 2, 120, [(1, [Sample.Of(5, 2), Sample.Of(Window - 1, 2)])]);
        LevelSet before = LevelSet.Empty.With(one, two);
        LevelSet after = _tables.Compact(before, JobOf(one, two), _compactor, out CompactionResult result);
        Assert.Equal((2, new MergeCounts(0, 1)), (result.SamplesWritten, result.Merged));
        Assert.Equal([-Window, Window], after.Tables.Single(table => table.Entry.Id == one.Entry.Id).Entry.Windows.AsEnumerable());
        Assert.DoesNotContain(after.Tables, table => table.Entry.Id == two.Entry.Id);
        Assert.False(_files.Exists(CompactionTables.Paths.Table(two.Entry)));
        Assert.Equal([Sample.Of(-5, 1), Sample.Of(5, 2), Sample.Of(Window - 1, 2), Sample.Of(Window, 1)], CompactionTables.Read(after)[1]);
    }

    private static CompactionJob JobOf(params LevelTable[] inputs) => new(FirstWindow, [.. inputs], OutputLevel: 1, CompactionReason.TooManyRuns);

    private static string DirectoryOf(long window) => CompactionTables.Paths.TableDirectory(1, window);

    private static Sample[] Scrapes(int first, int count) => [.. Enumerable.Range(first, count).Select(static i => Sample.Of(i * 15_000L, i))];

    private static Sample[] Noise(int count)
    {
        var random = new Random(1);
        return [.. Enumerable.Range(0, count).Select(i => Sample.Of(i * 1000L, random.NextDouble()))];
    }

    private static IEnumerable<(ulong, Sample[])> ManySeries(int series, int samples) => Enumerable.Range(1, series).Select(id => ((ulong)id, Scrapes(0, samples)));

    private static void DamageFirstChunk(byte[] bytes) => bytes[SSTableFormat.HeaderBytes + 10] ^= 1;

    private static int IndexOffsetOf(byte[] bytes)
    {
        Assert.Null(SSTableFooter.TryRead(bytes.AsSpan(bytes.Length - SSTableFormat.FooterBytes), bytes.Length, out SSTableFooter footer, out _));
        return (int)footer.IndexOffset;
    }

    private TableCompactor SmallFiles() => new(_files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, 10, TargetFileBytes: 4000, MaxFileBytes: 8000));

    private CompactionResult Write(TableCompactor compactor, CompactionJob job) => compactor.Write(job, () => _tables.NextId++, static _ => { }, CancellationToken.None);

    private void AssertOnly(params LevelTable[] tables)
    {
        Assert.Equal(
            tables.Select(static table => table.Reader.Path[(CompactionTables.Paths.Tables.Length + 1)..]).Order(StringComparer.Ordinal),
            _files.List(CompactionTables.Paths.Tables).Select(static entry => entry.Name)); // the directory of the window is gone, too
    }
}
