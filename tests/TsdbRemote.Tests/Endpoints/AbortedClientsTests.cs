using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;
using BlocksSample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>
/// Senders that go away in the middle of anything, on real sockets, while every returned buffer is filled with 0xDB: what they had not sent whole
/// never appears, what others sent meanwhile is exact, and nothing is kept of them.
/// </summary>
public sealed class AbortedClientsTests
{
    private const int Senders = 3000;
    private const int AtATime = 16;

    [Fact]
    public async Task Thousands_of_requests_cut_off_at_random_points_leave_nothing_unsent_behind()
    {
        bool before = PooledBuffer.PoisonOnReturn;
        PooledBuffer.PoisonOnReturn = true;
        try
        {
            // Without a sync for each the requests follow each other, and return their buffers, faster.
            await using ServerUnderTest server = await ServerUnderTest.OnKestrel(
                ("storage:wal:durability", "interval"), ("storage:lsm:write_buffer_size", "4MB"));
            using Complaints complaints = Complaints.Of(server);
            var ends = new ConcurrentDictionary<int, End>();
            await Parallel.ForAsync(0, Senders, new ParallelOptions { MaxDegreeOfParallelism = AtATime }, async (id, _) => ends[id] = await SendAsync(server, id));
            Assert.All(Enum.GetValues<End>(), end => Assert.True(ends.Values.Count(actual => actual == end) > Senders / 20, $"hardly any sender ended as {end}"));

            await AssertIdleAsync(server);
            Check(ends, await server.EverythingAsync());
            await CheckLogAsync(server, ends);
            Assert.Empty(complaints.Heard); // a sender that goes away is nobody's failure
        }
        finally
        {
            PooledBuffer.PoisonOnReturn = before;
        }
    }

    private enum End
    {
        /// <summary>Sent whole and answered 204.</summary>
        Acknowledged,

        /// <summary>Sent whole, and gone before the answer.</summary>
        Unknown,

        /// <summary>Not sent whole.</summary>
        CutOff,
    }

    private static async Task<End> SendAsync(ServerUnderTest server, int id)
    {
        var random = new Random(id);
        byte[] request = RequestOf(id, random);
        End end = random.Next(4) switch { 0 => End.Acknowledged, 1 => End.Unknown, _ => End.CutOff };

        // Often near the end: of a body in chunks all bytes may then have come, but not the word that these were all.
        int missing = end != End.CutOff ? 0 : random.Next(3) == 0 ? random.Next(1, 8) : random.Next(1, request.Length + 1);
        int length = request.Length - missing;
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, server.Address.Port);

        // In two pieces, so that the server is at work on the first when the second comes, or does not.
        int piece = random.Next(length + 1);
        await SendAsync(socket, request.AsMemory(0, piece));
        if (random.Next(2) == 0) await Task.Yield();
        await SendAsync(socket, request.AsMemory(piece, length - piece));
        if (end == End.Acknowledged)
        {
            string status = await StatusAsync(socket);
            Assert.True(status.StartsWith("HTTP/1.1 204 ", StringComparison.Ordinal), $"{id}: {status}");
        }
        else if (random.Next(2) == 0)
        {
            socket.LingerState = new LingerOption(true, 0); // a reset instead of an orderly end
        }

