using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Engine;

/// <summary>The sentences by which refused samples are explained, in Prometheus' words where it has some (remote write 2.0, §2.3 of the protocol page).</summary>
internal static class SampleErrors
{
    private const int MaxLabelChars = 256;

    public static string Future(ReadOnlySpan<byte> labels) =>
        $"out of bounds: timestamp is too far in the future for series {Labels.Print(labels, MaxLabelChars)}";

    public static string OutOfOrder(ReadOnlySpan<byte> labels) => $"out of order sample for series {Labels.Print(labels, MaxLabelChars)}";

    public static string TooOld(ReadOnlySpan<byte> labels) => $"too old sample for series {Labels.Print(labels, MaxLabelChars)}";

    public static string ExemplarOutOfOrder(ReadOnlySpan<byte> labels) => $"out of order exemplar for series {Labels.Print(labels, MaxLabelChars)}";

    public static string Histogram(ReadOnlySpan<byte> labels, string problem) => $"{problem} for series {Labels.Print(labels, MaxLabelChars)}";

    /// <param name="labels">Of the series.</param>
    /// <param name="timeMs">The time that both have, ms.</param>
    /// <param name="existing">The float that stays; null if it is a histogram.</param>
    /// <param name="given">The float that is refused.</param>
    public static string Conflict(ReadOnlySpan<byte> labels, long timeMs, ulong? existing, ulong given)
    {
        string stays = existing is { } bits ? Number(bits) : "is a histogram";
        string text = string.Create(
            CultureInfo.InvariantCulture, $"duplicate sample for timestamp {timeMs}; overrides not allowed: existing {stays}, new value {Number(given)}");
        return $"{text} for series {Labels.Print(labels, MaxLabelChars)}";
    }

    public static string HistogramConflict(ReadOnlySpan<byte> labels) => $"duplicate sample for timestamp for series {Labels.Print(labels, MaxLabelChars)}";

    private static string Number(ulong bits) => BitConverter.UInt64BitsToDouble(bits).ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>The sentences by which refused label sets are explained.</summary>
internal static class LabelErrors
{
    private const int MaxLabelChars = 256;

    /// <summary>The limit that a problem is about, if it is about one.</summary>
    public static Limit? LimitOf(LabelProblem problem) => problem switch
    {
        LabelProblem.TooManyLabels => Limit.Labels,
        LabelProblem.NameTooLong => Limit.LabelName,
        LabelProblem.ValueTooLong => Limit.LabelValue,
        LabelProblem.TooLong => Limit.LabelsSize,
        _ => null,
    };

    public static string Text(LabelProblem problem, ReadOnlySpan<byte> run, string? detail, in LabelLimits limits)
    {
        string labels = Labels.Print(run, MaxLabelChars);
        return problem switch
        {
            LabelProblem.DuplicateName => $"invalid labels for series, labels {labels}, duplicated label {detail}",
            LabelProblem.TooManyLabels => $"too many labels (storage.limits.labels = {limits.MaxLabels}) series={labels}",
            LabelProblem.NameTooLong => $"label name too long (storage.limits.label_name = {limits.MaxNameBytes}): {detail} series={labels}",
            LabelProblem.ValueTooLong => $"label value too long (storage.limits.label_value = {limits.MaxValueBytes}): {detail} series={labels}",
            LabelProblem.TooLong => $"labels too long (storage.limits.labels_size = {limits.MaxRunBytes}) series={labels}",
            _ => $"invalid metric name or labels, got {labels}",
        };
    }
}
