using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A disk that can be told to fail, a clock that stands forty minutes into window 0, and what an engine on them has acknowledged.</summary>
/// <remarks>What is to fail is some kind of background work: how it is asked for and done is the test's to say.</remarks>
internal sealed class FailureHistory
{
    public const long WindowMs = 7_200_000;

    private readonly long _currentMs;

    /// <summary>Nothing is written yet.</summary>
    /// <param name="currentMs">Where window 0 begins, ms.</param>
    /// <param name="seriesCount">Series that each write has samples of.</param>
    public FailureHistory(long currentMs, int seriesCount)
    {
        _currentMs = currentMs;
        Files = new FaultInjector(Disk);
        Series = [.. Enumerable.Range(0, seriesCount).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];
        Time.Advance(TimeSpan.FromMilliseconds(currentMs) + TimeSpan.FromMinutes(40));
    }

    /// <summary>Operations that change the disk.</summary>
    public static FileOperationKind[] Changes =>
    [
        FileOperationKind.CreateNew, FileOperationKind.Write, FileOperationKind.WriteGather, FileOperationKind.MakeDir, FileOperationKind.Link, FileOperationKind.Rename,
        FileOperationKind.SyncAll, FileOperationKind.SyncDir, FileOperationKind.Unlink, FileOperationKind.RemoveDir,
    ];

    /// <summary>Operations that read it.</summary>
    public static FileOperationKind[] Reads => [FileOperationKind.OpenRead, FileOperationKind.Read, FileOperationKind.List, FileOperationKind.FileSize];

    /// <summary>Options of every engine.</summary>
    public required StorageOptions Options { get; init; }

    /// <summary>Asks for the work.</summary>
    public required Func<EngineHarness, Task> Ask { get; init; }

    /// <summary>One round of it; false if there was nothing to do.</summary>
    public required Func<EngineHarness, bool> Step { get; init; }

    /// <summary>All that is left to do in the end.</summary>
    public required Action<EngineHarness> ToRest { get; init; }

    public CrashFileSystem Disk { get; } = new("/disk");

    /// <summary>The disk, as the engine sees it.</summary>
    public FaultInjector Files { get; }

    public ManualTime Time { get; } = new();

    public byte[][] Series { get; }

    /// <summary>The newest version of each sample that was acknowledged.</summary>
    public Dictionary<(string Series, long TimeMs), ulong> Expected { get; } = [];

    /// <summary>Runs a history again and again with another operation of it failing, until there are no more.</summary>
    /// <param name="errno">How it fails.</param>
    /// <param name="every">One in so many operations does.</param>
    /// <param name="atLeast">More than so many there have to be.</param>
    /// <param name="run">Runs it with a failure, adds what is wrong, and returns false if there are not so many operations.</param>
    /// <param name="kinds">Operations that fail.</param>
    public static void Sweep(int errno, int every, int atLeast, Func<FaultRule, List<string>, bool> run, FileOperationKind[] kinds)
    {
        List<string> problems = [];
        int n = 1;
        while (run(new FaultRule(new Fault.Error(errno), kinds) { OnCall = n }, problems)) n += every;
        Assert.True(problems.Count == 0, string.Join("\n", problems));
        Assert.True(n > atLeast, $"only {n} operations");
    }

    /// <summary>Everything readable.</summary>
    public static Dictionary<(string Series, long TimeMs), ulong> Found(EngineHarness engine) =>
        engine.ReadAll().SelectMany(static pair => pair.Value.Select(sample => (Key: (pair.Key, sample.TimeMs), sample.ValueBits)))
            .ToDictionary(static sample => sample.Key, static sample => sample.ValueBits);

    public long TimeOf(int window, int step) => _currentMs + window * WindowMs + step * 60_000;

    /// <summary>Writes samples, one a minute, of each series.</summary>
    public void Write(EngineHarness engine, int window, int from, int to, double value) =>
        Assert.Equal(WriteStatus.Written, TryWrite(engine, window, from, to, value).Status);

    /// <summary>Writes one sample of each series.</summary>
    public void Write(EngineHarness engine, int window, int step, double value = 0) => Write(engine, window, step, step + 1, value);

    /// <summary>As the others; what is not acknowledged is not expected.</summary>
    public WriteReport TryWrite(EngineHarness engine, int window, int from, int to, double value)
    {
        (byte[] Labels, Sample[] Samples)[] request =
            [.. Series.Select((labels, i) => (labels, Enumerable.Range(from, to - from).Select(step => Sample.Of(TimeOf(window, step), value + i)).ToArray()))];
        WriteReport report = engine.WriteAsync(request).GetAwaiter().GetResult();
        if (report.Status != WriteStatus.Written) return report;
        foreach ((byte[] labels, Sample[] samples) in request)
        {
            foreach (Sample sample in samples) Expected[(Labels.Print(labels), sample.TimeMs)] = sample.ValueBits;
        }

        return report;
    }

    /// <summary>An engine on the disk that fails.</summary>
    public EngineHarness Open() => Open(Files);

