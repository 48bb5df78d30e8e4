using System.Net;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Access;
using TsdbRemote.Tests.Access;
using static TsdbRemote.Tests.Access.WebFiles;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Who may do what, at every endpoint there is.</summary>
public sealed class AccessTests
{
    private const string Token = "4c1f0d5e-token-of-the-tests";

    private static readonly (string Key, string Value) Admin = ("admin:enabled", "true");

    private static readonly (string Key, string Value) Audible = ("Logging:LogLevel:Default", "Warning");

    /// <summary>What each endpoint asks for. A new endpoint needs a row here, and in docs/access.md.</summary>
    private static readonly Dictionary<string, string> Rules = new()
    {
        ["/-/healthy"] = "None",
        ["/-/ready"] = "None",
        ["/api/v1/write"] = "Write",
        ["/api/v1/push"] = "Write",
        ["/api/v1/receive"] = "Write",
        ["/api/v1/otlp/v1/metrics"] = "Write",
        ["/api/v1/read"] = "Read",
        ["/"] = "Read",
        ["/metrics"] = "Read",
        ["/api/v1/metadata"] = "Read",
        ["/api/v1/query_exemplars"] = "Read",
        ["/api/v1/labels"] = "Read",
        ["/api/v1/label/{name}/values"] = "Read",
        ["/api/v1/series"] = "Read",
        ["/api/v1/status/buildinfo"] = "Read",
        ["/api/v1/status/walreplay"] = "Read",
        ["/api/v1/status/tsdb"] = "Read",
        ["/api/v1/status/lsm"] = "Read",
        ["/api/v1/status/flags"] = "Read",
        ["/api/v1/status/config"] = "Read",
        ["/api/v1/status/runtimeinfo"] = "Read",
        ["/api/v1/status/tsdb/blocks"] = "Read",
        ["/api/v1/admin/flush"] = "Admin",
        ["/api/v1/admin/compact"] = "Admin",
        ["/api/v1/admin/write_path"] = "Admin",
        ["/api/v1/admin/verify"] = "Admin",
        ["/api/v1/admin/tsdb/delete_series"] = "Admin",
        ["/api/v1/admin/tsdb/clean_tombstones"] = "Admin",
        ["/api/v1/admin/tsdb/snapshot"] = "Admin",
    };

