using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

/// <summary>The successor of a dictionary holds what lives, what came and what came back meanwhile, each with the id and the rest that it had.</summary>
public sealed class SeriesCollectionTests
{
    /// <summary>How one dictionary turns into the next; picks are taken modulo what there is.</summary>
    /// <param name="Added">Series added before it begins.</param>
    /// <param name="Live">Of all series, those that are kept.</param>
    /// <param name="Persisted">Of all series, those that the file holds.</param>
    /// <param name="AddedMeanwhile">Series added after the copy.</param>
    /// <param name="Returned">Of all series, those kept after the copy.</param>
    private sealed record Turn(int Added, int[] Live, int[] Persisted, int AddedMeanwhile, int[] Returned);

    private static readonly Gen<Turn> AnyTurn = Gen.Select(
        Gen.Int[0, 30], Gen.Int[0, 100].Array[0, 20], Gen.Int[0, 100].Array[0, 20], Gen.Int[0, 5], Gen.Int[0, 100].Array[0, 8], static (added, live, persisted, meanwhile, returned) =>
            new Turn(added, live, persisted, meanwhile, returned));

    [Fact]
    public void Any_row_of_collections_keeps_what_lives_and_nothing_else() => AnyTurn.Array[1, 5].Sample(
        static turns =>
        {
            var series = new SeriesDictionary(7);
            int next = 0;
            ulong nextId = 7;
            var known = new SortedDictionary<ulong, int>(); // id to the number of its labels
            foreach (Turn turn in turns)
            {
                for (int i = 0; i < turn.Added; i++) Add(series);
                ulong[] ids = [.. known.Keys];
                HashSet<ulong> persisted = [.. turn.Persisted.Where(_ => ids.Length > 0).Select(pick => ids[pick % ids.Length])];
                foreach (ulong id in persisted) series.MarkPersisted([OrdinalOf(series, id)]);
                HashSet<ulong> live = [.. turn.Live.Where(_ => ids.Length > 0).Select(pick => ids[pick % ids.Length])];
                HashSet<ulong> inFile = [.. ids.Where(id => series.IsPersisted(OrdinalOf(series, id)))];
                foreach (ulong id in live.Take(5)) series.ObserveTime(OrdinalOf(series, id), (long)id);

                using var collection = new SeriesCollection(series);
                Assert.False(collection.KeepId(ulong.MaxValue));
                foreach (ulong id in live) Assert.True(collection.KeepId(id));
                Assert.Equal(live.Count, collection.LiveCount);
                collection.Build(CancellationToken.None);
                HashSet<ulong> written = [.. collection.TakeUnwritten().Select(series.IdOf)];
                Assert.Equal(live.Where(inFile.Contains).Order(), written.Order());
                for (int i = 0; i < turn.AddedMeanwhile; i++) live.Add(Add(series));
                if (turn.AddedMeanwhile % 2 == 1) collection.CopyNew();
                foreach (int pick in turn.Returned.Where(_ => ids.Length > 0))
                {
                    collection.Keep(OrdinalOf(series, ids[pick % ids.Length]));
                    live.Add(ids[pick % ids.Length]);
                }

                written.UnionWith(collection.TakeUnwritten().Select(series.IdOf));
                for (int i = 0; i < turn.AddedMeanwhile; i++) live.Add(Add(series));
                SeriesDictionary successor = collection.Finish();
                collection.MarkWritten();
                Assert.True(successor.TryAcquire());
                Assert.Equal(series.Epoch + 1, successor.Epoch);
                Assert.Equal(series.Count - successor.Count, collection.DroppedCount);
                Assert.Equal(live.Where(inFile.Contains).Order(), written.Order());
                foreach (ulong id in live) Assert.Equal(series.NewestTimeMs(OrdinalOf(series, id)), successor.NewestTimeMs(OrdinalOf(successor, id)));
                foreach (ulong id in live) Assert.Equal(written.Contains(id), successor.IsPersisted(OrdinalOf(successor, id)));
                foreach (ulong dead in known.Keys.Where(id => !live.Contains(id)).ToArray())
                {
                    Assert.False(successor.TryOrdinalOf(dead, out _));
                    Assert.False(successor.TryFind(RunOf(known[dead]), Labels.Hash(RunOf(known[dead])), out _));
                    known.Remove(dead);
                }

                series.Dispose();
                series = successor;
                successor.Dispose(); // the maker's reference goes with the collection; the one taken above stays
                Check(series, known);
            }

            Assert.Equal(nextId, series.NextSeriesId);
            series.Release();

            ulong Add(SeriesDictionary to)
            {
                uint ordinal = to.GetOrAdd(RunOf(next), Labels.Hash(RunOf(next)), out bool added);
                Assert.True(added);
                Assert.Equal(nextId, to.IdOf(ordinal));
                known.Add(nextId, next++);
                return nextId++;
            }
        },
        iter: 500);

