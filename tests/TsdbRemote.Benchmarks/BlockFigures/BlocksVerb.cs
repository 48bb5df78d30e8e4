using System.Globalization;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>What blocks and tables cost, with the real server and beside a real Prometheus; prints tables.</summary>
internal static class BlocksVerb
{
    private static readonly (string Name, Func<VerbArguments, FigurePlace, Task> RunAsync)[] Figures =
    [
        ("bytes", BytesFigure.RunAsync),
        ("open", OpenFigure.RunAsync),
        ("backfill", BackfillFigure.RunAsync),
        ("read", ReadFigure.RunAsync),
        ("point", PointFigure.RunAsync),
        ("parity", ParityFigure.RunAsync),
    ];

    /// <summary>Runs the figure that the first argument names, or all of them with what they are at best.</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        string? name = arguments.Length > 0 && !arguments[0].StartsWith('-') ? arguments[0] : null;
        if (name is not null && !Figures.Any(figure => figure.Name == name))
        {
            await Console.Error.WriteLineAsync($"blocks {name}: unknown; {string.Join(", ", Figures.Select(static figure => figure.Name))}");
            return 1;
        }

        foreach ((string figure, Func<VerbArguments, FigurePlace, Task> runAsync) in Figures.Where(figure => name is null || figure.Name == name))
        {
            var given = new VerbArguments(name is null ? arguments : arguments[1..]);
            using var place = new FigurePlace(given.Text("--dir", Path.GetTempPath()), given.ServerAssembly());
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\n## {figure}; {Environment.ProcessorCount} processors"));
            await runAsync(given, place);
        }

        return 0;
    }
}

/// <summary>A directory for the data of the servers of one figure, gone with it.</summary>
internal sealed class FigurePlace(string parent, string assembly) : IDisposable
{
    private int _targets;

    public string Root { get; } = Directory.CreateDirectory(Path.Combine(parent, $"tsdb-remote-blocks-{Environment.ProcessId}-{Guid.NewGuid():N}")).FullName;

    /// <summary>The server's assembly.</summary>
    public string Assembly => assembly;

    /// <summary>A root that no other target of this place has.</summary>
    public string NewRoot() => Path.Combine(Root, $"{_targets++}");

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
