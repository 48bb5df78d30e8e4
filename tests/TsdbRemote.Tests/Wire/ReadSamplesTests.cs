using System.IO.Pipelines;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Wire;

public sealed class ReadSamplesTests
{
    private const long Budget = 64 << 20;
    private static readonly byte[] Run = Labels.Encode(("__name__", "up"), ("job", "a"));

    [Fact]
    public async Task Any_answer_reads_back_as_what_went_in() => await Gen.Select(Gen.Int[0, 400].Array[0, 4].Array[0, 4], Gen.Int).SampleAsync(
        static async (queries, seed) =>
        {
            using var arena = new NativeArena();
            using var answer = new ReadSamples(Budget, sampleLimit: 0);
            foreach (int[] series in queries)
            {
                answer.BeginQuery();
                foreach (int count in series) answer.AddSeries(Run, ReadInputs.Chunks(arena, ReadInputs.Noise(count, seed)));
                answer.EndQuery();
            }

            ReadResponse response = await ReadBack(answer);
            Assert.Equal(queries.Length, response.Results.Count);
            for (int i = 0; i < queries.Length; i++)
            {
                Assert.Equal(queries[i].Length, response.Results[i].Timeseries.Count);
                for (int k = 0; k < queries[i].Length; k++)
                    AssertSeries(ReadInputs.Noise(queries[i][k], seed), response.Results[i].Timeseries[k]);
            }
        },
        iter: 60,
        threads: 1);

    [Fact]
    public async Task An_answer_of_many_MiB_is_one_block()
    {
        using var arena = new NativeArena();
        Sample[] samples = ReadInputs.Noise(300_000, seed: 4);
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, samples);
        using var answer = new ReadSamples(Budget, sampleLimit: 600_000);
        for (int query = 0; query < 2; query++)
        {
            answer.BeginQuery();
            answer.AddSeries(Run, chunks);
            answer.AddSeries(Labels.Encode(("__name__", new string('n', 200_000))), []);
            answer.EndQuery();
        }

        Assert.True(answer.Length > 5 << 20);
        ReadResponse response = await ReadBack(answer);
        Assert.Equal(2, response.Results.Count);
        foreach (QueryResult result in response.Results)
        {
            AssertSeries(samples, result.Timeseries[0]);
            Assert.Equal(200_000, result.Timeseries[1].Labels[0].Value.Length);
        }
    }

    [Fact]
    public async Task A_query_without_matches_still_has_its_result()
    {
        using var answer = new ReadSamples(Budget, 0);
        answer.BeginQuery();
        answer.EndQuery();
        Assert.Equal("02040a00", Convert.ToHexStringLower(await Send(answer)));     // two bytes, one literal: results { }
        Assert.Single((await ReadBack(answer)).Results);
    }

    [Fact]
    public async Task An_answer_to_no_query_is_the_empty_message()
    {
        using var answer = new ReadSamples(Budget, 0);
        Assert.Equal([0], await Send(answer));
    }

    [Fact]
    public async Task Every_value_survives_bit_by_bit_and_plus_zero_is_left_out()
    {
        using var arena = new NativeArena();
        Sample[] samples =
        [
            new(-5, StaleMarker.Bits), new(0, 0), new(1, 1UL << 63), new(2, StaleMarker.NormalNaN), new(3, ulong.MaxValue), new(long.MaxValue, 0),
        ];
        using var answer = new ReadSamples(Budget, 0);
        answer.BeginQuery();
        answer.AddSeries(default, ReadInputs.Chunks(arena, samples));
        answer.EndQuery();
        byte[] message = IronSnappy.Snappy.Decode(await Send(answer));
        AssertSeries(samples, ReadResponse.Parser.ParseFrom(message).Results[0].Timeseries[0]);
        Assert.Contains("1200" + "120b09" + "0000000000000080", Convert.ToHexStringLower(message), StringComparison.Ordinal);   // 0 at 0, then -0.0
    }

    [Fact]
    public void The_sample_limit_is_for_each_query_and_has_Prometheus_text()
    {
        using var arena = new NativeArena();
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, ReadInputs.Noise(150, seed: 5));
        using var answer = new ReadSamples(Budget, sampleLimit: 300);
        for (int query = 0; query < 2; query++)
        {
            answer.BeginQuery();
            answer.AddSeries(Run, chunks);
            answer.AddSeries(Run, chunks);
            answer.EndQuery();
        }

        answer.BeginQuery();
        answer.AddSeries(Run, chunks);
        answer.AddSeries(Run, chunks);
        ReadLimitException stop = Assert.Throws<ReadLimitException>(() => answer.AddSeries(Run, chunks));
        Assert.Equal("exceeded sample limit (300), set by storage.read.max_samples", stop.Message);
        Assert.Equal(ReadLimitKind.Samples, stop.Kind);
    }

    [Fact]
    public void The_memory_budget_stops_the_answer_and_names_its_option()
    {
        using var arena = new NativeArena();
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, ReadInputs.Noise(20_000, seed: 6));
        using var answer = new ReadSamples(maxCompressedBytes: 100_000, sampleLimit: 0);
        answer.BeginQuery();
        ReadLimitException stop = Assert.Throws<ReadLimitException>(() => answer.AddSeries(Run, chunks));
        Assert.Equal(ReadLimitKind.Memory, stop.Kind);
        Assert.Contains("storage.read.memory = 100000", stop.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_answer_longer_than_a_message_may_be_is_refused_before_it_is_encoded()
    {
        using var arena = new NativeArena();
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, ReadInputs.Noise(100, seed: 8));
        using var answer = new ReadSamples(Budget, 0, maxMessageBytes: 3000);
        answer.BeginQuery();
        answer.AddSeries(Run, chunks);
        ReadLimitException stop = Assert.Throws<ReadLimitException>(() => answer.AddSeries(Run, chunks));
        Assert.Equal(ReadLimitKind.Memory, stop.Kind);
        Assert.Equal("answer exceeds the longest message (3000 bytes); ask for less, or for streamed chunks", stop.Message);
    }

    [Fact]
    public void A_corrupt_chunk_is_no_answer()
    {
        using var arena = new NativeArena();
        SeriesChunk whole = Assert.Single(ReadInputs.Chunks(arena, ReadInputs.Noise(100, seed: 7)));
        SeriesChunk cut = whole with { Data = whole.Data.Slice(0, whole.Data.Length / 2) };
        using var answer = new ReadSamples(Budget, 0);
        answer.BeginQuery();
        Assert.Throws<CorruptChunkException>(() => answer.AddSeries(Run, [cut]));
    }

    private static void AssertSeries(Sample[] expected, TimeSeries series) =>
        Assert.Equal(expected, series.Samples.Select(static sample => Sample.Of(sample.Timestamp, sample.Value)));

    /// <summary>Both libraries must unpack the block; the generated parser reads it.</summary>
    private static async Task<ReadResponse> ReadBack(ReadSamples answer)
    {
        byte[] sent = await Send(answer);
        byte[] message = IronSnappy.Snappy.Decode(sent);
        Assert.Equal(CompressionStatus.Ok, SnappyBlock.TryDecompress(sent, int.MaxValue, out PooledBuffer? raw));
        using (raw) Assert.True(raw!.Span.SequenceEqual(message));
        return ReadResponse.Parser.ParseFrom(message);
    }

    private static async Task<byte[]> Send(ReadSamples answer)
    {
        using var stream = new MemoryStream();
        PipeWriter pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        await answer.CopyToAsync(pipe, CancellationToken.None);
        await pipe.CompleteAsync();
        Assert.Equal(answer.Length, stream.Length);
        return stream.ToArray();
    }
}
