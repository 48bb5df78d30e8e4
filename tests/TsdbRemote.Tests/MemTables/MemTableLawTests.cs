using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

public sealed class MemTableLawTests
{
    private const int MaxSeconds = 1;

    /// <summary>Close together, so that they collide; around window borders; and at the ends of time.</summary>
    private static readonly Gen<long> AnyTime = Gen.Frequency(
        (8, Gen.Long[-30, 30]),
        (4, Gen.Long[-2100, 2100]),
        (2, Gen.Int[-3, 3].Select(Gen.Int[-1, 1], (window, offset) => window * WindowMs + offset)),
        (1, Gen.Long),
        (1, Gen.OneOf(long.MinValue, long.MinValue + 1, long.MaxValue - 1, long.MaxValue)));

    private static readonly Gen<ulong> AnyBits = Gen.Frequency(
        (6, Gen.ULong[0, 2]),
        (2, Gen.Double.Select(BitConverter.DoubleToUInt64Bits)),
        (1, Gen.OneOf(StaleMarker.Bits, StaleMarker.NormalNaN, 0x8000000000000000)));

    private static readonly Gen<Sample> AnySample = Gen.Select(AnyTime, AnyBits, (time, bits) => new Sample(time, bits));

    /// <summary>Scattered samples, or a run in either direction that fills chunks, windows and the late tail.</summary>
    private static readonly Gen<Sample[]> AnySamples = Gen.Frequency(
        (4, AnySample.Array[1, 20]),
        (1, Gen.Select(Gen.Long[-3000, 3000], Gen.Int[1, 300], Gen.Int[-3, 3], AnyBits, Run)));

    private static readonly Gen<(uint Ordinal, Sample[] Samples)[]> AnyHistory = Gen.Select(Gen.UInt[0, 70], AnySamples).Array[1, 12];

    [Fact]
    public void Any_history_reads_as_a_sorted_map_with_the_last_arrival_winning() => CheckAgainstModel(reject: false);

    [Fact]
    public void Where_conflicts_are_refused_any_history_reads_as_a_sorted_map_with_the_first_arrival_staying() =>
        CheckAgainstModel(reject: true);

    [Fact]
    public void A_replay_in_sequence_order_with_the_logged_winners_gives_the_live_answer() =>
        Gen.Select(Gen.Select(Gen.UInt[0, 2], AnySamples).Array[1, 10], Gen.Int[0, int.MaxValue]).Sample(
            (requests, seed) =>
            {
                ulong[] arrival = [.. Enumerable.Range(0, requests.Length).Select(i => (ulong)i)];
                new Random(seed).Shuffle(arrival);
                using MemTable live = Create();
                var winners = new RecordingWinnerLog(1000);
                foreach (ulong sequence in arrival)
                {
                    live.AppendLogging(winners, requests[sequence].Item1, sequence, requests[sequence].Item2);
                }

                using MemTable replayed = Create();
                for (int i = 0; i < requests.Length; i++) replayed.Append(requests[i].Item1, (ulong)i, requests[i].Item2);
                foreach ((ulong sequence, uint ordinal, Sample sample) in winners.Records) replayed.Append(ordinal, sequence, sample);
                for (uint ordinal = 0; ordinal <= 2; ordinal++) Assert.Equal(live.Read(ordinal), replayed.Read(ordinal));
                Assert.Equal(live.SampleCount, replayed.SampleCount);
            },
            time: MaxSeconds);

    [Fact]
    public void Any_range_offers_all_samples_inside_it() =>
        Gen.Select(AnySamples.Array[1, 6], AnyTime, AnyTime).Sample(
            (requests, min, max) =>
            {
                using MemTable table = Create();
                foreach (Sample[] samples in requests) table.Append(1, 1, samples);
                var range = new TimeRange(min, max);
                Assert.Equal(table.Read(1).Where(s => range.Contains(s.TimeMs)), table.Read(1, range).Where(s => range.Contains(s.TimeMs)));
            },
            time: MaxSeconds);

    private static Sample[] Run(long start, int count, int step, ulong bits) =>
        [.. Enumerable.Range(0, count).Select(i => new Sample(start + (long)i * step, bits + (ulong)(i / 3)))];

    private static void CheckAgainstModel(bool reject) => AnyHistory.Sample(
        history =>
        {
            using MemTable table = Create(stripes: 4, reject);
            var model = new SortedDictionary<uint, SortedDictionary<long, ulong>>();
            for (int i = 0; i < history.Length; i++)
            {
                (uint ordinal, Sample[] samples) = history[i];
                AppendCounts counts = default;
                var outcomes = new AppendOutcome[samples.Length];
                ResolvedSeries[] series = [new ResolvedSeries { Ordinal = ordinal, SampleCount = samples.Length }];
                table.Append(series, samples, (ulong)i, ref counts, null, outcomes);
                AppendOutcome[] expected = AppendToModel(model, ordinal, samples, reject, out AppendCounts expectedCounts);
                Assert.Equal(expected, outcomes);
                Assert.Equal(expectedCounts, counts);
            }

            Compare(model, table);
        },
        time: MaxSeconds);

    private static AppendOutcome[] AppendToModel(
        SortedDictionary<uint, SortedDictionary<long, ulong>> model, uint ordinal, Sample[] samples, bool reject, out AppendCounts counts)
    {
        if (!model.TryGetValue(ordinal, out SortedDictionary<long, ulong>? series)) model[ordinal] = series = [];
        counts = default;
        var outcomes = new AppendOutcome[samples.Length];
        for (int i = 0; i < samples.Length; i++)
        {
            bool late = series.Count > 0 && samples[i].TimeMs < series.Keys.Last();
            bool known = series.TryGetValue(samples[i].TimeMs, out ulong existing);
            outcomes[i] = !known ? AppendOutcome.Stored
                : existing == samples[i].ValueBits ? AppendOutcome.Duplicate
                : reject ? AppendOutcome.Conflict
                : AppendOutcome.Replaced;
            if (outcomes[i] != AppendOutcome.Conflict) series[samples[i].TimeMs] = samples[i].ValueBits;
            counts.Stored += known ? 0 : 1;
            counts.OutOfOrder += !known && late ? 1 : 0;
            counts.Duplicates += outcomes[i] == AppendOutcome.Duplicate ? 1 : 0;
            counts.Replaced += outcomes[i] == AppendOutcome.Replaced ? 1 : 0;
            counts.Conflicts += outcomes[i] == AppendOutcome.Conflict ? 1 : 0;
        }

        return outcomes;
    }

    private static void Compare(SortedDictionary<uint, SortedDictionary<long, ulong>> model, MemTable table)
    {
        Assert.Equal(model.Keys, table.OrdinalsSorted());
        Assert.Equal(model.Values.Sum(series => series.Count), table.SampleCount);
        Assert.Equal(model.Values.Min(series => series.Keys.First()), table.MinTimeMs);
        Assert.Equal(model.Values.Max(series => series.Keys.Last()), table.MaxTimeMs);
        foreach ((uint ordinal, SortedDictionary<long, ulong> series) in model)
        {
            Assert.Equal(series.Select(pair => new Sample(pair.Key, pair.Value)), table.Read(ordinal));
            Assert.All(series, pair => Assert.Equal(new Sample(pair.Key, pair.Value), table.Find(ordinal, pair.Key)));
            long[] after = [.. series.Keys.Select(time => unchecked(time + 1))];
            Assert.All(after, time => Assert.Equal(series.ContainsKey(time), table.Find(ordinal, time) is not null));
        }
    }
}
