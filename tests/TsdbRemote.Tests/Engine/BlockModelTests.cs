using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// Any history of writes, late ones too, flushes, conversions, compactions of blocks, foreign blocks, retention, restarts and kills reads like
/// <see cref="StoreModel"/>: each instant once, the newest version of it, of a foreign block only what is not known here.
/// </summary>
public sealed class BlockModelTests
{
    private const long WindowMs = 7_200_000;
    private const int SeriesCount = 5;
    private const int ForeignSeries = 2;

    // The end of a window and some minutes, so that the one before closes while a history goes on.
    private static readonly TimeSpan Start = TimeSpan.FromMilliseconds(TimeWindow.StartOf(1_700_000_000_000, WindowMs)) + TimeSpan.FromMinutes(20);

    private static readonly byte[][] Series =
        [.. Enumerable.Range(0, SeriesCount + ForeignSeries).Select(static i => Labels.Encode(("__name__", i % 2 == 0 ? "m" : "n"), ("i", $"{i}"), ("odd", i % 3 == 0 ? "yes" : "")))];

    // Windows back from the current one, and a place in it: near its bounds, and few others, so that samples collide.
    private static readonly Gen<(int WindowsBack, long Offset)> Place = Gen.Select(
        Gen.Int[0, 4],
        Gen.OneOf(Gen.Long[0, 2], Gen.Long[WindowMs - 2, WindowMs - 1], Gen.Long[0, 60].Select(static i => i * 15_000L), Gen.Long[1, 10].Select(static i => 1_200_000L - i)));

    private static readonly Gen<ulong> Value = Gen.OneOf(Gen.Int[0, 5].Select(static i => BitConverter.DoubleToUInt64Bits(i)), Gen.ULong, Gen.Const(StaleMarker.Bits));

    private static readonly Gen<(int Series, (int, long, ulong)[] Samples)[]> OwnSamples = SamplesOf(SeriesCount);

    private static readonly Gen<Operation> Step = Gen.Frequency(
        (12, OwnSamples.Select(static series => new Operation(OperationKind.Write, series, 0))),
        (2, Gen.Const(new Operation(OperationKind.Flush, [], 0))),
        (4, Gen.Const(new Operation(OperationKind.Compact, [], 0))),
        (2, SamplesOf(SeriesCount + ForeignSeries).Select(static series => new Operation(OperationKind.Foreign, series, 0))),
        (3, Gen.OneOf(Gen.Const(1), Gen.Int[10, 90], Gen.Int[120, 300]).Select(static minutes => new Operation(OperationKind.Wait, [], minutes))),
        (1, Gen.Const(new Operation(OperationKind.Restart, [], 0))),
        (2, Gen.Const(new Operation(OperationKind.Kill, [], 0))),
        (3, ModelDelete.Of(SeriesCount + ForeignSeries, Place).Select(static delete => new Operation(OperationKind.Delete, [], 0) { Delete = delete })),
        (1, Gen.Const(new Operation(OperationKind.Clean, [], 0))),
        (3, Gen.Const(new Operation(OperationKind.Prepare, [], 0))),
        (2, Gen.Const(new Operation(OperationKind.Read, [], 0))));

    private enum OperationKind
    {
        Write,
        Flush,
        Compact,
        Foreign,
        Wait,
        Restart,
        Kill,
        Delete,
        Clean,

        /// <summary>A successor of the dictionary is made, and takes over in some later step.</summary>
        Prepare,
        Read,
    }

    [Fact]
    public void Any_history_with_late_data_and_foreign_blocks_reads_like_its_layers() => Sample(
        new RetentionOptions(),
        static seen => Assert.True(
            seen is { Conversions: > 100, Late: > 20, Adopted: > 20, Quarantined: 0, Deleted: 0, Compactions: > 100, Collections: > 8, Dropped: > 30, Deletes: > 50 }, $"the histories did not come to what they are for: {seen}"));

    [Fact]
    public void Any_history_without_compaction_of_blocks_keeps_each_block_as_it_was_made_and_reads_the_same() => Sample(
        new RetentionOptions(),
        static seen => Assert.True(
            seen is { Conversions: > 100, Late: > 20, Adopted: > 20, Quarantined: 0, Deleted: 0, Compactions: 0 }, $"the histories did not come to what they are for: {seen}"),
        compacts: false);

