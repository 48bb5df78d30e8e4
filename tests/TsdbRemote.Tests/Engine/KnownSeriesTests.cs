using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Wire;

namespace TsdbRemote.Tests.Engine;

/// <summary>Series that are recognised by their bytes while a request is decoded: nothing else may come of it than from reading them.</summary>
public sealed class KnownSeriesTests
{
    private const int Rounds = 3000;

    private readonly SeriesResolver _resolver = new(LabelLimits.Default, int.MaxValue, new EngineCounters());

    [Fact]
    public void What_is_known_changes_nothing_about_what_any_body_decodes_to_whole_or_damaged()
    {
        int recognised = 0;
        using var plain = new WriteScratch();
        using var knowing = new WriteScratch();
        Gen.Int.Sample(
            seed =>
            {
                using var dictionary = new SeriesDictionary();
                var random = new Random(seed);
                var wire = new OddWire(random, oddness: 0.1);
                byte[] body = Body([.. Enumerable.Range(0, random.Next(1, 8)).Select(_ => (Run(random), Rest(random, wire)))]);
                Decode(plain, body, dictionary: null, DecodeLimits.Default);
                _resolver.Resolve(plain, dictionary, long.MaxValue);
                if (seed % 2 == 0) body = wire.Damage(body);
                DecodeLimits limits = seed % 5 == 0 ? DecodeLimits.Default with { MaxSeries = 2, MaxSamples = 3 } : DecodeLimits.Default;
                (DecodeStatus, string?) expected = Decode(plain, body, dictionary: null, limits);
                Assert.Equal(expected, Decode(knowing, body, dictionary, limits));
                recognised += AssertSame(plain.Batch, knowing.Batch, dictionary);
            },
            iter: Rounds,
            threads: 1);
        Assert.InRange(recognised, Rounds / 4, int.MaxValue);
    }

    [Theory]
    [InlineData("a label more", false)]
    [InlineData("a label behind the sample", false)]
    [InlineData("no sample", false)]
    [InlineData("a longer value", false)]
    [InlineData("two samples", true)]
    public void Only_labels_and_samples_make_a_series_the_expected_one(string what, bool isRecognised)
    {
        using var dictionary = new SeriesDictionary();
        using var scratch = new WriteScratch();
        byte[] first = Labels.Encode(("__name__", "first"));
        byte[] second = Labels.Encode(("__name__", "second"));
        byte[] more = Labels.Encode(("a", "b"));
        Decode(scratch, Body((first, Sampled(1)), (second, Sampled(1))), dictionary: null, DecodeLimits.Default);
        _resolver.Resolve(scratch, dictionary, long.MaxValue);
        byte[] body = what switch
        {
            "a label more" => Body((first, Sampled(2)), ([.. second, .. more], Sampled(2))),
            "a label behind the sample" => Body((first, Sampled(2)), (second, [.. Sampled(2), .. more])),
            "no sample" => Body((first, Sampled(2)), (second, [])),
            "a longer value" => Body((first, Sampled(2)), (Labels.Encode(("__name__", "secondary")), Sampled(2))),
            _ => Body((first, Sampled(2)), (second, [.. Sampled(2), .. Sampled(3)])),
        };
        Decode(scratch, body, dictionary, DecodeLimits.Default);
        Assert.Equal(1u, scratch.Batch.Series[0].Known); // by its hash, as the first of a request
        ReadOnlySpan<byte> run = scratch.Batch.LabelsOf(scratch.Batch.Series[1]);
        Assert.Equal(dictionary.TryFind(run, Labels.Hash(run), out uint ordinal) ? ordinal + 1 : 0, scratch.Batch.Series[1].Known);
        Assert.Equal(isRecognised ? 2 : scratch.Batch.Series[1].SampleCount, scratch.Batch.Series[1].SampleCount);
        _resolver.Resolve(scratch, dictionary, long.MaxValue);
        Assert.Equal(what is "a label more" or "a label behind the sample" or "a longer value" ? 3 : 2, dictionary.Count);
    }

    [Fact]
    public void Numbers_of_another_dictionary_are_not_believed()
    {
        using var before = new SeriesDictionary();
        using var after = new SeriesDictionary();
        using var scratch = new WriteScratch();
        byte[] other = Labels.Encode(("__name__", "other"));
        byte[] run = Labels.Encode(("__name__", "m"));
        before.GetOrAdd(run, Labels.Hash(run), out _);
        after.GetOrAdd(other, Labels.Hash(other), out _);
        Decode(scratch, Body((run, Sampled(1))), before, DecodeLimits.Default);
        Assert.Equal(1u, scratch.Batch.Series[0].Known);
        _resolver.Resolve(scratch, after, long.MaxValue);
        Assert.Equal(1u, scratch.Resolved(1)[0].Ordinal);
        Assert.True(after.LabelsOf(1).SequenceEqual(run));
    }

