using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>Merging where there are histograms: two lanes, three encodings, one series.</summary>
public sealed unsafe class HistogramMergeTests : IDisposable
{
    private readonly NativeArena _arena = new();

    public void Dispose() => _arena.Dispose();

    [Fact]
    public void Samples_of_both_lanes_spread_over_any_chunks_read_as_one_series_floats_first_then_the_newest() =>
        Gen.Select(
            LaneSource.Any.Array[1, 6],
            Gen.Long[-50, 900],
            Gen.Long[-50, 900],
            Gen.OneOf(0L, 70L, 500L),
            Gen.Int[1, 130]).Sample(static (sources, a, b, windowMs, most) =>
        {
            using var arena = new NativeArena(4096);
            var range = new TimeRange(Math.Min(a, b), Math.Max(a, b));
            SeriesChunk[] chunks = [.. sources.SelectMany((source, i) => source.Chunks(arena, rank: i))];
            List<LaneSample>[] inputs = [.. chunks.Select(static chunk => LaneSample.Decode(chunk))];
            LaneSample[] expected = HistogramModel.Merge(chunks, range);
            nint[] untouched = [.. chunks.Select(static chunk => (nint)chunk.Data.Pointer)];
            List<SeriesChunk> output = [];
            MergeCounts counts = ChunkMerge.Merge(chunks, range, windowMs, arena, output, most);
            List<LaneSample>[] read = [.. output.Select(static chunk => LaneSample.Decode(chunk))];
            HistogramModel.AssertSame(expected, [.. read.SelectMany(static samples => samples)]);
            int given = inputs.Sum(samples => samples.Count(sample => range.Contains(sample.TimeMs)));
            Assert.Equal(given - expected.Length, counts.Duplicates + counts.Conflicts);
            AssertTiles(output, windowMs);
            for (int i = 0; i < output.Count; i++)
            {
                bool isNew = !untouched.Contains((nint)output[i].Data.Pointer);
                if (isNew && output[i].Encoding != ChunkEncoding.Xor) AssertHeader(output, read, i, most);
            }
        });

    [Fact]
    public void The_answer_does_not_depend_on_the_order_of_the_input() =>
        Gen.Select(LaneSource.Any.Array[1, 6], Gen.Int[0, 1].Array[6], Gen.Int).Sample(static (sources, ranks, seed) =>
        {
            using var arena = new NativeArena(4096);
            SeriesChunk[] chunks = [.. sources.SelectMany((source, i) => source.Chunks(arena, ranks[i]))];
            SeriesChunk[] shuffled = [.. chunks];
            new Random(seed).Shuffle(shuffled);
            List<SeriesChunk> one = [];
            List<SeriesChunk> other = [];
            MergeCounts counts = ChunkMerge.Merge(chunks, TimeRange.All, 0, arena, one);
            MergeCounts again = ChunkMerge.Merge(shuffled, TimeRange.All, 0, arena, other);
            Assert.Equal(counts.Duplicates + counts.Conflicts, again.Duplicates + again.Conflicts);
            HistogramModel.AssertSame([.. one.SelectMany(LaneSample.Decode)], [.. other.SelectMany(LaneSample.Decode)]);
        });

