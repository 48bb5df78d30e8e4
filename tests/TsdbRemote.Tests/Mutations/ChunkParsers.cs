using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A chunk of floats: the two ways to read it agree on every input, the verifier's own decoder on good ones, and it can be encoded again.</summary>
internal sealed class XorChunkParser : FuzzParser
{
    private readonly Sample[] _samples = new Sample[ushort.MaxValue];
    private readonly ChunkVerifier _verifier = new();
    private int _read;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        var fast = new XorChunkReader(input);
        _read = fast.ReadInto(_samples);
        var slow = new XorChunkReader(input);
        int read = 0;
        for (; slow.MoveNext(); read++)
        {
            if (read >= _read || _samples[read] != new Sample(slow.TimeMs, slow.ValueBits)) throw new InvalidOperationException($"sample {read} is read as another one by ReadInto");
        }

        if (read != _read || fast.IsCorrupt != slow.IsCorrupt) throw new InvalidOperationException($"{_read} samples are read by ReadInto, {read} by MoveNext");
        return !fast.IsCorrupt && _read > 0;
    }

    /// <summary>Encoding costs several times what reading does: one in eight.</summary>
    public static bool IsChosen(ReadOnlySpan<byte> input) => (Crc32C.Of(input) & 7) == 0;

    public override void Check(ReadOnlySpan<byte> input)
    {
        ReadOnlySpan<Sample> samples = _samples.AsSpan(0, _read);
        Assert.InRange(_read, 1, 4 * input.Length);
        if (_verifier.Check(ChunkEncoding.Xor, input, static () => "it", out ChunkFacts facts) is null)
            Assert.Equal(new ChunkFacts(IsHistogram: false, _read, samples[0].TimeMs, samples[^1].TimeMs), facts);
        if (!IsChosen(input)) return;
        Assert.True(samples.SequenceEqual(ChunkSamples.Decode(ChunkSamples.Encode(samples))), "it reads as another one after it was encoded again");
    }
}

/// <summary>A chunk of histograms: the first byte says of which kind. The verifier's own decoder takes no good one that the reader does not, and it can be encoded again.</summary>
internal sealed class HistogramChunkParser : FuzzParser
{
    private readonly HistogramReadBuffer _buffer = new();
    private readonly ChunkVerifier _verifier = new();

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty) return false;
        var reader = new HistogramChunkReader(input[1..], EncodingOf(input), _buffer);
        int read = 0;
        while (reader.MoveNext()) read++;
        if (reader.IsCorrupt && _verifier.Check(EncodingOf(input), input[1..], static () => "it", out _) is null)
            throw new InvalidOperationException($"the verifier finds nothing wrong, the reader that {reader.Problem}");
        return !reader.IsCorrupt && read > 0;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        if (_verifier.Check(EncodingOf(input), input[1..], static () => "it", out ChunkFacts facts) is not null) return;
        List<HistogramSample> samples = HistogramGen.Decode(input[1..], EncodingOf(input));
        Assert.Equal(new ChunkFacts(IsHistogram: true, samples.Count, samples[0].TimeMs, samples[^1].TimeMs), facts);
        if (!XorChunkParser.IsChosen(input)) return;
        List<HistogramSample> again = HistogramChunks.Read(HistogramChunks.Make(samples, windowMs: 0));
        Assert.Equal(samples.Select(static sample => sample.TimeMs), again.Select(static sample => sample.TimeMs));
        for (int i = 0; i < samples.Count; i++) Assert.True(samples[i].Histogram.SaysTheSameAs(again[i].Histogram), $"sample {i} is another one after it was encoded again");
    }

    private static ChunkEncoding EncodingOf(ReadOnlySpan<byte> input) => (input[0] & 1) == 0 ? ChunkEncoding.Histogram : ChunkEncoding.FloatHistogram;
}
