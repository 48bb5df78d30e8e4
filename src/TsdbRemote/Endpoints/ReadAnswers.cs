using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Sends what a snapshot holds for some queries, in one of the two forms of remote read. Blocks its thread while the reader is slow.</summary>
internal static class ReadAnswers
{
    /// <summary>Bytes gathered before they are handed to the connection.</summary>
    private const int FlushBytes = 64 << 10;

    /// <summary>Frames of chunks, one series a frame or more, sent as they are made.</summary>
    /// <exception cref="ReadLimitException">More series than allowed; what was sent is cut off.</exception>
    /// <exception cref="OperationCanceledException">The reader is gone, or its time is up.</exception>
    public static ReadCounts Stream(
        ResponseWriter output, ReadSnapshot snapshot, IReadOnlyList<ReadQuery> queries, int maxFrameBytes, long maxSeries, CancellationToken stop)
    {
        output.Response.ContentType = HttpAnswers.StreamMediaType;
        ReadCounts counts = default;
        using var streamed = new StreamedChunks();
        for (int i = 0; i < queries.Count; i++)
        {
            using SeriesMerge cursor = snapshot.Select(queries[i].Matchers, queries[i].Range, stop);
            while (cursor.MoveNext())
            {
                CheckSeries(counts, maxSeries);
                ReadOnlySpan<SeriesChunk> chunks = streamed.Join(cursor.Chunks);
                ReadStream.WriteSeries(output, cursor.Labels, chunks, i, maxFrameBytes);
                counts = counts.Add(chunks);
                if (output.Unflushed >= FlushBytes) output.Flush(stop);
            }
        }

        output.Flush(stop);
        return counts with { Bytes = output.Total };
    }

    /// <summary>One snappy block of a <c>ReadResponse</c>; nothing is sent before it is whole, so that every failure still has a status.</summary>
    /// <exception cref="ReadLimitException">More samples, series or bytes than allowed.</exception>
    /// <exception cref="OperationCanceledException">The reader is gone, or its time is up.</exception>
    public static ReadCounts Samples(
        ResponseWriter output, ReadSnapshot snapshot, IReadOnlyList<ReadQuery> queries, long maxSamples, long maxSeries, long maxBytes, CancellationToken stop)
    {
        using var samples = new ReadSamples(maxBytes, maxSamples);
        ReadCounts counts = default;
        foreach (ReadQuery query in queries)
        {
            samples.BeginQuery();
            using (SeriesMerge cursor = snapshot.Select(query.Matchers, query.Range, stop))
            {
                while (cursor.MoveNext())
                {
                    CheckSeries(counts, maxSeries);
                    samples.AddSeries(cursor.Labels, cursor.Chunks);
                    counts = counts.Add(cursor.Chunks);
                }
            }

            samples.EndQuery();
        }

        output.Response.ContentType = HttpAnswers.ProtobufMediaType;
        output.Response.Headers.ContentEncoding = HttpAnswers.Snappy;
        output.Response.ContentLength = samples.Length;
        output.Send(samples.Length, body => samples.CopyToAsync(body, stop));
        return counts with { Bytes = output.Total };
    }

    private static void CheckSeries(in ReadCounts soFar, long maxSeries)
    {
        if (maxSeries > 0 && soFar.Series >= maxSeries) throw ReadLimitException.OfSeries(maxSeries);
    }
}
