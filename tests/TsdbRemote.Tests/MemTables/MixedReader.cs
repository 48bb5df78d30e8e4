using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.MemTables;

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
        this MemTable table, uint ordinal, ulong sequence, LaneSample sample, ref AppendCounts floats, ref AppendCounts histograms, IWinnerLog? winners = null)
    {
        var outcomes = new AppendOutcome[1];
        if (sample.Histogram is { } histogram)
        {
            ResolvedHistogram[] given = [new ResolvedHistogram(ordinal, 0, 0, sample.TimeMs)];
            table.AppendHistograms(given, new ListedHistograms([histogram]), sequence, ref histograms, winners, outcomes);
        }
        else
        {
            ResolvedSeries[] series = [new ResolvedSeries { Ordinal = ordinal, SampleCount = 1 }];
            table.Append(series, [new Sample(sample.TimeMs, sample.ValueBits)], sequence, ref floats, winners, outcomes);
        }

        return outcomes[0];
    }

    public static AppendOutcome AppendOne(this MemTable table, uint ordinal, ulong sequence, LaneSample sample, IWinnerLog? winners = null)
    {
        AppendCounts floats = default;
        AppendCounts histograms = default;
        return table.AppendOne(ordinal, sequence, sample, ref floats, ref histograms, winners);
    }

    public static List<LaneSample> ReadMixed(this MemTable table, uint ordinal, TimeRange? range = null, long windowMs = MemTableReader.WindowMs)
    {
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(ordinal, range ?? TimeRange.All, 10, arena, chunks);
        CheckPromises(chunks, range ?? TimeRange.All, windowMs);
        var merged = new SortedDictionary<long, LaneSample>();
        foreach (SeriesChunk chunk in chunks.OrderBy(static chunk => chunk.Encoding == ChunkEncoding.Xor).ThenBy(static chunk => chunk.Rank))
        {
            foreach (LaneSample sample in LaneSample.Decode(chunk)) merged[sample.TimeMs] = sample;
        }

        return [.. merged.Values];
    }

    private static void CheckPromises(List<SeriesChunk> chunks, TimeRange range, long windowMs)
    {
        foreach (IGrouping<(bool, long), SeriesChunk> version in chunks.GroupBy(static chunk => (chunk.Encoding == ChunkEncoding.Xor, chunk.Rank)))
        {
            Assert.InRange(version.Key.Item2, 10, 11);
            long before = long.MinValue;
            bool isFirst = true;
            foreach (SeriesChunk chunk in version)
            {
                List<LaneSample> samples = LaneSample.Decode(chunk);
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
