using System.Buffers.Binary;
using System.Diagnostics;
using Google.Protobuf;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>A streamed remote read by a client that takes no more than so many bytes a second, and what it counted.</summary>
internal sealed record StreamedAnswer(long Bytes, long Series, long Samples, double FirstByteSeconds)
{
    private const int Piece = 1 << 16;

    /// <summary>Reads all of a metric.</summary>
    public static async Task<StreamedAnswer> ReadAsync(Uri server, string metric, long bytesPerSecond)
    {
        using var client = new HttpClient { BaseAddress = server, Timeout = Timeout.InfiniteTimeSpan };
        return await ReadAsync(client, TimeRange.All, bytesPerSecond, ("__name__", metric));
    }

    /// <summary>Reads what has these labels.</summary>
    public static async Task<StreamedAnswer> ReadAsync(HttpClient client, TimeRange range, long bytesPerSecond, params (string Name, string Value)[] labels)
    {
        byte[] body = ReadBodies.Of(range, streamed: true, [.. labels.Select(static label => ReadBodies.Equal(label.Name, label.Value))]);
        return await ReadAsync(client, body, bytesPerSecond);
    }

    /// <summary>Reads what a request asks for.</summary>
    public static async Task<StreamedAnswer> ReadAsync(HttpClient client, byte[] request, long bytesPerSecond)
    {
        using HttpRequestMessage message = ReadBodies.MessageOf(request);
        long started = Stopwatch.GetTimestamp();
        using HttpResponseMessage answer = await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        answer.EnsureSuccessStatusCode();
        return await CountAsync(await answer.Content.ReadAsStreamAsync(), bytesPerSecond, started);
    }

    private static async Task<StreamedAnswer> CountAsync(Stream body, long bytesPerSecond, long started)
    {
        var buffer = new byte[1 << 20];
        int held = 0;
        long bytes = 0;
        long series = 0;
        long samples = 0;
        double first = 0;
        ByteString last = ByteString.Empty;
        while (true)
        {
            if (buffer.Length - held < Piece) Array.Resize(ref buffer, 2 * buffer.Length);
            int read = await body.ReadAsync(buffer.AsMemory(held, Piece));
            if (read == 0) break;
            if (bytes == 0) first = Stopwatch.GetElapsedTime(started).TotalSeconds;
            bytes += read;
            held += read;
            for (int frame; (frame = FrameLength(buffer.AsSpan(0, held), out int head)) >= 0; held -= head + frame, buffer.AsSpan(head + frame, held).CopyTo(buffer))
            {
                foreach (ChunkedSeries one in ChunkedReadResponse.Parser.ParseFrom(buffer, head, frame).ChunkedSeries)
                {
                    // A series may go on in the next frame.
                    ByteString labels = new ChunkedSeries { Labels = { one.Labels } }.ToByteString();
                    if (labels != last) series++;
                    last = labels;
                    foreach (Chunk chunk in one.Chunks) samples += BinaryPrimitives.ReadUInt16BigEndian(chunk.Data.Span);
                }
            }

            double ahead = (double)bytes / bytesPerSecond - (Stopwatch.GetElapsedTime(started).TotalSeconds - first);
            if (ahead > 0.01) await Task.Delay(TimeSpan.FromSeconds(ahead));
        }

        if (held != 0) throw new InvalidDataException($"{held} bytes behind the last whole frame");
        return new StreamedAnswer(bytes, series, samples, first);
    }

    /// <summary>Bytes of the frame's message, or -1 if it is not whole yet.</summary>
    private static int FrameLength(ReadOnlySpan<byte> held, out int head)
    {
        int length = 0;
        head = 0;
        for (int shift = 0; head < held.Length; shift += 7)
        {
            byte next = held[head++];
            length |= (next & 0x7F) << shift;
            if (next < 0x80)
            {
                head += sizeof(uint);
                return held.Length >= head + length ? length : -1;
            }
        }

        return -1;
    }
}