    [Fact]
    public void A_request_in_another_order_is_given_up_on_after_some_misses_and_still_resolves()
    {
        using var dictionary = new SeriesDictionary();
        using var scratch = new WriteScratch();
        (byte[] Run, byte[] After)[] series = [.. Enumerable.Range(0, 200).Select(static i => (Labels.Encode(("__name__", $"m{i}")), Sampled(1)))];
        Decode(scratch, Body(series), dictionary: null, DecodeLimits.Default);
        _resolver.Resolve(scratch, dictionary, long.MaxValue);
        Array.Reverse(series);
        Decode(scratch, Body(series), dictionary, DecodeLimits.Default);
        Assert.InRange(Known(scratch), 1, 20);
        _resolver.Resolve(scratch, dictionary, long.MaxValue);
        for (int i = 0; i < series.Length; i++) Assert.Equal((uint)(199 - i), scratch.Resolved(200)[i].Ordinal);
        Decode(scratch, Body(series), dictionary, DecodeLimits.Default);
        Assert.Equal(200, Known(scratch));
    }

    private static byte[] Run(Random random) =>
        Labels.Encode(("__name__", $"m{random.Next(6)}"), ("a", new string('a', random.Next(1, 150))));

    private static byte[] Rest(Random random, OddWire wire)
    {
        byte[] samples = [.. Enumerable.Range(0, random.Next(4)).SelectMany(_ => Sampled(random.Next(1, 1000)))];
        return random.Next(4) > 0 ? samples : [.. samples, .. wire.RequestV1()]; // fields that mean something else here, or nothing
    }

    private static int Known(WriteScratch scratch)
    {
        int known = 0;
        foreach (ref readonly SeriesEntry entry in scratch.Batch.Series) known += entry.Known > 0 ? 1 : 0;
        return known;
    }

    private static byte[] Sampled(long timeMs)
    {
        byte[] sample = new byte[SampleWire.MaxBytes];
        return sample[..SampleWire.Write(sample, timeMs, 77)];
    }

    private static byte[] Body(params (byte[] Run, byte[] After)[] series)
    {
        using PooledBuffer body = PooledBuffer.Rent(1024);
        foreach ((byte[] run, byte[] after) in series) RemoteWriteV1.EncodeSeries(body, run, [], after);
        return body.Span.ToArray();
    }

    private static (DecodeStatus Status, string? Error) Decode(WriteScratch scratch, byte[] body, SeriesDictionary? dictionary, in DecodeLimits limits)
    {
        scratch.Reset();
        if (dictionary is null) return (RemoteWriteV1.Decode(body, scratch.Batch, limits, out string? plainly), plainly);
        SenderCursor cursor = dictionary.NewCursor();
        scratch.KnownBy = dictionary;
        return (RemoteWriteV1.Decode(body, scratch.Batch, limits, ref cursor, out string? error), error);
    }

    private static int AssertSame(WriteBatch plain, WriteBatch knowing, SeriesDictionary dictionary)
    {
        Assert.Equal(plain.Samples, knowing.Samples);
        Assert.Equal(plain.Histograms.ToArray(), knowing.Histograms.ToArray());
        Assert.Equal(plain.Exemplars.ToArray(), knowing.Exemplars.ToArray());
        Assert.Equal(plain.Metadata.ToArray(), knowing.Metadata.ToArray());
        Assert.Equal((plain.MinTimeMs, plain.MaxTimeMs, plain.Series.Length), (knowing.MinTimeMs, knowing.MaxTimeMs, knowing.Series.Length));
        int recognised = 0;
        for (int i = 0; i < plain.Series.Length; i++)
        {
            SeriesEntry expected = plain.Series[i];
            SeriesEntry found = knowing.Series[i];
            ReadOnlySpan<byte> run = knowing.LabelsOf(found);
            Assert.True(plain.LabelsOf(expected).SequenceEqual(run));
            if (found.Known > 0)
            {
                recognised++;
                Assert.True(dictionary.TryFind(run, Labels.Hash(run), out uint ordinal));
                Assert.Equal(ordinal + 1, found.Known);
            }

            found.Known = 0;
            found.WasExpected = false;
            Assert.Equal(expected, found);
        }

        return recognised;
    }
}
