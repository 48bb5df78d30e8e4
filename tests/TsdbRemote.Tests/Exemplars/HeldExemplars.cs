using System.Globalization;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;

namespace TsdbRemote.Tests.Exemplars;

/// <summary>What a ring holds, as text.</summary>
internal static class HeldExemplars
{
    /// <summary>A line for each exemplar: series, its labels, value, time in ms.</summary>
    public static IReadOnlyList<string> Print(this ExemplarRing ring) => Print(ring.Find(static _ => true, TimeRange.All));

    public static IReadOnlyList<string> Print(IReadOnlyList<SeriesExemplars> found) =>
        [.. found.SelectMany(static series => series.Exemplars.Select(exemplar => Print(series.Labels, exemplar)))];

    public static string Print(byte[] series, Exemplar exemplar) => string.Create(
        CultureInfo.InvariantCulture, $"{Labels.Print(series)} {Labels.Print(exemplar.Labels)} {exemplar.At.Value:R} @{exemplar.At.TimeMs}");
}
