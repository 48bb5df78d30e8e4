using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Exemplars;

public sealed class ExemplarRingTests
{
    private static readonly byte[] Up = Labels.Encode(("__name__", "up"));
    private static readonly byte[] Down = Labels.Encode(("__name__", "down"));

    private static readonly double[] Values = [0, -1.5, 2, double.NaN];

    private static readonly Gen<(int Series, long Time, double Value, int Trace)> Any =
        Gen.Select(Gen.Int[0, 2], Gen.Long[0, 12], Gen.Int[0, 3].Select(static i => Values[i]), Gen.Int[0, 3]);

    [Fact]
    public void It_decides_as_the_rules_say_and_keeps_the_newest_that_fit() => Any.Array[0, 120].Sample(offers =>
    {
        long bytes = 12 * 300;
        var ring = new ExemplarRing(bytes);
        var model = new List<(byte[] Series, Exemplar Exemplar)>();
        foreach ((int number, long time, double value, int trace) in offers)
        {
            byte[] series = SeriesOf(number);
            Exemplar exemplar = Of(time, value, trace);
            ExemplarOutcome expected = Decide([.. model.Where(held => held.Series.SequenceEqual(series)).Select(static held => held.Exemplar)], exemplar);
            Assert.Equal(expected, ring.Offer(series, exemplar));
            if (expected != ExemplarOutcome.Stored) continue;
            model.Add((series, exemplar));
            while (BytesOf(model) > bytes) model.RemoveAt(0);
            Assert.Equal((model.Count, BytesOf(model)), (ring.Stats.Count, ring.Stats.Bytes));
        }

        Assert.Equal(Print(model).Order(StringComparer.Ordinal), ring.Print().Order(StringComparer.Ordinal));
        Assert.Equal(Print(model), ring.All(out _).Select(static held => HeldExemplars.Print(held.Series, held.Exemplar)));
    });

    [Fact]
    public void What_is_restored_is_the_same_in_any_order_and_however_often() =>
        Gen.Select(Any.Array[0, 60], Gen.Int).Sample((offers, seed) =>
        {
            var live = new ExemplarRing(10 * 300);
            var accepted = new List<(byte[] Series, Exemplar Exemplar, ulong Order)>();
            foreach ((int number, long time, double value, int trace) in offers)
            {
                if (live.Offer(SeriesOf(number), Of(time, value, trace)) == ExemplarOutcome.Stored)
                    accepted.Add((SeriesOf(number), Of(time, value, trace), (ulong)accepted.Count));
            }

            (byte[], Exemplar, ulong)[] twice = [.. accepted, .. accepted];
            new Random(seed).Shuffle(twice);
            var again = new ExemplarRing(10 * 300);
            foreach ((byte[] series, Exemplar exemplar, ulong order) in twice) again.Restore(series, exemplar, order);
            Assert.Equal(live.Print(), again.Print());
            Assert.Equal(live.Stats.Bytes, again.Stats.Bytes);
        });

    [Theory]
    [InlineData(5, 1, 1, ExemplarOutcome.Duplicate)]
    [InlineData(5, 1.5, 0, ExemplarOutcome.Stored)]
    [InlineData(5, 0.5, 0, ExemplarOutcome.OutOfOrder)]
    [InlineData(4, 9, 0, ExemplarOutcome.OutOfOrder)]
    [InlineData(6, 0, 0, ExemplarOutcome.Stored)]
    [InlineData(5, double.NaN, 0, ExemplarOutcome.Stored)]
    public void Of_one_series_time_then_value_decides(long time, double value, int trace, ExemplarOutcome expected)
    {
        var ring = new ExemplarRing(1 << 20);
        Assert.Equal(ExemplarOutcome.Stored, ring.Offer(Up, Of(5, 1, 1)));
        Assert.Equal(expected, ring.Offer(Up, Of(time, value, trace)));
        Assert.Equal(ExemplarOutcome.Stored, ring.Offer(Down, Of(1, 0, 0)));   // another series has its own order
    }

    /// <summary>Which of 18 exemplars at the time and value of another a Prometheus 3.5.3 took: it orders them by hash of labels.</summary>
    [Fact]
    public void At_one_time_and_value_labels_decide_as_they_do_in_Prometheus()
    {
        string[] traces = [.. Enumerable.Range(0, 16).Select(static i => $"t{i}"), new string('é', 127), new string('x', 127)];
        string taken = "";
        foreach (string trace in traces)
        {
            var ring = new ExemplarRing(1 << 20);
            ring.Offer(Up, new Exemplar(Labels.Encode(("t", "base")), Sample.Of(5, 1)));
            taken += ring.Offer(Up, new Exemplar(Labels.Encode(("t", trace)), Sample.Of(5, 1))) == ExemplarOutcome.Stored ? '1' : '0';
        }

        Assert.Equal("100000100001001110", taken);
    }

