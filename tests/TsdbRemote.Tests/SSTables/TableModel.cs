using System.Buffers.Binary;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

/// <summary>A chunk as the model keeps it, comparable by value.</summary>
internal sealed record ModelChunk(long MinTimeMs, long MaxTimeMs, ChunkEncoding Encoding, string Hex)
{
    public byte[] Bytes => Convert.FromHexString(Hex);
}

/// <summary>A series of a window.</summary>
internal sealed record ModelSeries(long WindowStartMs, ulong Id, ModelChunk[] Chunks);

/// <summary>Builds tables out of plain lists, and answers from the lists what a table must answer.</summary>
internal static class TableModel
{
    public const long WindowMs = 7_200_000;
    public const string Path = "tables/7.sst";
    public const long TableId = 7;

    /// <summary>
    /// Up to some windows, series and chunks, in the order of a table; ids collide between windows, times touch the windows' bounds.
    /// </summary>
    public static Gen<ModelSeries[]> Series(int maxWindows, int maxSeries, int maxChunks) =>
        Gen.Select(
            Gen.Long[-3, 3].Array[1, maxWindows],
            Gen.Select(Gen.ULong[1, (ulong)maxSeries * 3], Gen.Int[1, maxChunks], Gen.Int[0, 1 << 30]).Array[1, maxSeries],
            Gen.Bool)
        .Select((windows, series, hugeIds) => (ModelSeries[])
        [
            .. from window in windows.Distinct().Order()
               let startMs = window * WindowMs
               from one in series.DistinctBy(entry => entry.Item1).OrderBy(entry => entry.Item1)
               where (one.Item3 + window) % 4 != 0 || one == series[0]
               let id = hugeIds ? ulong.MaxValue - (ulong)(maxSeries * 3) + one.Item1 : one.Item1
               select new ModelSeries(startMs, id, Chunks(startMs, one.Item2, one.Item3 ^ (int)window)),
        ]);

    public static ModelChunk[] Chunks(long windowStartMs, int count, int seed)
    {
        Random random = new(seed);
        ModelChunk[] chunks = new ModelChunk[count];
        long slice = WindowMs / count;
        for (int i = 0; i < count; i++)
        {
            long min = windowStartMs + i * slice + (random.Next(3) == 0 ? 0 : random.NextInt64(slice));
            long max = random.Next(3) == 0 ? min : random.NextInt64(min, windowStartMs + (i + 1) * slice);
            byte[] data = new byte[2 + (random.Next(20) == 0 ? random.Next(9000) : random.Next(150))];
            random.NextBytes(data);
            BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)random.Next(1, 120));
            chunks[i] = new ModelChunk(min, max, (ChunkEncoding)random.Next(1, 4), Convert.ToHexString(data));
        }

        return chunks;
    }

    public static SSTableInfo Write(IFileSystem fs, ModelSeries[] series, SSTableWriterOptions? options = null, string path = Path)
    {
        using NativeArena arena = new(4096);
        using SSTableWriter writer = new(fs, path, options ?? new SSTableWriterOptions { TableId = TableId });
        foreach (ModelSeries one in series) writer.Add(one.WindowStartMs, one.Id, [.. one.Chunks.Select(chunk => ToNative(chunk, arena))]);
        return writer.Finish(5UL << 40, (5UL << 40) + 99, [], CancellationToken.None);
    }

    public static SeriesChunk ToNative(ModelChunk chunk, NativeArena arena)
    {
        NativeBytes bytes = arena.Allocate(chunk.Bytes.Length);
        chunk.Bytes.CopyTo(bytes.Span);
        return new SeriesChunk(chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Encoding, bytes, Rank: 0);
    }

    /// <summary>What a table must answer, by looking at everything.</summary>
    public static List<(ulong Id, ModelChunk Chunk)> Expected(ModelSeries[] series, ulong[] ids, TimeRange range) =>
    [
        .. from one in series
           where ids.Contains(one.Id)
           from chunk in one.Chunks
           where range.Overlaps(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs))
           select (one.Id, chunk),
    ];

    public static List<(ulong Id, ModelChunk Chunk)> Collect(SSTableReader reader, ulong[] ids, TimeRange range)
    {
        using NativeArena arena = new(4096);
        Collected sink = new(ids);
        reader.Collect(ids, range, rank: 11, arena, sink);
        return sink.Chunks;
    }

    public static ulong[] AllIds(ModelSeries[] series) => [.. series.Select(one => one.Id).Distinct().Order()];

    /// <summary>Copies what arrives, so that it may be compared after the arena is gone.</summary>
    public sealed class Collected(ulong[] ids, bool skipDamaged = false) : ISeriesChunkSink
    {
        public List<(ulong Id, ModelChunk Chunk)> Chunks { get; } = [];

        public List<(ulong Id, CorruptFileException Damage)> Damaged { get; } = [];

        public void Add(int idIndex, in SeriesChunk chunk)
        {
            Assert.Equal(11, chunk.Rank);
            Chunks.Add((ids[idIndex], new ModelChunk(chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Encoding, Convert.ToHexString(chunk.Data.Span))));
        }

        public bool SkipDamaged(int idIndex, CorruptFileException damage)
        {
            Damaged.Add((ids[idIndex], damage));
            return skipDamaged;
        }
    }
}
