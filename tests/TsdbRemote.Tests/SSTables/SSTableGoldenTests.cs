using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

public class SSTableGoldenTests
{
    private const string Name = "sstable-v1.sst";

    /// <summary>Two windows, one before the epoch; index blocks enough for a search; real XOR chunks of a few samples.</summary>
    private static ModelSeries[] Series { get; } =
    [
        new(-TableModel.WindowMs, 3, [Chunk(-TableModel.WindowMs, 2), Chunk(-60_000, 3)]),
        .. Enumerable.Range(0, 450).Select(i => new ModelSeries(0, 2 + 5 * (ulong)i, [Chunk(1000 + i, 1 + i % 4)])),
        new(0, ulong.MaxValue - 1, [Chunk(0, 120), Chunk(TableModel.WindowMs - 1, 1)]),
    ];

    [Fact]
    public void The_bytes_of_version_1_are_still_written()
    {
        byte[] written = Write();
        Assert.Equal(Convert.ToHexString(GoldenFile.Read(Name, Write)), Convert.ToHexString(written));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_table_of_version_1_is_still_read(bool mmap)
    {
        MemoryFileSystem fs = new();
        byte[] golden = GoldenFile.Read(Name, Write);
        fs[TableModel.Path] = golden;
        SSTableVerifier.Verify(fs, TableModel.Path, 7, golden.Length, expectedCrc: null, CancellationToken.None);
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, golden.Length, mmap, cacheMetadata: true);
        ulong[] ids = TableModel.AllIds(Series);
        Assert.Equal(TableModel.Expected(Series, ids, TimeRange.All), TableModel.Collect(reader, ids, TimeRange.All));
    }

    private static byte[] Write()
    {
        MemoryFileSystem fs = new();
        SSTableWriterOptions options = new() { TableId = 7, DirectoryId = new Guid("00112233-4455-6677-8899-aabbccddeeff") };
        TableModel.Write(fs, Series, options);
        return fs[TableModel.Path];
    }

    private static ModelChunk Chunk(long startMs, int samples)
    {
        XorChunkBuilder builder = default;
        byte[] bytes = new byte[4096];
        for (int i = 0; i < samples; i++) builder.Append(bytes, startMs + i * 15_000L, BitConverter.DoubleToUInt64Bits(i * 0.5));
        return new ModelChunk(startMs, builder.LastTimeMs, ChunkEncoding.Xor, Convert.ToHexString(bytes.AsSpan(0, builder.ByteLength)));
    }
}
