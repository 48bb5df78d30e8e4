using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;
using Labels = TsdbRemote.Blocks.Model.Labels;
using Sample = TsdbRemote.Blocks.Model.Sample;

namespace TsdbRemote.Torture;

/// <summary>Readers who ask for very much and take it very slowly, all at once.</summary>
public sealed class SlowReaderTests
{
    private const int Readers = 50;
    private const int Series = 100;
    private const int SamplesOfRequest = 1000;
    private const int Requests = 16;
    private const long StepMs = 100;
    private const int Mebi = 1 << 20;

    // Readers of samples are a tenth, and ask for a quarter of the series: such an answer is made before it is sent.
    private const int SampleReadersEvery = 10;

    // Some eight bytes a sample in chunks, for random values do not compress: 13 MB, and twice as much as samples.
    private const long AnswerBytes = 8L * Series * SamplesOfRequest * Requests;

    // What the options below allow: 64 MiB for the runtime and what it has not given back; MemTables; requests in flight; for each reader of chunks a frame of 1 MiB and as much that it
    // gathers; for each of samples its answer. All that they ask for at once would be some 640 MB.
    private const long BudgetBytes = (64L + 32 + 32) * Mebi + (Readers - Readers / SampleReadersEvery) * 2L * Mebi + Readers / SampleReadersEvery * AnswerBytes / 2;

    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(12);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    [Fact]
    public async Task T71_fifty_slow_readers_of_everything_take_bounded_memory_and_hold_no_file_past_their_deadline()
    {
        using var directory = new TempDirectory();
        using var server = new TortureServer(directory["data"], [
            "--http:read_timeout=12s", $"--storage:read:max_concurrent={Readers}", "--storage:lsm:memtable_size=32MB", "--storage:lsm:write_buffer_size=32MB",
            "--storage:integration:sstable_to_block_conversion=false", "--storage:integration:adaptive_compaction=false", "--storage:compaction:compaction_threshold=0.5", "--admin:enabled=true"]);
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        long startMs = DateTimeOffset.UtcNow.AddHours(-12).ToUnixTimeMilliseconds() / 7_200_000 * 7_200_000;
        await FillTableAsync(server, startMs, Requests);
        string[] tables = TableFiles(directory["data"]);
        Assert.Single(tables);

        long highest = 0;
        using var over = new CancellationTokenSource();
        Task watch = Task.Run(async () =>
        {
            while (!over.IsCancellationRequested)
            {
                highest = Math.Max(highest, RssAnon(server.ProcessId));
                await Task.Delay(Pause, CancellationToken.None);
            }
        });
        long begun = TimeProvider.System.GetTimestamp();
        SlowReader[] readers = [.. Enumerable.Range(0, Readers).Select(i => new SlowReader(server.Client.BaseAddress!, ofSamples: i % SampleReadersEvery == 0))];
        Task<long>[] reads = [.. readers.Select(reader => reader.RunAsync(over.Token))];
        await Task.WhenAll(readers.Where(static reader => !reader.OfSamples).Select(static reader => reader.Begun)).WaitAsync(Patience);

        // Merged under them, for a second table makes a merge due: the file goes as soon as nobody reads it, and that is not now.
        await FillTableAsync(server, startMs + Requests * SamplesOfRequest * StepMs, requests: 1);
        Assert.True(await server.PostAsync("/api/v1/admin/compact"), server.Output);
        string[] merged = [.. tables.Except(await NamedTablesAsync(server, directory["data"]))];
        Assert.True(TimeProvider.System.GetElapsedTime(begun) < ReadTimeout, "too slow a machine: the readers' time was over before the merge");
        Assert.NotEmpty(merged);
        Assert.All(merged, static file => Assert.True(File.Exists(file), $"{file} is gone under its readers"));

        // They stay connected, so it is the deadline alone that ends their reads.
        await Assert.AllAsync(merged, async file => Assert.True(await TortureServer.UntilAsync(() => Task.FromResult(!File.Exists(file)), Patience), $"{file} is still there"));
        TimeSpan held = TimeProvider.System.GetElapsedTime(begun);
        Assert.InRange(held, ReadTimeout - TimeSpan.FromSeconds(1), ReadTimeout + TimeSpan.FromSeconds(10));
        Assert.True(await TortureServer.UntilAsync(() => Task.FromResult(Unlinked(server.ProcessId, directory["data"]).Length == 0), Patience),
            $"room is not given back: {string.Join(", ", Unlinked(server.ProcessId, directory["data"]))}");
        Assert.True(await TortureServer.UntilAsync(() => TimedOutAsync(server), Patience), "not each of them was ended by the deadline");
        await over.CancelAsync();
        await watch;
        long[] taken = await Task.WhenAll(reads);
        Assert.All(taken, static bytes => Assert.InRange(bytes, 1, AnswerBytes / 2));
        Assert.True(highest is > 0 and <= BudgetBytes, $"RssAnon came to {highest / Mebi} MiB; {BudgetBytes / Mebi} allowed");

        // Who reads as others do is served, and whole.
        using var content = new ByteArrayContent(Request(ofSamples: false));
        using HttpResponseMessage whole = await server.Client.PostAsync(new Uri("/api/v1/read", UriKind.Relative), content);
        Assert.InRange((await whole.Content.ReadAsByteArrayAsync()).LongLength, AnswerBytes * 9 / 10, long.MaxValue);
    }

