using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.SSTables;

public sealed class SSTableDiskTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private static ModelSeries[] Series { get; } =
        [.. Enumerable.Range(1, 1200).Select(id => new ModelSeries(0, (ulong)id, TableModel.Chunks(0, 1 + id % 3, id)))];

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_table_on_a_real_disk_is_mapped_or_read_and_unlinked_in_the_end(bool mmap)
    {
        LocalFileSystem fs = new();
        string path = _directory.Path + "/0/7.sst";
        SSTableInfo info = Write(fs, path);
        Assert.Equal(info.Size, fs.FileSize(path));
        Assert.Null(fs.FileSize(path + SSTableFormat.TemporarySuffix));
        SSTableReader reader = SSTableReader.Open(fs, path, 7, info.Size, mmap, cacheMetadata: true, info.Crc);
        Assert.Equal(mmap, reader.IsMapped);
        ulong[] ids = [.. TableModel.AllIds(Series).Where(id => id % 3 != 0)];
        Assert.Equal(TableModel.Expected(Series, ids, TimeRange.All), TableModel.Collect(reader, ids, TimeRange.All));
        reader.MarkObsolete();
        reader.Dispose();
        Assert.Null(fs.FileSize(path));
    }

    [Fact]
    public void An_error_at_any_operation_leaves_no_table_of_that_name_or_a_whole_one()
    {
        const string Named = "tables/0/7.sst";
        for (int nth = 1; ; nth++)
        {
            CrashFileSystem fs = new("tables");
            int failing = nth;
            bool failed = false;
            fs.BeforeOperation = (number, operation) =>
            {
                failed |= number == failing;
                if (number == failing) throw new DiskException($"{operation.Kind}", operation.Path, DiskException.NoSpace, "no space left");
            };
            Exception? thrown = Record.Exception(() => Write(fs, Named));
            Assert.Equal(failed, thrown is DiskException);
            if (fs.FileSize(Named) is { } size) SSTableVerifier.Verify(fs, Named, 7, size, expectedCrc: null, CancellationToken.None);
            Assert.Null(fs.FileSize(Named + SSTableFormat.TemporarySuffix));
            if (!failed) return;
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Many_threads_read_one_table_at_a_time(bool cacheMetadata)
    {
        CrashFileSystem fs = new("tables") { Mappable = cacheMetadata };
        SSTableInfo info = Write(fs, "tables/0/7.sst");
        using SSTableReader reader = SSTableReader.Open(fs, "tables/0/7.sst", 7, info.Size, mmap: true, cacheMetadata);
        Parallel.For(0, 40, new ParallelOptions { MaxDegreeOfParallelism = 4 }, round =>
        {
            ulong[] ids = [.. TableModel.AllIds(Series).Where(id => id % 40 == (ulong)round)];
            Assert.Equal(TableModel.Expected(Series, ids, TimeRange.All), TableModel.Collect(reader, ids, TimeRange.All));
        });
        Assert.Equal(1200, reader.BloomMisses);
    }

    private static SSTableInfo Write(IFileSystem fs, string path) =>
        SSTableFiles.Write(fs, path, new SSTableWriterOptions { TableId = 7 }, writer =>
        {
            using NativeArena arena = new();
            foreach (ModelSeries one in Series) writer.Add(0, one.Id, [.. one.Chunks.Select(chunk => TableModel.ToNative(chunk, arena))]);
            return writer.Finish(1, 1, []);
        });
}
