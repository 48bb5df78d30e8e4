using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T9: a power cut before any file operation of merges. Whatever the disk may then hold, the next open serves each sample once and in its newest version,
/// comes to rest again, and holds no file that nobody names.
/// </summary>
public sealed class CompactionCrashTests
{
    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    [Theory]
    [MemberData(nameof(Policies))]
    public void T9_a_power_cut_before_any_operation_loses_and_doubles_nothing(CrashKind kind)
    {
        var scenario = new Scenario(static files => files, new CrashPolicy(kind));
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.Crashes > 100, $"only {scenario.Crashes} operations were cut off");
    }

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind)
    {
        var scenario = new Scenario(static files => files, new CrashPolicy(kind)) { CrashesDuringRecovery = true };
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.RecoveryCrashes > 100, $"only {scenario.RecoveryCrashes} recoveries were cut off");
    }

    /// <summary>Each sync that the order of operations asks for is needed: a disk on which that one is forgotten loses something.</summary>
    [Theory]
    [InlineData("merged table", SyncKind.All, "00/", ".sst.tmp")]
    [InlineData("directory of the window", SyncKind.Directory, "/tables/1", "00")]
    [InlineData("directory of the tables", SyncKind.Directory, TestTables.Directory, "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string pathPart, string suffix)
    {
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.RandomPages(0.5), CrashPolicy.DataOnly, CrashPolicy.EntryOnly, CrashPolicy.Reordered])
        {
            var scenario = new Scenario(files => new ForgetfulFileSystem(files, kind, pathPart, suffix), policy) { StopAtFirst = true };
            List<string> violations = scenario.Run();
            Assert.True(scenario.Forgot() > 0, $"{what}: no such sync was ever asked for");
            if (violations.Count > 0) return;
        }

        Assert.Fail($"{what}: nobody noticed that this sync was left out");
    }

    /// <summary>One history, cut off before each operation of its merges.</summary>
    private sealed class Scenario(Func<CrashFileSystem, IFileSystem> wrap, CrashPolicy policy)
    {
        private const long WindowMs = 7_200_000;
        private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
        private static readonly StorageOptions Options = EngineHarness.SmallOptions with
        {
            Lsm = EngineHarness.SmallOptions.Lsm with { SstableLevels = 3 },
            Compaction = new CompactionOptions { CompactionThreshold = 0.1, TargetFileSize = ByteSize.Kibibytes(4), MaxFileSize = ByteSize.Kibibytes(4) },
            Integration = new IntegrationOptions { SstableToBlockConversion = false },
        };

        private readonly CrashFileSystem _disk = new("/disk");
        private readonly ManualTime _time = new();
        private readonly Dictionary<(string Series, long TimeMs), ulong> _must = [];
        private readonly List<string> _violations = [];
        private IFileSystem? _wrapped;
        private EngineHarness? _engine;
        private bool _armed;

        public bool CrashesDuringRecovery { get; init; }

        public bool StopAtFirst { get; init; }

        public int Crashes { get; private set; }

        public int RecoveryCrashes { get; private set; }

        // What the policy leaves open needs several tries, what it does not gives the same disk again.
        private int Seeds => policy.Kind is CrashKind.RandomPages or CrashKind.Prefix or CrashKind.TornSector or CrashKind.Reordered ? 2 : 1;

        public long Forgot() => _wrapped is ForgetfulFileSystem forgetful ? forgetful.Forgotten : 0;

        public List<string> Run()
        {
            _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
            _disk.BeforeOperation = (number, operation) => CutOff(number, $"{operation}");
            _wrapped = wrap(_disk);
            _engine = EngineHarness.OpenStepwise(_wrapped, Options, _time);

            // Tables with two windows each: the first merge takes one of them out, the second the tables. Newer versions in each.
            Write(-1, 0, 3, value: 0);
            Write(0, 0, 3, value: 0);
            _engine.FlushByStep();
            Write(-1, 2, 5, value: 100);
            Write(0, 1, 4, value: 100);
            _engine.FlushByStep();
            Merge();
            if (!StopAtFirst) Assert.Equal((2, 0), (_engine.Engine.Stats().Compactions[0].Count, _engine.Engine.Stats().Tables.Count(static table => table.Level == 0)));

            // A second run of level 1, so that the next merge goes to level 2, and one more of the next level.
            for (int round = 2; round < 5; round++)
            {
                Write(0, round, round + 3, value: round * 100);
                _engine.FlushByStep();
                Merge();
            }

            if (!StopAtFirst) Assert.True(_engine.Engine.Stats().Compactions[1].Count > 0, "nothing reached level 2");
            CutOff(_disk.OperationCount, "the end");
            return _violations;
        }

        private static string NameOf(int series) => Labels.Print(LabelsOf(series));

        private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "crash"), ("series", $"{series}"));

        private static long TimeOf(int window, int step) => CurrentMs + window * WindowMs + step * 60_000;

        private bool IsOver() => StopAtFirst && _violations.Count > 0;

        private void Write(int window, int from, int to, double value)
        {
            if (IsOver()) return;
            (byte[], Sample[])[] request = [.. Enumerable.Range(0, 90).Select(series => (
                LabelsOf(series), Enumerable.Range(from, to - from).Select(step => Sample.Of(TimeOf(window, step), value + series * 10 + step)).ToArray()))];
            Assert.Equal(WriteStatus.Written, _engine!.WriteAsync(request).GetAwaiter().GetResult().Status);
            for (int series = 0; series < request.Length; series++)
            {
                foreach (Sample sample in request[series].Item2) _must[(NameOf(series), sample.TimeMs)] = sample.ValueBits;
            }
        }

        private void Merge()
        {
            if (IsOver()) return;
            _armed = true;
            try
            {
                _engine!.TablesByStep();
            }
            finally
            {
                _armed = false;
            }
        }

        private void CutOff(long number, string operation)
        {
            if ((!_armed && operation != "the end") || IsOver()) return;
            Crashes++;
            for (int seed = 0; seed < Seeds; seed++)
            {
                CrashFileSystem image = _disk.CrashClone(policy, seed);
                string when = $"before operation {number} ({operation}), seed {seed}";
                if (!CrashesDuringRecovery)
                {
                    Check(image, when);
                    continue;
                }

                // One in ten keeps the run short; which ones they are moves with the operation, so that all steps get their turn.
                int steps = 0;
                var again = new List<CrashFileSystem>();
                image.BeforeOperation = (_, _) =>
                {
                    if (steps++ % 10 == number % 10) again.Add(image.CrashClone(policy, seed));
                };
                Check(image, when);
                RecoveryCrashes += again.Count;
                for (int i = 0; i < again.Count; i++) Check(again[i], $"{when}, recovery cut off, {i}");
            }
        }

        private void Check(CrashFileSystem image, string when)
        {
            try
            {
                EngineHarness engine = EngineHarness.OpenStepwise(image, Options, _time);
                Compare($"{when}, opened", engine);
                CompareFiles($"{when}, opened", engine, image);
                engine.TablesByStep();
                Compare($"{when}, at rest", engine);
                CompareFiles($"{when}, at rest", engine, image);
                foreach (string damage in engine.Engine.Stats().Damages) _violations.Add($"{when}: damage reported, {damage}");
            }
            catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException or InvalidOperationException)
            {
                _violations.Add($"{when}: {refused.Message}");
            }
        }

        private void CompareFiles(string when, EngineHarness engine, CrashFileSystem image)
        {
            var paths = new DataLayout("/disk/data");
            string[] named = [.. engine.Engine.Stats().Tables.Select(paths.Table).Order(StringComparer.Ordinal)];
            string[] there = [.. TestTables.Files(image).Order(StringComparer.Ordinal)];
            if (!named.SequenceEqual(there)) _violations.Add($"{when}: {string.Join(' ', there)} are there, {string.Join(' ', named)} are named");
        }

        private void Compare(string when, EngineHarness engine)
        {
            var found = new Dictionary<(string, long), ulong>();
            foreach ((string labels, List<Sample> samples) in engine.ReadAll())
            {
                foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), sample.ValueBits);
            }

            foreach (((string, long) key, ulong bits) in _must)
            {
                if (!found.Remove(key, out ulong actual)) _violations.Add($"{when}: {key} is lost");
                else if (actual != bits) _violations.Add($"{when}: {key} is an older version");
            }

            foreach ((string, long) key in found.Keys) _violations.Add($"{when}: {key} should not be there");
        }
    }
}
