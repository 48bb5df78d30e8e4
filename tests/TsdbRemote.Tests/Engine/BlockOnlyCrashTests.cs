using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// A power cut before any file operation of a store in block-only mode, with a switch to tables and back on the way. Whatever the disk may then hold, the next
/// open serves each sample once and in its newest version, whichever mode it is opened in, and comes to rest with whole blocks and nothing besides.
/// </summary>
public sealed class BlockOnlyCrashTests
{
    public static TheoryData<CrashKind> Policies => [.. Enum.GetValues<CrashKind>()];

    [Theory]
    [MemberData(nameof(Policies))]
    public void A_power_cut_before_any_operation_loses_and_doubles_nothing(CrashKind kind)
    {
        var scenario = new Scenario(new CrashPolicy(kind));
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.Crashes > 150, $"only {scenario.Crashes} operations were cut off");
    }

    [Fact]
    public void A_power_cut_during_recovery_from_a_power_cut_changes_nothing()
    {
        var scenario = new Scenario(new CrashPolicy(CrashKind.OnlySynced)) { CrashesDuringRecovery = true };
        Assert.Equal([], scenario.Run());
        Assert.True(scenario.RecoveryCrashes > 100, $"only {scenario.RecoveryCrashes} recoveries were cut off");
    }

    private sealed class Scenario(CrashPolicy policy)
    {
        private const long WindowMs = 7_200_000;
        private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
        private static readonly StorageOptions BlockOnly = EngineHarness.SmallOptions with
        {
            Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), WritePath = WritePathChoice.Blocks },
        };

        private static readonly StorageOptions Tables = BlockOnly with { Integration = BlockOnly.Integration with { WritePath = WritePathChoice.Lsm } };
        private readonly CrashFileSystem _disk = new("/disk");
        private readonly ManualTime _time = new();
        private readonly Dictionary<(string Series, long TimeMs), ulong> _must = [];

        // Sent and not acknowledged: older or newer, or not there at all.
        private readonly Dictionary<(string Series, long TimeMs), ulong> _sent = [];
        private readonly List<string> _violations = [];
        private EngineHarness _engine = null!;
        private bool _armed;

        public bool CrashesDuringRecovery { get; init; }

        public int Crashes { get; private set; }

        public int RecoveryCrashes { get; private set; }

        public List<string> Run()
        {
            _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
            _disk.BeforeOperation = (number, operation) => CutOff(number, $"{operation}");
            _engine = EngineHarness.OpenStepwise(_disk, BlockOnly, _time);
            _armed = true;

            // The open window and one that is over, in one MemTable; then newer versions and more of both; then a MemTable above blocks.
            Write(-3, 0, 3);
            Write(0, 0, 2);
            FlushAndConvert();
            Write(-3, 0, 2, value: 1000);
            Write(0, 1, 4, value: 2000);
            FlushAndConvert();
            Write(0, 0, 1, value: 3000);

            // To tables and back, with one of them between.
            Assert.True(_engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
            FlushAndConvert();
            Write(0, 3, 5, value: 4000);
            _engine.FlushByStep();
            Assert.True(_engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
            Write(-1, 0, 2);
            FlushAndConvert();
            EngineStats stats = _engine.Engine.Stats();
            Assert.True(stats is { Conversions: >= 5, BlockCompactions: >= 1, Tables.IsEmpty: true }, $"{stats}");
            CutOff(_disk.OperationCount, "the end");
            return _violations;
        }

        private static string NameOf(int series) => Labels.Print(LabelsOf(series));

        private static byte[] LabelsOf(int series) => Labels.Encode(("__name__", "crash"), ("series", $"{series}"));

        private static long TimeOf(int window, int step) => CurrentMs + window * WindowMs + step * 60_000;

        private void Write(int window, int from, int to, double value = 0)
        {
            (byte[], Sample[])[] request = [.. Enumerable.Range(0, 3).Select(series => (
                LabelsOf(series), Enumerable.Range(from, to - from).Select(step => Sample.Of(TimeOf(window, step), value + series * 10 + step)).ToArray()))];
            for (int series = 0; series < 3; series++)
            {
                foreach (Sample sample in request[series].Item2) _sent[(NameOf(series), sample.TimeMs)] = sample.ValueBits;
            }

            Assert.Equal(WriteStatus.Written, _engine.WriteAsync(request).GetAwaiter().GetResult().Status);
            foreach (((string, long) key, ulong bits) in _sent) _must[key] = bits;
            _sent.Clear();
        }

        private void FlushAndConvert()
        {
            _engine.FlushByStep();
            while (_engine.Engine.StepBlocks())
            {
            }
        }

        private void CutOff(long number, string operation)
        {
            if (!_armed) return;
            Crashes++;
            CrashFileSystem image = _disk.CrashClone(policy, seed: (int)number);
            string when = $"before operation {number} ({operation})";
            StorageOptions options = number % 2 == 0 ? BlockOnly : Tables;
            if (!CrashesDuringRecovery)
            {
                Check(image, when, options);
                return;
            }

            int steps = 0;
            var again = new List<CrashFileSystem>();
            image.BeforeOperation = (_, _) =>
            {
                if (steps++ % 40 == number % 40) again.Add(image.CrashClone(policy, seed: 1));
            };
            Check(image, when, options);
            RecoveryCrashes += again.Count;
            for (int i = 0; i < again.Count; i++) Check(again[i], $"{when}, recovery cut off, {i}", i % 2 == 0 ? Tables : BlockOnly);
        }

        private void Check(CrashFileSystem image, string when, StorageOptions options)
        {
            try
            {
                EngineHarness engine = EngineHarness.OpenStepwise(image, options, _time);
                Compare($"{when}, opened", engine);
                Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
                engine.CompactByStep();
                Compare($"{when}, at rest", engine);
                EngineStats stats = engine.Engine.Stats();
                if (!stats.Tables.IsEmpty) _violations.Add($"{when}: tables are left");
                foreach (string damage in stats.Damages) _violations.Add($"{when}: damage reported, {damage}");
                _violations.AddRange(TestBlocks.Problems(image).Select(problem => $"{when}: {problem}"));
                string[] served = [.. stats.Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal)];
                string[] there = [.. image.List(TestBlocks.Directory).Select(static entry => entry.Name)];
                if (!served.SequenceEqual(there)) _violations.Add($"{when}: blocks {string.Join(' ', there)} are there, {string.Join(' ', served)} are served");
            }
            catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or InvariantViolatedException or InvalidOperationException)
            {
                _violations.Add($"{when}: {refused.Message}");
            }
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
                if (!found.TryGetValue(key, out ulong actual)) _violations.Add($"{when}: {key} is lost");
                else if (actual != bits && !(_sent.TryGetValue(key, out ulong newer) && newer == actual)) _violations.Add($"{when}: {key} is an older version");
            }

            foreach ((string, long) key in found.Keys.Where(key => !_must.ContainsKey(key) && !_sent.ContainsKey(key))) _violations.Add($"{when}: {key} should not be there");
        }
    }
}
