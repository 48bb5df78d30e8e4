using System.Buffers;
using System.Buffers.Binary;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Wire;

public sealed class ReadStreamTests
{
    private static readonly byte[] Run = Labels.Encode(("__name__", "up"), ("job", "a"));

    [Fact]
    public void A_frame_is_length_checksum_and_message()
    {
        using var arena = new NativeArena();
        var output = new ArrayBufferWriter<byte>();
        NativeBytes data = arena.Allocate(14);
        Convert.FromHexString("000180f4ee0640c77000000000" + "00").CopyTo(data.Span);
        ReadStream.WriteSeries(output, Run, [new SeriesChunk(7_200_000, 7_200_000, ChunkEncoding.Xor, data, 0)], queryIndex: 0);

        // series { 26 bytes of labels, chunk { min, max, type XOR, 14 bytes } }
        string payload = "0a38" + Convert.ToHexStringLower(Run) + "121c" + "0880bab703" + "1080bab703" + "1801" + "220e000180f4ee0640c7700000000000";
        byte[] body = Convert.FromHexString(payload);
        byte[] crc = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(crc, Crc32C.Of(body));
        Assert.Equal("3a" + Convert.ToHexStringLower(crc) + payload, Convert.ToHexStringLower(output.WrittenSpan));
    }

    [Fact]
    public void The_checksum_is_the_one_of_the_reference_frame() =>
        Assert.Equal(0x53fe1f55u, Crc32C.Of("test1"u8));

    [Fact]
    public void The_query_index_is_left_out_when_zero_and_every_frame_carries_labels()
    {
        using var arena = new NativeArena();
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, ReadInputs.Noise(500, seed: 1));
        foreach (int index in new[] { 0, 1, 300 })
        {
            var output = new ArrayBufferWriter<byte>();
            ReadStream.WriteSeries(output, Run, chunks, index, maxFrameBytes: 1500);
            List<ChunkedReadResponse> frames = ReadFrames(output.WrittenSpan);
            Assert.True(frames.Count > 1);
            Assert.All(frames, frame => Assert.Equal(index, frame.QueryIndex));
            Assert.All(frames, frame => Assert.Equal(["__name__", "job"], Assert.Single(frame.ChunkedSeries).Labels.Select(static l => l.Name)));
        }
    }

    [Fact]
    public void A_series_without_chunks_writes_nothing()
    {
        var output = new ArrayBufferWriter<byte>();
        ReadStream.WriteSeries(output, Run, [], queryIndex: 0);
        Assert.Equal(0, output.WrittenCount);
    }

    [Fact]
    public void Times_that_are_zero_are_left_out_and_negative_ones_are_not()
    {
        using var arena = new NativeArena();
        var output = new ArrayBufferWriter<byte>();
        ReadStream.WriteSeries(output, Run, [ReadInputs.Opaque(arena, -5, 0, 3), ReadInputs.Opaque(arena, long.MinValue, long.MaxValue, 3)], 0);
        Assert.Equal(
            [(-5, 0), (long.MinValue, long.MaxValue)],
            Assert.Single(ReadFrames(output.WrittenSpan)).ChunkedSeries[0].Chunks.Select(static chunk => (chunk.MinTimeMs, chunk.MaxTimeMs)));
    }

    [Fact]
    public void Frames_are_cut_as_Prometheus_cuts_them()
    {
        using var arena = new NativeArena();
        Gen.Select(Gen.Int[1, 300].Array[0, 30], Gen.Int[1, 600]).Sample(
            (sizes, maxFrameBytes) =>
            {
                SeriesChunk[] chunks = [.. sizes.Select((size, i) => ReadInputs.Opaque(arena, i, i, size))];
                var output = new ArrayBufferWriter<byte>();
                ReadStream.WriteSeries(output, Run, chunks, 0, maxFrameBytes);
                List<ChunkedReadResponse> frames = ReadFrames(output.WrittenSpan);
                Assert.Equal(CutAsPrometheus(chunks, maxFrameBytes), frames.Select(static frame => frame.ChunkedSeries[0].Chunks.Count));
                Assert.Equal(
                    sizes.Select(static (size, i) => ((long)i, size)),
                    frames.SelectMany(static frame => frame.ChunkedSeries[0].Chunks).Select(static chunk => (chunk.MinTimeMs, chunk.Data.Length)));
            },
            iter: 300,
            threads: 1);
    }

    [Fact]
    public void Chunk_bytes_travel_unchanged()
    {
        using var arena = new NativeArena();
        Sample[] samples = ReadInputs.Noise(1000, seed: 2);
        SeriesChunk[] chunks = ReadInputs.Chunks(arena, samples);
        var output = new ArrayBufferWriter<byte>();
        ReadStream.WriteSeries(output, Run, chunks, 0);
        Chunk[] sent = [.. ReadFrames(output.WrittenSpan).SelectMany(static frame => frame.ChunkedSeries[0].Chunks)];
        Assert.Equal(
            chunks.Select(static chunk => Convert.ToHexString(chunk.Data.Span)),
            sent.Select(static chunk => Convert.ToHexString(chunk.Data.Span)));
        Assert.All(sent, static chunk => Assert.Equal(Chunk.Types.Encoding.Xor, chunk.Type));
        Assert.Equal((samples[0].TimeMs, samples[^1].TimeMs), (sent[0].MinTimeMs, sent[^1].MaxTimeMs));
    }

    /// <summary>Prometheus' rule in its own terms: sizes are those of the messages, without tag and length.</summary>
    private static IEnumerable<int> CutAsPrometheus(SeriesChunk[] chunks, int maxFrameBytes)
    {
        int labels = new Label { Name = "__name__", Value = "up" }.CalculateSize() + new Label { Name = "job", Value = "a" }.CalculateSize();
        int left = maxFrameBytes - labels;
        int count = 0;
        for (int i = 0; i < chunks.Length; i++)
        {
            count++;
            left -= Message(chunks[i]).CalculateSize();
            if (left > 0 && i + 1 < chunks.Length) continue;
            yield return count;
            count = 0;
            left = maxFrameBytes - labels;
        }
    }

    private static Chunk Message(SeriesChunk chunk) => new()
    {
        MinTimeMs = chunk.MinTimeMs,
        MaxTimeMs = chunk.MaxTimeMs,
        Type = Chunk.Types.Encoding.Xor,
        Data = Google.Protobuf.ByteString.CopyFrom(chunk.Data.Span),
    };

    private static List<ChunkedReadResponse> ReadFrames(ReadOnlySpan<byte> body)
    {
        var frames = new List<ChunkedReadResponse>();
        int at = 0;
        while (at < body.Length)
        {
            Assert.True(Varint.TryRead(body, ref at, out ulong length));
            uint crc = BinaryPrimitives.ReadUInt32BigEndian(body[at..]);
            ReadOnlySpan<byte> payload = body.Slice(at + sizeof(uint), (int)length);
            Assert.Equal(crc, Crc32C.Of(payload));
            frames.Add(ChunkedReadResponse.Parser.ParseFrom(payload));
            at += sizeof(uint) + (int)length;
        }

        return frames;
    }
}
