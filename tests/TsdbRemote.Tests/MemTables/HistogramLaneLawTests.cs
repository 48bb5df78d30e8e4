using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

/// <summary>Floats, integer and float histograms on the same series, in any order, late, repeated and in conflict: a sorted map says what is right.</summary>
public sealed class HistogramLaneLawTests
{
    private const int MaxSeconds = 2;

    /// <summary>Few, so that equal ones meet; of every kind; some that only a chunk of their own takes.</summary>
    private static readonly NativeHistogram[] Pool =
    [
        HistogramGen.Integer(1, 1, 2),
        HistogramGen.Integer(2, 1, 5, 0, 3),
        HistogramGen.Integer(3, 4),
        HistogramGen.Float(HistogramGen.Integer(1, 1, 2)),
        HistogramGen.Float(HistogramGen.Integer(4, 7, 8, 9)),
        HistogramGen.Stale(),
        HistogramGen.Stale(isFloat: true),
        WithHint(HistogramGen.Integer(2, 1, 1), CounterResetHint.Gauge),
        WithHint(HistogramGen.Integer(9, 3, 1), CounterResetHint.Reset),
        Custom(1, 3),
    ];

    private static readonly Gen<long> AnyTime = Gen.Frequency(
        (8, Gen.Long[-30, 30]),
        (4, Gen.Long[-2100, 2100]),
        (2, Gen.Int[-3, 3].Select(Gen.Int[-1, 1], static (window, offset) => window * WindowMs + offset)),
        (1, Gen.Long),
        (1, Gen.OneOf(long.MinValue, long.MinValue + 1, long.MaxValue - 1, long.MaxValue)));

    private static readonly Gen<LaneSample> AnySample = Gen.Frequency(
        (1, Gen.Select(AnyTime, Gen.ULong[0, 2], static (time, bits) => new LaneSample(time, bits, null))),
        (2, Gen.Select(AnyTime, Gen.Int[0, Pool.Length - 1], static (time, index) => new LaneSample(time, Pool[index]))));

    /// <summary>A series as a sender has it, at some pace and from some time on, forwards or backwards.</summary>
    private static readonly Gen<LaneSample[]> AnyRun = Gen.Select(Gen.Long[-3000, 3000], Gen.Int[-9, 9], HistogramGen.Series).Select(
        static (start, step, series) => series.Select((sample, i) => new LaneSample(start + (long)i * step, sample.Histogram)).ToArray());

    private static readonly Gen<LaneSample[]> AnySamples = Gen.Frequency((4, AnySample.Array[1, 20]), (1, AnyRun));

    private static readonly Gen<(uint Ordinal, LaneSample[] Samples)[]> AnyHistory = Gen.Select(Gen.UInt[0, 40], AnySamples).Array[1, 12];

    [Fact]
    public void Any_history_reads_as_a_sorted_map_in_which_floats_win_and_then_the_last_arrival() => CheckAgainstModel(reject: false);

    [Fact]
    public void Where_conflicts_are_refused_any_history_reads_as_a_sorted_map_with_the_first_arrival_staying() => CheckAgainstModel(reject: true);

    [Fact]
    public void A_replay_in_sequence_order_with_the_logged_winners_gives_the_live_answer() =>
        Gen.Select(Gen.Select(Gen.UInt[0, 2], AnySample).Array[1, 40], Gen.Int[0, int.MaxValue]).Sample(
            static (records, seed) =>
            {
                ulong[] arrival = [.. Enumerable.Range(0, records.Length).Select(static i => (ulong)i)];
                new Random(seed).Shuffle(arrival);
                using MemTable live = Create();
                var log = new SortedDictionary<ulong, (uint Ordinal, LaneSample Sample)>();
                foreach (ulong sequence in arrival)
                {
                    log[sequence] = records[sequence];
                    var winners = new RecordingWinnerLog(1000 + (ulong)log.Count * 2);
                    live.AppendOne(records[sequence].Item1, sequence, records[sequence].Item2, winners);
                    foreach ((ulong winner, uint ordinal, _) in winners.Histograms) log[winner] = (ordinal, records[sequence].Item2);
                    foreach ((ulong winner, uint ordinal, _) in winners.Records) log[winner] = (ordinal, records[sequence].Item2);
                }

                using MemTable replayed = Create();
                foreach ((ulong sequence, (uint ordinal, LaneSample sample)) in log) replayed.AppendOne(ordinal, sequence, sample);
                for (uint ordinal = 0; ordinal <= 2; ordinal++) AssertSame(live.ReadMixed(ordinal), replayed.ReadMixed(ordinal));
                Assert.Equal((live.SampleCount, live.HistogramCount, live.SeriesCount), (replayed.SampleCount, replayed.HistogramCount, replayed.SeriesCount));
            },
            time: MaxSeconds);

