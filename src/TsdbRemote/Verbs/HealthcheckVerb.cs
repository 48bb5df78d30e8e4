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
            TlsSettings? tls = configuration["http:web_config"] is { Length: > 0 } path and not "none" ? WebAccess.Load(path, new LocalFileSystem()).Current.Tls : null;
            Uri address = AddressOf(configuration["urls"]!.Split(';')[0], tls is not null);
            return tls is { NeedsClients: true } ? Knock(address) : Ask(address);
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

    /// <summary>Any certificate will do: nothing secret is sent, and this is the same machine.</summary>
    private static int Ask(Uri address)
    {
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        using var client = new HttpClient(handler) { Timeout = Patience };
        using var question = new HttpRequestMessage(HttpMethod.Get, address);
        using HttpResponseMessage answer = client.Send(question);
        return answer.IsSuccessStatusCode ? 0 : 1;
    }

    /// <summary>Where clients need certificates, which this one has not, a port that is open has to do.</summary>
    private static int Knock(Uri address)
    {
        using var client = new TcpClient();
        using var patience = new CancellationTokenSource(Patience);
        client.ConnectAsync(address.Host, address.Port, patience.Token).AsTask().GetAwaiter().GetResult();
        return 0;
    }
}
