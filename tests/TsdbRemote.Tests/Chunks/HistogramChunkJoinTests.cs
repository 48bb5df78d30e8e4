using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

public sealed unsafe class HistogramChunkJoinTests : IDisposable
{
    private readonly NativeArena _arena = new();

    public void Dispose() => _arena.Dispose();

    [Fact]
    public void Any_series_in_pieces_reads_the_same_in_no_more_chunks_and_twice_changes_nothing_more() =>
        Gen.Select(HistogramGen.Series, Gen.Int[1, 12]).Sample(static (samples, piece) =>
        {
            using var arena = new NativeArena(4096);
            SeriesChunk[] pieces = [.. samples.Chunk(piece).SelectMany(part => HistogramModel.Chunks(arena, 3, part))];
            SeriesChunk[] joined = Join(arena, pieces);
            Assert.True(joined.Length <= pieces.Length);
            HistogramModel.AssertSame([.. pieces.SelectMany(LaneSample.Decode)], [.. joined.SelectMany(LaneSample.Decode)]);
            Assert.All(joined, static chunk => Assert.Equal(3, chunk.Rank));
            SeriesChunk[] again = Join(arena, joined);
            Assert.Equal(joined.Select(static chunk => (nint)chunk.Data.Pointer), again.Select(static chunk => (nint)chunk.Data.Pointer));
        });

    [Fact]
    public void Small_chunks_become_fuller_ones_and_the_first_keeps_its_header()
    {
        List<HistogramSample> samples = HistogramWalk.Series(new HistogramTraits(7, 40, 15_000), 0);
        SeriesChunk[] pieces = [.. samples.Chunk(5).SelectMany(part => HistogramModel.Chunks(_arena, 1, part))];
        Assert.Equal(8, pieces.Length);
        pieces[0].Data.Span[2] = (byte)HistogramChunkFlags.NotReset;
        SeriesChunk[] joined = Join(_arena, pieces);
        Assert.InRange(joined.Length, 1, 3);
        Assert.Equal(HistogramChunkFlags.NotReset, HistogramModel.Flags(joined[0]));
    }

    [Fact]
    public void A_chunk_that_tells_of_a_reset_and_one_that_is_not_small_end_a_run()
    {
        SeriesChunk[] chunks = [.. Enumerable.Range(0, 4).Select(i => One(10 * i, i))];
        Assert.Equal(4, HistogramChunkJoin.RunOf(chunks));
        chunks[2].Data.Span[2] = (byte)HistogramChunkFlags.Reset;
        Assert.Equal(2, HistogramChunkJoin.RunOf(chunks));
        Assert.Equal(2, HistogramChunkJoin.RunOf(chunks.AsSpan(2)));
        Assert.Equal([(0L, 10L), (20L, 30L)], Join(_arena, chunks).Select(static chunk => (chunk.MinTimeMs, chunk.MaxTimeMs)));
        chunks[1] = chunks[1] with { Data = _arena.Allocate(512) };
        Assert.Equal(1, HistogramChunkJoin.RunOf(chunks));
        Assert.Equal(0, HistogramChunkJoin.RunOf(chunks.AsSpan(1)));
        Assert.Equal(0, HistogramChunkJoin.RunOf([ChunkSamples.Chunk(_arena, 0, Sample.Of(1, 1))]));
        Assert.Equal(0, HistogramChunkJoin.RunOf([chunks[0] with { Data = ChunkSamples.Copy(_arena, [0, 1]) }]));
        Assert.Equal(0, HistogramChunkJoin.RunOf([]));
    }

    [Fact]
    public void A_chunk_that_is_none_is_refused()
    {
        SeriesChunk bad = One(10, 1) with { MaxTimeMs = 11 };
        List<SeriesChunk> output = [];
        Assert.Throws<CorruptChunkException>(() => HistogramChunkJoin.Join([One(0, 1), bad], _arena, output));
    }

    [Fact]
    public void What_is_deleted_of_a_chunk_is_gone_and_the_rest_reads_as_before() =>
        Gen.Select(HistogramGen.Series, Gen.Select(Gen.Int[0, 60], Gen.Int[0, 9]).Array[1, 4]).Sample(static (samples, spec) =>
        {
            using var arena = new NativeArena(4096);
            var deleted = new List<TimeRange>();
            foreach ((int from, int length) in spec.OrderBy(static one => one.Item1))
            {
                var range = new TimeRange(HistogramHistory.StartMs + from * 15_000L, HistogramHistory.StartMs + (from + length) * 15_000L);
                if (deleted.Count == 0 || range.MinMs > deleted[^1].MaxMs) deleted.Add(range);
            }

            SeriesChunk[] chunks = HistogramModel.Chunks(arena, 2, samples);
            List<SeriesChunk> rest = [];
            foreach (SeriesChunk chunk in chunks) ChunkDeletion.AddRest(chunk, [.. deleted], arena, rest);
            LaneSample[] expected = [.. chunks.SelectMany(LaneSample.Decode).Where(sample => !deleted.Exists(range => range.Contains(sample.TimeMs)))];
            HistogramModel.AssertSame(expected, [.. rest.SelectMany(LaneSample.Decode)]);
        });

    private static SeriesChunk[] Join(NativeArena arena, ReadOnlySpan<SeriesChunk> chunks)
    {
        List<SeriesChunk> joined = [];
        while (!chunks.IsEmpty)
        {
            int run = Math.Max(1, HistogramChunkJoin.RunOf(chunks));
            HistogramChunkJoin.Join(chunks[..run], arena, joined);
            chunks = chunks[run..];
        }

        return [.. joined];
    }

    private SeriesChunk One(long timeMs, int count) => Assert.Single(HistogramModel.Chunks(_arena, 0, [new(timeMs, HistogramGen.Integer(1, count))]));
}
