using System.Buffers;
using System.Buffers.Binary;
using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Reading;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Benchmarks;

/// <summary>Answers of remote read by way of generated messages: what the hand encoders are compared with.</summary>
internal static class GeneratedAnswers
{
    /// <summary>One frame of a streamed answer with all chunks of a series.</summary>
    public static void WriteFrame(IBufferWriter<byte> output, ReadOnlySpan<byte> labelRun, ReadOnlySpan<SeriesChunk> chunks, int queryIndex)
    {
        var series = new ChunkedSeries();
        var labels = new LabelRunReader(labelRun);
        while (labels.MoveNext()) series.Labels.Add(LabelOf(labels));
        foreach (ref readonly SeriesChunk chunk in chunks)
        {
            series.Chunks.Add(new Chunk
            {
                MinTimeMs = chunk.MinTimeMs,
                MaxTimeMs = chunk.MaxTimeMs,
                Type = Chunk.Types.Encoding.Xor,
                Data = ByteString.CopyFrom(chunk.Data.Span),
            });
        }

        byte[] message = new ChunkedReadResponse { QueryIndex = queryIndex, ChunkedSeries = { series } }.ToByteArray();
        Span<byte> head = stackalloc byte[Varint.MaxBytes + sizeof(uint)];
        int length = Varint.Write(head, (uint)message.Length);
        BinaryPrimitives.WriteUInt32BigEndian(head[length..], Crc32C.Of(message));
        output.Write(head[..(length + sizeof(uint))]);
        output.Write(message);
    }

    /// <summary>A SAMPLES answer: all messages, then all bytes, then snappy.</summary>
    public static byte[] Samples(ReadSnapshot snapshot, Matcher[][] queries, out int seriesRead)
    {
        var response = new ReadResponse();
        var samples = new List<Sample>();
        seriesRead = 0;
        foreach (Matcher[] query in queries)
        {
            var result = new QueryResult();
            using SeriesMerge cursor = snapshot.Select(query, TimeRange.All, CancellationToken.None);
            for (; cursor.MoveNext(); seriesRead++)
            {
                samples.Clear();
                foreach (ref readonly SeriesChunk chunk in cursor.Chunks) ChunkMerge.Decode(chunk, samples);
                var series = new TimeSeries();
                var labels = new LabelRunReader(cursor.Labels);
                while (labels.MoveNext()) series.Labels.Add(LabelOf(labels));
                foreach (Sample sample in samples)
                    series.Samples.Add(new Protos.Prometheus.Sample { Timestamp = sample.TimeMs, Value = sample.Value });
                result.Timeseries.Add(series);
            }

            response.Results.Add(result);
        }

        return IronSnappy.Snappy.Encode(response.ToByteArray());
    }

    private static Label LabelOf(in LabelRunReader labels) => new()
    {
        Name = System.Text.Encoding.UTF8.GetString(labels.Name),
        Value = System.Text.Encoding.UTF8.GetString(labels.Value),
    };
}

/// <summary>Takes bytes and forgets them, as a fast client would.</summary>
internal sealed class DiscardingWriter : IBufferWriter<byte>
{
    private byte[] _buffer = new byte[1 << 16];

    public long Written { get; private set; }

    public void Advance(int count) => Written += count;

    public Memory<byte> GetMemory(int sizeHint = 0) => Room(sizeHint);

    public Span<byte> GetSpan(int sizeHint = 0) => Room(sizeHint);

    private byte[] Room(int sizeHint)
    {
        if (sizeHint > _buffer.Length) _buffer = new byte[sizeHint];
        return _buffer;
    }
}
