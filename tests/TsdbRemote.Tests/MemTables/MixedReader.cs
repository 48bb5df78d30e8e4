using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Chunks;

namespace TsdbRemote.Tests.MemTables;

/// <summary>A float, or a histogram, at a time.</summary>
internal sealed record MixedSample(long TimeMs, ulong ValueBits, NativeHistogram? Histogram)
{
    public MixedSample(long timeMs, NativeHistogram histogram) : this(timeMs, 0, histogram)
    {
    }

    public bool SaysTheSameAs(MixedSample other)
    {
        if (TimeMs != other.TimeMs) return false;
        if (Histogram is null || other.Histogram is null) return Histogram is null && other.Histogram is null && ValueBits == other.ValueBits;
        bool sameKind = (Histogram.Hint == CounterResetHint.Gauge) == (other.Histogram.Hint == CounterResetHint.Gauge);
        return sameKind && Histogram.SaysTheSameAs(other.Histogram);
    }
}

/// <summary>Gives histograms from a list, each in the same object as the one before, as a request does.</summary>
internal sealed class ListedHistograms(IReadOnlyList<NativeHistogram> histograms) : IHistogramSource
{
    private readonly NativeHistogram _current = new();

    public NativeHistogram HistogramAt(int index)
    {
        _current.CopyFrom(histograms[index]);
        return _current;
    }
}

/// <summary>Appends floats and histograms to a MemTable and reads both lanes back, by the plainest merge there is.</summary>
internal static class MixedReader
{
    public static AppendOutcome AppendOne(
        this MemTable table, uint ordinal, ulong sequence, MixedSample sample, ref AppendCounts floats, ref AppendCounts histograms, IWinnerLog? winners = null)
    {
        var outcomes = new AppendOutcome[1];
        if (sample.Histogram is { } histogram)
        {
            table.AppendHistograms([new ResolvedHistogram(ordinal, 0, 0, sample.TimeMs)], new ListedHistograms([histogram]), sequence, ref histograms, winners, outcomes);
        }
        else
        {
            ResolvedSeries[] series = [new ResolvedSeries { Ordinal = ordinal, SampleCount = 1 }];
            table.Append(series, [new Sample(sample.TimeMs, sample.ValueBits)], sequence, ref floats, winners, outcomes);
        }

        return outcomes[0];
    }

    public static AppendOutcome AppendOne(this MemTable table, uint ordinal, ulong sequence, MixedSample sample, IWinnerLog? winners = null)
    {
        AppendCounts floats = default;
        AppendCounts histograms = default;
        return table.AppendOne(ordinal, sequence, sample, ref floats, ref histograms, winners);
    }

    public static List<MixedSample> ReadMixed(this MemTable table, uint ordinal, TimeRange? range = null, long windowMs = MemTableReader.WindowMs)
    {
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(ordinal, range ?? TimeRange.All, 10, arena, chunks);
        CheckPromises(chunks, range ?? TimeRange.All, windowMs);
        var merged = new SortedDictionary<long, MixedSample>();
        foreach (SeriesChunk chunk in chunks.OrderBy(static chunk => chunk.Encoding == ChunkEncoding.Xor).ThenBy(static chunk => chunk.Rank))
        {
            foreach (MixedSample sample in Decode(chunk)) merged[sample.TimeMs] = sample;
        }

        return [.. merged.Values];
    }

    public static List<MixedSample> Decode(SeriesChunk chunk) => chunk.Encoding == ChunkEncoding.Xor
        ? [.. MemTableReader.Decode(chunk).Select(static sample => new MixedSample(sample.TimeMs, sample.ValueBits, null))]
        : [.. HistogramGen.Decode(chunk.Data.Span, chunk.Encoding).Select(static sample => new MixedSample(sample.TimeMs, sample.Histogram))];

    private static void CheckPromises(List<SeriesChunk> chunks, TimeRange range, long windowMs)
    {
        foreach (IGrouping<(bool, long), SeriesChunk> version in chunks.GroupBy(static chunk => (chunk.Encoding == ChunkEncoding.Xor, chunk.Rank)))
        {
            Assert.InRange(version.Key.Item2, 10, 11);
            long before = long.MinValue;
            bool isFirst = true;
            foreach (SeriesChunk chunk in version)
            {
                List<MixedSample> samples = Decode(chunk);
                Assert.Equal((chunk.MinTimeMs, chunk.MaxTimeMs), (samples[0].TimeMs, samples[^1].TimeMs));
                Assert.Equal(TimeWindow.StartOf(chunk.MinTimeMs, windowMs), TimeWindow.StartOf(chunk.MaxTimeMs, windowMs));
                Assert.True(range.Overlaps(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs)), "a chunk outside the range was offered");
                Assert.True(isFirst || chunk.MinTimeMs > before, "chunks of one version overlap or descend");
                if (isFirst && range == TimeRange.All && chunk.Encoding != ChunkEncoding.Xor)
                    Assert.NotEqual(HistogramChunkFlags.NotReset, FlagsOf(chunk)); // nothing is known of what came before
                before = chunk.MaxTimeMs;
                isFirst = false;
            }
        }
    }

    private static HistogramChunkFlags FlagsOf(SeriesChunk chunk) =>
        new HistogramChunkReader(chunk.Data.Span, chunk.Encoding, new HistogramReadBuffer()).Flags;
}
