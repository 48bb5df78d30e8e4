namespace TsdbRemote.Benchmarks.Peers;

/// <summary>The servers, as they are called in arguments and in the table.</summary>
internal static class ServerNames
{
    public const string Ours = "TsdbRemote";
    public const string VictoriaMetrics = "VictoriaMetrics";
    public const string Prometheus = "Prometheus";
}
