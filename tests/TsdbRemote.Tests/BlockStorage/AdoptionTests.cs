using System.Buffers.Binary;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.BlockStorage;

/// <summary>T54: what becomes of a block that somebody puts into <c>blocks/</c>.</summary>
public sealed class AdoptionTests
{
    private const long WindowMs = 7_200_000;
    private const string Quarantine = "/disk/data/quarantine";
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_010_000_000, WindowMs);
    private static readonly byte[] Name = Labels.Encode(("__name__", "m"));
    private static readonly string PromtoolDirectory = Repository.TestData("promtool-block");
    private static readonly string PromtoolUlid = Assert.Single(BlockDirectory.List(new LocalFileSystem(), PromtoolDirectory)).ToString();
    private static readonly string Promtool = $"{TestBlocks.Directory}/{PromtoolUlid}";

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private EngineHarness _engine;

    public AdoptionTests()
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs));
        _engine = Open();
    }

    [Fact]
    public void T54_a_block_of_promtool_is_adopted_and_served_and_still_is_after_a_restart()
    {
        PutPromtool();
        Assert.Empty(_engine.ReadAll());
        _engine.BlocksByStep();
        StoredBlockStats block = Assert.Single(_engine.Engine.Stats().Blocks);
        Assert.Equal((PromtoolUlid, true, 164L, 708L), (block.Ulid, block.Adopted, block.Series, block.Samples));
        AssertServesPromtool(_engine);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(policy, seed: 1), EngineHarness.SmallOptions, _time);
            AssertServesPromtool(again);
            again.BlocksByStep();
            Assert.Equal(0, again.Engine.Stats().BlocksAdopted); // it is no news
            AssertServesPromtool(again);
        }
    }

    [Fact]
    public void Series_of_a_foreign_block_and_ours_come_out_as_one_and_our_values_win_from_memory_tables_and_blocks_alike()
    {
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [.. Enumerable.Range(0, 4).Select(static i => Sample.Of(At(-2) + i, -1))])]);
        _engine.BlocksByStep();
        Write(At(-2) + 1, 1);
        Assert.Equal([-1, 1, -1, -1], Values());
        _engine.FlushByStep();
        Assert.Equal([-1, 1, -1, -1], Values());
        _engine.CompactByStep();
        Assert.Equal(2, _engine.Engine.Stats().Blocks.Length);
        Assert.Equal([-1, 1, -1, -1], Values());

        // One that comes later and bears a later name ranks above the other foreign one, and below ours.
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(2), [(Name, [Sample.Of(At(-2) + 1, -2), Sample.Of(At(-2) + 2, -2)])]);
        _engine.BlocksByStep();
        Assert.Equal([-1, 1, -2, -1], Values());
        Write(At(-2) + 3, 3);
        Assert.Equal([-1, 1, -2, 3], Values());
    }

    public static TheoryData<string> Damages => ["no meta", "no index", "no chunks", "short meta", "short index", "short chunks", "wrong name", "hostile table of contents", "hostile postings", "flipped chunk", "flipped index", "garbage"];

    [Theory, MemberData(nameof(Damages))]
    public void T54_a_damaged_block_is_quarantined_at_the_second_look_that_finds_it_unchanged_and_never_served(string damage)
    {
        PutPromtool();
        string path = Damage(damage);
        string ulid = path[(path.LastIndexOf('/') + 1)..];
        int files = CountFiles(path);
        _engine.BlocksByStep();
        Assert.Empty(_engine.Engine.Stats().Blocks);
        Assert.Equal((0, 0), (_engine.Engine.Stats().BlocksQuarantined, _engine.Engine.Stats().Damages.Length));
        Assert.Equal(files, CountFiles(path)); // it may be a copy in progress

        long before = GC.GetAllocatedBytesForCurrentThread();
        _engine.BlocksByStep();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 32 << 20);
        Assert.Equal((0, 1, EnginePhase.Ready), (_engine.Engine.Stats().BlocksAdopted, _engine.Engine.Stats().BlocksQuarantined, _engine.Engine.Phase));
        Assert.Contains(ulid, Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Empty(_disk.List(TestBlocks.Directory));
        Assert.Equal(files, CountFiles($"{Quarantine}/block-{ulid}"));
        Assert.Empty(_engine.ReadAll());

        CrashFileSystem image = _disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        Assert.Equal([$"block-{ulid}"], image.List(Quarantine).Select(static entry => entry.Name));
        Assert.Empty(image.List(TestBlocks.Directory));

        // The same again, and then whole: there is room for both.
        PutPromtool();
        Damage(damage);
        for (int i = 0; i < 2; i++) _engine.BlocksByStep();
        Assert.Equal([$"block-{ulid}", $"block-{ulid}-2"], _disk.List(Quarantine).Select(static entry => entry.Name));
        PutPromtool();
        _engine.BlocksByStep();
        AssertServesPromtool(_engine);
    }

    [Fact]
    public void T54_a_copy_in_progress_is_neither_served_nor_quarantined_and_is_adopted_once_it_is_whole()
    {
        var source = new LocalFileSystem();
        string from = $"{PromtoolDirectory}/{PromtoolUlid}";
        _disk.MakeDir(Promtool);
        _disk.MakeDir($"{Promtool}/chunks");
        foreach (string name in (string[])["chunks/000001", "index", "meta.json", "tombstones"])
        {
            byte[] bytes = source.ReadAll($"{from}/{name}");
            using IFile file = _disk.CreateNew($"{Promtool}/{name}");
            int step = Math.Max(1, bytes.Length / 5);
            for (int at = 0; at < bytes.Length; at += step)
            {
                Assert.Empty(_engine.Engine.Stats().Blocks);
                file.Write(at, bytes.AsSpan(at, Math.Min(step, bytes.Length - at)));
                if (name == "tombstones") break; // without it nothing is deleted: it is whole already
                if (name == "meta.json" && at + step >= bytes.Length) break;
                _engine.BlocksByStep();
            }
        }

        Assert.Equal((0, 0), (_engine.Engine.Stats().BlocksQuarantined, _engine.Engine.Stats().Damages.Length));
        _disk.Unlink($"{Promtool}/tombstones");
        _disk.WriteNew($"{Promtool}/tombstones", source.ReadAll($"{from}/tombstones"));
        _engine.BlocksByStep();
        AssertServesPromtool(_engine);
    }

    [Fact]
    public void T54_a_block_whose_deletions_are_not_copied_yet_is_not_served_without_them()
    {
        string aside = Put(1, "/disk/aside");
        uint id;
        using (BlockReader block = BlockReader.Open(_disk, aside, mmap: false)) id = block.Index.AllSeries(CancellationToken.None)[0];
        _disk.Unlink($"{aside}/tombstones");
        TombstonesFormat.Write(_disk, $"{aside}/tombstones", Tombstones.Of([new Tombstone(id, new TimeRange(At(-2) + 1, At(-2) + 1))]));
        BlockMeta meta = BlockMeta.Read(_disk, $"{aside}/meta.json");
        (meta with { Stats = meta.Stats with { Tombstones = 1 } }).WriteTo(_disk, $"{aside}/meta.json");
        string name = TestBlocks.Name(1).ToString();
        TestBlocks.Copy(_disk, aside, _disk, $"{TestBlocks.Directory}/{name}");
        byte[] tombstones = _disk.ReadAll($"{TestBlocks.Directory}/{name}/tombstones");
        _disk.Unlink($"{TestBlocks.Directory}/{name}/tombstones");
        _engine.BlocksByStep();
        Assert.Empty(_engine.Engine.Stats().Blocks);
        _disk.WriteNew($"{TestBlocks.Directory}/{name}/tombstones", tombstones, sync: true);
        _engine.BlocksByStep();
        Assert.Equal([1, 1], Values());
    }

    [Fact]
    public void A_block_of_Prometheus_with_histograms_is_adopted_and_served_whole_and_cut()
    {
        string directory = Repository.TestData("blocks/prometheus-3.5");
        string ulid = BlockDirectory.List(new LocalFileSystem(), directory)[0].ToString();
        TestBlocks.Copy(new LocalFileSystem(), $"{directory}/{ulid}", _disk, $"{TestBlocks.Directory}/{ulid}");
        _engine.BlocksByStep();
        StoredBlockStats block = Assert.Single(_engine.Engine.Stats().Blocks);
        Assert.Equal((ulid, true, 0), (block.Ulid, block.Adopted, _engine.Engine.Stats().Damages.Length));
        Dictionary<string, List<LaneSample>> expected = Lanes(BlockReader.Open(_disk, $"{TestBlocks.Directory}/{ulid}", mmap: false));
        Assert.True(expected.Values.Sum(static samples => samples.Count(static sample => sample.Histogram is not null)) > 100);
        long minMs = expected.Values.Min(static samples => samples[0].TimeMs);
        long maxMs = expected.Values.Max(static samples => samples[^1].TimeMs);
        foreach (TimeRange range in (TimeRange[])[TimeRange.All, new(minMs + 1, maxMs - 1), new((minMs + maxMs) / 2, maxMs), new(minMs, (minMs + maxMs) / 2)])
        {
            Dictionary<string, List<LaneSample>> read = _engine.ReadLanes(range, Matcher.Create(MatcherType.Regex, "__name__", ".+"));
            foreach ((string labels, List<LaneSample> samples) in expected)
                HistogramModel.AssertSame([.. samples.Where(sample => range.Contains(sample.TimeMs))], read.GetValueOrDefault(labels, []));
        }
    }

    [Fact]
    public void Times_that_the_store_takes_from_senders_it_takes_in_a_block()
    {
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(1_000_000_000, 1), Sample.Of(2_000_000_000, 1)])]);
        _engine.BlocksByStep();
        Assert.Equal([1, 1], Values());
    }

    [Fact]
    public void A_block_of_ours_that_comes_back_from_a_snapshot_is_adopted_and_stays()
    {
        Write(At(-5), 1);
        _engine.CompactByStep();
        string ulid = Assert.Single(_engine.Engine.Stats().Blocks).Ulid;
        TestBlocks.Copy(_disk, $"{TestBlocks.Directory}/{ulid}", _disk, "/disk/snapshot");
        Reopen(new RetentionOptions { Time = Duration.Hours(1) });
        Write(CurrentMs, 2);
        _time.Advance(TimeSpan.FromMinutes(2));
        for (int i = 0; i < 3; i++) _engine.CompactByStep();
        Assert.Empty(_disk.List(TestBlocks.Directory));

        TestBlocks.Copy(_disk, "/disk/snapshot", _disk, $"{TestBlocks.Directory}/{ulid}");
        Reopen(new RetentionOptions());
        Assert.Equal([ulid], _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        _engine.BlocksByStep();
        Assert.Equal([1, 2], Values());
        Reopen(new RetentionOptions());
        Assert.Equal([1, 2], Values());
        Assert.True(Assert.Single(_engine.Engine.Stats().Blocks).Adopted);
    }

    [Theory]
    [InlineData(0, true, false)]
    [InlineData(-1, true, true)]
    [InlineData(1, true, true)]
    [InlineData(0, false, true)]
    public async Task Only_a_mark_of_this_directory_and_of_the_manifest_that_stands_says_that_a_block_is_the_rest_of_a_crash(int generationsOff, bool ofThisDirectory, bool stays)
    {
        Write(At(-5), 1);
        _engine.CompactByStep();
        BlockMark own = BlockMeta.Read(_disk, $"{TestBlocks.Directory}/{_engine.Engine.Stats().Blocks[0].Ulid}/meta.json").Mark!;
        await _engine.StopWithoutFlushAsync();
        long generation = Open().Engine.Stats().ManifestGeneration; // what an open leaves
        CrashFileSystem image = _disk.CrashClone(CrashPolicy.All, seed: 1);
        generation = Math.Max(generation, own.Generation + 1);
        var mark = new BlockMark { Directory = ofThisDirectory ? own.Directory : Guid.NewGuid(), Generation = generation + generationsOff, Rank = 9 };
        TestBlocks.Put(image, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-3), 3)])], mark);
        EngineHarness again = EngineHarness.OpenStepwise(image, EngineHarness.SmallOptions, _time);
        Assert.Equal(stays, BlockDirectory.List(image, TestBlocks.Directory).Contains(TestBlocks.Name(1)));
        again.BlocksByStep();
        Assert.Equal(stays ? 2 : 1, again.Engine.Stats().Blocks.Length);
        Assert.Empty(again.Engine.Stats().Damages);
    }

    [Fact]
    public async Task Symbolic_links_in_the_directory_of_blocks_are_not_followed()
    {
        using var temporary = new TempDirectory();
        var files = new LocalFileSystem();
        StorageOptions options = EngineHarness.SmallOptions with { DataDir = temporary["data"] };
        string outside = temporary["outside"];
        TestBlocks.Copy(files, $"{PromtoolDirectory}/{PromtoolUlid}", files, outside);
        await using EngineHarness engine = EngineHarness.OpenStepwise(files, options, _time);
        string blocks = temporary["data/blocks"];
        Directory.CreateSymbolicLink($"{blocks}/{PromtoolUlid}", outside); // the block itself
        Directory.CreateSymbolicLink($"{blocks}/{TestBlocks.Name(1)}.tmp-for-deletion", outside); // what an open would sweep
        string second = $"{blocks}/{TestBlocks.Name(2)}";
        Directory.CreateDirectory(second);
        foreach (string name in (string[])["index", "meta.json", "tombstones"]) File.CreateSymbolicLink($"{second}/{name}", $"{outside}/{name}");
        Directory.CreateSymbolicLink($"{second}/chunks", $"{outside}/chunks");
        string[] before = Directory.GetFiles(outside, "*", SearchOption.AllDirectories);

        for (int i = 0; i < 3; i++) engine.BlocksByStep();
        Assert.Empty(engine.Engine.Stats().Blocks);
        Assert.Empty(engine.ReadAll());
        Assert.Contains($"{PromtoolUlid} in blocks/ is not served", Assert.Single(engine.Engine.Stats().Damages, static damage => damage.Contains("links are not followed", StringComparison.Ordinal)), StringComparison.Ordinal);
        await engine.DisposeAsync();
        await using EngineHarness again = EngineHarness.OpenStepwise(files, options, _time);
        again.BlocksByStep();
        Assert.Equal(before, Directory.GetFiles(outside, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_block_whose_parts_are_symbolic_links_is_not_served()
    {
        using var temporary = new TempDirectory();
        var files = new LocalFileSystem();
        StorageOptions options = EngineHarness.SmallOptions with { DataDir = temporary["data"] };
        string outside = temporary["outside"];
        TestBlocks.Copy(files, $"{PromtoolDirectory}/{PromtoolUlid}", files, outside);
        await using EngineHarness engine = EngineHarness.OpenStepwise(files, options, _time);
        string block = $"{temporary["data/blocks"]}/{PromtoolUlid}";
        foreach (string part in (string[])["index", "meta.json", "tombstones", "chunks", "chunks/000001"])
        {
            TestBlocks.Copy(files, outside, files, block);
            if (part == "chunks") Directory.Delete($"{block}/chunks", recursive: true);
            else File.Delete($"{block}/{part}");
            File.CreateSymbolicLink($"{block}/{part}", $"{outside}/{part}");
            for (int i = 0; i < 3; i++) engine.BlocksByStep();
            Assert.True(engine.Engine.Stats().Blocks.IsEmpty, $"a block whose {part} lies elsewhere is served");
            Assert.Contains(PromtoolUlid, engine.Engine.Stats().Damages[^1], StringComparison.Ordinal);
            Assert.Equal(4, Directory.GetFiles(outside, "*", SearchOption.AllDirectories).Length);
            if (Directory.Exists(block)) Directory.Delete(block, recursive: true);
        }

        Assert.Equal((EnginePhase.Ready, 5), (engine.Engine.Phase, engine.Engine.Stats().Damages.Length));
    }

    private static long At(int window) => CurrentMs + window * WindowMs;

    private void PutPromtool() => TestBlocks.Copy(new LocalFileSystem(), $"{PromtoolDirectory}/{PromtoolUlid}", _disk, Promtool);

    private string Put(int number, string directory)
    {
        _disk.MakeDir(directory);
        return BlockDirectory.PathOf(directory, TestBlocks.Put(_disk, directory, TestBlocks.Name(number), [(Name, [.. Enumerable.Range(0, 3).Select(static i => Sample.Of(At(-2) + i, 1))])]));
    }

    private string Damage(string damage)
    {
        string target = Promtool;
        switch (damage)
        {
            case "no meta":
                _disk.Unlink($"{Promtool}/meta.json");
                break;
            case "no index":
                _disk.Unlink($"{Promtool}/index");
                break;
            case "no chunks":
                _disk.Unlink($"{Promtool}/chunks/000001");
                break;
            case "short meta":
                Change("meta.json", static bytes => bytes[..^20]);
                break;
            case "short index":
                Change("index", static bytes => bytes[..(bytes.Length / 2)]);
                break;
            case "short chunks":
                Change("chunks/000001", static bytes => bytes[..^1]);
                break;
            case "wrong name":
                target = $"{TestBlocks.Directory}/{TestBlocks.Name(1)}";
                _disk.Rename(Promtool, target);
                break;
            case "hostile table of contents":
                Change("index", static bytes => Toc(bytes, entry: 1, offset: 1L << 62));
                break;
            case "hostile postings":
                Change("index", static bytes => Toc(bytes, entry: 5, offset: bytes.Length - 8));
                break;
            case "flipped chunk":
                Change("chunks/000001", static bytes => [.. bytes[..40], (byte)(bytes[40] ^ 1), .. bytes[41..]]);
                break;
            case "flipped index":
                Change("index", static bytes => [.. bytes[..(bytes.Length / 3)], (byte)(bytes[bytes.Length / 3] ^ 1), .. bytes[(bytes.Length / 3 + 1)..]]);
                break;
            default:
                Change("index", static bytes => [.. Enumerable.Repeat((byte)0xFF, bytes.Length)]);
                break;
        }

        return target;
    }

    /// <summary>An index whose table of contents says something else under a right checksum.</summary>
    private static byte[] Toc(byte[] index, int entry, long offset)
    {
        Span<byte> toc = index.AsSpan(index.Length - 52);
        BinaryPrimitives.WriteInt64BigEndian(toc[(8 * entry)..], offset);
        BinaryPrimitives.WriteUInt32BigEndian(toc[48..], Crc32C.Of(toc[..48]));
        return index;
    }

    private void Change(string name, Func<byte[], byte[]> change)
    {
        byte[] bytes = change(_disk.ReadAll($"{Promtool}/{name}"));
        _disk.Unlink($"{Promtool}/{name}");
        _disk.WriteNew($"{Promtool}/{name}", bytes, sync: true);
    }

    private static Dictionary<string, List<LaneSample>> Lanes(BlockReader block)
    {
        Dictionary<string, List<LaneSample>> all = [];
        using var arena = new NativeArena();
        using (block)
        {
            using BlockSeriesCursor cursor = block.SelectAll(TimeRange.All, CancellationToken.None);
            while (cursor.MoveNext())
            {
                List<SeriesChunk> chunks = [];
                cursor.AddChunks(TimeRange.All, 0, arena, chunks);
                all[Labels.Print(cursor.Labels)] = [.. chunks.SelectMany(LaneSample.Decode)];
            }
        }

        return all;
    }

    private int CountFiles(string path) => _disk.List(path).Sum(entry => entry.IsDirectory ? CountFiles($"{path}/{entry.Name}") : 1);

    private EngineHarness Open(RetentionOptions? retention = null) =>
        EngineHarness.OpenStepwise(_disk, EngineHarness.SmallOptions with { Retention = retention ?? new RetentionOptions(), Integration = new IntegrationOptions { BlockCompaction = false } }, _time);

    private void Reopen(RetentionOptions retention)
    {
        _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _engine = Open(retention);
    }

    private void Write(long time, double value) => Assert.Equal(WriteStatus.Written, _engine.WriteAsync((Name, [Sample.Of(time, value)])).GetAwaiter().GetResult().Status);

    private IEnumerable<double> Values() => _engine.ReadAll()[Labels.Print(Name)].Select(static sample => sample.Value);

    private static void AssertServesPromtool(EngineHarness engine)
    {
        Dictionary<string, List<Sample>> read = engine.Read(TimeRange.All, Matcher.Create(MatcherType.NotEqual, "no_such_label", "x"));
        Assert.Equal((164, 708), (read.Count, read.Values.Sum(static samples => samples.Count)));
        List<Sample> counter = read[Labels.Print(Labels.Encode(("__name__", "http_requests_total"), ("code", "200"), ("instance", "host-00:9090")))];
        Assert.Equal(counter.Select(static (_, i) => Sample.Of(1_700_006_400_000 + i * 15_000, i)), counter);
    }
}
