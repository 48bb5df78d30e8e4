using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// Any history of writes (in order, late, again, with another value), flushes, merges, conversions, retention, restarts and kills, also in the middle
/// of a replay, reads like <see cref="StoreModel"/>: a merge changes nothing that anybody can read. And one history under many options reads the same.
/// </summary>
public sealed class CompactionModelTests
{
    private const long WindowMs = 7_200_000;
    private const int SeriesCount = 6;

    // The end of a window and some minutes, so that the one before closes while a history goes on.
    private static readonly TimeSpan Start = TimeSpan.FromMilliseconds(TimeWindow.StartOf(1_700_000_000_000, WindowMs)) + TimeSpan.FromMinutes(20);

    private static readonly byte[][] Series =
        [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", i % 2 == 0 ? "m" : "n"), ("i", $"{i}"), ("odd", i % 3 == 0 ? "yes" : "")))];

    // Few windows and few places in them, near their bounds too, so that samples collide and every window sees many tables.
    private static readonly Gen<(int WindowsBack, long Offset)> Place = Gen.Select(
        Gen.Frequency((6, Gen.Const(0)), (3, Gen.Const(1)), (2, Gen.Int[2, 4])),
        Gen.OneOf(Gen.Long[0, 2], Gen.Long[WindowMs - 2, WindowMs - 1], Gen.Long[0, 60].Select(static i => i * 15_000L), Gen.Long[1, 10].Select(static i => 1_200_000L - i)));

    private static readonly Gen<ulong> Value = Gen.OneOf(Gen.Int[0, 5].Select(static i => BitConverter.DoubleToUInt64Bits(i)), Gen.ULong, Gen.Const(StaleMarker.Bits));

    private static readonly Gen<Operation> Step = Gen.Frequency(
        (14, Gen.Select(Gen.Int[0, SeriesCount - 1], Gen.Select(Place, Value, static (place, value) => (place.WindowsBack, place.Offset, value)).Array[1, 12])
            .Array[1, 5].Select(static series => new Operation(OperationKind.Write, series, 0))),
        (9, Gen.Const(new Operation(OperationKind.Flush, [], 0))),
        (4, Gen.Const(new Operation(OperationKind.MergeOne, [], 0))),
        (3, Gen.Const(new Operation(OperationKind.MergeAll, [], 0))),
        (1, Gen.Const(new Operation(OperationKind.Compact, [], 0))),
        (2, Gen.Const(new Operation(OperationKind.Switch, [], 0))),
        (2, Gen.OneOf(Gen.Const(1), Gen.Int[10, 90], Gen.Int[120, 300]).Select(static minutes => new Operation(OperationKind.Wait, [], minutes))),
        (3, ModelDelete.Of(SeriesCount, Place).Select(static delete => new Operation(OperationKind.Delete, [], 0) { Delete = delete })),
        (1, Gen.Const(new Operation(OperationKind.Clean, [], 0))),
        (1, Gen.Const(new Operation(OperationKind.Restart, [], 0))),
        (1, Gen.Const(new Operation(OperationKind.Kill, [], 0))),
        (2, Gen.Int[0, 60].Select(static step => new Operation(OperationKind.KillInReplay, [], step))),
        (2, Gen.Const(new Operation(OperationKind.Read, [], 0))));

    private enum OperationKind
    {
        Write,
        Flush,
        MergeOne,
        MergeAll,
        Compact,
        Switch,
        Wait,
        Restart,
        Kill,
        KillInReplay,
        Delete,
        Clean,
        Read,
    }

    public static TheoryData<CompactionStrategy> Strategies => [.. Enum.GetValues<CompactionStrategy>()];

    [Theory]
    [MemberData(nameof(Strategies))]
    public void Any_history_in_tables_alone_reads_like_a_map_in_which_the_newest_wins(CompactionStrategy strategy) => Sample(
        Merging(strategy) with { Integration = new IntegrationOptions { SstableToBlockConversion = false } }, iterations: 80,
        seen => Assert.True(seen is { Merges: > 100, Conversions: 0, Deletes: > 100 } && (seen.Deep > 10 || strategy == CompactionStrategy.TimeTiered), $"the histories did not come to what they are for: {seen}"));

    [Theory]
    [MemberData(nameof(Strategies))]
    public void Any_history_with_conversions_and_retention_reads_like_its_layers(CompactionStrategy strategy) => Sample(
        Merging(strategy) with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) }, Retention = new RetentionOptions { Time = Duration.Hours(3) } },
        iterations: 60,
        static seen => Assert.True(seen is { Merges: > 50, Conversions: > 20, Deleted: > 2 }, $"the histories did not come to what they are for: {seen}"));

    [Fact]
    public void One_history_under_many_options_answers_the_same()
    {
        var seen = new Seen();
        Step.Array[20, 60].Sample(history => AssertSameAnswers(history, seen), iter: 12);
        Assert.True(seen is { Merges: > 100, Conversions: > 100, Straight: > 100, Deletes: > 100 }, $"the histories did not come to what they are for: {seen}");
    }

    private static void AssertSameAnswers(Operation[] history, Seen seen)
    {
        StorageOptions tables = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { SstableToBlockConversion = false } };
        StorageOptions[] sets =
        [
            tables,
            .. Enum.GetValues<CompactionStrategy>().Select(static strategy => Merging(strategy)),
            Merging(CompactionStrategy.Leveled, levels: 2, threshold: 1) with { Read = EngineHarness.SmallOptions.Read with { CacheSstableMetadata = false, ReadBufferSize = ByteSize.Kibibytes(4) } },
            Merging(CompactionStrategy.SizeTiered, levels: 2, threshold: 0.5) with { Lsm = EngineHarness.SmallOptions.Lsm with { Stripes = 1, BloomFilterBits = 1, SstableLevels = 2 } },
            Merging(CompactionStrategy.TimeTiered, levels: 16) with { Compaction = new CompactionOptions { TargetFileSize = ByteSize.Mebibytes(1), MaxFileSize = ByteSize.Mebibytes(1) } },
            tables with { Integration = new IntegrationOptions { HybridMode = false }, Read = EngineHarness.SmallOptions.Read with { ParallelSstableReads = false } },
            EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } },
            EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks, ReadPath = ReadPathChoice.Blocks, BlockCompaction = false } },
            Merging(CompactionStrategy.Leveled) with { Lsm = EngineHarness.SmallOptions.Lsm with { Enabled = false } },
        ];
        List<string>[] answers =
        [
            .. sets.Select(options => new History(options, seen, sameBlocks: false).Run(history)),
            .. new[] { sets[0], sets[1], sets[^1] }.Select(options => new History(options, seen, sameBlocks: false, switches: true).Run(history)),
        ];
        for (int i = 1; i < answers.Length; i++) Assert.Equal(answers[0], answers[i]);
    }

    [Fact]
    public async Task Mapped_tables_answer_as_those_that_are_read()
    {
        byte[][] series = [.. Enumerable.Range(0, 300).Select(static i => Labels.Encode(("__name__", "mapped"), ("i", $"{i}")))];
        Dictionary<string, List<Sample>>? expected = null;
        foreach (bool mmap in (bool[])[true, false])
        {
            using var directory = new TempDirectory();
            StorageOptions options = Merging(CompactionStrategy.SizeTiered) with
            {
                DataDir = directory["data"],
                Read = new ReadOptions { Mmap = mmap },
                Integration = new IntegrationOptions { SstableToBlockConversion = false },
            };
            await using EngineHarness engine = EngineHarness.OpenStepwise(new LocalFileSystem(), options);
            for (int round = 0; round < 6; round++)
            {
                await engine.WriteAsync([.. series.Select(labels => (labels, Enumerable.Range(0, 40).Select(step => TsdbRemote.Blocks.Model.Sample.Of(step * 1000 + round * 500, (step * 7919 + round) % 1000 / 3.0)).ToArray()))]);
                engine.FlushByStep();
                engine.TablesByStep();
            }

            Assert.True(engine.Engine.Stats().Compactions.Sum(static level => level.TablesWritten) > 6, "the runs are cut");
            Dictionary<string, List<Sample>> read = engine.ReadAll();
            expected ??= read;
            Assert.Equal(expected.Count, read.Count);
            foreach ((string labels, List<Sample> samples) in expected) Assert.Equal(samples, read[labels]);
        }
    }

    private static StorageOptions Merging(CompactionStrategy strategy, int levels = 4, double threshold = 0.01) => EngineHarness.SmallOptions with
    {
        Lsm = EngineHarness.SmallOptions.Lsm with { CompactionStrategy = strategy, SstableLevels = levels },
        Compaction = new CompactionOptions { CompactionThreshold = threshold, TargetFileSize = ByteSize.Kibibytes(4), MaxFileSize = ByteSize.Kibibytes(8) },
    };

    private static void Sample(StorageOptions options, int iterations, Action<Seen> check)
    {
        var seen = new Seen();
        Step.Array[10, 60].Sample(history => { new History(options, seen, sameBlocks: true).Run(history); }, iter: iterations);
        check(seen);
    }

    /// <summary>What all histories of a test came to, so that it shows if they stop doing what they are for.</summary>
    private sealed class Seen
    {
        private long _merges;
        private long _deep;
        private long _conversions;
        private long _deleted;
        private long _straight;
        private long _deletes;

        public long Merges => _merges;

        public long Deep => _deep;

        public long Conversions => _conversions;

        public long Deleted => _deleted;

        public long Straight => _straight;

        public long Deletes => _deletes;

        public void AddDelete() => Interlocked.Increment(ref _deletes);

        public void Add(EngineStats stats)
        {
            Interlocked.Add(ref _merges, stats.Compactions.Sum(static level => level.Count));
            Interlocked.Add(ref _deep, stats.Compactions.Where(static level => level.Level > 1).Sum(static level => level.Count));
            Interlocked.Add(ref _conversions, stats.Conversions);
            Interlocked.Add(ref _deleted, stats.BlocksDeleted);
            Interlocked.Add(ref _straight, stats.FlushesToBlocks);
        }

        public override string ToString() => $"{Merges} merges, {Deep} below level 1, {Conversions} conversions, {Deleted} blocks deleted, {Straight} flushes into blocks, {Deletes} deletes";
    }

    private sealed class History
    {
        private readonly StorageOptions _options;
        private readonly Seen _seen;
        private readonly bool _sameBlocks;
        private readonly bool _switches;
        private readonly ManualTime _time = new();
        private readonly StoreModel _model;
        private readonly List<string> _answers = [];
        private CrashFileSystem _files = new("/disk");
        private EngineHarness _engine = null!;
        private long _openedMs;

        /// <summary>A history under some options.</summary>
        /// <param name="options">The options.</param>
        /// <param name="seen">Added to.</param>
        /// <param name="sameBlocks">The model is told of compactions, and compared with; false where late data waits, so that only answers count.</param>
        /// <param name="switches">The write path is switched where the history says so; else that changes nothing.</param>
        public History(StorageOptions options, Seen seen, bool sameBlocks, bool switches = false)
        {
            _switches = switches;
            _options = options;
            _seen = seen;
            _sameBlocks = sameBlocks && options.Integration.SstableToBlockConversion;
            _model = new StoreModel(WindowMs, options.Integration.BlockDelay.Milliseconds, options.Integration.BlockCompaction, hasRanges: options.Retention.Time is null);
            _time.Advance(Start);
            Open(_files);
        }

        private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

        public List<string> Run(Operation[] history)
        {
            foreach (Operation operation in history) Do(operation);
            _engine.TablesByStep();
            Check();
            if (_sameBlocks && _options.Retention.Time is { } retention)
            {
                Compact();
                _time.Advance(retention.ToTimeSpan() / 2);
                Compact();
                _engine.TablesByStep();
                Check();
            }

            _seen.Add(_engine.Engine.Stats());
            CheckFiles();
            return _answers;
        }

        private void Do(Operation operation)
        {
            switch (operation.Kind)
            {
                case OperationKind.Write:
                    Write(operation.Series);
                    break;
                case OperationKind.Flush:
                    Flush();
                    break;
                case OperationKind.Switch:
                    if (_switches) _engine.Engine.TrySwitchWritePath(IsBlockOnly ? WritePathChoice.Lsm : WritePathChoice.Blocks);
                    break;
                case OperationKind.MergeOne:
                    _engine.Engine.StepCompaction();
                    break;
                case OperationKind.MergeAll:
                    _engine.TablesByStep();
                    break;
                case OperationKind.Compact:
                    Compact();
                    break;
                case OperationKind.Wait:
                    _time.Advance(TimeSpan.FromMinutes(operation.Number));
                    break;
                case OperationKind.Restart:
                    _seen.Add(_engine.Engine.Stats());
                    _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
                    Open(_files);
                    break;
                case OperationKind.Kill:
                    _seen.Add(_engine.Engine.Stats());
                    Open(_files.CrashClone(CrashPolicy.OnlySynced, seed: 1));
                    break;
                case OperationKind.Delete:
                    Delete(operation.Delete!);
                    break;
                case OperationKind.Clean:
                    Clean();
                    break;
                case OperationKind.KillInReplay:
                    _seen.Add(_engine.Engine.Stats());
                    KillInReplay(operation.Number);
                    break;
                default:
                    Check();
                    break;
            }
        }

        private bool IsBlockOnly => _engine.Engine.Stats().WritePath == WritePathChoice.Blocks;

        private void Flush()
        {
            _engine.FlushByStep();
            while (IsBlockOnly && _engine.Engine.StepBlocks())
            {
            }
        }

        /// <summary>Not under retention: the age of what is stored is measured from the newest sample, deleted or not, until it has left all files.</summary>
        private void Delete(ModelDelete delete)
        {
            if (_options.Retention.Time is not null) return;
            TimeRange range = delete.Range(place => Resolve((place.WindowsBack, place.Offset, 0)).TimeMs);
            _engine.DeleteByStep(delete.Selector, range);
            _model.Delete(delete.Selects, range);
            _seen.AddDelete();
            Check();
        }

        private void Clean()
        {
            _engine.CleanByStep(Compact);
            Assert.Equal(0, _engine.Engine.Stats().Tombstones);
            Check();
        }

        private void Compact()
        {
            long deletedBefore = _engine.Engine.Stats().BlocksDeleted;
            _engine.CompactByStep();
            if (!_sameBlocks) return;
            EngineStats stats = _engine.Engine.Stats();
            bool isClockTrusted = NowMs - _openedMs >= 60_000;
            _model.Compact(
                NowMs, isClockTrusted ? _options.Retention.Time?.Milliseconds : null, bySize: false, stats.BlocksDeleted - deletedBefore,
                [.. stats.Blocks.Select(static block => new ServedBlock(block.Adopted ? block.Ulid : null, new TimeRange(block.MinTimeMs, block.EndTimeMs - 1)))]);
        }

        /// <summary>The log is replayed, and the machine fails again before a certain operation of it.</summary>
        private void KillInReplay(int step)
        {
            CrashFileSystem image = _files.CrashClone(CrashPolicy.OnlySynced, seed: 1);
            CrashFileSystem? cut = null;
            int operations = 0;
            image.BeforeOperation = (_, _) =>
            {
                if (operations++ == step) cut = image.CrashClone(CrashPolicy.OnlySynced, seed: 1);
            };
            Open(image);
            image.BeforeOperation = null;
            if (cut is not null) Open(cut);
        }

        private void Open(CrashFileSystem files)
        {
            _files = files;
            _engine = EngineHarness.OpenStepwise(files, _options, _time);
            _openedMs = NowMs;
            Assert.Empty(_engine.Engine.Stats().Damages);
        }

        private void Write((int Series, (int, long, ulong)[] Samples)[] series)
        {
            (int Series, Sample[] Samples)[] request = [.. series.Select(one => (one.Series, one.Samples.Select(Resolve).ToArray()))];
            WriteReport report = _engine.WriteAsync([.. request.Select(static one => (Series[one.Series], one.Samples))]).GetAwaiter().GetResult();
            Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
            foreach ((int number, Sample[] samples) in request)
            {
                foreach (Sample sample in samples) _model.Write(number, sample);
            }
        }

        private Sample Resolve((int WindowsBack, long Offset, ulong Bits) sample)
        {
            long current = TimeWindow.StartOf(NowMs, WindowMs);
            long time = current - sample.WindowsBack * WindowMs + sample.Offset;
            return new Sample(Math.Min(time, NowMs), sample.Bits);
        }

        private void Check()
        {
            Dictionary<string, List<Sample>> read = _engine.ReadAll();
            _answers.Add(string.Join('\n', read.OrderBy(static one => one.Key, StringComparer.Ordinal).Select(static one => $"{one.Key} {string.Join(' ', one.Value)}")));
            Dictionary<int, List<Sample>> expected = _model.Expected();
            Assert.Equal(expected.Count, read.Count);
            foreach ((int series, List<Sample> samples) in expected) Assert.Equal(samples, read[Labels.Print(Series[series])]);

            Assert.Equal(expected.Keys.Select(static series => Labels.Print(Series[series])).Order(StringComparer.Ordinal), _engine.ReadNames(TimeRange.All).Order(StringComparer.Ordinal));

            // A range and a series of its own go through other paths: bloom filters, windows left out.
            long middle = NowMs - WindowMs;
            var range = new TimeRange(middle - WindowMs / 2, middle + WindowMs / 2);
            Dictionary<string, List<Sample>> one = _engine.Read(range, Matcher.Create(MatcherType.Equal, "__name__", "m"), Matcher.Create(MatcherType.Equal, "i", "0"));
            List<Sample> within = [.. expected.GetValueOrDefault(0, []).Where(sample => range.Contains(sample.TimeMs))];
            Assert.Equal(within, one.Values.SingleOrDefault() ?? []);
        }

        /// <summary>What is there is named, and nothing else is there.</summary>
        private void CheckFiles()
        {
            HashSet<string> named = [.. _engine.Engine.Stats().Tables.Select(static table => new TsdbRemote.Storage.Levels.DataLayout("/disk/data").Table(table))];
            Assert.Equal(named.Order(StringComparer.Ordinal), TestTables.Files(_files).Order(StringComparer.Ordinal));
            Assert.Equal(_engine.Engine.Stats().Tables.Where(static table => table.Level > 0).Select(static table => table.Windows[0]).Distinct().Order(), TestTables.Directories(_files));
        }
    }

    private sealed record Operation(OperationKind Kind, (int Series, (int WindowsBack, long Offset, ulong Bits)[] Samples)[] Series, int Number)
    {
        public ModelDelete? Delete { get; init; }

        public override string ToString() =>
            $"{Kind} {Delete}{(Kind == OperationKind.Write ? string.Join(' ', Series.Select(static one => $"{one.Series}:[{string.Join(',', one.Samples)}]")) : $"{Number}")}";
    }
}