    /// <summary>An engine on another one.</summary>
    public EngineHarness Open(IFileSystem files) => EngineHarness.OpenStepwise(files, Options, Time);

    /// <summary>An engine on what a power cut leaves of the disk.</summary>
    public EngineHarness Reopen(CrashPolicy policy) => Open(Disk.CrashClone(policy, seed: 1));

    /// <summary>Lets any wait after a failure pass, and works.</summary>
    public void Later(EngineHarness engine)
    {
        Time.Advance(TimeSpan.FromMinutes(6));
        while (Step(engine))
        {
        }
    }

    /// <summary>Asks for the work with one operation of it failing, and lets it be tried again a few times.</summary>
    public void Rest(EngineHarness engine, FaultRule rule)
    {
        Files.Add(rule);
        _ = Ask(engine);
        for (int i = 0; i < 4; i++) Later(engine);
        Files.Remove(rule);
    }

    /// <summary>Work that failed so often in a row, and then no more, has left the storage in this phase, and lost nothing.</summary>
    public void AssertPhaseAfter(EngineHarness engine, FaultRule failing, int failures, EnginePhase phase)
    {
        Files.Add(failing);
        Task asked = Ask(engine);
        for (int i = 0; i < failures; i++) Later(engine);
        Assert.Equal(failures, failing.Injections);
        Files.Remove(failing);
        Later(engine);
        Assert.Equal((phase, phase == EnginePhase.Ready), (engine.Engine.Phase, asked.IsCompletedSuccessfully));
        if (phase == EnginePhase.Failed) Assert.IsType<EngineUnavailableException>(asked.Exception!.InnerException);
        AssertAllRead(engine);
        foreach (CrashPolicy policy in CrashPolicy.Every) AssertAllRead(Reopen(policy));
    }

    /// <summary>Work that failed once has made the storage read-only: nothing on the disk is touched any more, nothing is lost, and the next start has nothing to name.</summary>
    /// <param name="engine">An engine with something to do.</param>
    /// <param name="failing">What fails.</param>
    /// <param name="mayTouch">Paths that may be touched all the same.</param>
    public void AssertReadOnlyAtOnce(EngineHarness engine, FaultRule failing, Func<string, bool> mayTouch)
    {
        Files.Add(failing);
        List<string> touched = [];
        Disk.BeforeOperation = (_, operation) =>
        {
            if (failing.Injections > 0 && !mayTouch(operation.Path)) touched.Add(operation.ToString());
        };
        Task asked = Ask(engine);
        Later(engine);
        Assert.Equal((1, EnginePhase.Failed), (failing.Injections, engine.Engine.Phase));
        Assert.Equal(WriteStatus.Unavailable, TryWrite(engine, 0, 5, 6, 0).Status);
        Later(engine);
        Assert.IsType<EngineUnavailableException>(asked.Exception?.InnerException);
        Assert.Equal([], touched);
        AssertAllRead(engine);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            EngineHarness again = Reopen(policy);
            Assert.Empty(again.Engine.Stats().Damages);
            AssertAllRead(again);
            ToRest(again);
            AssertAllRead(again);
        }
    }

    /// <summary>Read-only is what a failed sync of a directory or of the manifest makes of the storage, and nothing else may.</summary>
    /// <param name="engine">The engine, after the failure.</param>
    /// <param name="problems">What is wrong is added.</param>
    /// <returns>What failed first; null if nothing did.</returns>
    public string? FirstFailure(EngineHarness engine, List<string> problems)
    {
        if (Files.Injected.Count == 0) return null;
        string what = Files.Injected[0];
        bool isSync = what.StartsWith("SyncDir ", StringComparison.Ordinal) || what.StartsWith("SyncAll /disk/data/MANIFEST", StringComparison.Ordinal);
        bool mayFail = isSync || what.Contains("/MANIFEST", StringComparison.Ordinal); // nobody knows which one stands
        bool hasFailed = engine.Engine.Phase == EnginePhase.Failed;
        if (hasFailed && !mayFail) problems.Add($"{what}: the storage is read-only: {engine.Engine.Stats().Failure}");
        if (!hasFailed && isSync) problems.Add($"{what}: the storage is not read-only");
        return what;
    }

    /// <summary>Reports what is not read as it should be, and what should not be.</summary>
    public void Compare(string when, EngineHarness engine, List<string> problems)
    {
        Dictionary<(string, long), ulong> found = Found(engine);
        foreach (((string Series, long TimeMs) key, ulong bits) in Expected)
        {
            if (!found.TryGetValue(key, out ulong actual) || actual != bits) problems.Add($"{when}: {key} is lost");
        }

        if (found.Keys.Except(Expected.Keys).Any()) problems.Add($"{when}: more than was written");
    }

    /// <summary>Everything acknowledged is read.</summary>
    public void AssertAllRead(EngineHarness engine)
    {
        List<string> problems = [];
        Compare("read", engine, problems);
        Assert.Equal([], problems);
    }
}
