using System.Net;
using System.Text.Json;

namespace TsdbRemote.Tests.Endpoints;

/// <summary><c>/api/v1/admin/verify</c>.</summary>
public sealed class VerifyEndpointTests
{
    private const string Path = "/api/v1/admin/verify";
    private static readonly (string Key, string Value) Admin = ("admin:enabled", "true");

    [Fact]
    public async Task It_runs_beside_writes_and_its_report_is_there_afterwards()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);
        Assert.Equal("""{"status":"success","data":{"state":"none","beganMs":null,"endedMs":null,"bytesDone":0,"bytesTotal":0,"file":null,"failure":null,"report":null}}""", (await server.SendAsync(HttpMethod.Get, Path)).Text);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m", (1000, 1))));
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Answer begun = await server.SendAsync(HttpMethod.Post, $"{Path}?rate=100MB");
        Assert.Equal(HttpStatusCode.Accepted, begun.Status);
        await server.WriteAsync(Requests.V1(Requests.SeriesOf("__name__=m", (2000, 2))));
        await server.Engine.WhenVerified;
        using JsonDocument answer = JsonDocument.Parse((await server.SendAsync(HttpMethod.Get, Path)).Text);
        JsonElement data = answer.RootElement.GetProperty("data");
        Assert.Equal("done", data.GetProperty("state").GetString());
        JsonElement report = data.GetProperty("report");
        Assert.Equal("sound", report.GetProperty("verdict").GetString());
        Assert.True(report.GetProperty("isOnline").GetBoolean());
        Assert.Equal(1, report.GetProperty("counts").GetProperty("dictionarySeries").GetInt32());
        Assert.Equal(HttpStatusCode.NotFound, (await server.SendAsync(HttpMethod.Delete, Path)).Status);
    }

    [Fact]
    public async Task A_second_one_is_refused_while_one_runs_and_it_can_be_ended()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);

        // What does not fit takes long: about two seconds for each 128 KB.
        await server.WriteAsync(Requests.V1([.. Enumerable.Range(0, 2000).Select(static i => Requests.SeriesOf($"__name__=m,some_long_label_name_that_fills=a_long_value_for_it_that_fills_too_{i}", (1000, i)))]));
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush")).Status);
        Assert.Equal(HttpStatusCode.Accepted, (await server.SendAsync(HttpMethod.Post, $"{Path}?rate=64KB")).Status);
        Answer second = await server.SendAsync(HttpMethod.Post, Path);
        Assert.Equal(HttpStatusCode.Conflict, second.Status);
        Assert.Contains("a check is running", second.Text, StringComparison.Ordinal);
        Assert.Contains("\"state\":\"running\"", (await server.SendAsync(HttpMethod.Get, Path)).Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Delete, Path)).Status);
        Assert.Contains("\"state\":\"cut_off\"", (await server.SendAsync(HttpMethod.Get, Path)).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rate=0")]
    [InlineData("rate=63KB")]
    [InlineData("rate=fast")]
    [InlineData("rate=-1MB")]
    public async Task A_pace_that_is_none_is_refused(string query)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(Admin);
        Answer answer = await server.SendAsync(HttpMethod.Post, $"{Path}?{query}");
        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains("rate must be 64", answer.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("POST")]
    [InlineData("GET")]
    [InlineData("DELETE")]
    public async Task Where_admin_calls_are_switched_off_it_is_unavailable(string method)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Answer answer = await server.SendAsync(new HttpMethod(method), Path);
        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Contains("admin APIs disabled", answer.Text, StringComparison.Ordinal);
    }
}
