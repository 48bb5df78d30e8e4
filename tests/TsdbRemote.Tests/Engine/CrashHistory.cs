using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>How a history is cut off.</summary>
/// <param name="Policy">What a power cut leaves.</param>
internal sealed record CrashPlan(CrashPolicy Policy)
{
    /// <summary>The disk as the engine sees it: some test leaves out a sync.</summary>
    public Func<CrashFileSystem, IFileSystem> Wrap { get; init; } = static files => files;

    /// <summary>One in so many operations of each recovery is cut off, too; 0 for none.</summary>
    public int RecoveryEvery { get; init; }

    /// <summary>Nothing more is done once something is wrong, and nothing is demanded of what was done.</summary>
    public bool StopAtFirst { get; init; }
}

/// <summary>One history on a disk, cut off before each operation of the work that it is about; whatever the disk may then hold is opened and looked at.</summary>
/// <remarks>
/// Use: a test writes with <see cref="Write"/>, works inside <see cref="CutOffDuring"/>, ends with <see cref="End"/>, and reads <see cref="Violations"/>. What it
/// demands of an image beyond the samples is its own <c>check</c>.
/// </remarks>
/// <param name="plan">How it is cut off.</param>
/// <param name="currentMs">Where the history begins, ms: window 0.</param>
/// <param name="check">Opens an image, and reports what is wrong with it to <see cref="Violations"/>; the text says when it was taken.</param>
internal sealed class CrashHistory(CrashPlan plan, long currentMs, Action<CrashHistory, CrashFileSystem, string> check)
{
    public const long WindowMs = 7_200_000;

    // Found in the directory, not necessarily adopted: served once the store is at rest.
    private readonly Dictionary<(string Series, long TimeMs), ulong> _foreign = [];
    private readonly Dictionary<(string Series, long TimeMs), ulong> _may = [];

    // Sent and not acknowledged: the newest version already, or not there at all.
    private readonly Dictionary<(string Series, long TimeMs), ulong> _sent = [];
    private IFileSystem? _files;
    private bool _isArmed;

    public CrashFileSystem Disk { get; } = new("/disk");

    public ManualTime Time { get; } = new();

    /// <summary>What every image has to serve.</summary>
    public Dictionary<(string Series, long TimeMs), ulong> Must { get; } = [];

    public List<string> Violations { get; } = [];

    public int Crashes { get; private set; }

    public int RecoveryCrashes { get; private set; }

    public bool IsOver => plan.StopAtFirst && Violations.Count > 0;

