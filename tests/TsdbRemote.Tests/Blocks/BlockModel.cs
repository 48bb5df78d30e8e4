using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Chunks;

namespace TsdbRemote.Tests.Blocks;

/// <summary>A series of a block as plain lists: chunks of samples.</summary>
internal sealed record BlockModelSeries(byte[] Labels, Sample[][] Chunks);

/// <summary>Writes blocks out of plain lists, and reads blocks back into lines of text that compare by value.</summary>
internal static class BlockModel
{
    public const string Blocks = "blocks";

    public static Ulid Ulid { get; } = Ulid.Parse("01M87K85AJTSJCZBCX46AVGB98");

    public static string Path { get; } = BlockDirectory.PathOf(Blocks, Ulid);

    /// <summary>Series i has i chunks and i + 1 samples in each, a sample a second.</summary>
    public static BlockModelSeries[] Small { get; } =
        [.. Enumerable.Range(1, 4).Select(i => Series(i, [.. Enumerable.Range(0, i).Select(chunk => Samples(chunk * 100_000, i + 1, i))]))];

    public static BlockModelSeries Series(int number, params Sample[][] chunks) =>
        new(Labels.Encode(("__name__", number % 2 == 0 ? "even" : "odd"), ("series", $"{number:D4}")), chunks);

    public static Sample[] Samples(long firstMs, int count, double value) =>
        [.. Enumerable.Range(0, count).Select(i => Sample.Of(firstMs + i * 1000, value + i))];

    /// <summary>Writes a block in the order that a writer wants; the model may be in any.</summary>
    public static BlockMeta Write(
        IFileSystem files, BlockModelSeries[] series, Ulid? ulid = null, long maxSegmentBytes = SegmentFormat.MaxSegmentBytes)
    {
        using BlockWriter writer = new(files, Blocks, ulid ?? Ulid, maxSegmentBytes);
        AddAll(writer, series);
        writer.FinishData();
        BlockMeta meta = writer.NewMeta();
        writer.Commit(meta);
        return meta;
    }

    public static void AddAll(BlockWriter writer, BlockModelSeries[] series)
    {
        foreach (BlockModelSeries one in series) writer.Declare(one.Labels);
        using NativeArena arena = new();
        foreach (BlockModelSeries one in Sorted(series)) writer.Add(one.Labels, [.. one.Chunks.Select(chunk => ChunkSamples.Chunk(arena, 0, chunk))]);
    }

    /// <summary>What a block must answer, a line for each sample in a range, by looking at everything.</summary>
    public static List<string> Expected(IEnumerable<BlockModelSeries> series, TimeRange range) =>
    [
        .. from one in Sorted(series)
           from chunk in one.Chunks
           where range.Overlaps(new TimeRange(chunk[0].TimeMs, chunk[^1].TimeMs))
           from sample in chunk
           where range.Contains(sample.TimeMs)
           select Line(one.Labels, sample),
    ];

    /// <summary>The same, out of a block.</summary>
    public static List<string> Collect(BlockSeriesCursor cursor, TimeRange range)
    {
        List<string> lines = [];
        using NativeArena arena = new(4096);
        using (cursor)
        {
            while (cursor.MoveNext())
            {
                List<SeriesChunk> chunks = [];
                cursor.AddChunks(range, rank: 5, arena, chunks);
                List<Sample> samples = [];
                foreach (SeriesChunk chunk in chunks)
                {
                    Assert.Equal(5, chunk.Rank);
                    ChunkMerge.Decode(chunk, samples);
                }

                foreach (Sample sample in samples)
                {
                    if (range.Contains(sample.TimeMs)) lines.Add(Line(cursor.Labels.ToArray(), sample));
                }
            }
        }

        return lines;
    }

    /// <summary>Opens a block, reads all of it and closes it.</summary>
    public static List<string> ReadAll(IFileSystem files, string path, bool mmap = false)
    {
        using BlockReader reader = BlockReader.Open(files, path, mmap);
        return Collect(reader.SelectAll(TimeRange.All, CancellationToken.None), TimeRange.All);
    }

    private static IOrderedEnumerable<BlockModelSeries> Sorted(IEnumerable<BlockModelSeries> series) =>
        series.OrderBy(static one => one.Labels, Comparer<byte[]>.Create(static (a, b) => Labels.Compare(a, b)));

    private static string Line(byte[] labels, Sample sample) => $"{Labels.Print(labels)} {sample.TimeMs} {sample.ValueBits:x16}";
}
