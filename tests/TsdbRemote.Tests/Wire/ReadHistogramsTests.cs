using System.Buffers;
using System.IO.Pipelines;
using CsCheck;
using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;
using BucketSpan = TsdbRemote.Blocks.Model.BucketSpan;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Wire;

/// <summary>Answers with histograms, read by the generated parser.</summary>
public sealed class ReadHistogramsTests : IDisposable
{
    private static readonly byte[] Run = Labels.Encode(("__name__", "h"));

    private readonly NativeArena _arena = new();

    public void Dispose() => _arena.Dispose();

    [Fact]
    public async Task Any_series_of_both_lanes_is_answered_to_the_bit() => await Gen.Select(HistogramGen.Series, Gen.Int[0, 30]).SampleAsync(
        static async (samples, floats) =>
        {
            using var arena = new NativeArena(4096);
            Sample[] before = [.. Enumerable.Range(0, floats).Select(static i => Sample.Of(i, i))];
            SeriesChunk[] chunks = [.. ReadInputs.Chunks(arena, before), .. HistogramModel.Chunks(arena, 0, samples)];
            TimeSeries series = await Answer(chunks);
            Assert.Equal(before, series.Samples.Select(static sample => Sample.Of(sample.Timestamp, sample.Value)));
            AssertSame([.. chunks.SelectMany(LaneSample.Decode).Where(static sample => sample.Histogram is not null)], series.Histograms);
        },
        iter: 100,
        threads: 1);

    [Fact]
    public async Task Any_words_are_answered_to_the_bit() => await HistogramGen.Wild.SampleAsync(
        static async samples =>
        {
            using var arena = new NativeArena(4096);
            SeriesChunk[] chunks = HistogramModel.Chunks(arena, 0, samples);
            AssertSame([.. chunks.SelectMany(LaneSample.Decode)], (await Answer(chunks)).Histograms);
        },
        iter: 100,
        threads: 1);

    [Fact]
    public async Task The_first_of_a_chunk_says_nothing_of_resets_the_others_that_there_was_none_and_gauges_that_they_are()
    {
        NativeHistogram gauge = HistogramGen.Integer(1, 5);
        gauge.Hint = CounterResetHint.Gauge;
        SeriesChunk[] chunks = HistogramModel.Chunks(
            _arena,
            0,
            [
                new(1, HistogramGen.Integer(1, 3)), new(2, HistogramGen.Integer(1, 4)), new(3, HistogramGen.Integer(1, 2)),
                new(4, gauge), new(5, gauge),
            ]);
        Assert.Equal(3, chunks.Length);
        Assert.Equal(HistogramChunkFlags.Reset, HistogramModel.Flags(chunks[1]));
        Histogram.Types.ResetHint[] hints =
        [
            Histogram.Types.ResetHint.Unknown, Histogram.Types.ResetHint.No, Histogram.Types.ResetHint.Unknown,
            Histogram.Types.ResetHint.Gauge, Histogram.Types.ResetHint.Gauge,
        ];
        Assert.Equal(hints, (await Answer(chunks)).Histograms.Select(static histogram => histogram.ResetHint));
    }

