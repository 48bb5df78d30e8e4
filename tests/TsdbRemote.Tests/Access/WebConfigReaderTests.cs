using TsdbRemote.Access;
using TsdbRemote.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Access;

/// <summary>What a web-config file may say, and that what is wrong with it is told without its secrets.</summary>
public sealed class WebConfigReaderTests
{
    private const string Hash = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";
    private const string Digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    [Fact]
    public void A_file_of_Prometheus_own_form_is_taken()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles($$"""
            tls_server_config:
              cert_file: server.crt
              key_file: server.key
              client_auth_type: RequireAndVerifyClientCert
              client_ca_file: ca.crt
              client_allowed_sans: [sender.example]
              min_version: TLS12
              max_version: TLS13
              cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
              prefer_server_cipher_suites: true
            http_server_config:
              http2: false
              headers:
                X-Frame-Options: deny
                Strict-Transport-Security: max-age=1
            basic_auth_users:
              alice: {{Hash}}
              bob:   {{Hash}}
            """);
        files.Write(authority.Server());
        files.Write("ca.crt", authority.Pem);
        WebConfig config = files.Load().Current;
        Assert.True(config.Tls!.VerifiesClients);
        Assert.False(config.Http2);
        Assert.Equal(["X-Frame-Options=deny", "Strict-Transport-Security=max-age=1"], config.Headers.Select(static header => $"{header.Key}={header.Value}"));
        Assert.Equal(("Basic", true), (config.Credentials!.Challenge, config.IsGuarded));
    }

    [Theory]
    [InlineData("")]
    [InlineData("# nothing\n")]
    [InlineData("basic_auth_users:\ntls_server_config: {}\n")]
    [InlineData("tls_server_config: { min_version: TLS13 }\nbasic_auth_users: {}\n")]
    public void A_file_that_asks_for_nothing_is_refused_for_it_would_guard_nothing(string yaml)
    {
        using var files = new WebFiles(yaml);
        Assert.Contains("nothing is asked for", Assert.Throws<OptionsException>(() => files.Load()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_headers_alone_guards_nothing()
    {
        using var files = new WebFiles("http_server_config: { headers: { X-Frame-Options: deny } }");
        Assert.False(files.Load().Current.IsGuarded);
        Assert.Null(files.Load().Current.Tls);
    }

    [Theory]
    [InlineData("key_file: |\n    -----BEGIN PRIVATE KEY-----\n    canary\n    -----END PRIVATE KEY-----")]
    [InlineData("key_file: '-----BEGIN PRIVATE KEY----- canary'")]
    public void A_key_in_the_place_of_a_file_name_is_not_said(string given)
    {
        using var files = new WebFiles($"tls_server_config:\n  cert_file: server.crt\n  {given}\n");
        string message = Assert.Throws<OptionsException>(() => files.Load()).Message;
        Assert.Contains("key_file: a value given, a file name allowed", message, StringComparison.Ordinal);
        Assert.DoesNotContain("canary", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_still_changes_is_not_taken_for_what_it_says_so_far()
    {
        using var files = new WebFiles("basic_auth_users: { alice: '@', bob: '@' }".Replace("@", Hash, StringComparison.Ordinal));
        WebAccess access = files.Load();
        Assert.False(access.HaveSettled());
        files.Write("web.yml", "basic_auth_users: { alice: '@' }".Replace("@", Hash, StringComparison.Ordinal));
        Assert.False(access.HaveSettled(), "seen once");
        files.Write("web.yml", "basic_auth_users: { alice: '@', carol: '@' }".Replace("@", Hash, StringComparison.Ordinal));
        Assert.False(access.HaveSettled(), "another one");
        Assert.True(access.HaveSettled());
        Assert.True(access.Refresh());
        Assert.False(access.HaveSettled(), "taken");
    }

    [Theory]
    [InlineData("basic_auth_user: { alice: canary }", "basic_auth_user: a section given, unknown; allowed: tls_server_config, http_server_config, basic_auth_users, bearer_tokens, rights, rate_limit")]
    [InlineData("basic_auth_users: canary", "basic_auth_users: a value given, a section with keys of its own allowed")]
    [InlineData("basic_auth_users: { alice: canary }", "basic_auth_users.alice: a value given, a bcrypt hash allowed, such as $2y$10$ and 53 characters (htpasswd -nBC 10 \"\")")]
    [InlineData("basic_auth_users: { alice: [canary] }", "basic_auth_users.alice: a list given, a text allowed")]
    [InlineData("basic_auth_users: { 'a:b': '" + Hash + "' }", "basic_auth_users.a:b: a name that is empty or has a colon given, which no client can send")]
    [InlineData("basic_auth_users: { alice: '$2y$18$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze' }", "basic_auth_users.alice: a cost of 18 given, 4 to 14 allowed")]
    [InlineData("bearer_tokens: { ci: canary }", "bearer_tokens.ci: a value given, sha256: and 64 hexadecimal digits of the token's SHA-256 allowed")]
    [InlineData("bearer_tokens: { ci: '" + Digest + "' }\nrights: { ci: [reed] }", "rights.ci: a value given, read, write, admin allowed")]
    [InlineData("bearer_tokens: { ci: '" + Digest + "' }\nrights: { cj: [read], ci: [read] }", "rights.cj: is neither a user nor a token")]
    [InlineData("bearer_tokens: { ci: '" + Digest + "' }\nrights: {}", "rights.ci: nothing given; with rights, each user and token has to be in it")]
    [InlineData("bearer_tokens: { ci: '" + Digest + "' }\nbasic_auth_users: { ci: '" + Hash + "' }", "bearer_tokens.ci: is a user too; a name of its own allowed")]
    [InlineData("rate_limit: { burst: 1 }", "rate_limit: a section given, none allowed: its 429 makes a Prometheus drop data")]
    [InlineData("http_server_config: { http3: true }", "http_server_config.http3: a value given, unknown; allowed: http2, headers")]
    [InlineData("http_server_config: { http2: canary }", "http_server_config.http2: a value given, true or false allowed")]
    [InlineData("http_server_config: { headers: { X-Frame-Options: canary } }", "http_server_config.headers.X-Frame-Options: a value given, deny or sameorigin allowed")]
    [InlineData("http_server_config: { headers: { Content-Security-Policy: \"canary\\r\\nx: y\" } }", "http_server_config.headers.Content-Security-Policy: a value given, printable ASCII allowed")]
    [InlineData("tls_server_config: { cert: canary }", "tls_server_config.key_file: nothing given, a key needed (key or key_file)")]
    [InlineData("tls_server_config: { cert: canary, key: canary }", "tls_server_config.cert_file: no certificate in PEM with the key that belongs to it (not encrypted) found")]
    [InlineData("tls_server_config: { cert: x, key: canary, min_version: TLS10 }", "tls_server_config.min_version: a value given, TLS12 or TLS13 allowed")]
    [InlineData("tls_server_config: { cert: x, key: x, min_version: TLS13, max_version: TLS12 }", "tls_server_config.min_version: TLS13 given, not above max_version allowed")]
    [InlineData("tls_server_config: { cert: x, key: x, cipher_suites: [canary] }", "tls_server_config.cipher_suites: a value given, IANA's names of suites allowed")]
    [InlineData("tls_server_config: { cert: x, key: x, curve_preferences: [X25519] }", "tls_server_config.curve_preferences: a list given, none allowed: curves are those of OpenSSL on this machine")]
    [InlineData("tls_server_config: { cert: x, key: x, client_ca: canary }", "tls_server_config.client_ca: given, none allowed without client_auth_type")]
    [InlineData("tls_server_config: { cert: x, key: x, client_ca: canary, client_auth_type: RequireAnyClientCert }", "tls_server_config.client_ca: no certificate in PEM found")]
    [InlineData("tls_server_config: { cert: x, key: x, client_auth_type: canary }", "tls_server_config.client_auth_type: a value given, NoClientCert, RequestClientCert, RequireAnyClientCert, RequireClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert allowed")]
    [InlineData("tls_server_config: { cert: x, key: x, client_auth_type: RequireAndVerifyClientCert }", "tls_server_config.client_ca_file: nothing given, certificates needed to verify clients (client_ca or client_ca_file)")]
    [InlineData("tls_server_config: { cert: x, key: x, client_auth_type: RequestClientCert, client_allowed_sans: [canary] }", "tls_server_config.client_allowed_sans: a list given, none allowed unless client_auth_type is RequireAnyClientCert or RequireAndVerifyClientCert")]
    [InlineData("tls_server_config: { cert: x, cert_file: nowhere.crt, key: canary }", "tls_server_config.cert_file: given beside cert, one of them allowed")]
    [InlineData("tls_server_config: { cert_file: \"canary\\0\", key: canary }", "tls_server_config.cert_file: a value given, a file name allowed")]
    [InlineData("tls_server_config: { cert: x, key: x, cipher_suites: ['TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384'] }", "tls_server_config.cipher_suites: a value given, IANA's names of suites allowed")]
    [InlineData("basic_auth_users: { alice: canary, alice: canary }", "line 1, column 36: no YAML, or a key given twice")]
    [InlineData("basic_auth_users: {", "line 2, column 1: no YAML, or a key given twice")]
    [InlineData("canary", "not one YAML document of keys with values")]
    public void What_does_not_hold_is_told_by_path_and_kind_and_never_by_value(string yaml, string problem)
    {
        using var files = new WebFiles(yaml);
        OptionsException refused = Assert.Throws<OptionsException>(() => files.Load());
        Assert.Contains($"{files.Path}: {problem}", refused.Problems);
        Assert.DoesNotContain("canary", refused.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void All_problems_are_told_at_once()
    {
        using var files = new WebFiles("users: 1\nbasic_auth_users: { a: x, b: y }\nbearer_tokens: { c: z }\n");
        Assert.Equal(4, Assert.Throws<OptionsException>(() => files.Load()).Problems.Count);
    }

    [Fact]
    public void A_key_of_another_certificate_is_found()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles("tls_server_config: { cert_file: server.crt, key_file: server.key }");
        files.Write(authority.Server());
        files.Write("server.key", authority.Server().Key);
        Assert.Contains("cert_file: no certificate", Assert.Throws<OptionsException>(() => files.Load()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_authority_whose_own_is_missing_is_told_at_the_start_and_not_by_shutting_out_every_client()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles("tls_server_config: { cert_file: server.crt, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt }");
        files.Write(authority.Server());
        files.Write("ca.crt", authority.SubordinatePem());
        Assert.Contains("client_ca_file: an authority given that another one has signed", Assert.Throws<OptionsException>(() => files.Load()).Message, StringComparison.Ordinal);
        files.Write("ca.crt", authority.SubordinatePem() + "\n" + authority.Pem);
        Assert.True(files.Load().Current.IsGuarded);
    }

    [Fact]
    public void A_file_that_is_not_there_is_told_with_its_option()
    {
        using var files = new WebFiles();
        File.Delete(files.Path);
        Assert.StartsWith($"http.web_config: {files.Path} given, a file that can be read allowed", Assert.Throws<OptionsException>(() => files.Load()).Problems.Single(), StringComparison.Ordinal);
    }

    // Found by fuzzing: the library has other exceptions than its own for some of what is no YAML, without a place.
    [Fact]
    public void Whatever_the_library_says_of_a_broken_file_it_is_a_broken_file()
    {
        string[] broken = [.. File.ReadLines(Repository.TestData("fuzz/findings.txt")).Select(static line => line.Split(' ')).Where(static fields => fields[0] == "web-config").Select(static fields => fields[1])];
        foreach (byte[] bytes in broken.Select(Convert.FromBase64String))
        {
            using var files = new WebFiles();
            File.WriteAllBytes(files.Path, bytes);
            string problem = Assert.Single(Assert.Throws<OptionsException>(() => files.Load()).Problems);
            Assert.Matches("web.yml: line [1-9][0-9]*(, column [1-9][0-9]*: no YAML, or a key given twice|: nested too deeply, 16 levels allowed)$", problem);
        }
    }

    [Fact]
    public void A_file_that_nests_without_end_is_refused_and_harms_nothing()
    {
        using var files = new WebFiles("a: " + new string('[', 500_000));
        Assert.Contains("nested too deeply", Assert.Throws<OptionsException>(() => files.Load()).Message, StringComparison.Ordinal);
        files.Write("web.yml", new string(' ', (1 << 20) + 1));
        Assert.Contains("1048576 allowed", Assert.Throws<OptionsException>(() => files.Load()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_reload_happens_once_for_each_change_and_never_to_something_broken()
    {
        using var files = new WebFiles($"basic_auth_users: {{ alice: '{Hash}' }}");
        WebAccess access = files.Load();
        WebConfig first = access.Current;
        Assert.False(access.Refresh());
        files.Write("web.yml", "basic_auth_users: { alice: broken }");
        Assert.Throws<OptionsException>(() => access.Refresh());
        Assert.Same(first, access.Current);
        Assert.False(access.Refresh(), "said once");
        File.Delete(files.Path);
        Assert.Throws<OptionsException>(() => access.Refresh());
        Assert.Same(first, access.Current);
        files.Write("web.yml", $"basic_auth_users: {{ bob: '{Hash}' }}");
        Assert.True(access.Refresh());
        Assert.NotSame(first, access.Current);
    }

    [Fact]
    public void A_certificate_is_taken_over_when_it_and_its_key_are_both_there_even_behind_links()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles("tls_server_config: { cert_file: now/server.crt, key_file: now/server.key }");
        foreach (string version in new[] { "1", "2" })
        {
            Directory.CreateDirectory(files[version]);
            files.Write(authority.Server(TimeSpan.FromDays(int.Parse(version, System.Globalization.CultureInfo.InvariantCulture))), $"{version}/server");
        }

        Directory.CreateSymbolicLink(files["now"], "1");
        WebAccess access = files.Load();
        DateTimeOffset first = access.Current.Tls!.NotAfter;
        Directory.Delete(files["now"]);
        Directory.CreateSymbolicLink(files["now"], "2");
        Assert.True(access.Refresh());
        Assert.Equal(1, Math.Round((access.Current.Tls!.NotAfter - first).TotalDays));
        files.Write("2/server.crt", authority.Server().Certificate);
        Assert.Throws<OptionsException>(() => access.Refresh());
        Assert.Equal(1, Math.Round((access.Current.Tls!.NotAfter - first).TotalDays));
    }

    [Fact]
    public void Files_may_be_links_themselves_as_an_orchestrator_and_certbot_make_them()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles();
        File.Delete(files.Path);
        foreach (string version in new[] { "1", "2" })
        {
            Directory.CreateDirectory(files[version]);
            files.Write(authority.Server(TimeSpan.FromDays(int.Parse(version, System.Globalization.CultureInfo.InvariantCulture))), $"{version}/server");
            files.Write($"{version}/web.yml", "tls_server_config: { cert_file: server.crt, key_file: server.key }");
        }

        Directory.CreateSymbolicLink(files["..data"], "1");
        foreach (string name in new[] { "web.yml", "server.crt", "server.key" }) File.CreateSymbolicLink(files[name], $"..data/{name}");
        WebAccess access = files.Load();
        DateTimeOffset first = access.Current.Tls!.NotAfter;
        Directory.Delete(files["..data"]);
        Directory.CreateSymbolicLink(files["..data"], "2");
        Assert.True(access.Refresh());
        Assert.Equal(1, Math.Round((access.Current.Tls!.NotAfter - first).TotalDays));

        File.Delete(files["server.key"]);
        File.CreateSymbolicLink(files["server.key"], "server.key");
        Assert.Throws<OptionsException>(() => access.Refresh());
    }

    [Theory]
    [InlineData("basic_auth_users: { alice: '@' }", "", "users and tokens")]
    [InlineData("basic_auth_users: { alice: '@' }", "basic_auth_users:", "users and tokens")]
    [InlineData("basic_auth_users: { alice: '@' }\nrights: { alice: [read] }", "basic_auth_users: { alice: '@' }", "rights")]
    [InlineData("basic_auth_users: { alice: '@' }\nrights: { alice: [read] }", "basic_auth_users: { alice: '@' }\nrights:", "rights")]
    public void A_file_that_was_cut_or_emptied_opens_nothing(string before, string after, string what)
    {
        using var files = new WebFiles(before.Replace("@", Hash, StringComparison.Ordinal));
        WebAccess access = files.Load();
        WebConfig first = access.Current;
        files.Write("web.yml", after.Replace("@", Hash, StringComparison.Ordinal));
        Assert.Contains(what, Assert.Throws<OptionsException>(() => access.Refresh()).Message, StringComparison.Ordinal);
        Assert.Same(first, access.Current);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\nbasic_auth_users: { alice: '@' }")]
    public void Certificates_of_clients_that_are_no_longer_asked_for_need_a_restart(string users)
    {
        users = users.Replace("@", Hash, StringComparison.Ordinal);
        using var authority = new TestAuthority();
        const string Tls = "cert_file: server.crt, key_file: server.key";
        using var files = new WebFiles($"tls_server_config: {{ {Tls}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt }}" + users);
        files.Write(authority.Server());
        files.Write("ca.crt", authority.Pem);
        WebAccess access = files.Load();
        files.Write("web.yml", $"tls_server_config: {{ {Tls} }}" + users);
        Assert.Contains("needs a restart", Assert.Throws<OptionsException>(() => access.Refresh()).Message, StringComparison.Ordinal);
        Assert.True(access.Current.IsGuarded);
    }

    [Fact]
    public void Names_of_clients_that_are_no_longer_asked_for_need_a_restart()
    {
        using var authority = new TestAuthority();
        const string Tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
        using var files = new WebFiles(Tls + "  client_allowed_sans: [admin.internal]\n");
        files.Write(authority.Server());
        files.Write("ca.crt", authority.Pem);
        WebAccess access = files.Load();
        files.Write("web.yml", Tls);
        Assert.Contains("names of clients", Assert.Throws<OptionsException>(() => access.Refresh()).Message, StringComparison.Ordinal);
        Assert.True(access.Current.Tls!.NamesClients);
    }

    [Fact]
    public void TLS_cannot_be_switched_off_while_the_port_speaks_it()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles("tls_server_config: { cert_file: server.crt, key_file: server.key }");
        files.Write(authority.Server());
        WebAccess access = files.Load();
        files.Write("web.yml", "");
        Assert.Contains("needs a restart", Assert.Throws<OptionsException>(() => access.Refresh()).Message, StringComparison.Ordinal);
        Assert.NotNull(access.Current.Tls);
    }

    [Fact]
    public void The_example_file_holds_once_its_certificate_is_there()
    {
        using var authority = new TestAuthority();
        using var files = new WebFiles(File.ReadAllText(Path.Combine(Repository.Root, "config", "web.yml")));
        files.Write(authority.Server());
        files.Write("clients.crt", authority.Pem);
        WebConfig config = files.Load().Current;
        Assert.NotNull(config.Tls);
        Assert.NotNull(config.Credentials);
    }
}
