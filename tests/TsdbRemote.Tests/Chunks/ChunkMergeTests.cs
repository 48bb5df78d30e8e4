using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

public sealed unsafe class ChunkMergeTests : IDisposable
{
    private readonly NativeArena _arena = new();

    public void Dispose() => _arena.Dispose();

    [Fact]
    public void Chunks_without_overlap_pass_untouched_in_time_order()
    {
        SeriesChunk late = Chunk(1, (100, 1), (110, 2));
        SeriesChunk early = Chunk(9, (10, 1), (99, 2));
        List<SeriesChunk> output = Merge([late, early], TimeRange.All, out MergeCounts counts);
        Assert.Equal([(nint)early.Data.Pointer, (nint)late.Data.Pointer], output.Select(static chunk => (nint)chunk.Data.Pointer));
        Assert.Equal([9L, 1L], output.Select(static chunk => chunk.Rank));
        Assert.Equal(default, counts);
    }

    [Fact]
    public void A_chunk_in_the_middle_of_a_merge_is_still_passed_untouched()
    {
        SeriesChunk whole = Chunk(1, (100, 1), (110, 2));
        List<SeriesChunk> output = Merge([Chunk(1, (1, 1), (5, 1)), Chunk(2, (5, 2), (6, 2)), whole, Chunk(1, (200, 1), (300, 1))], new(0, 250), out _);
        Assert.Equal(3, output.Count);
        Assert.Equal((nint)whole.Data.Pointer, (nint)output[1].Data.Pointer);
    }

    [Fact]
    public void The_higher_rank_wins_an_instant_and_the_loser_is_counted()
    {
        SeriesChunk older = Chunk(1, (10, 1), (20, 1), (30, 1));
        SeriesChunk newer = Chunk(2, (10, 1), (20, 2), (25, 2));
        List<SeriesChunk> output = Merge([newer, older], TimeRange.All, out MergeCounts counts);
        Assert.Equal([Sample.Of(10, 1), Sample.Of(20, 2), Sample.Of(25, 2), Sample.Of(30, 1)], Decode(output));
        Assert.Equal(new MergeCounts(1, 1), counts);
        Assert.Equal(2, Assert.Single(output).Rank);
    }

    [Fact]
    public void Of_equal_ranks_the_chunk_that_starts_later_wins()
    {
        SeriesChunk first = Chunk(1, (10, 1), (30, 1));
        SeriesChunk second = Chunk(1, (20, 2), (30, 2));
        Sample[] expected = [Sample.Of(10, 1), Sample.Of(20, 2), Sample.Of(30, 2)];
        Assert.Equal(expected, Decode(Merge([first, second], TimeRange.All, out _)));
        Assert.Equal(expected, Decode(Merge([second, first], TimeRange.All, out _)));
    }

    [Fact]
    public void A_bound_inside_a_chunk_cuts_it()
    {
        List<SeriesChunk> output = Merge([Chunk(1, (10, 1), (20, 2), (30, 3))], new TimeRange(11, 29), out _);
        SeriesChunk only = Assert.Single(output);
        Assert.Equal((20, 20), (only.MinTimeMs, only.MaxTimeMs));
        Assert.Equal([Sample.Of(20, 2)], Decode(output));
    }

    [Fact]
    public void A_chunk_without_samples_in_the_range_gives_nothing() =>
        Assert.Empty(Merge([Chunk(1, (10, 1), (30, 3)), Chunk(1, (40, 1), (50, 3))], new TimeRange(11, 29), out _));

    [Fact]
    public void An_inverted_range_gives_nothing() =>
        Assert.Empty(Merge([Chunk(1, (10, 1), (30, 3))], new TimeRange(29, 11), out _));

    [Fact]
    public void A_chunk_that_crosses_a_window_is_cut_there()
    {
        List<SeriesChunk> output = Merge([Chunk(1, (-1, 1), (0, 2), (99, 3), (100, 4))], TimeRange.All, out _, windowMs: 100);
        Assert.Equal([(-1L, -1L), (0L, 99L), (100L, 100L)], output.Select(static chunk => (chunk.MinTimeMs, chunk.MaxTimeMs)));
    }

