using System.Buffers.Binary;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

public class SSTableDamageTests
{
    private static readonly ModelSeries[] Series =
    [
        new(-TableModel.WindowMs, 2, TableModel.Chunks(-TableModel.WindowMs, 2, 2)),
        new(0, 1, TableModel.Chunks(0, 1, 1)),
        new(0, 2, TableModel.Chunks(0, 3, 5)),
        new(0, 300, TableModel.Chunks(0, 1, 4)),
    ];

    [Theory]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void No_flipped_bit_gives_a_wrong_answer(bool mmap, bool cacheMetadata)
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, Series);
        byte[] good = fs[TableModel.Path];
        for (int i = 0; i < good.Length; i++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                byte[] flipped = (byte[])good.Clone();
                flipped[i] ^= (byte)(1 << bit);
                fs[TableModel.Path] = flipped;
                AssertReportedOrEqual(fs, info, mmap, cacheMetadata);
                if (bit == i % 8) Assert.Throws<CorruptFileException>(() => Verify(fs, info.Size, info.Crc));
            }

            fs.Trace.Clear();
        }
    }

    [Fact]
    public void A_table_with_an_encoding_that_nobody_knows_does_not_pass_its_writers_check()
    {
        ModelChunk chunk = TableModel.Chunks(0, 1, 1)[0];
        MemoryFileSystem fs = new();
        SSTableInfo known = TableModel.Write(fs, [new(0, 1, [chunk with { Encoding = ChunkEncoding.FloatHistogram }])]);
        Verify(fs, known.Size, known.Crc);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(
            () => TableModel.Write(new MemoryFileSystem(), [new(0, 1, [chunk with { Encoding = (ChunkEncoding)4 }])]));
        Assert.Contains("encoding 4", damage.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_table_cut_at_any_length_is_reported()
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, Series);
        byte[] good = fs[TableModel.Path];
        for (int length = 0; length < good.Length; length++)
        {
            fs[TableModel.Path] = good[..length];
            Assert.Throws<CorruptFileException>(() => SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true));
            Assert.Throws<CorruptFileException>(() => SSTableReader.Open(fs, TableModel.Path, 7, length, mmap: true, cacheMetadata: true));
        }

        fs[TableModel.Path] = [.. good, 0];
        Assert.Throws<CorruptFileException>(() => SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true));
        Assert.Throws<CorruptFileException>(() => SSTableReader.Open(fs, TableModel.Path, 7, info.Size + 1, mmap: true, cacheMetadata: true));
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void Two_tables_that_changed_places_are_told_apart()
    {
        MemoryFileSystem fs = new();
        SSTableInfo seven = TableModel.Write(fs, Series);
        SSTableInfo eight = TableModel.Write(fs, Series, new SSTableWriterOptions { TableId = 8 }, "tables/8.sst");
        Assert.Equal(seven.Size, eight.Size);
        CorruptFileException swapped = Assert.Throws<CorruptFileException>(
            () => SSTableReader.Open(fs, "tables/8.sst", 7, seven.Size, mmap: true, cacheMetadata: true));
        Assert.Contains("holds table 8, table 7 is expected", swapped.Message, StringComparison.Ordinal);
        SSTableInfo other = TableModel.Write(fs, [.. Series[..^1], Series[^1] with { Id = 301 }], path: "other/7.sst");
        Assert.Throws<CorruptFileException>(() => SSTableReader.Open(fs, "other/7.sst", 7, other.Size, mmap: true, cacheMetadata: true, seven.Crc));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_damaged_chunk_names_file_and_offset_and_can_be_skipped(bool mmap)
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, Series);
        fs[TableModel.Path][SSTableFormat.HeaderBytes + 5] ^= 1; // in the first record
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap, cacheMetadata: true, info.Crc);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => TableModel.Collect(reader, [1, 2, 300], TimeRange.All));
        Assert.Equal((TableModel.Path, SSTableFormat.HeaderBytes), (damage.Path, damage.Offset));
        using NativeArena arena = new();
        TableModel.Collected sink = new([1, 2, 300], skipDamaged: true);
        reader.Collect([1, 2, 300], TimeRange.All, 11, arena, sink);
        Assert.Equal(TableModel.Expected(Series, [1, 2, 300], TimeRange.All)[1..], sink.Chunks);
        Assert.Equal(2UL, Assert.Single(sink.Damaged).Id);
    }

    [Fact]
    public void A_damaged_bloom_filter_is_named_and_done_without()
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, Series);
        byte[] bytes = fs[TableModel.Path];
        long bloomAt = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(bytes.Length - SSTableFormat.FooterBytes + 24));
        bytes[(int)bloomAt + 20] ^= 0xFF;
        using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true, info.Crc);
        Assert.Null(reader.BloomDamage);
        Assert.Equal(TableModel.Expected(Series, [1, 2], TimeRange.All), TableModel.Collect(reader, [1, 2], TimeRange.All));
        Assert.Equal("checksum of the bloom filter differs", reader.BloomDamage);
    }

    [Fact]
    public void A_newer_version_is_named_as_such()
    {
        MemoryFileSystem fs = new();
        SSTableInfo info = TableModel.Write(fs, Series);
        Span<byte> footer = fs[TableModel.Path].AsSpan((int)info.Size - SSTableFormat.FooterBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[48..], 2);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[52..], Crc32C.Of(footer[..52]));
        NewerFormatException newer = Assert.Throws<NewerFormatException>(
            () => SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap: true, cacheMetadata: true));
        Assert.Contains("was written in format version 2; this program reads up to 1", newer.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Index_blocks_of_any_bytes_are_walked_without_harm()
    {
        Random random = new(1);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] bytes = new byte[random.Next(40)];
            random.NextBytes(bytes);
            for (int j = 0; j < bytes.Length; j++) bytes[j] &= (byte)(random.Next(2) == 0 ? 0x03 : 0xFF);
            IndexBlockReader reader = new(bytes);
            int chunks = 0;
            while (reader.MoveNextSeries())
            {
                while (reader.MoveNextChunk(out IndexedChunk chunk))
                {
                    Assert.True(chunk.MinTimeMs <= chunk.MaxTimeMs && chunk.Offset >= 0 && chunk.Length >= 2 && chunk.End > chunk.Offset);
                    chunks++;
                }
            }

            Assert.InRange(chunks, 0, bytes.Length);
        }
    }

    // Both found by fuzzing (Data/fuzz/findings.txt): all checksums are right, what they cover is not.
    [Theory]
    [InlineData(0, "properties name ids from ")]
    [InlineData(1, "the index names a chunk here and one before it that ends at ")]
    public void A_table_that_contradicts_itself_behind_right_checksums_is_named(int finding, string what)
    {
        string[] tables = [.. File.ReadLines(Repository.TestData("fuzz/findings.txt")).Select(static line => line.Split(' ')).Where(static fields => fields[0] == "sstable").Select(static fields => fields[1])];
        MemoryFileSystem fs = new();
        fs[TableModel.Path] = Convert.FromBase64String(tables[finding]);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() =>
        {
            using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, fs[TableModel.Path].Length, mmap: false, cacheMetadata: true);
            TableModel.Collect(reader, [1, 2, 3, 5, 300], TimeRange.All);
        });
        Assert.Equal(TableModel.Path, damage.Path);
        Assert.Contains(what, damage.Message, StringComparison.Ordinal);
        Assert.Equal(0, fs.OpenFiles);
    }

    private static void Verify(MemoryFileSystem fs, long size, uint crc) =>
        SSTableVerifier.Verify(fs, TableModel.Path, 7, size, crc, CancellationToken.None);

    private static void AssertReportedOrEqual(MemoryFileSystem fs, SSTableInfo info, bool mmap, bool cacheMetadata)
    {
        try
        {
            using SSTableReader reader = SSTableReader.Open(fs, TableModel.Path, 7, info.Size, mmap, cacheMetadata);
            Assert.Equal(TableModel.Expected(Series, [1, 2, 3, 300], TimeRange.All), TableModel.Collect(reader, [1, 2, 3, 300], TimeRange.All));
        }
        catch (CorruptFileException damage)
        {
            Assert.Equal(TableModel.Path, damage.Path);
        }
    }
}
