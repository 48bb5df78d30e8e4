namespace TsdbRemote.Benchmarks.Peers;

/// <summary>What the verb <c>peers</c> was asked for.</summary>
internal sealed class PeersArguments : IDisposable
{
    private static readonly string[] All = [ServerNames.Ours, ServerNames.VictoriaMetrics, ServerNames.Prometheus];

    /// <exception cref="ArgumentException">Something is not known.</exception>
    public PeersArguments(string[] arguments)
    {
        var given = new VerbArguments(arguments);
        Series = given.Number("--series", 20_000);
        Batch = given.Number("--batch", 2_000);
        IsShort = given.Flag("--short");
        Samples = given.Number("--samples", IsShort ? 6_000_000 : 30_000_000);
        Runs = given.Number("--runs", 1);
        Servers = given.Text("--only", string.Join(',', All)).Split(',');
        Plots = given.Text("--plots", "docs/performance");
        Assembly = given.ServerAssembly();
        string parent = given.Text("--dir", Path.GetTempPath());
        given.RefuseOthers();
        if (Servers.Except(All).FirstOrDefault() is { } unknown) throw new ArgumentException($"unknown server {unknown}; known are {string.Join(", ", All)}");
        Root = Directory.CreateDirectory(Path.Combine(parent, $"tsdb-remote-peers-{Environment.ProcessId}")).FullName;
    }

    /// <summary>Series of <c>write</c>, <c>write2</c> and <c>churn</c>.</summary>
    public int Series { get; }

    /// <summary>Samples of a request of these.</summary>
    public int Batch { get; }

    /// <summary>Samples of these in all.</summary>
    public long Samples { get; }

    /// <summary>A smaller version, to see whether it runs.</summary>
    public bool IsShort { get; }

    /// <summary>How often each figure is taken.</summary>
    public int Runs { get; }

    /// <summary>Which servers, in their order.</summary>
    public string[] Servers { get; }

    /// <summary>Directory that plots are written to; made if it is not there.</summary>
    public string Plots { get; }

    /// <summary>Our assembly.</summary>
    public string Assembly { get; }

    /// <summary>Below it are the data of all servers.</summary>
    public string Root { get; }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
