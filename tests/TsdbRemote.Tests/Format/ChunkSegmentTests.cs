using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Format;

public class ChunkSegmentTests
{
    private const string Directory = "chunks";

    [Fact]
    public void The_record_of_the_worked_example_is_written_byte_for_byte()
    {
        CrashFileSystem files = new(Directory);
        byte[] data = Convert.FromHexString("000380a0abfef9624024000000000000" + "9875d60da48eb0");
        Assert.Equal([8, 37], Write(files, [data, data]));
        string record = "1701" + Convert.ToHexStringLower(data) + "663a774d";
        Assert.Equal("85bd40dd01000000" + record + record, Convert.ToHexStringLower(files.ReadAll("chunks/000001")));
    }

    [Fact]
    public void A_segment_of_promtool_is_written_alike()
    {
        byte[] expected = File.ReadAllBytes(Repository.TestData("promtool-chunks/000001"));
        List<byte[]> chunks = [];
        for (int at = SegmentFormat.HeaderBytes; at < expected.Length; at += (int)ChunkRecord.SizeOf(chunks[^1].Length))
        {
            int start = at;
            Assert.True(Varint.TryRead(expected, ref start, out ulong length));
            chunks.Add(expected.AsSpan(start + 1, (int)length).ToArray());
        }

        CrashFileSystem files = new(Directory);
        Write(files, [.. chunks]);
        Assert.Equal(expected, files.ReadAll("chunks/000001"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Chunks_of_any_length_come_back_and_none_straddles_a_segment(bool mmap) =>
        Gen.Select(Gen.Int[2, 150].Array[1, 60], Gen.Int[170, 400]).Sample((lengths, cap) =>
        {
            CrashFileSystem files = new(Directory) { Mappable = true };
            byte[][] chunks = [.. lengths.Select((length, i) => Chunk(length, i))];
            ulong[] references = Write(files, chunks, cap, static i => (ChunkEncoding)(1 + i % 3));
            Assert.Equal(references.Order(), references);
            foreach (DirectoryEntry entry in files.List(Directory)) Assert.InRange(entry.Length, 16, cap);
            Assert.Equal(Enumerable.Range(1, files.List(Directory).Count).Select(i => $"{i:D6}"), files.List(Directory).Select(entry => entry.Name));
            using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap);
            using NativeArena arena = new(4096);
            Assert.Equal(files.List(Directory).Sum(entry => entry.Length), reader.Bytes);
            for (int i = 0; i < chunks.Length; i++)
            {
                SeriesChunk chunk = reader.Read(new ChunkMeta(i, i + 1, references[i]), rank: 7, arena);
                Assert.Equal((i, i + 1, (ChunkEncoding)(1 + i % 3), 7), (chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Encoding, chunk.Rank));
                Assert.Equal(chunks[i], chunk.Data.Span);
            }
        }, iter: 60);

    [Fact]
    public void A_segment_is_left_exactly_when_the_longest_frame_would_not_fit()
    {
        const int Cap = 8 + 2 * (100 + 10);
        Assert.Equal([8UL, 8 + 106], Write(new CrashFileSystem(Directory), [Chunk(100, 0), Chunk(104, 0)], Cap));
        Assert.Equal([8UL, 1UL << 32 | 8], Write(new CrashFileSystem(Directory), [Chunk(100, 0), Chunk(105, 0)], Cap));
        Assert.Equal([8UL], Write(new CrashFileSystem(Directory), [Chunk(Cap - 18, 0)], Cap));
        Assert.Throws<ArgumentException>(() => Write(new CrashFileSystem(Directory), [Chunk(Cap - 17, 0)], Cap));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_chunk_longer_than_one_read_comes_back(bool mmap)
    {
        CrashFileSystem files = new(Directory) { Mappable = true };
        byte[][] chunks = [Chunk(2040, 1), Chunk(2048, 2), Chunk(70_000, 3), Chunk(2, 4)];
        ulong[] references = Write(files, chunks);
        using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap);
        using NativeArena arena = new(4096);
        for (int i = 0; i < chunks.Length; i++) Assert.Equal(chunks[i], reader.Read(new ChunkMeta(0, 1, references[i]), 0, arena).Data.Span);
    }

    [Fact]
    public void What_no_reader_takes_is_not_written()
    {
        using ChunkSegmentWriter writer = new(new CrashFileSystem(Directory), Directory);
        Assert.Throws<ArgumentException>(() => writer.Add(ChunkEncoding.None, new byte[9]));
        Assert.Throws<ArgumentException>(() => writer.Add((ChunkEncoding)4, new byte[9]));
        Assert.Throws<ArgumentException>(() => writer.Add(ChunkEncoding.Xor, new byte[1]));
        Assert.Equal((0, 0), (writer.Bytes, writer.Segments));
        writer.Finish();
        Assert.Throws<InvalidOperationException>(() => writer.Add(ChunkEncoding.Xor, new byte[9]));
        Assert.Throws<InvalidOperationException>(writer.Finish);
    }

    [Fact]
    public void Every_segment_is_synced_before_the_next_is_made()
    {
        CrashFileSystem files = new(Directory);
        List<string> operations = [];
        files.BeforeOperation = (_, operation) => operations.Add($"{operation.Kind} {operation.Path}");
        Write(files, [Chunk(100, 0), Chunk(100, 1)], 200);
        Assert.Equal(
            [
                "CreateNew chunks/000001", "Write chunks/000001", "SyncAll chunks/000001",
                "CreateNew chunks/000002", "Write chunks/000002", "SyncAll chunks/000002",
            ],
            operations.Where(operation => !operation.StartsWith("Close", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void No_flipped_bit_or_cut_gives_other_bytes(bool mmap)
    {
        CrashFileSystem written = new(Directory);
        byte[][] chunks = [Chunk(30, 1), Chunk(200, 2), Chunk(2, 3)];
        ulong[] references = Write(written, chunks);
        byte[] good = written.ReadAll("chunks/000001");
        for (int i = 0; i < good.Length; i++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                byte[] flipped = (byte[])good.Clone();
                flipped[i] ^= (byte)(1 << bit);
                int reported = CountReported(flipped);
                // The padding alone says nothing.
                Assert.True(reported > 0 || i is >= 5 and < 8, $"byte {i}, bit {bit}");
            }

            Assert.True(CountReported(good[..i]) > 0, $"cut at {i}");
        }

        int CountReported(byte[] segment)
        {
            CrashFileSystem files = new(Directory) { Mappable = true };
            files.WriteNew("chunks/000001", segment);
            int reported = 0;
            try
            {
                using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap);
                using NativeArena arena = new(4096);
                for (int i = 0; i < chunks.Length; i++)
                {
                    try
                    {
                        Assert.Equal(chunks[i], reader.Read(new ChunkMeta(0, 1, references[i]), 0, arena).Data.Span);
                    }
                    catch (CorruptFileException damage)
                    {
                        Assert.Equal(("chunks/000001", (long)references[i]), (damage.Path, damage.Offset));
                        reported++;
                    }
                }
            }
            catch (CorruptFileException)
            {
                reported++;
            }

            return reported;
        }
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(7UL)]
    [InlineData(9UL)]                          // inside a record
    [InlineData(100UL)]
    [InlineData(uint.MaxValue)]
    [InlineData(1UL << 32 | 8)]
    [InlineData(ulong.MaxValue)]
    public void A_reference_that_leads_nowhere_is_damage(ulong reference)
    {
        CrashFileSystem files = new(Directory);
        Write(files, [Chunk(30, 1)]);
        using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap: false);
        using NativeArena arena = new(4096);
        Assert.Throws<CorruptFileException>(() => reader.Read(new ChunkMeta(0, 1, reference), 0, arena));
        Assert.Equal(0, arena.AllocatedBytes);
    }

    [Theory]
    [InlineData("ffffffff0f01", "no memory is taken for 4 GiB")]
    [InlineData("ffffffffffffffffff0101", "nor for more")]
    [InlineData("8000010000", "a length in more bytes than needed")]
    [InlineData("00010000000000", "an empty chunk")]
    public void A_length_that_the_file_does_not_bear_out_is_damage(string record, string why)
    {
        CrashFileSystem files = new(Directory);
        files.WriteNew("chunks/000001", Convert.FromHexString("85bd40dd01000000" + record + new string('0', 40)));
        using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap: false);
        using NativeArena arena = new(4096);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => reader.Read(new ChunkMeta(0, 1, 8), 0, arena));
        Assert.Equal(8, damage.Offset);
        Assert.True(arena.AllocatedBytes == 0, why);
    }

    [Theory]
    [InlineData("000002")]
    [InlineData("000000", "000001")]
    [InlineData("000001", "000003")]
    [InlineData("000001", "2")]
    [InlineData]
    public void Gaps_and_odd_numbers_are_damage(params string[] names)
    {
        CrashFileSystem files = new(Directory);
        foreach (string name in names) files.WriteNew($"{Directory}/{name}", Convert.FromHexString("85bd40dd01000000"));
        Assert.Throws<CorruptFileException>(() => ChunkSegmentReader.Open(files, Directory, mmap: false));
    }

    [Fact]
    public void Other_names_are_passed_over()
    {
        CrashFileSystem files = new(Directory);
        Write(files, [Chunk(30, 1)]);
        files.WriteNew("chunks/.000002.swp", "x"u8);
        files.WriteNew("chunks/notes", "x"u8);
        using ChunkSegmentReader reader = ChunkSegmentReader.Open(files, Directory, mmap: false);
        Assert.Equal(1, reader.Segments);
    }

    private static byte[] Chunk(int length, int seed)
    {
        byte[] data = new byte[length];
        new Random(seed).NextBytes(data);
        return data;
    }

    private static ulong[] Write(
        CrashFileSystem files, byte[][] chunks, long cap = SegmentFormat.MaxSegmentBytes, Func<int, ChunkEncoding>? encodingOf = null)
    {
        using ChunkSegmentWriter writer = new(files, Directory, cap);
        ulong[] references = [.. chunks.Select((chunk, i) => writer.Add(encodingOf?.Invoke(i) ?? ChunkEncoding.Xor, chunk))];
        writer.Finish();
        Assert.Equal(files.List(Directory).Sum(entry => entry.Length), writer.Bytes);
        Assert.Equal(files.List(Directory).Count, writer.Segments);
        return references;
    }
}
