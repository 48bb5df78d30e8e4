using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Series;

namespace TsdbRemote.Tests.Engine;

/// <summary>Which series a request's entries are, whatever was guessed from the order of earlier requests.</summary>
public sealed class SeriesResolverTests
{
    private const int Requests = 300;
    private const int Senders = 2;

    private static readonly byte[] Nameless = Labels.Encode(("job", "no name"));

    private readonly SeriesResolver _resolver = new(LabelLimits.Default, int.MaxValue, new EngineCounters());

    [Fact]
    public void Any_order_of_any_series_resolves_each_to_its_own()
    {
        Gen.Select(LabelSets.Run, Gen.Bool).Select((run, isNamed) => isNamed ? [.. Name, .. run] : Nameless).Array[0, 60].Array[1, 6].Sample(
            requests =>
            {
                using var dictionary = new SeriesDictionary();
                using var scratch = new WriteScratch();
                foreach (byte[][] runs in requests) AssertResolves(scratch, dictionary, runs);
            },
            iter: 300);
    }

    [Fact]
    public void Senders_of_different_orders_do_not_mislead_each_other()
    {
        using var dictionary = new SeriesDictionary();
        byte[][] runs = [.. Enumerable.Range(0, 400).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];
        Parallel.For(0, Senders, sender =>
        {
            var random = new Random(sender);
            using var scratch = new WriteScratch();
            for (int request = 0; request < Requests; request++)
            {
                byte[][] sent = [.. runs.AsSpan(0, 1 + random.Next(runs.Length))];
                if (request % 3 == sender) random.Shuffle(sent);
                AssertResolves(scratch, dictionary, sent);
            }
        });
        Assert.Equal(runs.Length, dictionary.Count);
    }

    [Fact]
    public void A_series_that_follows_as_before_is_found_where_it_is_and_another_is_not()
    {
        using var dictionary = new SeriesDictionary();
        byte[][] runs = [.. "abc".Select(static name => Labels.Encode(("__name__", name.ToString())))];
        using var scratch = new WriteScratch();
        SenderOrder order = dictionary.SenderOrder;
        AssertResolves(scratch, dictionary, runs);
        Assert.True(order.TryFollow(0, runs[1], out uint ordinal));
        Assert.Equal(1u, ordinal);
        Assert.False(order.TryFollow(0, runs[2], out _));
        Assert.False(order.TryFollow(2, runs[0], out _));
        AssertResolves(scratch, dictionary, [runs[0], runs[2]]);
        Assert.True(order.TryFollow(0, runs[2], out ordinal));
        Assert.Equal(2u, ordinal);
    }

    private static ReadOnlySpan<byte> Name => Labels.Encode(("A", "first of all"), ("__name__", "m"));

    private void AssertResolves(WriteScratch scratch, SeriesDictionary dictionary, byte[][] runs)
    {
        using PooledBuffer body = PooledBuffer.Rent(1024);
        foreach (byte[] run in runs) RemoteWriteV1.EncodeSeries(body, run, [Sample.Of(1000, 1)]);
        scratch.Reset();
        SenderCursor cursor = dictionary.NewCursor();
        if (runs.Length % 4 > 0) scratch.KnownBy = dictionary;
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(body.Memory, scratch.Batch, DecodeLimits.Default, ref cursor, out _));
        _resolver.Resolve(scratch, dictionary, long.MaxValue);
        Span<ResolvedSeries> resolved = scratch.Resolved(runs.Length);
        using PooledBuffer canonical = PooledBuffer.Rent(1024);
        for (int i = 0; i < runs.Length; i++)
        {
            if (LabelNormalizer.Normalize(runs[i], LabelLimits.Default, canonical, out _) != LabelProblem.None) Assert.Equal(ResolvedSeries.Skip, resolved[i].Ordinal);
            else Assert.True(dictionary.LabelsOf(resolved[i].Ordinal).SequenceEqual(canonical.Span));
        }
    }
}