    [Fact]
    [Trait("Row", "103")]
    public async Task Row_103_A_wrong_password_is_a_401_that_asks_for_one_and_stores_nothing()
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option);
        var request = V2Of(("__name__=up", [(1, 1)]));
        foreach ((string, string)? credential in new (string, string)?[] { null, Basic("writer", "wrong"), Basic("nobody", "pw of writer"), Bearer("wrong"), ("Authorization", "Basic") })
        {
            Answer refused = await server.WriteAsync(request, [.. HeadersOf(request), .. credential is { } given ? [given] : Array.Empty<(string, string)>()]);
            Assert.Equal((HttpStatusCode.Unauthorized, "Basic", "Unauthorized\n", null), (refused.Status, refused["WWW-Authenticate"], refused.Text, refused.Written));
        }

        Assert.Empty(await ReadAsync(server));
        Assert.Equal("1/0/0", (await server.WriteAsync(request, [.. HeadersOf(request), Basic("writer", "pw of writer")])).Written);
        Assert.Equal(["__name__=up 1:1"], await ReadAsync(server));
    }

    [Fact]
    public async Task Each_endpoint_asks_for_the_right_that_the_table_says_and_there_is_none_without_a_row()
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option, Admin);
        RouteEndpoint[] endpoints = [.. server.Services.GetServices<EndpointDataSource>().SelectMany(static source => source.Endpoints).OfType<RouteEndpoint>()];
        Assert.Equal(Rules.Keys.Order(), endpoints.Select(PatternOf).Distinct().Order());
        string page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "access.md"));
        foreach (RouteEndpoint endpoint in endpoints)
        {
            string rule = Rules[PatternOf(endpoint)];
            string path = PatternOf(endpoint).Replace("{name}", "job", StringComparison.Ordinal);
            IReadOnlyList<string> methods = endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET", "POST"];
            Assert.Contains(page.Split('\n'), line => line.Contains($"`{PatternOf(endpoint).Replace("{name}", "NAME", StringComparison.Ordinal)}`", StringComparison.Ordinal)
                && line.StartsWith($"| {(rule == "None" ? "everybody" : rule.ToLowerInvariant())} |", StringComparison.Ordinal));
            foreach (string method in methods)
            {
                foreach ((string who, string right) in new[] { ("", ""), ("reader", "Read"), ("writer", "Write"), ("admin", "Admin"), ("stranger", "") })
                {
                    (string, string)[] headers = who.Length == 0 ? [] : [Basic(who, who == "stranger" ? "x" : $"pw of {who}")];
                    foreach (string spelt in path == "/" ? [path] : new[] { path, path.ToUpperInvariant(), path + "/" })
                    {
                        HttpStatusCode status = (await server.SendAsync(new HttpMethod(method), spelt, null, headers)).Status;
                        string expected = rule == "None" || rule == right ? "in" : right.Length == 0 ? "Unauthorized" : "Forbidden";
                        string got = status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden ? status.ToString() : "in";
                        Assert.True(expected == got, $"{method} {spelt} as \"{who}\": {status}, expected {expected}");
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData("GET", "/api/v1/nothing", "admin", HttpStatusCode.NotFound)]
    [InlineData("GET", "/api/v1/nothing", "", HttpStatusCode.Unauthorized)]
    [InlineData("GET", "/api/v1/admin/flush", "reader", HttpStatusCode.MethodNotAllowed)]
    [InlineData("GET", "/api/v1/admin/flush", "", HttpStatusCode.Unauthorized)]
    [InlineData("OPTIONS", "/api/v1/labels", "", HttpStatusCode.Unauthorized)]
    [InlineData("OPTIONS", "/api/v1/labels", "reader", HttpStatusCode.NoContent)]
    [InlineData("POST", "/-/healthy", "", HttpStatusCode.Unauthorized)]
    public async Task What_no_endpoint_answers_is_told_to_those_who_are_known(string method, string path, string who, HttpStatusCode expected)
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option, Admin);
        Assert.Equal(expected, (await server.SendAsync(new HttpMethod(method), path, null, who.Length == 0 ? [] : [Basic(who, $"pw of {who}")])).Status);
    }

    [Fact]
    public async Task A_token_has_its_own_rights_and_a_right_that_lacks_is_named()
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/metrics", null, Bearer(Token))).Status);
        Answer refused = await server.SendAsync(HttpMethod.Post, "/api/v1/write", [], Bearer(Token));
        Assert.Equal((HttpStatusCode.Forbidden, "Forbidden: the right write is needed\n", null), (refused.Status, refused.Text, refused["WWW-Authenticate"]));
    }

    [Fact]
    public async Task Without_rights_everybody_who_is_known_may_do_everything_and_without_users_a_401_asks_for_a_token()
    {
        using var files = new WebFiles($"bearer_tokens: {{ t: '{Digest(Token)}' }}\nhttp_server_config: {{ headers: {{ X-Frame-Options: deny }} }}");
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option, Admin);
        Answer refused = await server.SendAsync(HttpMethod.Get, "/metrics");
        Assert.Equal((HttpStatusCode.Unauthorized, "Bearer", "deny"), (refused.Status, refused["WWW-Authenticate"], refused["X-Frame-Options"]));
        Assert.Equal("deny", (await server.SendAsync(HttpMethod.Get, "/-/healthy"))["X-Frame-Options"]);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync(HttpMethod.Post, "/api/v1/admin/flush", null, Bearer(Token))).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/metrics", null, Bearer(Token))).Status);
    }

    [Fact]
    public async Task A_changed_file_holds_for_the_next_request_and_a_broken_one_changes_nothing_but_a_metric()
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option, Audible);
        using Complaints complaints = Complaints.Of(server);
        WebConfigReloads reloads = server.Services.GetRequiredService<WebConfigReloads>();
        Assert.Equal(HttpStatusCode.OK, await MetricsAsync("reader", "pw of reader"));
        files.Write("web.yml", "basic_auth_users: { reader: canary-secret }");
        reloads.Look();
        reloads.Look();
        Assert.Equal(HttpStatusCode.OK, await MetricsAsync("reader", "pw of reader"));
        string complaint = Assert.Single(complaints.Heard);
        Assert.Contains("basic_auth_users.reader", complaint, StringComparison.Ordinal);
        Assert.DoesNotContain("canary-secret", complaint, StringComparison.Ordinal);
        string metrics = (await server.SendAsync(HttpMethod.Get, "/metrics", null, Basic("reader", "pw of reader"))).Text;
        Assert.Contains("tsdb_remote_web_config_reload_success 0", metrics, StringComparison.Ordinal);
        Assert.Contains("tsdb_remote_web_config_reload_failures_total 1", metrics, StringComparison.Ordinal);

        files.Write("web.yml", $"basic_auth_users: {{ reader: {Hash("new")} }}\nrights: {{ reader: [read] }}");
        reloads.Look();
        Assert.Equal(HttpStatusCode.Unauthorized, await MetricsAsync("reader", "pw of reader"));
        Answer now = await server.SendAsync(HttpMethod.Get, "/metrics", null, Basic("reader", "new"));
        Assert.Contains("tsdb_remote_web_config_reload_success 1", now.Text, StringComparison.Ordinal);
        Assert.Contains("tsdb_remote_web_config_reloads_total 1", now.Text, StringComparison.Ordinal);
        Assert.Contains("tsdb_remote_access_refused_total{reason=\"wrong_credentials\"} 1", now.Text, StringComparison.Ordinal);

        async Task<HttpStatusCode> MetricsAsync(string user, string password) => (await server.SendAsync(HttpMethod.Get, "/metrics", null, Basic(user, password))).Status;
    }

    [Fact]
    public async Task No_secret_is_in_a_status_page_a_metric_an_answer_or_the_log()
    {
        string hash = Hash("canary-password");
        using var files = new WebFiles($"basic_auth_users: {{ u: {hash} }}\nbearer_tokens: {{ t: '{Digest("canary-token")}' }}");
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(files.Option, Admin, Audible);
        using Complaints complaints = Complaints.Of(server);
        var told = new List<string>();
        foreach ((string, string) credential in new[] { Basic("u", "canary-password"), Bearer("canary-token"), Basic("canary-user", "canary-wrong"), Bearer("canary-other"), ("Authorization", "Basic canary-odd") })
        {
            foreach (string path in new[] { "/api/v1/status/config", "/api/v1/status/flags", "/api/v1/status/runtimeinfo", "/api/v1/status/lsm", "/metrics", "/", "/api/v1/nothing" })
            {
                Answer answer = await server.SendAsync(HttpMethod.Get, path, null, credential);
                told.Add($"{path} {answer.Text} {string.Join(' ', answer.Headers.Values)}");
            }
        }

        Assert.Contains(told, text => text.Contains(files.Path, StringComparison.Ordinal)); // the file's name is no secret
        Assert.Contains(complaints.Heard, static line => line.StartsWith("Not let in", StringComparison.Ordinal));
        Assert.All(told.Concat(complaints.Heard), text =>
        {
            Assert.DoesNotContain("canary", text, StringComparison.Ordinal);
            Assert.DoesNotContain(hash, text, StringComparison.Ordinal);
            Assert.DoesNotContain(Digest("canary-token"), text, StringComparison.Ordinal);
        });
        Assert.Single(complaints.Heard);
    }

    [Theory]
    [InlineData("192.0.2.1", "none", "false", StatusCodes.Status403Forbidden)]
    [InlineData("::ffff:192.0.2.1", "none", "false", StatusCodes.Status403Forbidden)]
    [InlineData("127.0.0.1", "none", "false", StatusCodes.Status200OK)]
    [InlineData("127.9.9.9", "none", "false", StatusCodes.Status200OK)]
    [InlineData("::1", "none", "false", StatusCodes.Status200OK)]
    [InlineData("::ffff:127.0.0.2", "none", "false", StatusCodes.Status200OK)]
    [InlineData("192.0.2.1", "none", "true", StatusCodes.Status200OK)]
    [InlineData("192.0.2.1", "headers only", "false", StatusCodes.Status403Forbidden)]
    [InlineData("192.0.2.1", "users", "false", StatusCodes.Status200OK)]
    public async Task Status_pages_and_admin_calls_stay_on_this_machine_while_nobody_is_asked_who_he_is(string from, string access, string insecure, int expected)
    {
        using WebFiles files = access == "users" ? Users() : new WebFiles("http_server_config: { headers: { X-Frame-Options: deny } }");
        await using ServerUnderTest server = await ServerUnderTest.StartAsync(("http:web_config", access == "none" ? "none" : files.Path), ("http:allow_insecure", insecure), Admin);
        foreach ((string method, string path, string who) in new[] { ("GET", "/api/v1/status/lsm", "reader"), ("GET", "/api/v1/status/config", "reader"), ("POST", "/api/v1/admin/flush", "admin") })
        {
            int status = await server.StatusFromAsync(IPAddress.Parse(from), method, path, Basic(who, $"pw of {who}"));
            Assert.Equal(expected == 200 && method == "POST" ? StatusCodes.Status204NoContent : expected, status);
        }

        // Senders, readers and scrapers come from elsewhere.
        Assert.Equal(StatusCodes.Status200OK, await server.StatusFromAsync(IPAddress.Parse(from), "GET", "/metrics", Basic("reader", "pw of reader")));
        Assert.Equal(StatusCodes.Status200OK, await server.StatusFromAsync(IPAddress.Parse(from), "GET", "/api/v1/labels", Basic("reader", "pw of reader")));
    }

    [Fact]
    public async Task A_large_body_of_a_stranger_is_not_read_and_the_port_goes_on()
    {
        using WebFiles files = Users();
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option, Audible);
        using Complaints complaints = Complaints.Of(server);
        for (int i = 0; i < 3; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/write") { Content = new ByteArrayContent(new byte[8 << 20]) };
            request.Headers.ExpectContinue = true;
            using HttpResponseMessage answer = await server.Client.SendAsync(request);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
        }

        Assert.StartsWith("Not let in", Assert.Single(complaints.Heard), StringComparison.Ordinal);
        Assert.Equal(0, server.Engine.Stats().InFlightBytes);
        Assert.Equal(HttpStatusCode.OK, (await server.SendAsync(HttpMethod.Get, "/metrics", null, Basic("reader", "pw of reader"))).Status);
    }

    [Fact]
    public async Task Without_a_file_there_is_no_gate_in_the_way_of_a_write()
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        Assert.Null(server.Services.GetService<WebAccess>());
        Assert.Null(server.Services.GetService<PasswordChecks>());
    }

    private static string PatternOf(RouteEndpoint endpoint) => "/" + endpoint.RoutePattern.RawText!.TrimStart('/');

    private static WebFiles Users() => new($"""
        basic_auth_users:
          reader: {Hash("pw of reader")}
          writer: {Hash("pw of writer")}
          admin: {Hash("pw of admin")}
        bearer_tokens:
          viewer: {Digest(Token)}
        rights:
          reader: [read]
          writer: [write]
          admin: [admin]
          viewer: [read]
        """);

    private static async Task<IEnumerable<string>> ReadAsync(ServerUnderTest server)
    {
        Answer answer = await server.SendAsync(
            HttpMethod.Post, "/api/v1/read", Compress(Read(Query(long.MinValue, long.MaxValue, Re("__name__", ".+")))), [.. ReadHeaders, Basic("reader", "pw of reader")]);
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return answer.AsSamples().Results.Single().Timeseries.Select(Print);
    }
}
