using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.TestSupport;

namespace TsdbRemote.EndToEnd;

/// <summary>A real Prometheus writes and another reads with TLS, a password, a token, certificates of their own; and a certificate changes under them.</summary>
public sealed class AccessTests
{
    private const string Token = "token-of-the-reader-0123456789abcdef";
    private const string Password = "password of the writer";

    [PeerFact("prometheus")]
    public async Task With_a_password_it_writes_and_with_a_token_it_reads_over_TLS_while_the_certificate_changes()
    {
        using var files = new WorkDirectory();
        using var authority = new TestAuthority();
        using var next = new TestAuthority("next");
        Write(files, "web.yml", $$"""
            tls_server_config: {cert_file: server.crt, key_file: server.key}
            basic_auth_users: {writer: {{BCrypt.Net.BCrypt.HashPassword(Password, 10)}}}
            bearer_tokens: {reader: "sha256:{{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Token)))}}"}
            rights: {writer: [write], reader: [read]}
            """);
        Write(files, authority.Server(), "server");
        Write(files, "ca.crt", authority.Pem + "\n" + next.Pem);
        using var server = new ServerProcess(files.Path, Trusting(null, authority, next), "--web-config", Path.Combine(files.Path, "web.yml"));
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
        await server.StartAsync();
        using var writer = new PrometheusProcess(files.Path, "writer");
        using var wrong = new PrometheusProcess(files.Path, "wrong");
        using var reader = new PrometheusProcess(files.Path, "reader");
        await writer.StartAsync(WriterConfig(server, writer, files, $"basic_auth: {{username: writer, password: {Password}}}"));
        await wrong.StartAsync(WriterConfig(server, wrong, files, "basic_auth: {username: writer, password: nonsense}"));
        await reader.StartAsync(ReaderConfig(server, files, $"authorization: {{credentials: {Token}}}"));
        await ReadsAsync(reader, "writer", 3, server);
        await Until.TrueAsync(
            async () => await wrong.OwnMetricAsync("prometheus_remote_storage_samples_failed_total") > 0, TimeSpan.FromSeconds(60), () => $"never refused:\n{wrong.Output}");
        Assert.Equal("", await reader.QueryAsync("up{job=\"wrong\"}", Now()));

        string before = await MetricAsync(server, "tsdb_remote_tls_certificate_not_after_seconds");
        Write(files, next.Server(TimeSpan.FromDays(5)), "server");
        await Until.TrueAsync(
            async () => await MetricAsync(server, "tsdb_remote_tls_certificate_not_after_seconds") != before, TimeSpan.FromSeconds(20), () => $"the certificate stays:\n{server.Output}");
        Write(files, "server.key", "nonsense");
        await Until.TrueAsync(
            async () => await MetricAsync(server, "tsdb_remote_web_config_reload_success") == "0", TimeSpan.FromSeconds(20), () => $"nonsense was taken:\n{server.Output}");
        using var fresh = new PrometheusProcess(files.Path, "fresh");
        await fresh.StartAsync(WriterConfig(server, fresh, files, $"basic_auth: {{username: writer, password: {Password}}}"));
        await ReadsAsync(reader, "fresh", 3, server);
        Assert.Equal(0, await writer.OwnMetricAsync("prometheus_remote_storage_samples_failed_total"));
        Assert.Equal(0, await fresh.OwnMetricAsync("prometheus_remote_storage_samples_failed_total"));
        Assert.DoesNotContain(Password, server.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(Token, server.Output, StringComparison.Ordinal);
        string[] health = ["healthcheck", $"--urls=http://127.0.0.1:{server.Port}", "--web-config", Path.Combine(files.Path, "web.yml")];
        Assert.Equal(0, Program.Main(health));
        Write(files, next.Server(), "server");
        Assert.Equal(0, Program.Main(health));
    }

    [PeerFact("prometheus")]
    public async Task With_a_certificate_of_its_own_it_writes_and_reads_and_without_it_does_not()
    {
        using var files = new WorkDirectory();
        using var authority = new TestAuthority();
        Write(files, "web.yml", """
            tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [prometheus.example]}
            """);
        Write(files, authority.Server(), "server");
        Write(files, authority.Client("prometheus.example"), "client");
        Write(files, "ca.crt", authority.Pem);
        (string certificate, string key) = authority.Client("prometheus.example");
        using X509Certificate2 own = X509Certificate2.CreateFromPem(certificate, key);
        string web = Path.Combine(files.Path, "web.yml");
        using var server = new ServerProcess(files.Path, Trusting(own, authority), "--web-config", web);
        await server.StartAsync();
        using var writer = new PrometheusProcess(files.Path, "writer");
        using var bare = new PrometheusProcess(files.Path, "bare");
        using var reader = new PrometheusProcess(files.Path, "reader");
        await writer.StartAsync(WriterConfig(server, writer, files, null, ", cert_file: client.crt, key_file: client.key"));
        await bare.StartAsync(WriterConfig(server, bare, files, null));
        await reader.StartAsync(ReaderConfig(server, files, null, ", cert_file: client.crt, key_file: client.key"));
        await ReadsAsync(reader, "writer", 3, server);
        await Until.TrueAsync(
            async () => await bare.OwnMetricAsync("prometheus_remote_storage_samples_retried_total") > 0, TimeSpan.FromSeconds(60), () => $"never refused:\n{bare.Output}");
        Assert.Equal("", await reader.QueryAsync("up{job=\"bare\"}", Now()));
        Assert.Equal(0, Program.Main(["healthcheck", "--urls", server.Url, "--web-config", web]));
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    private static void Write(WorkDirectory files, string name, string text) => File.WriteAllText(Path.Combine(files.Path, name), text);

    private static void Write(WorkDirectory files, (string Certificate, string Key) pair, string name)
    {
        Write(files, name + ".key", pair.Key);
        Write(files, name + ".crt", pair.Certificate);
    }

    private static SocketsHttpHandler Trusting(X509Certificate2? own, params TestAuthority[] authorities) => new()
    {
        SslOptions = new SslClientAuthenticationOptions
        {
            ClientCertificateContext = own is null ? null : SslStreamCertificateContext.Create(own, null, offline: true),
            RemoteCertificateValidationCallback = (_, certificate, _, _) => authorities.Any(authority => authority.HasSigned((X509Certificate2)certificate!)),
        },
    };

    private static async Task ReadsAsync(PrometheusProcess reader, string job, int samples, ServerProcess server) => await Until.TrueAsync(
        async () => (await reader.QueryAsync($"count_over_time(up{{job=\"{job}\"}}[2m]) >= {samples}", Now())).Length > 0,
        TimeSpan.FromSeconds(60),
        () => $"{job} is not read:\n{reader.Output}\n{server.Output}");

    private static async Task<string> MetricAsync(ServerProcess server, string name)
    {
        using HttpResponseMessage answer = await server.Client.GetAsync(new Uri("/metrics", UriKind.Relative));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return (await answer.Content.ReadAsStringAsync()).Split('\n').Single(line => line.StartsWith(name + " ", StringComparison.Ordinal))[(name.Length + 1)..];
    }

    private static string WriterConfig(ServerProcess server, PrometheusProcess self, WorkDirectory files, string? credentials, string tls = "") => $$"""
        global: {scrape_interval: 1s}
        scrape_configs:
          - job_name: {{self.Name}}
            static_configs: [{targets: ["127.0.0.1:{{self.Port}}"]}]
        remote_write:
          - url: {{server.Url}}/api/v1/write
            {{credentials ?? "name: plain"}}
            tls_config: {{Tls(files, tls)}}
            queue_config: {batch_send_deadline: 500ms}
        """;

    private static string ReaderConfig(ServerProcess server, WorkDirectory files, string? credentials, string tls = "") => $$"""
        remote_read:
          - url: {{server.Url}}/api/v1/read
            {{credentials ?? "name: plain"}}
            tls_config: {{Tls(files, tls)}}
            read_recent: true
        """;

    private static string Tls(WorkDirectory files, string more) =>
        $"{{ca_file: {Path.Combine(files.Path, "ca.crt")}{more.Replace("client.", Path.Combine(files.Path, "client."), StringComparison.Ordinal)}}}";
}
