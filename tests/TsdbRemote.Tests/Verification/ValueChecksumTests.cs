using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Verification;

public class ValueChecksumTests
{
    [Fact]
    public void The_checksum_of_a_block_is_that_of_its_samples_however_they_are_cut()
    {
        Sample[] samples = ForgedChunk.SamplesFrom(BlockForge.StartMs, 100);
        samples[50] = new Sample(samples[50].TimeMs, StaleMarker.Bits);
        var builder = new ValueChecksumBuilder();
        foreach ((string Name, string Value)[] labels in ((string, string)[][])[[("__name__", "a"), ("zone", "ü")], [("__name__", "b")]])
        {
            builder.BeginSeries(Labels.Encode(labels));
            foreach (Sample sample in samples) builder.Add(sample.TimeMs, sample.ValueBits);
        }

        ValueChecksum expected = builder.Finish();
        Assert.Equal(200, expected.Samples);
        foreach (int cut in (int[])[1, 33, 99])
        {
            BlockForge forge = Forge(samples, cut);
            forge.Options = forge.Options with { ExpectedValues = expected };
            BlockReport report = forge.Verify();
            Assert.Empty(report.Findings);
            Assert.Equal(expected, report.Values);
        }

        samples[99] = new Sample(samples[99].TimeMs, samples[99].ValueBits ^ 1);
        BlockForge other = Forge(samples, 33);
        other.Options = other.Options with { ExpectedValues = expected };
        Assert.Equal(51, Assert.Single(other.Verify().Findings).Rule);
    }

    [Fact]
    public void Empty_buckets_do_not_change_the_checksum_of_histograms()
    {
        ValueChecksum narrow = Checksum(BlockForge.Integer());
        HistogramForge wide = BlockForge.Integer();
        wide.Positive[0] = (4, -1);
        wide.Positive[1] = (1, 0);
        for (int i = 0; i < 3; i++)
        {
            ForgedHistogram sample = wide.Samples[i];
            wide.Samples[i] = sample with { Buckets = [0, sample.Buckets[0], sample.Buckets[1], 0, sample.Buckets[2]] };
        }

        Assert.Equal(narrow, Checksum(wide));
        wide.Samples[2] = wide.Samples[2] with { Sum = 51 };
        Assert.NotEqual(narrow, Checksum(wide));
    }

    [Fact]
    public void Series_without_samples_do_not_count()
    {
        var builder = new ValueChecksumBuilder();
        ValueChecksum empty = builder.Finish();
        builder.BeginSeries(Labels.Encode(("__name__", "a")));
        Assert.Equal(empty, builder.Finish());
    }

    [Fact]
    public void A_block_that_cannot_be_read_wholly_has_no_checksum()
    {
        BlockForge forge = BlockForge.Local();
        forge.Options = forge.Options with { ComputeValues = true, ExpectedValues = new ValueChecksum(68, 1) };
        BrokenChunks.Change(forge, 0, 0, static chunk => chunk with { CrcFault = 1 });
        BlockReport report = forge.Verify();
        Assert.Null(report.Values);
        Assert.Contains(51, report.NotRun);
    }

    [Fact]
    public void A_bucket_listed_rightly_before_and_after_meta_json_is_put_passes()
    {
        BlockForge forge = BlockForge.Local();
        MemoryFileSystem files = forge.Build();
        RemoteBlock before = BrokenShipping.RemoteOf(files, forge.Directory);
        var objects = new Dictionary<string, long>(before.Objects) { ["meta.json"] = before.MetaPut.Length };
        foreach (RemoteBlock remote in (RemoteBlock[])[before, before with { Objects = objects, MetaRead = before.MetaPut.ToArray() }])
        {
            forge.Options = forge.Options with { Remote = remote };
            Assert.Empty(forge.Verify().Findings);
        }
    }

    private static BlockForge Forge(Sample[] samples, int cut)
    {
        BlockForge forge = BlockForge.Local();
        forge.Series.Clear();
        foreach ((string, string)[] labels in ((string, string)[][])[[("__name__", "a"), ("zone", "ü")], [("__name__", "b")]])
            forge.Series.Add(new ForgedSeries(labels) { Chunks = { ForgedChunk.Xor(samples[..cut]), ForgedChunk.Xor(samples[cut..]) } });
        return forge;
    }

    private static ValueChecksum Checksum(HistogramForge histogram)
    {
        BlockForge forge = BlockForge.Local();
        forge.Series[1].Chunks[0] = ForgedChunk.Of(histogram);
        forge.Options = forge.Options with { ComputeValues = true };
        BlockReport report = forge.Verify();
        Assert.Empty(report.Findings);
        return report.Values!.Value;
    }
}
