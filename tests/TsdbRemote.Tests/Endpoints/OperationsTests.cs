using System.Net;
using System.Text.Json;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What an operator asks: health, readiness, status pages, metrics, admin calls.</summary>
public sealed class OperationsTests
{
    [Theory]
    [InlineData("GET", "TsdbRemote is Healthy.\n")]
    [InlineData("HEAD", "")]
    public async Task Healthy_is_a_200(string method, string text)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(new HttpMethod(method), "/-/healthy");
        Assert.Equal((HttpStatusCode.OK, text), (answer.Status, answer.Text));
    }

    [Fact, Trait("Row", "93")]
    public async Task Ready_is_a_200_in_Prometheus_words()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, "/-/ready");
        Assert.Equal((HttpStatusCode.OK, "TsdbRemote is Ready.\n", null), (answer.Status, answer.Text, answer["X-Prometheus-Stopping"]));
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Head, "/-/ready")).Status);
    }

    [Fact]
    [Trait("Row", "65"), Trait("Row", "93"), Trait("Row", "94")]
    public async Task While_the_log_is_replayed_writes_are_taken_and_reads_told_to_come_again()
    {
        using var directory = new TempDirectory();
        string data = directory["data"];
        await using (ServerUnderTest first = await ServerUnderTest.StartAsync(("storage:data_dir", data), ("storage:shutdown_flush_timeout", "0s")))
            Assert.Equal(HttpStatusCode.NoContent, (await first.WriteAsync(V1(SeriesOf("__name__=old", (1, 1))))).Status);

        var files = new FaultInjector(new LocalFileSystem());
        using var gate = new ManualResetEventSlim();

        // Opening looks at the segment once; the replay opens it again, and is held there.
        files.Add(new FaultRule(new Fault.Held(gate), FileOperationKind.OpenRead) { Path = "*00000001.log", OnCall = 2 });
        await using ServerUnderTest server = ServerUnderTest.Replaying(files, ("storage:data_dir", data));
        Answer notReady = await server.SendAsync(HttpMethod.Get, "/-/ready");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "Service Unavailable", "false"), (notReady.Status, notReady.Text, notReady["X-Prometheus-Stopping"]));
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/-/healthy")).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Head, "/-/healthy")).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/api/v1/status/walreplay")).Status);
        Assert.Equal("1/0/0", (await server.WriteAsync(V2Of(("__name__=new", [(2, 2)])))).Written);
        foreach (int type in new[] { 0, 1 })
        {
            Answer refused = await server.ReadAsync(Read(Query(0, 9, Eq("__name__", "new"))).Accepting(type));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.Status);
            Assert.Contains("replay", refused.Text, StringComparison.Ordinal);
            Assert.NotNull(refused["Retry-After"]);
        }

        gate.Set();
        await server.Engine.WhenReady;
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/-/ready")).Status);
        Assert.Equal(["__name__=new 2:2", "__name__=old 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task T24_a_sync_that_takes_very_long_holds_up_its_writers_and_no_reader_and_nobody_is_answered_before_it_is_done()
    {
        var files = new FaultInjector(new LocalFileSystem());
        using var gate = new ManualResetEventSlim();
        await using ServerUnderTest server = await ServerUnderTest.OnAsync(files);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=before", (1, 1))))).Status);
        FaultRule slow = files.Add(new FaultRule(new Fault.Held(gate), FileOperationKind.SyncData) { Path = "*.log" });
        Task<Answer>[] writes = [.. Enumerable.Range(0, 8).Select(i => server.WriteAsync(V1(SeriesOf($"__name__=slow{i}", (1, 1)))))];
        while (slow.Injections == 0) await Task.Delay(1);
        for (int i = 0; i < 20; i++)
        {
            Assert.Contains("__name__=before 1:1", (await server.EverythingAsync()).Select(Print));
            Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/-/ready")).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/metrics")).Status);
        }

        Assert.DoesNotContain(writes, static write => write.IsCompleted);
        gate.Set();
        Assert.All(await Task.WhenAll(writes), static answer => Assert.Equal(HttpStatusCode.NoContent, answer.Status));
        Assert.Equal(9, (await server.EverythingAsync()).Count);
    }

    [Fact, Trait("Row", "93")]
    public async Task During_a_stop_readiness_says_so_and_nothing_is_lost()
    {
        using var directory = new TempDirectory();
        (string, string) data = ("storage:data_dir", directory["data"]);
        await using (ServerUnderTest server = await ServerUnderTest.StartAsync(data))
        {
            Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (1, 1))))).Status);
            await server.Engine.StopAsync(CancellationToken.None);
            Answer answer = await server.SendAsync(HttpMethod.Get, "/-/ready");
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "true"), (answer.Status, answer["X-Prometheus-Stopping"]));
            Answer write = await server.WriteAsync(V2Of(("__name__=late", [(1, 1)])));
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "0/0/0"), (write.Status, write.Written));
            Assert.NotNull(write["Retry-After"]);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.ReadAsync(Read(Query(0, 9, Eq("__name__", "up"))))).Status);
        }

        await using ServerUnderTest again = await ServerUnderTest.StartAsync(data);
        Assert.Equal(["__name__=up 1:1"], (await again.EverythingAsync()).Select(Print));
        Assert.Equal(0, again.Engine.Stats().RecordsReplayed);
    }

    [Fact, Trait("Row", "42")]
    public async Task An_error_nobody_foresaw_while_a_request_is_applied_stores_nothing_and_a_retry_is_taken()
    {
        var clock = new FailingClock();
        await using ServerUnderTest server = await ServerUnderTest.OnClockAsync(clock);
        clock.Fails = true;
        Answer answer = await server.WriteAsync(V2Of(("__name__=up", [(1, 1)])));
        Assert.Equal((HttpStatusCode.InternalServerError, "0/0/0"), (answer.Status, answer.Written));
        clock.Fails = false;
        Assert.Empty(await server.EverythingAsync());
        Assert.Equal("1/0/0", (await server.WriteAsync(V2Of(("__name__=up", [(1, 1)])))).Written);
        Assert.Equal(["__name__=up 1:1"], (await server.EverythingAsync()).Select(Print));
    }

    [Fact]
    public async Task T22_while_a_block_finds_too_many_open_files_reads_are_503_and_nothing_is_called_damaged_and_then_they_are_whole()
    {
        (string, string)[] options = [("storage:data_dir", "/disk/data"), ("admin:enabled", "true")];
        var files = new FaultInjector(new CrashFileSystem("/disk"));
        long timeMs = DateTimeOffset.UtcNow.AddHours(-12).ToUnixTimeMilliseconds();
        await using (ServerUnderTest before = await ServerUnderTest.OnAsync(files, options))
        {
            Assert.Equal(HttpStatusCode.NoContent, (await before.WriteAsync(V1(SeriesOf("__name__=up", (timeMs, 1))))).Status);
            Assert.Equal(HttpStatusCode.NoContent, (await before.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
            Assert.Single(before.Engine.Stats().Blocks);
        }

        FaultRule failing = files.Add(new FaultRule(new Fault.Error(Errno.TooManyFiles), FileOperationKind.OpenRead) { Path = "/blocks/*", Sticky = true });
        await using ServerUnderTest server = await ServerUnderTest.OnAsync(files, options);
        Answer[] refused =
        [
            await server.ReadAsync(Read(Query(0, long.MaxValue, Eq("__name__", "up")))), await server.ReadAsync(Read(Query(0, long.MaxValue, Eq("__name__", "up"))).Accepting(1)),
            await server.SendAsync(HttpMethod.Get, "/api/v1/labels"), await server.SendAsync(HttpMethod.Get, "/api/v1/series?match[]=up"),
        ];
        Assert.All(refused, static answer => Assert.Equal((HttpStatusCode.ServiceUnavailable, true), (answer.Status, answer["Retry-After"] is not null)));
        Assert.Contains("too many files are open", refused[0].Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NoContent, (await server.WriteAsync(V1(SeriesOf("__name__=up", (timeMs + 1, 2))))).Status);
        Assert.Equal(0, (await DataAsync(server, "/api/v1/status/lsm")).GetProperty("damages").GetArrayLength());
        files.Remove(failing);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Assert.Equal([$"__name__=up {timeMs}:1 {timeMs + 1}:2"], (await server.EverythingAsync()).Select(Print));
        Assert.Empty(server.Engine.Stats().Damages);
    }

    [Fact]
    public async Task Status_pages_have_the_envelope_and_the_figures()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        await server.WriteAsync(V1(SeriesOf("__name__=up,job=a", (1000, 1)), SeriesOf("__name__=up,job=b", (2000, 1))));
        JsonElement build = await DataAsync(server, "/api/v1/status/buildinfo");
        Assert.All(["version", "revision", "branch", "buildUser", "buildDate", "goVersion"], name => Assert.Equal(JsonValueKind.String, build.GetProperty(name).ValueKind));
        JsonElement tsdb = await DataAsync(server, "/api/v1/status/tsdb?limit=1");
        Assert.Equal("{\"numSeries\":2,\"numLabelPairs\":3,\"chunkCount\":2,\"minTime\":1000,\"maxTime\":2000}", tsdb.GetProperty("headStats").GetRawText());
        Assert.Equal("[{\"name\":\"up\",\"value\":2}]", tsdb.GetProperty("seriesCountByMetricName").GetRawText());
        Assert.Equal(1, tsdb.GetProperty("seriesCountByLabelValuePair").GetArrayLength());
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        JsonElement lsm = await DataAsync(server, "/api/v1/status/lsm");
        Assert.Equal("ready", lsm.GetProperty("phase").GetString());
        Assert.Equal(2, lsm.GetProperty("tables")[0].GetProperty("samples").GetInt64());
        Assert.Equal(1, lsm.GetProperty("levels")[0].GetProperty("tables").GetInt32());
        Assert.Equal(1, lsm.GetProperty("flushes").GetProperty("count").GetInt64());
        JsonElement window = lsm.GetProperty("windows")[0];
        Assert.Equal("{\"level\":0,\"runs\":1,\"tables\":1", window.GetProperty("levels")[0].GetRawText()[..30]);
        JsonElement merges = lsm.GetProperty("compactions");
        Assert.Equal((0, 0), (merges.GetProperty("running").GetArrayLength(), merges.GetProperty("waiting").GetInt32()));
        Assert.Equal(1, merges.GetProperty("writeAmplification").GetDouble());
        Assert.Equal(6, merges.GetProperty("levels").GetArrayLength());
        Assert.Equal(["mem_tables", "log_bytes", "compaction_debt", "l0_tables"], lsm.GetProperty("stalls").GetProperty("signals").EnumerateArray().Select(static signal => signal.GetProperty("reason").GetString()));
        JsonElement replay = await DataAsync(server, "/api/v1/status/walreplay");
        Assert.All(["min", "max", "current"], name => Assert.Equal(JsonValueKind.Number, replay.GetProperty(name).ValueKind));
    }

    [Fact]
    public async Task The_status_page_can_be_had_as_text_for_people()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"), ("storage:compaction:compaction_threshold", "0.5"));
        for (int i = 0; i < 2; i++)
        {
            await server.WriteAsync(V1(SeriesOf("__name__=up,job=a", (NowMs + i, 1))));
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        }

        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Answer answer = await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm?format=text");
        Assert.Equal((HttpStatusCode.OK, "text/plain; charset=utf-8"), (answer.Status, answer["Content-Type"]));
        string[] lines = answer.Text.Split('\n');
        Assert.Equal("state        ready", lines[0]);
        Assert.Contains("samples      2 stored, 0 repeated, 0 replaced, 0 late, 0 refused", lines);
        Assert.Contains(lines, static line => line.StartsWith("L1           1 ", StringComparison.Ordinal)); // one table, and no longer two of level 0
        Assert.DoesNotContain(lines, static line => line.StartsWith("L0 ", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.Contains("Z   L1: 1 (1 table, ", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.StartsWith("L1                1       0 ", StringComparison.Ordinal)); // one merge, no error
        Assert.Contains("waiting      0 windows; debt 0 B", lines);
        Assert.Contains(lines, static line => line.StartsWith("l0_tables ", StringComparison.Ordinal) && line.Contains(" 20 ", StringComparison.Ordinal) && line.Contains(" 36 ", StringComparison.Ordinal));
        Assert.All(lines, static line => Assert.Equal(line.TrimEnd(), line));
        Assert.Equal(HttpStatusCode.BadRequest, (await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm?format=xml")).Status);
    }

    [Fact]
    public async Task What_block_compaction_did_is_on_the_page_the_text_and_the_metrics_and_in_the_write_amplification()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"), ("storage:integration:write_path", "blocks"),
            ("storage:integration:adaptive_compaction", "false")); // a busy machine would have it sleep
        for (int i = 0; i < 2; i++)
        {
            await server.WriteAsync(V1(SeriesOf("__name__=up,job=a", (NowMs + i, 1))));
            Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        }

        Storage.Engine.EngineStats stats = server.Engine.Stats();
        JsonElement page = await DataAsync(server, "/api/v1/status/lsm");
        JsonElement job = page.GetProperty("blockCompactions");
        Assert.Equal((1, 2, 0), (job.GetProperty("count").GetInt64(), job.GetProperty("merged").GetInt64(), job.GetProperty("errors").GetInt64()));
        Assert.Equal(stats.BlockCompactionBytesWritten, job.GetProperty("bytesWritten").GetInt64());
        Assert.Equal((JsonValueKind.Null, 0), (job.GetProperty("running").ValueKind, job.GetProperty("sleepSeconds").GetDouble()));
        double written = stats.FlushBytes + stats.ConversionBytes + stats.BlockCompactionBytesWritten;
        Assert.True(stats.BlockCompactionBytesWritten > 0 && stats.ConversionBytes >= 0);
        Assert.Equal(written / stats.FlushBytes, page.GetProperty("compactions").GetProperty("writeAmplification").GetDouble(), tolerance: 1e-9);
        string[] text = (await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm?format=text")).Text.Split('\n');
        Assert.Contains(text, static line => line.StartsWith("compactions  1, 0 failed, of 2 blocks, ", StringComparison.Ordinal));
        string[] metrics = (await server.SendAsync(HttpMethod.Get, "/metrics")).Text.Split('\n');
        Assert.Contains("tsdb_remote_flushes_to_blocks_total 2", metrics);
        Assert.Contains("tsdb_remote_flush_blocks_total 2", metrics);
        Assert.Equal((2, 2), (page.GetProperty("flushes").GetProperty("toBlocks").GetInt64(), page.GetProperty("flushes").GetProperty("blocks").GetInt64()));
        Assert.Contains(text, static line => line.StartsWith("flushes      2, 0 failed, 2 straight into 2 blocks, ", StringComparison.Ordinal));
        Assert.Contains("tsdb_remote_block_compactions_total 1", metrics);
        Assert.Contains("tsdb_remote_block_compactions_running 0", metrics);
        Assert.Contains("tsdb_remote_block_compaction_blocks_total 2", metrics);
        Assert.Contains("tsdb_remote_block_compaction_sleep_seconds_total 0", metrics);
    }

    [Theory]
    [InlineData("0", "limit must be a positive number")]
    [InlineData("-1", "limit must be a positive number")]
    [InlineData("many", "limit must be a positive number")]
    [InlineData("10001", "limit must not exceed 10000")]
    public async Task A_limit_that_is_none_is_bad_data(string limit, string error)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Get, $"/api/v1/status/tsdb?limit={limit}");
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Equal($"{{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"{error}\"}}", answer.Text);
        Assert.Equal("application/json", answer["Content-Type"]);
    }

    [Fact, Trait("Row", "101")]
    public async Task Admin_calls_are_off_unless_they_are_switched_on()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush");
        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Contains("\"errorType\":\"unavailable\"", answer.Text, StringComparison.Ordinal);
        Assert.Contains("admin APIs disabled", answer.Text, StringComparison.Ordinal);
        Assert.Equal(0, server.Engine.Stats().Flushes);
    }

    [Fact]
    public async Task The_write_path_is_switched_by_an_admin_call_and_shown_on_the_status_page()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        await server.WriteAsync(V1(SeriesOf("__name__=up", (NowMs, 1))));
        await AssertWritePathAsync("lsm");
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path?path=blocks")).Status);
        await AssertWritePathAsync("blocks");
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/compact")).Status);
        Assert.Equal((1, 0), (server.Engine.Stats().Blocks.Length, server.Engine.Stats().Tables.Length)); // the open window too
        (string, string) form = ("Content-Type", "application/x-www-form-urlencoded");
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path", "path=lsm"u8.ToArray(), form)).Status);
        await AssertWritePathAsync("lsm");
        Assert.Equal(["__name__=up"], (await server.EverythingAsync()).Select(static series => Print(series).Split(' ')[0]));
        byte[] long_ = [.. "path="u8, .. Enumerable.Repeat((byte)'x', 1000)];
        foreach ((string query, byte[] body) in new[] { ("", []), ("?path=", []), ("?path=tables", []), ("?path=Blocks", []), ("?path=lsm&path=blocks", []), ("", "path=none"u8.ToArray()), ("", long_) })
        {
            Answer refused = await server.SendAsync(HttpMethod.Post, $"/api/v1/admin/write_path{query}", body, form);
            Assert.True(refused.Status == HttpStatusCode.BadRequest, $"{query}: {refused.Status} {refused.Text}");
            Assert.Contains("path must be lsm or blocks", refused.Text, StringComparison.Ordinal);
        }

        await AssertWritePathAsync("lsm");

        async Task AssertWritePathAsync(string path)
        {
            Assert.Equal(path, (await DataAsync(server, "/api/v1/status/lsm")).GetProperty("modes").GetProperty("writePath").GetString());
            string text = (await server.SendAsync(HttpMethod.Get, "/api/v1/status/lsm?format=text")).Text;
            Assert.Contains($"paths        writes {path}, reads hybrid\n", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_switch_of_the_write_path_is_refused_where_it_may_not_be_made()
    {
        await using (ServerUnderTest server = await ServerUnderTest.StartAsync())
            Assert.Equal(HttpStatusCode.InternalServerError, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path?path=blocks")).Status);
        await using ServerUnderTest tables = await ServerUnderTest.StartAsync(("admin:enabled", "true"), ("storage:integration:hybrid_mode", "false"));
        Answer refused = await tables.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path?path=blocks");
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains("hybrid_mode", refused.Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Forbidden, (await tables.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path?path=lsm", [], ("Origin", "http://evil.example"))).Status);
        await tables.Engine.StopAsync(CancellationToken.None);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await tables.SendAsync(HttpMethod.Post, "/api/v1/admin/write_path?path=lsm")).Status);
    }

    [Fact]
    public async Task A_page_in_a_browser_cannot_call_admin()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        Assert.Equal(HttpStatusCode.Forbidden, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush", [], ("Origin", "http://evil.example"))).Status);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await server.SendAsync(HttpMethod.Get, "/api/v1/admin/flush")).Status);
    }

    [Fact]
    public async Task Metrics_count_what_happened()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("admin:enabled", "true"));
        await server.WriteAsync(V2Of(("__name__=up,job=a", [(1, 1), (2, 2)]), ("job=nameless", [(1, 1)])));
        await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush");
        await server.EverythingAsync();
        await server.SendAsync(HttpMethod.Get, "/metrics");
        Answer answer = await server.SendAsync(HttpMethod.Get, "/metrics");
        Assert.StartsWith("text/plain; version=0.0.4", answer["Content-Type"], StringComparison.Ordinal);
        string[] lines = answer.Text.Split('\n');
        Assert.Contains("tsdb_remote_write_requests_total{version=\"2\",code=\"400\"} 1", lines);
        Assert.Contains("tsdb_remote_write_request_duration_seconds_count{version=\"2\"} 1", lines);
        Assert.Contains("tsdb_remote_samples_written_total 2", lines);
        Assert.Contains("tsdb_remote_samples_rejected_total{reason=\"labels\"} 1", lines);
        Assert.Contains("tsdb_remote_flushes_total 1", lines);
        Assert.Contains("tsdb_remote_tables{level=\"0\"} 1", lines);
        Assert.Contains("tsdb_remote_tables{level=\"1\"} 0", lines);
        Assert.Contains("tsdb_remote_compactions_total{level=\"1\"} 0", lines);
        Assert.Contains("tsdb_remote_write_amplification_ratio 1", lines);
        Assert.Contains("tsdb_remote_write_stall_seconds_total{reason=\"mem_tables\"} 0", lines);
        Assert.Contains("tsdb_remote_write_stall_threshold{reason=\"l0_tables\",at=\"stop\"} 36", lines);
        Assert.Contains("tsdb_remote_read_requests_total{type=\"samples\",code=\"200\"} 1", lines);
        Assert.Contains("tsdb_remote_read_samples_total{type=\"samples\"} 2", lines);
        Assert.Contains("tsdb_remote_read_series_total{type=\"samples\"} 1", lines);
        foreach (string prefix in new[] { "process_cpu_seconds_total ", "dotnet_collection_count_total{", "system_runtime_dotnet_" })
            Assert.Contains(lines, line => line.StartsWith(prefix, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Every_metric_of_ours_is_in_the_documentation_and_has_a_base_unit()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        string documentation = await File.ReadAllTextAsync(Path.Combine(Repository(), "docs", "metrics.md"));
        string[] names = [.. (await server.SendAsync(HttpMethod.Get, "/metrics")).Text.Split('\n')
            .Where(static line => line.StartsWith("# TYPE tsdb_remote_", StringComparison.Ordinal)).Select(static line => line.Split(' ')[2])];
        Assert.True(names.Length > 50, "the metrics are there");
        Assert.All(names, name => Assert.Contains(name, documentation, StringComparison.Ordinal));
        Assert.All(names, static name => Assert.DoesNotContain("_ms", name, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_longest_pause_for_garbage_is_told()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        double seconds = 0;
        for (int i = 0; i < 50 && seconds == 0; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            string line = (await server.SendAsync(HttpMethod.Get, "/metrics")).Text.Split('\n').Single(static line => line.StartsWith("tsdb_remote_gc_pause_longest_seconds ", StringComparison.Ordinal));
            seconds = double.Parse(line.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
        }

        Assert.InRange(seconds, double.Epsilon, 60);
    }

    private static string Repository()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "TsdbRemote.sln"))) directory = directory.Parent;
        return directory!.FullName;
    }

    private static async Task<JsonElement> DataAsync(ServerUnderTest server, string path)
    {
        Answer answer = await server.SendAsync(HttpMethod.Get, path);
        Assert.True(answer.Status == HttpStatusCode.OK, $"{path}: {answer.Status} {answer.Text}");
        JsonElement root = JsonDocument.Parse(answer.Body).RootElement;
        Assert.Equal("success", root.GetProperty("status").GetString());
        return root.GetProperty("data");
    }

    /// <summary>Fails whoever applies a write; everybody else is told the time.</summary>
    private sealed class FailingClock : TimeProvider
    {
        private volatile bool _fails;

        public bool Fails { set => _fails = value; }

        public override DateTimeOffset GetUtcNow() =>
            _fails && Environment.StackTrace.Contains("WritePath.Apply", StringComparison.Ordinal) ? throw new InvalidOperationException("the clock fails") : base.GetUtcNow();
    }
}
