using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using TsdbRemote.Access;
using TsdbRemote.Endpoints;
using TsdbRemote.Options;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Verbs;

/// <summary>The port: its limits, its TLS, and what to say where it is open.</summary>
internal static class Listener
{
    /// <summary>Body limit of everything but write and read, which raise it for themselves. Bytes.</summary>
    private const long SmallBody = 64 << 10;

    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Where the framework's limits are too wide for a port that anybody may reach; the others are named so that they are ours.</summary>
    public static void Limit(KestrelServerOptions kestrel, HttpOptions http)
    {
        kestrel.AddServerHeader = false;
        KestrelServerLimits limits = kestrel.Limits;
        limits.MaxConcurrentConnections = http.MaxConnections;
        limits.MaxRequestBodySize = SmallBody;
        limits.MaxRequestLineSize = 8 << 10;
        limits.MaxRequestHeaderCount = 100;
        limits.MaxRequestHeadersTotalSize = 32 << 10;
        limits.RequestHeadersTimeout = http.HeaderTimeout.ToTimeSpan();
        limits.KeepAliveTimeout = TimeSpan.FromSeconds(130);
        limits.MinRequestBodyDataRate = new MinDataRate(bytesPerSecond: 1024, gracePeriod: TimeSpan.FromSeconds(10));
        limits.MinResponseDataRate = new MinDataRate(bytesPerSecond: 1024, gracePeriod: TimeSpan.FromSeconds(10));
        limits.Http2.MaxStreamsPerConnection = 100;
        limits.Http2.MaxRequestHeaderFieldSize = 16 << 10;
    }

    /// <summary>Has every address cut off who says nothing, and speak TLS if the web config says so. Each handshake asks for the certificate that holds then.</summary>
    public static void Listen(KestrelServerOptions kestrel, HttpOptions http, WebAccess? access)
    {
        TimeSpan patience = http.HeaderTimeout.ToTimeSpan();
        if (access?.Current is not { Tls: not null } config)
        {
            kestrel.ConfigureEndpointDefaults(listen => listen.Use(connection => connecting => SilentConnections.RunAsync(connecting, connection, patience)));
            return;
        }

        var handshake = new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = HandshakeTimeout,
            OnConnection = handshake =>
            {
                TlsSettings settings = access.Current.Tls!;
                AccessGate.Note(handshake.Connection, settings);
                return ValueTask.FromResult(settings.Options());
            },
        };
        kestrel.ConfigureEndpointDefaults(listen =>
        {
            listen.Protocols = config.Http2 ? HttpProtocols.Http1AndHttp2 : HttpProtocols.Http1;
            listen.UseHttps(handshake);
            listen.Use(connection => connecting => SilentConnections.RunAsync(connecting, connection, patience));
        });
    }

    /// <summary>Stops a start whose addresses promise what the web config does not have.</summary>
    /// <exception cref="OptionsException">An address asks for TLS, and there is no certificate.</exception>
    /// <exception cref="FormatException">One is no address.</exception>
    public static void Check(string urls, WebAccess? access)
    {
        foreach (string url in Split(urls))
        {
            if (access?.Current.Tls is null && BindingAddress.Parse(url).Scheme.Equals("https", StringComparison.OrdinalIgnoreCase))
                throw new OptionsException([$"urls: {url} given, http:// allowed without a certificate (tls_server_config in http.web_config)"]);
        }
    }

    /// <summary>Warns of addresses beyond this machine to which everybody is let in, or where secrets travel in the open.</summary>
    public static void Warn(ILogger log, string urls, HttpOptions http, WebAccess? access)
    {
        if (http.AllowInsecure) return;
        foreach (string url in Split(urls).Where(static url => !IsLocal(BindingAddress.Parse(url).Host)))
        {
            if (access?.Current.IsGuarded != true) Log.OpenToAll(log, url);
            else if (access.Current.Tls is null) Log.OpenText(log, url);
        }
    }

    private static string[] Split(string urls) => urls.Split(';', StringSplitOptions.RemoveEmptyEntries);

    private static bool IsLocal(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));
}
