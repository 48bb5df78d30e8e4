using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A power cut before any file operation of a collection, or an error of any: the old dictionary stands or the new one, whole; nothing acknowledged is
/// lost; and the store comes to rest with one dictionary file.
/// </summary>
public sealed class DictionaryCrashTests
{
    private const long WindowMs = 7_200_000;
    private const string SeriesDirectory = "/disk/data/series";
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    private static readonly FileOperationKind[] Changes =
    [
        FileOperationKind.CreateNew, FileOperationKind.Write, FileOperationKind.WriteGather, FileOperationKind.Link, FileOperationKind.Rename,
        FileOperationKind.SyncData, FileOperationKind.SyncAll, FileOperationKind.SyncDir, FileOperationKind.Unlink, FileOperationKind.Preallocate,
    ];

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly Dictionary<(string Series, long TimeMs), ulong> _expected = [];
    private readonly List<string> _problems = [];

    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    [Theory]
    [MemberData(nameof(Policies))]
    public void A_power_cut_before_any_operation_leaves_the_old_dictionary_or_the_new_one(CrashKind kind)
    {
        int crashes = CrashEverywhere(static files => files, new CrashPolicy(kind));
        Assert.Equal([], _problems);
        Assert.True(crashes > 40, $"only {crashes} operations were cut off");
    }

    /// <summary>Each sync that the order of operations asks for is needed.</summary>
    [Theory]
    [InlineData("the new file", SyncKind.All, "/series/", ".dict")]
    [InlineData("its directory", SyncKind.Directory, SeriesDirectory, "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix)
    {
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.RandomPages(0.5), CrashPolicy.DataOnly, CrashPolicy.EntryOnly, CrashPolicy.Reordered])
        {
            var test = new DictionaryCrashTests();
            ForgetfulFileSystem? forgetful = null;
            test.CrashEverywhere(files => forgetful = new ForgetfulFileSystem(files, kind, pathPart, suffix), policy);
            Assert.True(forgetful!.Forgotten > 0, $"{what}: no such sync was ever asked for");
            if (test._problems.Count > 0) return;
        }

        Assert.Fail($"{what}: nobody noticed that this sync was left out");
    }

    [Fact]
    public void T19_whichever_change_fails_nothing_is_lost_and_it_comes_to_rest_or_stops() => Sweep(DiskException.InputOutput, atLeast: 20, Changes);

    [Fact]
    public void T19_whichever_read_fails_nothing_is_lost() => Sweep(
        DiskException.InputOutput, atLeast: 10, FileOperationKind.OpenRead, FileOperationKind.Read, FileOperationKind.List, FileOperationKind.FileSize);

    [Fact]
    public void T20_whichever_change_finds_the_disk_full_nothing_is_lost_and_it_comes_to_rest_or_stops() => Sweep(DiskException.NoSpace, atLeast: 20, Changes);

