using System.Collections.Immutable;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Compaction;

/// <summary>Laws of merging tables, over any runs of any windows, cut anywhere.</summary>
public class TableCompactorLawTests
{
    private const long Window = CompactionTables.WindowMs;

    [Fact]
    public void Merging_any_neighbours_of_any_windows_changes_nothing_that_is_read() =>
        Gen.Select(Gen.Int[1, 6], Gen.Int[1, 25], Gen.Int[1, 3], Gen.Int[300, 20_000], Gen.Bool, Gen.Bool, Gen.Int)
            .Sample((runs, series, windows, target, bounded, canMap, seed) =>
            {
                var random = new Random(seed);
                var files = new MemoryFileSystem(canMap);
                var tables = new CompactionTables(files);
                var model = new SortedDictionary<ulong, SortedDictionary<long, double>>();
                LevelSet levels = WriteRuns(tables, model, runs, series, windows, random);
                AssertReads(model, levels);
                long max = bounded ? target + target / 4 : long.MaxValue;
                var compactor = new TableCompactor(files, CompactionTables.Paths, new CompactionOutput(Guid.Empty, BloomBitsPerKey: 10, target, max));
                for (int merges = 0; merges < 6 && levels.Windows.Length > 0; merges++)
                {
                    long window = levels.Windows[random.Next(levels.Windows.Length)];
                    CompactionJob job = Neighbours(levels, window, random);
                    using NativeArena arena = new();
                    List<(ulong Id, SeriesChunk Chunk)> before = CompactionTables.Chunks(job.Inputs, job.Window, arena);
                    levels = tables.Compact(levels, job, compactor, out CompactionResult result);
                    AssertReads(model, levels);
                    AssertRun(job, result, files);
                    AssertCut(result, target, max);
                    AssertChunks(before, CompactionTables.Chunks(levels.Tables.Where(table => result.Tables.Contains(table.Entry)), job.Window, arena));
                    Assert.Equal(SamplesOf(before) - result.SamplesWritten, result.Merged.Duplicates + result.Merged.Conflicts);
                    Assert.Empty(result.Damages);
                }

                Assert.Equal(
                    levels.Tables.Select(static table => CompactionTables.Paths.Table(table.Entry)).Order(StringComparer.Ordinal), TableFiles(files));
            }, iter: 300);

    [Fact]
    public void A_table_is_never_larger_than_its_writer_said_it_could_become() =>
        Gen.Select(TableModel.Series(maxWindows: 3, maxSeries: 40, maxChunks: 5), Gen.Int[0, 32]).Sample((series, bits) =>
        {
            var files = new MemoryFileSystem();
            using NativeArena arena = new(4096);
            using SSTableWriter writer = new(files, TableModel.Path, new SSTableWriterOptions { TableId = long.MaxValue, Level = int.MaxValue, BloomBitsPerKey = bits });
            long largest = 0;
            foreach (ModelSeries one in series)
            {
                SeriesChunk[] chunks = [.. one.Chunks.Select(chunk => TableModel.ToNative(chunk, arena))];
                largest = writer.LargestBytesWith(chunks, parents: 3);
                writer.Add(one.WindowStartMs, one.Id, chunks);
            }

            long size = writer.Finish(ulong.MaxValue - 1, ulong.MaxValue, [long.MaxValue, long.MaxValue - 1, long.MaxValue - 2]).Size;
            Assert.True(size <= largest, $"{size} bytes, {largest} promised");
            Assert.True(largest < size + 1000 + 60 * series.Sum(static one => one.Chunks.Length), $"{size} bytes, {largest} promised");
        }, iter: 300);

    private static LevelSet WriteRuns(
        CompactionTables tables, SortedDictionary<ulong, SortedDictionary<long, double>> model, int runs, int series, int windows, Random random)
    {
        int deepest = random.Next(3);
        List<LevelTable> written = [];
        for (int run = 0; run < runs; run++)
        {
            // Deeper levels hold the older runs, each of one window; for another window there may be others in between.
            int level = Math.Max(0, deepest - run);
            int firstWindow = level == 0 ? 0 : random.Next(windows);
            int endWindow = level == 0 ? windows : firstWindow + 1;
            var samples = new SortedDictionary<ulong, SortedDictionary<long, double>>();
            for (int i = 0; i < series; i++)
            {
                ulong id = (ulong)random.Next(1, 2 * series + 1);
                for (int window = firstWindow; window < endWindow; window++) Scrape(samples, id, window, run, runs, random);
            }

            foreach ((ulong id, SortedDictionary<long, double> points) in samples)
            {
                if (!model.TryGetValue(id, out var all)) model.Add(id, all = []);
                foreach ((long time, double value) in points) all[time] = value;
            }

            ulong sequence = (ulong)(run + 1) << 40;
            int chunkSamples = ((int[])[1, 7, 60, 119, 120, 120, 120, 200])[random.Next(8)];
            (ulong Id, Sample[] Samples)[] list =
                [.. samples.Select(static one => (one.Key, one.Value.Select(static point => Sample.Of(point.Key, point.Value)).ToArray()))];
            int cuts = level == 0 ? 1 : random.Next(1, 4);
            foreach ((ulong, Sample[])[] part in list.Chunk((list.Length + cuts - 1) / cuts))
                written.Add(tables.Write(level, sequence, sequence + 9, chunkSamples, part));
        }

        return LevelSet.Empty.With(written);
    }

