using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.Compaction;

public sealed class ChunkJoinerTests : IDisposable
{
    private readonly NativeArena _arena = new();

    [Theory]
    [InlineData("60 60", "120")]
    [InlineData("30 30 30 30 30", "120 30")]
    [InlineData("1 1 1", "3")]
    [InlineData("100 100 100 100 100 100", "120 120 120 120 120")]
    [InlineData("100 100 100", "=100 =100 =100")] // three chunks either way
    [InlineData("120 120", "=120 =120")]
    [InlineData("200 5 5", "=200 10")]
    [InlineData("120 30 120 30", "=120 =30 =120 =30")] // full ones are not opened
    [InlineData("50 60 120 70 60", "110 =120 =70 =60")]
    [InlineData("7", "=7")]
    [InlineData("", "")]
    public void Small_neighbours_become_full_ones_and_nothing_else_is_touched(string before, string after)
    {
        List<SeriesChunk> input = Chunks(before);
        List<SeriesChunk> output = [];
        new ChunkJoiner().Join([.. input], _arena, output);
        Assert.Equal(after, string.Join(' ', output.Select(chunk => (input.Any(other => IsSame(other, chunk)) ? "=" : "") + SSTableFormat.SamplesOf(chunk.Data.Span))));
        Assert.Equal(Decode(input), Decode(output));
        Assert.All(output, static chunk => Assert.True(chunk.Rank is 0 or 1));

        List<SeriesChunk> again = [];
        new ChunkJoiner().Join([.. output], _arena, again);
        Assert.Equal(output.Count, again.Count);
        Assert.All(output.Zip(again), static pair => Assert.True(IsSame(pair.First, pair.Second)));
    }

    [Fact]
    public void What_is_no_float_chunk_goes_over_as_it_is_and_parts_its_neighbours()
    {
        List<SeriesChunk> input = Chunks("5 5 5 5");
        input[1] = input[1] with { Encoding = ChunkEncoding.Histogram };
        List<SeriesChunk> output = [];
        new ChunkJoiner().Join([.. input], _arena, output);
        Assert.Equal([5, 5, 10], output.Select(static chunk => SSTableFormat.SamplesOf(chunk.Data.Span)));
        Assert.True(IsSame(input[1], output[1]));
    }

    public void Dispose() => _arena.Dispose();

    private static unsafe bool IsSame(SeriesChunk left, SeriesChunk right) => left.Data.Pointer == right.Data.Pointer && left.Encoding == right.Encoding;

    private static List<Sample> Decode(List<SeriesChunk> chunks)
    {
        List<Sample> samples = [];
        foreach (SeriesChunk chunk in chunks) ChunkMerge.Decode(chunk, samples);
        return samples;
    }

    private List<SeriesChunk> Chunks(string counts)
    {
        List<SeriesChunk> chunks = [];
        long time = 0;
        foreach (string count in counts.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            Sample[] samples = [.. Enumerable.Range(0, int.Parse(count, System.Globalization.CultureInfo.InvariantCulture)).Select(_ => Sample.Of(time += 1000, time % 7))];
            ChunkMerge.Encode(samples, windowMs: 0, rank: chunks.Count % 2, _arena, chunks, maxSamples: 300);
        }

        return chunks;
    }
}
