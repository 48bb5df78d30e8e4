using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Verification;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What is left of the manifests.</summary>
internal enum Wreck
{
    /// <summary>The one before is whole.</summary>
    PreviousIsWhole,

    /// <summary>In the place of the one before stands the one before that.</summary>
    PreviousIsOlder,

    /// <summary>Neither can be read.</summary>
    BothAreGone,
}

/// <summary>
/// One random history of an engine, drawn from a seed, of whose directory images are taken in the midst of its work; the manifests of each are wrecked and rebuilt, and the same has to be read as
/// from the image that is whole.
/// </summary>
internal sealed class RebuildHistory
{
    public const string Root = "/disk/data";
    private const int SeriesCount = 5;
    private const int Steps = 45;
    private const long WindowMs = 7_200_000;

    private static readonly byte[][] Series =
        [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", i % 2 == 0 ? "m" : "n"), ("i", $"{i}"), ("odd", i % 3 == 0 ? "yes" : "")))];

    private static readonly string[] Names = [.. Series.Select(static labels => Labels.Print(labels))];

    private readonly Random _random;
    private readonly ManualTime _time = new();
    private readonly StorageOptions _options;
    private readonly List<string> _log = [];
    private readonly List<(CrashFileSystem Disk, byte[]? Older, bool IsDeleting, string When)> _images = [];
    private readonly Dictionary<(string, long), HashSet<ulong>> _ever = [];
    private readonly HashSet<(string, long)> _deleted = [];
    private readonly FaultRule[] _undeletable = [.. ((string[])["*.sst", "*.log", "*.dict"]).Select(static files => new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Unlink) { Path = files, Probability = 0.7 })];
    private readonly CrashFileSystem _disk = new("/disk");
    private readonly FaultInjector _files;
    private EngineHarness _engine;
    private ReadSnapshot? _held;
    private byte[]? _older;
    private bool _isLooking;
    private bool _isDeleting;
    private bool _keepsRests;
    private int _foreign;

    public RebuildHistory(int seed)
    {
        _random = new Random(seed);
        _options = EngineHarness.SmallOptions with
        {
            Lsm = EngineHarness.SmallOptions.Lsm with { CompactionStrategy = (CompactionStrategy)_random.Next(3) },
            Integration = new IntegrationOptions
            {
                LateDelay = Duration.Seconds(_random.Next(2) * 600),
                BlockCompaction = _random.Next(4) > 0,
                WritePath = _random.Next(4) > 0 ? WritePathChoice.Lsm : WritePathChoice.Blocks,
            },
        };
        _time.Advance(TimeSpan.FromMilliseconds(TimeWindow.StartOf(1_700_000_000_000, WindowMs)) + TimeSpan.FromMinutes(20));
        _files = new FaultInjector(_disk, seed);
        _engine = Open(_files, _time);
    }

    /// <summary>What was done, for people.</summary>
    public string Log => string.Join('\n', _log);

    /// <summary>Manifests that were rebuilt.</summary>
    public int Rebuilt { get; private set; }

    /// <summary>Of these, with something that had to be put aside besides the manifests.</summary>
    public int WithRests { get; private set; }

    /// <summary>Of these, with nothing that may be lost or come back.</summary>
    public int WithoutDoubt { get; private set; }

    /// <summary>Runs it.</summary>
    /// <returns>What was wrong; empty if nothing was.</returns>
    public List<string> Run()
    {
        for (int step = 0; step < Steps; step++) Step();
        TakeImage(_disk.CrashClone(CrashPolicy.All, seed: 1), "at the end");
        List<string> problems = [];
        foreach ((CrashFileSystem disk, byte[]? older, bool isDeleting, string when) in _images)
        {
            if (problems.Count == 0) Check(disk, older, isDeleting, when, problems);
        }

        return problems;
    }

    private EngineHarness Open(IFileSystem files, ManualTime time) => EngineHarness.OpenStepwise(files, _options, time, collectFrom: 1);

    private void Step()
    {
        int cutAt = _random.Next(6) == 0 ? _random.Next(1, 1 << _random.Next(1, 9)) : int.MaxValue;
        int operations = 0;
        CrashPolicy policy = _random.Next(2) == 0 ? CrashPolicy.All : CrashPolicy.OnlySynced;
        _disk.BeforeOperation = (number, operation) =>
        {
            if (_isLooking) return;
            _isLooking = true;
            string previous = $"{Root}/{Manifest.PreviousFileName}";
            if (operation.Kind == FileOperationKind.Rename && operation.Path.StartsWith(previous, StringComparison.Ordinal)) _older = _disk.FileSize(previous) is null ? null : _disk.ReadAll(previous);
            if (++operations == cutAt) TakeImage(_disk.CrashClone(policy, seed: 1), $"before operation {number} ({operation})");
            _isLooking = false;
        };
        DoOne(_random.Next(100));
        _disk.BeforeOperation = null;
    }

