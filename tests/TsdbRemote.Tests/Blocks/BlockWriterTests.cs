using CsCheck;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

public class BlockWriterTests
{
    private static readonly Gen<BlockModelSeries[]> AnySeries =
        Gen.Select(Gen.Int[0, 500], Gen.Int[1, 30].Array[1, 5], Gen.Int[0, 1000]).Array[1, 25].Select(static entries => (BlockModelSeries[])
        [
            .. entries.DistinctBy(static entry => entry.Item1).Select(static entry => BlockModel.Series(
                entry.Item1,
                [.. entry.Item2.Select((count, chunk) => BlockModel.Samples(chunk * 40_000L - 50_000, count, entry.Item3))])),
        ]);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void All_series_and_samples_come_back_whatever_the_segments(bool mmap) =>
        Gen.Select(AnySeries, Gen.Int[700, 3000]).Sample((series, cap) =>
        {
            CrashFileSystem files = new(BlockModel.Blocks) { Mappable = true };
            BlockMeta meta = BlockModel.Write(files, series, maxSegmentBytes: cap);
            Assert.Equal(BlockModel.Expected(series, TimeRange.All), BlockModel.ReadAll(files, BlockModel.Path, mmap));
            Assert.Equal(
                new BlockMetaStats
                {
                    Samples = series.Sum(one => one.Chunks.Sum(chunk => chunk.Length)),
                    FloatSamples = series.Sum(one => one.Chunks.Sum(chunk => chunk.Length)),
                    Series = series.Length,
                    Chunks = series.Sum(one => one.Chunks.Length),
                },
                meta.Stats);
            Assert.Equal(series.Min(one => one.Chunks[0][0].TimeMs), meta.MinTimeMs);
            Assert.Equal(series.Max(one => one.Chunks[^1][^1].TimeMs) + 1, meta.EndTimeMs);
        }, iter: 60);

