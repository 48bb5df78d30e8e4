using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A power cut before any file operation of a history of appends, rotations, flushes and opens: whatever the disk may then hold, the next open
/// answers everything that was acknowledged, nothing that was not sent, and does so again when it is cut off itself.
/// </summary>
public sealed class EngineCrashTests
{
    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    [Theory]
    [MemberData(nameof(Policies))]
    public void A_power_cut_before_any_operation_loses_nothing_acknowledged(CrashKind kind)
    {
        var scenario = new CrashScenario(static files => files, new CrashPolicy(kind));
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.Crashes > 60, $"only {scenario.Crashes} operations were cut off");
    }

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    [InlineData(CrashKind.TornSector)]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing(CrashKind kind)
    {
        var scenario = new CrashScenario(static files => files, new CrashPolicy(kind)) { CrashesDuringRecovery = true };
        string told = string.Join("; ", scenario.Run().Take(5)); Assert.True(told.Length == 0, told);
    }

    /// <summary>The second recovery is cut off, too, and the third: ten times in a row, each at another of its operations, before one may end.</summary>
    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    [InlineData(CrashKind.PerFile)]
    public void T8_recoveries_that_are_cut_off_ten_times_in_a_row_change_nothing(CrashKind kind)
    {
        var scenario = new CrashScenario(static files => files, new CrashPolicy(kind)) { RecoveriesInARow = 10 };
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.RecoveryCrashes > 300, $"only {scenario.RecoveryCrashes} recoveries were cut off");
    }

    /// <summary>Each sync that the order of operations asks for is needed: a disk on which that one is forgotten loses or refuses something.</summary>
    [Theory]
    [InlineData("log records", SyncKind.Data, "/wal/", ".log")]
    [InlineData("log seal", SyncKind.All, "/wal/", ".log")]
    [InlineData("log directory", SyncKind.Directory, "/disk/data/wal", "")]
    [InlineData("dictionary", SyncKind.All, "/series/", ".dict")]
    [InlineData("dictionary directory", SyncKind.Directory, "/disk/data/series", "")]
    [InlineData("table", SyncKind.All, "/tables/", ".sst.tmp")]
    [InlineData("table directory", SyncKind.Directory, "/disk/data/tables", "")]
    [InlineData("manifest", SyncKind.All, "/data/", "MANIFEST.tmp")]
    [InlineData("data directory", SyncKind.Directory, "/disk/data", "")]
    [InlineData("parent of the data directory", SyncKind.Directory, "/disk", "")]
    public void Without_this_sync_a_power_cut_is_noticed(string what, SyncKind kind, string directory, string suffix)
    {
        foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.RandomPages(0.5), CrashPolicy.DataOnly, CrashPolicy.EntryOnly, CrashPolicy.Reordered])
        {
            var scenario = new CrashScenario(files => new ForgetfulFileSystem(files, kind, directory, suffix), policy) { StopAtFirst = true };
            List<string> violations = scenario.Run();
            Assert.True(scenario.Forgot() > 0, $"{what}: no such sync was ever asked for");
            if (violations.Count > 0) return;
        }

        Assert.Fail($"{what}: nobody noticed that this sync was left out");
    }

    /// <summary>One history on a crashing disk, cut off before each operation that changes the disk.</summary>
    private sealed class CrashScenario(Func<CrashFileSystem, IFileSystem> wrap, CrashPolicy policy)
    {
        private const int Seeds = 2;
        private static readonly StorageOptions Options = EngineHarness.SmallOptions;
        private readonly Dictionary<(int Series, long TimeMs), ulong> _acknowledged = [];
        private readonly Dictionary<(int Series, long TimeMs), ulong> _sent = [];
        private readonly List<string> _violations = [];
        private IFileSystem? _wrapped;
        private bool _checking;

        public bool CrashesDuringRecovery { get; init; }

        public int RecoveriesInARow { get; init; }

        public bool StopAtFirst { get; init; }

        public int RecoveryCrashes { get; private set; }

        public int Crashes { get; private set; }

        public long Forgot() => _wrapped is ForgetfulFileSystem forgetful ? forgetful.Forgotten : 0;

        public List<string> Run()
        {
            var disk = new CrashFileSystem("/disk");
            disk.BeforeOperation = (number, operation) => CutOff(disk, number, $"{operation}");
            _wrapped = wrap(disk);
            EngineHarness engine = EngineHarness.OpenStepwise(_wrapped, Options);
            for (int round = 0; round < 3; round++)
            {
                for (int request = 0; request < 4; request++) Write(engine, round, request);
                Flush(engine, () => Write(engine, round, 8));
                Write(engine, round, 9);
            }

            engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
            engine = EngineHarness.OpenStepwise(_wrapped, Options);
            Write(engine, 5, 0);
            CutOff(disk, disk.OperationCount, "the end");
            return _violations;
        }

        // Known series and new ones, in order and late, over three windows.
        private void Write(EngineHarness engine, int round, int request)
        {
            if (StopAtFirst && _violations.Count > 0) return;
            var series = new List<(byte[], Sample[])>();
            for (int i = 0; i <= round * 2 + request; i++)
            {
                long time = (round * 10 + request) * 1_000_000L - (i % 3 == 2 ? 5_000_000 : 0) + i;
                var sample = Sample.Of(time, round * 1000 + request * 100 + i);
                series.Add((LabelsOf(i), [sample]));
                _sent[(i, time)] = sample.ValueBits;
            }

            WriteReport report = engine.WriteAsync([.. series]).GetAwaiter().GetResult();
            Assert.Equal(WriteStatus.Written, report.Status);
            foreach (((int, long) key, ulong bits) in _sent) _acknowledged.TryAdd(key, bits);
        }

        private static void Flush(EngineHarness engine, Action betweenSwitchAndFlush)
        {
            Task done = engine.Engine.FlushAsync(CancellationToken.None);
            engine.Engine.Step(flush: false);
            betweenSwitchAndFlush();
            while (!done.IsCompleted) engine.Engine.Step();
            done.GetAwaiter().GetResult();
        }

        private void CutOff(CrashFileSystem disk, long number, string operation)
        {
            if (_checking || (StopAtFirst && _violations.Count > 0)) return;
            _checking = true;
            Crashes++;
            for (int seed = 0; seed < Seeds; seed++)
            {
                CrashFileSystem image = disk.CrashClone(policy, seed);
                if (RecoveriesInARow > 0) Check(CutOffInARow(image, (int)number), $"before operation {number} ({operation}), seed {seed}, many recoveries cut off");
                else if (CrashesDuringRecovery) RecoverCutOff(image, number, operation, seed);
                else Check(image, $"before operation {number} ({operation}), seed {seed}");
            }

            _checking = false;
        }

        private void RecoverCutOff(CrashFileSystem image, long number, string operation, int seed)
        {
            var again = new List<CrashFileSystem>();
            image.BeforeOperation = (_, _) => again.Add(image.CrashClone(policy, seed + again.Count));
            Check(image, $"before operation {number} ({operation}), seed {seed}");

            // Every third image keeps the run short; which ones they are moves with the operation, so that all steps get their turn.
            for (int i = (int)(number % 3); i < again.Count; i += 3) Check(again[i], $"before operation {number} ({operation}), seed {seed}, recovery cut off at {i}");
        }

        /// <returns>The disk after so many recoveries, each cut off before an operation of its own choice.</returns>
        private CrashFileSystem CutOffInARow(CrashFileSystem image, int seed)
        {
            var random = new Random(seed);
            for (int i = 0; i < RecoveriesInARow; i++)
            {
                CrashFileSystem now = image;
                CrashFileSystem? cut = null;
                int left = random.Next(1, 12);
                now.BeforeOperation = (_, _) =>
                {
                    if (--left == 0) cut = now.CrashClone(policy, seed);
                };
                EngineHarness.OpenStepwise(now, Options);
                now.BeforeOperation = null;
                if (cut is not null) RecoveryCrashes++;
                image = cut ?? now.CrashClone(policy, seed);
            }

            return image;
        }

        private void Check(CrashFileSystem image, string when)
        {
            try
            {
                EngineHarness engine = EngineHarness.OpenStepwise(image, Options);
                foreach (string damage in engine.Engine.Stats().Damages) _violations.Add($"{when}: damage reported, {damage}");
                Dictionary<string, List<Sample>> read = engine.ReadAll();
                var found = new Dictionary<(string, long), ulong>();
                foreach ((string labels, List<Sample> samples) in read)
                {
                    foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), sample.ValueBits);
                }

                foreach (((int series, long time), ulong bits) in _acknowledged)
                {
                    if (!found.TryGetValue((Labels.Print(LabelsOf(series)), time), out ulong actual) || actual != bits)
                        _violations.Add($"{when}: sample {series}@{time} was acknowledged and is lost");
                }

                var sent = _sent.ToDictionary(static pair => (Labels.Print(LabelsOf(pair.Key.Series)), pair.Key.TimeMs), static pair => pair.Value);
                foreach (((string, long) key, ulong bits) in found)
                {
                    if (!sent.TryGetValue(key, out ulong expected) || expected != bits) _violations.Add($"{when}: {key} was never sent");
                }
            }
            catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException)
            {
                _violations.Add($"{when}: {refused.Message}");
            }
        }

        private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "crash"), ("series", $"{series}"));
    }
}
