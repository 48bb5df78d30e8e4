using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What an open makes of tables above level 0: those that MANIFEST names, and the rests of merges.</summary>
public sealed class LevelRecoveryTests
{
    private const string Root = "/disk/data";
    private const string Windows = "/disk/data/tables/0";
    private const long Window = TableModel.WindowMs;
    private static readonly DataLayout Paths = new(Root);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions;
    private static readonly TimeProvider Time = new FixedTime(3 * Window);

    private static readonly Dictionary<string, List<Sample>> Expected = new()
    {
        [Labels.Print(NameOf("a"))] = [Sample.Of(1, 1), Sample.Of(2, 3), Sample.Of(3, 3), Sample.Of(Window, 1)],
        [Labels.Print(NameOf("b"))] = [Sample.Of(5, 5)],
    };

    private readonly CrashFileSystem _disk;

    /// <summary>Two flushes: tables 1 and 2.</summary>
    public LevelRecoveryTests()
    {
        var live = new CrashFileSystem("/disk");
        EngineHarness engine = Open(live);
        Write(engine, ("a", 1, 1), ("a", 2, 2), ("a", Window, 1));
        engine.FlushByStep();
        Write(engine, ("a", 2, 3), ("a", 3, 3), ("b", 5, 5));
        engine.FlushByStep();
        _disk = live.CrashClone(CrashPolicy.OnlySynced, seed: 1);
    }

    [Fact]
    public void Tables_of_windows_are_opened_read_and_converted_and_their_directory_goes_with_the_next_open()
    {
        Merge(commit: true);
        Assert.Equal([Paths.Table(1), $"{Windows}/3.sst"], TableFiles());
        EngineHarness engine = Open(_disk);
        Assert.Equal(Expected, engine.ReadAll());
        engine.CompactByStep();
        Assert.Equal(Expected, engine.ReadAll());
        Assert.Empty(TableFiles());
        Assert.Empty(engine.Engine.Stats().Damages);
        CrashFileSystem killed = _disk.CrashClone(CrashPolicy.All, seed: 1);
        Assert.Equal(Expected, Open(killed).ReadAll());
        Assert.Empty(killed.List(Paths.Tables));
    }

    [Fact]
    public void A_merge_that_was_not_committed_is_swept_whole()
    {
        Merge(commit: false);
        Assert.Equal([Paths.Table(1), Paths.Table(2), $"{Windows}/3.sst"], TableFiles());
        _disk.WriteNew($"{Windows}/4.sst.tmp", [1, 2, 3]);
        _disk.WriteNew($"{Paths.Tables}/5.sst.tmp", [1, 2, 3]);
        AssertSwept();
    }

    [Fact]
    public void Inputs_of_a_committed_merge_that_are_still_there_are_swept()
    {
        byte[] input = _disk.ReadAll(Paths.Table(2));
        Merge(commit: true);
        _disk.WriteNew(Paths.Table(2), input);
        EngineHarness engine = Open(_disk);
        Assert.Equal([Paths.Table(1), $"{Windows}/3.sst"], TableFiles());
        Assert.Equal(Expected, engine.ReadAll());
    }

    [Fact]
    public void A_merged_table_that_nobody_names_and_whose_inputs_are_gone_is_kept()
    {
        Merge(commit: true);
        ManifestState manifest = Load();
        Manifest.Commit(_disk, Root, manifest with { Generation = manifest.Generation + 1, NextTableId = 2, Tables = manifest.Tables.RemoveAll(static table => table.Id > 1) });
        byte[] merged = _disk.ReadAll($"{Windows}/3.sst");
        EngineHarness engine = Open(_disk);
        Assert.Equal(
            $"{Windows}/3.sst is not named by MANIFEST, and what it was made from is gone; kept as {Paths.Quarantine}/table-3.sst",
            Assert.Single(engine.Engine.Stats().Damages));
        Assert.Equal(merged, _disk.ReadAll($"{Paths.Quarantine}/table-3.sst"));
        Assert.Equal([Paths.Table(1)], TableFiles());
    }

