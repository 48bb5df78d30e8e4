using System.Globalization;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Results by row and server, one a run, and the table that they make: medians, spreads, ratios, and what is missed.</summary>
internal sealed class FigureTable
{
    private readonly Dictionary<(FigureRow Row, string Server), List<double>> _results = [];

    /// <summary>Head of the Markdown table.</summary>
    public const string Head =
        "| Figure | To reach | TsdbRemote | VictoriaMetrics | Prometheus | of VictoriaMetrics | of Prometheus | |\n|---|---|---|---|---|---|---|---|";

    /// <summary>Adds the result of a run.</summary>
    public void Add(FigureRow row, string server, double value)
    {
        if (!_results.TryGetValue((row, server), out List<double>? values)) _results[(row, server)] = values = [];
        values.Add(value);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {row.Name}: {server} {value.ToString(row.Format, CultureInfo.InvariantCulture)} {row.Unit}"));
    }

    /// <summary>Median of a server's results, or null if it has none.</summary>
    public double? MedianOf(FigureRow row, string server) => _results.TryGetValue((row, server), out List<double>? values) ? Median(values) : null;

    /// <summary>The line of a row; empty if nothing was measured.</summary>
    public string LineOf(FigureRow row)
    {
        if (!_results.Keys.Any(key => key.Row == row)) return "";
        double? ofVictoriaMetrics = Ratio(row, ServerNames.VictoriaMetrics);
        double? ofPrometheus = Ratio(row, ServerNames.Prometheus);
        return $"| {row.Name}, {row.Unit} | {Goal(row)} | {Cell(row, ServerNames.Ours)} | {Cell(row, ServerNames.VictoriaMetrics)} | {Cell(row, ServerNames.Prometheus)}"
            + $" | {Times(ofVictoriaMetrics)} | {Times(ofPrometheus)} | {Verdict(row, ofVictoriaMetrics, ofPrometheus)} |";
    }

    private static string Goal(FigureRow row) => string.Join("; ", new[]
    {
        row.AtMost is { } most ? $"≤ {Text(most)}" : "",
        row.AtLeast is { } least ? $"≥ {Text(least)}" : "",
        row.OfVictoriaMetrics is { } ofVictoriaMetrics ? $"≤ {Text(ofVictoriaMetrics)} × VictoriaMetrics" : "",
        row.OfPrometheus is { } ofPrometheus ? $"≤ {Text(ofPrometheus)} × Prometheus" : "",
    }.Where(static goal => goal.Length > 0));

    /// <summary>Reached is what reaches every part of its goal; a part whose server did not run is neither reached nor missed.</summary>
    private string Verdict(FigureRow row, double? ofVictoriaMetrics, double? ofPrometheus)
    {
        if (Goal(row).Length == 0 || MedianOf(row, ServerNames.Ours) is not { } ours) return "";
        List<string> missed = [];
        if (row.AtMost is { } most && ours > most) missed.Add($"{Text(ours / most)} × the figure");
        if (row.AtLeast is { } least && ours < least) missed.Add($"{Text(ours / least)} × the figure");
        List<string> open = [];
        Part(row.OfVictoriaMetrics, ofVictoriaMetrics, ServerNames.VictoriaMetrics);
        Part(row.OfPrometheus, ofPrometheus, ServerNames.Prometheus);
        string notCompared = open.Count == 0 ? "" : $"not compared: {string.Join(", ", open)}";
        if (missed.Count == 0) return open.Count == 0 ? "reached" : notCompared;
        return $"**missed**: {string.Join(", ", missed)}{(open.Count == 0 ? "" : $"; {notCompared}")}";

        void Part(double? goal, double? part, string server)
        {
            if (goal is not { } most) return;
            if (part is not { } known) open.Add(server);
            else if (known > most) missed.Add($"{Text(known / most)} × the part of {server}");
        }
    }

    private string Cell(FigureRow row, string server)
    {
        if (!_results.TryGetValue((row, server), out List<double>? values)) return "–";
        string Print(double value) => value.ToString(row.Format, CultureInfo.InvariantCulture);
        return values.Count == 1 ? Print(values[0]) : $"{Print(Median(values))} ({Print(values.Min())} to {Print(values.Max())})";
    }

    /// <summary>Of each run on its own, so that a slow minute of the machine is in both; then the median.</summary>
    private double? Ratio(FigureRow row, string server)
    {
        if (!_results.TryGetValue((row, ServerNames.Ours), out List<double>? ours) || !_results.TryGetValue((row, server), out List<double>? theirs)) return null;
        double ratio = Median([.. ours.Zip(theirs, static (our, their) => our / their)]);
        return ratio > 0 && double.IsFinite(ratio) ? ratio : null;
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static string Times(double? ratio) => ratio is { } known ? $"{Text(known)} ×" : "–";

    private static string Text(double value) => value.ToString(value >= 100 ? "N0" : "G3", CultureInfo.InvariantCulture);
}
