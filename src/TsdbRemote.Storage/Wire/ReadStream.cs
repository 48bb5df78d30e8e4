using System.Buffers;
using System.Buffers.Binary;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Writes STREAMED_XOR_CHUNKS answers: frames of ready-made chunks, byte for byte. Stateless, thread-safe.</summary>
/// <remarks>
/// <code>
/// uvarint length │ crc32c of the payload, big-endian u32 │ payload: ChunkedReadResponse
/// payload   0A len { labels: the run itself │ 12 len { 08 min time │ 10 max time │ 18 encoding │ 22 len data } … } │ 10 query index
/// </code>
/// Scalars that are zero are left out. One series a frame, its labels in each of its frames. A frame takes chunks until its budget (the
/// limit less the labels) is used up, so that it exceeds the limit by at most one chunk and always holds one.
/// Not here: order of series and chunks, trimming (reader), flushing (endpoint).
/// Source: prometheus storage/remote/chunked.go, codec.go (StreamChunkedReadResponses); protocols §3.4.
/// </remarks>
public static class ReadStream
{
    /// <summary>Prometheus' default of <c>--storage.remote.read-max-bytes-in-frame</c>, bytes.</summary>
    public const int DefaultMaxFrameBytes = 1 << 20;

    private const byte SeriesTag = (1 << 3) | 2;
    private const byte QueryIndexTag = (2 << 3) | 0;
    private const byte ChunkTag = (2 << 3) | 2;
    private const byte MinTimeTag = (1 << 3) | 0;
    private const byte MaxTimeTag = (2 << 3) | 0;
    private const byte EncodingTag = (3 << 3) | 0;
    private const byte DataTag = (4 << 3) | 2;

    /// <summary>Writes all frames of one series of one query.</summary>
    /// <param name="output">Where the frames go; not flushed here.</param>
    /// <param name="labelRun">The series' labels, sorted.</param>
    /// <param name="chunks">Its chunks: ascending, not overlapping, cut to the query. None writes nothing.</param>
    /// <param name="queryIndex">Which query of the request is answered, from 0.</param>
    /// <param name="maxFrameBytes">Budget of a frame, bytes.</param>
    public static void WriteSeries(
        IBufferWriter<byte> output,
        ReadOnlySpan<byte> labelRun,
        ReadOnlySpan<SeriesChunk> chunks,
        int queryIndex,
        int maxFrameBytes = DefaultMaxFrameBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(queryIndex);
        long budget = maxFrameBytes - LabelMessageBytes(labelRun);
        while (!chunks.IsEmpty)
        {
            int count = TakeChunks(chunks, budget, out int chunkBytes);
            WriteFrame(output, labelRun, chunks[..count], chunkBytes, queryIndex);
            chunks = chunks[count..];
        }
    }

    /// <summary>
    /// How many chunks the next frame holds; Prometheus counts a chunk's message without its tag and length, and so do we.
    /// </summary>
    private static int TakeChunks(ReadOnlySpan<SeriesChunk> chunks, long budget, out int fieldBytes)
    {
        fieldBytes = 0;
        int count = 0;
        do
        {
            int message = MessageSize(chunks[count++]);
            fieldBytes = checked(fieldBytes + FieldSize(message));
            budget -= message;
        }
        while (budget > 0 && count < chunks.Length);
        return count;
    }

    private static void WriteFrame(
        IBufferWriter<byte> output, ReadOnlySpan<byte> labelRun, ReadOnlySpan<SeriesChunk> chunks, int chunkBytes, int queryIndex)
    {
        int series = checked(labelRun.Length + chunkBytes);
        int payload = checked(FieldSize(series) + ScalarSize((ulong)queryIndex));
        int prefix = Varint.SizeOf((uint)payload) + sizeof(uint);
        Span<byte> frame = output.GetSpan(checked(prefix + payload))[..(prefix + payload)];
        Span<byte> target = frame[prefix..];
        int at = WriteLength(target, SeriesTag, series);
        labelRun.CopyTo(target[at..]);
        at += labelRun.Length;
        foreach (ref readonly SeriesChunk chunk in chunks) at += WriteChunk(target[at..], chunk);
        at += WriteScalar(target[at..], QueryIndexTag, (ulong)queryIndex);
        Invariant.Check(at == payload, "a frame takes the bytes that were counted for it");

        Varint.Write(frame, (uint)payload);
        BinaryPrimitives.WriteUInt32BigEndian(frame[(prefix - sizeof(uint))..], Crc32C.Of(target));
        output.Advance(frame.Length);
    }

    private static int WriteChunk(Span<byte> target, in SeriesChunk chunk)
    {
        int at = WriteLength(target, ChunkTag, MessageSize(chunk));
        at += WriteScalar(target[at..], MinTimeTag, (ulong)chunk.MinTimeMs);
        at += WriteScalar(target[at..], MaxTimeTag, (ulong)chunk.MaxTimeMs);
        at += WriteScalar(target[at..], EncodingTag, (ulong)chunk.Encoding);
        at += WriteLength(target[at..], DataTag, chunk.Data.Length);
        chunk.Data.Span.CopyTo(target[at..]);
        return at + chunk.Data.Length;
    }

    private static int MessageSize(in SeriesChunk chunk) =>
        ScalarSize((ulong)chunk.MinTimeMs) + ScalarSize((ulong)chunk.MaxTimeMs)
        + ScalarSize((ulong)chunk.Encoding) + FieldSize(chunk.Data.Length);

    private static long LabelMessageBytes(ReadOnlySpan<byte> labelRun)
    {
        long bytes = 0;
        var labels = new LabelRunReader(labelRun);
        while (labels.MoveNext()) bytes += LabelWire.MessageSize(labels.Name.Length, labels.Value.Length);
        return bytes;
    }

    private static int FieldSize(int length) => checked(1 + Varint.SizeOf((uint)length) + length);

    private static int ScalarSize(ulong value) => value == 0 ? 0 : 1 + Varint.SizeOf(value);

    private static int WriteLength(Span<byte> target, byte tag, int length)
    {
        target[0] = tag;
        return 1 + Varint.Write(target[1..], (uint)length);
    }

    private static int WriteScalar(Span<byte> target, byte tag, ulong value)
    {
        if (value == 0) return 0;
        target[0] = tag;
        return 1 + Varint.Write(target[1..], value);
    }
}