    [Fact]
    public void A_repetition_of_one_that_is_not_the_newest_is_no_error()
    {
        var ring = new ExemplarRing(1 << 20);
        for (int i = 0; i < 3; i++) Assert.Equal(ExemplarOutcome.Stored, ring.Offer(Up, Of(i, 1, 1)));
        for (int i = 0; i < 3; i++) Assert.Equal(ExemplarOutcome.Duplicate, ring.Offer(Up, Of(i, 1, 1)));
        Assert.Equal(3, ring.Stats.Count);
    }

    [Fact]
    public void Both_ends_of_a_range_belong_to_it_and_series_come_in_label_order()
    {
        var ring = new ExemplarRing(1 << 20);
        for (int i = 0; i < 5; i++)
        {
            ring.Offer(Up, Of(i, 1, 0));
            ring.Offer(Down, Of(i, 2, 0));
        }

        Assert.Equal(
            ["{__name__=\"down\"} {trace_id=\"0\"} 2 @1", "{__name__=\"down\"} {trace_id=\"0\"} 2 @2", "{__name__=\"up\"} {trace_id=\"0\"} 1 @1", "{__name__=\"up\"} {trace_id=\"0\"} 1 @2"],
            HeldExemplars.Print(ring.Find(static _ => true, new TimeRange(1, 2))));
        Assert.Empty(ring.Find(static _ => true, new TimeRange(5, 9)));
        Assert.Equal(Down, Assert.Single(ring.Find(static series => series.SequenceEqual(Down), TimeRange.All)).Labels);
    }

    [Fact]
    public void Labels_of_128_characters_are_few_enough_whatever_their_bytes()
    {
        Assert.False(Exemplar.IsTooLong(Labels.Encode(("trace", new string('x', 100)), ("ü", "🚀" + new string('日', 21)))));
        Assert.True(Exemplar.IsTooLong(Labels.Encode(("trace", new string('x', 100)), ("ü", "🚀" + new string('日', 22)))));
        Assert.False(Exemplar.IsTooLong([]));
    }

    private static byte[] SeriesOf(int number) => Labels.Encode(("__name__", $"series_{number}"));

    private static Exemplar Of(long time, double value, int trace) => new(Labels.Encode(("trace_id", $"{trace}")), Sample.Of(time, value));

    /// <summary>The rule, by comparing with all.</summary>
    private static ExemplarOutcome Decide(Exemplar[] held, Exemplar given)
    {
        if (Array.Exists(held, exemplar => exemplar.At == given.At && exemplar.Labels.SequenceEqual(given.Labels))) return ExemplarOutcome.Duplicate;
        bool isBefore = Array.Exists(held, exemplar => given.At.TimeMs < exemplar.At.TimeMs);
        foreach (Exemplar exemplar in held.Where(exemplar => exemplar.At.TimeMs == given.At.TimeMs))
        {
            isBefore |= given.At.Value < exemplar.At.Value;
            isBefore |= given.At.Value == exemplar.At.Value && given.LabelHash < exemplar.LabelHash;
        }

        return isBefore ? ExemplarOutcome.OutOfOrder : ExemplarOutcome.Stored;
    }

    private static long BytesOf(List<(byte[] Series, Exemplar Exemplar)> model) =>
        model.Sum(static held => ExemplarRing.ExemplarBytes + held.Exemplar.Labels.Length)
        + model.Select(static held => held.Series).DistinctBy(static series => Convert.ToHexString(series)).Sum(static series => ExemplarRing.SeriesBytes + series.Length);

    private static IEnumerable<string> Print(List<(byte[] Series, Exemplar Exemplar)> model) =>
        model.Select(static held => HeldExemplars.Print(held.Series, held.Exemplar));

    /// <summary>Came in the order a (segment 5), b (6), c (7, live during the replay of 6). The flush of 5 wrote a file with a and c; then a kill; then the file and segments 6 and 7 are read.</summary>
    [Fact]
    public void The_oldest_makes_way_after_a_kill_during_replay()
    {
        byte[] series = Labels.Encode(("__name__", "m"));
        static Exemplar Of(int time) => new([], Sample.Of(time, 1));
        long room = ExemplarRing.SeriesBytes + series.Length + (3 * ExemplarRing.ExemplarBytes);
        var disk = new CrashFileSystem("/disk");
        disk.MakeDir("/disk/data");
        var first = new ExemplarRing(room);
        first.Restore(series, Of(1), 5UL << 40);
        first.Offer(series, Of(3)); // live, while segment 6 is still to be replayed
        Guid id = Guid.NewGuid();
        ExemplarFile.Write(disk, "/disk/data/EXEMPLARS", id, first);

        var again = new ExemplarRing(room);
        ExemplarFile.Load(disk, "/disk/data/EXEMPLARS", id, again);
        again.Restore(series, Of(2), 6UL << 40);
        again.Restore(series, Of(3), 7UL << 40);
        again.Offer(series, Of(4)); // 1 makes way
        again.Offer(series, Of(5)); // 2 makes way
        Assert.Equal([3L, 4, 5], again.Find(static _ => true, TimeRange.All).Single().Exemplars.Select(static exemplar => exemplar.At.TimeMs));
    }
}
