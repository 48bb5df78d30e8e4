using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Any history of writes, flushes and restarts reads like a sorted map in which the newest value of an instant wins.</summary>
public sealed class EngineModelTests
{
    private const int SeriesCount = 6;

    // Behind all data: nothing in it is in the future.
    private const long NowMs = 1_800_000_000_000;

    private static readonly byte[][] Series =
        [.. Enumerable.Range(0, SeriesCount).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}"), ("even", i % 2 == 0 ? "yes" : "")))];

    // Near window bounds and each other, so that samples collide, fall behind and cross windows.
    private static readonly Gen<long> Time = Gen.OneOf(
        Gen.Long[-3, 3].Select(static i => 7_200_000L + i), Gen.Long[0, 200].Select(static i => i * 15_000L), Gen.Long[-20, 20].Select(static i => i * 7_200_000L),
        Gen.Const(long.MinValue), Gen.Long[0, 10].Select(static i => 1_000_000_000L + i));

    private static readonly Gen<ulong> Value = Gen.OneOf(
        Gen.Int[0, 5].Select(static i => BitConverter.DoubleToUInt64Bits(i)), Gen.Double.Select(BitConverter.DoubleToUInt64Bits), Gen.ULong,
        Gen.Const(StaleMarker.Bits), Gen.Const(0x8000000000000000UL));

    private static readonly Gen<Operation> Step = Gen.Frequency(
        (12, Gen.Select(Gen.Int[0, SeriesCount - 1], Gen.Select(Time, Value, static (time, value) => new Sample(time, value)).Array[1, 20])
            .Array[1, 4].Select(static series => new Operation(OperationKind.Write, series))),
        (2, Gen.Const(new Operation(OperationKind.Flush, []))),
        (2, Gen.Const(new Operation(OperationKind.Compact, []))),
        (1, Gen.Const(new Operation(OperationKind.Restart, []))),
        (1, Gen.Const(new Operation(OperationKind.Kill, []))),
        (2, Gen.Const(new Operation(OperationKind.Prepare, []))),
        (3, Gen.Const(new Operation(OperationKind.Read, []))));

    private enum OperationKind
    {
        Write,
        Flush,
        Compact,
        Restart,
        Kill,

        /// <summary>A successor of the dictionary is made, and takes over in some later step.</summary>
        Prepare,
        Read,
    }

    [Fact]
    public void Any_history_reads_like_a_sorted_map_in_which_the_newest_wins() => Step.Array[1, 40].Sample(Run, iter: 300);

