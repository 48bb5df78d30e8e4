using CsCheck;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

public class BlockReaderTests
{
    private static readonly BlockModelSeries[] Series =
    [
        .. Enumerable.Range(0, 20).Select(static i => BlockModel.Series(
            i, [.. Enumerable.Range(0, 1 + i % 5).Select(chunk => BlockModel.Samples(chunk * 20_000L + i * 1000, 10, i))])),
    ];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Matchers_and_range_select_what_looking_at_everything_selects(bool mmap)
    {
        CrashFileSystem files = WriteSeries();
        PostingsCacheBudget budget = new(1 << 20);
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap, budget);
        Gen.Select(Gen.Long[-5_000, 130_000], Gen.Long[-1, 60_000], Gen.OneOf("even", "o.*", "e.+|odd", "none")).Sample((min, length, pattern) =>
        {
            TimeRange range = new(min, min + length);
            var matcher = Matcher.Create(MatcherType.Regex, "__name__", pattern);
            IEnumerable<BlockModelSeries> matching = Series.Where(one => HasName(one, matcher));
            BlockSeriesCursor cursor = reader.Select([matcher], range, CancellationToken.None);
            return BlockModel.Expected(matching, range).SequenceEqual(BlockModel.Collect(cursor, range));
        });
        Assert.True(budget.Entries > 0);
    }

    [Fact]
    public void A_selection_asks_the_cache_for_each_matcher_once()
    {
        using BlockReader reader = BlockReader.Open(WriteSeries(), BlockModel.Path, mmap: false, new PostingsCacheBudget(1 << 20));
        for (int round = 0; round < 3; round++)
        {
            using BlockSeriesCursor cursor = reader.Select([Matcher.Create(MatcherType.Regex, "__name__", "o.+|e.+")], TimeRange.All, CancellationToken.None);
            Assert.True(cursor.MoveNext());
            Assert.Equal((round, 1), (reader.Postings!.Hits, reader.Postings.Misses));
        }
    }

    [Fact]
    public void A_series_without_a_chunk_in_the_range_does_not_appear_and_chunks_come_whole()
    {
        CrashFileSystem files = WriteSeries();
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        TimeRange range = new(45_500, 47_500); // inside third chunks only
        using BlockSeriesCursor cursor = reader.SelectAll(range, CancellationToken.None);
        using NativeArena arena = new();
        int seen = 0;
        while (cursor.MoveNext())
        {
            List<SeriesChunk> chunks = [];
            cursor.AddChunks(range, 0, arena, chunks);
            SeriesChunk chunk = Assert.Single(chunks);
            Assert.Equal(9000, chunk.MaxTimeMs - chunk.MinTimeMs);
            Assert.InRange(chunk.MinTimeMs, cursor.MinTimeMs, cursor.MaxTimeMs);
            cursor.AddChunks(new TimeRange(10, 5), 0, arena, chunks); // nothing is inside
            Assert.Single(chunks);
            seen++;
        }

        Assert.Equal(Series.Count(one => one.Chunks.Any(chunk => chunk[0].TimeMs <= range.MaxMs && chunk[^1].TimeMs >= range.MinMs)), seen);
        Assert.InRange(seen, 1, Series.Length - 1);
        Assert.Equal(Series.Length, cursor.Selected);
    }

    [Fact]
    public void Outside_of_the_blocks_own_range_nothing_is_looked_at()
    {
        CrashFileSystem files = WriteSeries();
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        Assert.Equal((0, Series.Max(one => one.Chunks[^1][^1].TimeMs)), (reader.MinTimeMs, reader.MaxTimeMs));
        foreach (TimeRange range in (TimeRange[])[new(long.MinValue, -1), new(reader.MaxTimeMs + 1, long.MaxValue), new(5, 4)])
        {
            using BlockSeriesCursor all = reader.SelectAll(range, CancellationToken.None);
            using BlockSeriesCursor some = reader.Select([Matcher.Create(MatcherType.NotEqual, "a", "b")], range, CancellationToken.None);
            Assert.Equal((0, 0), (all.Selected, some.Selected));
            Assert.False(all.MoveNext());
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Deleted_samples_are_gone_and_no_others(bool mmap) =>
        Gen.Select(Gen.Int[0, Series.Length - 1], Gen.Long[-2_000, 110_000], Gen.Long[0, 30_000]).Array[1, 12].Sample(entries =>
        {
            CrashFileSystem files = WriteSeries();
            uint[] ids = IdsOf(files);
            BlockModelSeries[] sorted = [.. Series.OrderBy(one => one.Labels, Comparer<byte[]>.Create((a, b) => Labels.Compare(a, b)))];
            (int Series, TimeRange Range)[] deleted = [.. entries.Select(entry => (entry.Item1, new TimeRange(entry.Item2, entry.Item2 + entry.Item3)))];
            Delete(files, [.. deleted.Select(one => new Tombstone(ids[one.Series], one.Range))]);
            IEnumerable<BlockModelSeries> left = sorted.Select((series, i) => series with
            {
                Chunks = [.. series.Chunks.Select(chunk => chunk.Where(sample => IsLeft(i, sample)).ToArray()).Where(chunk => chunk.Length > 0)],
            });
            Assert.Equal(BlockModel.Expected(left, TimeRange.All), BlockModel.ReadAll(files, BlockModel.Path, mmap));

            bool IsLeft(int series, Sample sample) => !deleted.Any(one => one.Series == series && one.Range.Contains(sample.TimeMs));
        }, iter: 60);

    [Fact]
    public void A_chunk_that_is_deleted_whole_is_not_even_read_and_others_pass_as_they_are()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        BlockModelSeries series = BlockModel.Series(1, [.. Enumerable.Range(0, 3).Select(i => BlockModel.Samples(i * 20_000, 10, i))]);
        BlockModel.Write(files, [series]);
        Delete(files, [new Tombstone(IdsOf(files)[0], new TimeRange(0, 9000)), new Tombstone(IdsOf(files)[0], new TimeRange(23_500, 24_500))]);
        string segment = $"{BlockModel.Path}/chunks/000001";
        using (IFile file = files.OpenAppendable(segment)) file.Write(SegmentFormat.HeaderBytes + 5, [0xFF]); // damages the first chunk
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        using BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, CancellationToken.None);
        using NativeArena arena = new();
        List<SeriesChunk> chunks = [];
        Assert.True(cursor.MoveNext());
        cursor.AddChunks(TimeRange.All, 3, arena, chunks);
        Assert.Equal([(20_000, 29_000, 3), (40_000, 49_000, 3)], chunks.Select(chunk => (chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Rank)));
        Assert.Equal(9, SegmentFormat.SamplesOf(chunks[0].Data.Span));
        Assert.Equal(ChunkSamples.Encode(series.Chunks[2]), chunks[1].Data.Span);
    }

    [Fact]
    public void A_series_that_is_deleted_whole_does_not_appear()
    {
        CrashFileSystem files = WriteSeries();
        Delete(files, [.. IdsOf(files).Skip(1).Select(id => new Tombstone(id, TimeRange.All))]);
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        using BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, CancellationToken.None);
        Assert.True(cursor.MoveNext());
        Assert.False(cursor.MoveNext());
    }

    [Fact]
    public void A_chunk_that_has_to_be_cut_and_is_none_is_damage_of_its_segment()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        byte[] labels = BlockModel.Small[0].Labels;
        using NativeArena arena = new();
        using (BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid))
        {
            writer.Declare(labels);
            writer.Add(labels, [new SeriesChunk(0, 9000, ChunkEncoding.Xor, ChunkSamples.Copy(arena, [0, 2, 1, 1]), 0)]);
            writer.FinishData();
            writer.Commit(writer.NewMeta());
        }

        Delete(files, [new Tombstone(IdsOf(files)[0], new TimeRange(0, 5000))]);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => BlockModel.ReadAll(files, BlockModel.Path));
        Assert.Equal(($"{BlockModel.Path}/chunks/000001", 8), (damage.Path, damage.Offset));
    }

    [Fact]
    public void The_last_reader_of_an_obsolete_block_removes_it()
    {
        CrashFileSystem disk = WriteSeries();
        FaultInjector files = new(disk);
        BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false, new PostingsCacheBudget(1 << 20));
        int calls = 0;
        Assert.True(reader.TryAcquire());
        Assert.True(reader.TryAcquire());
        reader.MarkObsolete(block =>
        {
            Assert.Equal(0, files.OpenFiles);
            calls++;
            BlockDirectory.Remove(disk, BlockModel.Blocks, block.Ulid);
        });
        reader.Dispose();
        reader.Dispose(); // harmless
        BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, CancellationToken.None);
        Assert.Equal(BlockModel.Expected(Series, TimeRange.All), BlockModel.Collect(cursor, TimeRange.All));
        reader.Release();
        Assert.Equal(0, calls);
        reader.Release();
        Assert.Equal(1, calls);
        Assert.False(reader.TryAcquire());
        Assert.Empty(disk.List(BlockModel.Blocks));
    }

    [Fact]
    public void A_block_that_is_only_closed_stays()
    {
        CrashFileSystem disk = WriteSeries();
        FaultInjector files = new(disk);
        BlockReader reader = BlockReader.Open(files, BlockModel.Path + "/", mmap: false);
        Assert.Equal(BlockModel.Path, reader.Directory);
        Assert.Equal(
            disk.FileSize($"{BlockModel.Path}/index") + disk.FileSize($"{BlockModel.Path}/chunks/000001") + 9, reader.Bytes);
        Assert.True(reader.MemoryBytes > 0);
        reader.Dispose();
        Assert.Equal(0, files.OpenFiles);
        Assert.Single(disk.List(BlockModel.Blocks));
    }

    [Fact]
    public void A_cancelled_walk_ends()
    {
        CrashFileSystem files = WriteSeries();
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        using CancellationTokenSource source = new();
        using BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, source.Token);
        source.Cancel();
        Assert.Throws<OperationCanceledException>(() => cursor.MoveNext());
    }

    [Fact]
    public void A_disk_that_refuses_any_call_of_opening_leaves_no_file_open()
    {
        CrashFileSystem disk = WriteSeries();
        for (int call = 1; ; call++)
        {
            FaultInjector files = new(disk);
            FaultRule rule = files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput)) { OnCall = call });
            try
            {
                BlockReader.Open(files, BlockModel.Path, mmap: false).Dispose();
            }
            catch (DiskException)
            {
                Assert.True(rule.Injections > 0);
            }

            Assert.Equal(0, files.OpenFiles);
            if (rule.Injections == 0) return;
        }
    }

    private static bool HasName(BlockModelSeries series, Matcher matcher) =>
        Labels.TryGet(series.Labels, "__name__"u8, out ReadOnlySpan<byte> value) && matcher.Matches(value);

    private static CrashFileSystem WriteSeries()
    {
        CrashFileSystem files = new(BlockModel.Blocks) { Mappable = true };
        BlockModel.Write(files, Series);
        return files;
    }

    private static uint[] IdsOf(CrashFileSystem files)
    {
        using BlockReader reader = BlockReader.Open(files, BlockModel.Path, mmap: false);
        return reader.Index.AllSeries(CancellationToken.None);
    }

    private static void Delete(CrashFileSystem files, Tombstone[] tombstones)
    {
        files.Unlink($"{BlockModel.Path}/tombstones");
        TombstonesFormat.Write(files, $"{BlockModel.Path}/tombstones", Tombstones.Of(tombstones));
    }
}
