using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TsdbRemote.Access;

/// <summary>What is asked of clients' certificates; Go's names of it, which web-config files use, are in <see cref="TlsReader"/>.</summary>
internal enum ClientCertificates
{
    /// <summary>None is asked for.</summary>
    None,

    /// <summary>One is asked for; any or none will do.</summary>
    Request,

    /// <summary>Any will do.</summary>
    RequireAny,

    /// <summary>None will do; one that is given has to be signed by the authorities.</summary>
    VerifyIfGiven,

    /// <summary>One signed by the authorities is needed.</summary>
    RequireAndVerify,
}

/// <summary>One certificate with its rules. Immutable, thread-safe.</summary>
internal sealed class TlsSettings(
    SslStreamCertificateContext own, SslProtocols protocols, CipherSuitesPolicy? suites, ClientCertificates clients, X509Certificate2Collection authorities,
    IReadOnlyList<string> allowedNames)
{
    // Extended key usage "client authentication" (RFC 5280, §4.2.1.12): a server's certificate of the same authority opens nothing.
    private static readonly Oid ClientAuthentication = new("1.3.6.1.5.5.7.3.2");

    private readonly RemoteCertificateValidationCallback _validate = (_, certificate, _, errors) => IsWelcome(certificate, errors, clients, allowedNames);

    private readonly string _rules = string.Join(
        '\n', [clients.ToString(), .. allowedNames, .. authorities.Select(static one => one.GetCertHashString(HashAlgorithmName.SHA256))]);

    /// <summary>True if nobody gets in without a certificate of the authorities.</summary>
    public bool VerifiesClients => clients == ClientCertificates.RequireAndVerify;

    /// <summary>True if nobody gets in without a certificate.</summary>
    public bool NeedsClients => clients is ClientCertificates.RequireAny or ClientCertificates.RequireAndVerify;

    /// <summary>True if only certificates of some names are let in.</summary>
    public bool NamesClients => allowedNames.Count > 0;

    /// <summary>When our certificate ends.</summary>
    public DateTimeOffset NotAfter => new(own.TargetCertificate.NotAfter);

    /// <summary>True if whom one lets in, the other lets in.</summary>
    public bool AsksTheSameOf(TlsSettings other) => _rules == other._rules;

    /// <summary>The options of one handshake.</summary>
    public SslServerAuthenticationOptions Options() => new()
    {
        ServerCertificateContext = own,
        EnabledSslProtocols = protocols,
        CipherSuitesPolicy = suites,
        ClientCertificateRequired = clients != ClientCertificates.None,
        RemoteCertificateValidationCallback = clients == ClientCertificates.None ? null : _validate,

        // A policy holds the time at which it was made; so one for each handshake.
        CertificateChainPolicy = clients == ClientCertificates.None ? null : ChainPolicy(),
    };

    private static bool IsWelcome(X509Certificate? certificate, SslPolicyErrors errors, ClientCertificates clients, IReadOnlyList<string> names)
    {
        if (certificate is null) return clients is ClientCertificates.Request or ClientCertificates.VerifyIfGiven;
        bool isVerified = errors == SslPolicyErrors.None;
        if (clients is ClientCertificates.VerifyIfGiven or ClientCertificates.RequireAndVerify && !isVerified) return false;
        return names.Count == 0 || SubjectNames.Of(certificate).Any(name => names.Contains(name, StringComparer.Ordinal));
    }

    /// <summary>Only the authorities of the file count, never those of the machine; nothing is fetched, and revocation is not asked for.</summary>
    private X509ChainPolicy ChainPolicy()
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(authorities);
        policy.ApplicationPolicy.Add(ClientAuthentication);
        return policy;
    }
}
