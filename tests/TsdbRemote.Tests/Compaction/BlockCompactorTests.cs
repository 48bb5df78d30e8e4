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
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Compaction;

public sealed class BlockCompactorTests
{
    private const string Directory = "/disk/blocks";
    private const int SeriesCount = 4;
    private static readonly byte[][] Series = [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", i % 2 == 0 ? "m" : "n"), ($"only_{i}", $"value_{i}")))];
    private static readonly Ulid Result = TestBlocks.Name(1000);

    private static readonly (int, int, int)[] AllDeleted = [.. Enumerable.Range(0, SeriesCount).SelectMany(static i => new[] { (i, 0, 30), (i, 31, 30) })];

    private static readonly Gen<Input> AnyInput = Gen.Select(
        Gen.Bool,
        Gen.Int[1, 7],
        Gen.Select(Gen.Int[0, SeriesCount - 1], Gen.Int[0, 60], ChunkSamples.ValueBits).Array[1, 40],
        Gen.OneOf(Gen.Const(Array.Empty<(int, int, int)>()), Gen.Const(AllDeleted), Gen.Select(Gen.Int[0, SeriesCount - 1], Gen.Int[0, 60], Gen.Int[0, 30]).Array[1, 5]))
        .Select(static (isForeign, chunk, samples, deleted) => new Input(isForeign, chunk, samples, deleted));

    [Fact]
    public void Any_blocks_become_one_that_reads_as_all_of_them_without_what_is_deleted()
    {
        int empty = 0;
        int overlapping = 0;
        Gen.Select(AnyInput.Array[2, 5], Gen.Enum<ChunkEncodingChoice>()).Sample(
            (inputs, encoding) =>
            {
                CrashFileSystem files = NewDisk();
                var expected = new SortedDictionary<(int Series, long TimeMs), ulong>();
                List<StoredBlock> stored = [];
                for (int i = 0; i < inputs.Length; i++) stored.Add(Put(files, i, inputs[i]));
                BlockSet set = BlockSet.Empty.With(stored);
                foreach (StoredBlock block in set.Blocks)
                {
                    Input input = inputs[stored.FindIndex(one => one.Entry.Ulid == block.Entry.Ulid)];
                    foreach ((int series, long time, ulong bits) in input.Left()) expected[(series, time)] = bits;
                }

                using CompactedBlock? made = new BlockCompactor(files, new DataLayout("/disk"), encoding).Write(set.Blocks, RangeOf(set), Result, static _ => { }, CancellationToken.None);
                Assert.Equal(expected.Count == 0, made is null);
                if (made is null)
                {
                    Interlocked.Increment(ref empty);
                    Assert.DoesNotContain(files.List(Directory), static entry => BlockDirectory.IsTemporary(entry.Name));
                    return;
                }

                made.Writer.Commit(BlockCompactor.MetaOf(made, [.. set.Blocks.Select(static block => block.Reader.Meta)], 7_200_000));
                Interlocked.Add(ref overlapping, (int)Math.Min(1, made.Merged.Conflicts));
                Assert.Equal([], TestBlocks.Problems(files, Directory));
                using BlockReader reader = BlockReader.Open(files, BlockDirectory.PathOf(Directory, Result), mmap: false);
                Assert.Equal(expected.Select(static pair => (pair.Key.Series, new Sample(pair.Key.TimeMs, pair.Value))), SamplesOf(reader));
                Assert.True(reader.Tombstones.IsEmpty);
                foreach (StoredBlock block in stored) block.Reader.Dispose();
            },
            iter: 400);
        Assert.True(empty > 0 && overlapping > 50, $"{empty} empty, {overlapping} with conflicts");
    }

    [Fact]
    public void Full_chunks_that_nothing_touches_are_copied_byte_for_byte()
    {
        CrashFileSystem files = NewDisk();
        StoredBlock[] blocks =
        [
            PutChunks(files, 1, [(0, [Samples(0, 480), Samples(480, 240)]), (1, [Samples(0, 480)])]),
            PutChunks(files, 2, [(0, [Samples(1000, 480), Samples(1480, 3)]), (2, [Samples(1000, 2)])]),
        ];
        byte[][] before = [.. blocks.SelectMany(block => ChunksOf(block.Reader)).Select(static chunk => chunk.Data).Order(ByContents)];
        using BlockReader made = Compact(files, ChunkEncodingChoice.Optimal, blocks);
        Assert.Equal(before, ChunksOf(made).Select(static chunk => chunk.Data).Order(ByContents));
        Assert.Equal((3, 6), (made.Meta.Stats.Series, made.Meta.Stats.Chunks));
    }

    [Theory]
    [InlineData(ChunkEncodingChoice.Optimal, new[] { 100, 100, 100, 100, 100 }, new[] { 480, 20 })]
    [InlineData(ChunkEncodingChoice.Optimal, new[] { 239, 240, 239 }, new[] { 239, 240, 239 })]
    [InlineData(ChunkEncodingChoice.Optimal, new[] { 24, 24, 480, 24, 24 }, new[] { 48, 480, 48 })]
    [InlineData(ChunkEncodingChoice.Verbatim, new[] { 24, 24, 24, 24, 24, 24 }, new[] { 120, 24 })]
    [InlineData(ChunkEncodingChoice.Verbatim, new[] { 59, 60, 59, 59 }, new[] { 59, 60, 118 })]
    public void Small_chunks_that_follow_each_other_become_full_ones_and_others_stay(ChunkEncodingChoice encoding, int[] before, int[] after)
    {
        CrashFileSystem files = NewDisk();
        int start = 0;
        StoredBlock[] blocks = [.. before.Select((count, i) =>
        {
            Sample[] samples = Samples(start, count);
            start += count;
            return PutChunks(files, i, [(0, [samples])]);
        })];
        using BlockReader made = Compact(files, encoding, blocks);
        Assert.Equal(after, ChunksOf(made).Select(static chunk => chunk.Samples));
        Assert.Equal(Samples(0, start), SamplesOf(made).Select(static one => one.Sample));
    }

    [Fact]
    public void Chunks_that_the_limit_of_bytes_cuts_as_before_are_not_encoded_anew()
    {
        CrashFileSystem files = NewDisk();
        var random = new Random(1);
        Sample[] noise = [.. Enumerable.Range(0, 460).Select(i => new Sample(i * 1000 + random.Next(900), (ulong)random.NextInt64()))];
        StoredBlock[] blocks = [PutChunks(files, 1, [(0, [noise[..230]])]), PutChunks(files, 2, [(0, [noise[230..]])])];
        byte[][] before = [.. blocks.SelectMany(block => ChunksOf(block.Reader)).Select(static chunk => chunk.Data)];
        Assert.All(before, static chunk => Assert.InRange(chunk.Length, 1900, 2600));
        using BlockReader made = Compact(files, ChunkEncodingChoice.Optimal, blocks);
        Assert.Equal(before, ChunksOf(made).Select(static chunk => chunk.Data));
    }

    [Fact]
    public void What_is_deleted_is_physically_gone_with_the_labels_of_series_of_which_nothing_is_left()
    {
        CrashFileSystem files = NewDisk();
        StoredBlock block = Put(files, 1, new Input(false, 5, [.. Enumerable.Range(0, 20).SelectMany(static i => new[] { (0, i, (ulong)i + 0x1122334455667788), (1, i, 7UL) })], [(0, 5, 4), (1, 0, 9), (1, 9, 100)]));
        StoredBlock other = Put(files, 2, new Input(false, 5, [(2, 50, 1UL), (0, 51, 2UL)], []));
        using BlockReader made = Compact(files, ChunkEncodingChoice.Optimal, block, other);
        Assert.Equal(2, made.Meta.Stats.Series);
        Assert.Equal([0L, 1, 2, 3, 4, 10], SamplesOf(made).Where(static one => one.Series == 0).Select(static one => one.Sample.TimeMs / 15_000).Take(6));
        Assert.Equal(-1, files.ReadAll($"{made.Directory}/index").AsSpan().IndexOf("only_1"u8));
    }

    [Fact]
    public void Meta_tells_what_went_in_one_level_up_with_hints_only_where_all_have_them()
    {
        CrashFileSystem files = NewDisk();
        StoredBlock[] blocks =
        [
            PutChunks(files, 3, [(0, [Samples(0, 10)])], static meta => meta with { EndTimeMs = 7_200_000, Compaction = meta.Compaction with { Hints = ["from-out-of-order"] } }),
            PutChunks(files, 1, [(0, [Samples(2, 20)])], static meta => meta with
            {
                MinTimeMs = -1,
                Compaction = new BlockMetaCompaction { Level = 4, Sources = [TestBlocks.Name(3), TestBlocks.Name(7), TestBlocks.Name(9)], Hints = ["from-out-of-order", "other"] },
            }),
        ];
        using BlockReader made = Compact(files, ChunkEncodingChoice.Optimal, blocks);
        BlockMeta meta = made.Meta;
        Assert.Equal((-1, 7_200_000), (meta.MinTimeMs, meta.EndTimeMs));
        Assert.Equal(5, meta.Compaction.Level);
        Assert.Equal([TestBlocks.Name(3), TestBlocks.Name(7), TestBlocks.Name(9)], meta.Compaction.Sources);
        Assert.Equal(
            [(TestBlocks.Name(1), -1L, 22 * 15_000L - 14_999), (TestBlocks.Name(3), 0L, 7_200_000L)],
            meta.Compaction.Parents.Select(static parent => (parent.Ulid, parent.MinTimeMs, parent.EndTimeMs)));
        Assert.Equal(["from-out-of-order"], meta.Compaction.Hints);
    }

    /// <summary>Late data may come for a range for ever: each conversion of it is a block of level 1.</summary>
    [Theory]
    [InlineData(1, 32, 32)]
    [InlineData(1, 33, 1)]
    [InlineData(3, 96, 96)]
    [InlineData(3, 97, 1)]
    [InlineData(372, 32 * 372, 32 * 372)]
    [InlineData(372, 32 * 372 + 1, 1)]
    [InlineData(44_640, 16_000, 16_000)]
    [InlineData(44_640, 16_001, 1)]
    public void A_block_of_many_others_for_each_of_its_windows_names_itself_as_its_source(int windows, int sources, int left)
    {
        const long window = 7_200_000;
        CrashFileSystem files = NewDisk();
        BlockSet set = BlockSet.Empty.With(PutChunks(files, 1, [(0, [Samples(-30, 10)])]), PutChunks(files, 2, [(1, [Samples(-20, 10)])]));
        using CompactedBlock made = new BlockCompactor(files, new DataLayout("/disk"), ChunkEncodingChoice.Optimal).Write(set.Blocks, RangeOf(set), Result, static _ => { }, CancellationToken.None)!;

        // As many inputs as one job takes, with a source in common.
        BlockMeta[] inputs =
        [
            .. Enumerable.Range(0, sources - 1).Chunk((sources + BlockCompactionPicker.MaxOverlapping) / BlockCompactionPicker.MaxOverlapping).Select((part, i) => made.Writer.NewMeta() with
            {
                Ulid = TestBlocks.Name(i),
                MinTimeMs = -window,
                EndTimeMs = (windows - 1) * window,
                Compaction = new BlockMetaCompaction { Level = 2, Sources = [.. part.Select(static number => TestBlocks.Name(number + 2000)), TestBlocks.Name(1_000_000)] },
            }),
        ];
        Assert.InRange(inputs.Length, 30, BlockCompactionPicker.MaxOverlapping);
        BlockMeta meta = BlockCompactor.MetaOf(made, inputs, window);
        Assert.Equal((left, inputs.Length, 3), (meta.Compaction.Sources.Count, meta.Compaction.Parents.Count, meta.Compaction.Level));
        if (left == 1) Assert.Equal([Result], meta.Compaction.Sources);
        Assert.Equal(meta.Compaction.Sources.Order().Distinct(), meta.Compaction.Sources);
        made.Writer.Commit(meta); // it has room
        Assert.InRange(files.FileSize($"{BlockDirectory.PathOf(Directory, Result)}/{BlockMeta.FileName}")!.Value, 1, BlockMeta.MaxBytes);
    }

    [Fact]
    public void A_chunk_that_is_none_under_a_right_checksum_is_told_by_the_rank_of_its_block_and_nothing_is_left_behind()
    {
        CrashFileSystem files = NewDisk();
        StoredBlock good = PutChunks(files, 1, [(0, [Samples(0, 10)])]);
        StoredBlock bad = PutRaw(files, 2, new SeriesChunk(15_000, 30_000, ChunkEncoding.Xor, default, 0), [0, 9, 1, 1]);
        BlockSet set = BlockSet.Empty.With(good, bad);
        CorruptChunkException damage = Assert.Throws<CorruptChunkException>(
            () => new BlockCompactor(files, new DataLayout("/disk"), ChunkEncodingChoice.Optimal).Write(set.Blocks, RangeOf(set), Result, static _ => { }, CancellationToken.None));
        Assert.Equal(bad.Entry.Rank, damage.Rank);
        Assert.Equal(2, files.List(Directory).Count);
    }

    [Fact]
    public void A_cancelled_compaction_leaves_nothing_behind()
    {
        CrashFileSystem files = NewDisk();
        BlockSet set = BlockSet.Empty.With(PutChunks(files, 1, [(0, [Samples(0, 10)])]), PutChunks(files, 2, [(1, [Samples(20, 10)])]));
        using var cancel = new CancellationTokenSource();
        files.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.CreateNew) cancel.Cancel();
        };
        Assert.Throws<OperationCanceledException>(
            () => new BlockCompactor(files, new DataLayout("/disk"), ChunkEncodingChoice.Optimal).Write(set.Blocks, RangeOf(set), Result, static _ => { }, cancel.Token));
        Assert.Equal(2, files.List(Directory).Count);
    }

    private static readonly Comparer<byte[]> ByContents = Comparer<byte[]>.Create(static (left, right) => left.AsSpan().SequenceCompareTo(right));

    private static CrashFileSystem NewDisk()
    {
        var files = new CrashFileSystem("/disk");
        files.MakeDir(Directory);
        return files;
    }

    private static Sample[] Samples(int from, int count) => [.. Enumerable.Range(from, count).Select(static i => Sample.Of(i * 15_000L, i % 97))];

    private static TimeRange RangeOf(BlockSet set) => new(set.Blocks.Min(static block => block.Range.MinMs), set.Blocks.Max(static block => block.Range.MaxMs));

    private static BlockReader Compact(CrashFileSystem files, ChunkEncodingChoice encoding, params StoredBlock[] blocks)
    {
        BlockSet set = BlockSet.Empty.With(blocks);
        using CompactedBlock made = new BlockCompactor(files, new DataLayout("/disk"), encoding).Write(set.Blocks, RangeOf(set), Result, static _ => { }, CancellationToken.None)!;
        made.Writer.Commit(BlockCompactor.MetaOf(made, [.. set.Blocks.Select(static block => block.Reader.Meta)], 7_200_000));
        Assert.Equal([], TestBlocks.Problems(files, Directory));
        return BlockReader.Open(files, BlockDirectory.PathOf(Directory, Result), mmap: false);
    }

    private static StoredBlock Put(CrashFileSystem files, int number, Input input)
    {
        (int, Sample[][])[] series = [.. input.BySeries().Select(one => (one.Key, one.Value.Chunk(input.ChunkSamples).ToArray()))];
        StoredBlock block = PutChunks(files, number, series, isForeign: input.IsForeign);
        if (input.Deleted.Length == 0) return block;

        // Ids are known once the index is written, as in Prometheus, which deletes after the fact.
        uint[] ids = block.Reader.Index.AllSeries(CancellationToken.None);
        int[] numbers = [.. series.Select(static one => one.Item1).OrderBy(static one => Series[one], Comparer<byte[]>.Create(static (left, right) => Labels.Compare(left, right)))];
        Tombstone[] tombstones = [.. input.Deleted.Where(one => numbers.Contains(one.Series)).Select(one => new Tombstone(ids[Array.IndexOf(numbers, one.Series)], Input.RangeOf(one)))];
        string path = block.Reader.Directory;
        block.Reader.Dispose();
        files.Unlink($"{path}/{TombstonesFormat.FileName}");
        TombstonesFormat.Write(files, $"{path}/{TombstonesFormat.FileName}", Tombstones.Of(tombstones));
        BlockMeta meta = BlockMeta.Read(files, $"{path}/{BlockMeta.FileName}");
        (meta with { Stats = meta.Stats with { Tombstones = Tombstones.Of(tombstones).Count } }).WriteTo(files, $"{path}/{BlockMeta.FileName}");
        return block with { Reader = BlockReader.Open(files, path, mmap: false) };
    }

    private static StoredBlock PutChunks(
        CrashFileSystem files, int number, (int Series, Sample[][] Chunks)[] series, Func<BlockMeta, BlockMeta>? change = null, bool isForeign = false)
    {
        Ulid ulid = TestBlocks.Name(number);
        using var writer = new BlockWriter(files, Directory, ulid);
        using var arena = new NativeArena();
        foreach ((int one, _) in series) writer.Declare(Series[one]);
        foreach ((int one, Sample[][] chunks) in series.OrderBy(static one => Series[one.Series], Comparer<byte[]>.Create(static (left, right) => Labels.Compare(left, right))))
            writer.Add(Series[one], [.. chunks.Select(chunk => ChunkSamples.Chunk(arena, 0, chunk))]);
        writer.FinishData();
        BlockMeta meta = writer.NewMeta();
        writer.Commit(change?.Invoke(meta) ?? meta);
        return new StoredBlock(new BlockEntry(ulid.ToString(), isForeign ? 0 : number + 1, isForeign), BlockReader.Open(files, BlockDirectory.PathOf(Directory, ulid), mmap: false));
    }

    private static StoredBlock PutRaw(CrashFileSystem files, int number, SeriesChunk chunk, byte[] bytes)
    {
        Ulid ulid = TestBlocks.Name(number);
        using var writer = new BlockWriter(files, Directory, ulid);
        using var arena = new NativeArena();
        writer.Declare(Series[0]);
        writer.Add(Series[0], [chunk with { Data = ChunkSamples.Copy(arena, bytes) }]);
        writer.FinishData();
        writer.Commit(writer.NewMeta());
        return new StoredBlock(new BlockEntry(ulid.ToString(), number + 1, Adopted: false), BlockReader.Open(files, BlockDirectory.PathOf(Directory, ulid), mmap: false));
    }

    private static List<(int Series, Sample Sample)> SamplesOf(BlockReader reader) =>
        [.. ChunksOf(reader).SelectMany(static chunk => ChunkSamples.Decode(chunk.Data)!.Select(sample => (chunk.Series, sample))).OrderBy(static one => one.Series).ThenBy(static one => one.sample.TimeMs)];

    private static List<(int Series, int Samples, byte[] Data)> ChunksOf(BlockReader reader)
    {
        List<(int, int, byte[])> all = [];
        using BlockSeriesCursor cursor = reader.SelectAll(TimeRange.All, CancellationToken.None);
        using var arena = new NativeArena();
        while (cursor.MoveNext())
        {
            int series = Array.FindIndex(Series, labels => labels.AsSpan().SequenceEqual(cursor.Labels));
            List<SeriesChunk> chunks = [];
            cursor.AddChunks(TimeRange.All, 0, arena, chunks);
            foreach (SeriesChunk chunk in chunks) all.Add((series, SegmentFormat.SamplesOf(chunk.Data.Span), chunk.Data.Span.ToArray()));
        }

        return all;
    }

    /// <summary>A block of a law: its samples by series and step of 15 s, and what is deleted of it.</summary>
    private sealed record Input(bool IsForeign, int ChunkSamples, (int Series, int Step, ulong Bits)[] Samples, (int Series, int From, int Length)[] Deleted)
    {
        public static TimeRange RangeOf((int Series, int From, int Length) deleted) => new(deleted.From * 15_000L, (deleted.From + deleted.Length) * 15_000L);

        public Dictionary<int, Sample[]> BySeries() => Samples.GroupBy(static one => one.Series).ToDictionary(
            static series => series.Key,
            static series => series.DistinctBy(static one => one.Step).OrderBy(static one => one.Step).Select(static one => new Sample(one.Step * 15_000L, one.Bits)).ToArray());

        public IEnumerable<(int Series, long TimeMs, ulong Bits)> Left() =>
            from series in BySeries()
            from sample in series.Value
            where !Deleted.Any(one => one.Series == series.Key && RangeOf(one).Contains(sample.TimeMs))
            select (series.Key, sample.TimeMs, sample.ValueBits);
    }
}
