using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TsdbRemote.TestSupport;

/// <summary>A certificate authority that lives as long as a test, and what it signs.</summary>
public sealed class TestAuthority : IDisposable
{
    private static readonly Oid ServerAuthentication = new("1.3.6.1.5.5.7.3.1");
    private static readonly Oid ClientAuthentication = new("1.3.6.1.5.5.7.3.2");

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _certificate;

    /// <summary>Makes one.</summary>
    public TestAuthority(string name = "test authority")
    {
        var request = new CertificateRequest($"CN={name}", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        _certificate = request.CreateSelfSigned(Now.AddDays(-2), Now.AddDays(30));
    }

    /// <summary>Its certificate.</summary>
    public string Pem => _certificate.ExportCertificatePem();

    private static DateTimeOffset Now => DateTimeOffset.UtcNow;

    /// <summary>A certificate for a server on 127.0.0.1 and localhost.</summary>
    public (string Certificate, string Key) Server(TimeSpan? lifetime = null) => Sign("server", ServerAuthentication, lifetime ?? TimeSpan.FromDays(10), names =>
    {
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
    });

    /// <summary>A certificate for a client; one whose time is over if the lifetime is negative.</summary>
    public (string Certificate, string Key) Client(string dnsName, TimeSpan? lifetime = null) => Sign("client", ClientAuthentication, lifetime ?? TimeSpan.FromDays(10), names =>
    {
        names.AddDnsName(dnsName);
        names.AddEmailAddress($"mail@{dnsName}");
        names.AddUri(new Uri($"spiffe://{dnsName}/x"));
        names.AddIpAddress(IPAddress.Parse("192.0.2.7"));
    });

    /// <summary>The certificate of an authority below it.</summary>
    public string SubordinatePem()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=subordinate", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 certificate = request.Create(_certificate, Now.AddDays(-1), Now.AddDays(10), RandomNumberGenerator.GetBytes(16));
        return certificate.ExportCertificatePem();
    }

    /// <summary>True for certificates that it has signed, whatever their names.</summary>
    public bool HasSigned(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.CustomTrustStore.Add(_certificate);
        return chain.Build(certificate);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
    }

    private (string Certificate, string Key) Sign(string name, Oid usage, TimeSpan lifetime, Action<SubjectAlternativeNameBuilder> addNames)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        addNames(names);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([usage], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_certificate, true, false));
        using X509Certificate2 certificate = request.Create(_certificate, Now.AddDays(-1), Now + lifetime, RandomNumberGenerator.GetBytes(16));
        return (certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }
}