    [Fact]
    public void Files_are_made_synced_and_named_in_the_order_that_a_crash_allows()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        List<string> operations = [];
        string temporary = BlockModel.Path + ".tmp-for-creation";
        files.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind is FileOperationKind.Write or FileOperationKind.WriteGather or FileOperationKind.Close) return;
            string text = operation.ToString().Replace(temporary, "T", StringComparison.Ordinal);
            operations.Add(text.Replace(BlockModel.Path, "B", StringComparison.Ordinal));
        };
        BlockModel.Write(files, BlockModel.Small);
        string[] expected =
        [
            "MakeDir T", "MakeDir T/chunks", "CreateNew T/index", "CreateNew T/chunks/000001",
            "SyncAll T/chunks/000001", "SyncAll T/index", "CreateNew T/tombstones", "SyncAll T/tombstones",
            "CreateNew T/meta.json.tmp", "SyncAll T/meta.json.tmp", "Rename T/meta.json.tmp -> T/meta.json",
            "SyncDir T/chunks", "SyncDir T", "Rename T -> B", "SyncDir blocks",
        ];
        Assert.Equal(expected, operations);
    }

    [Fact]
    public void Commit_costs_one_file_and_three_syncs_however_large_the_block()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        using BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid, maxSegmentBytes: 80);
        BlockModel.AddAll(writer, BlockModel.Small);
        writer.FinishData();
        Assert.True(files.List(BlockModel.Path + ".tmp-for-creation/chunks").Count > 3);
        long before = files.OperationCount;
        List<FileOperationKind> kinds = [];
        files.BeforeOperation = (_, operation) => kinds.Add(operation.Kind);
        writer.Commit(writer.NewMeta());
        Assert.Equal(3, kinds.Count(kind => kind == FileOperationKind.SyncDir));
        Assert.Equal(1, kinds.Count(kind => kind == FileOperationKind.SyncAll));
        Assert.InRange(files.OperationCount - before, 8, 9);
    }

    [Fact]
    public void The_counts_of_histograms_and_floats_are_kept_apart()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        using BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid);
        byte[] labels = Labels.Encode(("__name__", "up"));
        using NativeArena arena = new();
        writer.Declare(labels);
        writer.Add(
            labels,
            [
                ChunkSamples.Chunk(arena, 0, BlockModel.Samples(0, 3, 1)),
                new SeriesChunk(5000, 6000, ChunkEncoding.Histogram, ChunkSamples.Copy(arena, [0, 4, 0, 0]), 0),
                new SeriesChunk(7000, 7000, ChunkEncoding.FloatHistogram, ChunkSamples.Copy(arena, [1, 0, 0]), 0),
            ]);
        writer.FinishData();
        Assert.Equal((3, 260, 263), (writer.Stats.FloatSamples, writer.Stats.HistogramSamples, writer.Stats.Samples));
        Assert.Equal((0, 7000), (writer.Stats.MinTimeMs, writer.Stats.MaxTimeMs));
        string temporary = BlockModel.Path + ".tmp-for-creation";
        Assert.Equal(
            (files.FileSize(temporary + "/index"), files.FileSize(temporary + "/chunks/000001")),
            (writer.Stats.IndexBytes, writer.Stats.ChunkBytes));
    }

    [Fact]
    public void Without_a_commit_nothing_is_left()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        using (BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid)) BlockModel.AddAll(writer, BlockModel.Small);
        Assert.Empty(files.List(BlockModel.Blocks));
        using (BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid))
        {
            BlockModel.AddAll(writer, BlockModel.Small);
            writer.FinishData();
            writer.Abort();
            Assert.Empty(files.List(BlockModel.Blocks));
            Assert.Throws<InvalidOperationException>(() => writer.Commit(writer.NewMeta()));
        }

        BlockModel.Write(files, BlockModel.Small);
        Assert.Equal(BlockModel.Ulid, Assert.Single(BlockDirectory.List(files, BlockModel.Blocks)));
    }

    [Fact]
    public void The_rest_of_an_attempt_under_the_same_name_is_no_obstacle()
    {
        CrashFileSystem files = new(BlockModel.Blocks, BlockModel.Path + ".tmp-for-creation/chunks/odd");
        files.WriteNew(BlockModel.Path + ".tmp-for-creation/index", "rest"u8);
        BlockModel.Write(files, BlockModel.Small);
        Assert.Equal(BlockModel.Expected(BlockModel.Small, TimeRange.All), BlockModel.ReadAll(files, BlockModel.Path));
    }

    [Fact]
    public void A_name_that_is_taken_keeps_its_block()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        BlockModel.Write(files, BlockModel.Small);
        Assert.Throws<DiskException>(() => BlockModel.Write(files, BlockModel.Small[..1]));
        Assert.Equal(BlockModel.Expected(BlockModel.Small, TimeRange.All), BlockModel.ReadAll(files, BlockModel.Path));
        BlockDirectory.SweepTemporaries(files, BlockModel.Blocks);
        Assert.Single(files.List(BlockModel.Blocks));
    }

    [Fact]
    public void Steps_out_of_order_and_a_meta_of_another_block_are_refused()
    {
        CrashFileSystem files = new(BlockModel.Blocks);
        using NativeArena arena = new();
        SeriesChunk chunk = ChunkSamples.Chunk(arena, 0, BlockModel.Samples(1000, 3, 1));
        byte[] labels = BlockModel.Small[0].Labels;
        Refuse<InvalidOperationException>(writer => writer.FinishData(), "without series");
        Refuse<InvalidOperationException>(writer => writer.NewMeta(), "not finished");
        Refuse<InvalidOperationException>(writer => writer.Commit(MetaOf(writer.Ulid)), "must be DataFinished");
        Refuse<ArgumentException>(writer => writer.Add(labels, []), "without chunks");
        Refuse<ArgumentException>(writer => writer.Add(labels, [chunk, chunk]), "out of order");
        Refuse<ArgumentException>(writer => writer.Add(labels, [chunk with { MaxTimeMs = 0 }]), "out of order");
        Refuse<ArgumentException>(writer => writer.Add(labels, [chunk with { MaxTimeMs = long.MaxValue }]), "end of time");
        Refuse<ArgumentException>(writer => writer.Add(labels, [chunk with { Data = ChunkSamples.Copy(arena, [0, 0]) }]), "no sample");
        Refuse<ArgumentException>(writer => Finish(writer).Commit(MetaOf(Ulid.Create(1))), "meta of");
        Refuse<ArgumentException>(writer => Finish(writer).Commit(writer.NewMeta() with { MinTimeMs = 1001 }), "samples span");
        Refuse<ArgumentException>(writer => Finish(writer).Commit(writer.NewMeta() with { EndTimeMs = 3000 }), "samples span");
        Refuse<ArgumentException>(writer => Finish(writer).Commit(writer.NewMeta() with { Stats = new BlockMetaStats { Samples = 2 } }), "counts");

        static BlockMeta MetaOf(Ulid ulid) => new()
        {
            Ulid = ulid,
            MinTimeMs = 0,
            EndTimeMs = 1,
            Compaction = new BlockMetaCompaction { Level = 1 },
            Version = 1,
        };

        BlockWriter Finish(BlockWriter writer)
        {
            writer.Add(labels, [chunk]);
            writer.FinishData();
            return writer;
        }

        void Refuse<T>(Action<BlockWriter> act, string why)
            where T : Exception
        {
            using (BlockWriter writer = new(files, BlockModel.Blocks, BlockModel.Ulid))
            {
                writer.Declare(labels);
                Assert.Contains(why, Assert.Throws<T>(() => act(writer)).Message, StringComparison.Ordinal);
                // What failed half way can only be aborted.
                if (typeof(T) == typeof(ArgumentException)) Assert.Throws<InvalidOperationException>(() => writer.Declare(labels));
            }

            Assert.Empty(files.List(BlockModel.Blocks));
        }
    }
}
