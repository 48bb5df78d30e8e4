namespace TsdbRemote.Benchmarks.Peers;

/// <summary>One row of the table: what is measured, and what it has to reach.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Format">How its values are printed.</param>
internal sealed record FigureRow(string Name, string Unit, string Format = "F2")
{
    /// <summary>Our figure is at most this.</summary>
    public double? AtMost { get; init; }

    /// <summary>Our figure is at least this.</summary>
    public double? AtLeast { get; init; }

    /// <summary>Our figure is at most so many times that of VictoriaMetrics.</summary>
    public double? OfVictoriaMetrics { get; init; }

    /// <summary>Our figure is at most so many times that of Prometheus.</summary>
    public double? OfPrometheus { get; init; }
}
