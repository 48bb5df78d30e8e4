namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A figure of the verb <c>peers</c>: its name, its rows, and how it is taken once.</summary>
internal sealed record Figure(string Name, FigureRow[] Rows, Func<FigureRun, Task> RunAsync)
{
    /// <summary>Whether a name that somebody gave means this one: <c>restart</c> is <c>restart-series</c> and <c>restart-samples</c>.</summary>
    public bool IsCalled(string name) => Name == name || Name.StartsWith(name + "-", StringComparison.Ordinal);
}

/// <summary>One taking of a figure: which servers, where their data is, and where results go.</summary>
internal sealed class FigureRun(PeersArguments given, FigureTable table)
{
    private int _targets;

    /// <summary>What was asked for.</summary>
    public PeersArguments Given => given;

    /// <summary>One number or the other: the whole, or what a quick look takes.</summary>
    public int Size(int whole, int quick) => given.IsShort ? quick : whole;

    /// <summary>Whether a server takes part.</summary>
    public bool Has(string server) => given.Servers.Contains(server);

    /// <summary>Notes a result.</summary>
    public void Record(FigureRow row, string server, double value) => table.Add(row, server, value);

    /// <summary>Does the same with each server that takes part, one after the other, each with an empty directory that is gone afterwards.</summary>
    /// <param name="measure">What.</param>
    /// <param name="ours">Our options beside the defaults.</param>
    /// <param name="prometheus">Its options; null: it takes no part.</param>
    /// <param name="victoriaMetrics">Whether it takes part.</param>
    public async Task EachAsync(Func<Target, Task> measure, string[]? ours = null, string[]? prometheus = null, bool victoriaMetrics = true)
    {
        foreach (string server in given.Servers)
        {
            string root = Path.Combine(given.Root, $"{_targets++}");
            Target? target = server switch
            {
                ServerNames.Ours => new TsdbRemoteTarget(root, given.Assembly) { Options = ours ?? [] },
                ServerNames.VictoriaMetrics => victoriaMetrics ? new VictoriaMetricsTarget(root) : null,
                _ => prometheus is null ? null : new PrometheusTarget(root, prometheus),
            };
            if (target is null) continue;
            using (target)
            {
                await target.StartAsync();
                await measure(target);
            }

            Directory.Delete(root, recursive: true);
        }
    }
}
