using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Protos.Prometheus;

namespace TsdbRemote.Torture;

/// <summary>What was found of a writer's samples.</summary>
/// <param name="Samples">How many.</param>
/// <param name="Missing">Requests of which a sample that has to be there is not.</param>
/// <param name="MissingSamples">How many of them are missing.</param>
/// <param name="Refusal">Why the server did not answer; null if it did.</param>
internal sealed record Recovered(long Samples, IReadOnlyList<int> Missing, long MissingSamples, string? Refusal);

/// <summary>Reads back what writers sent, by remote read, and holds it against the ledger.</summary>
internal sealed class TortureReader(TortureLedger ledger)
{
    /// <summary>Reads all of a writer's samples as chunks.</summary>
    /// <param name="client">Asks the server.</param>
    /// <param name="writer">Which writer.</param>
    /// <param name="least">What a request has to be for its samples to be there.</param>
    /// <exception cref="TortureException">Something was read that was never sent, or twice.</exception>
    public async Task<Recovered> ReadAllAsync(HttpClient client, int writer, RequestFate least)
    {
        RequestFate[] fates = ledger.Snapshot()[writer];
        using HttpResponseMessage answer = await AskAsync(client, writer, long.MinValue, long.MaxValue, ReadRequest.Types.ResponseType.StreamedXorChunks);
        string? refusal = null;
        byte[] body = [];
        if (!answer.IsSuccessStatusCode) refusal = $"{(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync()}";
        else
        {
            try
            {
                body = await answer.Content.ReadAsByteArrayAsync();
            }
            catch (Exception cut) when (cut is HttpRequestException or IOException)
            {
                refusal = $"cut off: {cut.Message}";
            }
        }

        var found = new HashSet<(int Request, int Series)>();
        foreach (ChunkedSeries series in Frames(body)) Note(writer, series, found);
        List<int> missing = [];
        long missingSamples = 0;
        for (int request = 0; request < fates.Length; request++)
        {
            if (fates[request] < least) continue;
            int lost = Enumerable.Range(0, TortureLedger.SeriesEach).Count(series => !found.Contains((request, series)));
            if (lost == 0) continue;
            missing.Add(request);
            missingSamples += lost;
        }

        return new Recovered(found.Count, missing, missingSamples, refusal);
    }

    /// <summary>Asks for one acknowledged request, as a dashboard would, while everything goes on.</summary>
    /// <exception cref="TortureException">A 200 did not have all of it.</exception>
    public async Task ReadRecentAsync(HttpClient client, Random random)
    {
        int writer = random.Next(TortureLedger.Writers);
        if (!ledger.TryRecent(writer, random, out int request)) return;
        long time = ledger.TimeOf(request);
        using HttpResponseMessage answer = await AskAsync(client, writer, time, time, ReadRequest.Types.ResponseType.Samples);
        if (answer.StatusCode == HttpStatusCode.ServiceUnavailable) return;
        byte[] body = await answer.Content.ReadAsByteArrayAsync();
        if (!answer.IsSuccessStatusCode) throw new TortureException($"a read was answered {(int)answer.StatusCode}: {System.Text.Encoding.UTF8.GetString(body)}");
        HashSet<int> found = [];
        foreach (TimeSeries series in ReadResponse.Parser.ParseFrom(IronSnappy.Snappy.Decode(body)).Results[0].Timeseries)
        {
            foreach (Sample sample in series.Samples)
            {
                found.Add(Check(writer, [.. series.Labels], sample.Timestamp, sample.Value).Series);
            }
        }

        if (found.Count < TortureLedger.SeriesEach)
            throw new TortureException($"request {request} of writer {writer} was acknowledged before a read began that finds {found.Count} of its {TortureLedger.SeriesEach} samples");
    }

    private static async Task<HttpResponseMessage> AskAsync(HttpClient client, int writer, long startMs, long endMs, ReadRequest.Types.ResponseType type)
    {
        var query = new Query { StartTimestampMs = startMs, EndTimestampMs = endMs };
        query.Matchers.Add(new LabelMatcher { Type = LabelMatcher.Types.Type.Eq, Name = "__name__", Value = TortureWriter.Metric });
        query.Matchers.Add(new LabelMatcher { Type = LabelMatcher.Types.Type.Eq, Name = "writer", Value = writer.ToString(CultureInfo.InvariantCulture) });
        var request = new ReadRequest();
        request.Queries.Add(query);
        request.AcceptedResponseTypes.Add(type);
        using var content = new ByteArrayContent(IronSnappy.Snappy.Encode(request.ToByteArray()));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");

        // The headers only: an answer that breaks off at damage breaks off where its body is read.
        using var message = new HttpRequestMessage(HttpMethod.Post, new Uri("/api/v1/read", UriKind.Relative)) { Content = content };
        return await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
    }

    /// <summary>The series of a streamed answer: frames of length, checksum and message.</summary>
    private static IEnumerable<ChunkedSeries> Frames(byte[] body)
    {
        for (int at = 0; at < body.Length;)
        {
            using var frame = new CodedInputStream(body, at, body.Length - at);
            int length = (int)frame.ReadUInt32();
            at = (int)frame.Position + sizeof(uint);
            foreach (ChunkedSeries series in ChunkedReadResponse.Parser.ParseFrom(body, at, length).ChunkedSeries) yield return series;
            at += length;
        }
    }

    private void Note(int writer, ChunkedSeries series, HashSet<(int Request, int Series)> found)
    {
        List<Label> labels = [.. series.Labels];
        foreach (Chunk chunk in series.Chunks)
        {
            var reader = new XorChunkReader(chunk.Data.Span);
            while (reader.MoveNext())
            {
                (int Request, int Series) sample = Check(writer, labels, reader.TimeMs, BitConverter.UInt64BitsToDouble(reader.ValueBits));
                if (!found.Add(sample)) throw new TortureException($"request {sample.Request} of writer {writer}, series {sample.Series}: read twice");
            }

            if (reader.IsCorrupt) throw new TortureException($"a chunk of writer {writer} was answered that does not decode");
        }
    }

    private (int Request, int Series) Check(int writer, List<Label> labels, long timeMs, double value)
    {
        int series = NumberOf(labels, "series");
        int generation = NumberOf(labels, "gen");
        bool isRight = labels.Count == 4 && NumberOf(labels, "writer") == writer;
        if (isRight && ledger.IsOurs(writer, series, generation, timeMs, value, out int request)) return (request, series);
        throw new TortureException($"read and never sent: {string.Join(',', labels.Select(static label => $"{label.Name}={label.Value}"))} at {timeMs}: {value:R}");
    }

    private static int NumberOf(List<Label> labels, string name) =>
        labels.Find(label => label.Name == name) is { } label && int.TryParse(label.Value, CultureInfo.InvariantCulture, out int number) ? number : -1;
}