    [Fact]
    public void Any_history_under_retention_by_time_forgets_whole_blocks_and_nothing_else() => Sample(
        new RetentionOptions { Time = Duration.Hours(5) },
        static seen => Assert.True(seen is { Conversions: > 100, Adopted: > 20, Deleted: > 20, Compactions: > 20 }, $"the histories did not come to what they are for: {seen}"));

    [Fact]
    public void Any_history_under_retention_by_size_forgets_the_blocks_that_end_first_and_nothing_else() => Sample(
        new RetentionOptions { Size = new ByteSize(2048) },
        static seen => Assert.True(seen is { Conversions: > 100, Adopted: > 20, Deleted: > 20, Compactions: > 20 }, $"the histories did not come to what they are for: {seen}"));

    private static Gen<(int, (int, long, ulong)[])[]> SamplesOf(int seriesCount) =>
        Gen.Select(Gen.Int[0, seriesCount - 1], Gen.Select(Place, Value, static (place, value) => (place.WindowsBack, place.Offset, value)).Array[1, 12]).Array[1, 4];

    private static void Sample(RetentionOptions retention, Action<Seen> check, bool compacts = true)
    {
        var seen = new Seen();
        Step.Array[5, 40].Sample(history => new History(retention, compacts, seen).Run(history), iter: 60);
        check(seen);
    }

    /// <summary>What all histories of a test came to, so that it shows if they stop doing what they are for.</summary>
    private sealed class Seen
    {
        private long _conversions;
        private long _late;
        private long _adopted;
        private long _quarantined;
        private long _deleted;
        private long _compactions;
        private long _collections;
        private long _dropped;
        private long _deletes;

        public long Deletes => _deletes;

        public long Collections => _collections;

        public long Dropped => _dropped;

        public long Conversions => _conversions;

        public long Late => _late;

        public long Adopted => _adopted;

        public long Quarantined => _quarantined;

        public long Deleted => _deleted;

        public long Compactions => _compactions;

        public void AddDelete() => Interlocked.Increment(ref _deletes);

        public void Add(EngineStats stats)
        {
            Interlocked.Add(ref _conversions, stats.Conversions);
            Interlocked.Add(ref _late, stats.LateConversions);
            Interlocked.Add(ref _adopted, stats.BlocksAdopted);
            Interlocked.Add(ref _quarantined, stats.BlocksQuarantined);
            Interlocked.Add(ref _deleted, stats.BlocksDeleted);
            Interlocked.Add(ref _compactions, stats.BlockCompactions);
            Interlocked.Add(ref _collections, stats.DictionaryCollections);
            Interlocked.Add(ref _dropped, stats.SeriesDropped);
        }

        public override string ToString() =>
            $"{Conversions} conversions, {Late} of late data, {Adopted} blocks adopted, {Quarantined} quarantined, {Deleted} deleted, {Compactions} compactions, {Collections} collections, {Dropped} series dropped, {Deletes} deletes";
    }

    private sealed class History
    {
        private readonly StorageOptions _options;
        private readonly Seen _seen;
        private readonly ManualTime _time = new();
        private readonly StoreModel _model;
        private CrashFileSystem _files = new("/disk");
        private EngineHarness _engine = null!;
        private long _openedMs;
        private int _foreign;

        public History(RetentionOptions retention, bool compacts, Seen seen)
        {
            var integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = compacts };
            _options = EngineHarness.SmallOptions with { Integration = integration, Retention = retention };
            _model = new StoreModel(WindowMs, integration.BlockDelay.Milliseconds, compacts, hasRanges: retention.Time is null);
            _seen = seen;
            _time.Advance(Start);
            Open();
        }

        private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

