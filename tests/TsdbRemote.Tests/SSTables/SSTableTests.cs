using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

public class SSTableTests
{
    private const int Rounds = 150;

    [Theory]
    [InlineData(true, true)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(false, false)]
    public void A_table_answers_any_ids_and_range_as_a_walk_over_everything_would(bool mmap, bool cacheMetadata) =>
        Gen.Select(TableModel.Series(4, 40, 4), Gen.Int[0, 1 << 30], Gen.Long[-4, 4], Gen.Long[0, 4], Gen.Int[0, 12]).Sample(
            (series, seed, from, length, bits) =>
            {
                MemoryFileSystem fs = new();
                SSTableInfo info = TableModel.Write(fs, series, new SSTableWriterOptions { TableId = 7, BloomBitsPerKey = bits });
                using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap, cacheMetadata, info.Crc, 4096);
                Assert.Equal(mmap, reader.IsMapped);
                Random random = new(seed);
                ulong[] all = [.. TableModel.AllIds(series).SelectMany(id => (ulong[])[id - 1, id, id + 1]).Distinct().Order()];
                ulong[] asked = [.. all.Where(_ => random.Next(3) > 0)];
                TimeRange range = new(from * TableModel.WindowMs - random.Next(2), (from + length) * TableModel.WindowMs - random.Next(2));
                foreach (TimeRange within in (TimeRange[])[TimeRange.All, range, new TimeRange(range.MinMs, range.MinMs)])
                {
                    foreach (ulong[] ids in (ulong[][])[all, asked, [.. asked.Take(1)], []])
                        Assert.Equal(TableModel.Expected(series, ids, within), TableModel.Collect(reader, ids, within));
                }
            },
            iter: Rounds);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_table_of_many_index_blocks_finds_each_id(bool mmap)
    {
        ModelSeries[] series =
        [
            .. from window in Enumerable.Range(0, 2)
               from id in Enumerable.Range(0, 6000)
               where (id + window) % 3 != 0
               let startMs = window * TableModel.WindowMs
               select new ModelSeries(startMs, (ulong)id * 7, [new ModelChunk(startMs, startMs + id, ChunkEncoding.Xor, $"{id:X8}")]),
        ];
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, series);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap, cacheMetadata: true, info.Crc);
        ulong[] all = TableModel.AllIds(series);
        foreach (int step in (int[])[1, 2, 13, 500, 5000])
        {
            ulong[] ids = [.. all.Where((_, i) => i % step == step / 2)];
            HashSet<ulong> wanted = [.. ids];
            List<(ulong, ModelChunk)> expected = [.. series.Where(one => wanted.Contains(one.Id)).Select(one => (one.Id, one.Chunks[0]))];
            Assert.Equal(expected, TableModel.Collect(reader, ids, TimeRange.All));
        }
    }

    [Fact]
    public void A_pass_over_everything_reads_neighbouring_chunks_at_once()
    {
        ModelSeries[] series = [.. Enumerable.Range(1, 5000).Select(id => new ModelSeries(0, (ulong)id, TableModel.Chunks(0, 1, id)))];
        MemoryFileSystem fs = new(canMap: false);
        SSTableInfo info = TableModel.Write(fs, series);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true, info.Crc);
        Assert.False(reader.IsMapped);
        fs.Trace.Clear();
        ulong[] all = TableModel.AllIds(series);
        Assert.Equal(5000, TableModel.Collect(reader, all, TimeRange.All).Count);
        Assert.InRange(fs.Trace.Count, 2, 12);
    }

    [Fact]
    public void Windows_outside_the_range_are_not_looked_at()
    {
        ModelSeries[] series =
        [
            .. from window in Enumerable.Range(0, 50)
               let startMs = window * TableModel.WindowMs
               select new ModelSeries(startMs, 3, TableModel.Chunks(startMs, 2, window)),
        ];
        MemoryFileSystem fs = new(canMap: false);
        SSTableInfo info = TableModel.Write(fs, series);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: false, cacheMetadata: true, info.Crc);
        TableModel.Collect(reader, [3], new TimeRange(0, 0)); // loads the bloom filter
        fs.Trace.Clear();
        TimeRange tenth = new(10 * TableModel.WindowMs, 11 * TableModel.WindowMs - 1);
        Assert.Equal(TableModel.Expected(series, [3], tenth), TableModel.Collect(reader, [3], tenth));
        Assert.InRange(fs.Trace.Count, 1, 3);
    }

    [Fact]
    public void Chunks_beyond_4_GiB_are_found()
    {
        const long Hole = 5L << 30;
        ModelSeries[] series = [.. Enumerable.Range(1, 900).Select(id => new ModelSeries(0, (ulong)id, TableModel.Chunks(0, 1, id)))];
        MemoryFileSystem fs = new(canMap: false);
        TableModel.Write(fs, series);
        long size = LongTable.ShiftChunks(fs, TableModel.Path, Hole);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, size, mmap: false, cacheMetadata: true);
        Assert.Equal(size, reader.Size);
        ulong[] all = TableModel.AllIds(series);
        Assert.Equal(TableModel.Expected(series, all, TimeRange.All), TableModel.Collect(reader, all, TimeRange.All));
        Assert.Equal(TableModel.Expected(series, [899], TimeRange.All), TableModel.Collect(reader, [899], TimeRange.All));
    }

    [Fact]
    public void The_bloom_filter_keeps_absent_ids_from_being_looked_for()
    {
        ModelSeries[] series = [.. Enumerable.Range(1, 400).Select(id => new ModelSeries(0, (ulong)id * 2, TableModel.Chunks(0, 1, id)))];
        MemoryFileSystem fs = new(canMap: false);
        SSTableInfo info = TableModel.Write(fs, series);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: false, cacheMetadata: true, info.Crc);
        for (ulong id = 3; id < 800; id += 2) Assert.Empty(TableModel.Collect(reader, [id], TimeRange.All));
        Assert.InRange(reader.BloomHits, 375, 399);
        Assert.Equal(399, reader.BloomHits + reader.BloomMisses);
    }

    [Fact]
    public void Properties_and_info_say_what_was_written()
    {
        ModelSeries[] series =
        [
            new(-TableModel.WindowMs, 9, TableModel.Chunks(-TableModel.WindowMs, 3, 1)),
            new(0, 4, TableModel.Chunks(0, 2, 2)),
            new(0, 9, TableModel.Chunks(0, 1, 3)),
        ];
        MemoryFileSystem fs = new();
        Guid directory = new("00112233-4455-6677-8899-aabbccddeeff");
        SSTableInfo info = TableModel.Write(fs, series, new SSTableWriterOptions { TableId = 7, Level = 0, DirectoryId = directory });
        Assert.Equal(fs[TableModel.Path].Length, info.Size);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true, info.Crc);
        Assert.Equal(info.Properties, reader.Properties);
        Assert.Equal("00112233445566778899AABBCCDDEEFF", Convert.ToHexString(reader.Properties.DirectoryId.Span));
        Assert.Equal([-TableModel.WindowMs, 0], reader.Properties.Windows.Select(window => window.StartMs));
        Assert.Equal((2, 6), (reader.Properties.Series, reader.Properties.Chunks));
        Assert.Equal((4UL, 9UL), (reader.Properties.MinSeriesId, reader.Properties.MaxSeriesId));
        Assert.Equal(series.SelectMany(one => one.Chunks).Sum(chunk => (chunk.Bytes[0] << 8) | chunk.Bytes[1]), reader.Properties.Samples);
        Assert.Equal(series.SelectMany(one => one.Chunks).Min(chunk => chunk.MinTimeMs), reader.Properties.MinTimeMs);
        Assert.Equal(series.SelectMany(one => one.Chunks).Max(chunk => chunk.MaxTimeMs), reader.Properties.MaxTimeMs);
        Assert.Equal((5UL << 40, (5UL << 40) + 99), (reader.Properties.FirstSequence, reader.Properties.LastSequence));
    }

    [Fact]
    public void What_was_written_is_read_back_before_it_is_synced()
    {
        MemoryFileSystem fs = new();
        TableModel.Write(fs, [new(0, 1, TableModel.Chunks(0, 1, 1))]);
        int lastRead = fs.Trace.FindLastIndex(call => call.StartsWith("read", StringComparison.Ordinal));
        int lastWrite = fs.Trace.FindLastIndex(call => call.StartsWith("write", StringComparison.Ordinal));
        Assert.Equal(fs.Trace.Count - 1, fs.Trace.IndexOf($"sync {TableModel.Path}"));
        Assert.True(lastWrite < lastRead);
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void Series_out_of_order_stop_the_writer()
    {
        MemoryFileSystem fs = new();
        using NativeArena arena = new(4096);
        SeriesChunk[] chunks = [.. TableModel.Chunks(TableModel.WindowMs, 2, 1).Select(chunk => TableModel.ToNative(chunk, arena))];
        using SSTableWriter writer = new(fs, TableModel.Path, new SSTableWriterOptions { TableId = 7 });
        writer.Add(TableModel.WindowMs, 5, chunks);
        Assert.Throws<InvariantViolatedException>(() => writer.Add(TableModel.WindowMs, 5, chunks));
        Assert.Throws<InvariantViolatedException>(() => writer.Add(0, 6, chunks));
        Assert.Throws<InvariantViolatedException>(() => writer.Add(TableModel.WindowMs, 7, []));
        Assert.Throws<InvariantViolatedException>(() => writer.Add(TableModel.WindowMs, 8, [chunks[1], chunks[0]]));
    }

    [Fact]
    public void A_table_of_nothing_is_not_written()
    {
        using SSTableWriter writer = new(new MemoryFileSystem(), TableModel.Path, new SSTableWriterOptions { TableId = 7 });
        Assert.Throws<InvariantViolatedException>(() => writer.Finish(1, 1, [], CancellationToken.None));
    }

    [Fact]
    public void An_obsolete_table_is_unlinked_by_the_last_to_let_go()
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, [new(0, 1, TableModel.Chunks(0, 1, 1))]);
        SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true);
        Assert.True(reader.TryAcquire());
        reader.MarkObsolete();
        reader.Dispose();
        reader.Dispose();
        Assert.Single(TableModel.Collect(reader, [1], TimeRange.All));
        Assert.True(fs.Exists(TableModel.Path));
        reader.Release();
        Assert.False(fs.Exists(TableModel.Path));
        Assert.False(reader.TryAcquire());
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void A_table_still_named_stays_when_it_is_closed()
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, [new(0, 1, TableModel.Chunks(0, 1, 1))]);
        SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true).Dispose();
        Assert.True(fs.Exists(TableModel.Path));
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void A_failed_unlink_is_reported_and_not_thrown_at_a_reader()
    {
        MemoryFileSystem fs = new() { FailOn = $"unlink {TableModel.Path}" };
        SSTableInfo info = TableModel.Write(fs, [new(0, 1, TableModel.Chunks(0, 1, 1))]);
        SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true);
        List<(string, IOException)> failures = [];
        reader.MarkObsolete((path, failure) => failures.Add((path, failure)));
        reader.Dispose();
        (string path, IOException failure) = Assert.Single(failures);
        Assert.Equal(TableModel.Path, path);
        Assert.Equal(DiskException.InputOutput, Assert.IsType<DiskException>(failure).Errno);
    }
}