    private static async Task FillTableAsync(TortureServer server, long startMs, int requests)
    {
        var random = new Random(71);
        for (int request = 0; request < requests; request++)
        {
            using PooledBuffer raw = PooledBuffer.Rent(4 * Mebi);
            long from = startMs + request * SamplesOfRequest * StepMs;
            for (int series = 0; series < Series; series++)
            {
                byte[] labels = Labels.Encode(("__name__", "big"), ("series", series.ToString("D3", CultureInfo.InvariantCulture)));
                RemoteWriteV1.EncodeSeries(raw, labels, [.. Enumerable.Range(0, SamplesOfRequest).Select(i => Sample.Of(from + i * StepMs, random.NextDouble()))]);
            }

            using PooledBuffer body = SnappyBlock.Compress(raw.Span);
            using var content = new ByteArrayContent(body.Span.ToArray());
            using HttpResponseMessage answer = await server.Client.PostAsync(new Uri("/api/v1/write", UriKind.Relative), content);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        }

        Assert.True(await server.PostAsync("/api/v1/admin/flush"), server.Output);
    }

    private static async Task<bool> TimedOutAsync(TortureServer server)
    {
        string metrics = await server.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        return metrics.Contains($"{{limit=\"http.read_timeout\"}} {Readers}\n", StringComparison.Ordinal);
    }

    private static string[] TableFiles(string data) => [.. Directory.EnumerateFiles(Path.Combine(data, "tables"), "*.sst", SearchOption.AllDirectories)];

    private static async Task<string[]> NamedTablesAsync(TortureServer server, string data)
    {
        JsonNode status = await server.StatusAsync();
        HashSet<long> named = [.. status["tables"]!.AsArray().Select(static table => table!["id"]!.GetValue<long>())];
        return [.. TableFiles(data).Where(file => named.Contains(long.Parse(Path.GetFileNameWithoutExtension(file), CultureInfo.InvariantCulture)))];
    }

    /// <summary>Files without a name that the process still has open or mapped: their room is not free.</summary>
    private static string[] Unlinked(int process, string data)
    {
        IEnumerable<string> open = Directory.EnumerateFiles($"/proc/{process}/fd").Select(static link =>
        {
            try
            {
                return new FileInfo(link).LinkTarget ?? "";
            }
            catch (IOException)
            {
                return ""; // closed meanwhile
            }
        });
        return [.. open.Concat(File.ReadLines($"/proc/{process}/maps")).Where(line => line.Contains(data, StringComparison.Ordinal) && line.EndsWith(" (deleted)", StringComparison.Ordinal))];
    }

    private static long RssAnon(int process)
    {
        string line = File.ReadLines($"/proc/{process}/status").First(static line => line.StartsWith("RssAnon:", StringComparison.Ordinal));
        return long.Parse(line["RssAnon:".Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
    }

    private static byte[] Request(bool ofSamples)
    {
        var query = new Query { StartTimestampMs = 0, EndTimestampMs = long.MaxValue };
        query.Matchers.Add(new LabelMatcher { Name = "__name__", Value = "big" });
        if (ofSamples) query.Matchers.Add(new LabelMatcher { Type = LabelMatcher.Types.Type.Re, Name = "series", Value = "0[0-1].|02[0-4]" });
        var request = new ReadRequest { Queries = { query } };
        if (!ofSamples) request.AcceptedResponseTypes.Add(ReadRequest.Types.ResponseType.StreamedXorChunks);
        using PooledBuffer body = SnappyBlock.Compress(request.ToByteArray());
        return body.Span.ToArray();
    }

    /// <summary>Takes 40 KiB a second at most, through a small buffer, and never goes away by itself.</summary>
    private sealed class SlowReader(Uri server, bool ofSamples)
    {
        private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool OfSamples => ofSamples;

        /// <summary>Its first bytes are there, so its snapshot is taken.</summary>
        public Task Begun => _begun.Task;

        /// <summary>Reads until the end, or until it is stopped.</summary>
        /// <returns>Bytes that it got.</returns>
        public async Task<long> RunAsync(CancellationToken stop)
        {
            using var client = new TcpClient { ReceiveBufferSize = 4096 };
            await client.ConnectAsync(server.Host, server.Port);
            NetworkStream stream = client.GetStream();
            byte[] body = Request(ofSamples);
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"POST /api/v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: {body.Length}\r\n\r\n"), stop);
            await stream.WriteAsync(body, stop);
            byte[] some = new byte[4096];
            long total = 0;
            try
            {
                while (await stream.ReadAsync(some, stop) is > 0 and int taken)
                {
                    if (total == 0) AssertAnswered(Encoding.ASCII.GetString(some, 0, taken));
                    total += taken;
                    _begun.TrySetResult();
                    await Task.Delay(Pause, stop);
                }
            }
            catch (Exception over) when (over is IOException or OperationCanceledException)
            {
                // Reset by the server, or stopped by the test.
            }
            catch (Exception wrong)
            {
                _begun.TrySetException(wrong);
                throw;
            }

            _begun.TrySetException(new TortureException("ended before it began"));
            return total;
        }

        /// <summary>On a slow machine the time of a reader of samples may be over before its answer is made.</summary>
        private void AssertAnswered(string start)
        {
            if (ofSamples && start.StartsWith("HTTP/1.1 503 ", StringComparison.Ordinal)) return;
            Assert.StartsWith("HTTP/1.1 200 ", start, StringComparison.Ordinal);
        }
    }
}
