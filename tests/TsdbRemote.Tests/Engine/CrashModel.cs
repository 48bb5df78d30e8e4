using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// One random history of an engine on a disk that forgets and fails: everything about it, the power cuts too, is drawn from one seed. After each power cut and now and then the store is
/// held against <see cref="PossibleSamples"/>.
/// </summary>
/// <remarks>A power cut hits any operation on the disk in the middle of any work, the recovery from another one included. What was acknowledged before that operation has to be there.</remarks>
internal sealed class CrashModel
{
    private const int SeriesCount = 6;
    private const int Steps = 60;
    private const long WindowMs = 7_200_000;

    private static readonly byte[][] Series =
        [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", i % 2 == 0 ? "m" : "n"), ("i", $"{i}"), ("odd", i % 3 == 0 ? "yes" : "")))];

    private static readonly string[] Names = [.. Series.Select(static labels => Labels.Print(labels))];

    private static readonly FileOperationKind[] Reading = [FileOperationKind.OpenRead, FileOperationKind.Read, FileOperationKind.List, FileOperationKind.FileSize];
    private static readonly int[] Errors = [DiskException.InputOutput, DiskException.NoSpace, Errno.TooManyFiles, Errno.ReadOnly, Errno.Quota];

    private readonly Random _random;
    private readonly ManualTime _time = new();
    private readonly PossibleSamples _possible = new();
    private readonly List<string> _log = [];
    private readonly StorageOptions _options;
    private readonly bool _withFaults;

    private CrashFileSystem _disk = new("/disk");
    private FaultInjector _files;
    private EngineHarness _engine;
    private (ReadSnapshot Snapshot, Dictionary<string, List<Sample>> Read)? _held;

    /// <param name="seed">Decides everything.</param>
    /// <param name="withFaults">Calls of the disk fail, too.</param>
    public CrashModel(int seed, bool withFaults)
    {
        _random = new Random(seed);
        _withFaults = withFaults;
        _options = EngineHarness.SmallOptions with
        {
            Lsm = EngineHarness.SmallOptions.Lsm with { Stripes = 1 << _random.Next(4), CompactionStrategy = (CompactionStrategy)_random.Next(3) },
            Integration = new IntegrationOptions
            {
                LateDelay = Duration.Seconds(_random.Next(2) * 600),
                BlockCompaction = _random.Next(4) > 0,
                WritePath = _random.Next(4) > 0 ? WritePathChoice.Lsm : WritePathChoice.Blocks,
            },
        };
        _time.Advance(TimeSpan.FromMilliseconds(TimeWindow.StartOf(1_700_000_000_000, WindowMs)) + TimeSpan.FromMinutes(20));
        _files = new FaultInjector(_disk, seed);
        _engine = Open(_files);
    }

    /// <summary>Power cuts so far.</summary>
    public int Crashes { get; private set; }

    /// <summary>Of these, in the middle of some work.</summary>
    public int MidwayCrashes { get; private set; }

    /// <summary>Of these, in the middle of a recovery.</summary>
    public int RecoveryCrashes { get; private set; }

    /// <summary>Calls that were made to fail.</summary>
    public int Faults { get; private set; }

    /// <summary>Samples that had to be there in the end.</summary>
    public int CertainSamples => _possible.CertainCount;

    /// <summary>What was done, for people.</summary>
    public string Log => string.Join('\n', _log);

    /// <summary>Runs it.</summary>
    /// <returns>What was wrong; empty if nothing was.</returns>
    public List<string> Run()
    {
        List<string> problems = [];
        for (int step = 0; step < Steps && problems.Count == 0; step++)
        {
            try
            {
                Step(problems);
            }
            catch (Exception unforeseen) when (unforeseen is DataDirectoryException or CorruptFileException or InvariantViolatedException or InvalidOperationException or DiskException)
            {
                problems.Add(unforeseen.ToString());
            }
        }

        if (problems.Count == 0) Check(problems);
        LetGo();
        Abandon(_engine);
        return problems;
    }

    private EngineHarness Open(IFileSystem files)
    {
        try
        {
            return EngineHarness.OpenStepwise(files, _options, _time, collectFrom: 1);
        }
        catch (DataDirectoryException blamed) when (blamed.Message.Contains("quarantine_record", StringComparison.Ordinal))
        {
            // Cut off three times in a row, twice of them at one record, by chance: the text says what to do then.
            files.Unlink($"{_options.DataDir}/REPLAY");
            return EngineHarness.OpenStepwise(files, _options, _time, collectFrom: 1);
        }
    }

    private void Step(List<string> problems)
    {
        FaultRule? fault = _withFaults && _random.Next(8) == 0 ? Arm() : null;
        bool isCut = fault is not null || _random.Next(4) == 0;
        CrashPolicy policy = DrawPolicy();
        CrashFileSystem? image = null;
        int cutAt = isCut ? _random.Next(1, 1 << _random.Next(1, 9)) : int.MaxValue;
        int seed = _random.Next();
        int operations = 0;
        _disk.BeforeOperation = (_, _) =>
        {
            if (++operations == cutAt) image = _disk.CrashClone(policy, seed);
        };
        bool hasFailed = DoOne(() => image is null, mayFail: fault is not null, problems);
        _disk.BeforeOperation = null;
        if (fault is not null)
        {
            _files.Remove(fault);
            Faults += (int)fault.Injections;
        }

        if (!isCut && !hasFailed) return;
        if (image is not null) MidwayCrashes++;
        _log.Add(string.Create(CultureInfo.InvariantCulture, $"  power cut: {policy}, {(image is null ? "at rest" : $"before operation {cutAt}")}"));
        PowerCut(image ?? _disk.CrashClone(policy, seed), policy, problems);
    }

    private CrashPolicy DrawPolicy()
    {
        CrashPolicy policy = CrashPolicy.Every[_random.Next(CrashPolicy.Every.Count)];
        return policy.Kind == CrashKind.RandomPages ? CrashPolicy.RandomPages(_random.NextDouble()) : policy;
    }

    private FaultRule Arm()
    {
        Fault fault;
        FileOperationKind[] kinds;
        switch (_random.Next(4))
        {
            case 0:
                fault = new Fault.FailedSync((LostPages)_random.Next(3)); // lost with an error that shows: one that shows late is for the log alone to survive
                kinds = [FileOperationKind.SyncData, FileOperationKind.SyncAll];
                break;
            case 1:
                fault = new Fault.ShortWrite(_random.Next(64));
                kinds = [FileOperationKind.Write, FileOperationKind.WriteGather];
                break;
            case 2:
                fault = new Fault.Error(Errors[_random.Next(Errors.Length)]);
                kinds = Reading;
                break;
            default:
                fault = new Fault.Error(Errors[_random.Next(Errors.Length)]);
                kinds = FailureHistory.Changes;
                break;
        }

        var rule = new FaultRule(fault, kinds) { OnCall = _random.Next(1, 20), Sticky = _random.Next(3) == 0 };
        _log.Add(string.Create(CultureInfo.InvariantCulture, $"  armed: {fault} on call {rule.OnCall}{(rule.Sticky ? " and later" : "")}"));
        return _files.Add(rule);
    }

    /// <returns>True if the engine has to be given up.</returns>
    private bool DoOne(Func<bool> isUncut, bool mayFail, List<string> problems)
    {
        int drawn = _random.Next(100);
        try
        {
            if (drawn < 50) Write(isUncut, mayFail);
            else if (drawn < 60) Do("flush", _engine.FlushByStep);
            else if (drawn < 72) Do("compact", _engine.CompactByStep);
            else if (drawn < 78) Delete(isUncut);
            else if (drawn < 80) Do("clean", () => _engine.CleanByStep());
            else if (drawn < 84) Restart();
            else if (drawn < 88) Wait();
            else if (drawn < 91) Do("prepare a dictionary", () => _engine.Engine.StepDictionary());
            else if (drawn < 95) Hold(problems);
            else Check(problems);
            return _engine.Engine.Stats().Failure is not null;
        }
        catch (Exception refused) when (mayFail && IsAnAnswer(refused))
        {
            _log.Add($"  {refused.Message}");
            return true;
        }
    }

    /// <summary>What the engine may say of a failing disk; everything else is a mistake.</summary>
    private static bool IsAnAnswer(Exception refused) =>
        refused is IOException or EngineUnavailableException or InvalidOperationException or DataDirectoryException or ManifestException or LogRefusedException;

    private void Do(string what, Action work)
    {
        _log.Add(what);
        work();
    }

    private void Write(Func<bool> isUncut, bool mayFail)
    {
        (int Series, Sample[] Samples)[] request =
        [
            .. Enumerable.Range(0, _random.Next(1, 5)).Select(_ => (_random.Next(SeriesCount), Enumerable.Range(0, _random.Next(1, 12)).Select(_ => DrawSample()).ToArray())),
        ];
        _log.Add($"write {string.Join(' ', request.Select(static one => $"{one.Series}:[{string.Join(',', one.Samples.Select(static sample => $"{sample.TimeMs}={sample.ValueBits:x}"))}]"))}");
        LetGo(); // it sees what comes into the MemTable that is written, too
        Task<WriteReport> written = _engine.WriteAsync([.. request.Select(static one => (Series[one.Series], one.Samples))]);
        WriteReport? report = written.IsCompleted ? written.GetAwaiter().GetResult() : null;
        Assert.True(report?.Status == WriteStatus.Written || (mayFail && report?.Status is null or WriteStatus.Unavailable), $"{report?.Status} {report?.Message}");
        bool isAcknowledged = report?.Status == WriteStatus.Written && isUncut();
        Dictionary<(int, long), ulong> last = [];
        foreach ((int series, Sample[] samples) in request)
        {
            foreach (Sample sample in samples) last[(series, sample.TimeMs)] = sample.ValueBits;
        }

        foreach (((int series, long time), ulong bits) in last) _possible.Write(Names[series], new Sample(time, bits), isAcknowledged);
    }

    private Sample DrawSample()
    {
        long nowMs = _time.GetUtcNow().ToUnixTimeMilliseconds();
        long offset = _random.Next(3) switch
        {
            0 => _random.Next(3),
            1 => WindowMs - 1 - _random.Next(2),
            _ => _random.Next(60) * 15_000L,
        };
        long time = TimeWindow.StartOf(nowMs, WindowMs) - _random.Next(5) * WindowMs + offset;
        ulong bits = _random.Next(4) == 0 ? (ulong)_random.NextInt64() : BitConverter.DoubleToUInt64Bits(_random.Next(6));
        return new Sample(time > nowMs ? time - WindowMs : time, bits);
    }

    private void Delete(Func<bool> isUncut)
    {
        var delete = new ModelDelete(_random.Next(7), _random.Next(SeriesCount), (0, 0), (0, 0), _random.Next(4) == 0);
        long from = DrawSample().TimeMs;
        long to = DrawSample().TimeMs;
        TimeRange range = delete.IsAllTime ? TimeRange.All : new TimeRange(Math.Min(from, to), Math.Max(from, to));
        _log.Add($"delete {delete.Selector} {range}");
        bool isDone = false;
        try
        {
            _engine.DeleteByStep(delete.Selector, range);
            isDone = isUncut();
        }
        finally
        {
            _possible.Delete(name => delete.Selects(Array.IndexOf(Names, name)), range, isDone);
        }
    }

    private void Wait()
    {
        int minutes = _random.Next(1, 200);
        _log.Add(string.Create(CultureInfo.InvariantCulture, $"wait {minutes} min"));
        _time.Advance(TimeSpan.FromMinutes(minutes));
    }

    private void Restart()
    {
        _log.Add("restart");
        LetGo();
        _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _engine = Open(_files);
    }

    /// <summary>A reader stays, and reads the same to the end whatever is done meanwhile, but for what is written.</summary>
    private void Hold(List<string> problems)
    {
        _log.Add(_held is null ? "hold a snapshot" : "read the held snapshot again");
        if (_held is { } held)
        {
            Dictionary<string, List<Sample>> again = EngineHarness.Read(held.Snapshot, TimeRange.All, Everything());
            bool isSame = again.Count == held.Read.Count && again.All(pair => held.Read.TryGetValue(pair.Key, out List<Sample>? before) && before.SequenceEqual(pair.Value));
            if (!isSame) problems.Add("a snapshot that is held does not read what it read before");
            LetGo();
            return;
        }

        ReadSnapshot snapshot = _engine.Engine.AcquireSnapshot();
        _held = (snapshot, EngineHarness.Read(snapshot, TimeRange.All, Everything()));
    }

    private void LetGo()
    {
        _held?.Snapshot.Dispose();
        _held = null;
    }

    private static Matcher Everything() => Matcher.Create(MatcherType.Regex, "__name__", ".+");

    /// <summary>The disk as the power cut left it, opened; that is cut off now and then, too.</summary>
    private void PowerCut(CrashFileSystem image, CrashPolicy policy, List<string> problems)
    {
        LetGo();
        Abandon(_engine);
        Crashes++;
        for (int depth = 0; depth < 10 && _random.Next(3) == 0; depth++)
        {
            CrashFileSystem? deeper = null;
            int operations = 0;
            int cutAt = _random.Next(1, 24);
            CrashFileSystem at = image;
            int seed = _random.Next();
            at.BeforeOperation = (_, _) =>
            {
                if (++operations == cutAt) deeper = at.CrashClone(policy, seed);
            };
            Abandon(Open(at));
            at.BeforeOperation = null;
            if (deeper is null) break;
            RecoveryCrashes++;
            _log.Add(string.Create(CultureInfo.InvariantCulture, $"  recovery cut before its operation {cutAt}"));
            image = deeper;
        }

        _disk = image;
        _files = new FaultInjector(_disk, _random.Next());
        _engine = Open(_files);
        Check(problems);
        if (!_withFaults) problems.AddRange(_engine.Engine.Stats().Damages.Select(static damage => $"damage reported: {damage}"));
    }

    private void Check(List<string> problems)
    {
        _log.Add("check");
        problems.AddRange(_possible.Problems(_engine.ReadAll()).Take(10));
    }

    /// <summary>Its disk is not looked at any more: its memory is given back, and whatever else it says does not count.</summary>
    private static void Abandon(EngineHarness engine)
    {
        try
        {
            engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
            engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        catch (Exception refused) when (refused is DiskException or EngineUnavailableException or OperationCanceledException)
        {
        }
    }
}
