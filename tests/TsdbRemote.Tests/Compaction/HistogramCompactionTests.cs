using CsCheck;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Compaction;

/// <summary>Series with floats and histograms on their way from tables to blocks of blocks: nothing that is read changes.</summary>
public sealed class HistogramCompactionTests
{
    private const string Directory = "data/blocks";
    private const long WindowMs = CompactionTables.WindowMs;
    private static readonly TimeRange Window = new(0, WindowMs - 1);
    private static readonly byte[][] Series = [.. Enumerable.Range(1, 3).Select(static i => Labels.Encode(("__name__", $"h{i}")))];

    private static readonly Gen<LaneSource[][]> Runs = LaneSource.Any.Array[3].Array[1, 5];

    [Fact]
    public void Merged_tables_read_as_before_and_their_chunks_tile() => Runs.Sample(static runs =>
    {
        using NativeArena arena = new();
        var files = new MemoryFileSystem();
        var tables = new CompactionTables(files);
        LaneSample[][] expected = Write(tables, runs, arena, out LevelTable[] written);
        var compactor = new TableCompactor(
            files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, BloomBitsPerKey: 10, TargetFileBytes: 3000, MaxFileBytes: 1 << 20));
        LevelSet levels = tables.Compact(LevelSet.Empty.With(written), JobOf(written), compactor, out CompactionResult result);
        AssertReads(expected, CompactionTables.Chunks(levels.Tables, TimeRange.All, arena).ToLookup(static one => (int)one.Id - 1, static one => one.Chunk));
        Assert.Equal(expected.Sum(static samples => samples.Length), result.SamplesWritten);
    }, iter: 200);

    [Fact]
    public void Converted_tables_are_a_block_that_reads_as_they_did_and_counts_what_it_holds() =>
        Gen.Select(Runs, Gen.Enum<ChunkEncodingChoice>()).Sample(static (runs, encoding) =>
        {
            using NativeArena arena = new();
            CrashFileSystem disk = NewDisk();
            LaneSample[][] expected = Write(new CompactionTables(new MemoryFileSystem()), runs, arena, out LevelTable[] written);
            using BlockReader block = Convert(disk, written, encoding, TestBlocks.Name(1));
            AssertIs(expected, block, disk);
        }, iter: 200);

    [Fact]
    public void Blocks_of_histograms_become_one_that_reads_as_all_of_them_without_what_is_deleted() =>
        Gen.Select(Runs, Runs, Gen.Enum<ChunkEncodingChoice>(), Gen.Int[0, 1500], Gen.Int[0, 400]).Sample(static (older, newer, encoding, from, length) =>
        {
            using NativeArena arena = new();
            CrashFileSystem disk = NewDisk();
            var deleted = new TimeRange(from, from + length);
            BlockSet set = BlockSet.Empty.With(
            [
                .. ((LaneSource[][][])[older, newer]).Select((runs, i) =>
                {
                    Write(new CompactionTables(new MemoryFileSystem()), runs, arena, out LevelTable[] written);
                    BlockReader block = Convert(disk, written, encoding, TestBlocks.Name(i));
                    if (i == 0) block = Delete(disk, block, deleted);
                    return new StoredBlock(new BlockEntry(block.Meta.Ulid.ToString(), i + 1, Adopted: false), block);
                }),
            ]);
            StoredBlock[] blocks = [.. set.Blocks];
            LaneSample[][] expected = [.. Series.Select((_, series) => HistogramModel.Merge(
                blocks.SelectMany(block => ChunksOf(block.Reader, arena)[series].Select(chunk => chunk with { Rank = block.Rank })), TimeRange.All))];
            using CompactedBlock made = new BlockCompactor(disk, new DataLayout("data"), encoding).Write(
                blocks, Window, TestBlocks.Name(9), static _ => { }, CancellationToken.None)!;
            made.Writer.Commit(BlockCompactor.MetaOf(made, [.. blocks.Select(static block => block.Reader.Meta)], WindowMs));
            using BlockReader result = BlockReader.Open(disk, BlockDirectory.PathOf(Directory, TestBlocks.Name(9)), mmap: false);
            AssertIs(expected, result, disk);
            foreach (StoredBlock block in blocks) block.Reader.Dispose();
        }, iter: 150);

    [Fact]
    public void Small_chunks_of_many_flushes_are_full_ones_in_a_merged_table_and_in_a_block()
    {
        using NativeArena arena = new();
        var files = new MemoryFileSystem();
        var tables = new CompactionTables(files);
        HistogramSample[][] flushes = [.. HistogramWalk.Series(new HistogramTraits(7, 120, 15_000), 0).Chunk(10)];
        LevelTable[] written = [.. flushes.Select((samples, i) =>
            tables.WriteChunks(0, (ulong)i + 1, (ulong)i + 1, [(1, HistogramModel.Chunks(arena, 0, samples))]))];
        using BlockReader optimal = Convert(NewDisk(), written, ChunkEncodingChoice.Optimal, TestBlocks.Name(1));
        using BlockReader verbatim = Convert(NewDisk(), written, ChunkEncodingChoice.Verbatim, TestBlocks.Name(1));
        var compactor = new TableCompactor(
            files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, BloomBitsPerKey: 10, TargetFileBytes: 1 << 20, MaxFileBytes: 1 << 21));
        LevelSet levels = tables.Compact(LevelSet.Empty.With(written), JobOf(written), compactor, out _);
        int merged = CompactionTables.Chunks(levels.Tables, TimeRange.All, arena).Count;
        Assert.Equal(flushes.Length, verbatim.Meta.Stats.Chunks);
        Assert.InRange(merged, 1, flushes.Length / 2);
        Assert.Equal(merged, optimal.Meta.Stats.Chunks);
    }

    private static LaneSample[][] Write(CompactionTables tables, LaneSource[][] runs, NativeArena arena, out LevelTable[] written)
    {
        (ulong Id, SeriesChunk[] Chunks)[][] all =
            [.. runs.Select((run, rank) => run.Select((source, series) => ((ulong)series + 1, source.Chunks(arena, rank))).ToArray())];
        written = [.. all.Select((series, run) => tables.WriteChunks(0, (ulong)run + 1, (ulong)run + 1, series))];
        return [.. Series.Select((_, series) => HistogramModel.Merge(all.SelectMany(run => run[series].Chunks), TimeRange.All))];
    }

    private static CompactionJob JobOf(LevelTable[] inputs) => new(Window, [.. inputs], OutputLevel: 1, CompactionReason.TooManyRuns);

    private static BlockReader Convert(CrashFileSystem disk, LevelTable[] tables, ChunkEncodingChoice encoding, Ulid ulid)
    {
        using var dictionary = new SeriesDictionary();
        for (int i = 0; i < Series.Length; i++) dictionary.Load((ulong)i + 1, Series[i]);
        dictionary.CompleteLoad();
        dictionary.BuildPostings(CancellationToken.None);
        var job = new ConversionJob(Window, [.. tables], IsLate: false);
        using PreparedBlock made = new BlockConverter(disk, new DataLayout("data"), encoding, WindowMs).Write(
            job, dictionary, ulid, static _ => { }, CancellationToken.None, out _)!;
        made.Writer.Commit(BlockConverter.MetaOf(made, job, new BlockMark { Directory = Guid.Empty, Generation = 1, Rank = 1 }));
        return BlockReader.Open(disk, BlockDirectory.PathOf(Directory, ulid), mmap: false);
    }

    private static BlockReader Delete(CrashFileSystem disk, BlockReader block, TimeRange range)
    {
        Tombstones tombstones = Tombstones.Of([.. block.Index.AllSeries(CancellationToken.None).Select(id => new Tombstone(id, range))]);
        string path = block.Directory;
        block.Dispose();
        disk.Unlink($"{path}/{TombstonesFormat.FileName}");
        TombstonesFormat.Write(disk, $"{path}/{TombstonesFormat.FileName}", tombstones);
        BlockMeta meta = BlockMeta.Read(disk, $"{path}/{BlockMeta.FileName}");
        (meta with { Stats = meta.Stats with { Tombstones = tombstones.Count } }).WriteTo(disk, $"{path}/{BlockMeta.FileName}");
        return BlockReader.Open(disk, path, mmap: false);
    }

    private static void AssertIs(LaneSample[][] expected, BlockReader block, CrashFileSystem disk)
    {
        using NativeArena arena = new();
        Assert.Equal([], TestBlocks.Problems(disk, Directory));
        AssertReads(expected, Series.Index().SelectMany(one => ChunksOf(block, arena)[one.Index].Select(chunk => (one.Index, chunk)))
            .ToLookup(static one => one.Index, static one => one.chunk));
        LaneSample[] all = [.. expected.SelectMany(static samples => samples)];
        int floats = all.Count(static sample => sample.Histogram is null);
        BlockMetaStats stats = block.Meta.Stats;
        Assert.Equal((all.Length, floats, all.Length - floats), (stats.Samples, stats.FloatSamples, stats.HistogramSamples));
    }

    private static void AssertReads(LaneSample[][] expected, ILookup<int, SeriesChunk> chunks)
    {
        for (int series = 0; series < Series.Length; series++)
        {
            SeriesChunk[] own = [.. chunks[series]];
            for (int i = 1; i < own.Length; i++) Assert.True(own[i].MinTimeMs > own[i - 1].MaxTimeMs);
            HistogramModel.AssertSame(expected[series], [.. own.SelectMany(LaneSample.Decode)]);
        }
    }

    private static List<SeriesChunk>[] ChunksOf(BlockReader block, NativeArena arena)
    {
        List<SeriesChunk>[] all = [.. Series.Select(static _ => new List<SeriesChunk>())];
        using BlockSeriesCursor cursor = block.SelectAll(TimeRange.All, CancellationToken.None);
        while (cursor.MoveNext())
            cursor.AddChunks(TimeRange.All, 0, arena, all[Array.FindIndex(Series, labels => labels.AsSpan().SequenceEqual(cursor.Labels))]);
        return all;
    }

    private static CrashFileSystem NewDisk()
    {
        var files = new CrashFileSystem("data");
        files.MakeDir(Directory);
        return files;
    }
}