    private void TakeImage(CrashFileSystem disk, string when)
    {
        _log.Add($"  image {_images.Count} {when}");
        _images.Add((disk, _older, _isDeleting, when));
    }

    private void DoOne(int drawn)
    {
        if (drawn < 40) Write();
        else if (drawn < 54) Do("flush", _engine.FlushByStep);
        else if (drawn < 60) Do("merge", _engine.TablesByStep);
        else if (drawn < 72) Do("compact", _engine.CompactByStep);
        else if (drawn < 78) Delete();
        else if (drawn < 80) Do("clean", () => _engine.CleanByStep());
        else if (drawn < 83) Restart();
        else if (drawn < 88) Wait();
        else if (drawn < 91) Do("collect", () => _engine.CollectByStep());
        else if (drawn < 95) Hold();
        else if (drawn < 97) PutForeign();
        else KeepRests();
    }

    private void Do(string what, Action work)
    {
        _log.Add(what);
        work();
    }

    private void Write()
    {
        (int Series, Sample[] Samples)[] request =
            [.. Enumerable.Range(0, _random.Next(1, 4)).Select(_ => (_random.Next(SeriesCount), Enumerable.Range(0, _random.Next(1, 10)).Select(_ => DrawSample()).ToArray()))];
        _log.Add($"write {string.Join(' ', request.Select(static one => $"{one.Series}:[{string.Join(',', one.Samples.Select(static sample => $"{sample.TimeMs}={sample.ValueBits:x}"))}]"))}");
        Assert.Equal(WriteStatus.Written, _engine.WriteAsync([.. request.Select(static one => (Series[one.Series], one.Samples))]).GetAwaiter().GetResult().Status);
        foreach ((int series, Sample[] samples) in request) Sent(series, samples);
    }

    private void Sent(int series, IEnumerable<Sample> samples)
    {
        foreach (Sample sample in samples)
        {
            (string, long) key = (Names[series], sample.TimeMs);
            if (!_ever.TryGetValue(key, out HashSet<ulong>? values)) _ever.Add(key, values = []);
            values.Add(sample.ValueBits);
        }
    }

    private Sample DrawSample()
    {
        long nowMs = _time.GetUtcNow().ToUnixTimeMilliseconds();
        long offset = _random.Next(3) switch { 0 => _random.Next(3), 1 => WindowMs - 1 - _random.Next(2), _ => _random.Next(20) * 15_000L };
        long time = TimeWindow.StartOf(nowMs, WindowMs) - _random.Next(4) * WindowMs + offset;
        return new Sample(time > nowMs ? time - WindowMs : time, BitConverter.DoubleToUInt64Bits(_random.Next(50)));
    }

    private void Delete()
    {
        var delete = new ModelDelete(_random.Next(7), _random.Next(SeriesCount), (0, 0), (0, 0), _random.Next(4) == 0);
        long from = DrawSample().TimeMs;
        long to = DrawSample().TimeMs;
        TimeRange range = delete.IsAllTime ? TimeRange.All : new TimeRange(Math.Min(from, to), Math.Max(from, to));
        _log.Add($"delete {delete.Selector} {range}");
        foreach ((string name, long time) in _ever.Keys.Where(key => delete.Selects(Array.IndexOf(Names, key.Item1)) && range.Contains(key.Item2))) _deleted.Add((name, time));
        _isDeleting = true; // not promised yet: the manifest before has it only with the second commit
        _engine.DeleteByStep(delete.Selector, range);
        _isDeleting = false;
    }

    private void Wait()
    {
        int minutes = _random.Next(1, 200);
        _log.Add(string.Create(CultureInfo.InvariantCulture, $"wait {minutes} min"));
        _time.Advance(TimeSpan.FromMinutes(minutes));
    }

    private void Restart()
    {
        bool isKill = _random.Next(2) == 0;
        _log.Add(isKill ? "restart with the log unflushed" : "restart");
        LetGo();
        if (_keepsRests) KeepRests(); // a start insists on its sweeping
        if (isKill) _engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
        _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _engine = Open(_files, _time);
    }

    /// <summary>A reader keeps on the disk what no manifest names any more.</summary>
    private void Hold()
    {
        _log.Add(_held is null ? "hold a snapshot" : "let the snapshot go");
        if (_held is null) _held = _engine.Engine.AcquireSnapshot();
        else LetGo();
    }

    private void LetGo()
    {
        _held?.Dispose();
        _held = null;
    }

    /// <summary>From now on most files cannot be removed, or can again.</summary>
    private void KeepRests()
    {
        _log.Add(_keepsRests ? "files can be removed" : "files cannot be removed");
        foreach (FaultRule rule in _undeletable)
        {
            if (_keepsRests) _files.Remove(rule);
            else _files.Add(rule);
        }

        _keepsRests = !_keepsRests;
    }