    [Fact]
    public void Any_history_with_windows_converted_as_soon_as_they_can_be_reads_alike() => Step.Array[1, 40].Sample(
        static history => Run(history, EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } }),
        iter: 150);

    [Fact]
    public void Any_history_reads_alike_while_series_leave_the_dictionary_and_come_back()
    {
        long collections = 0;
        long dropped = 0;
        Step.Array[1, 40].Sample(
            history =>
            {
                StorageOptions options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };
                EngineStats stats = Run(history, options, collectFrom: 1);
                Interlocked.Add(ref collections, stats.DictionaryCollections);
                Interlocked.Add(ref dropped, stats.SeriesDropped);
            },
            iter: 300);
        Assert.True(collections > 100 && dropped > 200, $"the histories did not come to what they are for: {collections} collections, {dropped} series dropped");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Any_history_in_block_only_mode_reads_alike_and_series_leave_the_dictionary(bool mergesBlocks)
    {
        long straight = 0;
        long tables = 0;
        long dropped = 0;
        Step.Array[1, 40].Sample(
            history =>
            {
                StorageOptions options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks, BlockCompaction = mergesBlocks } };
                EngineStats stats = Run(history, options, collectFrom: 1);
                Interlocked.Add(ref straight, stats.FlushesToBlocks);
                Interlocked.Add(ref tables, stats.Flushes - stats.FlushesToBlocks);
                Interlocked.Add(ref dropped, stats.SeriesDropped);
            },
            iter: 300);
        Assert.True(straight > 50 && tables > 50 && dropped > 50, $"the histories did not come to what they are for: {straight} flushes into blocks, {tables} into tables, {dropped} series dropped");
    }

    [Fact]
    public void Any_history_reads_alike_under_other_options() => Step.Array[1, 30].Sample(
        static history =>
        {
            StorageOptions other = EngineHarness.SmallOptions with
            {
                Lsm = EngineHarness.SmallOptions.Lsm with { Stripes = 1, BloomFilterBits = 4 },
                Read = EngineHarness.SmallOptions.Read with { CacheSstableMetadata = false },
            };
            Run(history, other);
        },
        iter: 100);

    private static void Run(Operation[] history) => Run(history, EngineHarness.SmallOptions);

    private static EngineStats Run(Operation[] history, StorageOptions options, int? collectFrom = null)
    {
        var files = new CrashFileSystem("/disk");
        var model = new Dictionary<int, SortedDictionary<long, ulong>>();
        var time = new ManualTime();
        time.Advance(TimeSpan.FromMilliseconds(NowMs));
        EngineHarness engine = EngineHarness.OpenStepwise(files, options, time, collectFrom: collectFrom);
        foreach (Operation operation in history)
        {
            switch (operation.Kind)
            {
                case OperationKind.Write:
                    Write(engine, operation.Series, model);
                    break;
                case OperationKind.Flush:
                    engine.FlushByStep();
                    while (options.Integration.WritePath == WritePathChoice.Blocks && engine.Engine.StepBlocks())
                    {
                    }

                    break;
                case OperationKind.Compact:
                    engine.CompactByStep();
                    break;
                case OperationKind.Restart:
                    engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
                    engine = EngineHarness.OpenStepwise(files, options, time, collectFrom: collectFrom);
                    break;
                case OperationKind.Kill:
                    files = files.CrashClone(CrashPolicy.OnlySynced, seed: 1);
                    engine = EngineHarness.OpenStepwise(files, options, time, collectFrom: collectFrom);
                    break;
                case OperationKind.Prepare:
                    time.Advance(options.BlockDuration.ToTimeSpan() * 1.1); // what was flushed before is no longer recent by that
                    engine.Engine.StepDictionary();
                    break;
                default:
                    Check(engine, model);
                    break;
            }
        }

        Check(engine, model);
        EngineStats stats = engine.Engine.Stats();
        Assert.Null(stats.Failure);
        Assert.Empty(stats.Damages);
        return stats;
    }

    private static void Write(EngineHarness engine, (int Series, Sample[] Samples)[] request, Dictionary<int, SortedDictionary<long, ulong>> model)
    {
        WriteReport report = engine.WriteAsync([.. request.Select(static one => (Series[one.Series], one.Samples))]).GetAwaiter().GetResult();
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
        Assert.Equal(request.Sum(static one => one.Samples.Length), report.Samples);
        foreach ((int series, Sample[] samples) in request)
        {
            if (!model.TryGetValue(series, out SortedDictionary<long, ulong>? known)) model.Add(series, known = []);
            foreach (Sample sample in samples) known[sample.TimeMs] = sample.ValueBits;
        }
    }

    private static void Check(EngineHarness engine, Dictionary<int, SortedDictionary<long, ulong>> model)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(model.Count, read.Count);
        foreach ((int series, SortedDictionary<long, ulong> known) in model)
        {
            List<Sample> actual = read[Labels.Print(Series[series])];
            Assert.Equal(known.Select(static pair => new Sample(pair.Key, pair.Value)), actual);
        }
    }

    private sealed record Operation(OperationKind Kind, (int Series, Sample[] Samples)[] Series)
    {
        public override string ToString() => $"{Kind} {string.Join(' ', Series.Select(static one => $"{one.Series}:[{string.Join(',', one.Samples)}]"))}";
    }
}
