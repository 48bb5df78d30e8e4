using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>A disk that can be told to fail, a clock that stands forty minutes into window 0, and what an engine on them has acknowledged.</summary>
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

    /// <summary>Any wait after a failure is over by then.</summary>
    /// <param name="step">One round of what is to be done.</param>
    public void Later(Func<bool> step)
    {
        Time.Advance(TimeSpan.FromMinutes(6));
        while (step())
        {
        }
    }

    /// <summary>With one operation failing: asks, and lets it be tried again a few times.</summary>
    /// <param name="rule">Which fails.</param>
    /// <param name="ask">Asks for what is to be done.</param>
    /// <param name="step">One round of it.</param>
    public void Rest(FaultRule rule, Func<Task> ask, Func<bool> step)
    {
        Files.Add(rule);
        _ = ask();
        for (int i = 0; i < 4; i++) Later(step);
        Files.Remove(rule);
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