    [Fact]
    public void Merged_chunks_hold_120_samples_at_most()
    {
        Sample[] even = [.. Enumerable.Range(0, 120).Select(static i => Sample.Of(2 * i, i))];
        Sample[] odd = [.. Enumerable.Range(0, 120).Select(static i => Sample.Of(2 * i + 1, i))];
        List<SeriesChunk> output = Merge([ChunkSamples.Chunk(_arena, 1, even), ChunkSamples.Chunk(_arena, 1, odd)], TimeRange.All, out _);
        Assert.Equal([120, 120], output.Select(static chunk => new XorChunkReader(chunk.Data.Span).Count));
    }

    [Fact]
    public void Samples_spread_over_any_chunks_read_as_one_sorted_series_newest_wins() =>
        Gen.Select(
            Gen.Select(Gen.Int[0, 4], Gen.Int[-60, 60], Gen.Int[1, 40], Gen.Int[0, 2]).Array[0, 12],
            Gen.Long[-150, 150],
            Gen.Long[-150, 150],
            Gen.OneOf(0L, 7L, 50L),
            Gen.Int[1, 6]).Sample((specs, a, b, windowMs, maxSamples) =>
        {
            using var arena = new NativeArena(4096);
            var range = new TimeRange(Math.Min(a, b), Math.Max(a, b));
            SeriesChunk[] chunks = [.. specs.Select((spec, i) => Spread(arena, spec.Item1 * 100 + i, spec.Item2, spec.Item3, spec.Item4))];
            var expected = new SortedDictionary<long, ulong>();
            foreach (SeriesChunk chunk in chunks.OrderBy(static chunk => chunk.Rank))
            {
                foreach (Sample sample in Decode([chunk])) expected[sample.TimeMs] = sample.ValueBits;
            }

            long total = chunks.Sum(chunk => Decode([chunk]).Count(sample => range.Contains(sample.TimeMs)));
            Sample[] inside = [.. expected.Where(pair => range.Contains(pair.Key)).Select(static pair => new Sample(pair.Key, pair.Value))];
            var output = new List<SeriesChunk>();
            MergeCounts counts = ChunkMerge.Merge(chunks, range, windowMs, arena, output, maxSamples);
            Assert.Equal(inside, Decode(output));
            Assert.Equal(total - inside.Length, counts.Duplicates + counts.Conflicts);
            AssertWellFormed(output, windowMs);
        });

    [Fact]
    public void The_answer_does_not_depend_on_the_order_of_the_input() =>
        Gen.Select(Gen.Int[0, 1], Gen.Int[0, 20], Gen.Int[1, 20], Gen.Int[0, 2]).Array[2, 6].SelectMany(
            static specs => Gen.Shuffle(Enumerable.Range(0, specs.Length).ToArray()),
            static (specs, order) => (specs, order)).Sample(static (specs, order) =>
        {
            using var arena = new NativeArena(4096);
            SeriesChunk[] chunks = [.. specs.Select(spec => Spread(arena, spec.Item1, spec.Item2, spec.Item3, spec.Item4))];
            SeriesChunk[] shuffled = [.. order.Select(i => chunks[i])];
            var one = new List<SeriesChunk>();
            var other = new List<SeriesChunk>();
            ChunkMerge.Merge(chunks, TimeRange.All, 0, arena, one);
            ChunkMerge.Merge(shuffled, TimeRange.All, 0, arena, other);
            return Decode(one).SequenceEqual(Decode(other));
        });

    [Fact]
    public void Any_samples_encode_in_chunks_that_decode_to_them() =>
        Gen.Select(ChunkSamples.Ascending, Gen.OneOf(0L, 7_200_000L), Gen.Int[1, 130]).Sample(static (samples, windowMs, maxSamples) =>
        {
            using var arena = new NativeArena(4096);
            var output = new List<SeriesChunk>();
            ChunkMerge.Encode(samples, windowMs, 3, arena, output, maxSamples);
            AssertWellFormed(output, windowMs);
            return Decode(output).SequenceEqual(samples)
                && output.TrueForAll(chunk => chunk.Rank == 3 && new XorChunkReader(chunk.Data.Span).Count <= maxSamples);
        });

