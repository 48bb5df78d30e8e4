using CsCheck;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Chunks;

namespace TsdbRemote.Tests.Wire;

public sealed class SampleWireTests
{
    private static readonly Gen<long> Times = Gen.OneOf(
        Gen.Long, Gen.OneOf(long.MinValue, -1L, 0L, 1L, 127L, 128L, 1_700_000_000_000, (1L << 56) - 1, 1L << 56, long.MaxValue), Gen.Int[0, 62].Select(static bits => 1L << bits));

    [Fact]
    public void Whole_words_write_what_single_bytes_write() => Gen.Select(Times, ChunkSamples.ValueBits).Sample(static (timeMs, valueBits) =>
    {
        byte[] exact = new byte[SampleWire.SizeOf(timeMs, valueBits)];
        byte[] roomy = new byte[SampleWire.MaxBytes];
        Assert.Equal(exact.Length, SampleWire.Write(exact, timeMs, valueBits));
        Assert.Equal(exact.Length, SampleWire.Write(roomy, timeMs, valueBits));
        Assert.Equal(exact, roomy[..exact.Length]);
        if (timeMs != 0) Assert.Equal(0x10, exact[SampleWire.TimeOffset(valueBits)]);
    });

    [Fact]
    public void A_run_takes_what_its_samples_take() => ChunkSamples.Ascending.Sample(static samples =>
        Assert.Equal(samples.Sum(static sample => (long)SampleWire.SizeOf(sample.TimeMs, sample.ValueBits)), SampleWire.SizeOf(samples)));
}
