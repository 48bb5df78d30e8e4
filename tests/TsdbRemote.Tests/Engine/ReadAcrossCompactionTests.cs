using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>T58: reads that begin before tables are merged and deleted and end after it.</summary>
public sealed class ReadAcrossCompactionTests
{
    private const long WindowMs = 7_200_000;
    private const int SeriesCount = 600; // more than the first batch of a read
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly Matcher All = Matcher.Create(MatcherType.Equal, "__name__", "m");
    private static readonly byte[][] Series = [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i:D4}")))];
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with
    {
        Compaction = new CompactionOptions { CompactionThreshold = 0.1 },
        Integration = new IntegrationOptions { SstableToBlockConversion = false },
    };

    private readonly ManualTime _time = new();

    public ReadAcrossCompactionTests() => _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(30));

    [Fact]
    public void A_read_that_is_half_done_when_its_tables_are_merged_goes_on_in_them_and_they_are_unlinked_when_the_last_reader_lets_go()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, _time);
        WriteTwoTables(engine);
        string[] inputs = [.. TestTables.Files(disk)];
        List<Sample> expected = engine.ReadAll()[Labels.Print(Series[0])];
        Assert.Equal(15, expected.Count);
        ReadSnapshot held = engine.Engine.AcquireSnapshot();
        ReadSnapshot other = engine.Engine.AcquireSnapshot();
        using (SeriesMerge cursor = held.Select([All], TimeRange.All, CancellationToken.None))
        {
            for (int i = 0; i < SeriesCount; i++)
            {
                Assert.True(cursor.MoveNext());
                Assert.Equal(Labels.Print(Series[i]), Labels.Print(cursor.Labels));
                List<Sample> samples = [];
                foreach (SeriesChunk chunk in cursor.Chunks) ChunkMerge.Decode(chunk, samples);
                Assert.Equal(expected, samples);
                if (i == SeriesCount / 10) engine.TablesByStep();
            }

            Assert.False(cursor.MoveNext());
        }

        Assert.Equal([1], engine.Engine.Stats().Tables.Select(static table => table.Level));
        Assert.All(inputs, path => Assert.NotNull(disk.FileSize(path)));
        held.Dispose();
        Assert.All(inputs, path => Assert.NotNull(disk.FileSize(path))); // somebody else reads them still
        Assert.Equal(expected, EngineHarness.Read(other, TimeRange.All, All)[Labels.Print(Series[^1])]);
        other.Dispose();
        Assert.All(inputs, path => Assert.Null(disk.FileSize(path)));
        Assert.Equal(expected, engine.ReadAll()[Labels.Print(Series[^1])]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task T58_with_the_engines_threads_a_snapshot_reads_on_exactly_and_files_vanish_within_a_second_after_its_release(bool mmap)
    {
        using var directory = new TempDirectory();
        StorageOptions options = Options with { DataDir = directory["data"], Wal = new WalOptions(), Read = new ReadOptions { Mmap = mmap } };
        await using EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        await WriteAsync(engine, 0, 10);
        await engine.Engine.FlushAsync(CancellationToken.None);
        string first = Path.Combine(directory["data"], "tables", "1.sst");
        Assert.True(File.Exists(first));
        ReadSnapshot held = engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> before = EngineHarness.Read(held, TimeRange.All, All);
        await WriteAsync(engine, 10, 20);
        await engine.Engine.CompactAsync(CancellationToken.None);
        Assert.Equal([1], engine.Engine.Stats().Tables.Select(static table => table.Level));
        Assert.True(File.Exists(first));
        Dictionary<string, List<Sample>> again = EngineHarness.Read(held, new TimeRange(0, At(9)), All);
        foreach ((string labels, List<Sample> samples) in before) Assert.Equal(samples, again[labels]);
        held.Dispose();
        for (int i = 0; i < 100 && File.Exists(first); i++) await Task.Delay(10);
        Assert.False(File.Exists(first));
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(20, samples.Count));
    }

    [Fact]
    public void What_is_flushed_while_a_merge_is_under_way_stays_apart_and_newer()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, _time);
        WriteTwoTables(engine);
        Write(engine, 20, 21);
        bool flushed = false;
        disk.BeforeOperation = (_, operation) =>
        {
            if (flushed || operation.Kind != FileOperationKind.CreateNew || !operation.Path.EndsWith(".sst.tmp", StringComparison.Ordinal)) return;
            Assert.Equal(2, Assert.Single(engine.Engine.Stats().CompactionsRunning).Tables);
            flushed = true;
            engine.FlushByStep();
            Assert.Equal([0, 0, 0], engine.Engine.Stats().Tables.Select(static table => table.Level));
        };
        Assert.True(engine.Engine.StepCompaction());
        Assert.True(flushed);
        Assert.Equal([0, 1], engine.Engine.Stats().Tables.Select(static table => table.Level)); // what was flushed meanwhile stays the newer one
        Assert.Empty(engine.Engine.Stats().CompactionsRunning);
        Assert.All(engine.ReadAll().Values, static samples => Assert.Equal(16, samples.Count));
    }

    private static long At(int step) => CurrentMs + step * 15_000;

    private static void WriteTwoTables(EngineHarness engine)
    {
        Write(engine, 0, 10);
        engine.FlushByStep();
        Write(engine, 5, 15); // overlaps, in another table
        engine.FlushByStep();
    }

    private static void Write(EngineHarness engine, int from, int to) => WriteAsync(engine, from, to).GetAwaiter().GetResult();

    private static async Task WriteAsync(EngineHarness engine, int from, int to)
    {
        WriteReport report = await engine.WriteAsync(
            [.. Series.Select(labels => (labels, Enumerable.Range(from, to - from).Select(step => Sample.Of(At(step), step)).ToArray()))]);
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
    }
}
