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
        double? ofVictoriaMetrics = Ratio(row, PeersArguments.VictoriaMetrics);
        double? ofPrometheus = Ratio(row, PeersArguments.Prometheus);
        return $"| {row.Name}, {row.Unit} | {Goal(row)} | {Cell(row, PeersArguments.Ours)} | {Cell(row, PeersArguments.VictoriaMetrics)} | {Cell(row, PeersArguments.Prometheus)}"
            + $" | {Times(ofVictoriaMetrics)} | {Times(ofPrometheus)} | {Verdict(row, ofVictoriaMetrics, ofPrometheus)} |";
    }

    private static string Goal(FigureRow row) => string.Join("; ", new[]
    {
        row.AtMost is { } most ? $"≤ {Text(most)}" : "",
        row.AtLeast is { } least ? $"≥ {Text(least)}" : "",
        row.OfVictoriaMetrics is { } ofVictoriaMetrics ? $"≤ {Text(ofVictoriaMetrics)} × VictoriaMetrics" : "",
        row.OfPrometheus is { } ofPrometheus ? $"≤ {Text(ofPrometheus)} × Prometheus" : "",
    }.Where(static goal => goal.Length > 0));

    private string Verdict(FigureRow row, double? ofVictoriaMetrics, double? ofPrometheus)
    {
        if (Goal(row).Length == 0 || MedianOf(row, PeersArguments.Ours) is not { } ours) return "";
        List<string> missed = [];
        if (row.AtMost is { } most && ours > most) missed.Add($"{Text(ours / most)} × the figure");
        if (row.AtLeast is { } least && ours < least) missed.Add($"{Text(ours / least)} × the figure");
        if (row.OfVictoriaMetrics is { } first && ofVictoriaMetrics > first) missed.Add($"{Text(ofVictoriaMetrics.Value / first)} × the part of VictoriaMetrics");
        if (row.OfPrometheus is { } second && ofPrometheus > second) missed.Add($"{Text(ofPrometheus.Value / second)} × the part of Prometheus");
        return missed.Count == 0 ? "reached" : $"**missed**: {string.Join(", ", missed)}";
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
        if (!_results.TryGetValue((row, PeersArguments.Ours), out List<double>? ours) || !_results.TryGetValue((row, server), out List<double>? theirs)) return null;
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