    /// <summary>Samples of a series in a window: in order behind those of the run before, or anywhere, or on top of each other.</summary>
    private static void Scrape(SortedDictionary<ulong, SortedDictionary<long, double>> samples, ulong id, int window, int run, int runs, Random random)
    {
        if (!samples.TryGetValue(id, out var points)) samples.Add(id, points = []);
        long start = (window - 1) * Window;
        int count = random.Next(1, 300);
        long step = Window / runs / 300;
        switch (random.Next(4))
        {
            case 0:
                for (int i = 0; i < count; i++) points[start + random.NextInt64(Window)] = random.Next(3);
                break;
            case 1:
                for (int i = 0; i < count; i++) points[start + i * 15_000] = random.Next(2);
                break;
            default:
                for (int i = 0; i < count; i++) points[start + run * (Window / runs) + i * step] = i;
                break;
        }
    }

    private static CompactionJob Neighbours(LevelSet levels, long window, Random random)
    {
        ImmutableArray<LevelRun> runs = levels.Runs(window);
        int first = random.Next(runs.Length);
        int end = random.Next(first + 1, runs.Length + 1);
        ImmutableArray<LevelTable> inputs = [.. runs[first..end].SelectMany(static run => run.Tables)];
        return new CompactionJob(new TimeRange(window, window + Window - 1), inputs, Math.Max(1, runs[first].Level), CompactionReason.TooManyRuns);
    }

    private static void AssertReads(SortedDictionary<ulong, SortedDictionary<long, double>> model, LevelSet levels)
    {
        SortedDictionary<ulong, List<Sample>> actual = CompactionTables.Read(levels);
        Assert.Equal(model.Keys, actual.Keys);
        foreach ((ulong id, SortedDictionary<long, double> points) in model) Assert.Equal(points.Select(static point => Sample.Of(point.Key, point.Value)), actual[id]);
    }

    private static void AssertRun(CompactionJob job, CompactionResult result, MemoryFileSystem files)
    {
        Assert.NotEmpty(result.Tables);
        ulong above = 0;
        foreach (TableEntry table in result.Tables)
        {
            Assert.Equal((job.OutputLevel, job.Window.MinMs), (table.Level, Assert.Single(table.Windows)));
            Assert.Equal(
                (job.Inputs.Min(static input => input.Entry.FirstSequence), job.Inputs.Max(static input => input.Entry.LastSequence)),
                (table.FirstSequence, table.LastSequence));
            Assert.True(above < table.MinSeriesId, "ids of a run are not disjoint and ascending");
            above = table.MaxSeriesId;
            Assert.True(job.Window.Contains(new TimeRange(table.MinTimeMs, table.MaxTimeMs)));
            string path = CompactionTables.Paths.Table(table);
            SSTableVerifier.Verify(files, path, table.Id, table.Size, table.Crc, CancellationToken.None);
            using SSTableReader reader = SSTableReader.Open(files, path, table.Id, table.Size, mmap: false, cacheMetadata: true);
            Assert.Equal(job.Inputs.Select(static input => input.Entry.Id), reader.Properties.Parents);
        }

        Assert.Equal(
            (result.Tables.Sum(static table => table.Size), result.Tables.Sum(static table => table.Samples)), (result.BytesWritten, result.SamplesWritten));
        Assert.InRange(result.BytesRead, 1, job.Inputs.Sum(static input => input.Reader.Size));
    }

    private static void AssertCut(CompactionResult result, long target, long max)
    {
        foreach (TableEntry table in result.Tables) Assert.True(table.Size <= max || table.Series == 1, $"{table.Size} bytes, at most {max} are allowed");
        if (max == long.MaxValue) Assert.All(result.Tables[..^1], table => Assert.True(table.Size >= target, $"{table.Size} bytes, cut at {target}"));
    }

    private static void AssertChunks(List<(ulong Id, SeriesChunk Chunk)> before, List<(ulong Id, SeriesChunk Chunk)> after)
    {
        ILookup<ulong, SeriesChunk> inputs = before.ToLookup(static one => one.Id, static one => one.Chunk);
        foreach (IGrouping<ulong, SeriesChunk> series in after.GroupBy(static one => one.Id, static one => one.Chunk))
        {
            SeriesChunk[] chunks = [.. series];
            for (int i = 1; i < chunks.Length; i++)
                Assert.True(SamplesOf(chunks[i - 1]) + SamplesOf(chunks[i]) > ChunkMerge.DefaultMaxSamples, "two small chunks were left side by side");
            foreach (SeriesChunk chunk in inputs[series.Key])
            {
                if (SamplesOf(chunk) < ChunkMerge.DefaultMaxSamples || inputs[series.Key].Count(other => Overlap(chunk, other)) > 1) continue;
                SeriesChunk same = Assert.Single(chunks, other => Overlap(chunk, other));
                Assert.Equal(CompactionTables.BytesOf(chunk), CompactionTables.BytesOf(same));
            }
        }
    }

    private static bool Overlap(SeriesChunk left, SeriesChunk right) => left.MinTimeMs <= right.MaxTimeMs && right.MinTimeMs <= left.MaxTimeMs;

    private static int SamplesOf(SeriesChunk chunk) => SSTableFormat.SamplesOf(chunk.Data.Span);

    private static long SamplesOf(List<(ulong Id, SeriesChunk Chunk)> chunks) => chunks.Sum(static one => (long)SamplesOf(one.Chunk));

    private static IEnumerable<string> TableFiles(MemoryFileSystem files)
    {
        IEnumerable<string> directories = WindowDirectories.All(files, CompactionTables.Paths).Select(static window => CompactionTables.Paths.TableDirectory(1, window));
        return directories.Prepend(CompactionTables.Paths.Tables)
            .SelectMany(directory => files.List(directory).Where(static entry => !entry.IsDirectory).Select(entry => DataLayout.Join(directory, entry.Name)))
            .Order(StringComparer.Ordinal);
    }
}