    [Fact]
    public void Any_range_offers_all_samples_inside_it() =>
        Gen.Select(AnySamples.Array[1, 6], AnyTime, AnyTime).Sample(
            static (requests, min, max) =>
            {
                using MemTable table = Create();
                foreach (LaneSample sample in requests.SelectMany(static samples => samples)) table.AppendOne(1, 1, sample);
                var range = new TimeRange(min, max);
                AssertSame(
                    [.. table.ReadMixed(1).Where(sample => range.Contains(sample.TimeMs))],
                    [.. table.ReadMixed(1, range).Where(sample => range.Contains(sample.TimeMs))]);
            },
            time: MaxSeconds);

    private static void CheckAgainstModel(bool reject) => AnyHistory.Sample(
        history =>
        {
            using MemTable table = Create(stripes: 2, reject);
            var model = new SortedDictionary<uint, ModelSeries>();
            for (int i = 0; i < history.Length; i++)
            {
                (uint ordinal, LaneSample[] samples) = history[i];
                if (!model.TryGetValue(ordinal, out ModelSeries? series)) model[ordinal] = series = new ModelSeries(reject);
                (AppendCounts Floats, AppendCounts Histograms) expected = default;
                (AppendCounts Floats, AppendCounts Histograms) counts = default;
                foreach (LaneSample sample in samples)
                {
                    AppendOutcome outcome = series.Append(sample, ref sample.Histogram is null ? ref expected.Floats : ref expected.Histograms);
                    Assert.Equal(outcome, table.AppendOne(ordinal, (ulong)i, sample, ref counts.Floats, ref counts.Histograms));
                }

                Assert.Equal(expected, counts);
            }

            Compare(model, table);
        },
        time: MaxSeconds);

    private static void Compare(SortedDictionary<uint, ModelSeries> model, MemTable table)
    {
        Assert.Equal(model.Keys, table.OrdinalsSorted());
        Assert.Equal(model.Count, table.SeriesCount);
        Assert.Equal(model.Values.Sum(static series => series.Samples.Count), table.SampleCount);
        Assert.Equal(model.Values.Sum(static series => series.Samples.Values.Count(static sample => sample.Histogram is not null)), table.HistogramCount);
        Assert.Equal(model.Values.Min(static series => series.Samples.Keys.First()), table.MinTimeMs);
        Assert.Equal(model.Values.Max(static series => series.Samples.Keys.Last()), table.MaxTimeMs);
        var windows = model.Values.SelectMany(static series => series.Samples.Keys).Select(static time => TimeWindow.EndOf(time, WindowMs)).ToHashSet();
        Assert.All(windows, end => Assert.Contains(table.Windows(), window => window.Contains(end)));
        foreach ((uint ordinal, ModelSeries series) in model)
        {
            AssertSame([.. series.Samples.Values], table.ReadMixed(ordinal));
            Assert.Equal(series.Samples.Keys.Last(), table.NewestTimeMs(ordinal));
            foreach (long time in series.Samples.Keys)
            {
                AssertFound(series, table, ordinal, time);
                AssertFound(series, table, ordinal, unchecked(time + 1));
                long start = TimeWindow.StartOf(time, WindowMs);
                foreach (long at in (long[])[start, unchecked(start + WindowMs), unchecked(start - WindowMs)])
                {
                    var window = new TimeRange(TimeWindow.StartOf(at, WindowMs), TimeWindow.EndOf(at, WindowMs));
                    Assert.Equal(series.Samples.Keys.Any(window.Contains), table.Contains(ordinal, window));
                }
            }
        }
    }

