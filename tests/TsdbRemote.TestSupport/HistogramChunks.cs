using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.TestSupport;

/// <summary>A chunk as text.</summary>
public sealed record MadeChunk(long MinTimeMs, long MaxTimeMs, ChunkEncoding Encoding, string Hex);

/// <summary>Histograms to chunks and back, by the product's codec.</summary>
public static class HistogramChunks
{
    /// <summary>Makes the chunks of a series.</summary>
    public static List<MadeChunk> Make(IEnumerable<HistogramSample> samples, long windowMs, int maxSamples = ushort.MaxValue)
    {
        var builder = new HistogramChunkBuilder(windowMs, maxSamples);
        List<MadeChunk> chunks = [];
        foreach (HistogramSample sample in samples)
        {
            if (builder.TryAppend(sample.TimeMs, sample.Histogram)) continue;
            chunks.Add(Take(builder));
            builder.StartNext();
            if (!builder.TryAppend(sample.TimeMs, sample.Histogram)) throw new InvalidOperationException("an empty chunk refused a sample");
        }

        if (builder.Count > 0) chunks.Add(Take(builder));
        return chunks;
    }

    /// <summary>Reads chunks.</summary>
    public static List<HistogramSample> Read(IEnumerable<MadeChunk> chunks)
    {
        var buffer = new HistogramReadBuffer();
        List<HistogramSample> samples = [];
        foreach (MadeChunk chunk in chunks) Read(Convert.FromHexString(chunk.Hex), chunk.Encoding, buffer, samples);
        return samples;
    }

    /// <summary>Reads a chunk behind what is there already.</summary>
    public static void Read(ReadOnlySpan<byte> bytes, ChunkEncoding encoding, HistogramReadBuffer buffer, List<HistogramSample> samples)
    {
        var reader = new HistogramChunkReader(bytes, encoding, buffer);
        while (reader.MoveNext())
        {
            var copy = new NativeHistogram();
            copy.CopyFrom(reader.Histogram);
            samples.Add(new HistogramSample(reader.TimeMs, copy));
        }

        if (reader.Problem is { } problem) throw new InvalidDataException(problem);
    }

    /// <summary>Where the chunks that a real Prometheus made are kept.</summary>
    public static string KeptPath() => Repository.TestData("prometheus-histograms.txt");

    private static MadeChunk Take(HistogramChunkBuilder builder) =>
        new(builder.FirstTimeMs, builder.LastTimeMs, builder.Encoding, Convert.ToHexStringLower(builder.Bytes));
}
