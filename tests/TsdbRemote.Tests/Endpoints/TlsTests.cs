using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Access;
using TsdbRemote.Tests.Access;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>TLS on a real port: certificates, clients' certificates, versions, and their reload.</summary>
public sealed class TlsTests
{
    private const string Tls = """
        tls_server_config:
          cert_file: server.crt
          key_file: server.key
        """;

    [Theory]
    [InlineData("http://127.0.0.1:0")]
    [InlineData("https://127.0.0.1:0")]
    public async Task With_a_certificate_the_port_speaks_TLS_however_its_address_is_written(string urls)
    {
        using var authority = new TestAuthority();
        using WebFiles files = Make(authority, Tls);
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option, ("urls", urls));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(server, authority));
        Assert.Equal(HttpVersion.Version20, (await SendAsync(server, authority, null, HttpVersion.Version20)).Version);
        using var plain = new HttpClient();
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => plain.GetAsync(new Uri($"http://127.0.0.1:{server.Address.Port}/-/healthy")));
        using var other = new TestAuthority("another");
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => AskAsync(server, other));
    }

    [Fact]
    public async Task HTTP_2_can_be_switched_off()
    {
        using var authority = new TestAuthority();
        using WebFiles files = Make(authority, Tls + "\nhttp_server_config: { http2: false }");
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        Assert.Equal(HttpVersion.Version11, (await SendAsync(server, authority, null, HttpVersion.Version20)).Version);
    }

    [Theory]
    [InlineData("RequireAndVerifyClientCert", "none", false)]
    [InlineData("RequireAndVerifyClientCert", "right", true)]
    [InlineData("RequireAndVerifyClientCert", "foreign", false)]
    [InlineData("RequireAndVerifyClientCert", "expired", false)]
    [InlineData("RequireAndVerifyClientCert", "server's", false)]
    [InlineData("RequireAndVerifyClientCert", "wrong name", true)]
    [InlineData("VerifyClientCertIfGiven", "none", true)]
    [InlineData("VerifyClientCertIfGiven", "right", true)]
    [InlineData("VerifyClientCertIfGiven", "foreign", false)]
    [InlineData("RequireAnyClientCert", "none", false)]
    [InlineData("RequireAnyClientCert", "foreign", true)]
    [InlineData("RequestClientCert", "none", true)]
    [InlineData("RequestClientCert", "foreign", true)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: [x.example, sender.example]", "right", true)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: ['mail@sender.example']", "right", true)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: ['spiffe://sender.example/x']", "right", true)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: ['192.0.2.7']", "right", true)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: [sender.example]", "wrong name", false)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: [sender]", "right", false)]
    [InlineData("RequireAndVerifyClientCert\n  client_allowed_sans: [sender.example]", "foreign", false)]
    public async Task Clients_are_let_in_by_their_certificates(string authType, string shown, bool isLetIn)
    {
        using var authority = new TestAuthority();
        using var foreign = new TestAuthority();
        using WebFiles files = Make(authority, $"{Tls}\n  client_ca_file: ca.crt\n  client_auth_type: {authType}\n");
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        (string Certificate, string Key)? pair = shown switch
        {
            "none" => null,
            "foreign" => foreign.Client("sender.example"),
            "expired" => authority.Client("sender.example", TimeSpan.FromMinutes(-5)),
            "server's" => authority.Server(),
            "wrong name" => authority.Client("other.example"),
            _ => authority.Client("sender.example"),
        };
        using X509Certificate2? client = pair is { } known ? X509Certificate2.CreateFromPem(known.Certificate, known.Key) : null;
        foreach (SslProtocols protocol in new[] { SslProtocols.Tls12, SslProtocols.Tls13 })
        {
            Exception? refused = await Record.ExceptionAsync(async () => (await SendAsync(server, authority, client, HttpVersion.Version11, protocol)).Dispose());
            Assert.True(isLetIn == (refused is null), $"{protocol}: {refused}");
            if (refused is not null) Assert.IsAssignableFrom<HttpRequestException>(refused);
        }
    }

    [Theory]
    [InlineData("min_version: TLS13", SslProtocols.Tls12, false)]
    [InlineData("min_version: TLS13", SslProtocols.Tls13, true)]
    [InlineData("max_version: TLS12", SslProtocols.Tls13, false)]
    [InlineData("max_version: TLS12", SslProtocols.Tls12, true)]
    [InlineData("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]", SslProtocols.Tls12, true)]
    [InlineData("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", SslProtocols.Tls12, false)] // our key is no RSA key
    [InlineData("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", SslProtocols.Tls13, true)]
    public async Task Versions_and_suites_are_those_of_the_file(string line, SslProtocols protocol, bool isSpoken)
    {
        using var authority = new TestAuthority();
        using WebFiles files = Make(authority, $"{Tls}\n  {line}\n");
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        Exception? refused = await Record.ExceptionAsync(async () => (await SendAsync(server, authority, null, HttpVersion.Version11, protocol)).Dispose());
        Assert.Equal(isSpoken, refused is null);
    }

    [Fact]
    public async Task A_new_certificate_is_shown_to_new_connections_and_a_broken_one_is_not()
    {
        using var authority = new TestAuthority();
        using var next = new TestAuthority("next");
        using WebFiles files = Make(authority, Tls);
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        WebConfigReloads reloads = server.Services.GetRequiredService<WebConfigReloads>();
        using HttpClient open = Client(authority, null, SslProtocols.None);
        Assert.Equal(HttpStatusCode.OK, (await open.GetAsync(Healthy(server))).StatusCode);
        files.Write(next.Server());
        reloads.Look();
        Assert.Equal(HttpStatusCode.OK, await AskAsync(server, next));
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => AskAsync(server, authority));
        Assert.Equal(HttpStatusCode.OK, (await open.GetAsync(Healthy(server))).StatusCode);
        files.Write("server.crt", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
        reloads.Look();
        Assert.Equal(HttpStatusCode.OK, await AskAsync(server, next));
    }

    [Fact]
    public async Task A_client_whose_authority_was_taken_away_does_not_come_in_again()
    {
        using var authority = new TestAuthority();
        using var next = new TestAuthority("next");
        using WebFiles files = Make(authority, $"{Tls}\n  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n");
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        (string certificate, string key) = authority.Client("sender.example");
        using X509Certificate2 client = X509Certificate2.CreateFromPem(certificate, key);
        (await SendAsync(server, authority, client, HttpVersion.Version11)).Dispose();
        files.Write("ca.crt", next.Pem);
        server.Services.GetRequiredService<WebConfigReloads>().Look();
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => SendAsync(server, authority, client, HttpVersion.Version11));
    }

    [Theory]
    [InlineData("NoClientCert", "RequireAndVerifyClientCert")]
    [InlineData("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")]
    public async Task A_connection_from_before_the_rules_for_clients_were_tightened_ends(string before, string after)
    {
        using var authority = new TestAuthority();
        string Yaml(string type) => $"{Tls}\n  client_auth_type: {type}\n{(type == "NoClientCert" ? "" : "  client_ca_file: ca.crt\n")}";
        using WebFiles files = Make(authority, Yaml(before));
        await using ServerUnderTest server = await ServerUnderTest.OnKestrel(files.Option);
        WebConfigReloads reloads = server.Services.GetRequiredService<WebConfigReloads>();
        using HttpClient open = Client(authority, null, SslProtocols.None);
        Assert.Equal(HttpStatusCode.OK, (await open.GetAsync(Healthy(server))).StatusCode);
        files.Write(authority.Server());
        reloads.Look();
        HttpResponseMessage same = await open.GetAsync(Healthy(server));
        Assert.Equal((HttpStatusCode.OK, false), (same.StatusCode, same.Headers.ConnectionClose == true)); // a new certificate of ours is no reason
        files.Write("web.yml", Yaml(after));
        reloads.Look();
        HttpResponseMessage answer = await open.GetAsync(Healthy(server));
        Assert.Equal((HttpStatusCode.ServiceUnavailable, true), (answer.StatusCode, answer.Headers.ConnectionClose));
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => open.GetAsync(Healthy(server)));
    }

    private static WebFiles Make(TestAuthority authority, string yaml)
    {
        var files = new WebFiles(yaml);
        files.Write(authority.Server());
        files.Write("ca.crt", authority.Pem);
        return files;
    }

    private static Uri Healthy(ServerUnderTest server) => new($"https://127.0.0.1:{server.Address.Port}/-/healthy");

    private static async Task<HttpStatusCode> AskAsync(ServerUnderTest server, TestAuthority authority)
    {
        using HttpResponseMessage answer = await SendAsync(server, authority, null, HttpVersion.Version11);
        return answer.StatusCode;
    }

    private static async Task<HttpResponseMessage> SendAsync(
        ServerUnderTest server, TestAuthority authority, X509Certificate2? client, Version version, SslProtocols protocol = SslProtocols.None)
    {
        using HttpClient http = Client(authority, client, protocol);
        using var request = new HttpRequestMessage(HttpMethod.Get, Healthy(server)) { Version = version };
        return await http.SendAsync(request);
    }

    private static HttpClient Client(TestAuthority authority, X509Certificate2? client, SslProtocols protocol) => new(new SocketsHttpHandler
    {
        SslOptions = new SslClientAuthenticationOptions
        {
            EnabledSslProtocols = protocol,
            ClientCertificateContext = client is null ? null : SslStreamCertificateContext.Create(client, null, offline: true),
            RemoteCertificateValidationCallback = (_, certificate, _, errors) =>
                (errors & SslPolicyErrors.RemoteCertificateNameMismatch) == 0 && authority.HasSigned((X509Certificate2)certificate!),
        },
    });
}
