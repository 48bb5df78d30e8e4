using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A snapshot is a data directory: what is opened on it answers as the original did, whatever became of the original since.</summary>
public sealed class SnapshotTests() : OneSeriesTests(TimeSpan.FromMinutes(40))
{
    private const string Snapshots = "/disk/data/snapshots";
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_server_that_is_started_on_it_answers_as_the_original_did(bool skipHead)
    {
        EngineHarness engine = Open(Options);
        byte[] other = Labels.Encode(("__name__", "other"));
        Write(engine, Sample.Of(At(-3), 1), Sample.Of(At(-3) + 1, 2));
        engine.CompactByStep();
        await engine.WriteAsync((Name, [Sample.Of(At(0), 3)]), (other, [Sample.Of(At(0), 4), Sample.Of(At(0) + 1, 4)]));
        engine.FlushByStep();
        engine.DeleteByStep("m", new TimeRange(At(-3), At(-3)));
        engine.DeleteByStep("other", new TimeRange(At(0), At(0)));
        engine.FlushByStep();
        Dictionary<string, List<Sample>> inFiles = engine.ReadAll();
        Write(engine, At(0) + 5, 5); // only in memory
        Dictionary<string, List<Sample>> all = engine.ReadAll();
        string name = await SnapshotAsync(engine, skipHead);
        Assert.Matches("^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}$", name);
        Assert.Equal([name], Disk.List(Snapshots).Select(static entry => entry.Name));

        // The original goes on: new series, a collection, all files written anew or gone.
        await engine.WriteAsync((Labels.Encode(("__name__", "new")), [Sample.Of(At(0), 1)]));
        engine.CompactByStep();
        engine.DeleteByStep("""{__name__=~".+"}""");
        engine.CleanByStep();
        Assert.Empty(engine.ReadAll());

        StorageOptions onIt = Options with { DataDir = $"{Snapshots}/{name}" };
        EngineHarness opened = EngineHarness.OpenStepwise(Disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), onIt, Time);
        AssertSame(skipHead ? inFiles : all, opened.ReadAll());
        Assert.Empty(opened.Engine.Stats().Damages);
        Assert.Equal(2, opened.Engine.Stats().Tombstones);
        opened.CleanByStep();
        Assert.Equal(0, opened.Engine.Stats().Tombstones);
        AssertSame(skipHead ? inFiles : all, opened.ReadAll());
        await opened.WriteAsync((Labels.Encode(("__name__", "another")), [Sample.Of(At(0), 9)]));
        opened.CompactByStep();
        Assert.Single(opened.ReadAll()["{__name__=\"another\"}"]);
    }

    [Fact]
    public async Task What_is_written_to_it_leaves_the_original_as_it_is()
    {
        EngineHarness engine = Open(Options);
        Write(engine, At(0), 1);
        string name = await SnapshotAsync(engine, skipHead: false);
        await using (EngineHarness opened = EngineHarness.OpenStepwise(Disk, Options with { DataDir = $"{Snapshots}/{name}" }, Time))
        {
            await opened.WriteAsync((Labels.Encode(("__name__", "only in the snapshot")), [Sample.Of(At(0), 9)]));
            opened.FlushByStep();
            opened.DeleteByStep("m");
            opened.CleanByStep();
        }

        Write(engine, At(0) + 1, 2);
        engine.FlushByStep();
        engine = Open(Options);
        Assert.Equal([Sample.Of(At(0), 1), Sample.Of(At(0) + 1, 2)], Assert.Single(engine.ReadAll()).Value);
        Assert.Empty(engine.Engine.Stats().Damages);
    }

    /// <summary>T13.</summary>
    [Theory]
    [MemberData(nameof(CrashHistory.Policies), MemberType = typeof(CrashHistory))]
    public async Task T13_a_power_cut_before_any_operation_leaves_all_of_it_or_nothing(CrashKind kind)
    {
        EngineHarness engine = Open(Options);
        Write(engine, At(-3), 1);
        engine.CompactByStep();
        Write(engine, At(0), 2);
        engine.FlushByStep();
        Dictionary<string, List<Sample>> expected = engine.ReadAll();
        List<CrashFileSystem> images = [];
        Disk.BeforeOperation = (_, _) => images.Add(Disk.CrashClone(new CrashPolicy(kind), seed: 1));
        await SnapshotAsync(engine, skipHead: true);
        Disk.BeforeOperation = null;
        images.Add(Disk.CrashClone(new CrashPolicy(kind), seed: 1));
        Assert.True(images.Count > 20);
        int whole = 0;
        foreach (CrashFileSystem image in images)
        {
            AssertSame(expected, EngineHarness.OpenStepwise(image, Options, Time).ReadAll());
            if (image.List(Snapshots) is not [{ } entry]) continue;
            Assert.DoesNotContain(".tmp", entry.Name, StringComparison.Ordinal);
            AssertSame(expected, EngineHarness.OpenStepwise(image, Options with { DataDir = $"{Snapshots}/{entry.Name}" }, Time).ReadAll());
            whole++;
        }

        Assert.True(whole > 0, "once it was answered it is there");
        Assert.Single(images[^1].List(Snapshots));
    }

    [Fact]
    public async Task What_the_disk_refuses_leaves_nothing_behind()
    {
        EngineHarness engine = Open(Options);
        Write(engine, At(0), 2);
        engine.FlushByStep();
        Disk.BeforeOperation = static (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.Link) throw new DiskException("link", operation.Path, DiskException.NoSpace, "No space left on device");
        };
        await Assert.ThrowsAsync<DiskException>(() => SnapshotAsync(engine, skipHead: true));
        Disk.BeforeOperation = null;
        Assert.Empty(Disk.List(Snapshots));
        await SnapshotAsync(engine, skipHead: true);
        Assert.Single(Disk.List(Snapshots));
    }

    private static async Task<string> SnapshotAsync(EngineHarness engine, bool skipHead)
    {
        if (!skipHead) engine.FlushByStep(); // what the call would wait for a thread to do
        return await engine.Engine.SnapshotAsync(skipHead: true, CancellationToken.None);
    }

    private static void AssertSame(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual)
    {
        Assert.Equal(expected.Keys, actual.Keys);
        foreach ((string labels, List<Sample> samples) in expected) Assert.Equal(samples, actual[labels]);
    }
}