    [Fact]
    public void A_large_one_is_found_by_labels_by_ids_and_by_selection()
    {
        using var series = new SeriesDictionary();
        for (int i = 0; i < 30_000; i++) series.GetOrAdd(RunOf(i), Labels.Hash(RunOf(i)), out _);
        uint[] all = [.. Enumerable.Range(0, 30_000).Select(static i => (uint)i)];
        series.SortByLabels(all); // the successor is then ranked, too
        using var collection = new SeriesCollection(series);
        for (uint ordinal = 0; ordinal < 30_000; ordinal += 3) collection.Keep(ordinal);
        collection.Build(CancellationToken.None);
        for (uint ordinal = 1; ordinal < 3000; ordinal += 30) collection.Keep(ordinal);
        SeriesDictionary successor = collection.Finish();
        var known = new SortedDictionary<ulong, int>();
        for (int i = 0; i < 30_000; i++)
        {
            if (i % 3 == 0 || (i < 3000 && i % 30 == 1)) known.Add((ulong)i + 1, i);
        }

        Check(successor, known);
        Assert.Equal(100, collection.ReturnedCount);
    }

    [Fact]
    public void A_build_can_be_cancelled_and_leaves_the_old_one_as_it_was()
    {
        using var series = new SeriesDictionary();
        for (int i = 0; i < 3000; i++) series.GetOrAdd(RunOf(i), Labels.Hash(RunOf(i)), out _);
        using (var collection = new SeriesCollection(series))
        {
            using var cancelled = new CancellationTokenSource();
            cancelled.Cancel();
            Assert.Throws<OperationCanceledException>(() => collection.Build(cancelled.Token));
        }

        Assert.True(series.TryFind(RunOf(1), Labels.Hash(RunOf(1)), out _));
        Assert.True(series.TryAcquire());
        series.Release();
    }

    [Fact]
    public void The_memory_goes_when_the_last_of_maker_memtable_and_collection_lets_go()
    {
        var series = new SeriesDictionary();
        series.GetOrAdd(RunOf(0), Labels.Hash(RunOf(0)), out _);
        var memTable = new MemTable(new MemTableOptions(1, 1000, 1, RejectConflicts: false), series);
        var collection = new SeriesCollection(series);
        series.Dispose();
        collection.Dispose();
        Assert.Equal(1ul, memTable.Dictionary.IdOf(0));
        Assert.True(memTable.TryTranslate(series, 0, out uint own));
        Assert.Equal(0u, own);
        memTable.Dispose();
        Assert.False(series.TryAcquire());
    }

    private static void Check(SeriesDictionary series, SortedDictionary<ulong, int> known)
    {
        Assert.Equal(known.Count, series.Count);
        foreach ((ulong id, int number) in known)
        {
            Assert.True(series.TryFind(RunOf(number), Labels.Hash(RunOf(number)), out uint ordinal));
            Assert.Equal(id, series.IdOf(ordinal));
            Assert.Equal(ordinal, OrdinalOf(series, id));
            Assert.False(known.ContainsKey(id + 1) != series.TryOrdinalOf(id + 1, out _));
        }

        uint[] selected = SeriesSelection.Select(series, [Matcher.Create(MatcherType.Equal, "third", "1")], CancellationToken.None);
        Assert.Equal(known.Values.Where(static number => number % 3 == 1).Order(), selected.Select(series.LabelsNumber).Order());
        uint[] ordinals = [.. Enumerable.Range(0, series.Count).Select(static i => (uint)i)];
        series.SortById(ordinals);
        Assert.Equal(known.Keys, ordinals.Select(series.IdOf));
        series.SortByLabels(ordinals);
        Assert.Equal(known.Values.Select(static number => $"{number:D6}").Order(StringComparer.Ordinal), ordinals.Select(ordinal => $"{series.LabelsNumber(ordinal):D6}"));
    }

    private static uint OrdinalOf(SeriesDictionary series, ulong id)
    {
        Assert.True(series.TryOrdinalOf(id, out uint ordinal), $"series {id} is not there");
        return ordinal;
    }

    internal static byte[] RunOf(int number) => Labels.Encode(("__name__", "m"), ("number", $"{number:D6}"), ("third", $"{number % 3}"));
}

/// <summary>Reads the labels of these tests back.</summary>
internal static class NumberedSeries
{
    public static int LabelsNumber(this SeriesDictionary series, uint ordinal)
    {
        Assert.True(Labels.TryGet(series.LabelsOf(ordinal), "number"u8, out ReadOnlySpan<byte> value));
        return int.Parse(value, System.Globalization.CultureInfo.InvariantCulture);
    }
}
