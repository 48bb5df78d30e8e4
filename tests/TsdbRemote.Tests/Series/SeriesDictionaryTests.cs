using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class SeriesDictionaryTests
{
    [Fact]
    public void It_answers_as_a_map_from_label_bytes_whatever_the_hash()
    {
        // Two of three cases use a hash with four values only, so that every look-up meets strangers' entries.
        Gen.Select(LabelSets.Run.Array[0, 300], Gen.Int[0, 2]).Sample(
            (runs, kind) =>
            {
                using var series = new SeriesDictionary(100);
                var model = new Dictionary<string, uint>();
                foreach (byte[] run in runs)
                {
                    ulong hash = HashOf(run, kind);
                    string key = Convert.ToHexString(run);
                    Assert.Equal(model.TryGetValue(key, out uint known), series.TryFind(run, hash, out uint found));
                    if (model.ContainsKey(key)) Assert.Equal(known, found);
                    uint ordinal = series.GetOrAdd(run, hash, out bool added);
                    Assert.Equal(model.TryAdd(key, (uint)model.Count), added);
                    Assert.Equal(model[key], ordinal);
                    Assert.Equal(100 + ordinal, series.IdOf(ordinal));
                    Assert.True(series.LabelsOf(ordinal).SequenceEqual(run));
                }

                Assert.Equal(model.Count, series.Count);
                Assert.Equal(100 + (ulong)model.Count, series.NextSeriesId);
            },
            iter: 100);
    }

    [Fact]
    public void It_grows_over_many_pages_without_losing_anything()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 70_000).Select(RunOf));
        for (int i = 0; i < 70_000; i++)
        {
            byte[] run = RunOf(i);
            Assert.True(series.TryFind(run, Labels.Hash(run), out uint ordinal));
            Assert.Equal((uint)i, ordinal);
        }

        byte[] absent = RunOf(70_000);
        Assert.False(series.TryFind(absent, Labels.Hash(absent), out _));
    }

    [Fact]
    public void A_full_dictionary_still_finds_but_adds_nothing()
    {
        using var series = new SeriesDictionary();
        Assert.True(series.TryAdd(RunOf(1), Labels.Hash(RunOf(1)), 1, out _, out bool added));
        Assert.True(added);
        Assert.False(series.TryAdd(RunOf(2), Labels.Hash(RunOf(2)), 1, out _, out added));
        Assert.False(added);
        Assert.True(series.TryAdd(RunOf(1), Labels.Hash(RunOf(1)), 1, out uint ordinal, out added));
        Assert.False(added);
        Assert.Equal(0u, ordinal);
        Assert.Equal(1, series.Count);
        Assert.Equal(2u, series.NextSeriesId);
    }

    [Fact]
    public void An_alias_leads_to_its_series_and_is_forgotten_rather_than_kept_for_ever()
    {
        using var series = new SeriesDictionary(1, maxAliases: 100, maxAliasBytes: 1 << 20);
        series.AddAll([RunOf(0), RunOf(1)]);
        for (int i = 0; i < 1000; i++)
        {
            byte[] alias = RunOf(1000 + i);
            series.AddAlias(alias, Labels.Hash(alias), 1);
            series.AddAlias(alias, Labels.Hash(alias), 1);
            Assert.InRange(series.AliasCount, 1, 100);
            for (int back = 0; back < 50 && back <= i; back++)
            {
                byte[] recent = RunOf(1000 + i - back);
                Assert.True(series.TryFind(recent, Labels.Hash(recent), out uint ordinal));
                Assert.Equal(1u, ordinal);
            }
        }

        Assert.False(series.TryFind(RunOf(1000), Labels.Hash(RunOf(1000)), out _));
        Assert.True(series.TryFind(RunOf(0), Labels.Hash(RunOf(0)), out _));
        Assert.Equal(2, series.Count);
    }

    [Fact]
    public void Aliases_are_bounded_in_bytes_too()
    {
        using var series = new SeriesDictionary(1, maxAliases: 1000, maxAliasBytes: 10_000);
        series.AddAll([RunOf(0)]);
        for (int i = 0; i < 100; i++)
        {
            byte[] alias = Labels.Encode(("a", new string('x', 1000)), ("i", $"{i}"));
            series.AddAlias(alias, Labels.Hash(alias), 0);
        }

        Assert.InRange(series.AliasCount, 4, 10);
        byte[] huge = Labels.Encode(("a", new string('x', 9000)));
        series.AddAlias(huge, Labels.Hash(huge), 0);
        Assert.False(series.TryFind(huge, Labels.Hash(huge), out _));
    }

    [Fact]
    public void A_load_in_any_order_gives_ordinals_in_the_order_of_ids()
    {
        Gen.ULong[1, 1000].HashSet[1, 200].Sample(
            set =>
            {
                ulong[] ids = [.. set];
                using var series = new SeriesDictionary(500);
                foreach (ulong id in ids) series.Load(id, RunOf((int)id));
                Assert.Equal(0, series.CompleteLoad());
                Array.Sort(ids);
                for (uint i = 0; i < ids.Length; i++)
                {
                    Assert.Equal(ids[i], series.IdOf(i));
                    Assert.True(series.LabelsOf(i).SequenceEqual(RunOf((int)ids[i])));
                    Assert.True(series.TryFind(RunOf((int)ids[i]), Labels.Hash(RunOf((int)ids[i])), out uint found) && found == i);
                    Assert.True(series.IsPersisted(i));
                }

                for (ulong id = 0; id <= 1001; id++)
                {
                    int at = Array.BinarySearch(ids, id);
                    Assert.Equal(at >= 0, series.TryOrdinalOf(id, out uint ordinal));
                    if (at >= 0) Assert.Equal((uint)at, ordinal);
                }

                Assert.Equal(Math.Max(500, ids[^1] + 1), series.NextSeriesId);
            },
            iter: 50);
    }

    [Fact]
    public void An_id_that_comes_twice_is_kept_once_and_told()
    {
        using var series = new SeriesDictionary();
        series.Load(2, RunOf(2));
        series.Load(1, RunOf(1));
        series.Load(2, RunOf(3));
        Assert.Equal(1, series.CompleteLoad());
        Assert.Equal(2, series.Count);
        Assert.True(series.LabelsOf(1).SequenceEqual(RunOf(2)));
        Assert.Throws<InvalidOperationException>(() => series.Load(9, RunOf(9)));
    }

    [Fact]
    public void An_empty_load_is_ready_at_once()
    {
        using var series = new SeriesDictionary();
        Assert.Equal(0, series.CompleteLoad());
        Assert.True(series.PostingsReady);
        Assert.False(series.TryOrdinalOf(1, out _));
        Assert.False(series.TryFind(RunOf(1), Labels.Hash(RunOf(1)), out _));
    }

    [Fact]
    public void Series_are_persisted_when_told_so_and_not_before()
    {
        using var series = new SeriesDictionary();
        series.AddAll(Enumerable.Range(0, 200).Select(RunOf));
        series.MarkPersisted([0, 63, 64, 199]);
        for (uint i = 0; i < 200; i++) Assert.Equal(i is 0 or 63 or 64 or 199, series.IsPersisted(i));
        Assert.Throws<ArgumentOutOfRangeException>(() => series.MarkPersisted([200]));
    }

    [Fact]
    public void The_newest_time_only_rises()
    {
        using var series = new SeriesDictionary();
        series.AddAll([RunOf(0), RunOf(1)]);
        long before = series.MemoryBytes;
        Assert.Equal(long.MinValue, series.NewestTimeMs(1));
        Assert.Equal(before, series.MemoryBytes);
        series.ObserveTime(1, -5);
        series.ObserveTime(1, -7);
        Assert.Equal(-5, series.NewestTimeMs(1));
        Assert.Equal(long.MinValue, series.NewestTimeMs(0));
        series.AddAll(Enumerable.Range(2, 9000).Select(RunOf));
        Assert.Equal(long.MinValue, series.NewestTimeMs(9000));
        series.ObserveTime(9000, 3);
        Assert.Equal(3, series.NewestTimeMs(9000));
        Assert.Equal(-5, series.NewestTimeMs(1));
    }

    [Fact]
    public void Ordinals_beyond_the_count_are_refused()
    {
        using var series = new SeriesDictionary();
        Assert.Throws<ArgumentOutOfRangeException>(() => series.IdOf(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => { series.LabelsOf(0); });
        Assert.Throws<ArgumentOutOfRangeException>(() => series.AddAlias(RunOf(0), 1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => series.ObserveTime(0, 1));
    }

    [Fact]
    public void A_cancelled_build_goes_on_where_it_stopped()
    {
        using SeriesDictionary series = Loaded(20_000);
        using var cancel = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => series.BuildPostings(cancel.Token, done =>
        {
            if (done > 5000) cancel.Cancel();
        }));
        Assert.False(series.PostingsReady);
        Assert.InRange(series.Postings.IndexedCount, 5000u, 10_000u);
        long last = 0;
        series.BuildPostings(CancellationToken.None, done => last = done);
        Assert.True(series.PostingsReady);
        Assert.Equal(20_000, last);
        Assert.Equal(20_000, series.Postings.Find("all"u8, "1"u8).Count);
    }

    [Fact]
    public async Task Postings_that_are_left_to_the_builder_are_complete_once_nothing_more_is_coming()
    {
        using var series = new SeriesDictionary();
        series.DeferPostings();
        Assert.False(series.PostingsReady);
        int adding = 1;
        Task building = Start(() => series.BuildPostings(CancellationToken.None, progress: null, () => Volatile.Read(ref adding) == 1));
        series.AddAll(Enumerable.Range(0, 5_000).Select(RunOf));
        await Task.Delay(20);
        series.AddAll(Enumerable.Range(5_000, 10).Select(RunOf));
        Assert.False(series.PostingsReady);
        Volatile.Write(ref adding, 0);
        await building;
        Assert.True(series.PostingsReady);
        Assert.Equal(Enumerable.Range(0, 5_010).Select(static i => (uint)i), series.Postings.Find("all"u8, "1"u8).Ids());

        using var cancelled = new SeriesDictionary();
        cancelled.DeferPostings();
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => cancelled.BuildPostings(cancel.Token, progress: null, static () => true));
    }

    [Fact]
    public async Task Postings_built_while_series_are_added_are_complete_and_ascending()
    {
        using SeriesDictionary series = Loaded(30_000);
        Task[] adding = [.. Enumerable.Range(0, 2).Select(thread => Start(() =>
            series.AddAll(Enumerable.Range(0, 10_000).Select(i => RunOf(30_000 + (i * 2) + thread)))))];
        Task building = Start(() => series.BuildPostings(CancellationToken.None));
        await Task.WhenAll([building, .. adding]);
        Assert.Equal(50_000, series.Count);
        Assert.Equal(Enumerable.Range(0, 50_000).Select(i => (uint)i), series.Postings.Find("all"u8, "1"u8).Ids());
        for (uint i = 0; i < 50_000; i += 97)
        {
            Labels.TryGet(series.LabelsOf(i), "i"u8, out ReadOnlySpan<byte> value);
            Assert.Equal([i], series.Postings.Find("i"u8, value).Ids());
        }
    }

    [Fact]
    public async Task Whoever_finds_a_series_can_select_it_and_nothing_is_ever_half_there()
    {
        using var series = new SeriesDictionary();
        const int PerThread = 8000;
        int adders = 2;
        Task[] adding = [.. Enumerable.Range(0, 2).Select(thread => Start(() =>
        {
            // Both add the same series, in opposite orders.
            for (int i = 0; i < PerThread; i++)
            {
                byte[] run = RunOf(thread == 0 ? i : PerThread - 1 - i);
                uint ordinal = series.GetOrAdd(run, Labels.Hash(run), out _);
                Assert.True(series.LabelsOf(ordinal).SequenceEqual(run));
                series.ObserveTime(ordinal, i);
            }

            Interlocked.Decrement(ref adders);
        }))];
        Task finding = Start(() =>
        {
            var random = new Random(1);
            while (Volatile.Read(ref adders) > 0)
            {
                byte[] run = RunOf(random.Next(PerThread));
                if (!series.TryFind(run, Labels.Hash(run), out uint ordinal)) continue;
                Assert.True(series.LabelsOf(ordinal).SequenceEqual(run));
                Labels.TryGet(run, "i"u8, out ReadOnlySpan<byte> value);
                Assert.Equal([ordinal], series.Postings.Find("i"u8, value).Ids());
                Assert.True(series.TryOrdinalOf(series.IdOf(ordinal), out uint same) && same == ordinal);
            }
        });
        Task selecting = Start(() =>
        {
            Matcher[] odd = [Matcher.Create(MatcherType.Equal, "all", "1"), Matcher.Create(MatcherType.NotEqual, "odd", "")];
            Matcher[] rest = [Matcher.Create(MatcherType.Equal, "odd", "")];
            while (Volatile.Read(ref adders) > 0)
            {
                // Every series has "all"; odd and rest part them, so neither may hold a series of the other.
                uint before = series.Postings.IndexedCount;
                uint[] selected = SeriesSelection.Select(series, odd, CancellationToken.None);
                Assert.Equal(LabelSets.SelectNaively(series, odd, before), selected.TakeWhile(id => id < before));
                before = series.Postings.IndexedCount;
                selected = SeriesSelection.Select(series, rest, CancellationToken.None);
                Assert.Equal(LabelSets.SelectNaively(series, rest, before), selected.TakeWhile(id => id < before));
                Assert.All(selected, id => Assert.True(LabelSets.Satisfies(series.LabelsOf(id), rest)));
            }
        });
        await Task.WhenAll([.. adding, finding, selecting]);
        Assert.Equal(PerThread, series.Count);
        Assert.Equal(PerThread, series.Postings.Find("all"u8, "1"u8).Count);
    }

    private static Task Start(Action action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static ulong HashOf(byte[] run, int kind) => kind switch
    {
        0 => Labels.Hash(run),
        1 => Labels.Hash(run) % 4,
        _ => Labels.Hash(run) << 62,
    };

    private static byte[] RunOf(int i) => Labels.Encode(("all", "1"), ("i", $"{i}"), ("odd", i % 2 == 1 ? "1" : ""), ("m", $"{i % 17}"));

    private static SeriesDictionary Loaded(int count)
    {
        var series = new SeriesDictionary();
        for (int i = 0; i < count; i++) series.Load((ulong)i + 1, RunOf(i));
        series.CompleteLoad();
        return series;
    }
}
