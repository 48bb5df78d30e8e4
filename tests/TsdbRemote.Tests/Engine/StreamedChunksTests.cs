using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Reading;

namespace TsdbRemote.Tests.Engine;

public sealed class StreamedChunksTests : IDisposable
{
    private readonly NativeArena _arena = new();
    private readonly StreamedChunks _streamed = new();

    public void Dispose()
    {
        _streamed.Dispose();
        _arena.Dispose();
    }

    [Fact]
    public void Chunks_of_one_sample_become_full_ones()
    {
        SeriesChunk[] chunks = Chunks(Enumerable.Repeat(1, 1_000));
        SeriesChunk[] joined = _streamed.Join(chunks).ToArray();
        Assert.Equal([.. Enumerable.Repeat(120, 8), 40], joined.Select(CountOf));
        Assert.Equal(Samples(chunks), Samples(joined));
    }

    [Theory]
    [InlineData(1_024)]
    [InlineData(1_025)]
    [InlineData(2_500)]
    public void However_many_follow_each_other_all_their_samples_come_out_in_order(int count)
    {
        SeriesChunk[] chunks = Chunks([.. Enumerable.Repeat(1, count), 120, 1, 1]);
        SeriesChunk[] joined = _streamed.Join(chunks).ToArray();
        Assert.Equal(Samples(chunks), Samples(joined));
        Assert.InRange(joined.Length, (count / 120) + 2, (count / 100) + 4);
    }

    [Theory]
    [InlineData(new[] { 120, 120, 60 })]
    [InlineData(new[] { 1 })]
    [InlineData(new[] { 3, 120, 3, 120, 3 })]
    [InlineData(new[] { 16, 16, 16 })]
    [InlineData(new int[0])]
    public void Chunks_of_usual_size_and_small_ones_that_stand_alone_go_out_as_they_are(int[] sizes)
    {
        SeriesChunk[] chunks = Chunks(sizes);
        Assert.Equal(chunks, _streamed.Join(chunks).ToArray());
    }

    [Fact]
    public void Runs_between_others_are_joined_where_they_stand()
    {
        SeriesChunk[] chunks = Chunks([1, 2, 120, 4, 120, 5, 6, 7]);
        SeriesChunk[] joined = _streamed.Join(chunks).ToArray();
        Assert.Equal([3, 120, 4, 120, 18], joined.Select(CountOf));
        Assert.Equal(chunks[2..5], joined[1..4]);
        Assert.Equal(Samples(chunks), Samples(joined));
        Assert.All(joined, static chunk => Assert.InRange(chunk.MaxTimeMs, chunk.MinTimeMs, long.MaxValue));
    }

    [Fact]
    public void Histograms_are_left_alone()
    {
        SeriesChunk[] chunks = [.. Chunks([1, 1, 1]).Select(static chunk => chunk with { Encoding = ChunkEncoding.Histogram })];
        Assert.Equal(chunks, _streamed.Join(chunks).ToArray());
    }

    [Fact]
    public void A_small_chunk_that_is_none_ends_it()
    {
        SeriesChunk[] chunks = Chunks([1, 1, 1]);
        chunks[1] = chunks[1] with { MaxTimeMs = chunks[1].MaxTimeMs + 1 };
        Assert.Throws<CorruptChunkException>(() => _streamed.Join(chunks).Length);
    }

    private SeriesChunk[] Chunks(IEnumerable<int> sizes)
    {
        List<SeriesChunk> chunks = [];
        long timeMs = 1_700_000_000_000;
        foreach (int size in sizes)
        {
            Sample[] samples = [.. Enumerable.Range(0, size).Select(_ => Sample.Of(timeMs += 15_000, timeMs % 977))];
            ChunkMerge.Encode(samples, windowMs: 0, rank: chunks.Count, _arena, chunks);
        }

        return [.. chunks];
    }

    private static int CountOf(SeriesChunk chunk) => new XorChunkReader(chunk.Data.Span).Count;

    private static List<Sample> Samples(IEnumerable<SeriesChunk> chunks)
    {
        List<Sample> samples = [];
        foreach (SeriesChunk chunk in chunks) ChunkMerge.Decode(chunk, samples);
        return samples;
    }
}
