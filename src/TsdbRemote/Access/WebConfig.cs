namespace TsdbRemote.Access;

/// <summary>What a web-config file says, checked. Immutable: a reload makes another.</summary>
/// <param name="tls">Certificates and who is let in by his own; null without TLS.</param>
/// <param name="http2">Whether HTTP/2 is spoken over TLS.</param>
/// <param name="headers">Headers of every answer.</param>
/// <param name="credentials">Users and tokens; null if there are none, and nobody is asked.</param>
internal sealed class WebConfig(TlsSettings? tls, bool http2, IReadOnlyList<KeyValuePair<string, string>> headers, Credentials? credentials)
{
    /// <summary>Certificates and who is let in by his own; null without TLS.</summary>
    public TlsSettings? Tls { get; } = tls;

    /// <summary>Whether HTTP/2 is spoken over TLS.</summary>
    public bool Http2 { get; } = http2;

    /// <summary>Headers of every answer.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Headers { get; } = headers;

    /// <summary>Users and tokens; null if there are none, and nobody is asked.</summary>
    public Credentials? Credentials { get; } = credentials;

    /// <summary>True if the server would be no other without it.</summary>
    public bool AsksForNothing => Tls is null && Credentials is null && Headers.Count == 0 && Http2;

    /// <summary>True if not everybody who reaches the port gets in.</summary>
    public bool IsGuarded => Credentials is not null || Tls is { VerifiesClients: true };
}