        public void Run(Operation[] history)
        {
            foreach (Operation operation in history) Do(operation);
            for (int i = 0; i < 3; i++) Do(new Operation(OperationKind.Compact, [], 0)); // what one converts the next deletes and the one after removes
            Check();
            _seen.Add(_engine.Engine.Stats());
            Assert.Equal([], TestBlocks.Problems(_files));
            Assert.Equal(_engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal), _files.List(TestBlocks.Directory).Select(static entry => entry.Name));
        }

        private void Do(Operation operation)
        {
            switch (operation.Kind)
            {
                case OperationKind.Write:
                    Write(operation.Series);
                    break;
                case OperationKind.Flush:
                    _engine.FlushByStep();
                    break;
                case OperationKind.Compact:
                    Compact();
                    break;
                case OperationKind.Foreign:
                    PutForeign(operation.Series);
                    break;
                case OperationKind.Wait:
                    _time.Advance(TimeSpan.FromMinutes(operation.Minutes));
                    break;
                case OperationKind.Restart:
                    _seen.Add(_engine.Engine.Stats());
                    _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
                    Open();
                    break;
                case OperationKind.Kill:
                    _seen.Add(_engine.Engine.Stats());
                    _files = _files.CrashClone(CrashPolicy.OnlySynced, seed: 1);
                    Open();
                    break;
                case OperationKind.Delete:
                    Delete(operation.Delete!);
                    break;
                case OperationKind.Clean:
                    Clean();
                    break;
                case OperationKind.Prepare:
                    _engine.Engine.StepDictionary();
                    break;
                default:
                    Check();
                    break;
            }
        }

        private void Open()
        {
            _engine = EngineHarness.OpenStepwise(_files, _options, _time, collectFrom: 1);
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

        private void PutForeign((int Series, (int, long, ulong)[] Samples)[] series)
        {
            (int Series, Sample[] Samples)[] merged =
            [
                .. series.GroupBy(static one => one.Series).Select(group => (
                    group.Key, group.SelectMany(static one => one.Samples).Select(Resolve).DistinctBy(static sample => sample.TimeMs).OrderBy(static sample => sample.TimeMs).ToArray())),
            ];
            string ulid = TestBlocks.Put(_files, TestBlocks.Directory, TestBlocks.Name(_foreign++), merged.Select(static one => (Series[one.Series], one.Samples))).ToString();
            _model.Put(ulid, merged);
        }

        /// <summary>A place in time as the clock stands; never ahead of it.</summary>
        private Sample Resolve((int WindowsBack, long Offset, ulong Bits) sample)
        {
            long time = TimeWindow.StartOf(NowMs, WindowMs) - sample.WindowsBack * WindowMs + sample.Offset;
            return new Sample(time > NowMs ? time - WindowMs : time, sample.Bits);
        }

        /// <summary>Not under retention: the age of what is stored is measured from the newest sample, deleted or not, until it has left all files.</summary>
        private void Delete(ModelDelete delete)
        {
            if (_options.Retention != new RetentionOptions()) return;
            TimeRange range = delete.Range(place => Resolve((place.WindowsBack, place.Offset, 0)).TimeMs);
            _engine.DeleteByStep(delete.Selector, range);
            _model.Delete(delete.Selects, range);
            _seen.AddDelete();
            Check();
        }

        /// <summary>Without compaction the model knows each block by what it was made as.</summary>
        private void Clean()
        {
            if (!_options.Integration.BlockCompaction) return;
            _engine.CleanByStep(Compact);
            Assert.Equal(0, _engine.Engine.Stats().Tombstones);
            Check();
        }

        private void Compact()
        {
            long deletedBefore = _engine.Engine.Stats().BlocksDeleted;
            _engine.CompactByStep();
            EngineStats stats = _engine.Engine.Stats();
            bool isClockTrusted = NowMs - _openedMs >= 60_000;
            _model.Compact(
                NowMs, isClockTrusted ? _options.Retention.Time?.Milliseconds : null, _options.Retention.Size is not null, stats.BlocksDeleted - deletedBefore,
                [.. stats.Blocks.Select(static block => new ServedBlock(block.Adopted ? block.Ulid : null, new TimeRange(block.MinTimeMs, block.EndTimeMs - 1)))]);
        }

        private void Check()
        {
            Dictionary<string, List<Sample>> read = _engine.ReadAll();
            Dictionary<int, List<Sample>> expected = _model.Expected();
            Assert.Equal(expected.Count, read.Count);
            foreach ((int series, List<Sample> samples) in expected) Assert.Equal(samples, read[Labels.Print(Series[series])]);
            Assert.Equal(expected.Keys.Select(static series => Labels.Print(Series[series])).Order(StringComparer.Ordinal), _engine.ReadNames(TimeRange.All).Order(StringComparer.Ordinal));
        }
    }

    private sealed record Operation(OperationKind Kind, (int Series, (int WindowsBack, long Offset, ulong Bits)[] Samples)[] Series, int Minutes)
    {
        public ModelDelete? Delete { get; init; }

        public override string ToString() =>
            $"{Kind} {Delete}{(Kind == OperationKind.Wait ? $"{Minutes} min" : string.Join(' ', Series.Select(static one => $"{one.Series}:[{string.Join(',', one.Samples)}]")))}";
    }
}
