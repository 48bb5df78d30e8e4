using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T10, T11: a power cut before any file operation of conversions, of an adoption and of a deletion. Whatever the disk may then hold, the next open
/// serves each sample once and in its newest version, comes to rest with whole blocks and nothing besides, and what was deleted does not come back.
/// </summary>
public sealed class ConversionCrashTests
{
    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    [Theory]
    [MemberData(nameof(Policies))]
    public void T10_T11_a_power_cut_before_any_operation_loses_doubles_and_revives_nothing(CrashKind kind)
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

    /// <summary>Each sync that the order of operations asks for is needed: a disk on which that one is forgotten loses, doubles or revives something.</summary>
    [Theory]
    [InlineData("chunk segment", SyncKind.All, ".tmp-for-creation/chunks/", "000001")]
    [InlineData("index", SyncKind.All, ".tmp-for-creation/", "/index")]
    [InlineData("tombstones", SyncKind.All, ".tmp-for-creation/", "/tombstones")]
    [InlineData("meta", SyncKind.All, ".tmp-for-creation/", "/meta.json.tmp")]
    [InlineData("directory of the chunks", SyncKind.Directory, ".tmp-for-creation", "/chunks")]
    [InlineData("directory of the block", SyncKind.Directory, "/blocks/", ".tmp-for-creation")]
    [InlineData("directory of the blocks", SyncKind.Directory, TestBlocks.Directory, "")]
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

    /// <summary>One history, cut off before each operation of its work on blocks.</summary>
    private sealed class Scenario(Func<CrashFileSystem, IFileSystem> wrap, CrashPolicy policy)
    {
        private const long WindowMs = 7_200_000;
        private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
        private static readonly StorageOptions Options = EngineHarness.SmallOptions with
        {
            Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = false },
            Retention = new RetentionOptions { Time = Duration.Hours(10) },
        };

        private readonly CrashFileSystem _disk = new("/disk");
        private readonly ManualTime _time = new();
        private readonly Dictionary<(string Series, long TimeMs), ulong> _must = [];
        private readonly Dictionary<(string Series, long TimeMs), ulong> _may = [];
        private readonly List<string> _violations = [];
        private IFileSystem? _wrapped;
        private EngineHarness? _engine;
        private bool _armed;

        // Found in the directory, not necessarily adopted: served once the store is at rest.
        private Dictionary<(string, long), ulong> _foreign = [];

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

            // Two tables: one that the conversions use up, and one that they leave with the current window.
            Write(-4, 0, 3);
            Write(-3, 0, 3);
            _engine.FlushByStep();
            Write(-3, 1, 2);
            Write(0, 0, 2);
            _engine.FlushByStep();
            BlockWork();
            if (!StopAtFirst) Assert.Equal((2, 1), (_engine.Engine.Stats().Conversions, _engine.Engine.Stats().Tables.Length));

            Write(-3, 0, 2, value: 1000); // new versions of what is in a block
            Write(-3, 2, 4);
            _engine.FlushByStep();
            BlockWork();

            // One foreign block with older versions of ours and one instant of its own, and one that is about to expire.
            PutForeign(1, -3, 0, 1, 2, 7);
            PutForeign(2, -6, 0, 1);
            BlockWork();
            Settle();