    [Theory]
    [InlineData(false, "220d" + "0800" + "19020000000000f07f" + "3000")]
    [InlineData(true, "221b" + "110000000000000000" + "19020000000000f07f" + "390000000000000000")]
    public async Task A_stale_marker_has_its_sum_and_what_tells_its_kind_even_of_a_gauge(bool isFloat, string hex)
    {
        byte[] message = await Message(HistogramModel.Chunks(_arena, 0, [new(0, HistogramGen.Stale(isFloat, CounterResetHint.Gauge))]));
        Assert.EndsWith(hex, Convert.ToHexStringLower(message), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_histogram_longer_than_a_part_of_the_answer_is_whole()
    {
        NativeHistogram wide = HistogramGen.Integer(1, [.. Enumerable.Range(0, 40_000).Select(static i => (long)i * i)]);
        TimeSeries series = await Answer(HistogramModel.Chunks(_arena, 0, [new(1, wide), new(2, wide)]));
        Assert.All(series.Histograms, histogram => Assert.Equal(wide.PositiveBuckets, histogram.PositiveDeltas));
    }

    [Fact]
    public async Task A_schema_that_not_every_reader_knows_is_reduced()
    {
        NativeHistogram fine = HistogramGen.Integer(1, 1, 2, 3, 4);
        fine.Schema = 9;
        TimeSeries series = await Answer(HistogramModel.Chunks(_arena, 0, [new(1, fine), new(2, fine)]));
        Assert.Equal([8, 8], series.Histograms.Select(static histogram => histogram.Schema));
        Assert.All(series.Histograms, static histogram => Assert.Equal([1, 4, -1], histogram.PositiveDeltas)); // 1, 2 + 3 and 4
    }

    [Fact]
    public void Histograms_count_against_the_sample_limit_with_floats()
    {
        SeriesChunk[] floats = ReadInputs.Chunks(_arena, ReadInputs.Noise(10, seed: 1));
        SeriesChunk[] histograms = HistogramModel.Chunks(_arena, 0, HistogramWalk.Series(new HistogramTraits(7, 10, 1000), 0));
        using var answer = new ReadSamples(1 << 20, sampleLimit: 19);
        answer.BeginQuery();
        answer.AddSeries(Run, floats);
        ReadLimitException stop = Assert.Throws<ReadLimitException>(() => answer.AddSeries(Run, histograms));
        Assert.Equal(("exceeded sample limit (19), set by storage.read.max_samples", ReadLimitKind.Samples), (stop.Message, stop.Kind));
        using var enough = new ReadSamples(1 << 20, sampleLimit: 20);
        enough.BeginQuery();
        enough.AddSeries(Run, floats);
        enough.AddSeries(Run, histograms);
    }

    [Fact]
    public void A_corrupt_chunk_is_no_answer()
    {
        SeriesChunk whole = Assert.Single(HistogramModel.Chunks(_arena, 0, [new(1, HistogramGen.Integer(1, 1)), new(2, HistogramGen.Integer(1, 2))]));
        foreach (SeriesChunk bad in (SeriesChunk[])[whole with { Data = whole.Data.Slice(0, whole.Data.Length - 3) }, whole with { MaxTimeMs = 3 }])
        {
            using var answer = new ReadSamples(1 << 20, 0);
            answer.BeginQuery();
            Assert.Throws<CorruptChunkException>(() => answer.AddSeries(Run, [bad]));
        }
    }

    [Fact]
    public void Streamed_chunks_carry_their_encoding_and_their_bytes()
    {
        SeriesChunk[] chunks =
        [
            .. ReadInputs.Chunks(_arena, [Sample.Of(0, 1)]),
            .. HistogramModel.Chunks(_arena, 0, [new(1, HistogramGen.Integer(1, 1)), new(2, HistogramGen.Float(HistogramGen.Integer(1, 1)))]),
        ];
        var output = new ArrayBufferWriter<byte>();
        ReadStream.WriteSeries(output, Run, chunks, queryIndex: 0);
        ReadOnlySpan<byte> frame = output.WrittenSpan;
        Assert.Equal(frame.Length - 5, frame[0]); // one byte of length, four of checksum
        ChunkedSeries series = Assert.Single(ChunkedReadResponse.Parser.ParseFrom(frame[5..]).ChunkedSeries);
        Assert.Equal(
            [Chunk.Types.Encoding.Xor, Chunk.Types.Encoding.Histogram, Chunk.Types.Encoding.FloatHistogram],
            series.Chunks.Select(static chunk => chunk.Type));
        Assert.Equal(
            chunks.Select(static chunk => Convert.ToHexString(chunk.Data.Span)),
            series.Chunks.Select(static chunk => Convert.ToHexString(chunk.Data.Span)));
    }

    private static void AssertSame(LaneSample[] expected, RepeatedField<Histogram> actual)
    {
        Assert.Equal(expected.Select(static sample => sample.TimeMs), actual.Select(static histogram => histogram.Timestamp));
        for (int i = 0; i < expected.Length; i++)
        {
            NativeHistogram own = expected[i].Histogram!;
            NativeHistogram read = FromWire(actual[i]);
            Assert.True(own.SaysTheSameAs(read), $"sample {i}");
            Assert.Equal(own.IsStale ? CounterResetHint.Unknown : own.Hint, read.Hint);
            Assert.Equal(own.PositiveSpans, read.PositiveSpans);
            Assert.Equal(own.NegativeSpans, read.NegativeSpans);
        }
    }

    private static NativeHistogram FromWire(Histogram wire)
    {
        bool isFloat = wire.CountCase == Histogram.CountOneofCase.CountFloat;
        Assert.Equal(isFloat ? Histogram.ZeroCountOneofCase.ZeroCountFloat : Histogram.ZeroCountOneofCase.ZeroCountInt, wire.ZeroCountCase);
        var histogram = new NativeHistogram
        {
            IsFloat = isFloat,
            Hint = (CounterResetHint)wire.ResetHint,
            Schema = wire.Schema,
            ZeroThreshold = wire.ZeroThreshold,
            Count = isFloat ? BitConverter.DoubleToUInt64Bits(wire.CountFloat) : wire.CountInt,
            ZeroCount = isFloat ? BitConverter.DoubleToUInt64Bits(wire.ZeroCountFloat) : wire.ZeroCountInt,
            SumBits = BitConverter.DoubleToUInt64Bits(wire.Sum),
        };
        histogram.PositiveSpans.AddRange(wire.PositiveSpans.Select(static span => new BucketSpan(span.Offset, span.Length)));
        histogram.NegativeSpans.AddRange(wire.NegativeSpans.Select(static span => new BucketSpan(span.Offset, span.Length)));
        histogram.PositiveBuckets.AddRange(isFloat ? wire.PositiveCounts.Select(BitConverter.DoubleToInt64Bits) : wire.PositiveDeltas);
        histogram.NegativeBuckets.AddRange(isFloat ? wire.NegativeCounts.Select(BitConverter.DoubleToInt64Bits) : wire.NegativeDeltas);
        Assert.Equal(0, isFloat ? wire.PositiveDeltas.Count + wire.NegativeDeltas.Count : wire.PositiveCounts.Count + wire.NegativeCounts.Count);
        histogram.CustomBounds.AddRange(wire.CustomValues);
        return histogram;
    }

    private static async Task<TimeSeries> Answer(SeriesChunk[] chunks) =>
        Assert.Single(Assert.Single(ReadResponse.Parser.ParseFrom(await Message(chunks)).Results).Timeseries);

    private static async Task<byte[]> Message(SeriesChunk[] chunks)
    {
        using var answer = new ReadSamples(64 << 20, sampleLimit: 0);
        answer.BeginQuery();
        answer.AddSeries(Run, chunks);
        answer.EndQuery();
        using var stream = new MemoryStream();
        PipeWriter pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        await answer.CopyToAsync(pipe, CancellationToken.None);
        await pipe.CompleteAsync();
        return IronSnappy.Snappy.Decode(stream.ToArray());
    }
}