    // What the policy leaves open needs several tries, what it does not gives the same disk again.
    private int Seeds => plan.Policy.Kind is CrashKind.RandomPages or CrashKind.Prefix or CrashKind.TornSector or CrashKind.Reordered or CrashKind.PerFile ? 2 : 1;

    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    /// <summary>A history in which a sync is left out has to go wrong under some policy.</summary>
    /// <param name="what">What is not synced, for people.</param>
    /// <param name="kind">The sync.</param>
    /// <param name="pathPart">Part of the path of what is not synced.</param>
    /// <param name="suffix">The path's end.</param>
    /// <param name="run">Runs the history on such a disk, until something is wrong.</param>
    public static void AssertNoticed(string what, SyncKind kind, string pathPart, string suffix, Func<CrashPlan, CrashHistory> run)
    {
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.RandomPages(0.5), CrashPolicy.DataOnly, CrashPolicy.EntryOnly, CrashPolicy.Reordered])
        {
            ForgetfulFileSystem? forgetful = null;
            CrashHistory history = run(new CrashPlan(policy) { Wrap = files => forgetful = new ForgetfulFileSystem(files, kind, pathPart, suffix), StopAtFirst = true });
            Assert.True(forgetful!.Forgotten > 0, $"{what}: no such sync was ever asked for");
            if (history.Violations.Count > 0) return;
        }

        Assert.Fail($"{what}: nobody noticed that this sync was left out");
    }

    /// <summary>Nothing went wrong wherever it was cut off, and it was often enough.</summary>
    public void AssertSurvived(int atLeast)
    {
        Assert.Equal([], Violations);
        Assert.True(Crashes > atLeast, $"only {Crashes} operations were cut off");
    }

    /// <summary>Nothing went wrong wherever a recovery was cut off, and they were often enough.</summary>
    public void AssertRecovered(int atLeast)
    {
        Assert.Equal([], Violations);
        Assert.True(RecoveryCrashes > atLeast, $"only {RecoveryCrashes} recoveries were cut off");
    }

    public static string NameOf(int series) => Labels.Print(LabelsOf(series));

    public static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "crash"), ("series", $"{series}"));

    public long TimeOf(int window, int step) => currentMs + window * WindowMs + step * 60_000;

    /// <summary>The clock stands forty minutes into window 0, and the disk is watched.</summary>
    /// <returns>The disk for the engine.</returns>
    public IFileSystem Begin()
    {
        Time.Advance(TimeSpan.FromMilliseconds(currentMs) + TimeSpan.FromMinutes(40));
        Disk.BeforeOperation = (number, operation) =>
        {
            if (_isArmed) CutOff(number, $"{operation}");
        };
        return _files = plan.Wrap(Disk);
    }

    /// <summary>Writes samples, one a minute, of each of some series.</summary>
    public void Write(EngineHarness engine, int window, int from, int to, double value = 0, int seriesCount = 3)
    {
        if (IsOver) return;
        (byte[], Sample[])[] request = [.. Enumerable.Range(0, seriesCount).Select(series => (
            LabelsOf(series), Enumerable.Range(from, to - from).Select(step => Sample.Of(TimeOf(window, step), value + series * 10 + step)).ToArray()))];
        for (int series = 0; series < request.Length; series++)
        {
            foreach (Sample sample in request[series].Item2) _sent[(NameOf(series), sample.TimeMs)] = sample.ValueBits;
        }

        Assert.Equal(WriteStatus.Written, engine.WriteAsync(request).GetAwaiter().GetResult().Status);
        foreach (((string, long) key, ulong bits) in _sent) Must[key] = bits;
        _sent.Clear();
    }

    /// <summary>Somebody put a block there with these samples of series 0: of those that nobody else has it is asked from when it is adopted on.</summary>
    public void Put(IEnumerable<Sample> samples)
    {
        foreach (Sample sample in samples.Where(sample => !Must.ContainsKey((NameOf(0), sample.TimeMs)))) _foreign[(NameOf(0), sample.TimeMs)] = sample.ValueBits;
    }

    /// <summary>What was foreign is adopted.</summary>
    public void Settle()
    {
        foreach (((string, long) key, ulong bits) in _foreign) Must[key] = bits;
        _foreign.Clear();
    }

    /// <summary>From now on a window may be there or not.</summary>
    public void Expire(int window) => Expire(key => TimeWindow.StartOf(key.TimeMs, WindowMs) == TimeOf(window, 0));

    /// <summary>From now on some samples may be there or not.</summary>
    public void Expire(Func<(string Series, long TimeMs), bool> which)
    {
        foreach ((string Series, long TimeMs) key in Must.Keys.Where(which).ToArray())
        {
            _may[key] = Must[key];
            Must.Remove(key);
        }
    }

    /// <summary>How many samples may be there or not.</summary>
    public int ExpiredCount => _may.Count;

    /// <summary>True for a sample that may be there or not.</summary>
    public bool IsExpired(string series, Sample sample) => _may.TryGetValue((series, sample.TimeMs), out ulong bits) && bits == sample.ValueBits;

    /// <summary>What had expired is gone for good.</summary>
    public void Forget() => _may.Clear();

    /// <summary>Works, and is cut off before each operation of it.</summary>
    public void CutOffDuring(Action work)
    {
        if (IsOver) return;
        _isArmed = true;
        try
        {
            work();
        }
        finally
        {
            _isArmed = false;
        }
    }

    /// <summary>The last cut: after everything.</summary>
    public void End() => CutOff(Disk.OperationCount, "the end");

    /// <summary>Reports what an engine serves and should not, and what it should serve and does not.</summary>
    /// <param name="when">For people.</param>
    /// <param name="engine">An engine on an image.</param>
    /// <param name="isAtRest">Foreign blocks have been adopted.</param>
    public void Compare(string when, EngineHarness engine, bool isAtRest)
    {
        var found = new Dictionary<(string, long), ulong>();
        foreach ((string labels, List<Sample> samples) in engine.ReadAll())
        {
            foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), sample.ValueBits);
        }

        foreach (((string, long) key, ulong bits) in isAtRest ? Must.Concat(_foreign) : Must)
        {
            if (!found.TryGetValue(key, out ulong actual)) Violations.Add($"{when}: {key} is lost");
            else if (actual != bits && !(_sent.TryGetValue(key, out ulong newer) && newer == actual)) Violations.Add($"{when}: {key} is an older version");
        }

        foreach (((string, long) key, ulong bits) in found)
        {
            bool isKnown = new[] { Must, _foreign, _may, _sent }.Any(known => known.TryGetValue(key, out ulong expected) && expected == bits);
            if (!isKnown) Violations.Add($"{when}: {key} should not be there");
        }
    }

    private void CutOff(long number, string operation)
    {
        if (IsOver) return;
        Crashes++;
        for (int seed = 0; seed < Seeds; seed++)
        {
            CrashFileSystem image = Disk.CrashClone(plan.Policy, seed);
            string when = $"before operation {number} ({operation}), seed {seed}";
            var again = new List<CrashFileSystem>();
            if (plan.RecoveryEvery > 0)
            {
                // Some of them keep the run short; which ones moves with the operation, so that all steps get their turn.
                int steps = 0;
                image.BeforeOperation = (_, _) =>
                {
                    if (steps++ % plan.RecoveryEvery == number % plan.RecoveryEvery) again.Add(image.CrashClone(plan.Policy, seed));
                };
            }

            Check(image, when);
            RecoveryCrashes += again.Count;
            for (int i = 0; i < again.Count; i++) Check(again[i], $"{when}, recovery cut off, {i}");
        }
    }

    private void Check(CrashFileSystem image, string when)
    {
        try
        {
            check(this, image, when);
        }
        catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException or InvalidOperationException)
        {
            Violations.Add($"{when}: {refused.Message}");
        }
    }
}