    private void PutForeign()
    {
        Dictionary<int, Sample[]> series = Enumerable.Range(0, 2).Select(_ => _random.Next(SeriesCount)).Distinct()
            .ToDictionary(static number => number, _ => Enumerable.Range(0, 4).Select(_ => DrawSample()).DistinctBy(static sample => sample.TimeMs).OrderBy(static sample => sample.TimeMs).ToArray());
        _log.Add("foreign block");
        TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(_foreign++), series.Select(static one => (Series[one.Key], one.Value)));
        foreach ((int number, Sample[] samples) in series) Sent(number, samples);
    }

    private void Check(CrashFileSystem image, byte[]? older, bool isDeleting, string when, List<string> problems)
    {
        string current = $"{Root}/{Manifest.FileName}";
        string previous = $"{Root}/{Manifest.PreviousFileName}";
        if (image.FileSize(current) is null) return;
        List<Dictionary<string, List<Sample>>> expected = Read(image.CrashClone(CrashPolicy.All, seed: 1));
        foreach (Wreck wreck in Enum.GetValues<Wreck>())
        {
            CrashFileSystem disk = image.CrashClone(CrashPolicy.All, seed: 1);
            bool isExact = wreck == Wreck.PreviousIsWhole && !isDeleting && disk.FileSize(previous) is not null;
            if (wreck == Wreck.BothAreGone && _random.Next(2) == 0) disk.Unlink(current);
            else Break(disk, current);
            if (wreck != Wreck.PreviousIsWhole && disk.FileSize(previous) is not null) disk.Unlink(previous);
            if (wreck == Wreck.PreviousIsOlder)
            {
                if (older is null) continue;
                disk.WriteNew(previous, older, sync: true);
            }

            string what = $"image {when}, {wreck}";
            try
            {
                RebuiltManifest rebuilt = ManifestRebuild.Run(disk, Root, WindowMs);
                Rebuilt++;
                if (rebuilt.Aside.Count > 2) WithRests++;
                if (rebuilt.Doubts.Count == 0) WithoutDoubt++;
                VerifyReport report = DirectoryVerifier.Verify(disk, Root, progress: null, CancellationToken.None);
                if (!report.IsSound) problems.Add($"{what}: {string.Join('\n', report.Findings)}");
                List<Dictionary<string, List<Sample>>> read = Read(disk);
                for (int i = 0; i < read.Count; i++) problems.AddRange(Compare(expected[i], read[i], isExact).Take(5).Select(problem => $"{what}, read {i}: {problem}\n  {string.Join("\n  ", [.. rebuilt.From, .. rebuilt.Aside, .. rebuilt.Doubts])}"));
            }
            catch (Exception unforeseen) when (unforeseen is DataDirectoryException or CannotRebuildException or CorruptFileException or InvariantViolatedException or InvalidOperationException or DiskException or ManifestException)
            {
                problems.Add($"{what}: {unforeseen}");
            }
        }
    }

    /// <summary>Once all foreign blocks are adopted, and again after everything was merged, converted and cleaned.</summary>
    private List<Dictionary<string, List<Sample>>> Read(CrashFileSystem disk)
    {
        var time = new ManualTime();
        time.Advance(_time.GetUtcNow() - time.GetUtcNow());
        EngineHarness engine = Open(disk, time);
        List<Dictionary<string, List<Sample>>> read = [];
        engine.BlocksByStep();
        read.Add(engine.ReadAll());
        engine.CompactByStep();
        engine.CleanByStep();
        read.Add(engine.ReadAll());
        if (engine.Engine.Stats().Failure is { } failure) throw new InvalidOperationException(failure);
        engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
        return read;
    }

    private IEnumerable<string> Compare(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual, bool isExact)
    {
        Dictionary<(string, long), ulong> must = Flat(expected);
        Dictionary<(string, long), ulong> found = Flat(actual);
        bool MayBe((string, long) key, ulong bits) => !isExact && _deleted.Contains(key) && _ever[key].Contains(bits);
        foreach (((string, long) key, ulong bits) in must)
        {
            if (!found.TryGetValue(key, out ulong value)) yield return $"{key} is lost";
            else if (value != bits && !MayBe(key, value)) yield return $"{key} has {value:x} and not {bits:x}";
        }

        foreach (((string, long) key, ulong bits) in found)
        {
            if (!must.ContainsKey(key) && !MayBe(key, bits)) yield return $"{key} is there again";
        }
    }

    private static Dictionary<(string, long), ulong> Flat(Dictionary<string, List<Sample>> read) =>
        read.SelectMany(static series => series.Value.Select(sample => ((series.Key, sample.TimeMs), sample.ValueBits))).ToDictionary(static pair => pair.Item1, static pair => pair.ValueBits);

    /// <summary>Behind what says the generation: damage of one bit leaves most of a file readable.</summary>
    private static void Break(CrashFileSystem disk, string path)
    {
        byte[] bytes = disk.ReadAll(path);
        bytes[^3] ^= 4;
        disk.Unlink(path);
        disk.WriteNew(path, bytes, sync: true);
    }
}