    private static void AssertFound(ModelSeries series, MemTable table, uint ordinal, long time)
    {
        series.Samples.TryGetValue(time, out LaneSample? expected);
        Sample? value = table.Find(ordinal, time);
        var found = new NativeHistogram();
        bool isHistogram = table.TryFindHistogram(ordinal, time, found);
        Assert.Equal(expected is { Histogram: null }, value is not null);
        Assert.Equal(expected is { Histogram: not null }, isHistogram);
        if (value is not null) Assert.Equal(expected!.ValueBits, value.Value.ValueBits);
        if (isHistogram) Assert.True(found.SaysTheSameAs(expected!.Histogram!));
    }

    private static void AssertSame(List<LaneSample> expected, List<LaneSample> actual)
    {
        Assert.Equal(
            expected.Select(static sample => (sample.TimeMs, sample.Histogram is null)),
            actual.Select(static sample => (sample.TimeMs, sample.Histogram is null)));
        for (int i = 0; i < expected.Count; i++) Assert.True(expected[i].IsSame(actual[i]), $"sample {i} at {expected[i].TimeMs} differs");
    }

    private static NativeHistogram WithHint(NativeHistogram histogram, CounterResetHint hint)
    {
        histogram.Hint = hint;
        return histogram;
    }

    private static NativeHistogram Custom(params long[] counts)
    {
        NativeHistogram histogram = HistogramGen.Integer(5, counts);
        (histogram.Schema, histogram.ZeroThreshold) = (HistogramSchema.Custom, 0);
        histogram.CustomBounds.AddRange([0.5, 2]);
        return histogram;
    }

    private sealed class ModelSeries(bool reject)
    {
        private long _newestFloat = long.MinValue;
        private long _newestHistogram = long.MinValue;

        public SortedDictionary<long, LaneSample> Samples { get; } = [];

        public AppendOutcome Append(LaneSample sample, ref AppendCounts counts)
        {
            Samples.TryGetValue(sample.TimeMs, out LaneSample? existing);
            AppendOutcome outcome = OutcomeOf(sample, existing);
            ref long newest = ref sample.Histogram is null ? ref _newestFloat : ref _newestHistogram;
            if (outcome == AppendOutcome.Stored && sample.TimeMs < newest) counts.OutOfOrder++;
            if (outcome is AppendOutcome.Stored or AppendOutcome.Replaced) newest = Math.Max(newest, sample.TimeMs);
            if (outcome is AppendOutcome.Stored or AppendOutcome.Replaced) Samples[sample.TimeMs] = sample;
            if (outcome == AppendOutcome.Stored) counts.Stored++;
            if (outcome == AppendOutcome.Duplicate) counts.Duplicates++;
            if (outcome is AppendOutcome.Replaced or AppendOutcome.Overruled) counts.Replaced++;
            if (outcome == AppendOutcome.Conflict) counts.Conflicts++;
            return outcome;
        }

        private AppendOutcome OutcomeOf(LaneSample sample, LaneSample? existing)
        {
            if (existing is null) return AppendOutcome.Stored;
            bool isSame = existing.Histogram is null
                ? sample.Histogram is null && existing.ValueBits == sample.ValueBits
                : sample.Histogram is not null && existing.Histogram.SaysTheSameAs(sample.Histogram);
            if (isSame) return AppendOutcome.Duplicate;
            if (reject) return AppendOutcome.Conflict;
            return existing.Histogram is null && sample.Histogram is not null ? AppendOutcome.Overruled : AppendOutcome.Replaced;
        }
    }
}
