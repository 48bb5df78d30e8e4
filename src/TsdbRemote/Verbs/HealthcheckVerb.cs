using System.Net.Sockets;
using TsdbRemote.Access;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Options;

namespace TsdbRemote.Verbs;

/// <summary>Asks the server that runs with the same options whether it is alive; for a container, whose image has no other HTTP client.</summary>
internal static class HealthcheckVerb
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>Asks once.</summary>
    /// <returns>0 if it answered 200, else 1; 2 if the call was wrong.</returns>
    public static int Run(string[] args)
    {
        try
        {
            using var configuration = new ConfigurationManager();
            ConfigurationLayers.Apply(configuration, args);
            string url = configuration["urls"]!.Split(';')[0];
            if (configuration["http:web_config"] is not { Length: > 0 } path || path.Equals("none", StringComparison.OrdinalIgnoreCase)) return Ask(AddressOf(url));
            return TryLoad(path) is { Tls: not { NeedsClients: true } } config ? Ask(AddressOf(url, config.Tls is not null)) : Knock(AddressOf(url));
        }
        catch (OptionsException wrong)
        {
            Console.Error.WriteLine(wrong.Message);
            return 2;
        }
        catch (Exception gone) when (gone is HttpRequestException or TaskCanceledException or SocketException)
        {
            Console.Error.WriteLine(gone.Message);
            return 1;
        }
    }

    /// <summary>The health page behind an address to listen on; a wildcard is reached on this machine.</summary>
    internal static Uri AddressOf(string url, bool overTls = false)
    {
        BindingAddress listen = BindingAddress.Parse(url);
        string host = listen.Host is "+" or "*" or "0.0.0.0" or "[::]" ? "localhost" : listen.Host;
        return new UriBuilder(overTls ? "https" : listen.Scheme, host, listen.Port, "/-/healthy").Uri;
    }

    /// <summary>The web config; null if it does not hold: the server then goes on with what it has, and is none the worse.</summary>
    private static WebConfig? TryLoad(string path)
    {
        try
        {
            return WebAccess.Load(path, new LocalFileSystem()).Current;
        }
        catch (OptionsException)
        {
            return null;
        }
    }

    /// <summary>Any certificate will do: nothing secret is sent, and this is the same machine.</summary>
    private static int Ask(Uri address)
    {
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, certificate, _, _) => certificate is not null;
        using var client = new HttpClient(handler) { Timeout = Patience };
        using var question = new HttpRequestMessage(HttpMethod.Get, address);
        using HttpResponseMessage answer = client.Send(question);
        return answer.IsSuccessStatusCode ? 0 : 1;
    }

    /// <summary>Where clients need certificates, which this one has not, or nobody knows, a port that is open has to do.</summary>
    private static int Knock(Uri address)
    {
        using var client = new TcpClient();
        using var patience = new CancellationTokenSource(Patience);
        client.ConnectAsync(address.DnsSafeHost, address.Port, patience.Token).AsTask().GetAwaiter().GetResult();
        return 0;
    }
}