    [Fact]
    public void Chunks_of_histograms_without_overlap_pass_untouched_among_those_of_floats()
    {
        SeriesChunk floats = ChunkSamples.Chunk(_arena, 1, Sample.Of(10, 1), Sample.Of(20, 2));
        SeriesChunk integers = Histograms(5, (30, 1), (40, 2));
        SeriesChunk fractions = Only(HistogramModel.Chunks(_arena, 2, [new(50, HistogramGen.Float(HistogramGen.Integer(1, 1, 2)))]));
        List<SeriesChunk> output = Merge([fractions, integers, floats], TimeRange.All, out MergeCounts counts);
        Assert.Equal(
            [(nint)floats.Data.Pointer, (nint)integers.Data.Pointer, (nint)fractions.Data.Pointer],
            output.Select(static chunk => (nint)chunk.Data.Pointer));
        Assert.Equal([ChunkEncoding.Xor, ChunkEncoding.Histogram, ChunkEncoding.FloatHistogram], output.Select(static chunk => chunk.Encoding));
        Assert.Equal(default, counts);
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 1)]
    public void A_float_wins_an_instant_whichever_is_newer(long rankOfFloat, long rankOfHistogram)
    {
        List<SeriesChunk> output = Merge(
            [ChunkSamples.Chunk(_arena, rankOfFloat, Sample.Of(20, 7)), Histograms(rankOfHistogram, (10, 1), (20, 2), (30, 3))],
            TimeRange.All,
            out MergeCounts counts);
        Assert.Equal([(10L, 10L), (20L, 20L), (30L, 30L)], output.Select(static chunk => (chunk.MinTimeMs, chunk.MaxTimeMs)));
        Assert.Equal([ChunkEncoding.Histogram, ChunkEncoding.Xor, ChunkEncoding.Histogram], output.Select(static chunk => chunk.Encoding));
        Assert.All(output, chunk => Assert.Equal(2, chunk.Rank));
        Assert.Equal(new MergeCounts(0, 1), counts);
        Assert.Equal(HistogramChunkFlags.Unknown, HistogramModel.Flags(output[2]));
    }

    [Fact]
    public void The_newer_histogram_wins_and_one_that_says_the_same_is_a_duplicate()
    {
        List<SeriesChunk> output = Merge(
            [Histograms(2, (10, 1), (20, 5)), Histograms(1, (10, 1), (20, 2), (30, 9))], TimeRange.All, out MergeCounts counts);
        Assert.Equal(new MergeCounts(1, 1), counts);
        Assert.Equal([1UL, 5UL, 9UL], LaneSample.Decode(Only(output)).Select(static sample => sample.Histogram!.Count));
    }

    [Fact]
    public void A_bound_inside_a_chunk_cuts_it_and_the_rest_says_nothing_of_what_came_before()
    {
        SeriesChunk chunk = Histograms(1, (10, 1), (20, 2), (30, 3));
        chunk.Data.Span[2] = (byte)HistogramChunkFlags.NotReset;
        SeriesChunk only = Only(Merge([chunk], new TimeRange(11, 29), out _));
        Assert.Equal((20, 20), (only.MinTimeMs, only.MaxTimeMs));
        Assert.Equal(HistogramChunkFlags.Unknown, HistogramModel.Flags(only));
        Assert.Empty(Merge([chunk], new TimeRange(11, 19), out _));
    }

    [Fact]
    public void A_chunk_that_is_cut_stays_one_chunk_however_long_it_is()
    {
        // Its end is that of a window, of which a part of it knows nothing.
        MadeChunk made = Enumerable.Range(40, 80)
            .Select(static count => HistogramChunks.Make(HistogramWalk.Series(new HistogramTraits(7, count, 1000), 0), windowMs: (count + 1) * 1000))
            .Last(static chunks => chunks.Count == 1)[0];
        Assert.True(made.Hex.Length / 2 > 1280, $"{made.Hex.Length / 2} bytes");
        SeriesChunk chunk = new(made.MinTimeMs, made.MaxTimeMs, made.Encoding, ChunkSamples.Copy(_arena, Convert.FromHexString(made.Hex)), Rank: 1);
        SeriesChunk only = Only(Merge([chunk], new TimeRange(chunk.MinTimeMs + 1, chunk.MaxTimeMs), out _));
        Assert.Equal(LaneSample.Decode(chunk).Count - 1, LaneSample.Decode(only).Count);
        List<SeriesChunk> rest = [];
        ChunkDeletion.AddRest(chunk, [new TimeRange(chunk.MinTimeMs, chunk.MinTimeMs)], _arena, rest);
        Assert.Equal(only.Data.Span, Only(rest).Data.Span);
    }

    [Fact]
    public void A_reset_that_only_its_sender_knew_of_is_not_joined_over()
    {
        NativeHistogram reset = HistogramGen.Integer(9, 9);
        reset.Hint = CounterResetHint.Reset;
        SeriesChunk[] chunks = HistogramModel.Chunks(
            _arena, 1, [new(10, HistogramGen.Integer(1, 1)), new(20, reset), new(40, HistogramGen.Integer(10, 10))]);
        Assert.Equal(2, chunks.Length);
        List<SeriesChunk> output = Merge([.. chunks, Histograms(2, (10, 1), (30, 9))], TimeRange.All, out _);
        Assert.Equal([(10L, 10L), (20L, 40L)], output.Select(static chunk => (chunk.MinTimeMs, chunk.MaxTimeMs)));
    }

    [Fact]
    public void Bytes_that_are_no_chunk_are_refused_where_they_must_be_read()
    {
        SeriesChunk good = Histograms(1, (10, 1), (20, 2));
        SeriesChunk floats = ChunkSamples.Chunk(_arena, 2, Sample.Of(10, 1), Sample.Of(20, 2));
        SeriesChunk[] bad =
        [
            good with { Data = good.Data.Slice(0, good.Data.Length - 2) }, good with { Data = ChunkSamples.Copy(_arena, [0, 0, 0, 0]) },
            good with { Data = ChunkSamples.Copy(_arena, []) }, good with { Encoding = ChunkEncoding.Xor },
            good with { MaxTimeMs = 21 }, good with { MinTimeMs = 9 }, good with { MaxTimeMs = 19 },
        ];
        foreach (SeriesChunk one in bad)
        {
            Assert.Throws<CorruptChunkException>(() => Merge([good, one], TimeRange.All, out _));
            Assert.Throws<CorruptChunkException>(() => Merge([floats, one], TimeRange.All, out _));
            Assert.Throws<CorruptChunkException>(() => Merge([one], new TimeRange(15, 18), out _));
            Assert.Single(Merge([good, Histograms(2, (10, 1))], TimeRange.All, out _)); // what was refused leaves nothing behind
        }
    }

    [Fact]
    public void Merging_allocates_nothing_once_lists_and_pools_are_warm()
    {
        SeriesChunk[] chunks =
        [
            ChunkSamples.Chunk(_arena, 1, [.. Enumerable.Range(0, 50).Select(static i => Sample.Of(100 + i, i))]),
            .. HistogramModel.Chunks(_arena, 2, HistogramWalk.Series(new HistogramTraits(3, 80, 5), 0)),
            .. HistogramModel.Chunks(_arena, 3, HistogramWalk.Series(new HistogramTraits(3, 80, 5), 2)),
        ];
        var output = new List<SeriesChunk>(256);
        long least = long.MaxValue;
        for (int i = 0; i < 20; i++)
        {
            output.Clear();
            SeriesChunk[] copy = [.. chunks];
            long before = GC.GetAllocatedBytesForCurrentThread();
            ChunkMerge.Merge(copy, TimeRange.All, 0, _arena, output);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private static void AssertTiles(List<SeriesChunk> chunks, long windowMs)
    {
        for (int i = 0; i < chunks.Count; i++)
        {
            Assert.True(i == 0 || chunks[i].MinTimeMs > chunks[i - 1].MaxTimeMs);
            if (windowMs > 0) Assert.Equal(TimeWindow.StartOf(chunks[i].MinTimeMs, windowMs), TimeWindow.StartOf(chunks[i].MaxTimeMs, windowMs));
        }
    }

    /// <summary>Of a chunk that was encoded anew: what it says of the one before it holds, and inside it no counter falls.</summary>
    private static void AssertHeader(List<SeriesChunk> chunks, List<LaneSample>[] read, int at, int most)
    {
        NativeHistogram[] own = [.. read[at].Select(static sample => sample.Histogram!)];
        HistogramChunkFlags flags = HistogramModel.Flags(chunks[at]);
        Assert.InRange(own.Length, 1, most);
        Assert.All(own, histogram => Assert.Equal(flags == HistogramChunkFlags.Gauge, histogram.Hint == CounterResetHint.Gauge));
        if (flags == HistogramChunkFlags.Gauge) return;
        for (int i = 1; i < own.Length; i++) Assert.False(HistogramModel.MayBeReset(own[i - 1], own[i]));
        if (flags == HistogramChunkFlags.Unknown) return;
        NativeHistogram before = Assert.IsType<NativeHistogram>(at == 0 ? null : read[at - 1][^1].Histogram);
        Assert.Equal(flags == HistogramChunkFlags.Reset, HistogramModel.MayBeReset(before, own[0]));
    }

    private static SeriesChunk Only(IEnumerable<SeriesChunk> chunks) => Assert.Single(chunks);

    private SeriesChunk Histograms(long rank, params (long TimeMs, long Count)[] samples) => Only(HistogramModel.Chunks(
        _arena, rank, samples.Select(static sample => new HistogramSample(sample.TimeMs, HistogramGen.Integer(1, sample.Count)))));

    private List<SeriesChunk> Merge(SeriesChunk[] chunks, TimeRange range, out MergeCounts counts)
    {
        List<SeriesChunk> output = [];
        counts = ChunkMerge.Merge(chunks, range, windowMs: 0, _arena, output);
        return output;
    }
}