    [Fact]
    public void A_merged_table_whose_samples_another_run_holds_is_swept_although_its_inputs_are_gone()
    {
        // Two attempts at the same merge: the one under a number that the manifest does not know was not committed.
        Merge(commit: false, firstId: 7);
        Merge(commit: true);
        Assert.Equal([Paths.Table(1), $"{Windows}/3.sst", $"{Windows}/7.sst"], TableFiles());
        EngineHarness engine = Open(_disk);
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Equal([Paths.Table(1), $"{Windows}/3.sst"], TableFiles());
        Assert.Equal(Expected, engine.ReadAll());
    }

    [Fact]
    public void A_directory_of_another_name_is_left_alone()
    {
        _disk.MakeDir($"{Paths.Tables}/007");
        _disk.MakeDir($"{Paths.Tables}/mine");
        _disk.MakeDir($"{Paths.Tables}/-7200000");
        Open(_disk);
        Assert.Equal(["007", "mine"], _disk.List(Paths.Tables).Where(static entry => entry.IsDirectory).Select(static entry => entry.Name));
    }

    private static EngineHarness Open(IFileSystem files) => EngineHarness.OpenStepwise(files, Options, Time);

    private static byte[] NameOf(string name) => Labels.Encode(("__name__", name));

    private static void Write(EngineHarness engine, params (string Name, long TimeMs, double Value)[] samples)
    {
        foreach ((string name, long time, double value) in samples)
            Assert.Null(engine.WriteAsync((NameOf(name), [Sample.Of(time, value)])).GetAwaiter().GetResult().Message);
    }

    private ManifestState Load()
    {
        ManifestState? state = Manifest.TryLoad(_disk, Root, out string? previous);
        Assert.Null(previous);
        return state!;
    }

    /// <summary>Merges the window at 0 of all tables into level 1, as a process would that then dies.</summary>
    private void Merge(bool commit, long? firstId = null)
    {
        ManifestState manifest = Load();
        long next = firstId ?? manifest.NextTableId;
        LevelSet levels = LevelSet.Empty.With(manifest.Tables.Select(
            entry => new LevelTable(entry, SSTableReader.Open(_disk, Paths.Table(entry), entry.Id, entry.Size, mmap: false, cacheMetadata: true, entry.Crc))));
        ImmutableArray<LevelTable> inputs = [.. levels.Runs(0).SelectMany(static run => run.Tables)];
        var compactor = new TableCompactor(_disk, Paths, new CompactionOutput(manifest.DirectoryId, BloomBitsPerKey: 10, 64 << 20, 256 << 20));
        var job = new CompactionJob(new TimeRange(0, Window - 1), inputs, OutputLevel: 1, CompactionReason.TooManyRuns);
        CompactionResult result = compactor.Write(job, () => next++, static _ => { }, CancellationToken.None);
        if (!commit) return;
        HashSet<long> merged = [.. inputs.Select(static table => table.Entry.Id)];
        ImmutableArray<TableEntry> left = manifest.TablesWithout(0, merged);
        Manifest.Commit(_disk, Root, manifest with { Generation = manifest.Generation + 1, NextTableId = next, Tables = left.AddRange(result.Tables) });
        foreach (long gone in merged.Where(id => left.All(entry => entry.Id != id))) _disk.Unlink(Paths.Table(gone));
    }

    private void AssertSwept()
    {
        EngineHarness engine = Open(_disk);
        Assert.Equal(Expected, engine.ReadAll());
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Equal(["1.sst", "2.sst"], _disk.List(Paths.Tables).Select(static entry => entry.Name));
        Assert.Empty(_disk.List(Paths.Quarantine));
    }

    private IEnumerable<string> TableFiles() =>
        WindowDirectories.All(_disk, Paths).Select(static window => Paths.TableDirectory(1, window)).Prepend(Paths.Tables)
            .SelectMany(directory => _disk.List(directory).Where(static entry => !entry.IsDirectory).Select(entry => DataLayout.Join(directory, entry.Name)));

    private sealed class FixedTime(long nowMs) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(nowMs);
    }
}
