using System.Globalization;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>This server beside VictoriaMetrics and Prometheus: the same work one after the other in one run; prints the table of <c>docs/performance.md</c>.</summary>
/// <remarks>
/// CPU is the server process' user + system time from the first request until flush, merges and conversion are idle again; the generator is not
/// in it, though it shares the processors. What was sent is counted again, and a figure whose counts differ ends with an error.
/// </remarks>
internal static class PeersVerb
{
    private static readonly Figure[] Figures =
    [
        LatencyFigure.Figure, ReadFigures.Figure, RegexFigure.Figure, WriteFigure.Figure, WriteFigure.Version2, HistogramFigure.Figure, NewSeriesFigure.Figure,
        ChurnFigure.Figure, InProcessFigure.Figure, MemoryFigure.Half, MemoryFigure.Two, RestartFigure.Series, RestartFigure.Samples, GrowthFigure.Tables, GrowthFigure.Series,
    ];

    /// <summary>Takes the figures that the first argument names, or all of them.</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        string? name = arguments.Length > 0 && !arguments[0].StartsWith('-') ? arguments[0] : null;
        Figure[] chosen = [.. Figures.Where(figure => name is null || figure.IsCalled(name))];
        if (chosen.Length == 0)
        {
            await Console.Error.WriteLineAsync($"peers {name}: unknown; {string.Join(", ", Figures.Select(static figure => figure.Name))}");
            return 1;
        }

        using var given = new PeersArguments(name is null ? arguments : arguments[1..]);
        var table = new FigureTable();
        for (int run = 1; run <= given.Runs; run++)
        {
            foreach (Figure figure in chosen)
            {
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{figure.Name}, run {run} of {given.Runs}"));
                await figure.RunAsync(new FigureRun(given, table));
            }
        }

        GrowthFigure.WritePlots(given, table);
        Console.WriteLine();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Environment.ProcessorCount} processors, {Runs(given.Runs)}{(given.IsShort ? ", short: only to see whether it runs" : "")}\n"));
        Console.WriteLine(FigureTable.Head);
        foreach (string line in chosen.SelectMany(static figure => figure.Rows).Select(table.LineOf).Where(static line => line.Length > 0)) Console.WriteLine(line);
        return 0;
    }

    private static string Runs(int runs) => runs == 1 ? "one run" : string.Create(CultureInfo.InvariantCulture, $"median of {runs} runs (lowest to highest)");
}