    /// <summary>The log stops between the new file's commit and the switch: what is rescued from memory then needs its labels in the new file.</summary>
    [Fact]
    public void A_log_that_stops_just_before_the_switch_leaves_no_table_without_labels()
    {
        var files = new FaultInjector(_disk);
        EngineHarness engine = Begin(files);
        Assert.True(engine.Engine.StepDictionary());
        bool isArmed = true;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (!isArmed || operation.Kind != FileOperationKind.Rename || !$"{operation}".EndsWith("/MANIFEST", StringComparison.Ordinal)) return;
            isArmed = false;
            files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData, FileOperationKind.SyncAll) { Path = "wal/*.log" });
            Write(engine, 0, 10, 2); // comes back, and is in memory although the log fails
        };
        engine.Engine.Step(flush: false);
        Assert.False(isArmed);
        Assert.Equal(2, engine.Engine.Stats().DictionaryEpoch);
        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        for (int i = 0; i < 4; i++) engine.Engine.Step();
        Dictionary<string, List<Sample>> live = engine.ReadAll();
        Assert.Contains(Labels.Print(DictionaryLifeTests.LabelsOf(10)), live.Keys);
        CheckReads(engine, "live");

        _disk.BeforeOperation = null;
        EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Options, _time, collectFrom: 2);
        Assert.Empty(again.Engine.Stats().Damages);
        CheckReads(again, "opened again");
        Dictionary<string, List<Sample>> read = again.ReadAll();
        Assert.Equal(live.Sum(static series => series.Value.Count), read.Sum(static series => series.Value.Count));
        Assert.Equal([], _problems);
    }

    /// <summary>A successor waits for the thread that flushes, which stops for good; who asked before it did, and who asks while it waits, are told.</summary>
    [Fact]
    public void Who_asks_while_a_successor_waits_is_answered_when_the_storage_fails()
    {
        var files = new FaultInjector(_disk);
        EngineHarness engine = Begin(files);
        Assert.True(engine.Engine.StepDictionary());
        Task asked = engine.Engine.CollectAsync(CancellationToken.None);
        files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.SyncData, FileOperationKind.SyncAll) { Path = "wal/*.log" });
        Write(engine, 0, 10, 2);
        engine.Engine.Step(flush: false);
        for (int i = 0; i < 4; i++)
        {
            engine.Engine.Step();
            engine.Engine.StepDictionary();
        }

        Assert.Equal(EnginePhase.Failed, engine.Engine.Phase);
        Assert.True(asked.IsCompleted);
    }

    private static void Sweep(int errno, int atLeast, params FileOperationKind[] kinds)
    {
        List<string> problems = [];
        int n = 1;
        while (new DictionaryCrashTests().RunWithFailure(new FaultRule(new Fault.Error(errno), kinds) { OnCall = n }, problems)) n++;
        Assert.True(problems.Count == 0, string.Join("\n", problems));
        Assert.True(n > atLeast, $"only {n} operations");
    }

    /// <summary>One history with two collections, cut off before each operation of them and of the flushes that follow.</summary>
    private int CrashEverywhere(Func<CrashFileSystem, IFileSystem> wrap, CrashPolicy policy)
    {
        int crashes = 0;
        bool isArmed = false;
        int seeds = policy.Kind is CrashKind.RandomPages or CrashKind.Prefix or CrashKind.TornSector or CrashKind.Reordered or CrashKind.PerFile ? 2 : 1;
        _disk.BeforeOperation = (number, operation) =>
        {
            if (!isArmed) return;
            crashes++;
            for (int seed = 0; seed < seeds; seed++) CheckImage(_disk.CrashClone(policy, seed), $"before operation {number} ({operation}), seed {seed}");
        };
        EngineHarness engine = Begin(wrap(_disk));
        isArmed = true;
        Collect(engine, expectSuccess: true);
        isArmed = false;
        engine.FlushByStep();
        _time.Advance(TimeSpan.FromHours(4));
        Write(engine, 2, 200, 1);
        engine.FlushByStep();
        engine.BlocksByStep();
        isArmed = true;
        Collect(engine, expectSuccess: true);
        isArmed = false;
        CheckImage(_disk.CrashClone(policy, seed: 0), "at the end");
        return crashes;
    }

    private bool RunWithFailure(FaultRule rule, List<string> problems)
    {
        var files = new FaultInjector(_disk);
        EngineHarness engine = Begin(files);
        files.Add(rule);
        Collect(engine, expectSuccess: false);
        string when = files.Injected.Count == 0 ? "no failure" : files.Injected[0];
        files.Remove(rule);
        CheckReads(engine, $"{when}, live");
        EngineStats stats = engine.Engine.Stats();
        if (stats.Failure is null)
        {
            for (int i = 0; i < 3; i++)
            {
                _time.Advance(TimeSpan.FromMinutes(6));
                engine.FlushByStep();
                engine.CollectByStep();
            }

            stats = engine.Engine.Stats();
            if (stats.DictionaryCollections != 1) _problems.Add($"{when}: {stats.DictionaryCollections} collections, {stats.Failure}");
            CheckReads(engine, $"{when}, healed");
        }

        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.All, CrashPolicy.OnlySynced]) CheckImage(_disk.CrashClone(policy, seed: 1), $"{when}, {policy}");
        problems.AddRange(_problems);
        return files.Injected.Count > 0;
    }

    /// <summary>A history whose dictionary is due: most series have gone to a block.</summary>
    private EngineHarness Begin(IFileSystem files)
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
        EngineHarness engine = EngineHarness.OpenStepwise(files, Options, _time, collectFrom: 2);
        Write(engine, -3, 0, 30);
        Write(engine, 0, 30, 3);
        engine.FlushByStep();
        engine.BlocksByStep();
        return engine;
    }

    private void Collect(EngineHarness engine, bool expectSuccess)
    {
        bool isPrepared = engine.Engine.StepDictionary();
        Write(engine, 0, 10, 2); // series that come back
        Write(engine, 0, 100, 2); // and new ones
        engine.Engine.Step(flush: false);
        Write(engine, 0, 20, 2);
        engine.Engine.Step();
        engine.Engine.Step();
        if (!expectSuccess) return;
        Assert.True(isPrepared);
        Assert.Null(engine.Engine.Stats().Failure);
    }

    private void Write(EngineHarness engine, int window, int first, int count)
    {
        long time = CurrentMs + window * WindowMs + first * 1000;
        (byte[], Sample[])[] request = [.. Enumerable.Range(first, count).Select(number => (DictionaryLifeTests.LabelsOf(number), new[] { Sample.Of(time, number) }))];
        if (engine.WriteAsync(request).GetAwaiter().GetResult().Status != WriteStatus.Written) return;
        foreach ((byte[] labels, Sample[] samples) in request) _expected[(Labels.Print(labels), time)] = samples[0].ValueBits;
    }

    private void CheckImage(CrashFileSystem image, string when)
    {
        try
        {
            EngineHarness engine = EngineHarness.OpenStepwise(image, Options, _time, collectFrom: 2);
            CheckReads(engine, $"{when}, opened");
            engine.CompactByStep();
            engine.CompactByStep();
            CheckReads(engine, $"{when}, at rest");
            foreach (string damage in engine.Engine.Stats().Damages) _problems.Add($"{when}: damage reported, {damage}");
            if (image.List(SeriesDirectory).Count != 1) _problems.Add($"{when}: {string.Join(' ', image.List(SeriesDirectory).Select(static entry => entry.Name))} are there");
            if (engine.Engine.Stats().Series > 20) _problems.Add($"{when}: {engine.Engine.Stats().Series} series are left");
            engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
            CheckReads(EngineHarness.OpenStepwise(image, Options, _time, collectFrom: 2), $"{when}, opened again");
        }
        catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException or InvalidOperationException)
        {
            _problems.Add($"{when}: {refused.Message}");
        }
    }

    private void CheckReads(EngineHarness engine, string when)
    {
        var found = new Dictionary<(string, long), ulong>();
        foreach ((string labels, List<Sample> samples) in engine.ReadAll())
        {
            foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), sample.ValueBits);
        }

        foreach (((string, long) key, ulong bits) in _expected)
        {
            if (!found.TryGetValue(key, out ulong actual) || actual != bits) _problems.Add($"{when}: {key} is lost");
        }
    }
}
