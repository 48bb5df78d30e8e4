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
            using var client = new HttpClient { Timeout = Patience };
            using var question = new HttpRequestMessage(HttpMethod.Get, AddressOf(configuration["urls"]!.Split(';')[0]));
            using HttpResponseMessage answer = client.Send(question);
            return answer.IsSuccessStatusCode ? 0 : 1;
        }
        catch (OptionsException wrong)
        {
            Console.Error.WriteLine(wrong.Message);
            return 2;
        }
        catch (Exception gone) when (gone is HttpRequestException or TaskCanceledException)
        {
            Console.Error.WriteLine(gone.Message);
            return 1;
        }
    }

    /// <summary>The health page behind an address to listen on; a wildcard is reached on this machine.</summary>
    internal static Uri AddressOf(string url)
    {
        BindingAddress listen = BindingAddress.Parse(url);
        string host = listen.Host is "+" or "*" or "0.0.0.0" or "[::]" ? "localhost" : listen.Host;
        return new UriBuilder(listen.Scheme, host, listen.Port, "/-/healthy").Uri;
    }
}
