using TsdbRemote.Benchmarks.Peers;

namespace TsdbRemote.Tests.Figures;

/// <summary>The table of figures beside the peers: what it says of several runs, and of a goal that could not be looked at.</summary>
public sealed class FigureTableTests
{
    private static readonly FigureRow Row = new("a figure", "ms", "F1") { AtMost = 10, OfVictoriaMetrics = 0.5, OfPrometheus = 0.1 };

    [Fact]
    public void Several_runs_are_a_median_with_the_lowest_and_the_highest()
    {
        var table = new FigureTable();
        foreach (double value in new[] { 3.0, 1, 2 }) table.Add(Row, ServerNames.Ours, value);
        Assert.StartsWith("| a figure, ms | ≤ 10; ≤ 0.5 × VictoriaMetrics; ≤ 0.1 × Prometheus | 2.0 (1.0 to 3.0) | – | – |", table.LineOf(Row), StringComparison.Ordinal);
    }

    [Fact]
    public void A_ratio_is_that_of_each_run_before_it_is_a_median()
    {
        var table = new FigureTable();
        Add(table, ServerNames.Ours, 1, 10, 2);
        Add(table, ServerNames.VictoriaMetrics, 10, 50, 4);
        Assert.Contains("| 0.2 × | – |", table.LineOf(Row), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1.0, 4.0, 20.0, "reached")]
    [InlineData(1.0, 4.0, null, "not compared: Prometheus")]
    [InlineData(1.0, null, null, "not compared: VictoriaMetrics, Prometheus")]
    [InlineData(3.0, 4.0, null, "**missed**: 1.5 × the part of VictoriaMetrics; not compared: Prometheus")]
    [InlineData(20.0, 100.0, 1000.0, "**missed**: 2 × the figure")]
    [InlineData(1.0, 4.0, 5.0, "**missed**: 2 × the part of Prometheus")]
    public void Reached_is_only_what_was_compared_with_every_part_of_its_goal(double ours, double? victoriaMetrics, double? prometheus, string verdict)
    {
        var table = new FigureTable();
        Add(table, ServerNames.Ours, ours);
        if (victoriaMetrics is { } first) Add(table, ServerNames.VictoriaMetrics, first);
        if (prometheus is { } second) Add(table, ServerNames.Prometheus, second);
        Assert.EndsWith($"| {verdict} |", table.LineOf(Row), StringComparison.Ordinal);
    }

    private static void Add(FigureTable table, string server, params double[] values)
    {
        foreach (double value in values) table.Add(Row, server, value);
    }
}