            _time.Advance(TimeSpan.FromHours(4));
            Write(2, 0, 3);
            _engine.FlushByStep();
            Expire(-4);
            Expire(-6);
            BlockWork(); // the manifest drops the blocks
            _may.Clear();
            if (!StopAtFirst) Assert.Equal(2, _engine.Engine.Stats().BlocksDeleted);
            BlockWork(); // their files go, and their names are forgotten
            BlockWork();
            CutOff(_disk.OperationCount, "the end");
            return _violations;
        }

        private static string NameOf(int series) => Labels.Print(LabelsOf(series));

        private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "crash"), ("series", $"{series}"));

        private static long TimeOf(int window, int step) => CurrentMs + window * WindowMs + step * 60_000;

        private bool IsOver() => StopAtFirst && _violations.Count > 0;

        private void Write(int window, int from, int to, double value = 0)
        {
            if (IsOver()) return;
            (byte[], Sample[])[] request = [.. Enumerable.Range(0, 3).Select(series => (
                LabelsOf(series), Enumerable.Range(from, to - from).Select(step => Sample.Of(TimeOf(window, step), value + series * 10 + step)).ToArray()))];
            Assert.Equal(WriteStatus.Written, _engine!.WriteAsync(request).GetAwaiter().GetResult().Status);
            for (int series = 0; series < 3; series++)
            {
                foreach (Sample sample in request[series].Item2) _must[(NameOf(series), sample.TimeMs)] = sample.ValueBits;
            }
        }

        private void PutForeign(int number, int window, params int[] steps)
        {
            if (IsOver()) return;
            Sample[] samples = [.. steps.Select(step => Sample.Of(TimeOf(window, step), -number))];
            TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(number), [(LabelsOf(0), samples)]);
            foreach (Sample sample in samples.Where(sample => !_must.ContainsKey((NameOf(0), sample.TimeMs)))) _foreign[(NameOf(0), sample.TimeMs)] = sample.ValueBits;
        }

        /// <summary>What was foreign is adopted.</summary>
        private void Settle()
        {
            foreach (((string, long) key, ulong bits) in _foreign) _must[key] = bits;
            _foreign = [];
        }

        /// <summary>From now on a window may be there or not.</summary>
        private void Expire(int window)
        {
            foreach ((string Series, long TimeMs) key in _must.Keys.Where(key => TimeWindow.StartOf(key.TimeMs, WindowMs) == TimeOf(window, 0)).ToArray())
            {
                _may[key] = _must[key];
                _must.Remove(key);
            }
        }

        private void BlockWork()
        {
            if (IsOver()) return;
            _armed = true;
            try
            {
                _engine!.BlocksByStep();
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

                // One in forty keeps the run short; which ones they are moves with the operation, so that all steps get their turn.
                int steps = 0;
                var again = new List<CrashFileSystem>();
                image.BeforeOperation = (_, _) =>
                {
                    if (steps++ % 40 == number % 40) again.Add(image.CrashClone(policy, seed));
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
                foreach (DirectoryEntry entry in image.List(TestBlocks.Directory))
                {
                    if (BlockDirectory.IsTemporary(entry.Name)) _violations.Add($"{when}: {entry.Name} is left");
                }

                Compare($"{when}, opened", engine, isAtRest: false);
                engine.CompactByStep();
                Compare($"{when}, at rest", engine, isAtRest: true);
                foreach (string damage in engine.Engine.Stats().Damages) _violations.Add($"{when}: damage reported, {damage}");
                _violations.AddRange(TestBlocks.Problems(image).Select(problem => $"{when}: {problem}"));
                string[] served = [.. engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal)];
                string[] there = [.. image.List(TestBlocks.Directory).Select(static entry => entry.Name)];
                if (!served.SequenceEqual(there)) _violations.Add($"{when}: blocks {string.Join(' ', there)} are there, {string.Join(' ', served)} are served");
            }
            catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException or InvalidOperationException)
            {
                _violations.Add($"{when}: {refused.Message}");
            }
        }

        private void Compare(string when, EngineHarness engine, bool isAtRest)
        {
            var found = new Dictionary<(string, long), ulong>();
            foreach ((string labels, List<Sample> samples) in engine.ReadAll())
            {
                foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), sample.ValueBits);
            }

            foreach (((string, long) key, ulong bits) in isAtRest ? _must.Concat(_foreign) : _must)
            {
                if (!found.TryGetValue(key, out ulong actual)) _violations.Add($"{when}: {key} is lost");
                else if (actual != bits) _violations.Add($"{when}: {key} is an older version");
            }

            foreach (((string, long) key, ulong bits) in found)
            {
                bool isKnown = new[] { _must, _foreign, _may }.Any(known => known.TryGetValue(key, out ulong expected) && expected == bits);
                if (!isKnown) _violations.Add($"{when}: {key} should not be there");
            }
        }
    }
}
