using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.TestSupport;

/// <summary>A sample of either lane of a series.</summary>
/// <param name="TimeMs">Its time, ms.</param>
/// <param name="ValueBits">Of a float.</param>
/// <param name="Histogram">Of a histogram; null for a float.</param>
public sealed record LaneSample(long TimeMs, ulong ValueBits, NativeHistogram? Histogram)
{
    /// <summary>A histogram.</summary>
    public LaneSample(long timeMs, NativeHistogram histogram) : this(timeMs, 0, histogram)
    {
    }

    /// <inheritdoc/>
    public override string ToString() => Histogram is { } histogram
        ? $"{TimeMs}: {histogram.Hint} {(histogram.IsFloat ? "float" : "integer")} histogram, count {histogram.Count:x}, sum {histogram.SumBits:x}"
        : $"{TimeMs}: {ValueBits:x}";

    /// <summary>Whether both say the same; of histograms also whether both are gauges.</summary>
    public bool IsSame(LaneSample other)
    {
        if (TimeMs != other.TimeMs || Histogram is null != other.Histogram is null) return false;
        if (Histogram is null) return ValueBits == other.ValueBits;
        return Histogram.SaysTheSameAs(other.Histogram!) && Histogram.Hint == CounterResetHint.Gauge == (other.Histogram!.Hint == CounterResetHint.Gauge);
    }

    /// <summary>Reads a chunk of any encoding.</summary>
    public static List<LaneSample> Decode(SeriesChunk chunk)
    {
        if (chunk.Encoding == ChunkEncoding.Xor)
        {
            List<Sample> floats = [];
            ChunkMerge.Decode(chunk, floats);
            return [.. floats.Select(static sample => new LaneSample(sample.TimeMs, sample.ValueBits, null))];
        }

        List<HistogramSample> histograms = [];
        HistogramChunks.Read(chunk.Data.Span, chunk.Encoding, new HistogramReadBuffer(), histograms);
        return histograms.ConvertAll(static sample => new LaneSample(sample.TimeMs, 0, sample.Histogram));
    }
}
