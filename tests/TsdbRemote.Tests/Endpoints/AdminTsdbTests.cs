using System.Net;
using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Prometheus' admin calls: rows 100 and 101 of the conformance list, and what is refused with which words.</summary>
public sealed class AdminTsdbTests
{
    private const string Delete = "/api/v1/admin/tsdb/delete_series";
    private const string Clean = "/api/v1/admin/tsdb/clean_tombstones";
    private const string Snapshot = "/api/v1/admin/tsdb/snapshot";

    private static readonly (string Key, string Value) Admin = ("admin:enabled", "true");

    public static TheoryData<string, string, HttpStatusCode, string> Refusals => new()
    {
        { Delete, "", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}""" },
        { Delete, "?match[]=m&start=x", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp"}""" },
        { Delete, "?match[]=m&end=x", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"invalid parameter \"end\": invalid time value for 'end': cannot parse \"x\" to a valid timestamp"}""" },
        { Delete, "?match[]={", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"invalid parameter \"match[]\": 1:2: parse error: unexpected end of input inside braces"}""" },
        { Delete, "?match[]=m&match[]={foo=~%22.*%22}", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"}""" },
        { Snapshot, "?skip_head=x", HttpStatusCode.BadRequest, """{"status":"error","errorType":"bad_data","error":"invalid parameter \"skip_head\": strconv.ParseBool: parsing \"x\": invalid syntax"}""" },
    };

    [Theory, Trait("Row", "100")]
    [InlineData("POST", false)]
    [InlineData("PUT", false)]
    [InlineData("POST", true)]
    [InlineData("PUT", true)]
    public async Task What_is_deleted_is_gone_from_both_read_modes_bounds_included(string method, bool asForm)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m,i=0", (1000, 1), (2000, 2), (3000, 3), (4000, 4)), Requests.SeriesOf("__name__=m,i=1", (2000, 5))));
        const string Parameters = "match[]=m{i=%220%22}&start=2&end=3.000";
        Answer answer = asForm
            ? await server.SendAsync(new HttpMethod(method), Delete, Encoding.UTF8.GetBytes(Parameters), ("Content-Type", "application/x-www-form-urlencoded"))
            : await server.SendAsync(new HttpMethod(method), $"{Delete}?{Parameters}");
        Assert.Equal((HttpStatusCode.NoContent, ""), (answer.Status, answer.Text));
        IReadOnlyList<TimeSeries> left = await server.EverythingAsync();
        Assert.Equal([[1000L, 4000], [2000]], left.Select(static series => series.Samples.Select(static sample => sample.Timestamp)));
        Answer streamed = await server.ReadAsync(Requests.Read(Requests.Query(0, 10_000, Requests.Re("__name__", ".+"))).Accepting(1));
        Assert.Equal([2, 1], streamed.AsFrames().SelectMany(static frame => frame.ChunkedSeries).Select(static series => series.Chunks.Sum(static chunk => chunk.Data[0] << 8 | chunk.Data[1])));
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(new HttpMethod(method), $"{Delete}?match[]=m{{i=%221%22}}")).Status);
        Answer series = await server.SendAsync(HttpMethod.Get, "/api/v1/series?match[]=m");
        Assert.Equal("""{"status":"success","data":[{"__name__":"m","i":"0"}]}""", series.Text);
        Assert.Contains("tsdb_remote_tombstones 2", (await server.SendAsync(HttpMethod.Get, "/metrics")).Text, StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.NoContent, ""), await StatusAndText(server, new HttpMethod(method), Clean));
        string metrics = (await server.SendAsync(HttpMethod.Get, "/metrics")).Text;
        Assert.Contains("tsdb_remote_tombstones 0", metrics, StringComparison.Ordinal);
        Assert.Contains("tsdb_remote_deletes_total 2", metrics, StringComparison.Ordinal);
        Assert.Equal([[1000L, 4000]], (await server.EverythingAsync()).Select(static series => series.Samples.Select(static sample => sample.Timestamp)));
    }

    [Theory, Trait("Row", "101")]
    [InlineData(Delete)]
    [InlineData(Clean)]
    [InlineData(Snapshot)]
    public async Task Where_admin_calls_are_switched_off_they_are_unavailable_and_other_methods_are_never_taken(string path)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(HttpMethod.Post, path);
        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Matches("""^{"status":"error","errorType":"unavailable","error":"admin APIs disabled""", answer.Text);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await server.SendAsync(HttpMethod.Get, path)).Status);
    }

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task What_is_wrong_is_said_in_the_words_of_Prometheus(string path, string query, HttpStatusCode status, string text)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m", (1000, 1))));
        Assert.Equal((status, text), await StatusAndText(server, HttpMethod.Post, path + query));
        Assert.Single(await server.EverythingAsync());
    }

    [Fact]
    public async Task A_snapshot_is_answered_by_its_name_and_holds_what_was_in_memory()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m", (1000, 1))));
        foreach (string query in (string[])["", "?skip_head=false", "?skip_head=T"])
        {
            Answer answer = await server.SendAsync(HttpMethod.Post, Snapshot + query);
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Matches("""^{"status":"success","data":{"name":"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}"}}$""", answer.Text);
        }
    }

    [Fact]
    public async Task While_the_disk_is_full_a_metric_says_so_and_who_waits_for_it_is_told()
    {
        var files = new FaultInjector(new LocalFileSystem());
        await using ServerUnderTest server = await ServerUnderTest.OnAsync(files, Admin);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m", (1000, 1))));
        Assert.Contains("tsdb_remote_disk_full 0", (await server.SendAsync(HttpMethod.Get, "/metrics")).Text, StringComparison.Ordinal);
        var full = new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.CreateNew) { Path = "*.sst.tmp", Sticky = true };
        files.Add(full);
        Answer answer = await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Contains("the disk is full", answer.Text, StringComparison.Ordinal);
        Assert.Contains("tsdb_remote_disk_full 1", (await server.SendAsync(HttpMethod.Get, "/metrics")).Text, StringComparison.Ordinal);
        files.Remove(full);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Assert.Contains("tsdb_remote_disk_full 0", (await server.SendAsync(HttpMethod.Get, "/metrics")).Text, StringComparison.Ordinal);
    }

    private static async Task<(HttpStatusCode Status, string Text)> StatusAndText(ServerUnderTest server, HttpMethod method, string path)
    {
        Answer answer = await server.SendAsync(method, path);
        return (answer.Status, answer.Text);
    }
}