    [Fact]
    public void Bytes_that_are_no_chunk_are_refused_where_they_must_be_read()
    {
        SeriesChunk good = Chunk(1, (10, 1), (20, 2));
        SeriesChunk cut = good with { Data = good.Data.Slice(0, good.Data.Length - 2) };
        SeriesChunk lie = good with { MaxTimeMs = 21 };
        SeriesChunk many = good with { Data = ChunkSamples.Copy(_arena, [0xFF, 0xFF, 0, 0, 0, 0]) };
        SeriesChunk none = good with { Data = ChunkSamples.Copy(_arena, [0, 0]) };
        SeriesChunk empty = good with { Data = ChunkSamples.Copy(_arena, []) };
        foreach (SeriesChunk bad in new[] { cut, lie, many, none, empty })
        {
            Assert.Throws<CorruptChunkException>(() => Merge([good, bad], TimeRange.All, out _));
            Assert.Throws<CorruptChunkException>(() => Merge([bad], new TimeRange(15, 30), out _));
            var samples = new List<Sample> { Sample.Of(1, 1) };
            Assert.Throws<CorruptChunkException>(() => ChunkMerge.Decode(bad, samples));
            Assert.Single(samples);
        }
    }

    [Fact]
    public void Unknown_encodings_and_inverted_times_are_refused_even_where_nothing_is_read()
    {
        SeriesChunk good = Chunk(1, (10, 1), (20, 2));
        Assert.Throws<CorruptChunkException>(() => Merge([good with { Encoding = (ChunkEncoding)4 }], TimeRange.All, out _));
        Assert.Throws<CorruptChunkException>(() => Merge([good with { Encoding = ChunkEncoding.None }], TimeRange.All, out _));
        Assert.Throws<CorruptChunkException>(() => Merge([good with { MinTimeMs = 21 }], TimeRange.All, out _));
    }

    [Fact]
    public void Decoding_appends_behind_what_the_list_holds()
    {
        var samples = new List<Sample> { Sample.Of(1, 1) };
        ChunkMerge.Decode(Chunk(1, (10, 1), (20, 2)), samples);
        Assert.Equal([Sample.Of(1, 1), Sample.Of(10, 1), Sample.Of(20, 2)], samples);
    }

    [Fact]
    public void Merging_allocates_nothing_once_lists_and_pools_are_warm()
    {
        Sample[] even = [.. Enumerable.Range(0, 100).Select(static i => Sample.Of(2 * i, i))];
        Sample[] odd = [.. Enumerable.Range(0, 100).Select(static i => Sample.Of(2 * i + 1, i))];
        SeriesChunk[] chunks = [ChunkSamples.Chunk(_arena, 1, even), ChunkSamples.Chunk(_arena, 2, odd)];
        var output = new List<SeriesChunk>(16);
        long least = long.MaxValue;   // a collection may trim the pools at any time, so one clean round is proof enough
        for (int i = 0; i < 20; i++)
        {
            output.Clear();
            long before = GC.GetAllocatedBytesForCurrentThread();
            ChunkMerge.Merge(chunks, TimeRange.All, 0, _arena, output);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private static SeriesChunk Spread(NativeArena arena, long rank, int start, int count, int step) =>
        ChunkSamples.Chunk(arena, rank, [.. Enumerable.Range(0, count).Select(i => Sample.Of(start + i * (step + 1), rank + i % 2))]);

    private static Sample[] Decode(IEnumerable<SeriesChunk> chunks)
    {
        var samples = new List<Sample>();
        foreach (SeriesChunk chunk in chunks) ChunkMerge.Decode(chunk, samples);
        return [.. samples];
    }

    private static void AssertWellFormed(List<SeriesChunk> chunks, long windowMs)
    {
        for (int i = 0; i < chunks.Count; i++)
        {
            Assert.True(i == 0 || chunks[i].MinTimeMs > chunks[i - 1].MaxTimeMs);
            if (windowMs > 0) Assert.Equal(TimeWindow.StartOf(chunks[i].MinTimeMs, windowMs), TimeWindow.StartOf(chunks[i].MaxTimeMs, windowMs));
        }
    }

    private SeriesChunk Chunk(long rank, params (long TimeMs, double Value)[] samples) =>
        ChunkSamples.Chunk(_arena, rank, [.. samples.Select(static sample => Sample.Of(sample.TimeMs, sample.Value))]);

    private List<SeriesChunk> Merge(SeriesChunk[] chunks, TimeRange range, out MergeCounts counts, long windowMs = 0)
    {
        var output = new List<SeriesChunk>();
        counts = ChunkMerge.Merge(chunks, range, windowMs, _arena, output);
        return output;
    }
}
