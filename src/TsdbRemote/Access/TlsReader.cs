using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TsdbRemote.Access;

/// <summary>Reads <c>tls_server_config</c> and the files that it names.</summary>
/// <param name="directory">Where relative file names begin.</param>
/// <param name="files">Reads them.</param>
internal sealed class TlsReader(string directory, WebConfigFiles files)
{
    private static readonly string[] Versions = ["TLS12", "TLS13"];

    private static readonly Dictionary<string, ClientCertificates> AuthTypes = new(StringComparer.Ordinal)
    {
        ["NoClientCert"] = ClientCertificates.None,
        ["RequestClientCert"] = ClientCertificates.Request,
        ["RequireAnyClientCert"] = ClientCertificates.RequireAny,
        ["RequireClientCert"] = ClientCertificates.RequireAny,
        ["VerifyClientCertIfGiven"] = ClientCertificates.VerifyIfGiven,
        ["RequireAndVerifyClientCert"] = ClientCertificates.RequireAndVerify,
    };

    /// <summary>Reads the section.</summary>
    /// <returns>What it says; null if it asks for no TLS, or if there are problems, which are then in the section's list.</returns>
    public TlsSettings? Read(YamlSection section)
    {
        section.RefuseOthers(
            "cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file", "client_auth_type", "client_allowed_sans", "min_version", "max_version", "cipher_suites",
            "prefer_server_cipher_suites", "curve_preferences");
        if (section.Has("curve_preferences")) section.Refuse("curve_preferences", "a list given, none allowed: curves are those of OpenSSL on this machine");
        _ = section.Flag("prefer_server_cipher_suites", true); // Go has ignored it for years
        string? certificate = Pem(section, "cert");
        string? key = Pem(section, "key");
        string? authority = Pem(section, "client_ca");
        string? authType = section.Text("client_auth_type");
        ClientCertificates clients = ClientCertificates.None;
        if (authType is not null && !AuthTypes.TryGetValue(authType, out clients)) section.Refuse("client_auth_type", $"a value given, {string.Join(", ", AuthTypes.Keys)} allowed");
        if (certificate is null && key is null && authority is null && authType is null) return null;
        if (certificate is null) section.Refuse("cert_file", "nothing given, a certificate needed (cert or cert_file)");
        if (key is null) section.Refuse("key_file", "nothing given, a key needed (key or key_file)");
        X509Certificate2Collection authorities = Authorities(section, authority, clients);
        IReadOnlyList<string> names = section.List("client_allowed_sans");
        if (names.Count > 0 && clients is not (ClientCertificates.RequireAny or ClientCertificates.RequireAndVerify))
            section.Refuse("client_allowed_sans", "a list given, none allowed unless client_auth_type is RequireAnyClientCert or RequireAndVerifyClientCert");
        SslProtocols protocols = Protocols(section);
        CipherSuitesPolicy? suites = Suites(section);
        SslStreamCertificateContext? own = certificate is null || key is null ? null : Own(section, certificate, key);
        return own is null ? null : new TlsSettings(own, protocols, suites, clients, authorities, names);
    }

    /// <summary>PEM text, from the file itself or the one that it names; null if neither is given or it cannot be read.</summary>
    private string? Pem(YamlSection section, string key)
    {
        string fileKey = key + "_file";
        string? inline = section.Text(key);
        string? file = section.Text(fileKey);
        if (file is null) return inline;
        if (inline is not null) section.Refuse(fileKey, $"given beside {key}, one of them allowed");
        if (file.Any(char.IsControl) || file.StartsWith("-----", StringComparison.Ordinal))
        {
            section.Refuse(fileKey, "a value given, a file name allowed");
            return null;
        }

        string text = files.Read(Path.GetFullPath(file, directory), out string? why);
        if (why is null) return text;
        section.Refuse(fileKey, why);
        return text;
    }

    private static X509Certificate2Collection Authorities(YamlSection section, string? pem, ClientCertificates clients)
    {
        string key = section.Has("client_ca") ? "client_ca" : "client_ca_file";
        X509Certificate2Collection? found = pem is null ? [] : Certificates(pem);
        if (found is null || (pem is not null && found.Count == 0)) section.Refuse(key, "no certificate in PEM found");
        if (found?.Any(one => !IsIssued(one, found)) == true)
            section.Refuse(key, "an authority given that another one has signed; that one needed in the file too, up to the root");
        if (pem is not null && clients == ClientCertificates.None) section.Refuse(key, "given, none allowed without client_auth_type");
        if (pem is null && clients is ClientCertificates.VerifyIfGiven or ClientCertificates.RequireAndVerify)
            section.Refuse("client_ca_file", "nothing given, certificates needed to verify clients (client_ca or client_ca_file)");
        return found ?? [];
    }

    /// <summary>True if the one who signed it, a root by itself, is there: without him no chain would come to its end, and every client be shut out without a word at the start.</summary>
    private static bool IsIssued(X509Certificate2 certificate, X509Certificate2Collection by) =>
        by.Any(issuer => issuer.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData));

    private static SslProtocols Protocols(YamlSection section)
    {
        int Version(string key, int otherwise)
        {
            if (section.Text(key) is not { } text) return otherwise;
            int at = Array.IndexOf(Versions, text);
            if (at < 0) section.Refuse(key, $"a value given, {string.Join(" or ", Versions)} allowed");
            return at < 0 ? otherwise : at;
        }

        int min = Version("min_version", 0);
        int max = Version("max_version", 1);
        if (min > max) section.Refuse("min_version", "TLS13 given, not above max_version allowed");
        return (min == 0 ? SslProtocols.Tls12 : SslProtocols.None) | (max == 1 ? SslProtocols.Tls13 : SslProtocols.None);
    }

    private static CipherSuitesPolicy? Suites(YamlSection section)
    {
        IReadOnlyList<string> names = section.List("cipher_suites");
        if (names.Count == 0) return null;
        var suites = new List<TlsCipherSuite>();
        foreach (string name in names)
        {
            // Names of Go and of .NET are both IANA's.
            if (Enum.IsDefined(typeof(TlsCipherSuite), name)) suites.Add(Enum.Parse<TlsCipherSuite>(name));
            else section.Refuse("cipher_suites", "a value given, IANA's names of suites allowed");
        }

        // The list is for TLS 1.2; those of 1.3 are always on, as in Go.
        suites.AddRange([TlsCipherSuite.TLS_AES_128_GCM_SHA256, TlsCipherSuite.TLS_AES_256_GCM_SHA384, TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256]);
        return OperatingSystem.IsLinux() ? new CipherSuitesPolicy(suites.Distinct()) : null;
    }

    private static SslStreamCertificateContext? Own(YamlSection section, string certificate, string key)
    {
        try
        {
            X509Certificate2 own = X509Certificate2.CreateFromPem(certificate, key);
            X509Certificate2Collection? all = Certificates(certificate);
            // What is sent is what the file has; nothing is fetched from anywhere.
            return SslStreamCertificateContext.Create(own, all is { Count: > 1 } ? [.. all.Skip(1)] : null, offline: true);
        }
        catch (Exception broken) when (broken is CryptographicException or ArgumentException)
        {
            section.Refuse("cert_file", "no certificate in PEM with the key that belongs to it (not encrypted) found");
            return null;
        }
    }

    private static X509Certificate2Collection? Certificates(string pem)
    {
        try
        {
            var found = new X509Certificate2Collection();
            found.ImportFromPem(pem);
            return found;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