        return end;
    }

    private static async Task SendAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[await socket.SendAsync(bytes)..];
    }

    private static async Task<string> StatusAsync(Socket socket)
    {
        byte[] answer = new byte[1024];
        int length = 0;
        while (answer.AsSpan(0, length).IndexOf("\r\n"u8) < 0)
        {
            int read = await socket.ReceiveAsync(answer.AsMemory(length));
            if (read == 0) break;
            length += read;
        }

        return Encoding.ASCII.GetString(answer, 0, length);
    }

    /// <summary>A whole request, with its length told, or in chunks of random length.</summary>
    private static byte[] RequestOf(int id, Random random)
    {
        byte[] body = Compress(V1(SeriesOf(LabelsOf(id), SamplesOf(id)), SeriesOf($"{LabelsOf(id)},second=yes", SamplesOf(id))));
        var request = new MemoryStream();
        bool chunked = random.Next(4) == 0;
        string length = chunked ? "Transfer-Encoding: chunked" : string.Create(CultureInfo.InvariantCulture, $"Content-Length: {body.Length}");
        request.Write(Encoding.ASCII.GetBytes(
            $"POST /api/v1/write HTTP/1.1\r\nHost: tsdb\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n{length}\r\n\r\n"));
        if (!chunked)
        {
            request.Write(body);
            return request.ToArray();
        }

        for (int at = 0; at < body.Length;)
        {
            int part = random.Next(1, body.Length - at + 1);
            request.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{part:x}\r\n")));
            request.Write(body.AsSpan(at, part));
            request.Write("\r\n"u8);
            at += part;
        }

        request.Write("0\r\n\r\n"u8);
        return request.ToArray();
    }

    private static string LabelsOf(int id) => $"__name__=aborted,id={id},padding={new string((char)('a' + id % 26), id % 300)}";

    /// <summary>Values that prove whose they are, and hardly compress.</summary>
    private static (long, double)[] SamplesOf(int id) => [.. Enumerable.Range(0, 1 + id % 200).Select(i => (id * 1000L + i, id + 1.0 / (i + 3)))];

    private static async Task AssertIdleAsync(ServerUnderTest server)
    {
        for (int i = 0; server.Engine.InFlight.Used != 0 && i < 500; i++) await Task.Delay(10);
        Assert.Equal(0, server.Engine.InFlight.Used);

        // A body of unknown length takes the whole budget of bodies: it gets it only if nobody else kept a byte.
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/write");
        request.Content = new ByteArrayContent(Compress(V1(SeriesOf("__name__=last", (1, 1)))));
        request.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage answer = await server.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.NoContent, answer.StatusCode);
    }

    private static void Check(ConcurrentDictionary<int, End> ends, IReadOnlyList<TimeSeries> read) =>
        Check(ends, read.ToDictionary(
            static series => string.Join(',', series.Labels.Select(static label => $"{label.Name}={label.Value}")),
            static series => series.Samples.Select(static sample => (sample.Timestamp, BitsOf(sample)))));

    private static void Check(ConcurrentDictionary<int, End> ends, Dictionary<string, IEnumerable<(long, ulong)>> read)
    {
        var left = new HashSet<string>(read.Keys);
        foreach ((int id, End end) in ends)
        {
            string labels = LabelsOf(id).Replace(",padding=", id % 300 == 0 ? "" : ",padding=", StringComparison.Ordinal);
            string[] names = [labels, $"{labels},second=yes"];
            int there = names.Count(read.ContainsKey);
            Assert.True(there == 2 || (there == 0 && end != End.Acknowledged), $"{id}, {end}: {there} of its 2 series are there");
            Assert.True(there == 0 || end != End.CutOff, $"{id} was cut off and is there");
            if (there == 0) continue;
            IEnumerable<(long, ulong)> expected = SamplesOf(id).Select(static sample => (sample.Item1, BitConverter.DoubleToUInt64Bits(sample.Item2)));
            Assert.All(names, name => Assert.True(expected.SequenceEqual(read[name]), $"{id}: not what was sent"));
            left.ExceptWith(names);
        }

        Assert.Equal(["__name__=last"], left);
    }

    /// <summary>The log has the same: a buffer that was returned before it was written would show here only.</summary>
    private static async Task CheckLogAsync(ServerUnderTest server, ConcurrentDictionary<int, End> ends)
    {
        using var copy = new TempDirectory();
        string data = server.Services.GetRequiredService<StorageOptions>().DataDir;
        foreach (string file in Directory.EnumerateFiles(data, "*", SearchOption.AllDirectories))
        {
            if (Path.GetFileName(file) == "LOCK") continue;
            string target = copy[Path.GetRelativePath(data, file)];
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }

        await using EngineHarness replayed = await EngineHarness.OpenAsync(new LocalFileSystem(), new StorageOptions { DataDir = copy.Path });
        Assert.Empty(replayed.Engine.Stats().Damages);
        Assert.True(replayed.Engine.Stats().RecordsReplayed > 0);
        Dictionary<string, List<BlocksSample>> read = replayed.ReadAll();
        Check(ends, read.ToDictionary(
            static pair => pair.Key[1..^1].Replace("\"", "", StringComparison.Ordinal).Replace(", ", ",", StringComparison.Ordinal),
            static pair => pair.Value.Select(static sample => (sample.TimeMs, sample.ValueBits))));
        await replayed.StopWithoutFlushAsync();
    }
}
