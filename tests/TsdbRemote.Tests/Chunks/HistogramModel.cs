using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>What chunks with histograms hold and say, by the plainest code there is.</summary>
internal static class HistogramModel
{
    /// <summary>What a series reads as: the highest rank among floats, and among histograms where there is no float. Ranks must decide.</summary>
    public static LaneSample[] Merge(IEnumerable<SeriesChunk> chunks, TimeRange range)
    {
        SortedDictionary<long, LaneSample> winners = [];
        foreach (SeriesChunk chunk in chunks.OrderBy(static chunk => chunk.Encoding == ChunkEncoding.Xor).ThenBy(static chunk => chunk.Rank))
        {
            foreach (LaneSample sample in LaneSample.Decode(chunk).Where(sample => range.Contains(sample.TimeMs))) winners[sample.TimeMs] = sample;
        }

        return [.. winners.Values];
    }

    /// <summary>Both hold the same samples.</summary>
    public static void AssertSame(IReadOnlyList<LaneSample> expected, IReadOnlyList<LaneSample> actual)
    {
        Assert.Equal(expected.Select(static sample => sample.TimeMs), actual.Select(static sample => sample.TimeMs));
        for (int i = 0; i < expected.Count; i++) Assert.True(expected[i].IsSame(actual[i]), $"sample {i} is {actual[i]}, not {expected[i]}");
    }

    /// <summary>The chunks of histograms.</summary>
    public static SeriesChunk[] Chunks(NativeArena arena, long rank, IEnumerable<HistogramSample> samples) =>
    [
        .. HistogramChunks.Make(samples, windowMs: 0).Select(chunk => new SeriesChunk(
            chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Encoding, ChunkSamples.Copy(arena, Convert.FromHexString(chunk.Hex)), rank)),
    ];

    /// <summary>What a chunk's header says.</summary>
    public static HistogramChunkFlags Flags(SeriesChunk chunk) => (HistogramChunkFlags)chunk.Data.Span[2];

    /// <summary>Whether a counter may have started anew between two histograms.</summary>
    public static bool MayBeReset(NativeHistogram before, NativeHistogram after)
    {
        if (after.IsStale) return false;
        if (before.IsStale || before.IsFloat != after.IsFloat || before.Schema != after.Schema || before.ZeroThreshold != after.ZeroThreshold) return true;
        if (!before.CustomBounds.SequenceEqual(after.CustomBounds)) return true;
        return Number(after.Count, after) < Number(before.Count, before) || Number(after.ZeroCount, after) < Number(before.ZeroCount, before)
            || AnyFalls(before, after, static histogram => (histogram.PositiveSpans, histogram.PositiveBuckets))
            || AnyFalls(before, after, static histogram => (histogram.NegativeSpans, histogram.NegativeBuckets));
    }

    private static double Number(ulong word, NativeHistogram histogram) => histogram.IsFloat ? BitConverter.UInt64BitsToDouble(word) : word;

    private static bool AnyFalls(NativeHistogram before, NativeHistogram after, Func<NativeHistogram, (List<BucketSpan> Spans, List<long> Buckets)> side)
    {
        Dictionary<int, double> counts = Counts(side(after), after.IsFloat);
        return Counts(side(before), before.IsFloat).Any(bucket => bucket.Value > counts.GetValueOrDefault(bucket.Key));
    }

    private static Dictionary<int, double> Counts((List<BucketSpan> Spans, List<long> Buckets) side, bool isFloat)
    {
        Dictionary<int, double> counts = [];
        int index = 0;
        int at = 0;
        long absolute = 0;
        foreach (BucketSpan span in side.Spans)
        {
            index += span.Offset;
            for (uint i = 0; i < span.Length; i++)
            {
                long word = side.Buckets[at++];
                counts[index++] = isFloat ? BitConverter.Int64BitsToDouble(word) : absolute += word;
            }
        }

        return counts;
    }
}

/// <summary>One source of a series: floats, histograms of one kind, or of both.</summary>
internal sealed record LaneSource(int Kind, long StartMs, int Samples, long StepMs, ulong Seed, int Unrest)
{
    /// <summary>Sources that overlap often, and say the same now and then; within 1,600 ms.</summary>
    public static Gen<LaneSource> Any { get; } = Gen.Select(
        Gen.Int[0, 3], Gen.Long[0, 400], Gen.Int[1, 30], Gen.Int[1, 40], Gen.ULong, Gen.Int[0, 400]).Select(
            static (kind, startMs, samples, stepMs, seed, unrest) => new LaneSource(kind, startMs, samples, stepMs, seed, unrest));

    public SeriesChunk[] Chunks(NativeArena arena, long rank)
    {
        if (Kind == 0) return [ChunkSamples.Chunk(arena, rank, [.. Enumerable.Range(0, Samples).Select(i => Sample.Of(StartMs + i * StepMs, i + rank % 2))])];
        // Few seeds, so that sources often say the same.
        var traits = new HistogramTraits(Seed % 4, Samples, StepMs)
        {
            IsFloat = Kind == 2,
            IsMixed = Kind == 3,
            IsGauge = Seed % 5 == 0,
            IsCustom = Seed % 3 == 0,
            OnlyGrows = Seed % 7 < 3,
            Unrest = Unrest,
        };

        // The walk jitters its times by two; steps below three would not ascend.
        IEnumerable<HistogramSample> samples = HistogramWalk.Series(traits, StartMs).Select((sample, i) => sample with { TimeMs = StartMs + i * StepMs });
        return HistogramModel.Chunks(arena, rank, samples);
    }
}
