using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;
using static TsdbRemote.Tests.Format.IndexModel;
using static TsdbRemote.Tests.Format.NaiveIndex;

namespace TsdbRemote.Tests.Format;

public class IndexDamageTests
{
    private static readonly IndexedSeries[] Series =
    [
        new([("__name__", "a"), ("job", "x")], [new ChunkMeta(0, 5, 8), new ChunkMeta(6, 9, 40), new ChunkMeta(20, 21, 1UL << 32)]),
        new([("__name__", "a"), ("job", "y")], [new ChunkMeta(-7, 5, (1UL << 32) + 90)]),
        new([("__name__", "b")], [new ChunkMeta(1, 1, (1UL << 32) + 200)]),
    ];

    private static readonly Matcher[][] Selectors =
    [
        [Equal("job", "x")], [NotEqual("job", "x")], [Regex("job", ".+")], [Regex("__name__", "a.*"), NotRegex("job", "y.?")], [Equal("__name__", "a"), Equal("job", "y")],
    ];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void No_flipped_byte_gives_a_wrong_answer(bool mmap)
    {
        byte[] good = NaiveIndex.Of(Series).Bytes;
        for (int i = 0; i < good.Length; i++)
        {
            foreach (byte flip in (byte[])[0x01, 0x80, 0xFF, (byte)(1 << (i % 8))])
            {
                byte[] bad = (byte[])good.Clone();
                bad[i] ^= flip;
                AssertReportedOrEqual(bad, mmap);
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_index_cut_at_any_length_is_reported(bool mmap)
    {
        byte[] good = NaiveIndex.Of(Series).Bytes;
        for (int length = 0; length < good.Length; length++)
        {
            MemoryFileSystem fs = With(good[..length]);
            Assert.Throws<CorruptFileException>(() => IndexReader.Open(fs, IndexModel.Path, mmap));
            Assert.Equal(0, fs.OpenFiles);
        }

        Assert.Throws<CorruptFileException>(() => IndexReader.Open(With([.. good, 0]), IndexModel.Path, mmap));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Sections_of_any_bytes_with_right_checksums_do_no_harm(bool mmap)
    {
        Random random = new(7);
        byte[] good = NaiveIndex.Of(Series).Bytes;
        NaiveIndex layout = NaiveIndex.Of(Series);
        for (int round = 0; round < 4000; round++)
        {
            byte[] bad = (byte[])good.Clone();
            for (int i = random.Next(1, 4); i > 0; i--) bad[random.Next(5, bad.Length - IndexToc.Size)] = (byte)random.Next(random.Next(2) == 0 ? 4 : 256);
            Reseal(bad, layout);
            AssertNoHarm(bad, mmap);
        }
    }

    [Fact]
    public void The_version_is_named()
    {
        byte[] index = NaiveIndex.Of(Series).Bytes;
        index[4] = 1;
        CorruptFileException old = Assert.Throws<CorruptFileException>(() => IndexReader.Open(With(index), IndexModel.Path, mmap: true));
        Assert.Contains("written as version 1, version 2 can be read", old.Message, StringComparison.Ordinal);
        index[0] = 0;
        CorruptFileException other = Assert.Throws<CorruptFileException>(() => IndexReader.Open(With(index), IndexModel.Path, mmap: true));
        Assert.Contains("does not begin as an index of a block", other.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Hostile_counts_and_lengths_are_refused_before_memory_is_taken(bool mmap)
    {
        byte[] none = [0, 1];
        byte[] symbols = [.. Be32(2), .. StringOf("a"), .. StringOf("b")];
        byte[] body = [1, 0, 1, 1, 0, 0, 8];
        byte[][] lists = [[.. Be32(1), .. Be32(2)], [.. Be32(1), .. Be32(2)]];
        byte[] huge = VarintOf(uint.MaxValue);
        byte[] largest = VarintOf(ulong.MaxValue);
        Assert.Equal(["{a=\"b\"}"], Answer(Raw(symbols, body, lists, Table)));
        Refused("symbols are more than", Raw([.. Be32(uint.MaxValue), .. StringOf("a")], body, lists, Table));
        Refused("runs past the end", Raw([.. Be32(1), .. huge, .. none], body, lists, Table));
        Refused("runs past the end", Raw([.. Be32(1), .. largest, .. none], body, lists, Table));
        Refused("does not ascend", Raw([.. Be32(2), .. StringOf("b"), .. StringOf("a")], body, lists, Table));
        Refused("bytes are left", Raw([.. Be32(1), .. StringOf("a"), .. StringOf("b")], body, lists, Table));
        Refused("a number ends early", Raw([.. Be32(3), .. StringOf("a"), .. StringOf("b")], body, lists, Table));
        Refused("more labels than", Raw(symbols, [.. huge, 0, 1, 1, 0, 0, 8], lists, Table));
        Refused("more labels than", Raw(symbols, [.. largest, 0, 1, 1, 0, 0, 8], lists, Table));
        Refused("is no symbol", Raw(symbols, [1, 0, 2, 1, 0, 0, 8], lists, Table));
        Refused("do not ascend", Raw(symbols, [2, 0, 1, 0, 1, 1, 0, 0, 8], lists, Table));
        Refused("has no labels", Raw(symbols, [0, 1, 0, 0, 8], lists, Table));
        Refused("more chunks than", Raw(symbols, [1, 0, 1, .. huge, 0, 0, 8], lists, Table));
        Refused("has no chunks", Raw(symbols, [1, 0, 1, 0], lists, Table));
        Refused("does not ascend", Raw(symbols, [1, 0, 1, 2, 0, 0, 8, 0, 0, 2], lists, Table));
        Refused("does not ascend", Raw(symbols, [1, 0, 1, 2, 0, 0, 8, 1, 0, 1], lists, Table));
        Refused("does not ascend", Raw(symbols, [1, 0, 1, 2, 0, 0, 8, 1, 0, 0], lists, Table));
        Refused("cannot be read", Raw(symbols, [1, 0, 1, 1, 2, .. largest, 8], lists, Table));
        Refused("is longer than", Raw(symbols, [.. body, 0], lists, Table));
        Refused("empty name or value", Raw([.. Be32(2), 0, .. StringOf("a")], [1, 1, 0, 1, 0, 0, 8], lists, offsets => Entries(2, (offsets[0], "", ""), (offsets[1], "a", "b"))));
        Refused("ids do not ascend", Raw(symbols, body, [[.. Be32(2), .. Be32(2), .. Be32(2)], lists[1]], Table), "do not ascend inside the file");
        Refused("ids of others", Raw(symbols, body, [[.. Be32(1), .. Be32(1)], lists[1]], Table), "do not ascend inside the file");
        Refused("ids of others", Raw(symbols, body, [[.. Be32(1), .. Be32(uint.MaxValue)], lists[1]], Table), "do not ascend inside the file");
        Refused("has 8 bytes", Raw(symbols, body, [[.. Be32(uint.MaxValue), .. Be32(2)], lists[1]], Table));
        Refused("can begin here", Raw(symbols, body, lists, offsets => Entries(2, (1, "", ""), (offsets[1], "a", "b"))));
        Refused("can begin here", Raw(symbols, body, lists, offsets => Entries(2, (offsets[0], "", ""), (long.MaxValue, "a", "b"))));
        Refused("cannot begin with another list", Raw(symbols, body, lists, offsets => Entries(1, (offsets[1], "a", "b"))), "does not begin with the list");
        Refused("no entries", Raw(symbols, body, lists, _ => Be32(0)), "does not begin with the list");
        Refused("count", Raw(symbols, body, lists, offsets => Entries(uint.MaxValue, (offsets[0], "", ""), (offsets[1], "a", "b"))), "ends early");
        Refused("count", Raw(symbols, body, lists, offsets => Entries(1, (offsets[0], "", ""), (offsets[1], "a", "b"))), "bytes are left");
        Refused("twice", Raw(symbols, body, lists, offsets => Entries(3, (offsets[0], "", ""), (offsets[1], "a", "b"), (offsets[1], "a", "b"))), "does not ascend");
        Refused("name", Raw(symbols, body, lists, offsets => Entries(2, (offsets[0], "", ""), (offsets[1], "", "b"))), "does not ascend");
        Refused("is no symbol", Raw(symbols, body, lists, offsets => Entries(2, (offsets[0], "", ""), (offsets[1], "ab", "b"))));
        Refused("keys", Raw(symbols, body, lists, offsets => [.. Be32(2), 2, 0, 0, .. VarintOf((ulong)offsets[0]), 3, 1, 97, 1, 98, 9]), "cannot be read");

        void Refused(string name, byte[] index, string? what = null)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            CorruptFileException damage = Assert.Throws<CorruptFileException>(() => Answer(index));
            Assert.Contains(what ?? name, damage.What, StringComparison.Ordinal);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);
        }

        string[] Answer(byte[] index)
        {
            using IndexReader reader = IndexReader.Open(With(index), IndexModel.Path, mmap);
            using BlockSeries into = new();
            var found = new List<string>();
            foreach (uint id in reader.AllSeries(CancellationToken.None).Concat(reader.SelectSeries([Equal("a", "b")], null, CancellationToken.None)).Distinct())
            {
                reader.ReadSeries(id, into);
                found.Add(Labels.Print(into.Labels));
            }

            return [.. found];
        }
    }

    [Fact]
    public void An_empty_list_has_a_checksum_too()
    {
        MemoryFileSystem fs = new();
        IndexModel.Write(fs, []);
        byte[] index = fs[IndexModel.Path];
        int list = (int)BinaryPrimitives.ReadInt64BigEndian(index.AsSpan(index.Length - IndexToc.Size + 4 * sizeof(long)));
        index[((list + 3) & ~3) + 8] ^= 1;
        using IndexReader reader = IndexReader.Open(With(index), IndexModel.Path, mmap: true);
        Assert.Throws<CorruptFileException>(() => reader.AllSeries(CancellationToken.None));
    }

    [Fact]
    public void Labels_that_multiply_one_long_symbol_stop_at_the_bound()
    {
        const int Labels = 200;
        byte[] symbols =
        [
            .. Be32(Labels + 1),
            .. Enumerable.Range(0, Labels).SelectMany(i => StringOf($"n{i:D3}")),
            .. StringOf(new string('v', 1 << 20)),
        ];
        byte[] body = [.. VarintOf(Labels), .. Enumerable.Range(0, Labels).SelectMany(i => (byte[])[.. VarintOf((ulong)i), .. VarintOf(Labels)]), 1, 0, 0, 8];
        uint id = (uint)((5 + 4 + symbols.Length + 4 + 15) / 16);
        byte[] index = Raw(symbols, body, [[.. Be32(1), .. Be32(id)]], offsets => Entries(1, (offsets[0], "", "")));
        using IndexReader reader = IndexReader.Open(With(index), IndexModel.Path, mmap: true);
        using BlockSeries into = new();
        for (int i = 0; i < 3; i++)
        {
            CorruptFileException damage = Assert.Throws<CorruptFileException>(() => reader.ReadSeries(id, into));
            Assert.Contains("take more than 1048576 bytes", damage.What, StringComparison.Ordinal);
        }
    }

    private static byte[] Table(long[] offsets) => Entries(2, (offsets[0], "", ""), (offsets[1], "a", "b"));

    private static byte[] Entries(uint count, params (long Offset, string Name, string Value)[] entries) =>
        [.. Be32(count), .. entries.SelectMany(entry => (byte[])[2, .. StringOf(entry.Name), .. StringOf(entry.Value), .. VarintOf((ulong)entry.Offset)])];

    private static void AssertReportedOrEqual(byte[] index, bool mmap)
    {
        MemoryFileSystem fs = With(index);
        try
        {
            using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap);
            foreach (Matcher[] matchers in Selectors) Equal(() => Select(reader, null, matchers), Expected(Series, matchers));
            Equal(() => Read(reader, reader.AllSeries(CancellationToken.None)), Expected(Series, [NotEqual("none", "x")]));
            Equal(() => [.. reader.LabelNames.Select(name => $"{Convert.ToHexString(name.Utf8.Span)} {name.ValueCount}")], ["5F5F6E616D655F5F 2", "6A6F62 2"]);
        }
        catch (CorruptFileException damage)
        {
            Assert.Equal(IndexModel.Path, damage.Path);
        }

        Assert.Equal(0, fs.OpenFiles);

        static void Equal(Func<string[]> answer, string[] expected)
        {
            try
            {
                Assert.Equal(expected, answer());
            }
            catch (CorruptFileException damage)
            {
                Assert.Equal(IndexModel.Path, damage.Path);
            }
        }
    }

    private static void AssertNoHarm(byte[] index, bool mmap)
    {
        try
        {
            using IndexReader reader = IndexReader.Open(With(index), IndexModel.Path, mmap);
            foreach (Matcher[] matchers in Selectors) Try(() => Select(reader, null, matchers));
            Try(() => Read(reader, reader.AllSeries(CancellationToken.None)));
        }
        catch (CorruptFileException damage)
        {
            Assert.Equal(IndexModel.Path, damage.Path);
        }

        static void Try(Action answer)
        {
            try
            {
                answer();
            }
            catch (CorruptFileException damage)
            {
                Assert.Equal(IndexModel.Path, damage.Path);
            }
        }
    }

    /// <summary>Puts right checksums wherever the sections of the sound index end, so that nothing but what they hold is wrong.</summary>
    private static void Reseal(byte[] index, NaiveIndex layout)
    {
        Section(5);
        for (int at = (layout.SymbolsEnd + 15) & ~15; at < layout.SeriesEnd;)
        {
            int start = at;
            if (!Varint.TryRead(index, ref at, out ulong length) || length > (ulong)(layout.SeriesEnd - at - 4)) break;
            Seal(at, (int)length);
            at = Math.Max((at + (int)length + 4 + 15) & ~15, start + 16);
        }

        for (int at = (layout.SeriesEnd + 3) & ~3; at < layout.PostingsTable - 4;)
        {
            int length = Section(at);
            if (length < 0) break;
            at += length + 8;
        }

        Section(layout.PostingsTable);

        int Section(int at)
        {
            uint length = BinaryPrimitives.ReadUInt32BigEndian(index.AsSpan(at));
            if (length > index.Length - at - 8) return -1;
            Seal(at + 4, (int)length);
            return (int)length;
        }

        void Seal(int at, int length) => BinaryPrimitives.WriteUInt32BigEndian(index.AsSpan(at + length), Crc32C.Of(index.AsSpan(at, length)));
    }
}
