using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Levels;

public class LevelSetTests
{
    private const long Window = TableModel.WindowMs;
    private readonly MemoryFileSystem _fs = new();

    [Fact]
    public void Tables_come_newest_first_whatever_order_they_were_added_in()
    {
        LevelSet set = LevelSet.Empty.With(Open(2, 0, 30, 0, Window), Open(5, 1, 20, 0)).With(Open(1, 0, 40, Window), Open(3, 1, 20, Window));
        Assert.Equal([1, 2, 5, 3], set.Tables.Select(table => table.Entry.Id));
        Assert.Equal([2, 5], set.InWindow(0).Select(table => table.Entry.Id));
        Assert.Equal([1, 2, 3], set.InWindow(Window).Select(table => table.Entry.Id));
        Assert.Empty(set.InWindow(2 * Window));
        Assert.Equal([1, 2], set.AtLevel(0).Select(table => table.Entry.Id));
        Assert.Empty(set.AtLevel(2));
        Assert.Equal([3], set.At(1, Window).Select(table => table.Entry.Id));
        Assert.Equal([0, Window], set.Windows.AsEnumerable());
        Assert.Equal([0, 1], set.Levels.AsEnumerable());
        Assert.Equal([2, 5], set.Overlapping(new TimeRange(-9, 3)).Select(table => table.Entry.Id));
        Assert.Equal(set.Tables.Sum(table => table.Entry.Size), set.Bytes);
    }

    [Fact]
    public void A_set_does_not_change_when_another_is_made_of_it()
    {
        LevelSet one = LevelSet.Empty.With(Open(1, 0, 1, 0));
        LevelSet two = one.With(Open(2, 0, 2, 0));
        LevelSet back = two.Without(1);
        Assert.Empty(LevelSet.Empty.Tables);
        Assert.Equal([1], one.Tables.Select(table => table.Entry.Id));
        Assert.Equal([2, 1], two.Tables.Select(table => table.Entry.Id));
        Assert.Equal([2], back.Tables.Select(table => table.Entry.Id));
        Assert.Throws<InvariantViolatedException>(() => two.With(Open(2, 1, 9, 0)));
        Assert.Throws<InvariantViolatedException>(() => back.Without(1));
    }

    [Fact]
    public void A_reader_takes_all_tables_or_none()
    {
        LevelSet set = LevelSet.Empty.With(Open(1, 0, 1, 0), Open(2, 0, 2, 0));
        Assert.True(set.TryAcquire());
        SSTableReader gone = set.Tables[1].Reader;
        gone.MarkObsolete();
        gone.Dispose();
        Assert.True(_fs.Exists(gone.Path));
        set.Release();
        Assert.False(_fs.Exists(gone.Path));
        Assert.False(set.TryAcquire());
        set.Tables[0].Reader.Dispose();
        Assert.Equal(0, _fs.OpenFiles); // the table taken before the closed one was given back
    }

    private LevelTable Open(long id, int level, ulong sequence, params long[] windows)
    {
        string path = new DataLayout("data").Table(id, level, windows[0]);
        SSTableInfo info = TableModel.Write(_fs, [new(0, 1, TableModel.Chunks(0, 1, 1))], new SSTableWriterOptions { TableId = id }, path);
        TableEntry entry = ManifestSamples.Table(id, level, sequence, windows);
        return new LevelTable(entry, SSTableReader.Open(_fs, path, id, info.Size, mmap: true, cacheMetadata: true));
    }
}
